//! The folder source: every way to save a file is noticed, nothing else is, and what breaks stays as it was.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringress_controller::source::{Change, Source};
use ringress_translate::Reason;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: 80\n")
}

/// The names of the Services that a change leaves.
fn names(change: &Change) -> BTreeSet<String> {
    change.loaded.objects.services.keys().map(|key| key.name.to_string()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A folder that is being watched.
struct Watched {
    dir: tempfile::TempDir,
    changes: Receiver<Change>,
}

impl Watched {
    /// A folder with these Services, one a file.
    async fn new(services: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in services {
            fs::write(dir.path().join(format!("{name}.yaml")), service(name)).unwrap();
        }
        let (first, changes) = Source::Folder(dir.path().to_owned()).open().await.unwrap();
        assert_eq!(names(&first), set(services));
        Self { dir, changes }
    }

    /// A folder that `make` fills, watched at `root` below it.
    async fn at(root: &str, make: impl FnOnce(&Path)) -> (Self, Change) {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let (first, changes) = Source::Folder(dir.path().join(root)).open().await.unwrap();
        (Self { dir, changes }, first)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The first change that leaves exactly these Services.
    async fn becomes(&mut self, expected: &[&str]) -> Change {
        let wait = async {
            loop {
                let change = self.changes.recv().await.expect("the source ended");
                if names(&change) == set(expected) {
                    return change;
                }
            }
        };
        timeout(Duration::from_secs(10), wait).await.expect("the change was not noticed")
    }

    /// The change that comes next, as names.
    async fn next(&mut self) -> BTreeSet<String> {
        names(
            &timeout(Duration::from_secs(10), self.changes.recv())
                .await
                .expect("nothing was noticed")
                .unwrap(),
        )
    }
}

#[tokio::test]
async fn a_file_written_in_place_is_noticed() {
    let mut watched = Watched::new(&["a"]).await;
    fs::write(watched.path("a.yaml"), service("b")).unwrap();
    assert_eq!(watched.next().await, set(&["b"]), "and never the empty file in between");
}

#[tokio::test]
async fn a_file_replaced_by_rename_is_noticed() {
    let mut watched = Watched::new(&["a"]).await;
    fs::write(watched.path(".a.yaml.new"), service("b")).unwrap();
    fs::rename(watched.path(".a.yaml.new"), watched.path("a.yaml")).unwrap();
    assert_eq!(watched.next().await, set(&["b"]));
}

#[tokio::test]
async fn a_file_renamed_away_before_it_is_written_anew_is_never_missing() {
    let mut watched = Watched::new(&["a", "other"]).await;
    fs::rename(watched.path("a.yaml"), watched.path("a.yaml~")).unwrap();
    fs::write(watched.path("a.yaml"), service("b")).unwrap();
    fs::remove_file(watched.path("a.yaml~")).unwrap();
    assert_eq!(watched.next().await, set(&["b", "other"]));
}

#[tokio::test]
async fn a_file_written_in_two_parts_is_read_when_it_is_closed() {
    use std::io::Write;
    let mut watched = Watched::new(&["a"]).await;
    let text = service("b") + "---\n" + &service("c");
    let (first, second) = text.split_at(service("b").len());
    let mut file = fs::File::create(watched.path("a.yaml")).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    // Another file's change makes the source look while this one is half-written.
    fs::write(watched.path("d.yaml"), service("d")).unwrap();
    assert_eq!(watched.next().await, set(&["a", "d"]), "the half-written file stays as it was");
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    assert_eq!(watched.next().await, set(&["b", "c", "d"]));
}

#[tokio::test]
async fn new_files_and_new_subfolders_are_noticed() {
    let mut watched = Watched::new(&[]).await;
    fs::write(watched.path("a.yml"), service("a")).unwrap();
    watched.becomes(&["a"]).await;
    fs::create_dir(watched.path("sub")).unwrap();
    fs::write(watched.path("sub/b.json"), r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"b"}}"#)
        .unwrap();
    watched.becomes(&["a", "b"]).await;
    fs::write(watched.path("sub/c.yaml"), service("c")).unwrap();
    watched.becomes(&["a", "b", "c"]).await;
}

#[tokio::test]
async fn a_deleted_file_deletes() {
    let mut watched = Watched::new(&["a", "b"]).await;
    fs::remove_file(watched.path("a.yaml")).unwrap();
    assert_eq!(watched.next().await, set(&["b"]));
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_as_a_whole() {
    let version = |root: &Path, number: u32, service: &str| {
        let folder = root.join(format!("..2026_11_21_{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), service).unwrap();
        symlink(&folder, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let (mut watched, first) = Watched::at(".", |root| {
        version(root, 1, &service("a"));
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    })
    .await;
    assert_eq!(names(&first), set(&["a"]), "once, although the file is there by three paths");
    assert!(first.loaded.problems.is_empty(), "{:?}", first.loaded.problems);
    version(watched.dir.path(), 2, &service("b"));
    fs::remove_dir_all(watched.path("..2026_11_21_1")).unwrap();
    assert_eq!(watched.next().await, set(&["b"]));
}

#[tokio::test]
async fn a_folder_deleted_and_made_again_is_watched_again() {
    let (mut watched, first) = Watched::at("m", |dir| {
        fs::create_dir(dir.join("m")).unwrap();
        fs::write(dir.join("m/a.yaml"), service("a")).unwrap();
    })
    .await;
    assert_eq!(names(&first), set(&["a"]));
    fs::rename(watched.path("m"), watched.path("away")).unwrap();
    let gone = watched.becomes(&["a"]).await;
    let [problem] = &gone.loaded.problems[..] else { panic!("{:?}", gone.loaded.problems) };
    assert!(problem.message.contains("stays as it was"), "{problem}");
    fs::create_dir(watched.path("m")).unwrap();
    fs::write(watched.path("m/b.yaml"), service("b")).unwrap();
    let back = watched.becomes(&["b"]).await;
    assert!(back.loaded.problems.is_empty(), "{:?}", back.loaded.problems);
    fs::write(watched.path("m/b.yaml"), service("c")).unwrap();
    watched.becomes(&["c"]).await;
}

#[tokio::test]
async fn a_link_turned_to_another_folder_is_followed() {
    let (mut watched, first) = Watched::at("current", |dir| {
        for name in ["a", "b"] {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("x.yaml"), service(name)).unwrap();
        }
        symlink("a", dir.join("current")).unwrap();
    })
    .await;
    assert_eq!(names(&first), set(&["a"]));
    symlink("b", watched.path("next")).unwrap();
    fs::rename(watched.path("next"), watched.path("current")).unwrap();
    watched.becomes(&["b"]).await;
    fs::write(watched.path("b/x.yaml"), service("c")).unwrap();
    watched.becomes(&["c"]).await;
}

#[tokio::test]
async fn a_touched_file_and_a_hidden_one_are_no_change() {
    let mut watched = Watched::new(&["a"]).await;
    let file = fs::File::options().append(true).open(watched.path("a.yaml")).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    drop(file);
    fs::write(watched.path("a.yaml"), service("a")).unwrap();
    fs::write(watched.path(".hidden.yaml"), service("hidden")).unwrap();
    fs::write(watched.path("notes.txt"), "notes").unwrap();
    // Changes come in order, so whatever these had caused would come first.
    fs::write(watched.path("b.yaml"), service("b")).unwrap();
    assert_eq!(watched.next().await, set(&["a", "b"]));
}

#[tokio::test]
async fn a_document_that_does_not_parse_leaves_its_object_as_it_was() {
    let mut watched = Watched::new(&["a", "b"]).await;
    fs::write(watched.path("a.yaml"), "apiVersion: v1\nkind: Service\nmetadata: [\n").unwrap();
    let change = watched.becomes(&["a", "b"]).await;
    assert!(!change.loaded.problems.is_empty());
    fs::write(watched.path("a.yaml"), service("c")).unwrap();
    let change = watched.becomes(&["b", "c"]).await;
    assert!(change.loaded.problems.is_empty(), "{:?}", change.loaded.problems);
}

#[tokio::test]
async fn an_unreadable_file_is_a_problem_and_stays_as_it_was() {
    let mut watched = Watched::new(&["a"]).await;
    fs::write(watched.path("a.yaml"), b"\xff\xfe\x00").unwrap();
    let change = watched.becomes(&["a"]).await;
    let [problem] = &change.loaded.problems[..] else { panic!("{:?}", change.loaded.problems) };
    assert!(problem.object.name.ends_with("a.yaml"), "{problem}");
}

#[tokio::test]
async fn a_burst_ends_in_the_last_state() {
    let mut watched = Watched::new(&[]).await;
    let last: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();
    for round in 0..20 {
        for number in 0..50 {
            let name = if round == 19 { format!("s{number}") } else { format!("r{round}-{number}") };
            fs::write(watched.path(&format!("{number}.yaml")), service(&name)).unwrap();
        }
    }
    let last: Vec<&str> = last.iter().map(String::as_str).collect();
    watched.becomes(&last).await;
}

#[tokio::test]
async fn a_missing_folder_is_an_error_at_the_start() {
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let error = Source::Folder(missing).open().await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read the folder "), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_busy_folder_above_does_not_keep_the_source_from_looking() {
    let (mut watched, _) = Watched::at("m", |dir| {
        fs::create_dir(dir.join("m")).unwrap();
        fs::write(dir.join("target"), service("a")).unwrap();
        symlink("../target", dir.join("m/a.yaml")).unwrap();
    })
    .await;
    // The file that the link leads to is outside, so only the slow look finds its change.
    fs::write(watched.path("target"), service("b")).unwrap();
    let noise = watched.path("noise");
    let busy = tokio::spawn(async move {
        loop {
            fs::write(&noise, "noise").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    watched.becomes(&["b"]).await;
    busy.abort();
}

/// What is wrong, by reason and message.
fn told(change: &Change) -> Vec<(Reason, String)> {
    change.loaded.problems.iter().map(|problem| (problem.reason, problem.message.clone())).collect()
}

#[tokio::test]
async fn a_renamed_file_is_never_said_to_define_an_object_twice() {
    // Before and after in the order of names: either may be the first of two.
    for (old, new) in [("a.yaml", "z.yaml"), ("z.yaml", "a.yaml")] {
        let (mut watched, _) = Watched::at("", |dir| fs::write(dir.join(old), service("web")).unwrap()).await;
        fs::rename(watched.path(old), watched.path(new)).unwrap();
        // What comes after the moment in which both names are known.
        tokio::time::sleep(Duration::from_millis(200)).await;
        fs::write(watched.path("other.yaml"), service("other")).unwrap();
        loop {
            let change = timeout(Duration::from_secs(10), watched.changes.recv()).await.unwrap().unwrap();
            assert_eq!(told(&change), [], "{old} to {new}");
            if names(&change) == set(&["web", "other"]) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_object_in_two_files_is_told_and_taken_back() {
    let mut watched = Watched::new(&["web"]).await;
    fs::write(watched.path("copy.yaml"), service("web")).unwrap();
    let has = |change: &Change, count| {
        change.loaded.problems.iter().filter(|problem| problem.reason == Reason::DuplicateObject).count()
            == count
    };
    let next = async |watched: &mut Watched, count| loop {
        let change =
            timeout(Duration::from_secs(10), watched.changes.recv()).await.expect("not told").unwrap();
        if has(&change, count) {
            return;
        }
    };
    next(&mut watched, 1).await;
    fs::remove_file(watched.path("web.yaml")).unwrap();
    next(&mut watched, 0).await;
    // A file that leaves does not hide for long what others define twice.
    fs::write(watched.path("web.yaml"), service("web")).unwrap();
    next(&mut watched, 1).await;
}

#[tokio::test]
async fn a_duplicate_beside_a_file_that_leaves_is_told_when_that_is_gone() {
    let mut watched = Watched::new(&["web", "other"]).await;
    fs::remove_file(watched.path("other.yaml")).unwrap();
    fs::write(watched.path("copy.yaml"), service("web")).unwrap();
    let change = watched.becomes(&["web"]).await;
    let [(reason, message)] = &told(&change)[..] else { panic!("{:?}", told(&change)) };
    assert_eq!(*reason, Reason::DuplicateObject);
    assert!(message.contains("copy.yaml:1"), "{message}");
}

#[tokio::test]
async fn a_folder_that_is_moved_away_takes_its_manifests_along() {
    let (mut watched, first) = Watched::at("m", |dir| {
        fs::create_dir_all(dir.join("m/sub/deep")).unwrap();
        fs::write(dir.join("m/sub/deep/web.yaml"), service("web")).unwrap();
        fs::write(dir.join("m/other.yaml"), service("other")).unwrap();
    })
    .await;
    assert_eq!(names(&first), set(&["web", "other"]));
    fs::rename(watched.path("m/sub"), watched.path("sub")).unwrap();
    watched.becomes(&["other"]).await;
    fs::rename(watched.path("sub"), watched.path("m/back")).unwrap();
    watched.becomes(&["web", "other"]).await;
}
