//! The file on a disk: replaced as a whole, never half there, and of no use to the wrong reader.

use super::*;
use ringress_translate::manifest::json;

fn cache(dir: &Path) -> Cache {
    cache_of(dir, "https://here")
}

fn cache_of(dir: &Path, server: &str) -> Cache {
    Cache::new(CacheConfig::new(dir.join("made/by/us")), server, &[])
}

fn held(name: &str) -> Held {
    let mut held = Held::default();
    let text = format!(r#"{{"metadata":{{"namespace":"shop","name":"{name}"}}}}"#);
    held.objects.insert(json::object("Service", &text).unwrap());
    held
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert!(matches!(cache.read_now(SystemTime::now()), Err(Useless::Missing)));
    cache.write(&held("first")).unwrap();
    cache.write(&held("second")).unwrap();
    let cached = cache.read_now(SystemTime::now()).unwrap();
    let services: Vec<String> = cached.objects.services.keys().map(|key| key.name.to_string()).collect();
    assert_eq!(services, ["second"]);
    assert_eq!(names(&cache.config.dir), [NAME]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(cache.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_write_that_fails_leaves_the_file_before() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.write(&held("first")).unwrap();
    // A folder of that name cannot be replaced by a file.
    fs::rename(cache.path(), cache.config.dir.join("kept")).unwrap();
    fs::create_dir_all(cache.path().join("in the way")).unwrap();
    assert!(cache.write(&held("second")).is_err());
    assert_eq!(names(&cache.config.dir), [NAME, "kept"], "nothing is left beside");
}

#[test]
fn parts_of_a_process_that_died_are_removed_and_those_of_a_living_one_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.write(&held("first")).unwrap();
    let [dead, writing] =
        ["dead", "writing"].map(|name| cache.config.dir.join(format!("{NAME}.{name}.part")));
    fs::write(&dead, "half").unwrap();
    let file = File::create(&writing).unwrap();
    file.try_lock().unwrap();
    cache.read_now(SystemTime::now()).unwrap();
    assert_eq!(names(&cache.config.dir).len(), 3, "both are young");
    cache.read_now(SystemTime::now() + LEFTOVER * 2).unwrap();
    assert!(!dead.exists() && writing.exists() && cache.path().exists());
}

#[test]
fn what_was_true_too_long_ago_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.write(&held("first")).unwrap();
    let later = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);
    assert!(cache.read_now(later(23)).is_ok());
    let error = cache.read_now(later(25)).unwrap_err().to_string();
    assert!(error.contains("--cache-max-age"), "{error}");
}

#[test]
fn the_cache_of_another_cluster_or_scope_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    cache(dir.path()).write(&held("first")).unwrap();
    assert!(cache_of(dir.path(), "https://there").read_now(SystemTime::now()).is_err());
    let watches = super::super::plan::watches(&super::super::Scope::default());
    let other = Cache::new(CacheConfig::new(dir.path().join("made/by/us")), "https://here", &watches);
    assert!(other.read_now(SystemTime::now()).is_err());
    assert!(cache(dir.path()).read_now(SystemTime::now()).is_ok());
}
