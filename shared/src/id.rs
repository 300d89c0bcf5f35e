//! Stable ids: statistics, pools, limits and affinity hang on them, across generations.
//!
//! An id is the first 64 bits of SHA-256 over what makes the thing itself. So no counter has to be carried along, a kept
//! `Arc` of routes never points into a moved table, and every replica computes the same id.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

macro_rules! stable_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// The id of the thing that `parts` identify. Parts are length-prefixed, so `["a", "b"]` differs from `["ab"]`.
            pub fn of(parts: &[&str]) -> Self {
                Self(digest(stringify!($name), parts))
            }

            /// The bare number, for logs and cookies.
            pub fn as_u64(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

stable_id!(
    /// A rule: the object and the field that it came from.
    RuleId
);
stable_id!(
    /// An upstream: Service port, protocol, TLS profile and balancing.
    UpstreamId
);
stable_id!(
    /// An endpoint: its address and port.
    EndpointId
);
stable_id!(
    /// A certificate: the Secret that it came from.
    CertificateId
);

fn digest(kind: &str, parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let bytes = hash.finalize();
    u64::from_le_bytes(bytes[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// Hashes an id by taking it as it is: the bits are already even.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// Makes the hashers of maps keyed by a stable id.
pub type BuildIdHasher = BuildHasherDefault<IdHasher>;

/// A map keyed by a stable id.
pub type IdMap<K, V> = hashbrown::HashMap<K, V, BuildIdHasher>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(RuleId::of(&["ab"]), RuleId::of(&["a", "b"]));
        assert_ne!(RuleId::of(&["a"]).as_u64(), UpstreamId::of(&["a"]).as_u64());
        assert_eq!(RuleId::of(&["a", "b"]), RuleId::of(&["a", "b"]));
    }
}
