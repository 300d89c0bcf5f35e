//! Which Secrets an Ingress names: asked by sources before anything is translated.
//!
//! A source must have a Secret before it hands on the Ingress that names it, or the host would show another certificate
//! first; so this cannot be a result of translation. What an Ingress may name is written down here, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;

use crate::objects::Key;

/// The Secrets that the Ingress of this key names, whichever class it has.
pub fn secrets_of(key: &Key, ingress: &Ingress) -> BTreeSet<Key> {
    let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
    let names = entries.filter_map(|tls| tls.secret_name.as_deref()).filter(|name| !name.is_empty());
    names.map(|name| Key { namespace: Arc::clone(&key.namespace), name: name.into() }).collect()
}
