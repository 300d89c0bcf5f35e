//! Host and path: the route table finds what a scan over all its rules finds, for raw bytes too.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use ringress_engine::http::uri::parse_target;
use ringress_shared::hostname::{HostPattern, normalise_host};
use ringress_shared::id::RuleId;
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{
    BareGet, Candidate, Dialect, Lookup, NoTrace, NormalPath, PathMatch, Predicates, RouteTable,
    RouteTableBuilder, Rule, RuleTimeouts, Scratch, normalise,
};

#[derive(Debug, Arbitrary)]
struct Input {
    rules: Vec<Line>,
    default: bool,
    /// Labels of the request's host.
    host: [u8; 3],
    request: Request,
}

/// One rule: its host, its kind of path, its path.
#[derive(Debug, Clone, Arbitrary)]
struct Line {
    host: u8,
    exact: bool,
    path: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Request {
    /// Elements that collide often.
    Elements(Vec<u8>),
    /// Whatever bytes.
    Raw(Vec<u8>),
}

/// What the fuzzer does with bytes.
pub(crate) fn run(data: &[u8]) {
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) {
        check(&input);
    }
}

fn check(input: &Input) {
    let raw = match &input.request {
        Request::Elements(picks) => path_of(picks, REQUEST_ELEMENTS).into_bytes(),
        Request::Raw(bytes) => bytes.clone(),
    };
    let normal = normalise(&raw);
    if let Ok(target) = parse_target(b"GET", &raw) {
        let path = &raw[target.path];
        assert_eq!(target.authority.is_some(), raw.first() != Some(&b'/'));
        check_path(path);
    }
    let Ok(path) = normal else { return };
    let rules = rules(input);
    let table = table(input, &rules);
    let text = host_of(&input.host);
    let mut buffer = String::new();
    let host = normalise_host(text.as_bytes(), &mut buffer);
    let found = table.find(host, &path, &BareGet, &mut Scratch::default(), &mut NoTrace);
    assert_eq!(shown(&found), naive(input, &rules, host, &raw, &path), "{host} {path:?}");
}

/// Normalising twice is normalising once, and leaves nothing that an endpoint would resolve further.
fn check_path(raw: &[u8]) {
    let Ok(path) = normalise(raw) else { return };
    assert_eq!(path.bytes.first(), Some(&b'/'));
    let again = normalise(&path.bytes).expect("a normal path is fine");
    assert_eq!(again.bytes, path.bytes);
    assert!(path.bytes.split(|byte| *byte == b'/').all(|element| element != b"." && element != b".."));
}

const LABELS: &[&str] = &["a", "b", "A", "xn--a", "0"];
const HOSTS: &[&str] = &["", "a.b.a", "b.a", "a.b", "*.b.a", "*.a", "*.a.b", "a", "0.b.a", "xn--a.a"];
const RULE_ELEMENTS: &[&str] = &["/a", "/b", "/ab", "/", "/a%2F", "/.x", "//", "/aa", "/c", "/d", "/e", "/A"];
const REQUEST_ELEMENTS: &[&str] = &[
    "/a", "/b", "/ab", "/", "/a%2F", "/.x", "//", "/aa", "/c", "/%61", "/..", "/.", "/%2e%2E", "%2f", "%2Fb",
    "/a%2fb", "/A", "%",
];

/// A rule, as written and as the table holds it.
struct Written {
    host: Option<HostPattern>,
    path: PathMatch,
    rule: Arc<Rule>,
}

fn rules(input: &Input) -> Vec<Written> {
    let written = |(number, line): (usize, &Line)| {
        let host = HOSTS[usize::from(line.host) % HOSTS.len()];
        let host = (!host.is_empty()).then(|| HostPattern::parse(host).expect("a good host"));
        let text = path_of(&line.path, RULE_ELEMENTS);
        let path = if line.exact { PathMatch::Exact(text.into()) } else { PathMatch::prefix(&text) };
        Written { host, path, rule: rule(number) }
    };
    input.rules.iter().take(40).enumerate().map(written).collect()
}

fn table(input: &Input, rules: &[Written]) -> RouteTable {
    let mut builder = RouteTableBuilder::new();
    for written in rules {
        builder.host(written.host.clone(), Dialect::Strict);
        let (path, rule) = (written.path.clone(), written.rule.clone());
        builder.candidate(written.host.clone(), Candidate { path, predicates: Predicates::default(), rule });
    }
    if input.default {
        builder.default_rule(rule(usize::MAX));
    }
    builder.build()
}

fn naive(input: &Input, rules: &[Written], host: &str, raw: &[u8], path: &NormalPath<'_>) -> String {
    let found = scan(input, rules, host, &path.bytes);
    let plain = decode_slashes(raw);
    if plain == raw {
        return found;
    }
    // An endpoint that decodes slashes before it resolves dots must be led to the same rule.
    let Ok(decoded) = normalise(&plain) else { return "ambiguous".to_owned() };
    let other = scan(input, rules, host, &decoded.bytes);
    let is_rule = |text: &str| text.starts_with("rule");
    let differs = found != other && (is_rule(&found) || is_rule(&other));
    if differs { "ambiguous".to_owned() } else { found }
}

fn decode_slashes(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let slash = raw[at..].get(..3).is_some_and(|triple| triple.eq_ignore_ascii_case(b"%2f"));
        out.push(if slash { b'/' } else { raw[at] });
        at += if slash { 3 } else { 1 };
    }
    out
}

/// The semantics of Ingress v1, strict: the most specific host decides alone; exact before prefix, longer before shorter.
fn scan(input: &Input, rules: &[Written], host: &str, path: &[u8]) -> String {
    let specific = |written: &&Written| match &written.host {
        None => Some(0),
        Some(pattern @ HostPattern::Wildcard(_)) if pattern.matches(host) => Some(1),
        Some(pattern @ HostPattern::Exact(_)) if pattern.matches(host) => Some(2),
        Some(_) => None,
    };
    let best = rules.iter().filter_map(|written| specific(&written)).max();
    let weight = |written: &Written| match &written.path {
        PathMatch::Exact(_) => usize::MAX,
        PathMatch::Prefix(text) => text.len(),
        PathMatch::Regex(_) => unreachable!("none was written"),
    };
    let mut winner: Option<&Written> = None;
    for written in rules.iter().filter(|written| best.is_some() && specific(written) == best) {
        let better = winner.is_none_or(|winner| weight(written) > weight(winner));
        if written.path.matches(path) && better {
            winner = Some(written);
        }
    }
    match (winner, input.default, best) {
        (Some(written), _, _) => format!("rule {:?}", written.rule.id),
        (None, true, _) => format!("rule {:?}", rule(usize::MAX).id),
        (None, false, Some(_)) => "no path".to_owned(),
        (None, false, None) => "no host".to_owned(),
    }
}

fn shown(lookup: &Lookup<'_>) -> String {
    match lookup {
        Lookup::Found(found) => format!("rule {:?}", found.rule.id),
        Lookup::NoPath => "no path".to_owned(),
        Lookup::NoHost => "no host".to_owned(),
        Lookup::Ambiguous => "ambiguous".to_owned(),
    }
}

fn path_of(picks: &[u8], elements: &[&str]) -> String {
    let text: String =
        picks.iter().take(12).map(|pick| elements[usize::from(*pick) % elements.len()]).collect();
    if text.starts_with('/') { text } else { format!("/{text}") }
}

fn host_of(picks: &[u8; 3]) -> String {
    let labels: Vec<_> =
        picks.iter().filter_map(|pick| LABELS.get(usize::from(*pick) % (LABELS.len() + 2))).collect();
    labels.iter().map(|label| **label).collect::<Vec<_>>().join(".")
}

fn rule(number: usize) -> Arc<Rule> {
    Arc::new(Rule {
        id: RuleId::of(&[&number.to_string()]),
        origin: Origin { object: ObjectRef::new("Ingress", "default", "fuzz"), field: "".into() },
        policies: Arc::new(PolicySet::default()),
        backends: Box::new([]),
        timeouts: RuleTimeouts::default(),
    })
}
