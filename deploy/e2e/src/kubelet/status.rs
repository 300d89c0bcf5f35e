//! The status of a pod, from what its containers do. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::slot::{Ended, Restart, Slot, State};

/// What the status of a pod is made from.
pub(crate) struct Facts<'f> {
    pub(crate) init: &'f [Slot],
    pub(crate) containers: &'f [Slot],
    pub(crate) restart: Restart,
    /// `None` before it has one.
    pub(crate) address: Option<String>,
    pub(crate) node_address: String,
    pub(crate) started: Timestamp,
    /// Ready whatever probes say must not be: a fault.
    pub(crate) held_unready: bool,
    /// What keeps it from being prepared.
    pub(crate) trouble: Option<&'f str>,
}

/// When conditions last changed.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    known: Vec<(&'static str, bool, Timestamp)>,
}

impl Transitions {
    fn time(&mut self, condition: &'static str, holds: bool, now: Timestamp) -> Timestamp {
        match self.known.iter_mut().find(|(known, ..)| *known == condition) {
            Some((_, before, since)) => {
                if *before != holds {
                    (*before, *since) = (holds, now);
                }
                *since
            }
            None => {
                self.known.push((condition, holds, now));
                now
            }
        }
    }
}

/// The status, as it is patched onto the pod.
pub(crate) fn of(facts: &Facts<'_>, transitions: &mut Transitions, now: Timestamp) -> Value {
    let initialized = facts.init.iter().all(|slot| succeeded(&slot.state));
    let all_ready =
        initialized && !facts.containers.is_empty() && facts.containers.iter().all(Slot::is_ready);
    let ready = all_ready && !facts.held_unready;
    let mut condition = |name: &'static str, holds: bool, reason: &str| {
        let mut condition = json!({
            "type": name,
            "status": if holds { "True" } else { "False" },
            "lastTransitionTime": second(transitions.time(name, holds, now)),
        });
        if !holds {
            condition["reason"] = json!(reason);
        }
        condition
    };
    let conditions = vec![
        condition("PodScheduled", true, ""),
        condition("Initialized", initialized, "ContainersNotInitialized"),
        condition("ContainersReady", all_ready, "ContainersNotReady"),
        condition("Ready", ready, "ContainersNotReady"),
    ];
    let mut status = json!({
        "phase": phase(facts, initialized),
        "conditions": conditions,
        "hostIP": facts.node_address,
        "hostIPs": [{"ip": facts.node_address}],
        "startTime": second(facts.started),
        "initContainerStatuses": facts.init.iter().map(|slot| container(slot, facts, true)).collect::<Vec<_>>(),
        "containerStatuses": facts.containers.iter().map(|slot| container(slot, facts, initialized)).collect::<Vec<_>>(),
    });
    if let Some(address) = &facts.address {
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
    }
    status
}

/// Whether every container has ended for good, and with which phase.
pub(crate) fn finished(containers: &[Slot], init: &[Slot], restart: Restart) -> Option<&'static str> {
    let failed_init = init.iter().any(|slot| match &slot.state {
        State::Ended(ended) => ended.code != 0 && restart == Restart::Never,
        _ => false,
    });
    if failed_init {
        return Some("Failed");
    }
    let codes: Option<Vec<i32>> = containers
        .iter()
        .map(|slot| match &slot.state {
            State::Ended(ended) => Some(ended.code),
            _ => None,
        })
        .collect();
    let codes = codes.filter(|codes| !codes.is_empty())?;
    Some(if codes.iter().all(|code| *code == 0) { "Succeeded" } else { "Failed" })
}

pub(crate) fn succeeded(state: &State) -> bool {
    matches!(state, State::Ended(ended) if ended.code == 0)
}

fn phase(facts: &Facts<'_>, initialized: bool) -> &'static str {
    if let Some(phase) = finished(facts.containers, facts.init, facts.restart) {
        return phase;
    }
    let begun =
        facts.containers.iter().all(|slot| slot.restarts > 0 || !matches!(slot.state, State::Waiting { .. }));
    if initialized && begun { "Running" } else { "Pending" }
}

fn container(slot: &Slot, facts: &Facts<'_>, its_turn: bool) -> Value {
    let state = match &slot.state {
        State::Waiting { reason, message } => {
            let (reason, message) = match (facts.trouble, its_turn) {
                (Some(trouble), _) => (*reason, trouble),
                (None, false) => ("PodInitializing", ""),
                (None, true) => (*reason, message.as_str()),
            };
            json!({"waiting": {"reason": reason, "message": message}})
        }
        State::Running { since, .. } => json!({"running": {"startedAt": second(*since)}}),
        State::Ended(ended) => json!({"terminated": terminated(ended)}),
    };
    let image = slot.container.image.clone().unwrap_or_default();
    let mut status = json!({
        "name": slot.container.name,
        "image": image,
        "imageID": image,
        "containerID": format!("process://{}", slot.process().and_then(super::process::Process::first).unwrap_or(0)),
        "ready": slot.is_ready() || (its_turn && succeeded(&slot.state) && facts.init.iter().any(|init| init.container.name == slot.container.name)),
        "started": slot.started,
        "restartCount": slot.restarts,
        "state": state,
    });
    if let Some(last) = &slot.last {
        status["lastState"] = json!({"terminated": terminated(last)});
    }
    status
}

fn terminated(ended: &Ended) -> Value {
    let mut terminated = json!({
        "exitCode": ended.code,
        "reason": if ended.code == 0 { "Completed" } else { "Error" },
        "startedAt": second(ended.since),
        "finishedAt": second(ended.until),
    });
    if let Some(signal) = ended.signal {
        terminated["signal"] = json!(signal);
    }
    terminated
}

/// Times of the API have whole seconds.
fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Container;

    fn slot(state: State) -> Slot {
        let mut slot = Slot::new(Container { name: "c".to_owned(), ..Container::default() });
        slot.state = state;
        slot
    }

    fn ended(code: i32) -> State {
        let time = Timestamp::UNIX_EPOCH;
        State::Ended(Ended { code, signal: None, since: time, until: time })
    }

    fn waiting() -> State {
        State::Waiting { reason: "ContainerCreating", message: String::new() }
    }

    fn status(init: &[Slot], containers: &[Slot], restart: Restart) -> Value {
        let facts = Facts {
            init,
            containers,
            restart,
            address: Some("198.18.1.1".to_owned()),
            node_address: "198.18.0.11".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            held_unready: false,
            trouble: None,
        };
        of(&facts, &mut Transitions::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn phases_follow_the_containers() {
        use Restart::{Always, Never};
        for (init, containers, restart, phase) in [
            (vec![], vec![waiting()], Always, "Pending"),
            (vec![], vec![ended(0)], Never, "Succeeded"),
            (vec![], vec![ended(0), ended(1)], Never, "Failed"),
            (vec![], vec![ended(0), waiting()], Never, "Pending"),
            (vec![waiting()], vec![waiting()], Always, "Pending"),
            (vec![ended(1)], vec![waiting()], Never, "Failed"),
            (vec![ended(1)], vec![waiting()], Always, "Pending"),
        ] {
            let slots = |states: &[State]| states.iter().cloned().map(slot).collect::<Vec<_>>();
            let status = status(&slots(&init), &slots(&containers), restart);
            assert_eq!(status["phase"], phase, "{init:?} {containers:?}");
        }
    }

    #[test]
    fn a_container_that_comes_back_leaves_its_pod_running() {
        let mut slot = slot(ended(1));
        slot.wait_for_restart();
        let status = status(&[], &[slot], Restart::Always);
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["containerStatuses"][0]["restartCount"], 1);
        assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    }

    #[test]
    fn transition_times_change_with_the_condition_only() {
        let mut transitions = Transitions::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(transitions.time("Ready", false, at(1)), at(1));
        assert_eq!(transitions.time("Ready", false, at(2)), at(1));
        assert_eq!(transitions.time("Ready", true, at(3)), at(3));
    }
}
