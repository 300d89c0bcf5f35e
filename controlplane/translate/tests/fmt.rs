//! What was flattened on a web page means, restored, what its author wrote.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringress_translate::Objects;
use ringress_translate::manifest::{Folder, flattened, unflatten};
use ringress_translate::objects::{Key, Table, Version};

#[test]
fn the_flattened_seeds_are_restored() {
    let seeds = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/seeds"));
    let mut checked = 0;
    for entry in fs::read_dir(seeds).unwrap() {
        let flat = entry.unwrap().path();
        let name = flat.to_string_lossy().into_owned();
        if !name.ends_with(".flat.in.yaml") {
            continue;
        }
        let text = fs::read_to_string(&flat).unwrap();
        assert!(flattened(&text).is_some(), "{name} is not recognised");
        let restored = unflatten(&text).unwrap();
        assert_eq!(unflatten(&restored).unwrap(), restored, "{name}: restoring twice changes something");
        let written = fs::read_to_string(name.replace(".flat.in.yaml", ".in.yaml")).unwrap();
        if name.contains("http_route") {
            // A kind that is not read: its text is all there is.
            assert_eq!(restored, written);
        } else {
            check(&name, &load(&restored), &load(&support::with_certificates(&written)));
        }
        checked += 1;
    }
    assert_eq!(checked, 8);
}

/// Every document of every golden input, robbed of its indentation, means the same once it is restored.
#[test]
fn golden_inputs_survive_losing_their_indentation() {
    let mut inputs = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata")), &mut inputs);
    let mut restored = 0;
    for input in inputs {
        let text = support::with_certificates(&fs::read_to_string(&input).unwrap());
        for document in text.split("---\n").flat_map(|part| part.split("#! next\n")) {
            let flat: String = document.lines().map(|line| format!("{}\n", line.trim())).collect();
            let original = load(document);
            // Lists have no schema; what does not load, or stays whole without indentation, has nothing to lose.
            let is_list = document.contains("kind: List");
            if original.is_empty() || is_list || flattened(&flat).is_none() {
                continue;
            }
            match unflatten(&flat) {
                Ok(text) => {
                    let name = format!("{}:\n{text}", input.display());
                    check(&name, &load(&text), &original);
                    restored += 1;
                }
                // Fields that the kind does not have are refused, not guessed at.
                Err(error) => assert!(has_unknown_fields(document), "{}: {error}\n{flat}", input.display()),
            }
        }
    }
    assert!(restored > 300, "only {restored} documents were restored");
}

fn collect(folder: &Path, inputs: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, inputs);
        } else if path.to_string_lossy().ends_with(".in.yaml") {
            inputs.push(path);
        }
    }
}

fn has_unknown_fields(document: &str) -> bool {
    let parsed = ringress_translate::manifest::parse("case.yaml", document);
    parsed.problems.iter().any(|problem| problem.rule == "unknown-field")
}

fn load(text: &str) -> Objects {
    let files = BTreeMap::from([("case.yaml".to_owned(), Arc::from(text))]);
    Folder::new().update(files).objects
}

/// Every restored object is, field for field, the one that was written.
fn check(name: &str, restored: &Objects, written: &Objects) {
    assert_eq!(restored.len(), 1, "{name}");
    let kinds = |objects: &Objects| {
        [
            versions(&objects.ingresses),
            versions(&objects.ingress_classes),
            versions(&objects.services),
            versions(&objects.endpoint_slices),
            versions(&objects.endpoints),
            versions(&objects.secrets),
        ]
    };
    for (restored, written) in kinds(restored).into_iter().zip(kinds(written)) {
        for (key, version) in restored {
            assert_eq!(written.get(&key), Some(&version), "{name}: {key:?}");
        }
    }
}

fn versions<T>(table: &Table<T>) -> BTreeMap<Key, Version> {
    table.iter().map(|(key, stored)| (key.clone(), stored.version)).collect()
}
