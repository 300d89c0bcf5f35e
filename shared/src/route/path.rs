//! The path that matching sees. What goes upstream is the path as sent.
//!
//! Decodes unreserved characters (RFC 3986 §6.2.2.2), resolves dot segments (§5.2.4), keeps `//`, keeps `%2f` encoded.
//! A rule must not be dodged by another spelling of its path, and a signed URL must not be changed on its way.
//!
//! Many endpoints take `//` for `/`. Matching does not, and yet no path may lead around a rule that is closed: see
//! [`NormalPath::merged`].

use std::borrow::Cow;
use std::fmt;

/// A path as matching sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'p> {
    /// The bytes to match.
    pub bytes: Cow<'p, [u8]>,
    /// The path that an endpoint sees which decodes slashes first, where a slash was encoded: it must choose the same rule.
    /// `Err` where it climbs above the root.
    pub with_slashes: Option<Result<Vec<u8>, PathError>>,
    /// The paths that endpoints see which merge slashes, before or after they resolve dot segments, and decode them or not.
    /// Empty where no slashes follow each other. Those that climb above the root are left out.
    pub merged: Vec<Vec<u8>>,
}

/// Why a path is refused (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// `%` without two hexadecimal digits.
    Encoding,
    /// `%00`.
    Nul,
    /// `..` above the root.
    AboveRoot,
    /// Does not start with `/`.
    Relative,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "the path has a % without two hexadecimal digits",
            Self::Nul => "the path has an encoded NUL",
            Self::AboveRoot => "the path climbs above its root",
            Self::Relative => "the path does not start with a slash",
        })
    }
}

/// The path as matching sees it; borrowed where nothing had to change.
///
/// # Errors
/// See [`PathError`].
pub fn normalise(raw: &[u8]) -> Result<NormalPath<'_>, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::Relative);
    }
    if !needs_work(raw) {
        return Ok(NormalPath { bytes: Cow::Borrowed(raw), with_slashes: None, merged: Vec::new() });
    }
    let (decoded, encoded_slash) = decode_unreserved(raw)?;
    let bytes = resolve_dots(&decoded)?;
    // Slashes first, dots afterwards: in `/admin%2fx/../y` the order decides who is climbed out of.
    let with_decoded = encoded_slash.then(|| decode_slashes(&decoded));
    let merged = merged([Some(&decoded), with_decoded.as_ref()]);
    let with_slashes = with_decoded.map(|decoded| resolve_dots(&decoded));
    Ok(NormalPath { bytes: Cow::Owned(bytes), with_slashes, merged })
}

/// The order decides as with encoded slashes: `/x//../admin` is `/admin` or `/x/admin`.
fn merged(spellings: [Option<&Vec<u8>>; 2]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for spelling in spellings.into_iter().flatten().filter(|path| has_empty_element(path)) {
        let before = resolve_dots(&merge_slashes(spelling));
        let after = resolve_dots(spelling).map(|path| merge_slashes(&path));
        for path in [before, after].into_iter().flatten() {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
    all
}

fn has_empty_element(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"//")
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    out
}

fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        // Kept triplets are upper case by now.
        let slash = rest.starts_with(b"%2F");
        out.push(if slash { b'/' } else { *first });
        rest = if slash { &rest[3..] } else { tail };
    }
    out
}

fn needs_work(raw: &[u8]) -> bool {
    let mut previous = 0;
    raw.iter().any(|byte| {
        let found = *byte == b'%' || (matches!(byte, b'.' | b'/') && previous == b'/');
        previous = *byte;
        found
    })
}

fn decode_unreserved(raw: &[u8]) -> Result<(Vec<u8>, bool), PathError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut encoded_slash = false;
    let mut rest = raw;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let byte = match tail {
            [high, low, ..] => hex(*high)? << 4 | hex(*low)?,
            _ => return Err(PathError::Encoding),
        };
        match byte {
            0 => return Err(PathError::Nul),
            _ if is_unreserved(byte) => out.push(byte),
            _ => {
                encoded_slash |= byte == b'/';
                // Upper case is the normal form of a kept triplet (RFC 3986 §6.2.2.1).
                out.extend([b'%', tail[0].to_ascii_uppercase(), tail[1].to_ascii_uppercase()]);
            }
        }
        rest = &tail[2..];
    }
    Ok((out, encoded_slash))
}

fn hex(digit: u8) -> Result<u8, PathError> {
    (digit as char).to_digit(16).map(|value| value as u8).ok_or(PathError::Encoding)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn resolve_dots(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." if last => out.push(b'/'),
            b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
                if last {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_normalise_or_are_refused() {
        let rows: [(&str, Result<&str, PathError>); 26] = [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b", Ok("/a//b")),
            ("//", Ok("//")),
            ("/%61pi", Ok("/api")),
            ("/%7Euser", Ok("/~user")),
            ("/a%20b", Ok("/a%20b")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a%2Fb", Ok("/a%2Fb")),
            ("/a/./b", Ok("/a/b")),
            ("/a/../b", Ok("/b")),
            ("/a/..", Ok("/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/.", Ok("/a/")),
            ("/.", Ok("/")),
            ("/%2e%2E/x", Err(PathError::AboveRoot)),
            ("/a/%2e%2e/x", Ok("/x")),
            ("/a/%2e./x", Ok("/x")),
            ("/..", Err(PathError::AboveRoot)),
            ("/.hidden", Ok("/.hidden")),
            ("/a/...", Ok("/a/...")),
            ("/%00", Err(PathError::Nul)),
            ("/%", Err(PathError::Encoding)),
            ("/%2", Err(PathError::Encoding)),
            ("/%zz", Err(PathError::Encoding)),
            ("a", Err(PathError::Relative)),
        ];
        for (input, expected) in rows {
            let normal = normalise(input.as_bytes());
            let got = normal.map(|path| String::from_utf8(path.bytes.into_owned()).unwrap());
            assert_eq!(got, expected.map(str::to_owned), "{input}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for input in ["/a/%2e%2e/b%2fc//d/.", "/%41%20/..//x", "/a/b/../../c/"] {
            let once = normalise(input.as_bytes()).unwrap().bytes.into_owned();
            assert_eq!(normalise(&once).unwrap().bytes, once, "{input}");
        }
    }

    #[test]
    fn decoded_slashes_are_resolved_in_their_own_order() {
        let rows: [(&str, Option<Result<&str, PathError>>); 5] = [
            ("/a/b", None),
            ("/a%2fb", Some(Ok("/a/b"))),
            ("/a%2f..%2fb", Some(Ok("/b"))),
            ("/admin%2fy/../x", Some(Ok("/admin/x"))),
            ("/a%2f../..", Some(Err(PathError::AboveRoot))),
        ];
        for (input, expected) in rows {
            let got = normalise(input.as_bytes()).unwrap().with_slashes;
            let got = got.map(|path| path.map(|bytes| String::from_utf8(bytes).unwrap()));
            assert_eq!(got, expected.map(|path| path.map(str::to_owned)), "{input}");
        }
    }

    #[test]
    fn slashes_are_merged_in_every_order_in_which_endpoints_do_it() {
        let rows: [(&str, &[&str]); 13] = [
            ("/", &[]),
            ("/a/./b/..", &[]),
            ("/a%2fb", &[]),
            ("//", &["/"]),
            ("//a//b///", &["/a/b/"]),
            ("/x/..//a", &["/a"]),
            ("/%2fa", &["/a"]),
            ("/x%2f/a", &["/x/a"]),
            ("/x//../a", &["/a", "/x/a"]),
            ("//a%2fb", &["/a%2Fb", "/a/b"]),
            ("/x/%2f../a", &["/a", "/x/a"]),
            ("/x//../..//a", &["/a"]),
            ("/x/.//a", &["/x/a"]),
        ];
        for (input, expected) in rows {
            let merged = normalise(input.as_bytes()).unwrap().merged;
            let merged: Vec<_> = merged.iter().map(|path| std::str::from_utf8(path).unwrap()).collect();
            assert_eq!(merged, expected, "{input}");
        }
    }
}
