//! What can be read of an Ingress that does not decode, where it asks for a protection.
//!
//! Left out as a whole, its requests would fall to broader paths of other objects, which may be open. What is salvaged is
//! wrong in itself, so the last good version is served instead if there is one, and closed where it is not.

use serde_json::{Map, Value, json};

use crate::policy;

/// The readable part of an Ingress, for decoding again; `None` where it asks for no protection.
pub(super) fn ingress(value: &Value) -> Option<Value> {
    let metadata = value.get("metadata")?;
    let annotations = annotations(metadata.get("annotations")?);
    if !annotations.keys().any(|key| policy::is_protection(key)) {
        return None;
    }
    let mut kept = Map::new();
    for field in ["name", "namespace"] {
        kept.extend(text(metadata.get(field)).map(|text| (field.to_owned(), text.into())));
    }
    kept.insert("annotations".to_owned(), annotations.into());
    let spec = value.get("spec").map(spec).unwrap_or_default();
    Some(json!({"apiVersion": value.get("apiVersion"), "kind": "Ingress", "metadata": kept, "spec": spec}))
}

/// A number or truth without quotes counts as its text: that is what was meant.
fn annotations(value: &Value) -> Map<String, Value> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), text(Some(value))?.into()))).collect()
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        scalar => Some(scalar.to_string()),
    }
}

fn spec(spec: &Value) -> Value {
    let paths = || items(spec, "rules").flat_map(|rule| items(&rule["http"], "paths"));
    let backends = paths().map(|path| &path["backend"]).chain(spec.get("defaultBackend"));
    // Where all of them can be read something else is wrong, and nothing of this version counts.
    let all_whole = backends.clone().all(|given| backend(given) == *given);
    let backend = |given: &Value| if all_whole { json!({}) } else { backend(given) };
    let path = |path: &Value| {
        let path_type = text(path.get("pathType")).unwrap_or_default();
        json!({"path": text(path.get("path")), "pathType": path_type, "backend": backend(&path["backend"])})
    };
    let rule = |rule: &Value| {
        let host = rule.get("host").filter(|host| !host.is_null());
        let host = host.map(|host| text(Some(host)));
        // A host that cannot be read is nobody's, not everybody's.
        let host = if host == Some(None) { return None } else { host.flatten() };
        Some(
            json!({"host": host, "http": {"paths": items(&rule["http"], "paths").map(path).collect::<Vec<_>>()}}),
        )
    };
    let tls = |tls: &Value| {
        let hosts: Vec<_> = items(tls, "hosts").filter_map(|host| text(Some(host))).collect();
        json!({"hosts": hosts, "secretName": text(tls.get("secretName"))})
    };
    json!({
        "ingressClassName": text(spec.get("ingressClassName")),
        "defaultBackend": spec.get("defaultBackend").map(backend),
        "rules": items(spec, "rules").filter_map(rule).collect::<Vec<_>>(),
        "tls": items(spec, "tls").map(tls).collect::<Vec<_>>(),
    })
}

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + Clone {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A backend without what has another type than it should.
fn backend(given: &Value) -> Value {
    let Some(service) = given.get("service") else { return json!({}) };
    let port = service.get("port");
    let number = port.and_then(|port| port.get("number")).filter(|number| number.is_i64() || number.is_u64());
    let name = port.and_then(|port| port.get("name")).filter(|name| name.is_string());
    let fields = [("number", number), ("name", name)].into_iter();
    let port: Map<String, Value> =
        fields.filter_map(|(field, value)| Some((field.to_owned(), value?.clone()))).collect();
    json!({"service": {"name": text(service.get("name")).unwrap_or_default(), "port": port}})
}
