//! Problems with Services and endpoints.

use ringress_shared::origin::{ObjectRef, Origin};

use super::Level::{Error, Info, Warning};
use super::{CHECK_ENDPOINTS, Problem, Reason, finding};

impl Problem {
    /// No such Service.
    pub fn service_missing(origin: &Origin, service: &ObjectRef) -> Self {
        let message = format!(
            "{service} does not exist, so the path answers 503; create it in namespace {} or correct the name",
            service.namespace
        );
        finding(Error, Reason::BackendNotFound, "service-missing", message).at(origin)
    }

    /// No such port.
    pub fn port_missing(origin: &Origin, service: &ObjectRef, port: &str, has: &[String]) -> Self {
        let next = match has.is_empty() {
            true => "it has no TCP port at all; add one to its spec.ports".to_owned(),
            false => format!("it has {}; name one of these", has.join(", ")),
        };
        let message = format!("{service} has no port {port}, so the path answers 503; {next}");
        finding(Error, Reason::PortNotFound, "port-mismatch", message).at(origin)
    }

    /// The port is there, and requests cannot be sent to it.
    pub fn port_not_tcp(
        origin: &Origin,
        service: &ObjectRef,
        port: &str,
        protocol: &str,
        has: &[String],
    ) -> Self {
        let next = match has.is_empty() {
            true => "add one with protocol: TCP to its spec.ports".to_owned(),
            false => format!("it has {} for TCP; name one of these", has.join(", ")),
        };
        let message = format!(
            "{service} has port {port} for {protocol} alone, and an Ingress takes a TCP port, so the path answers 503; {next}"
        );
        finding(Error, Reason::PortNotFound, "port-mismatch", message).at(origin)
    }

    /// Nothing is ready.
    pub fn no_ready_endpoints(origin: &Origin, service: &ObjectRef, port: &str, not_ready: usize) -> Self {
        let why = match not_ready {
            0 => "has no endpoints".to_owned(),
            count => format!("has no ready endpoint, {count} are not ready"),
        };
        let message = format!("{service} port {port} {why}, so the path answers 503; {CHECK_ENDPOINTS}");
        finding(Warning, Reason::NoReadyEndpoints, "no-ready-endpoints", message).at(origin)
    }

    /// Nothing defines endpoints for any Service: for lint, which sees a part of a cluster only.
    pub fn endpoints_unknown() -> Self {
        let message = "there is no EndpointSlice among them, so whether anything behind their Services is ready is not \
                       judged; ask a running process: ringress explain URL --admin ADDRESS";
        let all = ObjectRef::new("Manifests", "", "all");
        finding(Info, Reason::NoReadyEndpoints, "no-ready-endpoints", message.into()).of(&all, "")
    }

    /// No name server was asked: for lint, which may stand outside of the cluster.
    pub fn names_unknown() -> Self {
        let message = "external names are not looked up here, so whether those of their Services resolve is not judged; \
                       ask what runs: ringress explain URL";
        let all = ObjectRef::new("Service", "", "all");
        finding(Info, Reason::NameNotResolved, "name-not-resolved", message.into()).of(&all, "")
    }

    /// Only terminating endpoints are left.
    pub fn only_terminating(origin: &Origin, service: &ObjectRef, endpoints: usize) -> Self {
        let message = format!(
            "{service} has nothing ready; {endpoints} terminating endpoints serve until they are gone"
        );
        finding(Info, Reason::NoReadyEndpoints, "no-ready-endpoints", message).at(origin)
    }

    /// An endpoint address that must not be reached from outside.
    pub fn endpoint_refused(object: &ObjectRef, field: &str, address: &str) -> Self {
        let message =
            format!("endpoint address {address} is loopback, link-local or no address, and is left out");
        finding(Warning, Reason::EndpointRefused, "endpoint-refused", message).of(object, field)
    }

    /// A slice without the port that its Service asks for.
    pub fn slice_port_missing(slice: &ObjectRef, service: &ObjectRef, port: &str, has: &[String]) -> Self {
        let named = |name: &str| if name.is_empty() { "without a name".to_owned() } else { name.to_owned() };
        let has: Vec<String> = has.iter().map(|name| named(name)).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        let message = format!(
            "{service} has a port named {port:?}, and no EndpointSlice of it has one of that name (here: {has}); ports \
             are matched by name, so name it as the Service does"
        );
        finding(Warning, Reason::PortNotFound, "slice-port-mismatch", message).of(slice, "ports")
    }

    /// An external name that leads to this machine.
    pub fn external_name_refused(origin: &Origin, service: &ObjectRef, name: &str) -> Self {
        let message = format!(
            "{service} leads to {name}, which is this machine or its link, and is refused; name a host outside"
        );
        finding(Error, Reason::ExternalNameRefused, "external-name-refused", message).at(origin)
    }

    /// An external name without addresses.
    pub fn name_not_resolved(origin: &Origin, service: &ObjectRef, name: &str) -> Self {
        let message = format!(
            "{service} leads to {name}, which does not resolve, so the path answers 503; check the name"
        );
        finding(Warning, Reason::NameNotResolved, "name-not-resolved", message).at(origin)
    }
}
