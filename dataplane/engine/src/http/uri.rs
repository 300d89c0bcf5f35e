//! Request targets and hosts, checked byte by byte. Nothing is decoded or normalised here: routing has its own copy.
//!
//! Stricter than RFC 3986 on purpose: hosts are DNS names and addresses without escapes or sub-delimiters, and bytes
//! that parsers are known to disagree on never pass.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::error::HeadError;

/// The parts of a request target, as offsets into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port of an absolute or authority target.
    pub authority: Option<Range<usize>>,
    /// Empty where an absolute target has none, and for CONNECT; `*` for the whole server.
    pub path: Range<usize>,
    /// Without the `?`.
    pub query: Option<Range<usize>>,
}

/// The parts of a Host value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// Length of the host, brackets of an IPv6 address included.
    pub hostname_len: usize,
    /// `None` where it is left out or empty.
    pub port: Option<u16>,
}

/// Takes a target apart (RFC 9112 §3.2).
///
/// # Errors
/// [`HeadError::Target`] for a form that the method does not allow or a byte outside the grammar,
/// [`HeadError::HostInvalid`] for a bad authority.
pub fn parse_target(method: &[u8], target: &[u8]) -> Result<Target, HeadError> {
    if method == b"CONNECT" {
        return connect_target(target);
    }
    match target {
        [b'/', ..] => path_and_query(target, 0, None),
        b"*" if method == b"OPTIONS" => Ok(Target { authority: None, path: 0..1, query: None }),
        _ => absolute_target(target),
    }
}

/// Takes a Host value apart (RFC 9110 §7.2).
///
/// # Errors
/// [`HeadError::HostInvalid`].
pub fn parse_authority(value: &[u8]) -> Result<Authority, HeadError> {
    let hostname_len = match value {
        [b'[', ..] => ipv6_literal_len(value)?,
        _ => value.iter().position(|byte| *byte == b':').unwrap_or(value.len()),
    };
    let (hostname, rest) = value.split_at(hostname_len);
    if !hostname.starts_with(b"[") && !is_registered_name(hostname) {
        return Err(HeadError::HostInvalid);
    }
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(parse_port(digits)?),
        _ => return Err(HeadError::HostInvalid),
    };
    Ok(Authority { hostname_len, port })
}

/// Whether these bytes are an RFC 9110 §5.6.2 token.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Appends path and query that were put together by us, and may hold what was decoded.
pub(crate) fn write_escaped(target: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in target {
        if TARGET[usize::from(*byte)] {
            out.push(*byte);
        } else {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
        }
    }
}

fn connect_target(target: &[u8]) -> Result<Target, HeadError> {
    let authority = parse_authority(target)?;
    if authority.port.is_none() {
        return Err(HeadError::Target);
    }
    Ok(Target { authority: Some(0..target.len()), path: 0..0, query: None })
}

fn absolute_target(target: &[u8]) -> Result<Target, HeadError> {
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let start = scheme.ok_or(HeadError::Target)?.len();
    let ends = |byte: &u8| matches!(byte, b'/' | b'?');
    let end = target[start..].iter().position(ends).map_or(target.len(), |at| start + at);
    parse_authority(&target[start..end])?;
    path_and_query(target, end, Some(start..end))
}

fn path_and_query(target: &[u8], start: usize, authority: Option<Range<usize>>) -> Result<Target, HeadError> {
    if !target[start..].iter().all(|byte| TARGET[usize::from(*byte)]) {
        return Err(HeadError::Target);
    }
    let mark = memchr::memchr(b'?', &target[start..]).map(|at| start + at);
    let path = start..mark.unwrap_or(target.len());
    if !has_whole_escapes(&target[path.clone()]) {
        return Err(HeadError::Target);
    }
    Ok(Target { authority, path, query: mark.map(|at| at + 1..target.len()) })
}

/// Whether every `%` of a path begins two hex digits. Queries are opaque here: `?q=100%` is common.
fn has_whole_escapes(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .all(|at| path.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

fn ipv6_literal_len(value: &[u8]) -> Result<usize, HeadError> {
    let close = value.iter().position(|byte| *byte == b']').ok_or(HeadError::HostInvalid)?;
    let text = std::str::from_utf8(&value[1..close]).map_err(|_| HeadError::HostInvalid)?;
    text.parse::<Ipv6Addr>().map_err(|_| HeadError::HostInvalid)?;
    Ok(close + 1)
}

fn is_registered_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= HOSTNAME_BYTES_MAX && name.iter().all(|byte| HOST[usize::from(*byte)])
}

fn parse_port(digits: &[u8]) -> Result<u16, HeadError> {
    let plain = digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
    let port = digits.iter().take(5).fold(0u32, |port, digit| port * 10 + u32::from(digit & 0x0f));
    match u16::try_from(port) {
        Ok(port) if plain && port > 0 => Ok(port),
        _ => Err(HeadError::HostInvalid),
    }
}

const HOSTNAME_BYTES_MAX: usize = 255;

const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");
/// RFC 3986 path and query, and the brackets that forms send unescaped; not `#`, `\`, `"<>^{|}` or a grave accent.
const TARGET: [bool; 256] = alphanumeric_and(b"-._~!$&'()*+,;=:@%/?[]");
const HOST: [bool; 256] = alphanumeric_and(b"-._~");

const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parts(method: &str, target: &str) -> (Option<String>, String, Option<String>) {
        let found = parse_target(method.as_bytes(), target.as_bytes()).unwrap();
        let text = |range: Range<usize>| target[range].to_string();
        (found.authority.map(text), text(found.path), found.query.map(text))
    }

    #[test]
    fn targets_come_apart() {
        let text = |text: &str| text.to_string();
        assert_eq!(parts("GET", "/"), (None, text("/"), None));
        assert_eq!(parts("GET", "/a/b?c?d"), (None, text("/a/b"), Some(text("c?d"))));
        assert_eq!(parts("GET", "//a"), (None, text("//a"), None));
        assert_eq!(parts("GET", "/?"), (None, text("/"), Some(text(""))));
        assert_eq!(parts("GET", "/a?b=%"), (None, text("/a"), Some(text("b=%"))));
        assert_eq!(parts("OPTIONS", "*"), (None, text("*"), None));
        assert_eq!(parts("GET", "HTTP://a:1/b?c"), (Some(text("a:1")), text("/b"), Some(text("c"))));
        assert_eq!(parts("GET", "https://a"), (Some(text("a")), text(""), None));
        assert_eq!(parts("GET", "http://a?b"), (Some(text("a")), text(""), Some(text("b"))));
        assert_eq!(parts("CONNECT", "a:443"), (Some(text("a:443")), text(""), None));
    }

    #[test]
    fn hosts_come_apart() {
        let of =
            |value: &str| parse_authority(value.as_bytes()).map(|found| (found.hostname_len, found.port));
        assert_eq!(of("a.example"), Ok((9, None)));
        assert_eq!(of("a_b.example.:8080"), Ok((12, Some(8080))));
        assert_eq!(of("127.0.0.1:80"), Ok((9, Some(80))));
        assert_eq!(of("[::1]"), Ok((5, None)));
        assert_eq!(of("[::ffff:1.2.3.4]:443"), Ok((16, Some(443))));
        assert_eq!(of("a:"), Ok((1, None)));
    }
}
