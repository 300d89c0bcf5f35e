//! The address of a peer, as it stands in fields and logs.

use std::fmt::Write as _;
use std::net::IpAddr;

/// A peer's address as text, formatted once per connection. An IPv4 peer of a dual-stack socket shows as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerText {
    text: [u8; PEER_TEXT_BYTES_MAX],
    len: u8,
}

impl PeerText {
    /// Formats an address.
    pub fn new(address: IpAddr) -> PeerText {
        let mut peer = PeerText { text: [0; PEER_TEXT_BYTES_MAX], len: 0 };
        // The longest address fits, so this cannot fail.
        let _ = write!(peer, "{}", address.to_canonical());
        peer
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

impl std::fmt::Write for PeerText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let start = usize::from(self.len);
        let room = self.text.get_mut(start..start + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

/// The longest text of an address: an IPv6 address with an embedded IPv4 one.
const PEER_TEXT_BYTES_MAX: usize = 46;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_shown_as_people_write_them() {
        for (address, text) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(PeerText::new(address.parse().unwrap()).as_bytes(), text.as_bytes());
        }
    }
}
