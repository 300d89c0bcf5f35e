//! The lint rules: stable ids with what each means, for the docs.

/// A lint rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LintRule {
    /// As findings carry it.
    pub id: &'static str,
    /// What it finds.
    pub meaning: &'static str,
}

/// Every rule, in the order of a manifest's life.
pub const RULES: &[LintRule] = &[
    rule("flattened-yaml", "A manifest lost its indentation on a web page, or got a margin there."),
    rule("undecodable", "A document is no YAML or JSON, or no object of its kind."),
    rule("unknown-field", "An object has a field that its kind does not have."),
    rule("misplaced-field", "A field of an Ingress stands beside the one that it belongs under."),
    rule("unknown-kind", "A kind, or a version of a kind, is not read."),
    rule("duplicate-object", "Two documents define one object."),
    rule("quarantined", "A version is wrong, and the last good one is served."),
    rule("no-class", "An Ingress has no class, so nobody serves it."),
    rule("class-not-ours", "The class of an Ingress belongs to another controller, or does not exist."),
    rule("two-classes", "A class stands beside the legacy annotation."),
    rule("several-default-classes", "More than one IngressClass is the default."),
    rule("invalid-host", "A host is no DNS name."),
    rule("host-mdns", "A host under .local may not resolve."),
    rule("invalid-path", "A path can match no request."),
    rule("invalid-path-type", "A path type is unknown."),
    rule("path-type-missing", "A path type is missing; Prefix is assumed."),
    rule("path-looks-like-regex", "A path looks like an expression and is matched literally."),
    rule("prefix-not-elementwise", "A prefix of text may be meant where whole elements are matched."),
    rule("nothing-to-serve", "An Ingress has neither rules nor a default backend."),
    rule(
        "rule-leads-nowhere",
        "A rule has no paths, and there is no default backend that would take its requests.",
    ),
    rule(
        "expressions-closed-together",
        "A protected object has more paths than are closed as expressions one by one.",
    ),
    rule("shadowed-by", "Another object claimed the same before."),
    rule("invalid-backend", "A backend names nothing, or too much."),
    rule("unsupported-backend", "A backend is a resource."),
    rule("service-missing", "The Service of a backend does not exist."),
    rule("port-mismatch", "The Service of a backend has no such port."),
    rule("no-ready-endpoints", "Nothing behind the Service of a backend is ready."),
    rule(
        "slice-port-mismatch",
        "No EndpointSlice of a Service has a port of the name that the Service's port has.",
    ),
    rule("endpoint-refused", "The address of an endpoint is this machine, its link, or no address."),
    rule("external-name-refused", "An external name leads to this machine or its link."),
    rule("name-not-resolved", "An external name does not resolve."),
    rule("secret-missing", "A Secret that tls names does not exist."),
    rule(
        "secret-withheld",
        "The content of a Secret is not known: the API server does not answer, or does not give it.",
    ),
    rule("secret-placeholder", "A value of a Secret is a placeholder, not base64."),
    rule("certificate-invalid", "A Secret holds no certificate and key in PEM."),
    rule("certificate-mismatch", "The key of a Secret does not belong to its certificate."),
    rule("certificate-host", "A certificate does not name the host that it is for."),
    rule("certificate-expired", "A certificate is outside its dates, or will be within 14 days."),
    rule("tls-host-without-rule", "A host under tls has no rule."),
    rule("rule-host-without-tls", "A host of a rule is left out of tls where others are named."),
    rule(
        "redirect-without-tls",
        "A redirect to https is asked for where there is none: the host is not named under tls, or there is no https port.",
    ),
    rule("invalid-annotation", "An annotation has a value that it does not take."),
    rule("unknown-annotation", "An annotation of our prefix is unknown."),
    rule("foreign-protection", "Annotations of another controller ask for protections."),
    rule("unsupported-annotation", "An annotation of ingress-nginx is not applied."),
    rule("rewrite-collapses-path", "A rewrite without a capture throws the rest of the path away."),
    rule("configmap-unread", "--configmap has no effect in ringress."),
    rule("configmap-protects", "A protection in the ConfigMap of --configmap is not applied."),
    rule("dialect-not-yet", "--compat ingress-nginx is not implemented yet."),
];

const fn rule(id: &'static str, meaning: &'static str) -> LintRule {
    LintRule { id, meaning }
}
