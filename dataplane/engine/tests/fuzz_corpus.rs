//! Whatever the fuzzer has found worth keeping, through the very functions that it calls.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/bodies/chunked.rs"]
mod chunked;
#[path = "../fuzz/bodies/head.rs"]
mod head;
#[path = "../fuzz/bodies/host_path.rs"]
mod host_path;

/// `run` panics at an input that breaks its law.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 100, "{target}: the corpus has {} inputs", files.len());
    for file in files {
        // The test shows what was printed last, where it fails.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn the_corpus_of_heads_holds() {
    replay("head", head::run);
}

#[test]
fn the_corpus_of_chunked_bodies_holds() {
    replay("chunked", chunked::run);
}

#[test]
fn the_corpus_of_hosts_and_paths_holds() {
    replay("host_path", host_path::run);
}
