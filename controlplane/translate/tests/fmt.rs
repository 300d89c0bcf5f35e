//! What was flattened on a web page means, restored, what its author wrote.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
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

fn load(text: &str) -> Objects {
    let files = BTreeMap::from([("case.yaml".to_owned(), Arc::from(text))]);
    Folder::new().update(files).objects
}

/// Every restored object is, field for field, the one that was written.
fn check(name: &str, restored: &Objects, written: &Objects) {
    assert_eq!(restored.len(), 1, "{name}");
    let kinds = |objects: &Objects| {
        [versions(&objects.ingresses), versions(&objects.services), versions(&objects.secrets)]
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
