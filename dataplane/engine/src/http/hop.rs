//! Which fields belong to one connection, and which may not be taken off or smuggled in by naming them.
//!
//! Connection may name private fields of the sender and nothing that routing, framing, trust or authorisation read
//! (CVE-2024-45410 named `X-Forwarded-*`): everything in [`Known`] is out of its reach.

use super::known::Known;
use super::uri::is_token;

/// Whether a field ends at the next hop (RFC 9110 §7.6.1), with those that older standards count among them.
pub fn is_hop_by_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyAuthenticate
            | Known::ProxyAuthorization
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// Whether Connection may take a field of this name off the message.
pub fn may_be_nominated(name: &[u8]) -> bool {
    is_token(name)
        && Known::of(name).is_none()
        && !END_TO_END.iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes()))
}

/// Whether a trailer of this name must not travel (RFC 9110 §6.5.1): framing, routing, authorisation, modifiers.
pub fn is_banned_in_trailers(name: &[u8]) -> bool {
    match Known::of(name) {
        Some(Known::ProxyStatus | Known::Server) => false,
        Some(_) => true,
        None => {
            has_alias_byte(name) || END_TO_END.iter().any(|text| name.eq_ignore_ascii_case(text.as_bytes()))
        }
    }
}

/// Whether a name holds `_`, which many endpoints read as `-`: `X_Forwarded_For` would pass for the real one.
pub fn has_alias_byte(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some()
}

/// Unread here, but load-bearing for endpoints.
const END_TO_END: &[&str] = &[
    "accept-ranges",
    "age",
    "authentication-info",
    "content-range",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "pragma",
    "proxy-authentication-info",
    "retry-after",
    "via",
    "warning",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_cannot_name_what_others_rely_on() {
        for name in [
            "host",
            "Content-Length",
            "x-forwarded-for",
            "X-Forwarded-Anything",
            "authorization",
            "cookie",
            "te",
        ] {
            assert!(!may_be_nominated(name.as_bytes()), "{name}");
        }
        assert!(may_be_nominated(b"x-private"));
        assert!(!may_be_nominated(b"no token"));
    }

    #[test]
    fn trailers_cannot_change_the_message() {
        for name in ["Content-Length", "transfer-encoding", "HOST", "set-cookie", "x_y", "expires"] {
            assert!(is_banned_in_trailers(name.as_bytes()), "{name}");
        }
        for name in ["grpc-status", "server-timing", "x-checksum", "proxy-status"] {
            assert!(!is_banned_in_trailers(name.as_bytes()), "{name}");
        }
    }
}
