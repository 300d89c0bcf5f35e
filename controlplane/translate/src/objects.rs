//! Objects as read, by kind, namespace and name.
//!
//! Every object carries the hash of what we read of it, its [`Version`]: two objects of one version translate alike.
//! Fields that we do not read (`managedFields`, `resourceVersion`, `status`, …) are left out of the hash and dropped.

mod lean;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::table::Table;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ringress_shared::origin::ObjectRef;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Namespace and name of an object; the namespace of cluster-wide kinds is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// `metadata.namespace`, `default` where a manifest names none.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// Copies of a key share their texts, so most comparisons are of pointers: walks over all objects depend on it.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.namespace, &other.namespace).then_with(|| compare(&self.name, &other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare(a: &Arc<str>, b: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.cmp(b) }
}

impl Key {
    /// The key of `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object's reference.
    pub fn of(reference: &ObjectRef) -> Self {
        Self { namespace: reference.namespace.clone(), name: reference.name.clone() }
    }

    /// The reference to the object of this key and kind.
    pub fn reference(&self, kind: &str) -> ObjectRef {
        ObjectRef { kind: kind.into(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// The hash of what we read of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

#[cfg(test)]
impl Version {
    pub(crate) fn of_test(number: u64) -> Self {
        Self(number)
    }
}

/// An object with its version.
#[derive(Debug)]
pub struct Stored<T> {
    /// The hash of what we read of it.
    pub version: Version,
    /// The object, without the fields that we do not read.
    pub object: Arc<T>,
}

impl<T> Clone for Stored<T> {
    fn clone(&self) -> Self {
        Self { version: self.version, object: Arc::clone(&self.object) }
    }
}

/// Everything that translation reads.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// networking.k8s.io/v1 Ingress.
    pub ingresses: Table<Ingress>,
    /// Ingresses that the source sets aside: they exist and are not translated, so whoever showed their addresses takes them out.
    pub set_aside: Table<Ingress>,
    /// networking.k8s.io/v1 IngressClass.
    pub ingress_classes: Table<IngressClass>,
    /// v1 Service.
    pub services: Table<Service>,
    /// discovery.k8s.io/v1 EndpointSlice.
    pub endpoint_slices: Table<EndpointSlice>,
    /// v1 Endpoints; filled from folders only.
    pub endpoints: Table<Endpoints>,
    /// v1 Secret.
    pub secrets: Table<Secret>,
    /// Secrets that exist and whose content the source does not have: TLS is refused rather than served with another
    /// certificate.
    pub withheld: Arc<BTreeSet<Key>>,
    /// v1 ConfigMap.
    pub config_maps: Table<ConfigMap>,
    /// v1 Namespace.
    pub namespaces: Table<Namespace>,
    /// What the DNS names of [`Wants`](crate::Wants) resolve to; filled by the controller.
    pub resolved: BTreeMap<String, Vec<IpAddr>>,
}

/// One object of any kind that we read.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Object {
    Ingress(Box<Ingress>),
    IngressClass(Box<IngressClass>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Endpoints(Box<Endpoints>),
    Secret(Box<Secret>),
    ConfigMap(Box<ConfigMap>),
    Namespace(Box<Namespace>),
}

macro_rules! for_each_kind {
    ($object:expr, $bound:ident => $body:expr) => {
        match $object {
            Object::Ingress($bound) => $body,
            Object::IngressClass($bound) => $body,
            Object::Service($bound) => $body,
            Object::EndpointSlice($bound) => $body,
            Object::Endpoints($bound) => $body,
            Object::Secret($bound) => $body,
            Object::ConfigMap($bound) => $body,
            Object::Namespace($bound) => $body,
        }
    };
}

impl Object {
    /// `Ingress`, `Service`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ingress(_) => "Ingress",
            Self::IngressClass(_) => "IngressClass",
            Self::Service(_) => "Service",
            Self::EndpointSlice(_) => "EndpointSlice",
            Self::Endpoints(_) => "Endpoints",
            Self::Secret(_) => "Secret",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Namespace(_) => "Namespace",
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        for_each_kind!(self, object => &object.metadata)
    }

    /// Drops what nobody reads: it would cost memory, and its changes would make generations.
    pub fn lean(&mut self) {
        lean::lean(self);
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        for_each_kind!(self, object => &mut object.metadata)
    }

    /// Namespace and name. Objects of a namespaced kind without a namespace stand in `default`, as with kubectl.
    pub fn key(&self) -> Key {
        let name = self.metadata().name.as_deref().unwrap_or_default();
        let namespace = match self {
            Self::IngressClass(_) | Self::Namespace(_) => "",
            _ => self.metadata().namespace.as_deref().filter(|text| !text.is_empty()).unwrap_or("default"),
        };
        Key::new(namespace, name)
    }

    /// The reference to it.
    pub fn reference(&self) -> ObjectRef {
        self.key().reference(self.kind())
    }
}

impl Objects {
    /// Puts an object in, in place of the one of its name. Returns whether anything that we read changed.
    pub fn insert(&mut self, mut object: Object) -> bool {
        object.lean();
        let key = object.key();
        match object {
            Object::Ingress(object) => store(&mut self.ingresses, key, *object),
            Object::IngressClass(object) => store(&mut self.ingress_classes, key, *object),
            Object::Service(object) => store(&mut self.services, key, *object),
            Object::EndpointSlice(object) => store(&mut self.endpoint_slices, key, *object),
            Object::Endpoints(object) => store(&mut self.endpoints, key, *object),
            Object::Secret(object) => store(&mut self.secrets, key, *object),
            Object::ConfigMap(object) => store(&mut self.config_maps, key, *object),
            Object::Namespace(object) => store(&mut self.namespaces, key, *object),
        }
    }

    /// Takes the object of that kind and name out. Returns whether it was there.
    pub fn remove(&mut self, reference: &ObjectRef) -> bool {
        let key = Key::of(reference);
        match &*reference.kind {
            "Ingress" => self.ingresses.remove(&key).is_some(),
            "IngressClass" => self.ingress_classes.remove(&key).is_some(),
            "Service" => self.services.remove(&key).is_some(),
            "EndpointSlice" => self.endpoint_slices.remove(&key).is_some(),
            "Endpoints" => self.endpoints.remove(&key).is_some(),
            "Secret" => self.secrets.remove(&key).is_some(),
            "ConfigMap" => self.config_maps.remove(&key).is_some(),
            "Namespace" => self.namespaces.remove(&key).is_some(),
            _ => false,
        }
    }

    /// Whether an object of that kind and name is there.
    pub fn contains(&self, reference: &ObjectRef) -> bool {
        let key = Key::of(reference);
        match &*reference.kind {
            "Ingress" => self.ingresses.contains_key(&key),
            "IngressClass" => self.ingress_classes.contains_key(&key),
            "Service" => self.services.contains_key(&key),
            "EndpointSlice" => self.endpoint_slices.contains_key(&key),
            "Endpoints" => self.endpoints.contains_key(&key),
            "Secret" => self.secrets.contains_key(&key),
            "ConfigMap" => self.config_maps.contains_key(&key),
            "Namespace" => self.namespaces.contains_key(&key),
            _ => false,
        }
    }

    /// Puts the objects of another table in, with the versions they have.
    pub fn absorb(&mut self, other: &Self) {
        let copy = |key: &Key| key.clone();
        self.ingresses.extend(other.ingresses.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.ingress_classes
            .extend(other.ingress_classes.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.services.extend(other.services.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.endpoint_slices
            .extend(other.endpoint_slices.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.endpoints.extend(other.endpoints.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.secrets.extend(other.secrets.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.config_maps.extend(other.config_maps.iter().map(|(key, stored)| (copy(key), stored.clone())));
        self.namespaces.extend(other.namespaces.iter().map(|(key, stored)| (copy(key), stored.clone())));
    }

    /// Takes the objects of a namespace out, with the versions they have.
    pub fn split_namespace(&mut self, namespace: &str) -> Self {
        Self {
            ingresses: split(&mut self.ingresses, namespace),
            services: split(&mut self.services, namespace),
            endpoint_slices: split(&mut self.endpoint_slices, namespace),
            endpoints: split(&mut self.endpoints, namespace),
            secrets: split(&mut self.secrets, namespace),
            config_maps: split(&mut self.config_maps, namespace),
            ..Self::default()
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.ingresses.len()
            + self.ingress_classes.len()
            + self.services.len()
            + self.endpoint_slices.len()
            + self.endpoints.len()
            + self.secrets.len()
            + self.config_maps.len()
            + self.namespaces.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn split<T>(table: &mut Table<T>, namespace: &str) -> Table<T> {
    let first = Key::new(namespace, "");
    let inside = table.iter_from(&first).take_while(|(key, _)| &*key.namespace == namespace);
    let keys: Vec<Key> = inside.map(|(key, _)| key.clone()).collect();
    keys.into_iter().filter_map(|key| table.remove(&key).map(|stored| (key, stored))).collect()
}

fn store<T: Serialize>(table: &mut Table<T>, key: Key, object: T) -> bool {
    let version = version_of(&object);
    if table.get(&key).is_some_and(|stored| stored.version == version) {
        return false;
    }
    table.insert(key, Stored { version, object: Arc::new(object) });
    true
}

/// SHA-256 over the object's JSON: maps of these types are sorted, so equal objects give equal bytes.
fn version_of<T: Serialize>(object: &T) -> Version {
    let json = serde_json::to_vec(object).expect("Kubernetes types have text keys only");
    let digest = Sha256::digest(json);
    Version(u64::from_le_bytes(digest[..8].try_into().expect("SHA-256 has 32 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, change: impl FnOnce(&mut Service)) -> Object {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        change(&mut service);
        Object::Service(Box::new(service))
    }

    #[test]
    fn what_is_not_read_changes_nothing() {
        let mut objects = Objects::default();
        assert!(objects.insert(service("a", |_| {})));
        assert!(!objects.insert(service("a", |service| {
            service.metadata.resource_version = Some("7".into());
            service.metadata.managed_fields = Some(Vec::new());
            service.metadata.annotations = Some([("k".to_owned(), "v".to_owned())].into());
            service.status = Some(Default::default());
            service.spec = None;
        })));
        assert!(objects.insert(service("a", |service| service.spec = Some(Default::default()))));
        assert_eq!(objects.len(), 1);
    }

    #[test]
    fn a_namespace_is_taken_out_whole() {
        let mut objects = Objects::default();
        for (namespace, name) in [("a", "x"), ("b", "x"), ("b", "y"), ("ba", "x")] {
            objects.insert(service(name, |service| service.metadata.namespace = Some(namespace.into())));
        }
        let split = objects.split_namespace("b");
        assert_eq!((split.len(), objects.len()), (2, 2));
        assert!(split.contains(&ObjectRef::new("Service", "b", "y")));
        assert!(!objects.contains(&ObjectRef::new("Service", "b", "x")));
        objects.absorb(&split);
        assert_eq!(objects.len(), 4);
    }

    #[test]
    fn a_missing_namespace_is_the_default_one() {
        let mut objects = Objects::default();
        objects.insert(service("a", |_| {}));
        assert!(!objects.insert(service("a", |service| {
            // The field itself is part of the version, the key is not moved by it.
            service.metadata.namespace = None;
        })));
        assert!(objects.contains(&ObjectRef::new("Service", "default", "a")));
        assert!(objects.remove(&ObjectRef::new("Service", "default", "a")));
        assert!(objects.is_empty());
    }
}
