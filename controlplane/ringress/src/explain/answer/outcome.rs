//! What a rule makes of a request: policies, endpoints, and what ringress answers itself.

use ringress_engine::exchange;
use ringress_shared::certificate::Certificate;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{Backend, Target};
use ringress_shared::upstream::UpstreamTable;

use super::super::explanation::{Applied, OwnAnswer, Reached, ReachedEndpoint, Shown};

/// What policies do. Without `..`: a new policy does not compile until it says here what it does.
pub(super) fn applied(policies: &PolicySet, is_https: bool) -> Vec<Applied> {
    let PolicySet { body_limit, denied, https_redirect } = policies;
    let body_limit = body_limit
        .map(|limit| ("body-limit", format!("refuses bodies over {} bytes with 413", limit.body_bytes_max)));
    let denied = denied.as_ref().map(|denied| ("denied", format!("answers 503: {}", denied.because)));
    let https_redirect = https_redirect.map(|redirect| match is_https {
        true => ("https-redirect", "nothing to do: the request came over https".to_owned()),
        false => ("https-redirect", format!("answers {} with the same URL on https", redirect.status)),
    });
    let all = [body_limit, denied, https_redirect];
    all.into_iter().flatten().map(|(policy, effect)| Applied { policy: policy.to_owned(), effect }).collect()
}

/// Where a backend leads.
pub(super) fn reached(backend: &Backend, upstreams: &UpstreamTable) -> Reached {
    let mut reached =
        Reached { service: None, port: None, weight: backend.weight, answers: None, endpoints: Vec::new() };
    match backend.target {
        Target::Answer(status) => reached.answers = Some(status),
        Target::Upstream(id) => {
            if let Some(upstream) = upstreams.get(&id) {
                reached.service = Some((&upstream.service).into());
                reached.port = Some(upstream.port.to_string());
                reached.endpoints = upstream
                    .endpoints
                    .endpoints
                    .iter()
                    .map(|endpoint| ReachedEndpoint {
                        address: endpoint.address.to_string(),
                        target: endpoint.target.as_deref().map(str::to_owned),
                    })
                    .collect();
            }
        }
    }
    reached
}

/// The status that stands in where no backend with a share has an endpoint.
pub(super) fn unavailable(backends: &[Reached]) -> Option<OwnAnswer> {
    let mut shares = backends.iter().filter(|backend| backend.weight > 0);
    if shares.clone().any(|backend| !backend.endpoints.is_empty()) {
        return None;
    }
    let status = shares.find_map(|backend| backend.answers).unwrap_or(503);
    Some(own_answer(exchange::Answer::unavailable(status)))
}

/// What a policy answers.
pub(super) fn of_policy(answer: exchange::Answer) -> OwnAnswer {
    OwnAnswer { policy: Some(answering_policy(answer.status)), ..own_answer(answer) }
}

/// The policy that answers with this status; each has its own.
fn answering_policy(status: u16) -> String {
    let policy = match status {
        300..400 => "https-redirect",
        413 => "body-limit",
        _ => "denied",
    };
    policy.to_owned()
}

fn own_answer(answer: exchange::Answer) -> OwnAnswer {
    OwnAnswer {
        status: answer.status,
        message: answer.message.to_owned(),
        location: answer.location.map(|location| String::from_utf8_lossy(&location).into_owned()),
        policy: None,
    }
}

/// What is answered before any rule is asked, or for want of one.
pub(super) fn refusal(status: u16, message: &str) -> OwnAnswer {
    OwnAnswer { status, message: message.to_owned(), location: None, policy: None }
}

/// A certificate, as a client of that host is shown it.
pub(super) fn shown(certificate: &Certificate, host: &str) -> Shown {
    Shown {
        secret: certificate.secret.as_ref().map(Into::into),
        names: certificate.names.iter().map(ToString::to_string).collect(),
        covers_host: certificate.covers(host),
    }
}
