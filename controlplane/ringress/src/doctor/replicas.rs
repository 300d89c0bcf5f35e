//! The controller itself: does it run, may it read and write what it must, how does it do its input and output, what does it keep serving
//! although a newer version was rejected.

use std::collections::{BTreeMap, BTreeSet};

use super::Line;
use super::facts::{Asked, Facts, Says, Unwritten};
use crate::terminal::several;

pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let mut lines = vec![running(facts)];
    lines.extend(asked(facts));
    lines.extend(versions(facts));
    lines.extend(shards(facts));
    lines.extend(rights(facts));
    lines.extend(writes(facts));
    lines.extend(drivers(facts));
    lines.push(last_good(facts));
    lines
}

fn running(facts: &Facts) -> Line {
    const CHECK: &str = "controller";
    let (ready, unready): (Vec<&Asked>, Vec<&Asked>) =
        facts.replicas.iter().partition(|replica| replica.unready.is_none());
    let states: Vec<_> = unready.iter().map(|replica| why_unready(replica)).collect();
    let names: Vec<_> = ready.iter().map(|replica| &*replica.name).collect();
    match (ready.len(), unready.len()) {
        (0, 0) => Line::problem(
            CHECK,
            "no controller runs: no pod has the labels of its chart",
            "install it: helm install ringress deploy/helm/ringress --namespace ringress --create-namespace",
        ),
        (0, _) => Line::problem(
            CHECK,
            format!("no replica is ready: {}", states.join("; ")),
            "kubectl describe and kubectl logs of the pod say more",
        ),
        (_, 0) => Line::ok(CHECK, format!("{} ready: {}", several(ready.len(), "replica"), names.join(", "))),
        (some, _) => Line::warning(
            CHECK,
            format!("{some} of {} replicas ready; {}", facts.replicas.len(), states.join("; ")),
            "kubectl describe and kubectl logs of the pod say more",
        ),
    }
}

/// What the process says itself, where it can be asked.
fn why_unready(replica: &Asked) -> String {
    let own = replica.says.as_ref().map(|says| says.reasons.join(", ")).filter(|own| !own.is_empty());
    let why = own.or_else(|| replica.unready.clone()).unwrap_or_default();
    format!("{} ({why})", replica.name)
}

fn asked(facts: &Facts) -> Vec<Line> {
    let silent = facts.replicas.iter().filter(|replica| replica.unready.is_none());
    let silent = silent.filter_map(|replica| replica.silent.as_ref());
    let next = "what follows leaves it out; it takes the right to create pods/portforward, and a pod of this version";
    silent.map(|why| Line::warning("admin", why, next)).collect()
}

fn versions(facts: &Facts) -> Option<Line> {
    let versions: BTreeSet<&str> = said(facts).map(|(_, says)| &*says.shards.version).collect();
    (versions.len() > 1).then(|| {
        let all: Vec<_> = versions.into_iter().collect();
        Line::warning(
            "controller",
            format!("replicas of several versions run: {}", all.join(", ")),
            "finish the roll-out",
        )
    })
}

fn shards(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    for (replica, says) in said(facts) {
        for socket in &says.shards.unbound {
            let what = format!("{}: {socket}", replica.name);
            lines.push(Line::problem("ports", what, "free the port, or give the controller another one"));
        }
        let idle: Vec<_> = says.shards.shards.iter().filter(|shard| !shard.accepting).collect();
        if let (Some(first), true) = (idle.first(), replica.unready.is_none()) {
            let what = format!("{}: shard {} does not accept", replica.name, first.shard);
            lines.push(Line::problem("ports", what, "kubectl logs of the pod say why"));
        }
    }
    lines
}

/// What the controller itself may not do: asking with somebody else's rights would tell nothing.
fn rights(facts: &Facts) -> Vec<Line> {
    let mut failing: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let mut lines = Vec::new();
    for (replica, says) in said(facts) {
        for watch in &says.watches {
            match &watch.failing {
                Some(why) => {
                    failing.entry((watch.watch.clone(), why.clone())).or_default().push(&replica.name);
                }
                None if watch.doubted => lines.push(Line::warning(
                    "rights",
                    format!(
                        "{}: the API server listed no {} where there were some",
                        replica.name, watch.watch
                    ),
                    "what was known is served until a second list confirms it",
                )),
                None => {}
            }
        }
    }
    for ((watch, why), replicas) in failing {
        let what = format!("{watch} cannot be watched by {}: {why}", replicas.join(", "));
        lines.push(match why.contains("refuses") {
            true => Line::problem(
                "rights",
                what,
                "grant list and watch to its ServiceAccount; the chart's roles have it",
            ),
            false => Line::problem("rights", what, "the API server does not answer; what is known is served"),
        });
    }
    let assumed = said(facts).any(|(_, says)| says.watches.iter().any(|watch| watch.assumed));
    if lines.is_empty() && said(facts).any(|(_, says)| !says.watches.is_empty()) {
        let note = if assumed {
            "; IngressClasses may not be read, so the class of its flags is assumed"
        } else {
            ""
        };
        lines.push(Line::ok("rights", format!("everything that is watched may be read{note}")));
    }
    lines
}

/// What users do not see on their objects, although requests are served.
fn writes(facts: &Facts) -> Vec<Line> {
    let mut unwritten: BTreeMap<(&str, &str, bool, &str), Vec<&str>> = BTreeMap::new();
    for (replica, says) in said(facts) {
        for Unwritten { what, why, refused, needs } in &says.unwritten {
            unwritten.entry((what, why, *refused, needs)).or_default().push(&replica.name);
        }
    }
    let line = |((what, why, is_refused, needs), replicas): ((&str, &str, bool, &str), Vec<&str>)| {
        let what = format!("{} cannot {what}: {why}", replicas.join(", "));
        let next = match is_refused {
            true => format!("grant its ServiceAccount to {needs}; the chart's roles have it (rbac.create)"),
            false => "it is tried again; requests are served meanwhile, and the log says more".to_owned(),
        };
        Line::problem("rights", what, next)
    };
    unwritten.into_iter().map(line).collect()
}

/// By node, since it is the node that refuses.
fn drivers(facts: &Facts) -> Vec<Line> {
    let mut places: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (replica, says) in said(facts) {
        let place = replica.node.as_deref().unwrap_or(&replica.name);
        for shard in &says.shards.shards {
            places.entry((&shard.driver, &shard.reason)).or_default().insert(place);
        }
    }
    let is_chosen = facts.flag("io-driver") == Some("epoll");
    let line = |((driver, reason), places): ((&str, &str), BTreeSet<&str>)| {
        let places = places.into_iter().collect::<Vec<_>>().join(", ");
        match driver {
            "epoll" if !is_chosen => {
                let ways_out = if reason.contains(NO_MEMORY) { MORE_MEMORY } else { THREE_WAYS_OUT };
                Line::warning("driver", format!("{places}: epoll, because {reason}"), ways_out)
            }
            driver => Line::ok("driver", format!("{places}: {driver}")),
        }
    };
    places.into_iter().map(line).collect()
}

/// What ENOMEM is called.
const NO_MEMORY: &str = "Cannot allocate memory";

const MORE_MEMORY: &str = "all of it works, at a higher cost. Rings count as locked memory of their user on the node, over all pods: \
    set LimitMEMLOCK=infinity for the container runtime of the node, or start fewer shards (controller.extraArgs.shards)";

const THREE_WAYS_OUT: &str = "all of it works, at a higher cost. Ways out: 1. deploy/seccomp/ringress.json on each node, and \
    controller.image.seccompProfile.type=Localhost with localhostProfile=ringress.json; 2. type=Unconfined, where the namespace \
    takes such pods; 3. controller.extraArgs.io-driver=epoll, which ends the question. kernel.io_uring_disabled above 0 on the \
    node refuses it whatever the profile says";

fn last_good(facts: &Facts) -> Line {
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for (_, says) in said(facts) {
        for object in &says.troubled {
            if object.problems.iter().any(|problem| problem.reason == "Quarantined") {
                let name = format!("{} {}/{}", object.kind, object.namespace, object.name);
                *kept.entry(name).or_default() += 1;
            }
        }
    }
    let count = said(facts).count();
    let objects: Vec<_> =
        kept.iter().map(|(name, replicas)| format!("{name} (on {replicas} of {count} replicas)")).collect();
    match objects.is_empty() {
        true => Line::ok("last good", "no object is served in an older version"),
        false => Line::warning(
            "last good",
            format!("an older version is served of {}", objects.join(", ")),
            "kubectl ringress lint says what is wrong with the newest",
        ),
    }
}

fn said(facts: &Facts) -> impl Iterator<Item = (&Asked, &Says)> {
    facts.replicas.iter().filter_map(|replica| Some((replica, replica.says.as_ref()?)))
}
