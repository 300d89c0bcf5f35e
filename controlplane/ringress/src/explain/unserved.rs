//! Ingresses that name a host and that the controller says nothing of: pure. It may watch other namespaces, or lag behind, and
//! nobody else would mention them.

use k8s_openapi::api::networking::v1::Ingress;

use super::explanation::Explanation;

/// A sentence for each Ingress that names the host of a request without a route, and is no loser.
pub(super) fn unserved(explanation: &Explanation, ingresses: &[Ingress]) -> Vec<String> {
    if explanation.winner.is_some() {
        return Vec::new();
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let is_known = |namespace: &str, name: &str| {
        let mut losers = explanation.losers.iter().map(|loser| &loser.object);
        losers.any(|object| object.kind == "Ingress" && object.namespace == namespace && object.name == name)
    };
    let mut found = Vec::new();
    for ingress in ingresses.iter().filter(|ingress| names(ingress, &explanation.host)) {
        let (namespace, name) = (text(&ingress.metadata.namespace), text(&ingress.metadata.name));
        if !is_known(&namespace, &name) {
            let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
            let class = class.map_or_else(|| "no class".to_owned(), |class| format!("class {class}"));
            found.push(format!(
                "Ingress {namespace}/{name} ({class}) names {}, and this controller has not seen it: it may watch other \
                 namespaces (--watch-namespace), or lag behind (kubectl ringress wait ingress/{name} -n {namespace})",
                explanation.host
            ));
        }
    }
    found
}

fn names(ingress: &Ingress, host: &str) -> bool {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules
        .into_iter()
        .filter_map(|rule| rule.host.as_deref())
        .any(|named| takes(&named.to_ascii_lowercase(), host))
}

fn takes(named: &str, host: &str) -> bool {
    match named.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
        None => named == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(name: &str, host: &str) -> Ingress {
        let spec = json!({"ingressClassName": "edge", "rules": [{"host": host}]});
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn only_those_that_the_controller_does_not_mention() {
        let object = json!({"kind": "Ingress", "namespace": "shop", "name": "known"});
        let loser = json!({
            "object": object, "field": "", "host": "a.test", "path": "/", "check": "path", "why": "",
        });
        let explanation: Explanation = serde_json::from_value(json!({
            "url": "http://a.test/", "method": "GET", "routed": false, "host": "a.test", "path": "/", "policies": [],
            "backends": [], "checklist": [], "losers": [loser], "problems": [],
        }))
        .unwrap();
        let all = [
            ingress("known", "a.test"),
            ingress("unseen", "A.test"),
            ingress("wild", "*.test"),
            ingress("other", "b.test"),
        ];
        let found = unserved(&explanation, &all);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("Ingress shop/unseen (class edge) names a.test"), "{found:?}");
        assert!(found[1].starts_with("Ingress shop/wild"), "{found:?}");
    }
}
