//! Law: for random manifests and random requests, `explain`, the table of the shards and a naive scan agree.
//!
//! The naive scan reads the manifests as they were generated and knows nothing of claims, tables or translation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringress_shared::hostname::{HostPattern, normalise_host};
use ringress_shared::listener::{HeadLimits, Routing};
use ringress_shared::route::{Lookup, NoTrace, Scratch, normalise};
use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Memo, Settings, Translation, translate};

use super::answer::{World, explain};
use super::explanation::{Checked, Explanation, Place, State};
use super::question::{Question, read_head};

const MANIFESTS: u64 = 1_000;
const REQUESTS: usize = 1_000;

const HOSTS: &[&str] = &["", "a.test", "b.test", "*.test", "*.a.test", "x.a.test"];
const PATHS: &[&str] = &["/", "/foo", "/foo/", "/foo/bar", "/foo/bar/baz", "/bar", "/food", "/b%20r"];
const ASKED_HOSTS: &[&str] = &["a.test", "B.test:8080", "c.test", "x.a.test", "y.a.test", "else.where"];
const ASKED_PATHS: &[&str] = &[
    "/",
    "/foo",
    "/foo/",
    "/foo/bar",
    "/foo/bar/",
    "/foo/bar/baz/x",
    "/food",
    "/Foo",
    "/bar?q=/foo",
    "//foo",
    "/foo//bar",
    "/x/../foo",
    "/%66oo",
    "/b%20r/x",
    "/none",
];

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

/// One path of one Ingress, as generated.
#[derive(Debug)]
struct Path {
    ingress: String,
    field: String,
    host: &'static str,
    path: &'static str,
    kind: &'static str,
    is_ours: bool,
    created: usize,
}

fn generate(random: &mut Random) -> (Vec<Path>, String) {
    let mut paths = Vec::new();
    let mut text = String::from(CLASSES);
    for number in 0..1 + random.below(5) {
        let ingress = format!("i{}", (number * 7) % 5);
        let (created, is_ours) = (random.below(3), random.below(5) > 0);
        let class = if is_ours { "ringress" } else { "other" };
        text.push_str(&format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {ingress}\n  creationTimestamp: 2026-01-0{}T00:00:00Z\nspec:\n  ingressClassName: {class}\n  rules:\n",
            created + 1
        ));
        for rule in 0..1 + random.below(3) {
            let host = *random.of(HOSTS);
            text.push_str(&format!("  - host: {host:?}\n    http:\n      paths:\n"));
            for index in 0..1 + random.below(4) {
                let (path, kind) =
                    (*random.of(PATHS), *random.of(&["Prefix", "Exact", "ImplementationSpecific"]));
                text.push_str(&format!(
                    "      - path: {path}\n        pathType: {kind}\n        backend: {{service: {{name: web, port: {{number: 80}}}}}}\n"
                ));
                let field = format!("spec.rules[{rule}].http.paths[{index}]");
                paths.push(Path { ingress: ingress.clone(), field, host, path, kind, is_ours, created });
            }
        }
    }
    (paths, text)
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

/// Ingress v1, word by word: the most specific host decides, Exact before Prefix, the longer prefix, the older object.
fn naive<'p>(paths: &'p [Path], host: &str, path: &[u8]) -> Option<&'p Path> {
    let rank = |pattern: &str| match HostPattern::parse(pattern) {
        Err(_) => Some(0),
        Ok(parsed) if !parsed.matches(host) => None,
        Ok(HostPattern::Wildcard(_)) => Some(1),
        Ok(HostPattern::Exact(_)) => Some(2),
    };
    let ours = || paths.iter().filter(|path| path.is_ours);
    let best = ours().filter_map(|path| rank(path.host)).max()?;
    let elements = |text: &'static str| text.trim_end_matches('/').as_bytes();
    let takes = |rule: &Path| match rule.kind {
        "Exact" => rule.path.as_bytes() == path,
        _ => path.strip_prefix(elements(rule.path)).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
    };
    ours().filter(|rule| rank(rule.host) == Some(best)).filter(|rule| takes(rule)).min_by_key(|rule| {
        let is_prefix = rule.kind != "Exact";
        let length = if is_prefix { elements(rule.path).len() } else { 0 };
        (is_prefix, usize::MAX - length, rule.created, rule.ingress.clone())
    })
}

#[test]
fn explain_and_the_table_and_a_naive_scan_agree() {
    let settings = Settings { allow_loopback_endpoints: true, https: None, ..Settings::default() };
    let (mut routed, mut unrouted) = (0, 0);
    for seed in 1..=MANIFESTS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (paths, text) = generate(&mut random);
        let mut folder = Folder::new();
        let loaded = folder.update(BTreeMap::from([("a.yaml".to_owned(), Arc::from(&*text))]));
        let translation = translate(&loaded.objects, &settings, &LastGood::default(), &mut Memo::default());
        // The same request has the same answer: it is asked once.
        let mut asked = BTreeMap::new();
        for _ in 0..REQUESTS {
            *asked.entry((*random.of(ASKED_HOSTS), *random.of(ASKED_PATHS))).or_insert(0) += 1;
        }
        for ((host, path), count) in asked {
            let context = || format!("seed {seed}: http://{host}{path}\n{text}");
            match check(&paths, &translation, host, path, &context) {
                true => routed += count,
                false => unrouted += count,
            }
        }
    }
    // Both sides of the law were really tried.
    assert_eq!(routed + unrouted, MANIFESTS as usize * REQUESTS);
    assert!(routed > unrouted / 4 && unrouted > routed / 4, "{routed} routed, {unrouted} not");
}

/// Whether the request is routed, once all agree on it.
fn check(
    paths: &[Path],
    translation: &Translation,
    host: &str,
    path: &str,
    context: &dyn Fn() -> String,
) -> bool {
    let question =
        Question { url: format!("http://{host}{path}"), method: "GET".into(), headers: Vec::new() };
    let world = World {
        parts: &translation.parts,
        claims: &translation.claims,
        problems: &[],
        generation: None,
        place: &|_| Place::default(),
    };
    let explanation = explain(&world, &question).unwrap();

    let mut buffer = String::new();
    let normal_host = normalise_host(host.as_bytes(), &mut buffer);
    let raw = path.split('?').next().unwrap_or_default();
    let normal_path = normalise(raw.as_bytes()).unwrap();
    let expected = naive(paths, normal_host, &normal_path.bytes);
    let expected = expected.map(|path| (path.ingress.clone(), path.field.clone()));

    let explained =
        explanation.winner.as_ref().map(|winner| (winner.object.name.clone(), winner.field.clone()));
    assert_eq!(explained, expected, "explain and the naive scan differ for {}", context());
    assert_eq!(found(translation, &question, normal_host), expected, "the table differs for {}", context());
    check_reasons(&explanation, paths.len(), context);
    explanation.routed
}

fn found(translation: &Translation, question: &Question, host: &str) -> Option<(String, String)> {
    let listener = &translation.parts.sockets[0].listeners[0];
    let Routing::Http(table) = &listener.routing;
    let bytes = question.head_bytes(&question.url().unwrap()).unwrap();
    let head = read_head(&bytes, &HeadLimits::default()).unwrap();
    let path = normalise(head.path()).unwrap();
    match table.find(host, &path, &head, &mut Scratch::default(), &mut NoTrace) {
        Lookup::Found(found) => {
            let origin = &found.rule.origin;
            Some((origin.object.name.to_string(), origin.field.to_string()))
        }
        Lookup::NoHost | Lookup::NoPath => None,
        Lookup::Ambiguous => panic!("no encoded slash was asked for"),
    }
}

/// Every other path is a loser with a reason, and a request that is not routed fails one check, the first that it can.
fn check_reasons(explanation: &Explanation, paths: usize, context: &dyn Fn() -> String) {
    let winners = usize::from(explanation.winner.is_some());
    assert_eq!(explanation.losers.len() + winners, paths, "{}", context());
    assert!(explanation.losers.iter().all(|loser| !loser.why.is_empty()), "{}", context());
    let failed: Vec<_> = explanation
        .checklist
        .iter()
        .filter(|check| check.state == State::Failed)
        .map(|check| check.check)
        .collect();
    match winners {
        1 => assert_eq!(failed, [], "{}", context()),
        _ => {
            assert_eq!(failed.len(), 1, "{failed:?} {}", context());
            assert!(matches!(failed[0], Checked::Host | Checked::Path | Checked::Class), "{}", context());
            let fits = explanation.losers.iter().any(|loser| loser.check == Checked::Precedence);
            assert!(!fits, "something fits and nothing won: {}", context());
        }
    }
}
