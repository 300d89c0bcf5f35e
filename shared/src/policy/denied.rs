//! Closes a rule because a protection that it asks for cannot be applied: 503 (fail closed).

use std::sync::Arc;

/// Why a rule answers 503.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denied {
    /// What could not be applied, for the owner of the object; never sent to clients.
    pub because: Arc<str>,
}
