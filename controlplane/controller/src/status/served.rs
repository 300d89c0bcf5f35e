//! What serving a version of an Ingress amounts to, in the few words with which `Applied` begins. Pure.
//!
//! A version that is taken over may take no request, or answer all of them 503: "live" would be said of it, and not be true.
//! Why is said by the warnings beside it. Whether anything behind its Services is ready is no question of the version.

use std::collections::BTreeSet;
use std::fmt;

use ringress_shared::listener::Routing;
use ringress_shared::origin::ObjectRef;
use ringress_shared::route::{RouteTable, Rule, Target};
use ringress_translate::objects::Key;
use ringress_translate::{Claim, Outcome, Translation};

/// What became of the paths of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Served {
    /// A path leads to a Service; or there is none, and what the object says beside is applied.
    Live,
    /// Every path is answered 503 here.
    Closed,
    /// No path takes any request.
    Nothing(String),
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Closed => f.write_str("closed (every path answers 503)"),
            Self::Nothing(why) => write!(f, "not served ({why})"),
        }
    }
}

impl Served {
    /// Costs a look at the hosts of the object.
    pub(super) fn of(translation: &Translation, key: &Key) -> Self {
        let claims: Vec<&Claim> = translation.claims.of(key).collect();
        let routed = claims.iter().filter(|claim| matches!(claim.outcome, Outcome::Routed(_)));
        let hosts: BTreeSet<String> = routed.map(|claim| host_text(claim)).collect();
        if hosts.is_empty() {
            return nothing(&claims);
        }
        let object = key.reference("Ingress");
        let is_open = |table: &RouteTable| hosts.iter().any(|host| leads_on(table, host, &object));
        if tables(translation).any(is_open) { Self::Live } else { Self::Closed }
    }
}

/// `*.parent` for a wildcard, which is its own key among the hosts; empty for every host.
fn host_text(claim: &Claim) -> String {
    claim.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn tables(translation: &Translation) -> impl Iterator<Item = &RouteTable> {
    let listeners = translation.parts.sockets.iter().flat_map(|socket| socket.listeners.iter());
    listeners.map(|listener| match &listener.routing {
        Routing::Http(table) => &**table,
    })
}

/// Whether a rule of the object at a host leads to a Service.
fn leads_on(table: &RouteTable, host: &str, object: &ObjectRef) -> bool {
    let entry = table.entries_for(host).next();
    let of_host = entry
        .into_iter()
        .flat_map(|entry| entry.candidates().iter().map(|candidate| &candidate.rule).chain(entry.fallback()));
    let mut rules = of_host.chain(table.default_rule());
    rules.any(|rule| rule.origin.object == *object && is_open(rule))
}

fn is_open(rule: &Rule) -> bool {
    let leads_on = rule.backends.iter().any(|backend| matches!(backend.target, Target::Upstream(_)));
    rule.policies.denied.is_none() && leads_on
}

/// Why nothing of it is routed, as far as that is one thing.
fn nothing(claims: &[&Claim]) -> Served {
    let Some((first, rest)) = claims.split_first() else { return Served::Live };
    let is_shadowed = |claim: &&Claim| matches!(claim.outcome, Outcome::Shadowed { .. });
    let why = match &first.outcome {
        Outcome::Invalid(why) if rest.iter().all(|claim| claim.outcome == first.outcome) => why,
        Outcome::Shadowed { .. } if rest.iter().all(is_shadowed) => "others have all its paths",
        _ => "its paths are wrong or taken by others",
    };
    Served::Nothing(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::json::object;
    use ringress_translate::{LastGood, Memo, Objects, Settings, translate};
    use serde_json::{Value, json};

    const NGINX: &str = "nginx.ingress.kubernetes.io";

    fn ingress(name: &str, created: &str, annotation: (&str, &str), spec: Value) -> String {
        let annotations = json!({format!("{NGINX}/{}", annotation.0): annotation.1});
        let mut spec = spec;
        spec["ingressClassName"] = json!("ringress");
        let metadata = json!({
            "namespace": "a", "name": name, "creationTimestamp": created, "annotations": annotations,
        });
        json!({"metadata": metadata, "spec": spec}).to_string()
    }

    fn rule(host: &str, path: &str) -> Value {
        let backend = backend();
        let path = json!({"path": path, "pathType": "Prefix", "backend": backend});
        json!({"host": host, "http": {"paths": [path]}})
    }

    fn backend() -> Value {
        json!({"service": {"name": "web", "port": {"number": 80}}})
    }

    fn check(annotation: (&str, &str), spec: Value, expected: &str) {
        let class =
            r#"{"metadata":{"name":"ringress"},"spec":{"controller":"ringress.dev/ingress-controller"}}"#;
        let first =
            ingress("first", "2020-01-01T00:00:00Z", ("", ""), json!({"rules": [rule("a.test", "/")]}));
        let own = ingress("own", "2021-01-01T00:00:00Z", annotation, spec.clone());
        let mut objects = Objects::default();
        for (kind, text) in [("IngressClass", class), ("Ingress", &first), ("Ingress", &own)] {
            objects.insert(object(kind, text).unwrap());
        }
        let translation =
            translate(&objects, &Settings::default(), &LastGood::default(), &mut Memo::default());
        let served = Served::of(&translation, &Key::new("a", "own")).to_string();
        assert_eq!(served, expected, "{annotation:?} {spec}");
    }

    #[test]
    fn an_ingress_is_live_closed_or_not_served() {
        const CLOSED: &str = "closed (every path answers 503)";
        let (none, auth) = (("x", "y"), ("auth-url", "http://x"));
        let rules = |rules: &[Value]| json!({"rules": rules});
        for host in ["b.test", "*.b.test", ""] {
            check(none, rules(&[rule(host, "/")]), "live");
            check(auth, rules(&[rule(host, "/")]), CLOSED);
        }
        check(none, json!({"defaultBackend": backend()}), "live");
        check(auth, json!({"defaultBackend": backend()}), CLOSED);
        check(none, json!({"defaultBackend": backend(), "rules": [{"host": "b.test"}]}), "live");
        check(auth, json!({"defaultBackend": backend(), "rules": [{"host": "b.test"}]}), CLOSED);
        let forced = ("force-ssl-redirect", "true");
        check(
            forced,
            json!({"rules": [rule("b.test", "/"), rule("c.test", "/")], "tls": [{"hosts": ["c.test"]}]}),
            "live",
        );
        check(
            ("canary", "true"),
            rules(&[rule("b.test", "/")]),
            "not served (ringress serves no canaries yet)",
        );
        check(none, rules(&[rule("a.test", "/")]), "not served (others have all its paths)");
        check(none, rules(&[rule("a.test", "/"), rule("b.test", "/")]), "live");
        check(
            none,
            rules(&[rule("a.test", "/"), rule("b.test", "/x//")]),
            "not served (its paths are wrong or taken by others)",
        );
        check(none, rules(&[json!({"host": "b.test"})]), "live");
        let wrong = json!({"path": "/", "pathType": "Prefix", "backend": {}});
        check(none, rules(&[json!({"host": "b.test", "http": {"paths": [wrong]}})]), CLOSED);
    }
}
