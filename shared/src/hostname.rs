//! Host names as rules write them and as requests carry them.

use std::fmt;

/// A host of a rule: an exact name or a one-label wildcard, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `www.example.com`
    Exact(Box<str>),
    /// `*.example.com`, kept as `example.com`.
    Wildcard(Box<str>),
}

/// Why a text is no host of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostError {
    /// No character at all.
    Empty,
    /// Over 253 characters.
    TooLong,
    /// A label is empty, over 63 characters, or has other characters than letters, digits and inner `-`.
    Label(Box<str>),
    /// `*` anywhere but as the whole first label.
    Wildcard,
    /// An address stands where a name must (Ingress v1 allows names only).
    Address,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => f.write_str("has more than 253 characters"),
            Self::Label(label) => write!(f, "has the label {label:?}, which is no DNS label"),
            Self::Wildcard => f.write_str("may have * only as its whole first label"),
            Self::Address => f.write_str("is an address, not a name"),
        }
    }
}

impl HostPattern {
    /// Parses a host of a rule; upper case is folded.
    ///
    /// # Errors
    /// See [`HostError`]; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let lower = text.to_ascii_lowercase();
        if let Some(suffix) = lower.strip_prefix("*.") {
            check_name(suffix)?;
            return Ok(Self::Wildcard(suffix.into()));
        }
        if lower.contains('*') {
            return Err(HostError::Wildcard);
        }
        check_name(&lower)?;
        if lower.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(HostError::Address);
        }
        Ok(Self::Exact(lower.into()))
    }

    /// Whether a request's host (lower case, without port) falls under this pattern. A wildcard spans exactly one label.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(suffix) => parent_domain(host).is_some_and(|parent| *parent == **suffix),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// What stands after the first label, where that label is not empty: `a.b.c` gives `b.c`.
pub fn parent_domain(host: &str) -> Option<&str> {
    match host.split_once('.') {
        Some((label, parent)) if !label.is_empty() && !parent.is_empty() => Some(parent),
        _ => None,
    }
}

/// The host of a request as routes compare it: lower case, without port and without a trailing dot.
///
/// `buffer` keeps the allocation between requests. The input must have passed the Host grammar.
pub fn normalise_host<'b>(authority: &[u8], buffer: &'b mut String) -> &'b str {
    buffer.clear();
    let name = strip_port(authority);
    let name = name.strip_suffix(b".").unwrap_or(name);
    buffer.extend(name.iter().map(|byte| byte.to_ascii_lowercase() as char));
    buffer
}

fn strip_port(authority: &[u8]) -> &[u8] {
    if authority.first() == Some(&b'[') {
        return match authority.iter().position(|byte| *byte == b']') {
            Some(end) => &authority[..=end],
            None => authority,
        };
    }
    match authority.iter().position(|byte| *byte == b':') {
        Some(colon) => &authority[..colon],
        None => authority,
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > 253 {
        return Err(HostError::TooLong);
    }
    match name.split('.').find(|label| !is_label(label)) {
        Some(label) => Err(HostError::Label(label.into())),
        None => Ok(()),
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_parse_or_say_why() {
        let rows: [(&str, Result<&str, HostError>); 11] = [
            ("example.com", Ok("example.com")),
            ("EXAMPLE.com", Ok("example.com")),
            ("*.example.com", Ok("*.example.com")),
            ("localhost", Ok("localhost")),
            ("", Err(HostError::Empty)),
            ("*", Err(HostError::Wildcard)),
            ("a.*.com", Err(HostError::Wildcard)),
            ("*foo.com", Err(HostError::Wildcard)),
            ("10.0.0.1", Err(HostError::Address)),
            ("foo_bar.com", Err(HostError::Label("foo_bar".into()))),
            ("a..b", Err(HostError::Label("".into()))),
        ];
        for (input, expected) in rows {
            let parsed = HostPattern::parse(input).map(|pattern| pattern.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{input:?}");
        }
    }

    #[test]
    fn a_wildcard_spans_exactly_one_label() {
        let wildcard = HostPattern::parse("*.example.com").unwrap();
        for (host, expected) in [
            ("a.example.com", true),
            ("example.com", false),
            ("a.b.example.com", false),
            (".example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(wildcard.matches(host), expected, "{host}");
        }
    }

    #[test]
    fn a_request_host_loses_case_port_and_root_dot() {
        let mut buffer = String::new();
        for (input, expected) in [
            ("EXAMPLE.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(normalise_host(input.as_bytes(), &mut buffer), expected, "{input}");
        }
    }
}
