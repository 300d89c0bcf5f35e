//! Secrets that exist and whose content nobody has: their hosts get no certificate at all, never another one.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::sync::Arc;

use ringress_shared::certificate::CertificateStore;
use ringress_translate::manifest::parse;
use ringress_translate::{Key, LastGood, Memo, Objects, Reason, Settings, Translation, translate};

const INGRESSES: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: named, namespace: shop}
spec:
  ingressClassName: ringress
  tls: [{hosts: [own.test, '*.wild.test'], secretName: cert}, {hosts: [plain.test]}]
  rules: [{host: own.test}, {host: '*.wild.test'}, {host: plain.test}]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ringress}
spec: {controller: ringress.dev/ingress-controller}
";

const SECRETS: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: cert, namespace: shop}
data: {tls.crt: '@cert(own.test,*.wild.test)', tls.key: '@key(own.test,*.wild.test)'}
---
apiVersion: v1
kind: Secret
metadata: {name: default, namespace: shop}
data: {tls.crt: '@cert(default.test)', tls.key: '@key(default.test)'}
";

struct World {
    objects: Objects,
    settings: Settings,
    memo: Memo,
}

impl World {
    fn new(texts: &[&str]) -> Self {
        let mut objects = Objects::default();
        for document in texts.iter().flat_map(|text| read(text)) {
            objects.insert(document);
        }
        let default = Key::new("shop", "default");
        let settings = Settings { default_ssl_certificate: Some(default), ..Settings::default() };
        Self { objects, settings, memo: Memo::default() }
    }

    fn withhold(&mut self, names: &[&str]) {
        self.objects.withheld = Arc::new(names.iter().map(|name| Key::new("shop", name)).collect());
    }

    fn translation(&mut self) -> Translation {
        translate(&self.objects, &self.settings, &LastGood::default(), &mut self.memo)
    }
}

fn read(text: &str) -> Vec<ringress_translate::Object> {
    let parsed = parse("world.yaml", &support::with_certificates(text));
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.documents.into_iter().map(|document| document.object).collect()
}

fn store(translation: &Translation) -> Arc<CertificateStore> {
    let mut listeners = translation.parts.sockets.iter().flat_map(|socket| socket.listeners.iter());
    Arc::clone(&listeners.find_map(|listener| listener.tls.as_ref()).unwrap().certificates)
}

/// Which Secret's certificate a name is shown.
fn shown(translation: &Translation, name: &str) -> Option<String> {
    let store = store(translation);
    store.resolve(Some(name)).map(|certificate| certificate.secret.as_ref().unwrap().name.to_string())
}

#[test]
fn a_host_is_refused_while_its_secret_is_withheld_and_served_once_it_is_there() {
    let mut world = World::new(&[INGRESSES, SECRETS]);
    let secret = Key::new("shop", "cert").reference("Secret");
    world.objects.remove(&secret);
    world.withhold(&["cert"]);
    let degraded = world.translation();
    for name in ["own.test", "any.wild.test"] {
        assert_eq!(shown(&degraded, name), None, "{name}");
        assert!(store(&degraded).refuses(name));
    }
    for name in ["plain.test", "unknown.test"] {
        assert_eq!(shown(&degraded, name).as_deref(), Some("default"), "{name}");
    }
    let said: Vec<_> =
        degraded.problems.iter().filter(|problem| problem.reason == Reason::SecretWithheld).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].message.contains("--cache-key-file"), "{}", said[0].message);

    world.objects.insert(read(SECRETS).remove(0));
    world.withhold(&[]);
    let whole = world.translation();
    assert_eq!(shown(&whole, "own.test").as_deref(), Some("cert"));
    assert!(whole.problems.iter().all(|problem| problem.reason != Reason::SecretWithheld));
}

#[test]
fn a_secret_that_is_gone_is_missing_and_not_withheld() {
    let mut world = World::new(&[INGRESSES, SECRETS]);
    world.objects.remove(&Key::new("shop", "cert").reference("Secret"));
    world.withhold(&["cert"]);
    world.translation();
    world.withhold(&[]);
    let gone = world.translation();
    assert_eq!(shown(&gone, "own.test").as_deref(), Some("default"));
    assert!(gone.problems.iter().any(|problem| problem.reason == Reason::SecretNotFound));
}

#[test]
fn without_the_default_certificate_unknown_names_are_refused() {
    let mut world = World::new(&[INGRESSES, SECRETS]);
    world.objects.remove(&Key::new("shop", "default").reference("Secret"));
    world.withhold(&["default"]);
    let degraded = world.translation();
    assert_eq!(shown(&degraded, "own.test").as_deref(), Some("cert"));
    assert_eq!(shown(&degraded, "unknown.test"), None);
    assert!(degraded.problems.iter().any(|problem| problem.reason == Reason::SecretWithheld));
}

#[test]
fn a_certificate_whose_names_are_not_known_may_be_for_any_name() {
    let nameless = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: nameless, namespace: shop}
spec:
  ingressClassName: ringress
  tls: [{secretName: cert}]
  defaultBackend: {service: {name: web, port: {number: 80}}}
";
    let class = INGRESSES.split_once("---\n").unwrap().1;
    let mut world = World::new(&[nameless, class, SECRETS]);
    assert_eq!(shown(&world.translation(), "own.test").as_deref(), Some("cert"));
    assert_eq!(shown(&world.translation(), "unknown.test").as_deref(), Some("default"));
    world.objects.remove(&Key::new("shop", "cert").reference("Secret"));
    world.withhold(&["cert"]);
    let degraded = world.translation();
    assert_eq!(shown(&degraded, "own.test"), None);
    assert_eq!(shown(&degraded, "unknown.test"), None);
}
