//! What the chart grants in each of its modes: all that ringress needs, and nothing else.
//!
//! That it is all is said by the audit log of the API server, where no request of ringress is refused; that it is nothing else
//! by the list of what its account may do, compared with that of an account without any binding.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::Case;
use crate::chart::{Release, served, until_address};
use crate::client::until_outcome;
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("rbac_of_a_release_for_the_whole_cluster", |world| WIDE.holds(world)),
    ("rbac_of_a_release_for_its_own_namespace", |world| SCOPED.holds(world)),
    ("rbac_of_a_release_without_any_cluster_role", |world| NAMESPACED.holds(world)),
];

struct Mode {
    /// The name of its release and class.
    name: &'static str,
    values: &'static [&'static str],
    /// Of the namespace that it is installed in, but for Leases.
    here: &'static [&'static [&'static str]],
    /// Of any other namespace.
    elsewhere: &'static [&'static [&'static str]],
    serves_elsewhere: bool,
    /// What it asks for and does without.
    refused: &'static [&'static str],
}

/// Of namespaces that are watched: resource, names, verbs.
const WATCHED: &[&str] = &[
    "endpointslices.discovery.k8s.io [] [get list watch]",
    "events.events.k8s.io [] [create patch]",
    "ingresses.networking.k8s.io [] [get list watch]",
    "ingresses.networking.k8s.io/status [] [update patch]",
    "secrets [] [get list watch]",
    "services [] [get list watch]",
];

const CLASSES: &[&str] = &["ingressclasses.networking.k8s.io [] [get list watch]"];

const WIDE: Mode = Mode {
    name: "wide",
    values: &[],
    here: &[WATCHED, CLASSES],
    elsewhere: &[WATCHED, CLASSES],
    serves_elsewhere: true,
    refused: &[],
};

const SCOPED: Mode = Mode {
    name: "scoped",
    values: &["controller.scope.enabled=true"],
    here: &[WATCHED, CLASSES],
    elsewhere: &[CLASSES],
    serves_elsewhere: false,
    refused: &[],
};

const NAMESPACED: Mode = Mode {
    name: "roles",
    values: &["controller.scope.enabled=true", "rbac.scope=true"],
    here: &[WATCHED],
    elsewhere: &[],
    serves_elsewhere: false,
    // Being refused is how it knows that the class of its flag is to be taken for ours.
    refused: &["list ingressclasses"],
};

impl Mode {
    fn holds(&self, world: &World) -> anyhow::Result<()> {
        let other = world.namespaced(&format!("{}-elsewhere", world.namespace()));
        let class = [
            format!("controller.ingressClassResource.name={}", self.name),
            format!("controller.ingressClassResource.controllerValue=ringress.dev/{}", self.name),
        ];
        let values = [&[&*class[0], &*class[1]], self.values].concat();
        let release = Release::install(world, self.name, &values)?;
        self.works(world, &other, &release)?;
        let account = Account { world, name: format!("{}-ringress", self.name) };
        account.was_refused(self.refused)?;
        // The Lease of the election by its name; those of the replicas are named after pods, which no role knows.
        let lease = format!("leases.coordination.k8s.io [{}-ringress-leader] [get update]", self.name);
        let own = ["leases.coordination.k8s.io [] [create list watch patch delete]", &lease];
        account.may(world.namespace(), &[&self.here.concat(), &own[..]].concat())?;
        account.may(other.namespace(), &self.elsewhere.concat())?;
        account.is_refused(other.namespace(), self.serves_elsewhere)?;
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
        until_address(world, &address)?;
        until_outcome(world, &address, (&elsewhere, "/"), if self.serves_elsewhere { "503" } else { "404" })?;
        let shown = || {
            Ok::<_, anyhow::Error>(
                other.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].is_array(),
            )
        };
        match self.serves_elsewhere {
            true => other.until("the Ingress elsewhere shows its address", shown)?,
            false => ensure!(!shown()?, "an Ingress that is not watched got an address"),
        }
        world.until("the Ingress was told that it is live", || {
            let of_it = "regarding.kind=Ingress,regarding.name=web,reason=Applied";
            let events = ["get", "events.v1.events.k8s.io", "-o", "name", "--field-selector", of_it];
            Ok(!world.kubectl(&events)?.is_empty())
        })?;
        let deployment = release.controller();
        world.kubectl(&["rollout", "restart", "deployment", &deployment])?;
        world.kubectl(&["rollout", "status", "deployment", &deployment, "--timeout=60s"])?;
        world.until("one of the new pods holds the Lease", || {
            let lease = world.get("lease", &format!("{}-ringress-leader", self.name))?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            let pods = world.list("pods", "app.kubernetes.io/component=controller")?;
            let mut names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
            Ok(names.any(|name| holder.starts_with(name)))
        })?;
        until_outcome(world, &address, (&here, "/"), "web")
    }
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
    fn was_refused(&self, expected: &[&str]) -> anyhow::Result<()> {
        let log = self.world.cluster().logs().join("audit.log");
        let user = self.user(&self.name);
        let events: Vec<Value> = std::fs::read_to_string(&log)
            .with_context(|| format!("{}", log.display()))?
            .lines()
            // The last line may be half written.
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["user"]["username"] == *user)
            .collect();
        let refused = events.iter().filter(|event| event["responseStatus"]["code"] == 403);
        let refused: BTreeSet<String> = refused.filter_map(request).collect();
        ensure!(refused.iter().eq(expected), "refused: {refused:?}, expected {expected:?}");
        let made: BTreeSet<String> = events.iter().filter_map(request).collect();
        for needed in [
            "list ingresses",
            "list secrets",
            "list services",
            "list endpointslices",
            "patch ingresses/status",
            "create events",
            "create leases",
            "get leases",
            "update leases",
        ] {
            ensure!(made.contains(needed), "{needed} was never asked: {made:?}");
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

    /// With its own token, as whoever has stolen it.
    fn is_refused(&self, elsewhere: &str, watches_elsewhere: bool) -> anyhow::Result<()> {
        let token = self.world.kubectl(&["create", "token", &self.name])?;
        let authority = self.world.cluster().folder().join("pki/ca.crt").display().to_string();
        let stranger = ["kubectl", "--kubeconfig=/dev/null", "--server=https://198.18.0.1:6443"];
        let proof = [format!("--certificate-authority={authority}"), format!("--token={}", token.trim())];
        let ask = |namespace: &str, call: &[&str]| {
            let own = [&*proof[0], &*proof[1], "-n", namespace];
            self.world.exec(&[&stranger[..], &own, call].concat())
        };
        let here = self.world.namespace();
        ask(here, &["get", "ingress", "web"])?;
        ensure!(ask(elsewhere, &["get", "secrets"]).is_ok() == watches_elsewhere, "Secrets in {elsewhere}");
        let calls: [&[&str]; 9] = [
            &["get", "pods"],
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
            let refused = ask(here, call).err().with_context(|| format!("{call:?} was allowed"))?.to_string();
            ensure!(refused.contains("orbidden"), "{call:?}: {refused}");
        }
        Ok(())
    }
}

/// Verb and resource of a request in the audit log.
fn request(event: &Value) -> Option<String> {
    let target = &event["objectRef"];
    let resource = target["resource"].as_str()?;
    let part = target["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
    Some(format!("{} {resource}{part}", event["verb"].as_str()?))
}
