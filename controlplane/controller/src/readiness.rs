//! Whether requests should come here, for those who have to know it and are no part of the loop; and where they say what they
//! cannot do.

use std::sync::Arc;

use crate::live::Live;
use crate::status::troubles::Troubles;

/// The readiness of the process, now and later.
#[derive(Clone)]
pub struct Readiness(Arc<Live>);

impl Readiness {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        Self(Arc::clone(live))
    }

    /// Whether `/readyz` says so.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.is_ready().is_empty()
    }

    /// Where the writer notes what it cannot do.
    pub(crate) fn troubles(&self) -> Arc<Troubles> {
        Arc::clone(&self.0.troubles)
    }

    /// Waits until the process is asked to stop, or ends for another reason.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The sender is part of what we hold.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
