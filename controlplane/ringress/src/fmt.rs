//! `ringress fmt`: restores the indentation of manifests that lost it on a web page.
//!
//! What comes out is readable, or nothing comes out: whoever pipes it on never applies a half.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use ringress_translate::manifest;

use crate::args::FmtArgs;
use crate::files;
use crate::terminal;

/// Prints or replaces; 1 where a text could not be restored.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn run(args: FmtArgs) -> anyhow::Result<ExitCode> {
    let mut failed = false;
    let mut out = String::new();
    for path in &args.files {
        let text = text(path)?;
        match manifest::unflatten(&text) {
            Err(error) => {
                failed = true;
                eprintln!("error: {}: {error}", name(path));
            }
            Ok(restored) if args.write && !is_stdin(path) => {
                if restored != text {
                    replace(path, &restored)?;
                    terminal::print(&format!("rewritten: {}\n", path.display()));
                }
            }
            Ok(restored) => out.push_str(&document(&restored, !out.is_empty())),
        }
    }
    if failed {
        return Ok(ExitCode::FAILURE);
    }
    terminal::print(&out);
    Ok(ExitCode::SUCCESS)
}

fn text(path: &Path) -> anyhow::Result<String> {
    if is_stdin(path) { files::stdin() } else { files::text(path) }
}

fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A text as it is printed after others: as a document of its own, with a line end.
fn document(text: &str, after_others: bool) -> String {
    let mark = if after_others && !text.trim_start().starts_with("---") { "---\n" } else { "" };
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    format!("{mark}{text}{end}")
}

/// Replaces a file by renaming, so that whoever watches the folder never reads half of it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    // A link stays a link: what it leads to is replaced.
    let target = fs::canonicalize(path).with_context(cannot)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = target.with_file_name(name);
    let written = write_beside(&beside, text, &target).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(cannot)
}

fn write_beside(beside: &Path, text: &str, original: &Path) -> std::io::Result<()> {
    let mut file = fs::File::create(beside)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::metadata(original)?.permissions())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn several_files_stay_several_documents() {
        assert_eq!(document("a: 1", false), "a: 1\n");
        assert_eq!(document("b: 2\n", true), "---\nb: 2\n");
        assert_eq!(document("---\nc: 3\n", true), "---\nc: 3\n");
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.yaml"), dir.path().join("link.yaml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }
}
