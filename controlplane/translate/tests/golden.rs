//! Golden pairs: `testdata/<feature>/<case>.in.yaml` translates to `<case>.out.yaml`.
//!
//! An input may begin with lines `#! name value` that set flags. A line `#! next` begins a further version of the whole
//! file: what is compared is the last one, after all before it went through the same memo. `UPDATE_GOLDEN=1` rewrites the
//! outputs; read the difference before you keep it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringress_shared::route::Dialect;
use ringress_translate::manifest::Folder;
use ringress_translate::problem::RULES;
use ringress_translate::{Key, LastGood, Memo, Objects, Settings, translate};

#[test]
fn inputs_translate_to_their_outputs() {
    let mut cases = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata")), &mut cases);
    cases.sort();
    assert!(cases.len() >= 40, "only {} cases were found", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_lint_rule_is_documented_and_shown_by_a_case() {
    let mut cases = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata")), &mut cases);
    let outputs = cases.iter().map(|case| case.to_string_lossy().replace(".in.yaml", ".out.yaml"));
    let outputs: Vec<String> = outputs.map(|path| fs::read_to_string(path).unwrap()).collect();
    let found = outputs.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let levels = ["- error: ", "- warning: ", "- info: "];
        levels.iter().find_map(|level| line.strip_prefix(level)?.split(' ').nth(1))
    });
    let found: BTreeSet<&str> = found.collect();
    let documented: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(documented.len(), RULES.len());
    let undocumented: Vec<_> = found.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in RULES: {undocumented:?}");
    // Dates are judged by the clock, which translation does not have, no manifest withholds a Secret, and too many
    // expressions would be too long a case; the unit tests of `certificate`, `tests/withheld.rs` and `tests/protected.rs`
    // show these rules.
    let elsewhere = ["certificate-expired", "secret-withheld", "expressions-closed-together"];
    let unseen: Vec<_> = documented.difference(&found).filter(|id| !elsewhere.contains(id)).collect();
    assert!(unseen.is_empty(), "without a golden case: {unseen:?}");
}

fn collect(folder: &Path, cases: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, cases);
        } else if path.to_string_lossy().ends_with(".in.yaml") {
            cases.push(path);
        }
    }
}

fn check(input: &Path) -> Result<(), String> {
    let text = fs::read_to_string(input).unwrap();
    let got = run(&support::with_certificates(&text));
    let output = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&output, &got).unwrap();
    }
    let expected = fs::read_to_string(&output).unwrap_or_default();
    if got == expected {
        return Ok(());
    }
    Err(format!("--- {}\n{got}\n--- expected\n{expected}", output.display()))
}

fn run(text: &str) -> String {
    let mut settings = Settings { allow_loopback_endpoints: true, ..Settings::default() };
    let mut objects = Objects::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
        apply(line, &mut settings, &mut objects);
    }
    let resolved = objects.resolved;
    let mut folder = Folder::new();
    let mut memo = Memo::default();
    let mut last_good = LastGood::default();
    let mut described = String::new();
    for version in text.split("#! next\n") {
        let files = BTreeMap::from([("case.yaml".to_owned(), Arc::from(version))]);
        let mut loaded = folder.update(files);
        loaded.objects.resolved.clone_from(&resolved);
        let translation = translate(&loaded.objects, &settings, &last_good, &mut memo);
        described = support::describe(&translation, &loaded.problems);
        let cold = translate(&loaded.objects, &settings, &last_good, &mut Memo::default());
        assert_eq!(described, support::describe(&cold, &loaded.problems), "the memo changed the result");
        last_good = translation.last_good;
    }
    described
}

fn apply(line: &str, settings: &mut Settings, objects: &mut Objects) {
    let (name, value) = line.split_once(' ').unwrap_or((line, ""));
    let key = || {
        let (namespace, name) = value.split_once('/').unwrap();
        Some(Key::new(namespace, name))
    };
    match name {
        "next" => {}
        "watch-ingress-without-class" => settings.watch_ingress_without_class = true,
        "create-named-classes" => settings.create_named_classes = true,
        "controller-class" => settings.controller_class = value.to_owned(),
        "ingress-class" => settings.ingress_class = value.to_owned(),
        "default-backend-service" => settings.default_backend_service = key(),
        "default-ssl-certificate" => settings.default_ssl_certificate = key(),
        "configmap" => settings.configmap = key(),
        "max-body-bytes" => settings.body_bytes_max = Some(value.parse().unwrap()),
        "https-public-port" => settings.https_public_port = value.parse().unwrap(),
        "no-https" => settings.https = None,
        "refuse-loopback" => settings.allow_loopback_endpoints = false,
        "compat" => settings.compat = Dialect::IngressNginx,
        "resolved" => {
            let (name, addresses) = value.split_once(' ').unwrap();
            let addresses = addresses.split(' ').map(|address| address.parse().unwrap()).collect();
            objects.resolved.insert(name.to_owned(), addresses);
        }
        other => panic!("unknown flag {other}"),
    }
}
