//! What containers say: one file each, every line with its time, as `kubectl logs` wants it back.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};

/// Copies lines to the end of a file until the writer closes its side.
pub(crate) async fn keep(output: impl AsyncRead + Unpin, file: PathBuf) {
    let Ok(mut file) = tokio::fs::File::options().create(true).append(true).open(file).await else { return };
    let mut lines = BufReader::with_capacity(64 * 1024, output);
    let mut line = Vec::new();
    let mut batch = Vec::new();
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        batch.extend_from_slice(Timestamp::now().to_string().as_bytes());
        batch.push(b' ');
        batch.extend_from_slice(&line);
        if !line.ends_with(b"\n") {
            batch.push(b'\n');
        }
        line.clear();
        // One write for whatever has come already: an access log has a hundred lines in a buffer.
        if lines.buffer().is_empty() {
            // A full disk must not stop a container.
            let _ = file.write_all(&batch).await;
            let _ = file.flush().await;
            batch.clear();
        }
    }
    let _ = file.write_all(&batch).await;
    let _ = file.flush().await;
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) since: Option<Timestamp>,
    pub(crate) tail: Option<usize>,
    pub(crate) timestamps: bool,
}

/// Whole lines of a log from an offset on, and where they end.
///
/// # Errors
/// The file cannot be read; one that is not there yet is empty.
pub(crate) fn read(file: &Path, offset: u64) -> std::io::Result<(String, u64)> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = match std::fs::File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((String::new(), offset)),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
    Ok((String::from_utf8_lossy(&bytes).into_owned(), offset + bytes.len() as u64))
}

/// The wanted lines.
pub(crate) fn select(log: &str, wanted: &Wanted) -> String {
    let recent = log.lines().filter(|line| match (wanted.since, time(line)) {
        (Some(since), Some(time)) => time >= since,
        _ => true,
    });
    let lines: Vec<&str> = recent.collect();
    let skipped = wanted.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    let mut text = String::new();
    for line in &lines[skipped..] {
        let said = line.split_once(' ').map_or("", |(_, said)| said);
        text.push_str(if wanted.timestamps { line } else { said });
        text.push('\n');
    }
    text
}

fn time(line: &str) -> Option<Timestamp> {
    line.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two words\n2026-01-01T00:00:03Z \n";

    #[test]
    fn lines_are_selected() {
        let select = |wanted: Wanted| super::select(LOG, &wanted);
        assert_eq!(select(Wanted::default()), "one\ntwo words\n\n");
        assert_eq!(select(Wanted { tail: Some(1), ..Wanted::default() }), "\n");
        assert_eq!(select(Wanted { tail: Some(9), ..Wanted::default() }), "one\ntwo words\n\n");
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        assert_eq!(select(Wanted { since, ..Wanted::default() }), "two words\n\n");
        assert_eq!(select(Wanted { timestamps: true, ..Wanted::default() }), LOG);
    }

    #[tokio::test]
    async fn what_is_kept_is_read_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        assert_eq!(read(&file, 0).unwrap(), (String::new(), 0));
        keep(&b"a\nb"[..], file.clone()).await;
        let (log, end) = read(&file, 0).unwrap();
        assert_eq!(super::select(&log, &Wanted::default()), "a\nb\n");
        std::fs::write(folder.path().join("cut"), "x y\nz").unwrap();
        assert_eq!(read(&folder.path().join("cut"), 0).unwrap(), ("x y\n".to_owned(), 4));
        assert_eq!(read(&file, end).unwrap(), (String::new(), end));
    }
}
