//! Where clients come in: addresses in the status of Ingresses, load balancers, and whether they answer from here.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Line;
use super::classes::few;
use super::facts::{Asked, Door, Facts, published};
use crate::terminal::several;

pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let Some(cluster) = &facts.cluster else { return Vec::new() };
    let mut lines = vec![status(facts)];
    lines.extend(unwatched(facts));
    lines.extend(cluster.services.iter().filter(|service| is_ours(facts, service)).filter_map(pending));
    lines.extend(facts.doors.iter().map(reached));
    lines
}

fn status(facts: &Facts) -> Line {
    const CHECK: &str = "address";
    if facts.flag("update-status") == Some("false") {
        return Line::ok(CHECK, "statuses are left to another controller (--update-status=false)");
    }
    let elsewhere = facts.unwatched();
    let ours = facts.our_ingresses().into_iter().filter(|ingress| !elsewhere.contains(ingress));
    let ours: Vec<&Ingress> = ours.collect();
    let without = ours.iter().filter(|ingress| published(ingress).next().is_none());
    let without: Vec<String> = without.map(|ingress| name(&ingress.metadata)).collect();
    let shown: std::collections::BTreeSet<&str> =
        ours.iter().flat_map(|ingress| published(ingress)).collect();
    let addresses = shown.into_iter().collect::<Vec<_>>().join(", ");
    match (ours.len(), without.len()) {
        (0, _) => Line::ok(CHECK, "there is no Ingress of our class here yet"),
        (all, 0) => Line::ok(CHECK, format!("{} published as {addresses}", several(all, "Ingress"))),
        (all, some) if some < all => Line::warning(
            CHECK,
            format!("{some} of {all} Ingresses have no address: {}", without.join(", ")),
            "it comes within seconds, or within a minute where somebody else took it out; /writes says what is refused",
        ),
        _ => Line::problem(
            CHECK,
            "no Ingress of our class has an address",
            "see the Service of the controller; --publish-service or --publish-status-address says what to publish",
        ),
    }
}

/// Ingresses of our class that this release does not look at.
fn unwatched(facts: &Facts) -> Option<Line> {
    let names: Vec<String> = facts.unwatched().iter().map(|ingress| name(&ingress.metadata)).collect();
    (!names.is_empty()).then(|| {
        let what = format!("{} of our class not watched: {}", several(names.len(), "Ingress"), few(&names));
        let next = format!(
            "{} leaves their namespaces out; have it take them, or serve them by another release",
            facts.watched.flag()
        );
        Line::warning("watched", what, next)
    })
}

fn name(metadata: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

/// A Service that leads to pods of the controller, whatever those are called.
fn is_ours(facts: &Facts, service: &Service) -> bool {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let takes = |replica: &Asked| {
        let is_beside = replica.name.split('/').next() == Some(namespace);
        is_beside && selector.iter().all(|(label, value)| replica.labels.get(label) == Some(value))
    };
    !selector.is_empty() && facts.replicas.iter().any(takes)
}

fn pending(service: &Service) -> Option<Line> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let has_address = status.is_some_and(|status| status.ingress.as_ref().is_some_and(|all| !all.is_empty()));
    let name = name(&service.metadata);
    (!has_address).then(|| {
        Line::warning(
            "address",
            format!("Service {name} of type LoadBalancer has no address: nothing in this cluster gives one"),
            "install a load balancer (MetalLB), or use controller.hostPort.enabled or controller.service.type=NodePort",
        )
    })
}

/// From here is not from where clients are: never more than a hint.
fn reached(door: &Door) -> Line {
    const CHECK: &str = "reachable";
    let Door { address, host, outcome } = door;
    match (outcome, host) {
        (Ok(status), Some(host)) => Line::ok(CHECK, format!("http://{address}/ for {host} answers {status}")),
        (Ok(_), None) => Line::ok(CHECK, format!("{address} takes connections")),
        (Err(why), _) => Line::warning(
            CHECK,
            format!("{address} is not reachable from here: {why}"),
            "a hint, no verdict: this machine may stand elsewhere than the clients do",
        ),
    }
}
