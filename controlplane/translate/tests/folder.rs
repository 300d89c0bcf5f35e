//! A folder of manifests: what counts when files break, go, or say the same twice.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::{Folder, Loaded};
use ringress_translate::{Objects, Reason};

fn service(name: &str, port: u16) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n    - port: {port}\n")
}

fn update(folder: &mut Folder, files: &[(&str, &str)]) -> Loaded {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text)));
    folder.update(files.collect::<BTreeMap<_, _>>())
}

/// Name and port of every Service.
fn services(objects: &Objects) -> Vec<(String, i32)> {
    let port = |service: &k8s_openapi::api::core::v1::Service| {
        service.spec.as_ref()?.ports.as_ref()?.first().map(|port| port.port)
    };
    let all = objects.services.iter();
    all.map(|(key, stored)| (key.name.to_string(), port(&stored.object).unwrap_or_default())).collect()
}

fn check(loaded: &Loaded, expected: &[(&str, i32)], reasons: &[Reason]) {
    let expected: Vec<_> = expected.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    assert_eq!(services(&loaded.objects), expected);
    let got: Vec<_> = loaded.problems.iter().map(|problem| problem.reason).collect();
    assert_eq!(got, reasons, "{:#?}", loaded.problems);
    assert!(loaded.problems.iter().all(|problem| problem.place.is_some()));
}

const BROKEN: &str = "apiVersion: v1\nkind: Service\nmetadata: [\n";

#[test]
fn a_broken_document_leaves_its_object_and_the_good_ones_count() {
    let mut folder = Folder::new();
    let good = format!("{}---\n{}", service("a", 1), service("b", 1));
    check(&update(&mut folder, &[("x.yaml", &good)]), &[("a", 1), ("b", 1)], &[]);

    let half = format!("{}---\n{BROKEN}", service("a", 2));
    let loaded = update(&mut folder, &[("x.yaml", &half)]);
    check(&loaded, &[("a", 2), ("b", 1)], &[Reason::Undecodable, Reason::Quarantined]);

    // Broken still, and differently: what was kept is kept on.
    let worse = format!("{BROKEN}\n");
    let loaded = update(&mut folder, &[("x.yaml", &worse)]);
    check(&loaded, &[("a", 2), ("b", 1)], &[Reason::Undecodable, Reason::Quarantined, Reason::Quarantined]);

    check(&update(&mut folder, &[("x.yaml", &service("a", 3))]), &[("a", 3)], &[]);
}

#[test]
fn a_deleted_file_deletes_even_a_broken_one() {
    let mut folder = Folder::new();
    update(&mut folder, &[("x.yaml", &service("a", 1)), ("y.yaml", &service("b", 1))]);
    update(&mut folder, &[("x.yaml", BROKEN), ("y.yaml", &service("b", 1))]);
    check(&update(&mut folder, &[("y.yaml", &service("b", 1))]), &[("b", 1)], &[]);
}

#[test]
fn of_two_files_the_first_by_name_wins() {
    let mut folder = Folder::new();
    let (one, two) = (service("a", 1), service("a", 2));
    let loaded = update(&mut folder, &[("2.yaml", &two), ("1.yaml", &one)]);
    check(&loaded, &[("a", 1)], &[Reason::DuplicateObject]);
    let problem = &loaded.problems[0];
    assert_eq!(problem.place.as_ref().unwrap().to_string(), "2.yaml:1");
    assert!(problem.message.contains("1.yaml:1"), "{}", problem.message);
}

#[test]
fn what_is_left_of_a_broken_file_yields_to_a_file_that_defines_it() {
    let mut folder = Folder::new();
    update(&mut folder, &[("1.yaml", &service("a", 1))]);
    let loaded = update(&mut folder, &[("1.yaml", BROKEN), ("2.yaml", &service("a", 2))]);
    check(&loaded, &[("a", 2)], &[Reason::Undecodable]);
}

#[test]
fn a_flattened_document_leaves_its_object() {
    let mut folder = Folder::new();
    update(&mut folder, &[("1.yaml", &service("a", 1))]);
    let flat = service("a", 2).lines().map(|line| format!("{}\n", line.trim())).collect::<String>();
    let loaded = update(&mut folder, &[("1.yaml", &flat)]);
    check(&loaded, &[("a", 1)], &[Reason::Flattened, Reason::Quarantined]);
}

#[test]
fn fields_are_found_by_line() {
    let mut folder = Folder::new();
    update(&mut folder, &[("1.yaml", &format!("# head\n---\n{}", service("a", 1)))]);
    let a = ObjectRef::new("Service", "default", "a");
    for (field, expected) in
        [("spec.ports[0].port", 9), ("spec.ports[0].name", 9), ("", 3), ("spec.nothing", 7)]
    {
        let place = folder.place(&a, field).unwrap();
        assert_eq!(place.to_string(), format!("1.yaml:{expected}"), "{field}");
    }
    assert_eq!(folder.place(&ObjectRef::new("Service", "default", "b"), ""), None);
}

#[test]
fn json_is_read_like_yaml() {
    let mut folder = Folder::new();
    let json = r#"{"apiVersion": "v1", "kind": "ServiceList", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 7}]}}
    ]}"#;
    check(&update(&mut folder, &[("x.json", json)]), &[("a", 7)], &[]);
}
