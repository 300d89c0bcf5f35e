//! The text of one file of manifests.
//!
//! Only regular files are read: opening a named pipe waits for a writer, opening a device may do anything, and neither
//! need ever end. What a name stands for may change between looking and opening, so both look.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a file, following links.
///
/// # Errors
/// It is no regular file, is larger than 16 MiB, is not UTF-8, or cannot be read.
pub fn read_text(path: &Path) -> io::Result<String> {
    admit(&std::fs::metadata(path)?)?;
    // A pipe that took the file's place since would make a blocking open wait.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    admit(&file.metadata()?)?;
    read(&file)
}

fn admit(metadata: &Metadata) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is no regular file"));
    }
    match metadata.len() {
        0..=FILE_BYTES_MAX => Ok(()),
        len => Err(too_large(&format!("has {len} bytes"))),
    }
}

fn read(file: &File) -> io::Result<String> {
    let mut text = String::new();
    // It may grow while it is read.
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 {
        0..=FILE_BYTES_MAX => Ok(text),
        _ => Err(too_large("is growing")),
    }
}

fn too_large(what: &str) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("{what}; at most {FILE_BYTES_MAX} (16 MiB) are read"))
}

/// Far above any manifest (etcd takes 1.5 MiB an object), far below what would hurt.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, link) = (dir.path().join("pipe.yaml"), dir.path().join("link.yaml"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [&*pipe, &*link, dir.path(), Path::new("/dev/zero")] {
            let error = read_text(path).unwrap_err().to_string();
            assert_eq!(error, "is no regular file", "{}", path.display());
        }
    }

    #[test]
    fn a_file_has_at_most_16_mib() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let file = File::create(&path).unwrap();
        file.set_len(FILE_BYTES_MAX).unwrap();
        assert_eq!(read_text(&path).unwrap().len() as u64, FILE_BYTES_MAX);
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = read_text(&path).unwrap_err().to_string();
        assert!(error.contains("16777217 bytes") && error.contains("16 MiB"), "{error}");
    }
}
