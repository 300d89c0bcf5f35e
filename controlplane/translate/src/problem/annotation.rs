//! Problems with annotations, and with flags that name objects.

use ringress_shared::origin::ObjectRef;

use super::Level::{Error, Info, Warning};
use super::{CHECK_ENDPOINTS, Problem, Reason, annotation_field, finding, some_of};

impl Problem {
    /// A value that does not parse.
    pub fn invalid_annotation(object: &ObjectRef, key: &str, value: &str, expected: &str) -> Self {
        let message = format!("value {value:?} is not {expected}; correct it or remove the annotation");
        finding(Error, Reason::InvalidAnnotation, "invalid-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our prefix, and no key of ours.
    pub fn unknown_annotation(object: &ObjectRef, key: &str, nearest: Option<&str>) -> Self {
        let message = match nearest {
            Some(nearest) => format!("{key} is unknown and has no effect; did you mean {nearest}?"),
            None => format!("{key} is unknown and has no effect; remove it"),
        };
        finding(Warning, Reason::UnknownAnnotation, "unknown-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our prefix, and nearly a key of ours that protects.
    pub fn misspelt_protection(object: &ObjectRef, key: &str, ours: &str) -> Self {
        let message = format!(
            "{key} is unknown and looks like the protection {ours}, so every path of this object answers 503 instead of being \
             open; write {ours}, or remove the annotation"
        );
        finding(Error, Reason::UnknownAnnotation, "unknown-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our prefix, and the name of a protection that we do not have under it. `theirs`: its name in ingress-nginx, if it has
    /// one there.
    pub fn foreign_protection(object: &ObjectRef, key: &str, theirs: &str, instead: Option<&str>) -> Self {
        let whose = match theirs {
            "" => "sounds like a protection".to_owned(),
            theirs => format!("has the name of a protection of ingress-nginx ({theirs})"),
        };
        let way_out = match instead {
            Some(instead) => format!("use {instead}"),
            None => "no annotation gives it, so remove this one once the protection is not needed".to_owned(),
        };
        let message = format!(
            "{key} is unknown and {whose}, so the paths of this object answer 503 where they would be open; {way_out}"
        );
        finding(Error, Reason::UnknownAnnotation, "unknown-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our prefix, and the name of a redirect that ingress-nginx forces.
    pub fn unknown_redirect(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} is unknown; plain text to hosts named under spec.tls is redirected without it, and elsewhere the paths of \
             this object answer 503 instead of being served in plain text; list the hosts under spec.tls and remove it"
        );
        finding(Error, Reason::UnknownAnnotation, "unknown-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Protections in the dialects of other controllers.
    pub fn protections_of_others(object: &ObjectRef, keys: &[String], whose: &str, body_limit: &str) -> Self {
        let (belong, has, it, protects) = match keys {
            [_] => ("belongs", "has", "it", "protects"),
            _ => ("belong", "have", "they", "protect"),
        };
        let message = format!(
            "{} {belong} to {whose} and {has} no effect here, so what {it} {protects} there is open; the only protection that can be \
             asked for here is {body_limit}: protect the rest in the application, or leave this object to that controller",
            some_of(keys)
        );
        let field = keys.first().map(|key| annotation_field(key)).unwrap_or_default();
        finding(Warning, Reason::UnsupportedAnnotation, "foreign-protection", message).of(object, &field)
    }

    /// A protection of ingress-nginx that the strict dialect cannot give.
    pub fn unsupported_protection(object: &ObjectRef, key: &str, instead: Option<&str>) -> Self {
        let way_out = match instead {
            Some(instead) => format!("use {instead}"),
            None => "remove the annotation once the protection is not needed".to_owned(),
        };
        let message = format!(
            "{key} asks for a protection that ringress does not apply, so every path of this object \
             answers 503 instead of being open; {way_out}"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection without a value.
    pub fn empty_protection(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} has no value, which may be what a template has left of a protection, so every path of this object \
             answers 503 instead of being open; remove the annotation if no protection is meant"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection of a whole host closes other objects of its namespace too.
    pub fn closed_with_host(object: &ObjectRef, because: &str, hosts: &[String]) -> Self {
        let message = format!(
            "{because}: ingress-nginx applies it to every request to its hosts, so the paths of this object at {} answer 503 \
             too instead of being open; remove the annotation there once the protection is not needed, or move this \
             object to other hosts",
            some_of(hosts)
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, "spec.rules")
    }

    /// A protection of a whole host by an object of another namespace.
    pub fn open_beside_guard(object: &ObjectRef, because: &str, hosts: &[String]) -> Self {
        let message = format!(
            "{because}: ingress-nginx applies it to every request to its hosts, and yet the paths of this object at {} are \
             open, because nobody closes what stands in another namespace; protect them in the application, or move them \
             to other hosts",
            some_of(hosts)
        );
        finding(Warning, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, "spec.rules")
    }

    /// Further names of the hosts of a protected object. `unread`: those that are no names of hosts.
    pub fn closed_aliases(object: &ObjectRef, key: &str, closed: &[String], unread: &[String]) -> Self {
        let answer = match closed {
            [] => String::new(),
            closed => format!(
                ", so that {} answers 503 instead of being taken by a wildcard, unless a rule names it",
                some_of(closed)
            ),
        };
        let open = match unread {
            [] => String::new(),
            unread => format!("; what {} stands for cannot be closed", some_of(unread)),
        };
        let message = format!(
            "{key} gives the hosts of this object, which asks for a protection that is not applied, further names that are \
             not served{answer}{open}; name such hosts in spec.rules, or remove the annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protocol towards endpoints that is not spoken.
    pub fn unspoken_protocol(object: &ObjectRef, key: &str, value: &str) -> Self {
        let message = format!(
            "{key} is {value:?}, and only plain HTTP/1.1 is spoken to endpoints, so every path of this object answers 503 \
             instead of being forwarded in clear text; name a port of the Service that takes plain HTTP, and remove the \
             annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// TLS that should reach the endpoints as it is.
    pub fn no_passthrough(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} asks that TLS be handed through to the endpoints, which is not done, so every path of this object \
             answers 503 instead of being forwarded in clear text; name a port of the Service that takes plain HTTP, list \
             the host under spec.tls, and remove the annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A canary of another object.
    pub fn canary_left_out(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} makes this object a canary of another one, and ringress serves no canaries yet, so it takes no \
             traffic at all; remove the annotation if it should be served as an object of its own"
        );
        finding(Warning, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx for hosts that we do not redirect.
    pub fn plain_text_closed(object: &ObjectRef, key: &str, hosts: &[String]) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, which is done for hosts named under spec.tls alone; the paths of {} \
             answer 503 instead of being served in plain text, unless another object names the host there; list it under \
             spec.tls",
            hosts.join(", ")
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx without an https port.
    pub fn redirect_without_https(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, and there is no https port, so every path of this object answers \
             503 instead of being served in plain text; give --https-port, or remove the annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our redirect, asked for in so many words, for hosts that are not redirected.
    pub fn left_in_plain_text(object: &ObjectRef, key: &str, hosts: &[String]) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, which is done for hosts named under spec.tls alone, so plain text is \
             served at {}; list such hosts under spec.tls, and where TLS ends in front, name who ends it in --trusted-proxies \
             too",
            some_of(hosts)
        );
        finding(Warning, Reason::TlsHostMismatch, "redirect-without-tls", message)
            .of(object, &annotation_field(key))
    }

    /// Our redirect, asked for in so many words, without an https port.
    pub fn plain_without_https(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, and there is no https port, so it is served; give --https-port, or \
             remove the annotation"
        );
        finding(Warning, Reason::UnsupportedAnnotation, "redirect-without-tls", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx that ours gives too.
    pub fn redirected_anyway(object: &ObjectRef, key: &str) -> Self {
        let message =
            format!("{key} is not applied; hosts named under spec.tls are redirected without it; remove it");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection of ingress-nginx that protects nothing as it is set.
    pub fn void_protection(object: &ObjectRef, key: &str) -> Self {
        let message =
            format!("{key} is not applied; as it is set it closes nothing, so nothing is opened by that");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// An annotation of ingress-nginx beside ours for the same.
    pub fn replaced_annotation(object: &ObjectRef, key: &str, ours: &str) -> Self {
        let message = format!("{key} is not applied; {ours} of this object holds instead");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// An annotation of ingress-nginx without effect.
    pub fn unsupported_annotation(object: &ObjectRef, key: &str, instead: Option<&str>) -> Self {
        let message = match instead {
            Some(instead) => format!("{key} has no effect in ringress; use {instead}"),
            None => format!("{key} has no effect in ringress; remove it"),
        };
        finding(Warning, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A rewrite that throws the rest of the path away.
    pub fn rewrite_collapses_path(object: &ObjectRef, key: &str, value: &str) -> Self {
        let message = format!(
            "in ingress-nginx the rewrite to {value:?} replaces the whole path, so /api/users/7 reaches the endpoint as \
             {value}, and every path of the host becomes a case-insensitive expression; there, write path: /api(/|$)(.*) \
             with rewrite-target: /$2; ringress forwards the path as it is"
        );
        finding(Warning, Reason::UnsupportedAnnotation, "rewrite-collapses-path", message)
            .of(object, &annotation_field(key))
    }

    /// A flag that the strict dialect does not read.
    pub fn configmap_unread(config_map: &ObjectRef) -> Self {
        let message = "--configmap is not read by ringress; use flags and annotations of ringress.dev/";
        finding(Warning, Reason::UnsupportedSetting, "configmap-unread", message.into()).of(config_map, "")
    }

    /// An option of the ConfigMap that is not read would protect every host.
    pub fn configmap_protects(config_map: &ObjectRef, option: &str) -> Self {
        let message = "this protects nothing here, because --configmap is not read by ringress: every host is open to whom it keeps \
             out; protect what is in front of ringress, or ask for it at each Ingress, whose paths answer 503 until \
             ringress can apply it";
        finding(Error, Reason::UnsupportedSetting, "configmap-protects", message.into())
            .of(config_map, &format!("data.{option}"))
    }

    /// A dialect that is not there yet.
    pub fn dialect_not_yet(flags: &ObjectRef) -> Self {
        let message = "--compat ingress-nginx is not implemented yet, so no Ingress is served; run with --compat strict";
        finding(Error, Reason::UnsupportedSetting, "dialect-not-yet", message.into()).of(flags, "--compat")
    }

    /// Nothing behind the flag's Service is ready.
    pub fn flag_backend_not_ready(flags: &ObjectRef, service: &ObjectRef, why: &str) -> Self {
        let message =
            format!("{service}: {why}, so requests that nothing matches answer 503; {CHECK_ENDPOINTS}");
        finding(Warning, Reason::NoReadyEndpoints, "no-ready-endpoints", message)
            .of(flags, "--default-backend-service")
    }

    /// The flag's Service is missing.
    pub fn flag_backend(flags: &ObjectRef, service: &ObjectRef, why: &str) -> Self {
        let message = format!("{service}: {why}; requests that nothing matches answer 503");
        finding(Error, Reason::BackendNotFound, "service-missing", message)
            .of(flags, "--default-backend-service")
    }
}
