//! What the chart grants in each of its modes: all that ringress needs, and nothing else.
//!
//! That it is all is said by the audit log of the API server, where no request of ringress is refused; that it is nothing else
//! by the list of what its account may do, compared with that of an account without any binding.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use crate::Case;
use crate::audit::{self, Request};
use crate::client::until_outcome;
use crate::release::{Release, served, until_address, until_said};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("rbac_of_a_release_for_the_whole_cluster", |world| WIDE.holds(world)),
    ("rbac_of_a_release_for_its_own_namespace", |world| SCOPED.holds(world)),
    ("rbac_of_a_release_without_any_cluster_role", |world| NAMESPACED.holds(world)),
    ("rbac_of_a_release_for_namespaces_with_a_label", |world| SELECTING.holds(world)),
    ("rbac_of_a_release_that_publishes_its_nodes", |world| NODES.holds(world)),
    ("rbac_of_a_release_that_publishes_internal_addresses", |world| INTERNAL.holds(world)),
];

struct Mode {
    /// The name of its release and class.
    name: &'static str,
    values: &'static [&'static str],
    /// Of the namespace that it is installed in, but for Leases.
    here: &'static [&'static [&'static str]],
    /// Of any other namespace.
    elsewhere: &'static [&'static [&'static str]],
    watches: Watches,
    shows: Shows,
    /// What it asks for besides.
    asks: &'static [&'static str],
    /// What it asks for and does without.
    refused: &'static [&'static str],
}

/// What becomes of Ingresses in other namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watches {
    Everywhere,
    /// Only while their namespace has the label.
    Labelled,
    ItsOwn,
}

impl Watches {
    fn may_read_elsewhere(self) -> bool {
        self != Self::ItsOwn
    }
}

/// Whose addresses Ingresses show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Service,
    Nodes,
}

/// Of namespaces that are watched: resource, names, verbs.
const WATCHED: &[&str] = &[
    "endpointslices.discovery.k8s.io [] [list watch]",
    "events.events.k8s.io [] [create patch]",
    "ingresses.networking.k8s.io [] [get list watch]",
    "ingresses.networking.k8s.io/status [] [patch]",
    "secrets [] [get list watch]",
    "services [] [list watch]",
];

const CLASSES: &[&str] = &["ingressclasses.networking.k8s.io [] [list watch]"];
const NAMESPACES: &[&str] = &["namespaces [] [list watch]"];
const ITS_PODS: &[&str] = &["pods [] [get list]"];
const ITS_NODES: &[&str] = &["nodes [] [get]"];

const WIDE: Mode = Mode {
    name: "wide",
    values: &[],
    here: &[WATCHED, CLASSES],
    elsewhere: &[WATCHED, CLASSES],
    watches: Watches::Everywhere,
    shows: Shows::Service,
    asks: &[],
    refused: &[],
};

const SCOPED: Mode = Mode {
    name: "scoped",
    values: &["controller.scope.enabled=true"],
    here: &[WATCHED, CLASSES],
    elsewhere: &[CLASSES],
    watches: Watches::ItsOwn,
    shows: Shows::Service,
    asks: &[],
    refused: &[],
};

const NAMESPACED: Mode = Mode {
    name: "roles",
    values: &["controller.scope.enabled=true", "rbac.scope=true"],
    here: &[WATCHED],
    elsewhere: &[],
    watches: Watches::ItsOwn,
    shows: Shows::Service,
    asks: &[],
    // Being refused is how it knows that the class of its flag is to be taken for ours.
    refused: &["list ingressclasses"],
};

const SELECTING: Mode = Mode {
    name: "select",
    values: &["controller.scope.namespaceSelector=ringress-rbac=select"],
    here: &[WATCHED, CLASSES, NAMESPACES],
    elsewhere: &[WATCHED, CLASSES, NAMESPACES],
    watches: Watches::Labelled,
    shows: Shows::Service,
    asks: &["list namespaces", "watch namespaces"],
    refused: &[],
};

const NODES: Mode = Mode {
    name: "nodes",
    values: &["controller.scope.enabled=true", "controller.publishService.enabled=false"],
    here: &[WATCHED, CLASSES, ITS_PODS, ITS_NODES],
    elsewhere: &[CLASSES, ITS_NODES],
    watches: Watches::ItsOwn,
    shows: Shows::Nodes,
    asks: &["get pods", "list pods", "get nodes"],
    refused: &[],
};

const INTERNAL: Mode = Mode {
    name: "internal",
    values: &[
        "controller.scope.enabled=true",
        "controller.publishService.enabled=false",
        "controller.reportNodeInternalIp=true",
    ],
    here: &[WATCHED, CLASSES, ITS_PODS],
    elsewhere: &[CLASSES],
    watches: Watches::ItsOwn,
    shows: Shows::Nodes,
    asks: &["get pods", "list pods"],
    refused: &[],
};

/// What namespaces are selected by.
const LABEL: &str = "ringress-rbac";

impl Mode {
    fn holds(&self, world: &World) -> anyhow::Result<()> {
        let other = world.namespaced(&format!("elsewhere-{}", world.namespace()));
        world.exec(&[
            "kubectl",
            "label",
            "namespace",
            world.namespace(),
            &format!("{LABEL}={}", self.name),
        ])?;
        let release = Release::install(world, self.name, self.values)?;
        self.works(world, &other, &release)?;
        let account = Account { world, name: release.account() };
        account.was_refused(self.asks, self.refused)?;
        // The Lease of the election by its name; those of the replicas are named after pods, which no role knows.
        let lease = format!("leases.coordination.k8s.io [{}] [get update]", release.lease());
        let own = ["leases.coordination.k8s.io [] [create list watch patch delete]", &lease];
        account.may(world.namespace(), &[&self.here.concat(), &own[..]].concat())?;
        account.may(other.namespace(), &self.elsewhere.concat())?;
        account.is_refused(self.here.contains(&ITS_PODS))?;
        let stolen = account.ask(&other, &["get", "secrets"]);
        ensure!(stolen.is_ok() == self.watches.may_read_elsewhere(), "Secrets elsewhere: {stolen:?}");
        release.uninstall()
    }

    /// Routes, statuses, Events and the Lease, before and after a roll-out.
    fn works(&self, world: &World, other: &World, release: &Release<'_>) -> anyhow::Result<()> {
        let (here, elsewhere) = (format!("{}.test", self.name), format!("{}-elsewhere.test", self.name));
        // First, so that it was seen, where it is seen at all, when the other one is served. No pod answers for it: 503.
        other.apply(&ELSEWHERE.replace("@class", self.name).replace("@host", &elsewhere))?;
        served(world, self.name, &here)?;
        let address = release.address()?;
        until_outcome(world, &address, (&here, "/"), "web")?;
        for shown in self.shown(release)? {
            until_address(world, "web", &shown)?;
        }
        let is_elsewhere = |outcome: &str| until_outcome(world, &address, (&elsewhere, "/"), outcome);
        match self.watches {
            Watches::Everywhere => {
                is_elsewhere("503").and_then(|()| until_address(other, "web", &address))?
            }
            Watches::ItsOwn => is_elsewhere("404").and_then(|()| has_no_address(other))?,
            Watches::Labelled => {
                is_elsewhere("404").and_then(|()| has_no_address(other))?;
                let label =
                    |label: &str| world.exec(&["kubectl", "label", "namespace", other.namespace(), label]);
                label(&format!("{LABEL}={}", self.name))?;
                is_elsewhere("503").and_then(|()| until_address(other, "web", &address))?;
                label(&format!("{LABEL}-"))?;
                is_elsewhere("404")?;
                other.until("the address is taken out", || has_no_address(other).map(|()| true))?;
            }
        }
        until_said(world, "web", "Applied")?;
        world.roll(&format!("deployment/{}", release.controller()))?;
        world.until("one of the new pods holds the Lease", || {
            let lease = world.get("lease", &release.lease())?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            Ok(release.pods()?.iter().any(|pod| holder.starts_with(pod)))
        })?;
        until_outcome(world, &address, (&here, "/"), "web")
    }

    /// The addresses that its Ingresses must show.
    fn shown(&self, release: &Release<'_>) -> anyhow::Result<Vec<String>> {
        match self.shows {
            Shows::Service => Ok(vec![release.address()?]),
            // A replica on each of them.
            Shows::Nodes => Ok(vec!["198.18.0.11".to_owned(), "198.18.0.12".to_owned()]),
        }
    }
}

fn has_no_address(world: &World) -> anyhow::Result<()> {
    let shown = world.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].clone();
    ensure!(shown.is_null(), "an Ingress that is not served shows {shown}");
    Ok(())
}

const ELSEWHERE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: none}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: @class
  rules:
  - host: @host
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"#;

/// A service account in the namespace of a test.
struct Account<'w> {
    world: &'w World,
    name: String,
}

impl Account<'_> {
    fn user(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.world.namespace())
    }

    /// These requests of it were refused and no other, and those that it must make were made.
    fn was_refused(&self, asked: &[&str], expected: &[&str]) -> anyhow::Result<()> {
        let requests = audit::requests(self.world, &self.name)?;
        let refused: BTreeSet<&str> = refused_for_good(&requests).collect();
        ensure!(refused.iter().eq(expected), "refused: {refused:?}, expected {expected:?}");
        let made: BTreeSet<&str> = requests.iter().map(|request| &*request.call).collect();
        let usual = [
            "list ingresses",
            "list secrets",
            "list services",
            "list endpointslices",
            "patch ingresses/status",
            "create events",
            "create leases",
            "get leases",
            "update leases",
        ];
        for needed in usual.iter().chain(asked) {
            ensure!(made.contains(*needed), "{needed} was never asked: {made:?}");
        }
        Ok(())
    }

    /// It may do this in a namespace, and whatever an account without any binding may; nothing else.
    fn may(&self, namespace: &str, expected: &[&str]) -> anyhow::Result<()> {
        let anyone = self.rights("nobody", namespace)?;
        let granted: BTreeSet<String> =
            self.rights(&self.name, namespace)?.difference(&anyone).cloned().collect();
        let expected: BTreeSet<String> = expected.iter().map(|right| (*right).to_owned()).collect();
        ensure!(granted == expected, "in {namespace}: {granted:#?}, expected {expected:#?}");
        Ok(())
    }

    /// Lines of `kubectl auth can-i --list`: resource or path, names, verbs.
    fn rights(&self, name: &str, namespace: &str) -> anyhow::Result<BTreeSet<String>> {
        let user = format!("--as={}", self.user(name));
        let table = self.world.exec(&[
            "kubectl",
            "-n",
            namespace,
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            &user,
        ])?;
        ensure!(table.contains("selfsubjectaccessreviews"), "{table}");
        let columns = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
        };
        Ok(table
            .lines()
            .map(|line| {
                let cells: Vec<String> = columns(line);
                match &cells[..] {
                    [resource, paths, names, verbs] if paths == "[]" => format!("{resource} {names} {verbs}"),
                    other => other.join(" "),
                }
            })
            .collect())
    }

    /// What kubectl prints for its own token, as whoever has stolen it.
    fn ask(&self, world: &World, call: &[&str]) -> anyhow::Result<String> {
        world.exec_as(&self.world.kubectl(&["create", "token", &self.name])?, call)
    }

    /// What nobody has granted it.
    fn is_refused(&self, may_list_pods: bool) -> anyhow::Result<()> {
        self.ask(self.world, &["get", "ingress", "web"])?;
        let pods = self.ask(self.world, &["get", "pods"]);
        ensure!(pods.is_ok() == may_list_pods, "pods: {pods:?}");
        let calls: [&[&str]; 8] = [
            &["get", "configmaps"],
            &["get", "nodes"],
            &["create", "secret", "generic", "s"],
            &["create", "serviceaccount", "s"],
            &["create", "token", &self.name],
            &["delete", "ingress", "web"],
            &["annotate", "ingress", "web", "a=b"],
            &["create", "rolebinding", "r", "--clusterrole=cluster-admin", "--user=a"],
        ];
        for call in calls {
            let refused = self
                .ask(self.world, call)
                .err()
                .with_context(|| format!("{call:?} was allowed"))?
                .to_string();
            ensure!(refused.contains("orbidden"), "{call:?}: {refused}");
        }
        Ok(())
    }
}

/// What was refused and never granted afterwards: the API server hears of new bindings a moment after it took them.
fn refused_for_good(requests: &[Request]) -> impl Iterator<Item = &str> {
    let is_refused = |request: &Request| request.status == 403;
    let granted_after = move |number: usize, refused: &Request| {
        let mut later = requests[number..].iter().filter(|later| !is_refused(later));
        later.any(|later| later.call == refused.call && later.namespace == refused.namespace)
    };
    let refused = requests.iter().enumerate().filter(move |(_, request)| is_refused(request));
    refused
        .filter(move |(number, request)| !granted_after(*number, request))
        .map(|(_, request)| &*request.call)
}
