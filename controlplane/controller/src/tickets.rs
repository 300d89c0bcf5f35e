//! TLS session tickets: sealed with keys that live in this process and rotate.
//!
//! ```text
//! ticket = key name (16 bytes) | nonce (12 bytes) | AES-256-GCM(session state, aad = id of the TLS profile) | tag (16 bytes)
//! ```
//!
//! The keys are `{current, previous}` behind one pointer that shards read without a lock; only the controller replaces
//! it. The id of the TLS profile is authenticated with every ticket, so that a session of one profile never opens under
//! another: it would carry the client authentication of the one to the other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use ringress_shared::listener::TlsProfileId;
use rustls::server::ProducesTickets;

/// Time between two rotations, and the life of a ticket: one that was sealed just before a rotation opens until the next.
pub const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);

/// The ticket keys of the process.
#[derive(Debug)]
pub struct TicketKeys {
    pair: ArcSwap<Pair>,
}

impl TicketKeys {
    /// Fresh keys.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub fn new() -> Result<Arc<Self>, Unspecified> {
        let pair = Pair { current: Arc::new(Key::fresh()?), previous: None };
        Ok(Arc::new(Self { pair: ArcSwap::from_pointee(pair) }))
    }

    /// Seals with a fresh key from now on; tickets of the key before still open, older ones no longer do.
    ///
    /// # Errors
    /// The machine gives no randomness; the keys stay as they are.
    pub fn rotate(&self) -> Result<(), Unspecified> {
        let fresh = Arc::new(Key::fresh()?);
        let previous = Some(Arc::clone(&self.pair.load().current));
        self.pair.store(Arc::new(Pair { current: fresh, previous }));
        Ok(())
    }

    /// What seals and opens the tickets of one TLS profile.
    pub fn ticketer(self: &Arc<Self>, profile: &TlsProfileId) -> Arc<Ticketer> {
        Arc::new(Ticketer { keys: Arc::clone(self), profile: Arc::clone(&profile.0) })
    }
}

/// Seals and opens the tickets of one TLS profile.
#[derive(Debug)]
pub struct Ticketer {
    keys: Arc<TicketKeys>,
    profile: Arc<str>,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        ROTATION.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.pair.load().current.seal(&self.profile, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_at_checked(NAME_LEN)?;
        self.keys.pair.load().named(name)?.open(&self.profile, sealed)
    }
}

#[derive(Debug)]
struct Pair {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
}

impl Pair {
    fn named(&self, name: &[u8]) -> Option<&Key> {
        // Names are public: they stand in clear in every ticket, so comparing them may take any time.
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.name == name)
            .map(Arc::as_ref)
    }
}

struct Key {
    name: [u8; NAME_LEN],
    secret: RandomizedNonceKey,
}

impl Key {
    fn fresh() -> Result<Self, Unspecified> {
        let mut name = [0; NAME_LEN];
        let mut secret = [0; 32];
        rand::fill(&mut name)?;
        rand::fill(&mut secret)?;
        Ok(Self { name, secret: RandomizedNonceKey::new(&AES_256_GCM, &secret)? })
    }

    fn seal(&self, profile: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.secret.seal_in_place_append_tag(Aad::from(profile), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, profile: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length = self.secret.open_in_place(nonce, Aad::from(profile), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret never reaches a log.
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

const NAME_LEN: usize = 16;
