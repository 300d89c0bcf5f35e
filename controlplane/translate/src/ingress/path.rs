//! Path and path type of one rule.
//!
//! Source: Ingress v1, "Path types", and the validation of the API server, which a folder does not pass through.

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use ringress_shared::origin::Origin;
use ringress_shared::route::normalise;

use crate::ir::{PathTest, RuleIr};
use crate::problem::Problem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathType {
    Exact,
    Prefix,
    ImplementationSpecific,
}

/// The path test of a rule.
pub(super) fn read(
    origin: &Origin,
    given: &HTTPIngressPath,
    problems: &mut Vec<Problem>,
) -> Result<PathTest, Box<Problem>> {
    let at = |field: &str| Origin {
        object: origin.object.clone(),
        field: format!("{}.{field}", origin.field).into(),
    };
    let path_type = match given.path_type.as_str() {
        "Exact" => PathType::Exact,
        "Prefix" => PathType::Prefix,
        "ImplementationSpecific" => PathType::ImplementationSpecific,
        "" => {
            problems.push(Problem::missing_path_type(&at("pathType")));
            PathType::Prefix
        }
        other => return Err(Box::new(Problem::invalid_path_type(&at("pathType"), other))),
    };
    let text = given.path.as_deref().unwrap_or_default();
    let wrong = |why: &str| Box::new(Problem::invalid_path(&at("path"), text, why));
    if text.is_empty() {
        return match path_type {
            PathType::ImplementationSpecific => Ok(PathTest::Prefix("".into())),
            PathType::Exact | PathType::Prefix => Err(wrong("is missing; write / for every path")),
        };
    }
    check(text, path_type).map_err(|why| wrong(&why))?;
    let normal = normal(text).map_err(|why| wrong(&why))?;
    report_looks(&at("path"), text, path_type, problems);
    Ok(match path_type {
        PathType::Exact => PathTest::Exact(normal.into()),
        PathType::Prefix | PathType::ImplementationSpecific => {
            PathTest::Prefix(normal.trim_end_matches('/').into())
        }
    })
}

/// Of longer paths a shorter prefix is closed: every prefix is looked at, so length costs its square.
const CLOSING_BYTES_MAX: usize = 1_024;

/// What closes every request that a wrong path may have meant: the path itself where only its signs are wrong, else its longest
/// usable prefix, and where it leads once it is normalised.
pub(super) fn closing(text: &str) -> Vec<PathTest> {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    if let Some(meant) = meant(text) {
        return vec![PathTest::Prefix(meant.trim_end_matches('/').into())];
    }
    let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
    let usable = |end: usize| {
        let prefix = &text[..end];
        check(prefix, PathType::Prefix).ok()?;
        normal(prefix).ok()
    };
    let ends: Vec<usize> = ends.filter(|end| *end <= CLOSING_BYTES_MAX).collect();
    let longest = ends.into_iter().rev().find_map(usable).unwrap_or_default();
    let longest = longest.trim_end_matches('/');
    let mut closed = vec![PathTest::Prefix(longest.into())];
    let resolved = normal(text).ok().filter(|_| text.starts_with('/'));
    if let Some(resolved) = resolved.as_deref().map(|path| path.trim_end_matches('/'))
        && !resolved.strip_prefix(longest).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        closed.push(PathTest::Prefix(resolved.into()));
    }
    closed
}

/// A path as requests would have it, where it only has signs that none has: to ingress-nginx paths are decoded.
fn meant(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_escape =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let written: String = text.char_indices().fold(String::new(), |mut out, (at, letter)| {
        match letter {
            ' ' => out.push_str("%20"),
            '%' if !is_escape(at) => out.push_str("%25"),
            letter if letter.is_ascii_control() => out.push_str(&format!("%{:02X}", u32::from(letter))),
            letter => out.push(letter),
        }
        out
    });
    check(&written, PathType::Prefix).ok().filter(|()| written.len() <= CLOSING_BYTES_MAX)?;
    normal(&written).ok()
}

/// What closes every request that a path means as an expression, which to ingress-nginx ignores case and is open at its end. Of
/// what only a backtracking engine knows, or what costs too much, its literal beginning is closed.
pub(super) fn closing_expression(text: &str) -> Option<PathTest> {
    let text = expression_text(text)?;
    let source = format!("^{}", encoded(text)).into();
    let whole = PathTest::Expression { source, case_insensitive: true };
    if is_plain(text) || whole.compile().is_ok() {
        return Some(whole);
    }
    let length = encoded(text).len();
    Some(PathTest::Beginning { text: literal_head(text).into(), length, paths: 1, always: false })
}

/// What closes the requests that a rule of `ImplementationSpecific` does not take and ingress-nginx does: `/admin` is there the
/// beginning of `/adminx`.
pub(super) fn text(rule: &RuleIr) -> Option<PathTest> {
    let is_text = rule.path_type == "ImplementationSpecific"
        && !rule.path_text.ends_with('/')
        // Who writes an expression means no text.
        && !rule.path_text.contains(SIGNS);
    match &rule.path {
        PathTest::Prefix(prefix) if is_text && !prefix.is_empty() => Some(PathTest::Text(prefix.clone())),
        _ => None,
    }
}

/// What closes at least everything that all of these paths mean as expressions: their common literal beginning, as long
/// as the longest of them.
pub(super) fn common_beginning<'t>(
    texts: impl Iterator<Item = &'t str> + Clone,
    always: bool,
) -> Option<PathTest> {
    let texts = texts.filter_map(expression_text);
    let common = texts.clone().map(literal_head).reduce(|mut common, head| {
        let same = common.bytes().zip(head.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        common.truncate(same);
        common
    })?;
    let length = texts.clone().map(|text| encoded(text).len()).max()?;
    Some(PathTest::Beginning { text: common.into(), length, paths: texts.count(), always })
}

/// The text that is anchored at its beginning anyway; a path that begins otherwise matches nothing.
fn expression_text(text: &str) -> Option<&str> {
    let text = text.strip_prefix('^').unwrap_or(text);
    text.starts_with('/').then_some(text)
}

/// Whether a text compiles in any case: compiling thousands of paths to find out would be felt at the start.
fn is_plain(text: &str) -> bool {
    let is_literal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'%');
    text.len() <= BEGINNING_BYTES_MAX && text.bytes().all(is_literal)
}

/// The text before the first sign that is more than itself, in ASCII. A dot stays, and takes any character.
fn literal_head(text: &str) -> String {
    if has_alternatives(text) {
        return "/".to_owned();
    }
    let end = text.find(|letter| letter == '?' || SIGNS.contains(&letter)).unwrap_or(text.len());
    let (mut head, rest) = text.split_at(end);
    if rest.starts_with(['?', '*', '{']) {
        // It may take away what stands before it.
        head = head.char_indices().last().map_or(head, |(at, _)| &head[..at]);
    }
    let mut head = encoded(head);
    head.truncate(BEGINNING_BYTES_MAX);
    if head.is_empty() { "/".to_owned() } else { head }
}

/// Whether it is an expression of several, of which only the first has its beginning at the beginning of the path.
fn has_alternatives(text: &str) -> bool {
    let (mut depth, mut is_escaped) = (0_i32, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => {}
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'|' if depth <= 0 => return true,
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    false
}

/// Beginnings are cut to this, so that each compiles.
const BEGINNING_BYTES_MAX: usize = 256;

/// What makes a text an expression; a dot alone is common in paths.
const SIGNS: [char; 12] = ['*', '(', ')', '[', ']', '{', '}', '^', '$', '|', '\\', '+'];

/// Sequences that the API server refuses in Exact and Prefix paths: no normalised request has them.
const FORBIDDEN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const FORBIDDEN_ENDS: [&str; 2] = ["/..", "/."];

fn check(text: &str, path_type: PathType) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("does not begin with /; write it as an absolute path".into());
    }
    if let Some(found) = text.chars().find(|letter| matches!(letter, '?' | '#')) {
        return Err(format!(
            "has a {found}, and only the path of a request is matched; leave out what follows it"
        ));
    }
    if let Some(found) = text.chars().find(|letter| letter.is_control() || *letter == ' ') {
        return Err(format!("has the character {found:?}, which no path has; write it percent-encoded"));
    }
    if path_type == PathType::ImplementationSpecific {
        return Ok(());
    }
    if let Some(found) = FORBIDDEN.iter().find(|sequence| text.contains(**sequence)) {
        return Err(format!(
            "has {found:?}, which no normalised path has; write the path that remains without it"
        ));
    }
    match FORBIDDEN_ENDS.iter().find(|end| text.ends_with(**end)) {
        Some(found) => Err(format!("ends with {found:?}, which no normalised path does; leave it out")),
        None => Ok(()),
    }
}

/// The path in the form in which requests are matched: other characters than ASCII arrive percent-encoded.
fn normal(text: &str) -> Result<String, String> {
    let encoded = encoded(text);
    let normal = normalise(encoded.as_bytes()).map_err(|error| format!("cannot be a path: {error}"))?;
    String::from_utf8(normal.bytes.into_owned()).map_err(|_| "is not ASCII after normalisation".into())
}

/// Characters other than ASCII, percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte.is_ascii() {
            true => out.push(byte as char),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// Reports paths that are matched otherwise than they look.
fn report_looks(origin: &Origin, text: &str, path_type: PathType, problems: &mut Vec<Problem>) {
    let last = text.chars().last().unwrap_or('/');
    if text.contains(SIGNS) {
        problems.push(Problem::path_looks_like_regex(origin, text));
    } else if path_type == PathType::Prefix && matches!(last, '-' | '_' | '.' | '~' | '=') {
        problems.push(Problem::prefix_not_elementwise(origin, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_shared::origin::ObjectRef;

    fn check(path_type: &str, path: &str, expected: Result<PathTest, &str>) {
        let origin = Origin { object: ObjectRef::new("Ingress", "d", "i"), field: "p".into() };
        let given = HTTPIngressPath {
            path: (!path.is_empty()).then(|| path.to_owned()),
            path_type: path_type.to_owned(),
            ..Default::default()
        };
        let got = read(&origin, &given, &mut Vec::new());
        match expected {
            Ok(test) => assert_eq!(got.unwrap(), test, "{path_type} {path}"),
            Err(field) => assert_eq!(got.unwrap_err().field, format!("p.{field}"), "{path_type} {path}"),
        }
    }

    #[test]
    fn wrong_paths_close_what_can_be_read_of_them() {
        for (text, expected) in [
            ("/adm", vec!["/adm"]),
            ("/admin//", vec!["/admin"]),
            ("/admin//secret", vec!["/admin"]),
            ("/q?x=1", vec!["/q"]),
            ("/a/b%zz/c", vec!["/a/b%25zz/c"]),
            ("/sp ace", vec!["/sp%20ace"]),
            ("/a\tb%", vec!["/a%09b%25"]),
            ("/a/\0", vec!["/a"]),
            ("/a/../b", vec!["/a", "/b"]),
            ("relative", vec![""]),
            ("", vec![""]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|path| PathTest::Prefix(path.into())).collect();
            assert_eq!(closing(text), expected, "{text}");
        }
    }

    #[test]
    fn beginnings_are_what_every_match_begins_with() {
        for (text, expected) in [
            ("/keep/(?!public)(.*)", "/keep/"),
            ("/v1.0/(?!x)", "/v1.0/"),
            ("/back(a)\\1", "/back"),
            ("/ab*(?!x)", "/a"),
            ("/ab+(?!x)", "/ab"),
            ("/*(?!x)", "/"),
            ("/caf\u{e9}(?!x)", "/caf%C3%A9"),
            ("/a|/b(?!x)", "/"),
            ("/a(b|c)(?!x)", "/a"),
            ("/a\\(b|c(?!x)", "/"),
        ] {
            assert_eq!(literal_head(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_that_is_meant_as_an_expression_compiles() {
        let long = format!("/{}", "long".repeat(5_000));
        for text in
            ["/secure", "/v1.0/x_y-z%20", "/a{2}", "/keep/(?!x)", "/big(a{1000}){1000}", "/a b#&~", &long]
        {
            let test = closing_expression(text).unwrap();
            assert_eq!(test.compile().unwrap().length(), text.len(), "{test}");
        }
    }

    #[test]
    fn many_expressions_have_a_beginning_in_common() {
        for (texts, expected) in [
            (vec!["/api/users", "/API/orders(/|$)(.*)", "elsewhere"], Some(("/api/", 20, 2))),
            (vec!["/a", "/b"], Some(("/", 2, 2))),
            (vec!["/a/b", "^/a/b/c|/d"], Some(("/", 9, 2))),
            (vec!["elsewhere", ""], None),
        ] {
            let expected = expected.map(|(text, length, paths)| PathTest::Beginning {
                text: text.into(),
                length,
                paths,
                always: false,
            });
            assert_eq!(common_beginning(texts.iter().copied(), false), expected, "{texts:?}");
        }
    }

    #[test]
    fn paths_are_read_or_refused() {
        let exact = |text: &str| Ok(PathTest::Exact(text.into()));
        let prefix = |text: &str| Ok(PathTest::Prefix(text.into()));
        for (path_type, path, expected) in [
            ("Exact", "/foo", exact("/foo")),
            ("Exact", "/foo/", exact("/foo/")),
            ("Prefix", "/foo/", prefix("/foo")),
            ("Prefix", "/", prefix("")),
            ("", "/foo", prefix("/foo")),
            ("ImplementationSpecific", "", prefix("")),
            ("ImplementationSpecific", "/a/../b", prefix("/b")),
            ("Prefix", "/%7Euser", prefix("/~user")),
            ("Exact", "/caf\u{e9}", exact("/caf%C3%A9")),
            ("Exact", "", Err("path")),
            ("Prefix", "foo", Err("path")),
            ("Prefix", "/a//b", Err("path")),
            ("Exact", "/a/..", Err("path")),
            ("Prefix", "/a%2Fb", Err("path")),
            ("Prefix", "/a?b=1", Err("path")),
            ("Prefix", "/a b", Err("path")),
            ("Prefix", "/a%", Err("path")),
            ("Prefix", "/%00", Err("path")),
            ("ImplementationSpecific", "/../a", Err("path")),
            ("prefix", "/", Err("pathType")),
        ] {
            check(path_type, path, expected);
        }
    }
}
