//! Protections in the dialects of other controllers. They are not promised, so nothing is closed for them; but an object that
//! comes from there and is open here must say so.
//!
//! What harms nobody (issuers, DNS, deployment tools, weights, timeouts) gets no word.

use super::{Annotations, PREFIX, denied};
use crate::problem::Problem;
use crate::settings::Settings;

/// One finding for all protections of an object.
pub(super) fn report(annotations: Annotations<'_>, settings: &Settings, problems: &mut Vec<Problem>) {
    let mut found: Vec<(String, &Dialect)> = Vec::new();
    for dialect in DIALECTS.iter().filter(|dialect| !dialect.is_read(settings)) {
        let protections =
            annotations.under(dialect.prefix).filter(|(name, value)| dialect.protects(name, value));
        found.extend(protections.map(|(name, _)| (format!("{}{name}", dialect.prefix), dialect)));
    }
    let Some((_, first)) = found.first() else { return };
    let whose = found.iter().all(|(_, dialect)| dialect.controller == first.controller);
    let whose = if whose { first.controller } else { "other controllers" };
    let keys: Vec<String> = found.iter().map(|(key, _)| key.clone()).collect();
    let instead = format!("{PREFIX}max-body-bytes");
    problems.push(Problem::protections_of_others(annotations.object, &keys, whose, &instead));
}

/// The annotations of another controller.
struct Dialect {
    /// With the slash.
    prefix: &'static str,
    controller: &'static str,
    /// Protections that do not sound like one.
    also: &'static [&'static str],
}

impl Dialect {
    /// Whether `--annotations-prefix` names it, so that its protections close.
    fn is_read(&self, settings: &Settings) -> bool {
        self.prefix.trim_end_matches('/') == settings.annotations_prefix.trim_end_matches('/')
    }

    fn protects(&self, name: &str, value: &str) -> bool {
        let sounds = denied::protects_by_name(name) || denied::names_protection(name);
        (sounds || self.also.contains(&name)) && !is_off(name, value)
    }
}

fn is_off(name: &str, value: &str) -> bool {
    let words = ["", "none", "off", "false", "disable", "disabled"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word)) || denied::is_void(name, value)
}

const fn dialect(prefix: &'static str, controller: &'static str, also: &'static [&'static str]) -> Dialect {
    Dialect { prefix, controller, also }
}

const DIALECTS: &[Dialect] = &[
    dialect(
        "nginx.org/",
        "NGINX Ingress Controller",
        &["policies", "client-max-body-size", "location-snippets", "server-snippets"],
    ),
    dialect("nginx.com/", "NGINX Ingress Controller", &[]),
    dialect("appprotect.f5.com/", "NGINX Ingress Controller", &["app-protect-enable", "app-protect-policy"]),
    dialect(
        "haproxy.org/",
        "HAProxy Kubernetes Ingress Controller",
        &["allow-list", "deny-list", "client-ca"],
    ),
    dialect("haproxy-ingress.github.io/", "HAProxy Ingress", &["oauth", "oauth-uri-prefix"]),
    dialect("ingress.kubernetes.io/", "HAProxy Ingress", &["oauth", "oauth-uri-prefix"]),
    dialect("traefik.ingress.kubernetes.io/", "Traefik", &["router.middlewares", "router.tls.options"]),
    dialect("konghq.com/", "Kong", &["plugins"]),
    dialect(
        "alb.ingress.kubernetes.io/",
        "AWS Load Balancer Controller",
        &["inbound-cidrs", "security-groups", "mutual-authentication", "wafv2-acl-arn", "waf-acl-id"],
    ),
    dialect(
        "appgw.ingress.kubernetes.io/",
        "Application Gateway Ingress Controller",
        &["waf-policy-for-path"],
    ),
    dialect("projectcontour.io/", "Contour", &["tls-minimum-protocol-version"]),
    dialect("higress.io/", "Higress", &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ringress_shared::origin::ObjectRef;

    use super::*;

    fn found(pairs: &[(&str, &str)], settings: &Settings) -> Vec<String> {
        let object = ObjectRef::new("Ingress", "d", "i");
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let values: BTreeMap<String, String> = pairs.collect();
        let mut problems = Vec::new();
        report(Annotations::new(&object, Some(&values)), settings, &mut problems);
        problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn protections_of_other_controllers_are_said_and_nothing_else() {
        for (key, value, expected) in [
            ("nginx.org/basic-auth-secret", "users", true),
            ("nginx.org/policies", "allow", true),
            ("nginx.org/proxy-connect-timeout", "5s", false),
            ("nginx.com/jwt-key", "key", true),
            ("haproxy.org/auth-type", "basic-auth", true),
            ("haproxy.org/whitelist", "10.0.0.0/8", true),
            ("haproxy.org/rate-limit-requests", "10", true),
            ("haproxy.org/timeout-server", "5s", false),
            ("haproxy-ingress.github.io/auth-url", "http://x", true),
            ("haproxy-ingress.github.io/allowlist-source-range", "0.0.0.0/0,::/0", false),
            ("ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8", true),
            ("ingress.kubernetes.io/backends", "{}", false),
            ("traefik.ingress.kubernetes.io/router.middlewares", "d-auth@kubernetescrd", true),
            ("traefik.ingress.kubernetes.io/router.tls", "true", false),
            ("traefik.ingress.kubernetes.io/router.entrypoints", "websecure", false),
            ("konghq.com/plugins", "key-auth", true),
            ("konghq.com/strip-path", "true", false),
            ("alb.ingress.kubernetes.io/auth-type", "oidc", true),
            ("alb.ingress.kubernetes.io/auth-type", "none", false),
            ("alb.ingress.kubernetes.io/backend-protocol", "HTTP", false),
            ("alb.ingress.kubernetes.io/scheme", "internal", false),
            ("projectcontour.io/tls-minimum-protocol-version", "1.3", true),
            ("projectcontour.io/response-timeout", "5s", false),
            ("cert-manager.io/cluster-issuer", "letsencrypt", false),
            ("external-dns.alpha.kubernetes.io/hostname", "a.test", false),
            ("argocd.argoproj.io/sync-wave", "1", false),
            ("kubectl.kubernetes.io/last-applied-configuration", "{auth-url}", false),
            ("meta.helm.sh/release-name", "auth", false),
            ("prometheus.io/scrape", "true", false),
            ("example.com/auth-url", "http://x", false),
        ] {
            let found = found(&[(key, value)], &Settings::default());
            assert_eq!(!found.is_empty(), expected, "{key}: {value}: {found:?}");
            assert!(found.iter().all(|message| message.contains(key)), "{found:?}");
        }
    }

    #[test]
    fn one_finding_names_a_few_keys() {
        let pairs = [
            ("nginx.org/basic-auth-secret", "x"),
            ("nginx.org/policies", "x"),
            ("haproxy.org/whitelist", "x"),
            ("konghq.com/plugins", "x"),
            ("alb.ingress.kubernetes.io/auth-type", "oidc"),
        ];
        let found = found(&pairs, &Settings::default());
        assert_eq!(found.len(), 1);
        let named = "nginx.org/basic-auth-secret, nginx.org/policies, haproxy.org/whitelist and 2 more belong to other controllers";
        assert!(found[0].starts_with(named), "{}", found[0]);
    }

    #[test]
    fn a_prefix_that_is_read_is_no_foreign_one() {
        let settings = Settings { annotations_prefix: "ingress.kubernetes.io".into(), ..Settings::default() };
        let pairs = [("ingress.kubernetes.io/auth-url", "http://x")];
        assert_eq!(found(&pairs, &Settings::default()).len(), 1);
        assert!(found(&pairs, &settings).is_empty());
    }
}
