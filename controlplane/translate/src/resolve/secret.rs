//! A Secret to a certificate, with the last good one where the new content is broken.

use std::sync::Arc;

use ringress_shared::certificate::Certificate;

use crate::certificate;
use crate::objects::{Key, Objects, Version};
use crate::problem::Problem;

/// What a referenced Secret gives.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// A certificate.
    Good(Arc<Certificate>),
    /// Broken content; the last good certificate goes on.
    Quarantined { serving: Arc<Certificate>, because: Problem },
    /// Broken content, and nothing before it.
    Broken(Problem),
    /// No such Secret. A certificate never outlives its Secret.
    Missing,
    /// The Secret exists, and its content is not known: whoever names it gets no other certificate.
    Withheld,
}

/// What a Secret's content was read from; equal inputs give equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    version: Option<Version>,
    last_good: Option<[u8; 32]>,
    withheld: bool,
}

impl Input {
    pub(crate) fn of(key: &Key, objects: &Objects, last_good: Option<&Arc<Certificate>>) -> Self {
        Self {
            version: objects.secrets.get(key).map(|stored| stored.version),
            last_good: last_good.map(|certificate| certificate.fingerprint),
            withheld: objects.withheld.contains(key),
        }
    }
}

/// Reads a Secret.
pub(crate) fn read(key: &Key, objects: &Objects, last_good: Option<&Arc<Certificate>>) -> Content {
    let Some(stored) = objects.secrets.get(key) else {
        return if objects.withheld.contains(key) { Content::Withheld } else { Content::Missing };
    };
    match certificate::parse(&stored.object, &key.reference("Secret")) {
        Ok(certificate) => Content::Good(Arc::new(certificate)),
        Err(because) => match last_good {
            Some(serving) => Content::Quarantined { serving: Arc::clone(serving), because: *because },
            None => Content::Broken(*because),
        },
    }
}

impl Content {
    /// The certificate that is served, if there is one.
    pub(crate) fn certificate(&self) -> Option<&Arc<Certificate>> {
        match self {
            Self::Good(certificate) | Self::Quarantined { serving: certificate, .. } => Some(certificate),
            Self::Broken(_) | Self::Missing | Self::Withheld => None,
        }
    }
}
