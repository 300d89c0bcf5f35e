//! What pods asked the API server and what they were told: its audit log.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::lease::time;
use crate::support::World;

/// One request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Verb and resource, as in `patch ingresses/status`.
    pub(crate) call: String,
    /// Of the object, where the request names one.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Who asked.
    pub(crate) pod: String,
    pub(crate) status: u64,
    pub(crate) received: Timestamp,
    pub(crate) answered: Timestamp,
}

impl Request {
    fn parse(event: &Value) -> anyhow::Result<Self> {
        let (user, target) = (&event["user"], &event["objectRef"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let part = target["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
        Ok(Self {
            call: format!("{} {}{part}", text(&event["verb"]), text(&target["resource"])),
            namespace: text(&target["namespace"]),
            name: text(&target["name"]),
            pod: text(&user["extra"]["authentication.kubernetes.io/pod-name"][0]),
            status: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            received: time(&event["requestReceivedTimestamp"])?,
            answered: time(&event["stageTimestamp"])?,
        })
    }

    /// It was done.
    pub(crate) fn was_granted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What a service account of the namespace of the test has asked so far, in the order of the answers.
pub(crate) fn requests(world: &World, account: &str) -> anyhow::Result<Vec<Request>> {
    let log = world.cluster().logs().join("audit.log");
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let user = format!("system:serviceaccount:{}:{account}", world.namespace());
    // The last line may be half written.
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_it = events.filter(|event| event["user"]["username"] == *user && event["objectRef"].is_object());
    let mut requests = of_it.map(|event| Request::parse(&event)).collect::<anyhow::Result<Vec<_>>>()?;
    requests.sort_by_key(|request| request.answered);
    Ok(requests)
}

/// When the process of a pod was killed: what the pod asks afterwards, another process asks.
#[derive(Debug)]
pub(crate) struct Death<'d> {
    pub(crate) pod: &'d str,
    pub(crate) at: Timestamp,
}

/// Every status was written by who held the Lease, and none while that went to somebody else: terms of writers never overlap.
///
/// A process shows that it holds the Lease by an update of it that was taken, or by the patch that gives it back. The log knows pods, not processes: of one whose
/// process was killed, what it held before does not count afterwards.
///
/// # Errors
/// One was written by somebody else, or none at all.
pub(crate) fn ensure_one_writer(
    requests: &[Request],
    lease: &str,
    death: Option<&Death<'_>>,
) -> anyhow::Result<()> {
    let granted = || requests.iter().filter(|request| request.was_granted());
    let is_holding = |call: &str| call == "update leases" || call == "patch leases";
    let terms: Vec<&Request> =
        granted().filter(|request| is_holding(&request.call) && request.name == lease).collect();
    let first = terms.first().context("nobody ever held the Lease")?;
    let writes: Vec<&Request> =
        granted().filter(|request| request.call.ends_with("ingresses/status")).collect();
    ensure!(!writes.is_empty(), "no status was ever written");
    for write in writes {
        // It is created by a request that does not name it; its first update is by the same process.
        let held = terms.iter().rfind(|term| term.answered <= write.received).unwrap_or(first);
        ensure!(held.pod == write.pod, "{write:?} while {held:?} held the Lease");
        let came_back = death.is_some_and(|death| write.pod == death.pod && write.received > death.at);
        let since = death.filter(|_| came_back).map(|death| death.at);
        ensure!(
            since.is_none_or(|at| held.answered > at),
            "{write:?} by a process that held nothing: {death:?}"
        );
        let passed_on = terms.iter().find(|term| {
            term.pod != write.pod && term.answered > write.received && term.received < write.answered
        });
        ensure!(passed_on.is_none(), "{write:?} while the Lease was taken by {passed_on:?}");
    }
    Ok(())
}

/// That [`ensure_one_writer`] fails where it should.
pub(crate) fn finds_overlapping_terms() -> anyhow::Result<()> {
    let taken = |pod, from| request("update leases", pod, from);
    let wrote = |pod, from| request("patch ingresses/status", pod, from);
    let death = Death { pod: "a", at: at(5) };
    let check = |requests: &[Request], death| ensure_one_writer(requests, "lease", death);
    check(&[taken("a", 0), wrote("a", 2), taken("b", 20), wrote("b", 22)], None)?;
    check(&[taken("a", 0), wrote("a", 2), taken("a", 20), wrote("a", 22)], Some(&death))?;
    // The Lease was created by the one that updated it first.
    check(&[wrote("a", 0), taken("a", 2)], None)?;
    let long = Request { answered: at(21), ..wrote("a", 8) };
    let wrong: [(&[Request], _); 5] = [
        (&[taken("a", 0), taken("b", 20)], None),
        (&[taken("a", 0), wrote("b", 2)], None),
        (&[taken("a", 0), taken("b", 20), wrote("a", 22)], None),
        (&[taken("a", 0), taken("b", 20), long], None),
        (&[taken("a", 0), wrote("a", 8)], Some(&death)),
    ];
    for (requests, death) in wrong {
        ensure!(check(requests, death).is_err(), "{requests:?}, {death:?}");
    }
    Ok(())
}

/// A request that was granted within a second.
fn request(call: &str, pod: &str, second: i64) -> Request {
    let [call, pod, name] = [call, pod, "lease"].map(str::to_owned);
    let (received, answered) = (at(second), at(second + 1));
    Request { call, namespace: String::new(), name, pod, status: 200, received, answered }
}

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}
