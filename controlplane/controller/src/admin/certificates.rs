//! The certificates as the shards show them, and those that are named and missing. Never a key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringress_shared::certificate::Certificate;
use ringress_shared::snapshot::Snapshot;
use ringress_translate::{Key, Problem, Reason, certificate};
use serde::Serialize;

use super::{Admin, NOTHING_YET, plain};
use crate::live::View;

pub(super) async fn certificates(State(admin): State<Admin>) -> Response {
    match admin.live.view() {
        Some(view) => Json(Certificates::of(&view, &admin.live.shown_since)).into_response(),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET),
    }
}

/// One generation.
#[derive(Debug, Serialize)]
pub(super) struct Certificates {
    generation: u64,
    pub(super) certificates: Vec<Shown>,
    /// What an Ingress or a flag names and cannot be shown.
    pub(super) missing: Vec<Missing>,
}

/// A certificate for one host.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// `*`: whatever no other covers.
    host: String,
    /// The namespace of the Secret; `null` for the generated default certificate.
    namespace: Option<String>,
    secret: Option<String>,
    names: Vec<String>,
    issuer: String,
    /// RFC 3339.
    not_before: String,
    /// RFC 3339.
    not_after: String,
    /// Seconds since 1970.
    not_after_s: i64,
    /// RFC 3339: since when this process shows it.
    shown_since: Option<String>,
    /// SHA-256 of the leaf, in hexadecimal digits.
    fingerprint: String,
    /// What is wrong with the newest version of the Secret: then this is the last good one, and a restart ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_good: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Missing {
    kind: String,
    namespace: String,
    name: String,
    field: String,
    /// The hosts that lack it.
    hosts: Vec<String>,
    reason: &'static str,
    message: String,
}

impl Certificates {
    pub(super) fn of(view: &View, since: &ShownSince) -> Self {
        let served = served(&view.snapshot);
        Self {
            generation: view.snapshot.generation,
            certificates: served
                .iter()
                .map(|(host, found)| Shown::of(host, found, since, &view.problems))
                .collect(),
            missing: view
                .problems
                .iter()
                .filter(is_missing)
                .map(|problem| Missing::of(problem, view))
                .collect(),
        }
    }
}

/// By host; listeners that share their certificates show them once.
fn served(snapshot: &Snapshot) -> BTreeMap<String, Arc<Certificate>> {
    let listeners = snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter());
    let stores = listeners.filter_map(|listener| listener.tls.as_ref()).map(|tls| &tls.certificates);
    let mut served = BTreeMap::new();
    for store in stores {
        served.extend(store.entries().map(|(host, found)| (host.to_string(), Arc::clone(found))));
        served.extend(store.default_certificate().map(|found| ("*".to_owned(), Arc::clone(found))));
    }
    served
}

impl Shown {
    fn of(host: &str, found: &Certificate, since: &ShownSince, problems: &[Problem]) -> Self {
        let secret = found.secret.as_ref();
        let mut kept = problems.iter().filter(|problem| problem.reason == Reason::Quarantined);
        let kept = kept.find(|problem| Some(&problem.object) == secret);
        Self {
            host: host.to_owned(),
            namespace: secret.map(|secret| secret.namespace.to_string()),
            secret: secret.map(|secret| secret.name.to_string()),
            names: found.names.iter().map(|name| name.to_string()).collect(),
            issuer: certificate::issuer(found).unwrap_or_default(),
            not_before: certificate::date(found.not_before),
            not_after: certificate::date(found.not_after),
            not_after_s: found.not_after,
            shown_since: since.of(found).map(certificate::date),
            fingerprint: found.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
            last_good: kept.map(|problem| format!("{}: {}", problem.field, problem.message)),
        }
    }
}

/// Since when each certificate is shown, in seconds since 1970, by fingerprint. Written by the control loop alone.
#[derive(Debug, Default)]
pub(crate) struct ShownSince(Mutex<BTreeMap<[u8; 32], i64>>);

impl ShownSince {
    /// Notes what a generation shows, and forgets what it does not. Costs one look at each certificate.
    pub(crate) fn note(&self, snapshot: &Snapshot, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64);
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = served(snapshot).into_values().map(|found| found.fingerprint);
        *since = shown.map(|print| (print, since.get(&print).copied().unwrap_or(now))).collect();
    }

    fn of(&self, certificate: &Certificate) -> Option<i64> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(&certificate.fingerprint).copied()
    }
}

/// Those whose hosts get the default certificate, or none at all.
fn is_missing(problem: &&Problem) -> bool {
    let reasons = [
        Reason::SecretNotFound,
        Reason::SecretWithheld,
        Reason::CertificateInvalid,
        Reason::CertificateHostMismatch,
    ];
    reasons.contains(&problem.reason)
}

impl Missing {
    fn of(problem: &Problem, view: &View) -> Self {
        let object = &problem.object;
        Self {
            kind: object.kind.to_string(),
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
            field: problem.field.clone(),
            hosts: hosts(problem, view),
            reason: problem.reason.as_str(),
            message: problem.message.clone(),
        }
    }
}

/// The hosts of the entry under `spec.tls` that a problem is about; of a Secret, those of every entry that names it.
fn hosts(problem: &Problem, view: &View) -> Vec<String> {
    let key = Key::of(&problem.object);
    let entries = |ingress: &k8s_openapi::api::networking::v1::Ingress| {
        ingress.spec.as_ref().and_then(|spec| spec.tls.clone()).unwrap_or_default()
    };
    let mut hosts: Vec<String> = match &*problem.object.kind {
        "Ingress" => {
            let entries =
                view.objects.ingresses.get(&key).map(|stored| entries(&stored.object)).unwrap_or_default();
            let number = number_after(&problem.field, "spec.tls[");
            let entry = number.and_then(|number| entries.into_iter().nth(number));
            let hosts = entry.and_then(|entry| entry.hosts).unwrap_or_default();
            match number_after(&problem.field, ".hosts[").and_then(|number| hosts.get(number)) {
                Some(one) => vec![one.clone()],
                None => hosts,
            }
        }
        "Secret" => {
            let here = view.objects.ingresses.iter().filter(|(user, _)| user.namespace == key.namespace);
            let named = here.flat_map(|(_, stored)| entries(&stored.object));
            let named = named.filter(|entry| entry.secret_name.as_deref() == Some(&*key.name));
            named.flat_map(|entry| entry.hosts.unwrap_or_default()).collect()
        }
        _ => Vec::new(),
    };
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The index that follows a part of the path of a field.
fn number_after(field: &str, part: &str) -> Option<usize> {
    let (_, rest) = field.split_once(part)?;
    rest.split(']').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_leads_to_the_hosts_that_it_is_about() {
        let field = "spec.tls[2].hosts[11]";
        assert_eq!((number_after(field, "spec.tls["), number_after(field, ".hosts[")), (Some(2), Some(11)));
        assert_eq!(number_after("spec.tls[2].secretName", ".hosts["), None);
    }
}
