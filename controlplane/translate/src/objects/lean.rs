//! Objects without what nobody here reads: it would cost memory, and its changes would make generations.
//!
//! Five thousand Ingresses come with five thousand Services and EndpointSlices, and most of what stands in those is for
//! others: selectors, cluster addresses, topology. A field that is read from now on must be kept here first; tests of
//! translation notice, since they take their objects through here, too.
//!
//! Lists are cut to their length: they were decoded without knowing it, and held room for four where there was one.

use k8s_openapi::api::core::v1::{Endpoints, ObjectReference, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;
use crate::resolve::endpoints::SERVICE_NAME;

/// Drops what is not read.
pub(super) fn lean(object: &mut Object) {
    lean_metadata(object);
    match object {
        Object::Ingress(ingress) => lean_ingress(ingress),
        Object::Service(service) => lean_service(service),
        Object::EndpointSlice(slice) => lean_slice(slice),
        Object::Endpoints(endpoints) => lean_endpoints(endpoints),
        Object::Namespace(namespace) => {
            namespace.spec = None;
            namespace.status = None;
        }
        Object::IngressClass(_) | Object::Secret(_) | Object::ConfigMap(_) => {}
    }
}

fn lean_metadata(object: &mut Object) {
    let has_annotations = matches!(object, Object::Ingress(_) | Object::IngressClass(_));
    let is_slice = matches!(object, Object::EndpointSlice(_));
    let ObjectMeta { name, namespace, uid, annotations, labels, creation_timestamp, .. } =
        std::mem::take(object.metadata_mut());
    let annotations = annotations.filter(|_| has_annotations).map(|mut annotations| {
        // The whole object once more, as kubectl was given it.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        annotations
    });
    let labels = labels.filter(|_| is_slice).map(|mut labels| {
        labels.retain(|label, _| label == SERVICE_NAME);
        labels
    });
    *object.metadata_mut() = ObjectMeta {
        name,
        namespace,
        // Events name their object by it.
        uid,
        annotations: annotations.filter(|annotations| !annotations.is_empty()),
        labels: labels.filter(|labels| !labels.is_empty()),
        // The older of two Ingresses wins.
        creation_timestamp: creation_timestamp.filter(|_| has_annotations),
        ..ObjectMeta::default()
    };
}

fn lean_ingress(ingress: &mut Ingress) {
    ingress.status = None;
    let Some(spec) = &mut ingress.spec else { return };
    for rule in shrunk(&mut spec.rules) {
        if let Some(http) = &mut rule.http {
            http.paths.shrink_to_fit();
        }
    }
    for tls in shrunk(&mut spec.tls) {
        shrunk(&mut tls.hosts);
    }
}

fn lean_service(service: &mut Service) {
    service.status = None;
    let Some(spec) = service.spec.take() else { return };
    let ServiceSpec { mut ports, type_, external_name, .. } = spec;
    for port in shrunk(&mut ports) {
        port.node_port = None;
        port.target_port = None;
    }
    service.spec = Some(ServiceSpec { ports, type_, external_name, ..ServiceSpec::default() });
}

fn lean_slice(slice: &mut EndpointSlice) {
    for endpoint in &mut slice.endpoints {
        let Endpoint { mut addresses, conditions, target_ref, .. } = std::mem::take(endpoint);
        addresses.shrink_to_fit();
        *endpoint = Endpoint {
            addresses,
            conditions,
            target_ref: target_ref.map(lean_reference),
            ..Endpoint::default()
        };
    }
    slice.endpoints.shrink_to_fit();
    shrunk(&mut slice.ports);
}

fn lean_endpoints(endpoints: &mut Endpoints) {
    for subset in shrunk(&mut endpoints.subsets) {
        for addresses in [&mut subset.addresses, &mut subset.not_ready_addresses] {
            for address in shrunk(addresses) {
                address.target_ref = address.target_ref.take().map(lean_reference);
                address.node_name = None;
                address.hostname = None;
            }
        }
        shrunk(&mut subset.ports);
    }
}

/// Endpoints are shown with the name of their pod.
fn lean_reference(reference: ObjectReference) -> ObjectReference {
    ObjectReference { name: reference.name, ..ObjectReference::default() }
}

fn shrunk<T>(list: &mut Option<Vec<T>>) -> &mut [T] {
    match list {
        Some(list) => {
            list.shrink_to_fit();
            list
        }
        None => &mut [],
    }
}
