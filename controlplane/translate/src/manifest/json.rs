//! One object as the API server sends it: JSON of a kind that is known, already vetted and without unknown fields.

use ringress_shared::origin::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
    fn what_cannot_be_read_is_named_with_its_field() {
        let json =
            r#"{"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [{"port": "x"}]}}"#;
        let problem = object("Service", json).unwrap_err();
        assert_eq!(problem.object, ObjectRef::new("Service", "shop", "web"));
        assert_eq!(problem.field, "spec.ports[0].port");
        assert!(object("Service", "[]").unwrap_err().object.name.is_empty());
    }
}
