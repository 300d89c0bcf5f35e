//! What several JSON answers share. Internal types are not serialised: each boundary owns its shapes.

use std::fmt;

use ringress_shared::origin::ObjectRef;
use serde::{Deserialize, Serialize};

/// An object in a JSON answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectName {
    /// `Ingress`, `Service`, …
    pub(crate) kind: String,
    /// Empty for cluster-wide kinds.
    pub(crate) namespace: String,
    /// `metadata.name`.
    pub(crate) name: String,
}

impl From<&ObjectRef> for ObjectName {
    fn from(object: &ObjectRef) -> Self {
        Self {
            kind: object.kind.to_string(),
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}
