//! One object as the API server sends it: JSON of a kind that is known, already vetted and without unknown fields.

use ringress_shared::origin::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::salvage;
use crate::objects::Object;
use crate::problem::Problem;

/// Reads one object, without what nobody reads. `kind` is one of those that [`Object`] has; items of lists do not name it themselves.
///
/// # Errors
/// The object does not have the form of its kind; the problem names it and the field.
pub fn object(kind: &str, json: &str) -> Result<Object, Box<Problem>> {
    let read = match kind {
        "Ingress" => typed(json, Object::Ingress),
        "IngressClass" => typed(json, Object::IngressClass),
        "Service" => typed(json, Object::Service),
        "EndpointSlice" => typed(json, Object::EndpointSlice),
        "Endpoints" => typed(json, Object::Endpoints),
        "Secret" => typed(json, Object::Secret),
        "ConfigMap" => typed(json, Object::ConfigMap),
        "Namespace" => typed(json, Object::Namespace),
        _ => Err((String::new(), format!("the kind {kind} is not read"))),
    };
    // At once, so that what is dropped of one object makes room for the next of its page.
    let lean = |mut object: Object| {
        object.lean();
        object
    };
    read.map(lean)
        .map_err(|(field, why)| Box::new(Problem::undecodable(&reference(kind, json), &field, &why)))
}

/// What can be read of an Ingress that [`object`] cannot read and that asks for a protection, so that its requests do not fall
/// to broader paths that are open; translation closes what is wrong in it. `None` where there is nothing to protect.
pub fn salvaged(kind: &str, json: &str) -> Option<Object> {
    let mut value: Value = serde_json::from_str(json).ok().filter(|_| kind == "Ingress")?;
    // Items of lists do not name it, and there is no other.
    value.as_object_mut()?.insert("apiVersion".to_owned(), "networking.k8s.io/v1".into());
    let readable = salvage::ingress(&value)?;
    let mut object = object(kind, &readable.to_string()).ok()?;
    if let Object::Ingress(ingress) = &mut object {
        let metadata = &value["metadata"];
        ingress.metadata.uid = metadata["uid"].as_str().map(str::to_owned);
        ingress.metadata.creation_timestamp =
            serde_json::from_value(metadata["creationTimestamp"].clone()).ok();
    }
    Some(object)
}

/// Fast where all is well; the slower way, which knows the field, is gone only for what failed.
fn typed<T: DeserializeOwned>(
    json: &str,
    wrap: impl Fn(Box<T>) -> Object,
) -> Result<Object, (String, String)> {
    if let Ok(object) = serde_json::from_str(json) {
        return Ok(wrap(Box::new(object)));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(object) => Ok(wrap(Box::new(object))),
        Err(error) => Err((error.path().to_string(), error.inner().to_string())),
    }
}

/// The object as far as its metadata can be read.
pub fn reference(kind: &str, json: &str) -> ObjectRef {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| value["metadata"][key].as_str().unwrap_or_default();
    ObjectRef::new(kind, text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_needs_no_kind_of_its_own() {
        let json = r#"{"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [{"port": 80}]}}"#;
        let object = object("Service", json).unwrap();
        assert_eq!(object.reference(), ObjectRef::new("Service", "shop", "web"));
    }

    #[test]
    fn of_a_protected_ingress_is_read_what_can_be_read() {
        let text = |annotations: &str| {
            format!(
                r#"{{"metadata": {{"namespace": "shop", "name": "web", "uid": "u",
                "creationTimestamp": "2020-01-01T00:00:00Z", "annotations": {annotations}}},
                "spec": {{"rules": [{{"host": "a.test", "http": {{"paths": [{{"path": "/", "pathType": "Prefix",
                "backend": {{"service": {{"name": "web", "port": {{"number": "x"}}}}}}}}]}}}}]}}}}"#
            )
        };
        let protected = text(r#"{"nginx.ingress.kubernetes.io/auth-url": "http://x"}"#);
        assert!(object("Ingress", &protected).is_err());
        let Some(Object::Ingress(ingress)) = salvaged("Ingress", &protected) else { panic!("nothing") };
        assert_eq!(ingress.metadata.uid.as_deref(), Some("u"));
        assert!(ingress.metadata.creation_timestamp.is_some());
        assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host.as_deref(), Some("a.test"));
        assert!(salvaged("Ingress", &text("{}")).is_none());
        assert!(salvaged("Service", &protected).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_field() {
        let json =
            r#"{"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [{"port": "x"}]}}"#;
        let problem = object("Service", json).unwrap_err();
        assert_eq!(problem.object, ObjectRef::new("Service", "shop", "web"));
        assert_eq!(problem.field, "spec.ports[0].port");
        assert!(object("Service", "[]").unwrap_err().object.name.is_empty());
    }
}
