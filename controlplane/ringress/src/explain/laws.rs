//! Law: for random manifests and random requests, `explain`, the table of the shards and a naive scan agree.
//!
//! The naive scan reads the manifests as they were generated and shares no line with ringress: neither claims nor tables,
//! nor how hosts and paths are normalised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ringress_shared::hostname::normalise_host;
use ringress_shared::listener::{HeadLimits, Routing};
use ringress_shared::route::{Lookup, NoTrace, Scratch, normalise};
use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Memo, Settings, Translation, translate};

use super::answer::{World, explain};
use super::explanation::{Checked, Explanation, Place, State};
use super::question::{Question, read_head};

const MANIFESTS: u64 = 1_000;
/// Different ones, for each of the manifests.
const REQUESTS: usize = 1_000;

const HOSTS: &[&str] = &["", "a.test", "b.test", "*.test", "*.a.test", "x.a.test"];
const PATHS: &[&str] =
    &["/", "/foo", "/foo/", "/foo/bar", "/foo/bar/baz", "/bar", "/food", "/b%20r", "/bar/foo"];
const ASKED_HOSTS: &[&str] = &[
    "a.test",
    "B.test:8080",
    "c.test",
    "x.a.test",
    "X.A.Test",
    "y.a.test",
    "z.y.a.test",
    "a.test.",
    "else.where",
];
const ASKED_ELEMENTS: &[&str] = &[
    "/foo", "/foo", "/foo", "/bar", "/bar", "/baz", "/food", "/Foo", "/%66oo", "/b%20r", "/b%61r", "/none",
    "/", "/.", "/..", "/%2E%2e", "%2fbar", "%2Ffoo", "%2f..", "/..%2f", "x", ";x",
];
const ENDS: &[&str] = &["", "", "", "", "", "/", "?q=/foo", "?/../x", "%zz", "%00", "%2"];

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// One Ingress, as generated.
#[derive(Debug)]
struct Object {
    name: String,
    is_ours: bool,
    created: usize,
    rules: Vec<Rule>,
    has_default: bool,
    /// Whether it asks for a protection that is not applied.
    is_protected: bool,
}

#[derive(Debug)]
struct Rule {
    host: &'static str,
    /// Path and type.
    paths: Vec<(&'static str, &'static str)>,
}

impl Object {
    fn generate(random: &mut Random, number: usize) -> Self {
        let rules: Vec<_> = (0..random.below(4)).map(|_| Rule::generate(random)).collect();
        Self {
            name: format!("i{}", (number * 7) % 5),
            is_ours: random.below(5) > 0,
            created: random.below(3),
            // Without rules it must have one.
            has_default: rules.is_empty() || random.below(6) == 0,
            is_protected: random.below(8) == 0,
            rules,
        }
    }

    fn yaml(&self) -> String {
        let Self { name, created, .. } = self;
        let annotations =
            if self.is_protected { "{nginx.ingress.kubernetes.io/auth-type: basic}" } else { "{}" };
        let class = if self.is_ours { "ringress" } else { "other" };
        let mut text = format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations: {annotations}\n  creationTimestamp: 2026-01-0{}T00:00:00Z\nspec:\n  ingressClassName: {class}\n",
            created + 1
        );
        if self.has_default {
            text.push_str("  defaultBackend: {service: {name: web, port: {number: 80}}}\n");
        }
        text.push_str(if self.rules.is_empty() { "" } else { "  rules:\n" });
        text.extend(self.rules.iter().map(Rule::yaml));
        text
    }

    fn names(&self, host: &str) -> bool {
        self.rules.iter().any(|rule| rule.host == host)
    }

    /// Whether it has that prefix at a host.
    fn takes(&self, host: &str, prefix: &str) -> bool {
        let is_it = |(path, kind): &(&str, &str)| {
            *kind != "Exact" && path.trim_end_matches('/') == prefix.trim_end_matches('/')
        };
        self.rules.iter().any(|rule| rule.host == host && rule.paths.iter().any(is_it))
    }

    fn default_backend(&self) -> Option<Verdict> {
        self.has_default.then(|| self.verdict("spec.defaultBackend".to_owned()))
    }

    /// What becomes of a request that a field of it takes.
    fn verdict(&self, field: String) -> Verdict {
        match self.is_protected {
            true => Verdict::Closed(self.name.clone(), field),
            false => Verdict::Taken(self.name.clone(), field),
        }
    }
}

impl Rule {
    fn generate(random: &mut Random) -> Self {
        let types = &["Prefix", "Exact", "ImplementationSpecific"];
        let paths = (0..1 + random.below(4)).map(|_| (*random.of(PATHS), *random.of(types)));
        let paths = paths.collect();
        Self { host: *random.of(HOSTS), paths }
    }

    fn yaml(&self) -> String {
        let paths = self.paths.iter().map(|(path, kind)| {
            format!("      - path: {path}\n        pathType: {kind}\n        backend: {{service: {{name: web, port: {{number: 80}}}}}}\n")
        });
        format!("  - host: {:?}\n    http:\n      paths:\n{}", self.host, paths.collect::<String>())
    }
}

fn generate(random: &mut Random) -> (Vec<Object>, String) {
    let objects: Vec<_> = (0..1 + random.below(5)).map(|number| Object::generate(random, number)).collect();
    let text = objects.iter().map(Object::yaml).fold(CLASSES.to_owned(), |text, object| text + &object);
    (objects, text)
}

/// Different requests, as host and target.
fn requests(random: &mut Random) -> BTreeSet<(&'static str, String)> {
    let mut requests = BTreeSet::new();
    while requests.len() < REQUESTS {
        let elements = (0..random.below(5)).map(|_| *random.of(ASKED_ELEMENTS));
        let mut target: String = elements.collect();
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        let end = random.of(ENDS);
        target.push_str(end);
        requests.insert((*random.of(ASKED_HOSTS), target));
    }
    requests
}

const CLASSES: &str = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ringress}
spec: {controller: ringress.dev/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: other}
spec: {controller: example.com/other}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]
ports: [{name: '', port: 9000}]
";

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The object and its field.
    Taken(String, String),
    /// The same, and it asks for a protection that is not applied.
    Closed(String, String),
    NotFound,
    /// Its path cannot be read, or reads differently depending on who decodes it.
    Refused,
}

fn naive(objects: &[Object], host: &str, target: &str) -> Verdict {
    let Some(plain) = plain_path(target) else { return Verdict::Refused };
    let as_sent = scan(objects, host, &plain.kept);
    match plain.decoded {
        None => {}
        Some(Some(decoded)) if scan(objects, host, &decoded) == as_sent => {}
        Some(_) => return Verdict::Refused,
    }
    let is_closed = |(verdict, _): &(Verdict, bool)| matches!(verdict, Verdict::Closed(..));
    if is_closed(&as_sent) {
        return as_sent.0;
    }
    let mut merged = plain.merged.iter().map(|path| scan(objects, host, path));
    merged.find(is_closed).unwrap_or(as_sent).0
}

/// Ingress v1, word by word: the most specific host decides, Exact before Prefix, the longer prefix, the older object. With
/// the verdict: whether a path was taken as the text that ingress-nginx takes it for.
fn scan(objects: &[Object], host: &str, path: &str) -> (Verdict, bool) {
    let mut ours: Vec<_> = objects.iter().filter(|object| object.is_ours).collect();
    ours.sort_by_key(|object| (object.created, &object.name));
    let host = host.split(':').next().unwrap().trim_end_matches('.').to_ascii_lowercase();
    let wildcard = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    let wanted = [Some(host), wildcard, Some(String::new())].into_iter().flatten();
    let deciding = wanted.into_iter().find(|host| ours.iter().any(|object| object.names(host)));
    let of_host = deciding.and_then(|host| {
        let best = best_path(&ours, &host, path);
        let default =
            || ours.iter().filter(|object| object.names(&host)).find_map(|object| object.default_backend());
        best.or_else(|| Some((default()?, false)))
    });
    let everywhere = || Some((ours.iter().find(|object| object.rules.is_empty())?.default_backend()?, false));
    of_host.or_else(everywhere).unwrap_or((Verdict::NotFound, false))
}

fn best_path(oldest_first: &[&Object], host: &str, path: &str) -> Option<(Verdict, bool)> {
    let mut best: Option<(usize, Verdict)> = None;
    for (age, object) in oldest_first.iter().enumerate() {
        for (rule_number, rule) in object.rules.iter().enumerate().filter(|(_, rule)| rule.host == host) {
            for (number, (wanted, kind)) in rule.paths.iter().enumerate() {
                let holds_as_text =
                    object.is_protected && !oldest_first[..age].iter().any(|older| older.takes(host, wanted));
                let Some(rank) = rank(wanted, kind, path, holds_as_text) else { continue };
                if best.as_ref().is_none_or(|(before, _)| rank > *before) {
                    let field = format!("spec.rules[{rule_number}].http.paths[{number}]");
                    best = Some((rank, object.verdict(field)));
                }
            }
        }
    }
    // Ranks of texts are even, see below.
    best.map(|(rank, verdict)| (verdict, rank % 2 == 0))
}

/// How well a path of a rule fits; `None` where it does not. What is specific to ingress-nginx is there the text that a request
/// begins with: that closes, after a prefix of the same length.
fn rank(wanted: &str, kind: &str, path: &str, holds_as_text: bool) -> Option<usize> {
    if kind == "Exact" {
        return (wanted == path).then_some(usize::MAX);
    }
    let text = wanted.trim_end_matches('/');
    let elements: Vec<_> = text.split('/').collect();
    let given: Vec<_> = path.split('/').collect();
    if given.starts_with(&elements) {
        return Some(2 * text.len() + 1);
    }
    let is_text = kind == "ImplementationSpecific" && !wanted.ends_with('/') && holds_as_text;
    (is_text && path.starts_with(text)).then_some(2 * text.len())
}

/// A path as it is compared.
struct Plain {
    /// With encoded slashes kept.
    kept: String,
    /// As whoever decodes slashes first sees it, where there is one; without a path where that climbs above the root.
    decoded: Option<Option<String>>,
    /// As those see it who take several slashes for one, where there are several: merged and then resolved, or the other
    /// way round, and the same with encoded slashes decoded.
    merged: Vec<String>,
}

/// `None` where the path is refused: a bad encoding, or more `..` than elements.
fn plain_path(target: &str) -> Option<Plain> {
    let mut rest = target.split('?').next().unwrap();
    let mut text = String::new();
    while let Some(at) = rest.find('%') {
        let byte = u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok().filter(|byte| *byte != 0)?;
        text.push_str(&rest[..at]);
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte as char),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    let slashed = text.replace("%2F", "/");
    let decoded = (slashed != text).then(|| without_dots(&slashed));
    let spellings = [&text, &slashed].into_iter().filter(|path| path.contains("//"));
    let merged = spellings.flat_map(|path| {
        let after = without_dots(path).map(|path| with_single_slashes(&path));
        [without_dots(&with_single_slashes(path)), after].into_iter().flatten()
    });
    let merged = merged.collect();
    Some(Plain { kept: without_dots(&text)?, decoded, merged })
}

fn with_single_slashes(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn without_dots(path: &str) -> Option<String> {
    let mut out: Vec<&str> = Vec::new();
    for element in path[1..].split('/') {
        match element {
            "." => {}
            ".." => drop(out.pop()?),
            element => out.push(element),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        out.push("");
    }
    Some(format!("/{}", out.join("/")))
}

#[test]
fn explain_and_the_table_and_a_naive_scan_agree() {
    let counts = [const { AtomicU64::new(0) }; 4];
    let next = AtomicU64::new(1);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > MANIFESTS {
                        break;
                    }
                    for (sum, count) in counts.iter().zip(check_manifest(seed)) {
                        sum.fetch_add(count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let [taken, not_found, refused, closed] = counts.map(AtomicU64::into_inner);
    println!("{taken} requests were taken, {not_found} not found, {refused} refused, {closed} closed");
    // Each side of the law was really tried.
    let least = MANIFESTS * REQUESTS as u64 / 20;
    assert!(taken > 4 * least && not_found > least && refused > least, "{taken}, {not_found}, {refused}");
    assert!(2 * closed > least, "{closed}");
}

/// How many requests were taken, not found, refused and closed; all agree on them.
fn check_manifest(seed: u64) -> [u64; 4] {
    let settings = Settings { allow_loopback_endpoints: true, https: None, ..Settings::default() };
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (objects, text) = generate(&mut random);
    let mut folder = Folder::new();
    let loaded = folder.update(BTreeMap::from([("a.yaml".to_owned(), Arc::from(&*text))]));
    let translation = translate(&loaded.objects, &settings, &LastGood::default(), &mut Memo::default());
    check_claims(&objects, &translation, &text);
    let mut counts = [0; 4];
    for (host, target) in requests(&mut random) {
        let context = || format!("seed {seed}: http://{host}{target}\n{text}");
        let kind = match check(&objects, &translation, host, &target, &context) {
            Verdict::Taken(..) => 0,
            Verdict::NotFound => 1,
            Verdict::Refused => 2,
            Verdict::Closed(..) => 3,
        };
        counts[kind] += 1;
    }
    counts
}

/// Whatever was written is a claim, so that it wins or has a reason.
fn check_claims(objects: &[Object], translation: &Translation, text: &str) {
    let claimed: BTreeSet<_> = translation
        .claims
        .iter()
        .map(|claim| (claim.origin.object.name.to_string(), claim.origin.field.to_string()))
        .collect();
    for object in objects {
        let paths = object.rules.iter().enumerate().flat_map(|(rule, written)| {
            (0..written.paths.len()).map(move |path| format!("spec.rules[{rule}].http.paths[{path}]"))
        });
        let fields = paths.chain(object.has_default.then(|| "spec.defaultBackend".to_owned()));
        for field in fields {
            assert!(
                claimed.contains(&(object.name.clone(), field.clone())),
                "{} {field}\n{text}",
                object.name
            );
        }
    }
}

/// The verdict, once all agree on it.
fn check(
    objects: &[Object],
    translation: &Translation,
    host: &str,
    target: &str,
    context: &dyn Fn() -> String,
) -> Verdict {
    let question = Question {
        url: format!("http://{host}{target}"),
        method: "GET".into(),
        headers: Vec::new(),
        is_brief: false,
    };
    let world = World {
        parts: &translation.parts,
        claims: &translation.claims,
        problems: &[],
        generation: None,
        endpoints_known: true,
        place: &|_| Place::default(),
    };
    let explanation = explain(&world, &question).unwrap();
    let expected = naive(objects, host, target);
    assert_eq!(explained(&explanation), expected, "explain and the naive scan differ for {}", context());
    assert_eq!(found(translation, &question), expected, "the table differs for {}", context());
    assert_eq!(explanation.routed, matches!(expected, Verdict::Taken(..)), "{}", context());
    check_reasons(&explanation, &expected, translation.claims.iter().count(), context);
    expected
}

fn explained(explanation: &Explanation) -> Verdict {
    match (&explanation.winner, &explanation.answer) {
        (Some(winner), None) => Verdict::Taken(winner.object.name.clone(), winner.field.clone()),
        (Some(winner), Some(answer)) if answer.status == 503 => {
            Verdict::Closed(winner.object.name.clone(), winner.field.clone())
        }
        (None, Some(answer)) if answer.status == 404 => Verdict::NotFound,
        (None, Some(answer)) if answer.status == 400 => Verdict::Refused,
        (winner, answer) => panic!("{winner:?} {answer:?}"),
    }
}

fn found(translation: &Translation, question: &Question) -> Verdict {
    let listener = &translation.parts.sockets[0].listeners[0];
    let Routing::Http(table) = &listener.routing;
    let bytes = question.head_bytes(&question.url().unwrap()).unwrap();
    let Ok(head) = read_head(&bytes, &HeadLimits::default()) else { return Verdict::Refused };
    let Ok(path) = normalise(head.path()) else { return Verdict::Refused };
    let mut buffer = String::new();
    let host = normalise_host(head.authority(), &mut buffer);
    match table.find(host, &path, &head, &mut Scratch::default(), &mut NoTrace) {
        Lookup::Found(found) => {
            let origin = &found.rule.origin;
            let (name, field) = (origin.object.name.to_string(), origin.field.to_string());
            match found.rule.policies.denied {
                Some(_) => Verdict::Closed(name, field),
                None => Verdict::Taken(name, field),
            }
        }
        Lookup::NoHost | Lookup::NoPath => Verdict::NotFound,
        Lookup::Ambiguous => Verdict::Refused,
    }
}

/// Every claim that does not win loses with a reason, and a request that is not routed fails one check, the first that it
/// can.
fn check_reasons(explanation: &Explanation, verdict: &Verdict, claims: usize, context: &dyn Fn() -> String) {
    let failed: Vec<_> = explanation
        .checklist
        .iter()
        .filter(|check| check.state == State::Failed)
        .map(|check| check.check)
        .collect();
    assert!(explanation.losers.iter().all(|loser| !loser.why.is_empty()), "{}", context());
    let losers = explanation.losers.len();
    match verdict {
        Verdict::Taken(..) | Verdict::Closed(..) => {
            assert_eq!(failed, [], "{}", context());
            // A default backend may win for several hosts at once.
            assert!(losers < claims, "{losers} of {claims} {}", context());
        }
        Verdict::NotFound => {
            assert_eq!(losers, claims, "{}", context());
            assert_eq!(failed.len(), 1, "{failed:?} {}", context());
            let is_known = matches!(failed[0], Checked::Host | Checked::Path | Checked::Class);
            assert!(is_known, "{:?} {}", explanation.checklist, context());
            let fits = explanation.losers.iter().any(|loser| loser.check == Checked::Precedence);
            assert!(!fits, "something fits and nothing won: {}", context());
        }
        // A path that cannot be read is compared with nothing.
        Verdict::Refused if explanation.checklist.is_empty() => assert_eq!(losers, 0, "{}", context()),
        Verdict::Refused => {
            assert_eq!(losers, claims, "{}", context());
            assert!(matches!(failed[..], [Checked::Host | Checked::Path]), "{failed:?} {}", context());
        }
    }
}
