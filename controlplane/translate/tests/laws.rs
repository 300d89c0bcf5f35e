//! Laws of translation, over random worlds:
//!
//! - any memo gives what an empty one gives, whatever was edited before and whatever last good versions are handed in;
//! - the order in which objects arrive changes nothing;
//! - no object, however mangled, makes it panic;
//! - one bad object never changes the routes of the others;
//! - equal parts keep their allocation.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use ringress_shared::id::RuleId;
use ringress_shared::origin::ObjectRef;
use ringress_shared::route::{HostEntry, Rule, Target};
use ringress_translate::{Claim, LastGood, Memo, Object, Objects, Outcome, Settings, Translation, translate};
use serde_json::{Value, json};

/// What a world is made of. Few names, so that objects meet.
#[derive(Debug, Clone)]
enum Edit {
    Put(Value),
    Remove(ObjectRef),
    Resolve(&'static str, Vec<&'static str>),
    /// The content of these Secrets is not to be had.
    Withhold(BTreeSet<ringress_translate::Key>),
    /// The last good versions are lost, as after a restart.
    Forget,
    /// Another set of flags.
    Flags(usize),
}

fn object(value: &Value) -> Object {
    fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Box<T> {
        Box::new(serde_json::from_value(value.clone()).unwrap())
    }
    match value["kind"].as_str().unwrap() {
        "Ingress" => Object::Ingress(read(value)),
        "IngressClass" => Object::IngressClass(read(value)),
        "Service" => Object::Service(read(value)),
        "EndpointSlice" => Object::EndpointSlice(read(value)),
        "Endpoints" => Object::Endpoints(read(value)),
        "Secret" => Object::Secret(read(value)),
        other => panic!("{other}"),
    }
}

fn settings(number: usize) -> Settings {
    let mut settings = Settings { allow_loopback_endpoints: true, ..Settings::default() };
    match number {
        0 => {}
        1 => settings.watch_ingress_without_class = true,
        2 => settings.create_named_classes = true,
        3 => settings.default_ssl_certificate = Some(ringress_translate::Key::new("one", "cert")),
        4 => settings.default_backend_service = Some(ringress_translate::Key::new("one", "web")),
        _ => settings.https = None,
    }
    settings
}

fn namespace() -> impl Strategy<Value = &'static str> {
    select(vec!["one", "one", "one", "two"])
}

fn times() -> impl Strategy<Value = Value> {
    select(vec![json!(null), json!("2024-01-01T00:00:00Z"), json!("2025-01-01T00:00:00Z")])
}

fn host() -> impl Strategy<Value = &'static str> {
    let hosts =
        ["a.example.com", "a.example.com", "b.example.com", "*.example.com", "c.example.org", "", "bad_"];
    select(hosts.to_vec())
}

fn path() -> impl Strategy<Value = Value> {
    let path = select(vec!["/", "/a", "/a/", "/a/b", "/.well-known/acme-challenge/x", "relative", ""]);
    let path_type = select(vec!["Prefix", "Prefix", "Exact", "ImplementationSpecific", "", "Wrong"]);
    let port = select(vec![json!({"number": 80}), json!({"name": "http"}), json!({"number": 0}), json!({})]);
    let backend = (select(vec!["web", "api", "ext", "gone", "BAD"]), port)
        .prop_map(|(name, port)| json!({"service": {"name": name, "port": port}}));
    let backend = prop_oneof![
        9 => backend,
        1 => Just(json!({"resource": {"kind": "Bucket", "name": "b"}})),
    ];
    (path, path_type, backend).prop_map(
        |(path, path_type, backend)| json!({"path": path, "pathType": path_type, "backend": backend}),
    )
}

fn annotations() -> impl Strategy<Value = Value> {
    let pair = select(vec![
        ("ringress.dev/ssl-redirect", "false"),
        ("ringress.dev/ssl-redirect", "maybe"),
        ("ringress.dev/ssl-redirect", "true"),
        ("ringress.dev/max-body-bytes", "1k"),
        ("ringress.dev/max-body-bytes", "lots"),
        ("ringress.dev/load-balance", "ewma"),
        ("ringress.dev/typo", "x"),
        ("ringress.dev/whitelist-source-range", "10.0.0.0/8"),
        ("nginx.ingress.kubernetes.io/auth-url", "http://x"),
        ("nginx.ingress.kubernetes.io/force-ssl-redirect", "true"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-verify", "on"),
        ("nginx.ingress.kubernetes.io/auth-tls-secret", "one/ca"),
        ("nginx.ingress.kubernetes.io/rewrite-target", "/"),
        ("nginx.ingress.kubernetes.io/use-regex", "true"),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", ""),
        ("nginx.ingress.kubernetes.io/canary", "true"),
        ("kubernetes.io/ingress.class", "ringress"),
        ("kubernetes.io/ingress.class", "nginx"),
    ]);
    proptest::collection::vec(pair, 0..3)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect())
        .prop_map(|map: serde_json::Map<_, _>| Value::Object(map))
}

fn ingress() -> impl Strategy<Value = Value> {
    let rule = (host(), proptest::collection::vec(path(), 0..3))
        .prop_map(|(host, paths)| json!({"host": host, "http": {"paths": paths}}));
    let tls = (proptest::collection::vec(host(), 0..2), select(vec!["cert", "other", "gone", ""]))
        .prop_map(|(hosts, secret)| json!({"hosts": hosts, "secretName": secret}));
    let default = prop_oneof![
        3 => Just(Value::Null),
        1 => Just(json!({"service": {"name": "web", "port": {"number": 80}}})),
        1 => Just(json!({"service": {"name": "web"}})),
    ];
    let class = select(vec![json!(null), json!(null), json!("ringress"), json!("theirs"), json!("gone")]);
    let parts = (
        (select(vec!["a", "b", "c", "d"]), namespace(), times(), annotations()),
        proptest::collection::vec(rule, 0..3),
        proptest::collection::vec(tls, 0..2),
        default,
        class,
    );
    parts.prop_map(|((name, namespace, created, annotations), rules, tls, default, class)| {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": created,
                "annotations": annotations,
            },
            "spec": {"rules": rules, "tls": tls, "defaultBackend": default, "ingressClassName": class},
        })
    })
}

fn service() -> impl Strategy<Value = Value> {
    let ports = select(vec![
        json!([{"port": 80}]),
        json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]),
        json!([{"port": 8080}]),
        json!([]),
    ]);
    let spec = prop_oneof![
        3 => ports.prop_map(|ports| json!({"ports": ports})),
        1 => select(vec!["db.example.net", "localhost", "192.0.2.1"])
            .prop_map(|name| json!({"type": "ExternalName", "externalName": name, "ports": [{"port": 80}]})),
    ];
    (select(vec!["web", "api", "ext"]), namespace(), spec).prop_map(|(name, namespace, spec)| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    })
}

fn endpoint_slice() -> impl Strategy<Value = Value> {
    let endpoint = (select(vec!["10.0.0.1", "10.0.0.2", "127.0.0.1", "169.254.1.1", "x"]), 0..4u8).prop_map(
        |(address, condition)| {
            let conditions = match condition {
                0 => json!({}),
                1 => json!({"ready": true}),
                2 => json!({"ready": false}),
                _ => json!({"ready": false, "serving": true, "terminating": true}),
            };
            json!({"addresses": [address], "conditions": conditions})
        },
    );
    let name = select(vec!["s1", "s2", "s3"]);
    let service = select(vec!["web", "api", "nothing"]);
    let port = select(vec![json!({"port": 8080}), json!({"port": 8080, "name": "http"})]);
    (name, namespace(), service, port, proptest::collection::vec(endpoint, 0..3)).prop_map(
        |(name, namespace, service, port, endpoints)| {
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "ports": [port],
                "endpoints": endpoints,
            })
        },
    )
}

fn endpoints() -> impl Strategy<Value = Value> {
    (select(vec!["web", "api"]), namespace()).prop_map(|(name, namespace)| {
        json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace},
            "subsets": [{"addresses": [{"ip": "10.9.0.1"}], "ports": [{"port": 8080}]}],
        })
    })
}

fn secret() -> impl Strategy<Value = Value> {
    let data = select(vec![
        ("@cert(a.example.com,*.example.com)", "@key(a.example.com,*.example.com)"),
        ("@cert(c.example.org)", "@key(c.example.org)"),
        ("@cert(c.example.org)", "@key(a.example.com,*.example.com)"),
        ("bm90IFBFTQ==", "bm90IFBFTQ=="),
    ]);
    (select(vec!["cert", "other"]), namespace(), data).prop_map(|(name, namespace, (cert, key))| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "data": {
                "tls.crt": support::with_certificates(cert),
                "tls.key": support::with_certificates(key),
            },
        })
    })
}

fn class() -> impl Strategy<Value = Value> {
    let ours = select(vec!["ringress.dev/ingress-controller", "else.example.com/controller"]);
    (select(vec!["ringress", "theirs"]), ours, any::<bool>(), times()).prop_map(
        |(name, controller, default, created)| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {
                    "name": name,
                    "creationTimestamp": created,
                    "annotations": {"ingressclass.kubernetes.io/is-default-class": default.to_string()},
                },
                "spec": {"controller": controller},
            })
        },
    )
}

fn any_object() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => ingress(),
        3 => service(),
        3 => endpoint_slice(),
        1 => endpoints(),
        3 => secret(),
        2 => class(),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let resolve = (
        select(vec!["db.example.net", "unasked.example.net"]),
        select(vec![vec![], vec!["192.0.2.9"], vec!["127.0.0.1", "192.0.2.8"]]),
    );
    let name = (select(vec!["one", "two"]), select(vec!["cert", "other"]));
    let name = name.prop_map(|(namespace, name)| ringress_translate::Key::new(namespace, name));
    let withheld = proptest::collection::btree_set(name, 0..3);
    prop_oneof![
        20 => any_object().prop_map(Edit::Put),
        6 => any_object().prop_map(|value| Edit::Remove(object(&value).reference())),
        1 => resolve.prop_map(|(name, addresses)| Edit::Resolve(name, addresses)),
        1 => withheld.prop_map(Edit::Withhold),
        1 => Just(Edit::Forget),
        1 => (0..6usize).prop_map(Edit::Flags),
    ]
}

/// Everything that a translation says, in one text.
fn whole(translation: &Translation) -> String {
    let mut text = support::describe(translation, &[]);
    for claim in translation.claims.iter() {
        writeln!(text, "{claim:?}").unwrap();
    }
    write!(text, "{:?} {:?}", translation.wants, translation.last_good).unwrap();
    text
}

fn apply(edit: &Edit, objects: &mut Objects) {
    match edit {
        Edit::Put(value) => fill(objects, std::slice::from_ref(value)),
        Edit::Remove(reference) => {
            objects.remove(reference);
        }
        Edit::Resolve(name, addresses) => {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            objects.resolved.insert((*name).to_owned(), addresses);
        }
        Edit::Withhold(keys) => objects.withheld = Arc::new(keys.clone()),
        Edit::Forget | Edit::Flags(_) => {}
    }
}

fn fill(objects: &mut Objects, values: &[Value]) {
    for value in values {
        objects.insert(object(value));
    }
}

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig {
        cases: ProptestConfig::default().cases.max(number),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_memo_gives_what_an_empty_one_gives(
        world in proptest::collection::vec(any_object(), 0..12),
        edits in proptest::collection::vec(proptest::collection::vec(edit(), 1..3), 1..12),
    ) {
        let mut objects = Objects::default();
        fill(&mut objects, &world);
        let (mut flags, mut memo, mut last_good) = (settings(0), Memo::default(), LastGood::default());
        for round in std::iter::once(Vec::new()).chain(edits) {
            for edit in &round {
                apply(edit, &mut objects);
                match edit {
                    Edit::Forget => last_good = LastGood::default(),
                    Edit::Flags(number) => flags = settings(*number),
                    _ => {}
                }
            }
            let warm = translate(&objects, &flags, &last_good, &mut memo);
            let cold = translate(&objects, &flags, &last_good, &mut Memo::default());
            prop_assert_eq!(whole(&warm), whole(&cold), "after {:?}", round);
            last_good = warm.last_good;
        }
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(
        (world, shuffled) in proptest::collection::vec(any_object(), 0..16).prop_flat_map(|world| {
            // One object per name, or the last one would win by order.
            let unique: BTreeMap<_, _> = world.into_iter().map(|value| (object(&value).reference(), value)).collect();
            let world: Vec<Value> = unique.into_values().collect();
            (Just(world.clone()), Just(world).prop_shuffle())
        }),
    ) {
        let one_by_one = |world: &[Value]| {
            let (mut objects, mut memo, mut last) = (Objects::default(), Memo::default(), String::new());
            for value in world {
                objects.insert(object(value));
                // Nothing is handed on as last good: that is history, and the order of arrival is part of it.
                last = whole(&translate(&objects, &settings(0), &LastGood::default(), &mut memo));
            }
            last
        };
        prop_assert_eq!(one_by_one(&world), one_by_one(&shuffled));
    }

    #[test]
    fn one_bad_object_never_changes_the_routes_of_others(
        world in proptest::collection::vec(any_object(), 0..14),
        bad in ingress(),
    ) {
        let mut objects = Objects::default();
        fill(&mut objects, &world);
        let mut bad = bad;
        // The youngest and last by name, so that it wins nothing; with TLS it could name a host, and with expressions put one
        // into regex mode, which is a say of its own.
        bad["metadata"]["name"] = json!("zzz");
        bad["metadata"]["namespace"] = json!("zzz");
        bad["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        bad["spec"]["tls"] = json!([]);
        if let Some(annotations) = bad["metadata"]["annotations"].as_object_mut() {
            annotations.retain(|key, _| !key.ends_with("/rewrite-target") && !key.ends_with("/use-regex"));
        }
        let before = translate(&objects, &settings(1), &LastGood::default(), &mut Memo::default());
        objects.insert(object(&bad));
        let after = translate(&objects, &settings(1), &LastGood::default(), &mut Memo::default());
        prop_assert_eq!(rules_of_others(&before), rules_of_others(&after));
    }

    #[test]
    fn no_object_makes_it_panic(
        kind in 0..6usize,
        template in prop_oneof![
            ingress().boxed(), service().boxed(), endpoint_slice().boxed(), endpoints().boxed(),
            secret().boxed(), class().boxed(),
        ],
        mutations in proptest::collection::vec((any::<usize>(), any_value()), 1..6),
        around in proptest::collection::vec(any_object(), 0..6),
    ) {
        let mut mangled = template;
        for (at, value) in mutations {
            mutate(&mut mangled, at, value);
        }
        let mut objects = Objects::default();
        fill(&mut objects, &around);
        // What does not decode is refused before translation; the rest must be borne.
        let text = serde_json::to_string(&mangled).unwrap();
        for document in ringress_translate::manifest::parse("mangled.json", &text).documents {
            objects.insert(document.object);
        }
        translate(&objects, &settings(kind), &LastGood::default(), &mut Memo::default());
    }

    #[test]
    fn no_text_makes_manifests_panic(text in "([a-zA-Z0-9 :{}\\[\\],\"'|>&*!%#?.-]{0,12}\n){0,8}") {
        let parsed = ringress_translate::manifest::parse("any.yaml", &text);
        prop_assert!(parsed.documents.is_empty());
        if let Ok(restored) = ringress_translate::manifest::unflatten(&text) {
            prop_assert_eq!(ringress_translate::manifest::unflatten(&restored).unwrap(), restored);
        }
    }
}

/// Every rule with its host, but for those of the bad object. A host that only stands under `tls` has the rules of another
/// one until it has some of its own, so each rule counts where its object claims it.
fn rules_of_others(translation: &Translation) -> Vec<(String, Arc<Rule>)> {
    let table = support::routes(translation);
    let mut rules = Vec::new();
    let claimed: BTreeSet<_> = translation.claims.iter().filter_map(claimed_at).collect();
    for (host, entry) in table.hosts() {
        let all = entry.candidates().iter().map(|candidate| &candidate.rule).chain(entry.fallback());
        let own = all.filter(|rule| claimed.contains(&(rule.id, host.clone())));
        rules.extend(own.map(|rule| (host.clone(), Arc::clone(rule))));
    }
    rules.extend(table.default_rule().map(|rule| (String::new(), Arc::clone(rule))));
    // What stands in for a wrong path yields to whoever has the path that is left of it.
    let leads_nowhere =
        |rule: &Rule| rule.backends.iter().all(|backend| matches!(backend.target, Target::Answer(_)));
    rules.retain(|(_, rule)| &*rule.origin.object.name != "zzz" && !leads_nowhere(rule));
    rules.sort_by(|a, b| (&a.0, a.1.id).cmp(&(&b.0, b.1.id)));
    rules
}

fn claimed_at(claim: &Claim) -> Option<(RuleId, String)> {
    let Outcome::Routed(id) = claim.outcome else { return None };
    Some((id, claim.host.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string)))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::String),
        select(vec!["", "/", "*", "*.", ".", "%00", "/%", "0", "\u{0}", "127.0.0.1", "::1"])
            .prop_map(|text| json!(text)),
        Just(json!([])),
        Just(json!({})),
    ]
}

/// Replaces the value at one of the places of a tree.
fn mutate(value: &mut Value, at: usize, new: Value) {
    let children: usize = match &*value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if children == 0 || at.is_multiple_of(7) {
        *value = new;
        return;
    }
    let child = match value {
        Value::Array(items) => items.get_mut(at % children),
        Value::Object(fields) => fields.values_mut().nth(at % children),
        _ => None,
    };
    mutate(child.unwrap(), at / children, new);
}

fn small_world() -> Objects {
    let mut objects = Objects::default();
    let texts = include_str!("testdata/default_backend/with_rules_belongs_to_its_hosts.in.yaml");
    for document in ringress_translate::manifest::parse("world.yaml", texts).documents {
        objects.insert(document.object);
    }
    objects
}

fn entry(translation: &Translation, host: &str) -> Arc<HostEntry> {
    let table = support::routes(translation);
    let hosts = table.hosts();
    let (_, entry) = hosts.iter().find(|(name, _)| name == host).unwrap();
    Arc::clone(entry)
}

fn slice(address: &str) -> Object {
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-b", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [address]}],
    }))
}

fn another_host(path: &str) -> Object {
    object(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "another"},
        "spec": {"rules": [{"host": "another.example.com", "http": {"paths": [
            {"path": path, "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
        ]}}]},
    }))
}

#[test]
fn equal_parts_keep_their_allocation() {
    let (mut objects, mut memo, flags) = (small_world(), Memo::default(), settings(0));
    let mut now = |objects: &Objects| translate(objects, &flags, &LastGood::default(), &mut memo);
    let first = now(&objects);

    let again = now(&objects);
    assert!(Arc::ptr_eq(&first.parts.sockets, &again.parts.sockets));
    assert!(Arc::ptr_eq(&first.parts.upstreams, &again.parts.upstreams));

    objects.insert(slice("10.0.0.200"));
    let moved = now(&objects);
    assert!(Arc::ptr_eq(&first.parts.sockets, &moved.parts.sockets), "an endpoint must not touch routes");
    assert!(!Arc::ptr_eq(&first.parts.upstreams, &moved.parts.upstreams));
    let kept = |translation: &Translation| {
        let same = |id, upstream| Arc::ptr_eq(upstream, &first.parts.upstreams[id]);
        translation.parts.upstreams.iter().filter(|(id, upstream)| same(*id, *upstream)).count()
    };
    assert_eq!(kept(&moved), first.parts.upstreams.len() - 1, "only the upstream of web moved");

    objects.insert(another_host("/x"));
    let routed = now(&objects);
    assert!(!Arc::ptr_eq(&first.parts.sockets, &routed.parts.sockets));
    assert!(Arc::ptr_eq(&moved.parts.upstreams, &routed.parts.upstreams), "its upstream was there before");
    for host in ["example.com", "other.example.com"] {
        assert!(Arc::ptr_eq(&entry(&first, host), &entry(&routed, host)), "{host} must keep its entry");
    }
}

#[test]
fn upstreams_of_one_service_port_share_their_endpoints() {
    let mut objects = small_world();
    objects.insert(another_host("/x"));
    let Object::Ingress(mut balanced) = another_host("/y") else { unreachable!() };
    balanced.metadata.name = Some("balanced".into());
    let ewma = ("ringress.dev/load-balance".to_owned(), "ewma".to_owned());
    balanced.metadata.annotations = Some(BTreeMap::from([ewma]));
    objects.insert(Object::Ingress(balanced));
    let translation = translate(&objects, &settings(0), &LastGood::default(), &mut Memo::default());
    let web: Vec<_> = translation.parts.upstreams.values().filter(|up| &*up.service.name == "web").collect();
    assert_eq!(web.len(), 2);
    assert!(Arc::ptr_eq(&web[0].endpoints, &web[1].endpoints));
}
