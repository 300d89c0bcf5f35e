//! References of rules to what they lead to: Services to endpoints, Secrets to certificates.

pub(crate) mod endpoints;
pub(crate) mod secret;
pub(crate) mod service;
