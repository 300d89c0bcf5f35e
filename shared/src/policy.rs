//! Policies: one named behaviour each, on a rule, listener or backend.
//!
//! This page writes the order of evaluation, once, for both dialects:
//!
//! | # | policy | why here |
//! |---|---|---|
//! | 1 | body_limit | nothing else may be asked to read a body that is refused anyway |
//! | 2 | denied | a protection that could not be applied closes the rule before anything can be seen |
//! | 3 | https_redirect | credentials must not be asked for over plain text, so before any authentication |
//! | 4 | *forward* | |
//!
//! A listener, its rule and the chosen backend each have a set. The listener's is asked first, the backend's last.
//!
//! Later policies slot in where decisions put them: cors preflight and redirect before `https_redirect`; rate limit,
//! access, rewrite, request headers, mirror and affinity after it; response headers, cors and compression after *forward*.
//!
//! [`PolicySet`] is destructured without `..` in every room, so that the compiler lists what a new policy still lacks.

mod body_limit;
mod denied;
mod https_redirect;

pub use body_limit::BodyLimit;
pub use denied::Denied;
pub use https_redirect::HttpsRedirect;

/// The policies of one listener, rule or backend: one optional field per policy, in order of evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PolicySet {
    /// Refuses bodies over a size.
    pub body_limit: Option<BodyLimit>,
    /// Closes the rule because a protection could not be applied.
    pub denied: Option<Denied>,
    /// Sends plain-text clients to https.
    pub https_redirect: Option<HttpsRedirect>,
}
