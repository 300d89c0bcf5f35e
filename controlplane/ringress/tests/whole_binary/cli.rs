//! The verbs as a person or a script meets them: output, exit codes, files.

mod asking;
mod dev;
mod explain;
mod manifests;
mod run;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Runs a verb to its end.
fn ringress(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringress")).args(arguments).output().expect("the binary was built")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").canonicalize().unwrap()
}

fn example(name: &str) -> String {
    examples().join(name).display().to_string()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}
