//! Annotations of ingress-nginx in the strict dialect: none is applied, each is reported, and one that protects closes the
//! paths of its object (503). Dropping a protection in silence would open what its owner closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use ringress_shared::policy::Denied;
use ringress_shared::route::Dialect;

use super::aliases::is_name_of_servers;
use super::{Annotations, PREFIX, value};
use crate::problem::Problem;
use crate::settings::Settings;

/// A protection that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    because: Arc<str>,
    holds: Holds,
    guards: Guards,
}

/// What ingress-nginx protects by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guards {
    /// The paths of its object.
    Object,
    /// The hosts of its object, whoever's paths they have: TLS comes before any path, and a text for the server holds for all.
    Hosts,
}

/// Where a denial holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Always,
    /// Until a body limit is set that can be read.
    WithoutBodyLimit,
    /// Where plain-text requests are not sent to https by our own redirect.
    InPlainText,
}

impl Denial {
    /// A body limit that cannot be read.
    pub(super) fn body_limit(because: String) -> Self {
        Self { because: because.into(), holds: Holds::WithoutBodyLimit, guards: Guards::Object }
    }

    /// A protection that is not applied.
    pub(super) fn of(key: &str, holds: Holds) -> Self {
        Self { because: format!("{key} is not applied").into(), holds, guards: Guards::Object }
    }

    /// A key of ours that nobody knows, and that means a protection.
    pub(super) fn unknown(key: &str) -> Self {
        Self { because: format!("{key} is unknown").into(), holds: Holds::Always, guards: Guards::Object }
    }

    pub(super) fn is_body_limit(&self) -> bool {
        self.holds == Holds::WithoutBodyLimit
    }

    pub(super) fn closes(&self) -> bool {
        self.holds != Holds::InPlainText
    }

    /// Why whole hosts are closed by it, if they are.
    pub(super) fn of_hosts(&self) -> Option<&Arc<str>> {
        (self.guards == Guards::Hosts).then_some(&self.because)
    }
}

pub(super) fn read(
    annotations: Annotations<'_>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<Denial> {
    let mut denied = Vec::new();
    if settings.compat != Dialect::Strict {
        return denied;
    }
    let prefix = settings.annotations_prefix.trim_end_matches('/');
    for (name, value) in annotations.under(prefix) {
        let key = format!("{prefix}/{name}");
        let object = annotations.object;
        let known = known(name);
        if value.is_empty() && !known.protects {
            continue;
        }
        if known.protects && is_void(name, value) {
            problems.push(Problem::void_protection(object, &key));
        } else if let Some(ours) = known.instead.filter(|ours| known.protects && replaces(annotations, ours))
        {
            problems.push(Problem::replaced_annotation(object, &key, ours));
        } else if name == FORCE_REDIRECT {
            // What is said of it depends on the hosts: `force_redirect`.
            denied.push(Denial::of(&key, Holds::InPlainText));
        } else if name == "ssl-redirect" {
            problems.push(redirect(annotations, &key, value, settings));
        } else if is_canary_mark(name, value) {
            problems.push(Problem::canary_left_out(object, &key));
        } else if known.protects {
            problems.push(match name {
                _ if value.is_empty() => Problem::empty_protection(object, &key),
                "backend-protocol" => Problem::unspoken_protocol(object, &key, value),
                "ssl-passthrough" => Problem::no_passthrough(object, &key),
                _ => Problem::unsupported_protection(object, &key, known.instead),
            });
            let guards = match name {
                "auth-tls-secret" if demands_certificates(annotations, settings) => Guards::Hosts,
                "server-snippet" => Guards::Hosts,
                _ => Guards::Object,
            };
            denied.push(Denial { guards, ..Denial::of(&key, Holds::Always) });
        } else if is_name_of_servers(name) {
            // What is said of it depends on the hosts: `aliases::report`.
        } else if name == "rewrite-target" {
            problems.push(rewrite(object, &key, value));
        } else {
            problems.push(Problem::unsupported_annotation(object, &key, known.instead));
        }
    }
    denied
}

/// Whether the object is a canary of another one.
pub(super) fn is_canary(annotations: Annotations<'_>, settings: &Settings) -> bool {
    let prefix = settings.annotations_prefix.trim_end_matches('/');
    settings.compat == Dialect::Strict
        && annotations.under(prefix).any(|(name, value)| is_canary_mark(name, value))
}

fn is_canary_mark(name: &str, value: &str) -> bool {
    name == "canary" && value::truth(value) == Some(true)
}

/// A redirect of hosts under `tls` is what holds here without it, as it does there.
fn redirect(annotations: Annotations<'_>, key: &str, value: &str, settings: &Settings) -> Problem {
    let own = SSL_REDIRECT.strip_prefix(PREFIX).and_then(|name| annotations.own(name));
    match value::truth(value) {
        _ if own.is_some() => Problem::replaced_annotation(annotations.object, key, SSL_REDIRECT),
        Some(true) if settings.https.is_some() => Problem::redirected_anyway(annotations.object, key),
        _ => Problem::unsupported_annotation(annotations.object, key, Some(SSL_REDIRECT)),
    }
}

/// A rewrite without a capture throws the rest of the path away, which few who copy it mean.
fn rewrite(object: &ringress_shared::origin::ObjectRef, key: &str, value: &str) -> Problem {
    match value.contains('$') {
        true => Problem::unsupported_annotation(object, key, None),
        false => Problem::rewrite_collapses_path(object, key, value),
    }
}

/// Says what becomes of a redirect that ingress-nginx forces, once it is known which hosts stand in plain text.
pub(super) fn force_redirect(
    annotations: Annotations<'_>,
    denied: &[Denial],
    in_plain_text: &[String],
    settings: &Settings,
) -> Option<Problem> {
    let key = format!("{}/{FORCE_REDIRECT}", settings.annotations_prefix.trim_end_matches('/'));
    denied.iter().find(|denial| **denial == Denial::of(&key, Holds::InPlainText))?;
    let object = annotations.object;
    Some(match (settings.https, in_plain_text) {
        (None, _) => Problem::redirect_without_https(object, &key),
        (Some(_), []) => Problem::redirected_anyway(object, &key),
        (Some(_), hosts) => Problem::plain_text_closed(object, &key, hosts),
    })
}

/// `redirects`: whether plain-text requests are sent to https there, or must not be. `guard`: why the whole host is closed.
pub(super) fn lower(denied: &[Denial], redirects: bool, guard: Option<&str>) -> Option<Denied> {
    let holding = denied.iter().filter(|denial| !(redirects && denial.holds == Holds::InPlainText));
    let because: Vec<&str> = holding.map(|denial| &*denial.because).chain(guard).collect();
    (!because.is_empty()).then(|| Denied { because: because.join("; ").into() })
}

/// Whether ingress-nginx answers nobody without a client certificate, as far as can be told.
fn demands_certificates(annotations: Annotations<'_>, settings: &Settings) -> bool {
    let verify = annotations.of_nginx("auth-tls-verify-client", settings);
    !matches!(verify, Some("off" | "optional" | "optional_no_ca"))
}

/// Whether a protection with this value protects nothing, so that leaving it out opens nothing. cert-manager's solvers
/// carry a list of everybody.
pub(super) fn is_void(name: &str, value: &str) -> bool {
    match name {
        "allowlist-source-range" | "whitelist-source-range" => admits_everybody(value),
        "enable-modsecurity" | "enable-owasp-core-rules" => value::truth(value) == Some(false),
        // It leaves a protection of all paths, which is not there either.
        "enable-global-auth" => value::truth(value) == Some(false),
        "proxy-body-size" => is_no_limit(value),
        "auth-tls-verify-client" => value == "off",
        // They are off by default.
        "proxy-ssl-verify" | "proxy-ssl-server-name" | "ssl-passthrough" => {
            value == "off" || value::truth(value) == Some(false)
        }
        // What is spoken to endpoints anyway.
        "backend-protocol" => value.eq_ignore_ascii_case("HTTP"),
        FORCE_REDIRECT => value::truth(value) == Some(false),
        _ => name.starts_with("limit-") && value == "0",
    }
}

/// nginx takes any zero for no limit, with a unit too.
pub(super) fn is_no_limit(size: &str) -> bool {
    let digits = size.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
}

/// Whether this annotation of ours decides instead. One that cannot be read closes the paths by itself, but for the
/// redirect: only saying that there shall be none decides about that one.
fn replaces(annotations: Annotations<'_>, ours: &str) -> bool {
    let value = ours.strip_prefix(PREFIX).and_then(|key| annotations.own(key));
    match ours {
        SSL_REDIRECT => value.and_then(value::truth) == Some(false),
        _ => value.is_some(),
    }
}

fn admits_everybody(list: &str) -> bool {
    let ranges: Vec<IpNet> = list.split(',').filter_map(|range| range.trim().parse().ok()).collect();
    let everybody =
        |v4: bool| ranges.iter().any(|range| range.prefix_len() == 0 && range.addr().is_ipv4() == v4);
    everybody(true) && everybody(false)
}

/// An annotation of ingress-nginx.
pub(super) struct Known {
    name: &'static str,
    /// Whether leaving it out opens what it closes.
    protects: bool,
    /// Our annotation for the same.
    instead: Option<&'static str>,
}

impl Known {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn protects(&self) -> bool {
        self.protects
    }

    pub(super) fn instead(&self) -> Option<&'static str> {
        self.instead
    }

    pub(super) fn is_redirect(&self) -> bool {
        self.name == FORCE_REDIRECT
    }

    /// Whether it closes something with this value, and nothing of ours does so instead.
    pub(super) fn closes(&self, annotations: Annotations<'_>, value: &str) -> bool {
        let is_replaced = self.instead.is_some_and(|ours| replaces(annotations, ours));
        self.protects && !is_void(self.name, value) && !is_replaced
    }

    /// The same under a key of ours, which is unknown.
    pub(super) fn denial(&self, key: &str) -> Denial {
        let holds = if self.is_redirect() { Holds::InPlainText } else { Holds::Always };
        Denial { holds, ..Denial::unknown(key) }
    }
}

/// Whether a name of nobody's sounds like a protection: one of its words does.
pub(super) fn names_protection(name: &str) -> bool {
    let mut words = name.split(|letter: char| !letter.is_alphanumeric());
    protects_by_name(name) || words.any(|word| WORDS.contains(&word))
}

const WORDS: &[&str] = &[
    "auth",
    "oauth",
    "oauth2",
    "oidc",
    "jwt",
    "mtls",
    "allowlist",
    "whitelist",
    "denylist",
    "blacklist",
    "blocklist",
    "limit",
    "ratelimit",
    "waf",
];

/// Whether an annotation of ingress-nginx with this name asks for a protection.
pub(super) fn protects_by_name(name: &str) -> bool {
    known(name).protects
}

/// The options of a ConfigMap of ingress-nginx that protect every host, where they are set.
pub(crate) fn protections_of_all(options: &BTreeMap<String, String>) -> Vec<&str> {
    const PROTECTING: &[&str] = &[
        "block-cidrs",
        "block-referers",
        "block-user-agents",
        "denylist-source-range",
        "enable-modsecurity",
        "global-auth-url",
        "whitelist-source-range",
    ];
    let is_set = |value: &str| !value.trim().is_empty() && value.trim() != "false";
    let set = options.iter().filter(|(name, value)| PROTECTING.contains(&&***name) && is_set(value));
    set.map(|(name, _)| &**name).collect()
}

/// Keys that the table lacks are judged by their group: a protection of tomorrow is still one.
fn known(name: &str) -> &'static Known {
    const UNKNOWN_PROTECTION: Known = protects("");
    const UNKNOWN: Known = plain("");
    let protects = name.starts_with("auth-")
        || name.starts_with("limit-")
        || name.starts_with("proxy-ssl-")
        || name.starts_with("global-rate-limit")
        || name.contains("modsecurity")
        || name.ends_with("-snippet");
    match TABLE.iter().find(|known| known.name == name) {
        Some(known) => known,
        None if protects => &UNKNOWN_PROTECTION,
        None => &UNKNOWN,
    }
}

const fn plain(name: &'static str) -> Known {
    Known { name, protects: false, instead: None }
}

const fn protects(name: &'static str) -> Known {
    Known { name, protects: true, instead: None }
}

const fn ours(name: &'static str, instead: &'static str) -> Known {
    Known { name, protects: false, instead: Some(instead) }
}

const fn protects_as_ours(name: &'static str, instead: &'static str) -> Known {
    Known { name, protects: true, instead: Some(instead) }
}

const FORCE_REDIRECT: &str = "force-ssl-redirect";
pub(crate) const SSL_REDIRECT: &str = "ringress.dev/ssl-redirect";

/// All 138 annotations of the last ingress-nginx.
pub(super) const TABLE: &[Known] = &[
    plain("rewrite-target"),
    plain("use-regex"),
    plain("app-root"),
    ours("ssl-redirect", SSL_REDIRECT),
    protects_as_ours(FORCE_REDIRECT, SSL_REDIRECT),
    plain("preserve-trailing-slash"),
    plain("permanent-redirect"),
    plain("permanent-redirect-code"),
    plain("temporal-redirect"),
    plain("temporal-redirect-code"),
    plain("from-to-www-redirect"),
    plain("relative-redirects"),
    plain("use-port-in-redirects"),
    plain("server-alias"),
    plain("x-forwarded-prefix"),
    plain("default-backend"),
    plain("custom-http-errors"),
    plain("disable-proxy-intercept-errors"),
    plain("service-upstream"),
    plain("upstream-vhost"),
    // Without them requests and answers would travel in clear text where TLS was asked for.
    protects("backend-protocol"),
    protects_as_ours("proxy-body-size", "ringress.dev/max-body-bytes"),
    plain("client-body-buffer-size"),
    plain("proxy-connect-timeout"),
    plain("proxy-send-timeout"),
    plain("proxy-read-timeout"),
    plain("proxy-next-upstream"),
    plain("proxy-next-upstream-timeout"),
    plain("proxy-next-upstream-tries"),
    plain("proxy-request-buffering"),
    plain("proxy-buffering"),
    plain("proxy-buffer-size"),
    plain("proxy-buffers-number"),
    plain("proxy-busy-buffers-size"),
    plain("proxy-max-temp-file-size"),
    plain("proxy-http-version"),
    plain("proxy-redirect-from"),
    plain("proxy-redirect-to"),
    plain("proxy-cookie-domain"),
    plain("proxy-cookie-path"),
    plain("connection-proxy-header"),
    ours("load-balance", "ringress.dev/load-balance"),
    plain("upstream-hash-by"),
    plain("upstream-hash-by-subset"),
    plain("upstream-hash-by-subset-size"),
    plain("fastcgi-index"),
    plain("fastcgi-params-configmap"),
    plain("http2-push-preload"),
    plain("custom-headers"),
    protects("proxy-ssl-secret"),
    protects("proxy-ssl-verify"),
    protects("proxy-ssl-verify-depth"),
    protects("proxy-ssl-name"),
    protects("proxy-ssl-server-name"),
    protects("proxy-ssl-ciphers"),
    protects("proxy-ssl-protocols"),
    protects("auth-tls-secret"),
    protects("auth-tls-verify-client"),
    protects("auth-tls-verify-depth"),
    protects("auth-tls-error-page"),
    protects("auth-tls-pass-certificate-to-upstream"),
    protects("auth-tls-match-cn"),
    plain("ssl-ciphers"),
    plain("ssl-prefer-server-ciphers"),
    protects("ssl-passthrough"),
    protects("auth-type"),
    protects("auth-secret"),
    protects("auth-secret-type"),
    protects("auth-realm"),
    protects("auth-url"),
    protects("auth-method"),
    protects("auth-signin"),
    protects("auth-signin-redirect-param"),
    protects("auth-response-headers"),
    protects("auth-proxy-set-headers"),
    protects("auth-request-redirect"),
    protects("auth-cache-key"),
    protects("auth-cache-duration"),
    protects("auth-keepalive"),
    protects("auth-keepalive-requests"),
    protects("auth-keepalive-timeout"),
    protects("auth-keepalive-share-vars"),
    protects("auth-always-set-cookie"),
    protects("auth-snippet"),
    protects("enable-global-auth"),
    protects("satisfy"),
    protects("allowlist-source-range"),
    protects("whitelist-source-range"),
    protects("denylist-source-range"),
    protects("limit-connections"),
    protects("limit-rps"),
    protects("limit-rpm"),
    protects("limit-burst-multiplier"),
    protects("limit-rate"),
    protects("limit-rate-after"),
    protects("limit-allowlist"),
    protects("limit-whitelist"),
    plain("enable-cors"),
    plain("cors-allow-origin"),
    plain("cors-allow-methods"),
    plain("cors-allow-headers"),
    plain("cors-allow-credentials"),
    plain("cors-expose-headers"),
    plain("cors-max-age"),
    plain("affinity"),
    plain("affinity-mode"),
    plain("affinity-canary-behavior"),
    plain("session-cookie-name"),
    plain("session-cookie-path"),
    plain("session-cookie-domain"),
    plain("session-cookie-expires"),
    plain("session-cookie-max-age"),
    plain("session-cookie-samesite"),
    plain("session-cookie-conditional-samesite-none"),
    plain("session-cookie-secure"),
    plain("session-cookie-change-on-failure"),
    plain("canary"),
    plain("canary-by-header"),
    plain("canary-by-header-value"),
    plain("canary-by-header-pattern"),
    plain("canary-by-cookie"),
    plain("canary-weight"),
    plain("canary-weight-total"),
    plain("mirror-target"),
    plain("mirror-request-body"),
    plain("mirror-host"),
    plain("enable-access-log"),
    plain("enable-rewrite-log"),
    plain("enable-opentelemetry"),
    plain("opentelemetry-trust-incoming-span"),
    plain("opentelemetry-operation-name"),
    protects("enable-modsecurity"),
    protects("enable-owasp-core-rules"),
    protects("modsecurity-transaction-id"),
    protects("modsecurity-snippet"),
    // Raw text may hold `deny` or `auth_basic`, and nobody but nginx can tell.
    protects("configuration-snippet"),
    protects("server-snippet"),
    // Concerns TCP and UDP alone: no path of an Ingress is closed by it.
    plain("stream-snippet"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let mut names: Vec<_> = TABLE.iter().map(|known| known.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 138);
        assert_eq!(TABLE.iter().filter(|known| known.protects).count(), 55);
    }

    #[test]
    fn a_protection_of_everybody_protects_nothing() {
        for (name, value, expected) in [
            ("whitelist-source-range", "0.0.0.0/0,::/0", true),
            ("whitelist-source-range", "0.0.0.0/0", false),
            ("whitelist-source-range", "10.0.0.0/8, ::/0", false),
            ("whitelist-source-range", "nonsense", false),
            ("denylist-source-range", "0.0.0.0/0,::/0", false),
            ("enable-modsecurity", "false", true),
            ("enable-modsecurity", "true", false),
            ("limit-rps", "0", true),
            ("limit-rps", "5", false),
            ("auth-type", "basic", false),
            ("enable-global-auth", "false", true),
            ("enable-global-auth", "true", false),
            ("enable-global-auth", "nonsense", false),
            ("proxy-body-size", "0", true),
            ("proxy-body-size", "0m", true),
            ("proxy-body-size", "10m", false),
            ("proxy-body-size", "m", false),
            ("configuration-snippet", "0", false),
            ("backend-protocol", "HTTPS", false),
            ("backend-protocol", "HTTSP", false),
            ("backend-protocol", "http", true),
            ("ssl-passthrough", "true", false),
            ("ssl-passthrough", "false", true),
            ("whitelist-source-range", "", false),
            ("auth-url", "", false),
            ("limit-rps", "", false),
            ("proxy-ssl-verify", "on", false),
            ("proxy-ssl-verify", "true", false),
            ("proxy-ssl-verify", "nonsense", false),
            ("proxy-ssl-verify", "off", true),
            ("proxy-ssl-verify", "false", true),
            ("force-ssl-redirect", "true", false),
            ("force-ssl-redirect", "nonsense", false),
            ("force-ssl-redirect", "false", true),
        ] {
            assert_eq!(is_void(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn unknown_keys_are_judged_by_their_group() {
        assert!(known("auth-of-tomorrow").protects);
        assert!(known("global-rate-limit").protects);
        assert!(known("location-snippet").protects);
        assert!(!known("stream-snippet").protects);
        assert!(!known("colour").protects);
    }
}
