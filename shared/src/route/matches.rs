//! What a rule asks of a request: path, method, fields, query.

use std::fmt;

use super::regex::PathRegex;

/// What the matcher may ask of a request. Implemented over the one `Head` by the engine, and by tests.
pub trait RequestView {
    /// The method as sent.
    fn method(&self) -> &[u8];
    /// The first field of that name, in any case.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The raw query, without `?`.
    fn query(&self) -> Option<&[u8]>;
}

/// A GET without fields and without a query: a request of which host and path alone decide.
#[derive(Debug, Clone, Copy, Default)]
pub struct BareGet;

impl RequestView for BareGet {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn header(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }
}

/// What a rule asks of the normalised path. Matching is case-sensitive.
#[derive(Debug, Clone, PartialEq)]
pub enum PathMatch {
    /// The whole path, byte for byte.
    Exact(Box<str>),
    /// Whole path elements; kept without trailing slashes, so `/` is the empty text.
    Prefix(Box<str>),
    /// An expression over the path, as its dialect anchors it.
    Regex(PathRegex),
}

impl PathMatch {
    /// `Prefix` of Ingress v1: trailing slashes do not count.
    pub fn prefix(text: &str) -> Self {
        Self::Prefix(text.trim_end_matches('/').into())
    }

    /// The length of its text in bytes, where lengths decide between paths. A prefix is kept without its trailing slash: the
    /// shortest is `/`.
    pub fn length(&self) -> usize {
        match self {
            Self::Exact(text) => text.len(),
            Self::Prefix(text) => text.len().max(1),
            Self::Regex(regex) => regex.length(),
        }
    }

    /// Whether a normalised path falls under this, without captures: the naive form that the table must agree with.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == path,
            Self::Prefix(prefix) => prefix_matches(prefix.as_bytes(), path),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text} (Exact)"),
            Self::Prefix(prefix) if prefix.is_empty() => f.write_str("/ (Prefix)"),
            Self::Prefix(prefix) => write!(f, "{prefix} (Prefix)"),
            Self::Regex(regex) => write!(f, "{} (regular expression)", regex.source()),
        }
    }
}

/// Whether `path` starts with the elements of `prefix` (no trailing slash): `/foo` takes `/foo`, `/foo/`, `/foo/x`, not
/// `/foobar`. Source: Ingress v1, "Prefix: matching is done on a path element by element basis".
pub(super) fn prefix_matches(prefix: &[u8], path: &[u8]) -> bool {
    path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
}

/// What a rule asks beside the path; all of it must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Predicates {
    /// One method, as sent.
    pub method: Option<Box<str>>,
    /// Fields.
    pub headers: Box<[HeaderMatch]>,
    /// Query parameters.
    pub query: Box<[QueryMatch]>,
}

/// One field that must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatch {
    /// Field name, lower case.
    pub name: Box<str>,
    /// What its value must be.
    pub value: ValueMatch,
}

/// One query parameter that must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMatch {
    /// Parameter name.
    pub name: Box<str>,
    /// What its first value must be.
    pub value: ValueMatch,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueMatch {
    /// Exactly this.
    Exact(Box<str>),
    /// Something that the expression finds.
    Regex(PathRegex),
}

impl ValueMatch {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Predicates {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.method.is_none() && self.headers.is_empty() && self.query.is_empty()
    }

    /// Whether all of it holds.
    pub fn hold<R: RequestView>(&self, request: &R) -> bool {
        self.method.as_ref().is_none_or(|method| method.as_bytes() == request.method())
            && self
                .headers
                .iter()
                .all(|header| request.header(&header.name).is_some_and(|value| header.value.matches(value)))
            && self.query.iter().all(|parameter| {
                first_parameter(request.query().unwrap_or_default(), parameter.name.as_bytes())
                    .is_some_and(|value| parameter.value.matches(value))
            })
    }
}

fn first_parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| match pair.iter().position(|byte| *byte == b'=') {
        Some(equals) if &pair[..equals] == name => Some(&pair[equals + 1..]),
        None if pair == name => Some(&pair[pair.len()..]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_element_by_element() {
        // Rows of the Ingress v1 documentation's table of examples.
        for (prefix, path, expected) in [
            ("/", "/all/paths", true),
            ("/", "/", true),
            ("/foo", "/foo", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/foo/", "/foo/", true),
            ("/aaa/bb", "/aaa/bbb", false),
            ("/aaa/bbb", "/aaa/bbb", true),
            ("/aaa/bbb/", "/aaa/bbb", true),
            ("/aaa/bbb", "/aaa/bbb/", true),
            ("/aaa/bbb", "/aaa/bbb/ccc", true),
            ("/aaa/bbb", "/aaa/bbbxyz", false),
            ("/foo", "/Foo", false),
        ] {
            assert_eq!(PathMatch::prefix(prefix).matches(path.as_bytes()), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        for (query, name, expected) in
            [("a=1&b=2&a=3", "a", Some("1")), ("a&b=2", "a", Some("")), ("aa=1", "a", None), ("", "a", None)]
        {
            assert_eq!(
                first_parameter(query.as_bytes(), name.as_bytes()),
                expected.map(str::as_bytes),
                "{query}"
            );
        }
    }
}
