//! The environment of a container: literals, the downward API, Secrets and ConfigMaps, `$(NAME)`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use super::reference::References;
use crate::net::{API_PORT, GATEWAY};

/// What the downward API tells beyond the object itself.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) pod_address: String,
    pub(crate) node_address: String,
}

/// Everything that a container finds in its environment.
///
/// # Errors
/// Something that it refers to is missing; that may change.
pub(crate) async fn of(
    container: &Container,
    pod: &Pod,
    place: &Place,
    references: &References,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = usual(pod);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (data, optional) = match (&source.secret_ref, &source.config_map_ref) {
            (Some(secret), _) => (references.secret(&secret.name).await?, secret.optional),
            (_, Some(map)) => (references.config_map(&map.name).await?, map.optional),
            _ => continue,
        };
        match data {
            Some(data) => {
                all.extend(data.into_iter().map(|(name, value)| (format!("{prefix}{name}"), text(&value))))
            }
            None if optional == Some(true) => {}
            None => bail!("a Secret or ConfigMap that envFrom names is missing"),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, container, pod, place, references, &all).await? {
            all.insert(variable.name.clone(), value);
        }
    }
    Ok(all)
}

/// Replaces `$(NAME)` by the value of a known name; `$$` is one `$`.
pub(crate) fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inner| Some(&inner[..inner.find(')')?]));
        match name.and_then(|name| Some((name, known.get(name)?))) {
            Some((name, value)) => {
                expanded.push_str(value);
                rest = &rest[name.len() + 2..];
            }
            // Unknown names stay as they are written.
            None => expanded.push('$'),
        }
    }
    expanded + rest
}

/// A field of the pod, as the downward API names it; `None` where there is no such field.
pub(crate) fn field(path: &str, pod: &Pod, place: &Place) -> Option<String> {
    let metadata = &pod.metadata;
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let values = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return None,
        };
        return Some(values.and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    let lines = |values: &Option<BTreeMap<String, String>>| {
        let lines = values.iter().flatten().map(|(name, value)| format!("{name}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let spec = pod.spec.as_ref()?;
    Some(match path {
        "metadata.name" => metadata.name.clone()?,
        "metadata.namespace" => metadata.namespace.clone()?,
        "metadata.uid" => metadata.uid.clone()?,
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => spec.node_name.clone()?,
        "spec.serviceAccountName" => spec.service_account_name.clone()?,
        "status.podIP" | "status.podIPs" => place.pod_address.clone(),
        "status.hostIP" | "status.hostIPs" => place.node_address.clone(),
        _ => return None,
    })
}

fn usual(pod: &Pod) -> BTreeMap<String, String> {
    let hostname = pod.metadata.name.clone().unwrap_or_default();
    let all = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOSTNAME", hostname),
        // Straight to the API server, so that no rule of ours stands between it and whom we test.
        ("KUBERNETES_SERVICE_HOST", GATEWAY.to_string()),
        ("KUBERNETES_SERVICE_PORT", API_PORT.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", API_PORT.to_string()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn value_of(
    variable: &EnvVar,
    container: &Container,
    pod: &Pod,
    place: &Place,
    references: &References,
    before: &BTreeMap<String, String>,
) -> anyhow::Result<Option<String>> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before)));
    };
    if let Some(selector) = &source.field_ref {
        let value = field(&selector.field_path, pod, place);
        return value.map(Some).with_context(|| format!("no field {} in a pod", selector.field_path));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(resource(&selector.resource, container)));
    }
    referred(source, references).await.with_context(|| format!("environment {}", variable.name))
}

async fn referred(source: &EnvVarSource, references: &References) -> anyhow::Result<Option<String>> {
    let (data, kind, name, key, optional) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(wanted), _) => {
            (references.secret(&wanted.name).await?, "Secret", &wanted.name, &wanted.key, wanted.optional)
        }
        (_, Some(wanted)) => (
            references.config_map(&wanted.name).await?,
            "ConfigMap",
            &wanted.name,
            &wanted.key,
            wanted.optional,
        ),
        _ => bail!("a source that is not known here"),
    };
    match data.and_then(|mut data| data.remove(key)) {
        Some(value) => Ok(Some(text(&value))),
        None if optional == Some(true) => Ok(None),
        None => bail!("{kind} {name} has no key {key}"),
    }
}

/// A limit or request in whole cores or bytes, rounded up; without one, what the machine has is as good as any.
fn resource(name: &str, container: &Container) -> String {
    let resources = container.resources.clone().unwrap_or_default();
    let (list, name) = match name.split_once('.') {
        Some(("requests", name)) => (resources.requests, name),
        Some((_, name)) => (resources.limits, name),
        None => (None, name),
    };
    let quantity = list.and_then(|mut list| list.remove(name)).map(|quantity| quantity.0);
    quantity.as_deref().and_then(whole).unwrap_or(if name == "cpu" { 1 } else { 1 << 30 }).to_string()
}

fn whole(quantity: &str) -> Option<u64> {
    let digits = quantity.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let factor = match &quantity[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor).ceil() as u64)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded_as_the_api_says() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("end$", "end$"),
        ] {
            assert_eq!(expand(text, &known), expanded, "{text}");
        }
    }

    #[test]
    fn fields_of_a_pod() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "n", "namespace": "s", "labels": {"a/b": "c"}},
            "spec": {"containers": [], "nodeName": "node-1"},
        }))
        .unwrap();
        let place = Place { pod_address: "198.18.1.1".to_owned(), node_address: "198.18.0.11".to_owned() };
        for (path, value) in [
            ("metadata.name", Some("n")),
            ("metadata.namespace", Some("s")),
            ("metadata.labels['a/b']", Some("c")),
            ("metadata.annotations['x']", Some("")),
            ("metadata.labels", Some("a/b=\"c\"")),
            ("spec.nodeName", Some("node-1")),
            ("status.podIP", Some("198.18.1.1")),
            ("status.hostIP", Some("198.18.0.11")),
            ("metadata.uid", None),
            ("spec.nothing", None),
        ] {
            assert_eq!(field(path, &pod, &place).as_deref(), value, "{path}");
        }
    }

    #[test]
    fn quantities_are_rounded_up() {
        for (quantity, number) in [("1500m", 2), ("2", 2), ("64Mi", 64 << 20), ("1k", 1000)] {
            assert_eq!(whole(quantity), Some(number), "{quantity}");
        }
        assert_eq!(whole("1Q"), None);
    }
}
