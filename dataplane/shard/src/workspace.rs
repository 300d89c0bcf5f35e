//! What one active exchange works with; kept in a stack, so that a few hot ones serve everybody.

use std::cell::RefCell;

use ringress_engine::http::Head;

use crate::buffer::Outgoing;

/// Heads and texts of one exchange.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) request: Head,
    pub(crate) response: Head,
    /// The head (and small body) that goes to the endpoint.
    pub(crate) to_endpoint: Outgoing,
    /// The head (and small body) that goes to the client.
    pub(crate) to_client: Outgoing,
}

/// Workspaces that nobody uses. A shard has as many as it ever had exchanges at once, up to a limit.
#[derive(Default)]
pub(crate) struct Workspaces {
    // Boxed: a workspace moves as a pointer, and is over a kilobyte.
    #[allow(clippy::vec_box)]
    free: RefCell<Vec<Box<Workspace>>>,
}

const KEPT: usize = 1_024;
/// A text that grew beyond this is not kept.
const TEXT_BYTES_KEPT: usize = 16 * 1024;

impl Workspaces {
    pub(crate) fn take(&self) -> Box<Workspace> {
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, mut workspace: Box<Workspace>) {
        workspace.request.clear();
        workspace.response.clear();
        for text in [&mut workspace.to_endpoint, &mut workspace.to_client] {
            text.clear();
            text.text().shrink_to(TEXT_BYTES_KEPT);
        }
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(workspace);
        }
    }
}
