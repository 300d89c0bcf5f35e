//! What ends the controller, grouped by blame.

use std::io;
use std::net::SocketAddr;

use ringress_shared::command::ShardId;

use crate::default_certificate::DefaultCertificateError;
use crate::publish::bind::BindError;
use crate::source::SourceError;

/// Why the controller could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // What the operator can put right.
    /// A port that the flags name cannot be listened on.
    #[error("{}", bind_message(.error, .flag.as_deref()))]
    Bind {
        /// What was tried, and the system's answer.
        error: BindError,
        /// The flag that names the port.
        flag: Option<String>,
    },
    /// The admin or health address cannot be listened on.
    #[error("cannot listen on {address} for {flag}: {source}; give {flag} another address")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// The flag that names it.
        flag: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The source cannot be opened, or has ended by itself.
    #[error(transparent)]
    Source(#[from] SourceError),

    // The machine, or us.
    /// No default certificate could be made.
    #[error(transparent)]
    DefaultCertificate(#[from] DefaultCertificateError),
    /// The machine gives no randomness for the ticket keys.
    #[error("cannot make session ticket keys: the system gives no random bytes")]
    NoRandomness,
    /// The TLS stack refuses what translation made.
    #[error("cannot assemble the TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// Translation of the first objects panicked.
    #[error("cannot translate the objects: {0}; this is a defect of ringress")]
    Translation(String),
    /// Signals cannot be taken over.
    #[error("cannot take over signals: {0}")]
    Signals(io::Error),
    /// A shard's thread ended.
    #[error("shard {shard} died: {message}; this is a defect of ringress")]
    ShardDied {
        /// Who.
        shard: ShardId,
        /// Its last words.
        message: String,
    },
}

impl Error {
    /// 2 where the operator can put it right, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source(SourceError::Ended)
            | Self::DefaultCertificate(_)
            | Self::NoRandomness
            | Self::Tls(_)
            | Self::Translation(_)
            | Self::Signals(_)
            | Self::ShardDied { .. } => 1,
            Self::Bind { .. } | Self::Admin { .. } | Self::Source(_) => 2,
        }
    }
}

pub(crate) fn bind_message(error: &BindError, flag: Option<&str>) -> String {
    format!("{error}; {}", error.next_step(flag))
}
