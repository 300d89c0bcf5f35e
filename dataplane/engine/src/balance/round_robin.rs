//! Round robin: one after the other, skipping who may not be picked.

use std::rc::Rc;

use super::EndpointState;

/// The position of a shard in an upstream; survives new endpoint sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor(usize);

impl Cursor {
    pub(super) fn starting_at(offset: usize) -> Self {
        Self(offset)
    }
}

pub(super) fn choose<'e>(
    cursor: &mut Cursor,
    endpoints: &'e [Rc<EndpointState>],
    eligible: impl Fn(&EndpointState) -> bool,
) -> Option<&'e Rc<EndpointState>> {
    let count = endpoints.len();
    let at =
        (0..count).map(|step| cursor.0.wrapping_add(step) % count).find(|at| eligible(&endpoints[*at]))?;
    cursor.0 = at + 1;
    Some(&endpoints[at])
}
