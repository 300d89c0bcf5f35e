//! The key that Secrets of the cache are encrypted with.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// 256 bits that only this process and its successors know.
#[derive(Clone)]
pub struct CacheKey(Arc<RandomizedNonceKey>);

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(…)")
    }
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// More people than its owner and group may read it, or somebody but its owner may write it.
    #[error("has the mode {0:03o}; others may not read it: chmod 400")]
    Open(u32),
    /// Not 32 bytes as hexadecimal digits or base64.
    #[error(
        "does not hold 32 bytes as 64 hexadecimal digits or in base64; make one: openssl rand -base64 32"
    )]
    Malformed,
}

impl CacheKey {
    /// Reads a key file.
    ///
    /// # Errors
    /// It cannot be read, others may read it too, or it holds no key.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let mode = fs::metadata(file)?.permissions().mode() & 0o777;
        // A Secret that is mounted for a user other than root belongs to a group that may read it.
        if mode & 0o037 != 0 {
            return Err(KeyError::Open(mode));
        }
        Self::parse(&fs::read_to_string(file)?).ok_or(KeyError::Malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = from_hex(text).or_else(|| STANDARD.decode(text).ok())?;
        // It refuses any length but that of the algorithm.
        Some(Self(Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?)))
    }

    /// Seals what follows the room for the nonce, under a fresh one.
    pub(super) fn seal(&self, associated: &[u8], mut with_room: Vec<u8>) -> Option<Vec<u8>> {
        let (room, plain) = with_room.split_at_mut_checked(NONCE_LEN)?;
        let (nonce, tag) = self.0.seal_in_place_separate_tag(Aad::from(associated), plain).ok()?;
        room.copy_from_slice(nonce.as_ref());
        with_room.extend_from_slice(tag.as_ref());
        Some(with_room)
    }

    pub(super) fn open(&self, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(associated), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = || (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
    if digits { pairs().collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_key_is_32_bytes_in_digits_or_base64() {
        let sealed = CacheKey::parse(HEX).unwrap().seal(b"a", vec![0; NONCE_LEN + 5]).unwrap();
        let same = CacheKey::parse(&format!("{BASE64}\n")).unwrap();
        assert_eq!(same.open(b"a", &sealed).unwrap(), [0; 5]);
        assert!(same.open(b"b", &sealed).is_none(), "associated data counts");
        for wrong in ["", "short", &HEX[2..], &format!("{HEX}00"), "AAECAwQ=", &BASE64.replace('=', "")] {
            assert!(CacheKey::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for (mode, taken) in [(0o400, true), (0o600, true), (0o440, true), (0o444, false), (0o660, false)] {
            let read = CacheKey::read(file(HEX, mode).path());
            assert_eq!(read.is_ok(), taken, "{mode:o}: {read:?}");
        }
        let error = CacheKey::read(file(HEX, 0o644).path()).unwrap_err().to_string();
        assert!(error.contains("644") && error.contains("chmod 400"), "{error}");
        let error = CacheKey::read(file("x", 0o400).path()).unwrap_err().to_string();
        assert!(error.contains("openssl rand -base64 32"), "{error}");
        assert!(matches!(CacheKey::read(Path::new("/nowhere/key")), Err(KeyError::Unreadable(_))));
    }

    #[test]
    fn no_two_seals_are_alike() {
        let key = CacheKey::parse(HEX).unwrap();
        let seal = || key.seal(b"a", vec![0; NONCE_LEN + 5]).unwrap();
        assert_ne!(seal()[..NONCE_LEN], seal()[..NONCE_LEN]);
        assert!(!format!("{key:?}").contains("00"));
    }
}
