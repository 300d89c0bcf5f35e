//! `explain`, the route table and a naive scan give the same verdict on random manifests and random requests.
//!
//! The naive scan is written straight from the text of Ingress v1 and shares no line with ringress: it reads no index, keeps
//! no order but the one that the documentation states, and looks at every path of every object for every request.

use ringress_shared::hostname::normalise_host;
use ringress_shared::listener::Routing;
use ringress_shared::route::{BareGet, Lookup, NoTrace, RouteTable, Scratch, normalise};
use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Memo, Settings, translate};

use crate::support::manifest::{self, Ingress};
use crate::support::{Client, Driver, Launch, Upstream};

/// Numbers that look random and can be had again from their seed.
pub(crate) struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    /// One of these.
    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

const HOSTS: &[&str] = &["", "a.test", "b.a.test", "*.a.test", "*.test", "C.test", "c.b.a.test"];
const SERVICES: [&str; 4] = ["one", "two", "three", "four"];

/// An Ingress as the naive scan sees it.
#[derive(Debug, Clone)]
struct Object {
    name: String,
    created: Option<u32>,
    is_ours: bool,
    default_backend: Option<&'static str>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    host: &'static str,
    paths: Vec<Path>,
}

#[derive(Debug, Clone)]
struct Path {
    path: String,
    is_exact: bool,
    path_type: &'static str,
    service: &'static str,
}

fn random_objects(dice: &mut Dice) -> Vec<Object> {
    let dated = dice.chance(50);
    (0..1 + dice.roll(6)).map(|number| random_object(dice, number, dated)).collect()
}

fn random_object(dice: &mut Dice, number: usize, dated: bool) -> Object {
    let rules: Vec<_> = (0..dice.roll(4)).map(|_| random_rule(dice)).collect();
    let needs_default = rules.is_empty();
    Object {
        name: format!("{}{number}", dice.one(&["x", "m", "a"])),
        created: dated.then(|| dice.roll(4) as u32),
        is_ours: dice.chance(85),
        default_backend: (needs_default || dice.chance(15)).then(|| dice.one(&SERVICES)),
        rules,
    }
}

fn random_rule(dice: &mut Dice) -> Rule {
    let paths = (0..1 + dice.roll(5)).map(|_| random_path(dice)).collect();
    Rule { host: dice.one(HOSTS), paths }
}

fn random_path(dice: &mut Dice) -> Path {
    let mut path: String =
        (0..dice.roll(4)).map(|_| format!("/{}", dice.one(&["a", "b", "ab", "A"]))).collect();
    if path.is_empty() || dice.chance(20) {
        path.push('/');
    }
    let path_type = dice.one(&["Prefix", "Exact", "ImplementationSpecific", "Prefix"]);
    Path { path, is_exact: path_type == "Exact", path_type, service: dice.one(&SERVICES) }
}

fn random_request(dice: &mut Dice) -> (String, String) {
    let host = dice.one(&[
        "a.test",
        "b.a.test",
        "x.a.test",
        "x.y.a.test",
        "c.test",
        "C.TEST:8080",
        "test",
        "other.test",
        "c.b.a.test",
        "a.test.",
        "10.0.0.1",
    ]);
    let mut target: String = (0..dice.roll(5))
        .map(|_| format!("/{}", dice.one(&["a", "b", "ab", "A", "%61", "a%62", ".", "x", "a%20b", ""])))
        .collect();
    if dice.chance(10) {
        target.push_str("/..");
    }
    if dice.chance(20) || target.is_empty() {
        target.push('/');
    }
    if dice.chance(20) {
        target.push_str("?x=/a");
    }
    (host.to_owned(), target)
}

fn manifests(objects: &[Object]) -> String {
    let documents: Vec<_> = objects.iter().map(|object| object.ingress().yaml()).collect();
    manifest::file(&[&[manifest::CLASS.to_owned()][..], &documents].concat())
}

fn services(address: impl Fn(&str) -> std::net::SocketAddr) -> String {
    let documents: Vec<_> = SERVICES
        .iter()
        .flat_map(|name| [manifest::service(name), manifest::endpoints(name, &[address(name)])])
        .collect();
    manifest::file(&documents)
}

impl Object {
    fn ingress(&self) -> Ingress {
        let mut ingress =
            Ingress::new(&self.name).class(Some(if self.is_ours { "ringress" } else { "foreign" }));
        if let Some(created) = self.created {
            ingress = ingress.created(&format!("2026-01-01T00:00:0{created}Z"));
        }
        if let Some(service) = self.default_backend {
            ingress = ingress.default_backend(service, "80");
        }
        self.rules.iter().fold(ingress, |ingress, rule| {
            let paths: Vec<_> =
                rule.paths.iter().map(|path| (path.path.as_str(), path.path_type, path.service)).collect();
            ingress.rule(rule.host, &paths)
        })
    }
}

// The naive scan.

/// What becomes of a request: the object and field that take it, or why nothing does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Taken { by: String, service: Option<&'static str> },
    NotFound,
    BadRequest,
}

fn taken(object: &Object, field: String, service: &'static str) -> Verdict {
    Verdict::Taken { by: format!("{} {field}", object.name), service: Some(service) }
}

fn naive(objects: &[Object], host: &str, target: &str) -> Verdict {
    let Some(path) = plain_path(target) else { return Verdict::BadRequest };
    let host = host.split(':').next().unwrap().trim_end_matches('.').to_ascii_lowercase();
    let objects = oldest_first(objects);
    // "Precise matches require that the HTTP host header matches the host field", then wildcards, then no host at all.
    let is_named = |wanted: &str| {
        objects.iter().any(|object| object.rules.iter().any(|rule| rule.host.eq_ignore_ascii_case(wanted)))
    };
    let wildcard = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    let named = [Some(host.clone()), wildcard, Some(String::new())]
        .into_iter()
        .flatten()
        .find(|wanted| is_named(wanted));
    named
        .and_then(|wanted| within_host(&objects, &wanted, &path))
        // "If none of the hosts or paths match, the traffic is routed to your default backend."
        .or_else(|| {
            objects.iter().find(|object| object.rules.is_empty()).and_then(|object| to_default(object))
        })
        .unwrap_or(Verdict::NotFound)
}

fn oldest_first(objects: &[Object]) -> Vec<&Object> {
    let mut ours: Vec<_> = objects.iter().filter(|object| object.is_ours).collect();
    ours.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    ours
}

fn within_host(objects: &[&Object], host: &str, path: &str) -> Option<Verdict> {
    let mut best: Option<(usize, Verdict)> = None;
    for object in objects {
        for (rule_number, rule) in
            object.rules.iter().enumerate().filter(|(_, rule)| rule.host.eq_ignore_ascii_case(host))
        {
            for (path_number, candidate) in rule.paths.iter().enumerate() {
                let Some(rank) = candidate.rank(path) else { continue };
                // Longer wins, Exact wins over Prefix; among equals the first one seen, which is the oldest, stays.
                if best.as_ref().is_none_or(|(before, _)| rank > *before) {
                    let field = format!("spec.rules[{rule_number}].http.paths[{path_number}]");
                    best = Some((rank, taken(object, field, candidate.service)));
                }
            }
        }
    }
    let has_host = |object: &&&Object| object.rules.iter().any(|rule| rule.host.eq_ignore_ascii_case(host));
    best.map(|(_, verdict)| verdict)
        .or_else(|| objects.iter().filter(has_host).find_map(|object| to_default(object)))
}

fn to_default(object: &Object) -> Option<Verdict> {
    object.default_backend.map(|service| taken(object, "spec.defaultBackend".into(), service))
}

impl Path {
    /// How well this matches; `None` where it does not.
    fn rank(&self, path: &str) -> Option<usize> {
        if self.is_exact {
            return (self.path == path).then_some(usize::MAX);
        }
        // "Matching is done on a path element by element basis", and trailing slashes are ignored.
        let wanted: Vec<_> = self.path.trim_end_matches('/').split('/').collect();
        let given: Vec<_> = path.split('/').collect();
        (given.len() >= wanted.len() && given[..wanted.len()] == wanted[..]).then_some(wanted.len())
    }
}

/// The path as it is compared: unreserved characters decoded, dot segments resolved. `None` above the root.
fn plain_path(target: &str) -> Option<String> {
    let raw = target.split('?').next().unwrap();
    let raw = raw.replace("%61", "a").replace("%62", "b");
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<_> = raw[1..].split('/').collect();
    for (number, segment) in segments.iter().enumerate() {
        let is_last = number + 1 == segments.len();
        match *segment {
            "." if is_last => out.push(""),
            "." => {}
            ".." => {
                out.pop()?;
                if is_last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    Some(format!("/{}", out.join("/")))
}

// What ringress says.

fn of_table(table: &RouteTable, host: &str, target: &str, scratch: &mut Scratch) -> Verdict {
    let path = target.split('?').next().unwrap();
    let Ok(path) = normalise(path.as_bytes()) else { return Verdict::BadRequest };
    let mut buffer = String::new();
    let host = normalise_host(host.as_bytes(), &mut buffer);
    match table.find(host, &path, &BareGet, scratch, &mut NoTrace) {
        Lookup::Found(found) => {
            let origin = &found.rule.origin;
            Verdict::Taken { by: format!("{} {}", origin.object.name, origin.field), service: None }
        }
        Lookup::NoHost | Lookup::NoPath => Verdict::NotFound,
        Lookup::Ambiguous => Verdict::BadRequest,
    }
}

fn same_rule(left: &Verdict, right: &Verdict) -> bool {
    match (left, right) {
        (Verdict::Taken { by: left, .. }, Verdict::Taken { by: right, .. }) => left == right,
        _ => left == right,
    }
}

#[test]
fn the_route_table_agrees_with_a_naive_scan() {
    const MANIFESTS: u64 = 1_000;
    const REQUESTS: usize = 1_000;
    let services = services(|_| "127.0.0.1:9".parse().unwrap());
    let settings = Settings { allow_loopback_endpoints: true, ..Settings::default() };
    let mut taken = 0;
    for seed in 1..=MANIFESTS {
        let mut dice = Dice::new(seed);
        let objects = random_objects(&mut dice);
        let texts = [
            ("rules.yaml".to_owned(), manifests(&objects).into()),
            ("services.yaml".to_owned(), services.as_str().into()),
        ];
        let loaded = Folder::new().update(texts.into_iter().collect());
        let translation = translate(&loaded.objects, &settings, &LastGood::default(), &mut Memo::default());
        let Routing::Http(table) = &translation.parts.sockets[0].listeners[0].routing;
        let mut scratch = Scratch::default();
        for _ in 0..REQUESTS {
            let (host, target) = random_request(&mut dice);
            let (expected, got) =
                (naive(&objects, &host, &target), of_table(table, &host, &target, &mut scratch));
            assert!(
                same_rule(&expected, &got),
                "seed {seed}, {host}{target}: table {got:?}, naive {expected:?}\n{}",
                manifests(&objects)
            );
            taken += usize::from(matches!(expected, Verdict::Taken { .. }));
        }
    }
    let share = taken * 100 / (MANIFESTS as usize * REQUESTS);
    println!("{MANIFESTS} manifests, {REQUESTS} requests each, {share} % of them routed");
    assert!((20..95).contains(&share), "requests that all end alike show nothing: {share} %");
}

#[test]
fn explain_and_the_shards_agree_with_a_naive_scan() {
    const MANIFESTS: u64 = 50;
    const REQUESTS: usize = 200;
    let driver = if Driver::IoUring.is_available() { Driver::IoUring } else { Driver::Epoll };
    let upstreams = SERVICES.map(|name| (name, Upstream::named(name)));
    let address = |wanted: &str| upstreams.iter().find(|(name, _)| *name == wanted).unwrap().1.address();
    let ringress =
        Launch::new(driver).flags(&["--access-log=off"]).file("services.yaml", &services(address)).start();
    let (mut admin, mut client) = (Client::connect(ringress.ports.admin), ringress.client());
    for seed in 1..=MANIFESTS {
        let mut dice = Dice::new(seed);
        let objects = random_objects(&mut dice);
        ringress.apply("rules.yaml", &manifests(&objects));
        for _ in 0..REQUESTS {
            let (host, target) = random_request(&mut dice);
            let expected = naive(&objects, &host, &target);
            let told = explained(&mut admin, &host, &target);
            let case = || format!("seed {seed}, {host}{target}\n{}", manifests(&objects));
            assert!(same_rule(&expected, &told), "explain {told:?}, naive {expected:?}, {}", case());
            let answer = client.get(&host, &target);
            let shown = match &expected {
                Verdict::Taken { service, .. } => (200, *service),
                Verdict::NotFound => (404, None),
                Verdict::BadRequest => (400, None),
            };
            assert_eq!((answer.status, answer.field("x-upstream")), shown, "{}", case());
            if answer.says_close() {
                client = ringress.client();
            }
        }
    }
}

fn explained(admin: &mut Client, host: &str, target: &str) -> Verdict {
    let body = serde_json::json!({ "url": format!("http://{host}{target}") }).to_string();
    let length = body.len();
    let answer = admin.ask(format!(
        "POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    if told["answer"]["status"] == 400 {
        return Verdict::BadRequest;
    }
    match told["winner"]["object"]["name"].as_str() {
        Some(name) => Verdict::Taken {
            by: format!("{name} {}", told["winner"]["field"].as_str().unwrap()),
            service: None,
        },
        None => Verdict::NotFound,
    }
}
