//! The verbs of the policies, one file each, and their order: the page of
//! [`ringress_shared::policy`] gives the reasons for it.

mod body_limit;
mod denied;
mod https_redirect;

use ringress_shared::policy::PolicySet;

use crate::exchange::Answer;
use crate::http::{Framing, Head};

/// What policies may know of a request beside its head.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    /// Whether the client speaks TLS to us, or to a trusted proxy before us.
    pub is_https: bool,
    /// The framing of the request body.
    pub framing: Framing,
}

/// Lets the policies of a listener, a rule and a backend see a request, in that order; the first that answers ends it.
pub fn on_request<'p>(
    sets: impl IntoIterator<Item = &'p PolicySet>,
    head: &Head,
    facts: &RequestFacts,
) -> Option<Answer> {
    sets.into_iter().find_map(|policies| ask(policies, head, facts))
}

fn ask(policies: &PolicySet, head: &Head, facts: &RequestFacts) -> Option<Answer> {
    // Without `..`: a new policy does not compile until it has its place here.
    let PolicySet { body_limit, denied, https_redirect } = policies;
    body_limit
        .as_ref()
        .and_then(|policy| body_limit::on_request(policy, facts))
        .or_else(|| denied.as_ref().map(denied::on_request))
        .or_else(|| {
            https_redirect.as_ref().and_then(|policy| https_redirect::on_request(policy, head, facts))
        })
}
