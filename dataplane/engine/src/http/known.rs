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
    CdnLoop = "cdn-loop",
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

/// A length and a first byte leave one candidate; its length is a constant, so that a comparison is two words.
macro_rules! by_length_and_first_byte {
    ($name:ident, $first:ident, $($len:literal $byte:literal $variant:ident),+ $(,)?) => {
        match ($name.len(), $first) {
            $(($len, $byte) => is::<$len>($name, Known::$variant.name()).then_some(Known::$variant),)+
            _ => None,
        }
    };
}

impl Known {
    /// Recognises a field name, whatever its case; `name` must be a token. Costs one comparison at most.
    pub fn of(name: &[u8]) -> Option<Known> {
        let first = name.first()? | 0x20;
        if first == b'x' && name.len() >= FORWARDED_PREFIX.len() {
            return Self::of_long_x(name);
        }
        by_length_and_first_byte! { name, first,
            2 b't' Te,
            4 b'd' Date,
            4 b'h' Host,
            4 b'v' Vary,
            5 b'p' Proxy,
            5 b'r' Range,
            6 b'c' Cookie,
            6 b'e' Expect,
            6 b'o' Origin,
            6 b's' Server,
            7 b'r' Referer,
            7 b't' Trailer,
            7 b'u' Upgrade,
            8 b'c' CdnLoop,
            8 b'l' Location,
            9 b'f' Forwarded,
            9 b'x' XRealIp,
            10 b'c' Connection,
            10 b'k' KeepAlive,
            10 b's' SetCookie,
            10 b'u' UserAgent,
            12 b'c' ContentType,
            12 b'p' ProxyStatus,
            13 b'a' Authorization,
            13 b'c' CacheControl,
            14 b'c' ContentLength,
            14 b'h' Http2Settings,
            15 b'a' AcceptEncoding,
            16 b'c' ContentEncoding,
            16 b'p' ProxyConnection,
            16 b'w' WwwAuthenticate,
            17 b't' TransferEncoding,
            18 b'p' ProxyAuthenticate,
            19 b'p' ProxyAuthorization,
        }
    }

    /// The place of this name in a set of bits.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    fn of_long_x(name: &[u8]) -> Option<Known> {
        if name.len() == 12 && is::<12>(name, Known::XRequestId.name()) {
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

/// Whether a token of `N` bytes is `lower` in some case: of all token bytes, this bit turns none but an upper-case
/// letter into a letter, a digit or `-`.
fn is<const N: usize>(token: &[u8], lower: &str) -> bool {
    match (token.first_chunk::<N>(), lower.as_bytes().first_chunk::<N>()) {
        (Some(token), Some(lower)) => token.map(|byte| byte | 0x20) == *lower,
        _ => false,
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
