//! A Service port to endpoints.
//!
//! ```text
//! Service ── port by number or name ──► name of the port ──► EndpointSlices, else Endpoints
//!        └── ExternalName ────────────► addresses that the controller resolved
//! ```

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use ringress_shared::upstream::{Endpoint, EndpointSet};

use super::endpoints::{self, Gathered, Slices};
use super::numeric;
use crate::claim::Verdict;
use crate::ir::{PortIr, UpstreamKey};
use crate::objects::Objects;
use crate::settings::Settings;

/// What stands behind an upstream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) endpoints: EndpointSet,
    pub(crate) verdict: Verdict,
    /// The name that the controller should resolve.
    pub(crate) dns_name: Option<String>,
}

impl Resolved {
    fn nothing(verdict: Verdict) -> Self {
        Self { endpoints: EndpointSet::default(), verdict, dns_name: None }
    }
}

/// Resolves one upstream against the objects as they are now.
pub(crate) fn resolve(
    key: &UpstreamKey,
    objects: &Objects,
    slices: &Slices,
    settings: &Settings,
) -> Resolved {
    let Some(stored) = objects.services.get(&key.service) else {
        return Resolved::nothing(Verdict::ServiceMissing);
    };
    let service = &*stored.object;
    if let Some(name) = external_name(service) {
        return external(name, &key.port, service, objects);
    }
    let Some(port) = find_port(service, &key.port) else {
        return Resolved::nothing(port_missing(service, &key.port));
    };
    let port_name = port.name.as_deref().unwrap_or_default();
    let gathered = endpoints::gather(&key.service, port_name, objects, slices, settings);
    chosen(gathered)
}

/// The name of the Service port that an upstream leads to, if there is one; the name of an unnamed port is empty.
pub(crate) fn port_name<'o>(key: &UpstreamKey, objects: &'o Objects) -> Option<&'o str> {
    let service = &*objects.services.get(&key.service)?.object;
    let port = find_port(service, &key.port).filter(|_| external_name(service).is_none())?;
    Some(port.name.as_deref().unwrap_or_default())
}

/// Ready endpoints; where nothing is ready, those that still serve while they terminate.
fn chosen(gathered: Gathered) -> Resolved {
    let Gathered { ready, terminating, not_ready } = gathered;
    let only_terminating = ready.is_empty();
    let chosen = if only_terminating { terminating } else { ready };
    if chosen.is_empty() {
        return Resolved::nothing(Verdict::NoReadyEndpoints { not_ready });
    }
    let verdict = Verdict::Ok { endpoints: chosen.len(), terminating: only_terminating };
    Resolved { endpoints: EndpointSet { endpoints: chosen.into() }, verdict, dns_name: None }
}

fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    is_external.then(|| spec.external_name.as_deref().unwrap_or_default())
}

fn external(name: &str, port: &PortIr, service: &Service, objects: &Objects) -> Resolved {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let number = match port {
        PortIr::Number(number) => Some(*number),
        PortIr::Name(_) | PortIr::First => {
            find_port(service, port).and_then(|port| u16::try_from(port.port).ok())
        }
    };
    let Some(number) = number else {
        return Resolved::nothing(port_missing(service, port));
    };
    if name == "localhost" || name.ends_with(".localhost") {
        return Resolved::nothing(Verdict::ExternalNameRefused { name });
    }
    let literal = name.parse::<IpAddr>().ok().or_else(|| Some(IpAddr::V4(numeric::ipv4(&name)?)));
    if let Some(address) = literal {
        return addressed(&[address], number, name, None);
    }
    if name.is_empty() {
        return Resolved::nothing(Verdict::NotResolved { name });
    }
    let addresses = objects.resolved.get(&name).map(Vec::as_slice).unwrap_or_default();
    addressed(addresses, number, name.clone(), Some(name))
}

fn addressed(addresses: &[IpAddr], port: u16, name: String, dns_name: Option<String>) -> Resolved {
    let mut allowed: Vec<_> = addresses.iter().filter(|address| !endpoints::is_local(**address)).collect();
    allowed.sort();
    allowed.dedup();
    let endpoints: Box<[Endpoint]> =
        allowed.iter().map(|address| Endpoint::new(SocketAddr::new(**address, port), None)).collect();
    let verdict = match (endpoints.len(), addresses.is_empty()) {
        (0, true) => Verdict::NotResolved { name },
        (0, false) => Verdict::ExternalNameRefused { name },
        (endpoints, _) => Verdict::Ok { endpoints, terminating: false },
    };
    Resolved { endpoints: EndpointSet { endpoints }, verdict, dns_name }
}

fn port_missing(service: &Service, port: &PortIr) -> Verdict {
    let other = all_ports(service).find(|known| is_meant(port, known));
    Verdict::PortMissing {
        has: ports(service),
        other_protocol: other.and_then(|other| other.protocol.clone()).filter(|_| *port != PortIr::First),
    }
}

fn find_port<'s>(service: &'s Service, port: &PortIr) -> Option<&'s ServicePort> {
    tcp_ports(service).find(|known| is_meant(port, known))
}

fn is_meant(port: &PortIr, known: &ServicePort) -> bool {
    match port {
        PortIr::Number(number) => known.port == i32::from(*number),
        PortIr::Name(name) => known.name.as_deref() == Some(name),
        PortIr::First => true,
    }
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    all_ports(service).filter(|port| matches!(port.protocol.as_deref(), None | Some("TCP" | "")))
}

fn all_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

/// The ports as a message lists them: `80`, `443 (https)`.
fn ports(service: &Service) -> Vec<String> {
    let text = |port: &ServicePort| match port.name.as_deref() {
        None | Some("") => port.port.to_string(),
        Some(name) => format!("{} ({name})", port.port),
    };
    tcp_ports(service).map(text).collect()
}
