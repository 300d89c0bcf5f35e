//! Names that an API server refuses. A folder does not pass through one, and names stand in metrics, logs and terminals.
//!
//! Source: Kubernetes, "Object Names and IDs": subdomains and labels of RFC 1123.

use ringress_shared::origin::ObjectRef;

/// The field with a name that no object can have, and why.
pub(super) fn refused(object: &ObjectRef) -> Option<(&'static str, String)> {
    let has_label = matches!(&*object.kind, "Service" | "Namespace");
    let (is_name, wanted) = match has_label {
        true => (is_label as fn(&str) -> bool, "lower-case letters, digits and -, at most 63"),
        false => (is_subdomain as fn(&str) -> bool, "lower-case letters, digits, - and ., at most 253"),
    };
    if !is_name(&object.name) {
        let why = format!("{:?} is no name that Kubernetes takes here; write {wanted}", object.name);
        return Some(("metadata.name", why));
    }
    if !object.namespace.is_empty() && !is_label(&object.namespace) {
        let why = format!(
            "{:?} is no name of a namespace; write lower-case letters, digits and -, at most 63",
            object.namespace
        );
        return Some(("metadata.namespace", why));
    }
    None
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Letters and digits, with `-` between them.
fn is_part(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_an_api_server_takes() {
        for (kind, namespace, name, expected) in [
            ("Ingress", "shop", "my.app-1", None),
            ("Ingress", "shop", "x\"} 1\nringress_fake{a=\"b", Some("metadata.name")),
            ("Ingress", "shop", "Upper", Some("metadata.name")),
            ("Ingress", "shop", "a..b", Some("metadata.name")),
            ("Ingress", "shop", "-a", Some("metadata.name")),
            ("Ingress", "sh.op", "a", Some("metadata.namespace")),
            ("Ingress", "\u{1b}[31m", "a", Some("metadata.namespace")),
            ("Service", "shop", "a.b", Some("metadata.name")),
            ("Service", "shop", "1a", None),
            ("IngressClass", "", "nginx.example", None),
        ] {
            let got = refused(&ObjectRef::new(kind, namespace, name));
            assert_eq!(got.as_ref().map(|(field, _)| *field), expected, "{kind} {namespace} {name}: {got:?}");
            assert!(got.is_none_or(|(_, why)| !why.chars().any(char::is_control)));
        }
        assert!(!is_label(&"a".repeat(64)) && is_label(&"a".repeat(63)));
        assert!(!is_subdomain(&format!("{}a", "a.".repeat(127))));
    }
}
