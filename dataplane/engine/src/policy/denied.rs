//! Closes a rule because a protection that it asks for cannot be applied.

use ringress_shared::policy::Denied;

use crate::exchange::{Answer, Token};

/// The reason stays inside: it names objects. The owner reads it from lint, explain and the log.
pub(super) fn on_request(_policy: &Denied) -> Answer {
    Answer::new(
        503,
        Token::ProxyConfigurationError,
        "this route is closed: a protection it asks for cannot be applied",
    )
}
