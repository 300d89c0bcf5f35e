//! The field names that ringress reads, and their recognition by length and first byte.
//!
//! Everything else stays `None`: it travels unread.

macro_rules! known {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A field name that ringress reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $name, "`")] $(#[$doc])* $variant,)+
        }

        impl Known {
            /// Every known name.
            pub const ALL: &[Known] = &[$(Known::$variant),+];

            /// The name in lower case.
            pub const fn name(self) -> &'static str {
                match self { $(Known::$variant => $name,)+ }
            }
        }
    };
}

known! {
    AcceptEncoding = "accept-encoding",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    Http2Settings = "http2-settings",
    KeepAlive = "keep-alive",
    Location = "location",
    Origin = "origin",
    Proxy = "proxy",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    ProxyStatus = "proxy-status",
    Range = "range",
    Referer = "referer",
    Server = "server",
    SetCookie = "set-cookie",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Vary = "vary",
    WwwAuthenticate = "www-authenticate",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    /// and every other name that begins with `x-forwarded-`.
    XForwardedOther = "x-forwarded",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
}

impl Known {
    /// Recognises a field name, whatever its case. Costs one comparison at most.
    pub fn of(name: &[u8]) -> Option<Known> {
        let first = name.first()? | 0x20;
        if first == b'x' && name.len() >= FORWARDED_PREFIX.len() {
            return Self::of_long_x(name);
        }
        let candidate = match (name.len(), first) {
            (2, b't') => Known::Te,
            (4, b'd') => Known::Date,
            (4, b'h') => Known::Host,
            (4, b'v') => Known::Vary,
            (5, b'p') => Known::Proxy,
            (5, b'r') => Known::Range,
            (6, b'c') => Known::Cookie,
            (6, b'e') => Known::Expect,
            (6, b'o') => Known::Origin,
            (6, b's') => Known::Server,
            (7, b'r') => Known::Referer,
            (7, b't') => Known::Trailer,
            (7, b'u') => Known::Upgrade,
            (8, b'l') => Known::Location,
            (9, b'f') => Known::Forwarded,
            (9, b'x') => Known::XRealIp,
            (10, b'c') => Known::Connection,
            (10, b'k') => Known::KeepAlive,
            (10, b's') => Known::SetCookie,
            (10, b'u') => Known::UserAgent,
            (12, b'c') => Known::ContentType,
            (12, b'p') => Known::ProxyStatus,
            (13, b'a') => Known::Authorization,
            (13, b'c') => Known::CacheControl,
            (14, b'c') => Known::ContentLength,
            (14, b'h') => Known::Http2Settings,
            (15, b'a') => Known::AcceptEncoding,
            (16, b'c') => Known::ContentEncoding,
            (16, b'p') => Known::ProxyConnection,
            (16, b'w') => Known::WwwAuthenticate,
            (17, b't') => Known::TransferEncoding,
            (18, b'p') => Known::ProxyAuthenticate,
            (19, b'p') => Known::ProxyAuthorization,
            _ => return None,
        };
        name.eq_ignore_ascii_case(candidate.name().as_bytes()).then_some(candidate)
    }

    /// The place of this name in a set of bits.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    fn of_long_x(name: &[u8]) -> Option<Known> {
        if name.len() == 12 && name.eq_ignore_ascii_case(b"x-request-id") {
            return Some(Known::XRequestId);
        }
        let (prefix, rest) = name.split_at(FORWARDED_PREFIX.len());
        if !prefix.eq_ignore_ascii_case(FORWARDED_PREFIX) {
            return None;
        }
        match rest {
            [] => Some(Known::XForwardedOther),
            // An alias must not pass for one of these names where a trusted peer may send them.
            [b'-', suffix @ ..] if !suffix.contains(&b'_') => Some(Self::of_forwarded(suffix)),
            _ => None,
        }
    }

    fn of_forwarded(suffix: &[u8]) -> Known {
        const NAMED: [(&[u8], Known); 4] = [
            (b"for", Known::XForwardedFor),
            (b"host", Known::XForwardedHost),
            (b"port", Known::XForwardedPort),
            (b"proto", Known::XForwardedProto),
        ];
        let named = NAMED.iter().find(|(text, _)| suffix.eq_ignore_ascii_case(text));
        named.map_or(Known::XForwardedOther, |(_, known)| *known)
    }
}

const FORWARDED_PREFIX: &[u8] = b"x-forwarded";
const _: () = assert!(Known::ALL.len() <= 64, "the set of present fields is one u64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case() {
        for known in Known::ALL {
            assert_eq!(Known::of(known.name().as_bytes()), Some(*known), "{}", known.name());
            assert_eq!(Known::of(known.name().to_uppercase().as_bytes()), Some(*known));
        }
    }

    #[test]
    fn every_forwarding_name_is_one_of_ours() {
        assert_eq!(Known::of(b"X-Forwarded-Prefix"), Some(Known::XForwardedOther));
        assert_eq!(Known::of(b"x-forwarded-"), Some(Known::XForwardedOther));
        assert_eq!(Known::of(b"X-ForwardedFor"), None);
        assert_eq!(Known::of(b"X_Forwarded_For"), None);
        assert_eq!(Known::of(b"X-Forwarded-Client_Cert"), None);
    }

    #[test]
    fn a_neighbour_of_a_known_name_is_unknown() {
        for name in [&b""[..], b"x", b"hos", b"hostt", b"content_length", b"x-request-ix", b"\0\0"] {
            assert_eq!(Known::of(name), None, "{name:?}");
        }
    }
}
