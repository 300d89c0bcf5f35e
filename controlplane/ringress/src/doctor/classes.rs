//! Whose Ingresses are they: classes, their controllers, and who else is there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::IngressClass;

use super::Line;
use super::facts::{Facts, InCluster, class_of};
use crate::terminal::several;

pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let Some(cluster) = &facts.cluster else { return Vec::new() };
    let mut lines = Vec::new();
    if !cluster.unread.iter().any(|(what, _)| *what == "IngressClasses") {
        lines.push(owned(facts));
        lines.extend(defaults(facts, cluster));
        lines.extend(unclaimed(facts, cluster));
    }
    lines.extend(rivals(facts, cluster));
    lines.extend(preinstalled(facts, cluster));
    let unread = cluster.unread.iter();
    lines.extend(unread.map(|(what, why)| {
        Line::warning(
            "cluster",
            format!("{what} cannot be looked at: {why}"),
            "ask with an account that may list them",
        )
    }));
    lines
}

fn owned(facts: &Facts) -> Line {
    if let Some(class) = facts.assumed_class() {
        return Line::ok(
            "class",
            format!("{class} is taken to be ours, since IngressClasses may not be read"),
        );
    }
    let (ours, controller) = (facts.our_classes(), facts.controller_class());
    let names: Vec<_> = ours.into_iter().collect();
    match names.is_empty() {
        false => Line::ok("class", format!("{} belongs to {controller}", names.join(", "))),
        true => Line::problem(
            "class",
            format!("no IngressClass has spec.controller {controller}, so no object is ours by its class"),
            "create one (the chart does), or start with --controller-class as the existing class has it",
        ),
    }
}

fn defaults(facts: &Facts, cluster: &InCluster) -> Option<Line> {
    let defaults: Vec<&str> = cluster
        .classes
        .iter()
        .filter(|class| is_default(class))
        .filter_map(|class| class.metadata.name.as_deref())
        .collect();
    let ours = facts.our_classes();
    match &defaults[..] {
        [] => None,
        [one] if ours.contains(one) => Some(Line::ok("class", format!("{one} is the default"))),
        [one] => Some(Line::ok(
            "class",
            format!("the default is {one}, which is not ours: name ours in spec.ingressClassName"),
        )),
        several => Some(Line::warning(
            "class",
            format!("several classes are the default: {}", several.join(", ")),
            "take the annotation ingressclass.kubernetes.io/is-default-class from all but one",
        )),
    }
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get("ingressclass.kubernetes.io/is-default-class"))
        .is_some_and(|value| value == "true")
}

/// Ingresses that nobody serves for want of a class.
fn unclaimed(facts: &Facts, cluster: &InCluster) -> Vec<Line> {
    let known: BTreeSet<&str> =
        cluster.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    let name = |ingress: &k8s_openapi::api::networking::v1::Ingress| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", text(&ingress.metadata.namespace), text(&ingress.metadata.name))
    };
    let without: Vec<String> =
        cluster.ingresses.iter().filter(|one| class_of(one).is_none()).map(name).collect();
    let mut undefined: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ingress in &cluster.ingresses {
        let spec = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        let is_known = |class: &&str| known.contains(class) || facts.assumed_class() == Some(*class);
        if let Some(class) = spec.filter(|class| !is_known(class)) {
            undefined.entry(class).or_default().push(name(ingress));
        }
    }
    let mut lines = Vec::new();
    if !without.is_empty() && facts.flag("watch-ingress-without-class") != Some("true") {
        lines.push(Line::warning(
            "class",
            format!(
                "{} without a class, which nobody here serves: {}",
                several(without.len(), "Ingress"),
                few(&without)
            ),
            "set spec.ingressClassName; a class that is the default counts for objects made after it",
        ));
    }
    lines.extend(undefined.iter().map(|(class, objects)| {
        let what = format!(
            "class {class} does not exist, and {} {}",
            few(objects),
            if objects.len() == 1 { "names it" } else { "name it" }
        );
        Line::warning("class", what, "create the class, or name one that exists")
    }));
    lines
}

pub(super) fn few(names: &[String]) -> String {
    let rest = names.len().saturating_sub(3);
    let first = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if rest == 0 { first } else { format!("{first} and {rest} more") }
}

/// Others that serve the same `spec.controller`.
fn rivals(facts: &Facts, cluster: &InCluster) -> Option<Line> {
    let theirs = CONTROLLERS.iter().find(|(_, controller)| *controller == facts.controller_class())?.0;
    let pods: Vec<String> = cluster.others.iter().filter(|pod| label(pod) == theirs).map(pod_name).collect();
    (!pods.is_empty()).then(|| {
        Line::warning(
            "other controllers",
            format!("{theirs} runs and serves {}, too: {}", facts.controller_class(), few(&pods)),
            "both write the status of the same Ingresses; end the other once its traffic has moved",
        )
    })
}

/// `app.kubernetes.io/name` of a controller, and what its classes have as `spec.controller`.
const CONTROLLERS: [(&str, &str); 4] = [
    ("ingress-nginx", "k8s.io/ingress-nginx"),
    ("traefik", "traefik.io/ingress-controller"),
    ("nginx-ingress", "nginx.org/ingress-controller"),
    ("kubernetes-ingress", "haproxy.org/ingress-controller/haproxy"),
];

/// What distributions install by themselves, and what then holds ports 80 and 443.
fn preinstalled(facts: &Facts, cluster: &InCluster) -> Vec<Line> {
    let mut lines = Vec::new();
    let traefik = cluster.services.iter().find(|service| {
        let metadata = &service.metadata;
        metadata.namespace.as_deref() == Some("kube-system") && metadata.name.as_deref() == Some("traefik")
    });
    if traefik.is_some_and(holds_web_ports) {
        lines.push(Line::warning(
            "ports",
            "k3s runs Traefik in kube-system, which holds ports 80 and 443 of the nodes",
            "make the cluster with --disable=traefik, or let ringress have other ports",
        ));
    }
    let holders: Vec<String> =
        cluster.others.iter().filter(|pod| holds_node_ports(pod)).map(pod_name).collect();
    if !holders.is_empty() && !facts.replicas.is_empty() {
        let is_addon = |pod: &&Pod| {
            label(pod) == "ingress-nginx" && pod.metadata.namespace.as_deref() == Some("ingress-nginx")
        };
        let next = match cluster.others.iter().any(|pod| is_addon(&pod)) {
            true => {
                "with minikube: minikube addons disable ingress; elsewhere uninstall it, or give ringress other ports"
            }
            false => "uninstall it, or give ringress other ports",
        };
        lines.push(Line::warning(
            "ports",
            format!("{} holds ports 80 and 443 of its node", few(&holders)),
            next,
        ));
    }
    lines
}

fn holds_web_ports(service: &Service) -> bool {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.into_iter().any(|port| matches!(port.port, 80 | 443))
}

fn holds_node_ports(pod: &Pod) -> bool {
    let ports = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten());
    ports.into_iter().any(|port| matches!(port.host_port, Some(80 | 443)))
}

fn label(pod: &Pod) -> &str {
    pod.metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("app.kubernetes.io/name"))
        .map_or("", String::as_str)
}

fn pod_name(pod: &Pod) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name))
}
