//! The crates import each other as ARCHITECTURE.md says, and only the rooms that may name a runtime do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

type Edges = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_import_what_the_picture_says() {
    let picture = picture("crate edges");
    let ours: BTreeSet<&str> = picture.keys().map(String::as_str).collect();
    let real: Edges = imports()
        .into_iter()
        // The bench measures whatever it likes; that nothing imports it is checked below.
        .filter(|(name, _)| name != "ringress-bench")
        .map(|(name, all)| (name, all.into_iter().filter(|import| import.starts_with("ringress")).collect()))
        .collect();
    assert_eq!(real, picture, "left: cargo metadata, right: ARCHITECTURE.md");
    assert!(ours.contains("ringress"), "the picture was read: {ours:?}");
}

#[test]
fn nothing_imports_the_bench_or_the_binary() {
    for (name, imports) in imports() {
        for outer in ["ringress-bench", "ringress"] {
            assert!(!imports.contains(outer), "{name} imports {outer}");
        }
    }
}

#[test]
fn runtimes_stay_in_their_rooms() {
    let rooms = picture("runtimes");
    assert!(rooms.contains_key("monoio") && rooms.contains_key("tokio"), "{rooms:?}");
    for (runtime, rooms) in rooms {
        let real: BTreeSet<String> = imports()
            .into_iter()
            .filter(|(name, imports)| name != "ringress-bench" && imports.contains(&runtime))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(real, rooms, "who imports {runtime}: left cargo metadata, right ARCHITECTURE.md");
    }
}

/// Everything that each of our crates imports outside its tests.
fn imports() -> Edges {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect()
}

fn dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(&dependency["name"]))
        .collect()
}

/// The lines `importer: imported imported …` of a fenced block with this title in ARCHITECTURE.md.
fn picture(title: &str) -> Edges {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let page = std::fs::read_to_string(path).expect("ARCHITECTURE.md");
    let block =
        page.split(&format!("```text {title}\n")).nth(1).unwrap_or_else(|| panic!("a block named {title}"));
    let lines = block.split("```").next().expect("a block ends").lines();
    lines
        .map(|line| {
            let (name, imports) = line.split_once(':').unwrap_or_else(|| panic!("a colon in {line:?}"));
            (name.trim().to_owned(), imports.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
