//! References of rules to what they lead to: Services to endpoints, Secrets to certificates.

pub(crate) mod endpoints;
mod numeric;
pub(crate) mod secret;
pub(crate) mod service;
