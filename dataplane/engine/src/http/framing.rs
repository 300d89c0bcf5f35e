//! How the end of a body is found (RFC 9112 §6.3), stricter than the standard where it leaves a choice.
//!
//! Requests: Content-Length beside Transfer-Encoding, repeated lengths and codings other than one `chunked` are refused,
//! whatever the method. Responses: both together drop the length and give the connection up; every other doubt is a 502.

use super::error::HeadError;
use super::head::{Head, Version};
use super::uri::is_token;

/// How the body after a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After this many bytes; zero is not the same as none, it was announced.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// What a response's framing depends on in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseContext {
    /// The method was HEAD: no body follows, whatever the fields say.
    pub head: bool,
    /// We forwarded an Upgrade: only then may a 101 come.
    pub upgrade: bool,
}

impl ResponseContext {
    /// The context of the response to this request, of which the upgrade was forwarded or not.
    pub fn of(request: &Head, upgrade: bool) -> ResponseContext {
        ResponseContext { head: request.method() == b"HEAD", upgrade: upgrade && request.upgrade().is_some() }
    }
}

/// The Content-Length fields of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Length {
    #[default]
    Absent,
    Bytes(u64),
    Repeated,
    Invalid,
}

impl Length {
    pub(crate) fn add(&mut self, value: &[u8]) {
        *self = match (*self, parse_length(value)) {
            (Self::Absent, Some(bytes)) => Self::Bytes(bytes),
            (Self::Absent, None) if value.contains(&b',') => Self::Repeated,
            (Self::Absent, None) => Self::Invalid,
            _ => Self::Repeated,
        };
    }

    fn bytes(self) -> Result<Option<u64>, HeadError> {
        match self {
            Self::Absent => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Repeated => Err(HeadError::ContentLengthRepeated),
            Self::Invalid => Err(HeadError::ContentLengthInvalid),
        }
    }
}

/// The Transfer-Encoding fields of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Coding {
    #[default]
    Absent,
    Chunked,
    /// A coding that we do not know, where it could have been meant.
    Unknown,
    Invalid,
}

impl Coding {
    pub(crate) fn add(&mut self, value: &[u8]) {
        *self = match *self {
            Self::Absent => Self::of(value),
            _ => Self::Invalid,
        };
    }

    fn of(value: &[u8]) -> Self {
        if value.eq_ignore_ascii_case(b"chunked") {
            return Self::Chunked;
        }
        let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let is = |name: &[u8], text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        let mut items = 0;
        let mut chunked = 0;
        let mut last_chunked = false;
        for name in names {
            if !is_token(name) || is(name, "identity") {
                return Self::Invalid;
            }
            last_chunked = is(name, "chunked");
            chunked += usize::from(last_chunked);
            items += 1;
        }
        // `gzip, chunked` is framed, by a coding that we lack; `chunked, gzip` is not framed at all.
        match (items, chunked) {
            (1, 0) => Self::Unknown,
            (_, 1) if last_chunked => Self::Unknown,
            _ => Self::Invalid,
        }
    }

    fn check(self) -> Result<bool, HeadError> {
        match self {
            Self::Absent => Ok(false),
            Self::Chunked => Ok(true),
            Self::Unknown => Err(HeadError::TransferCodingUnknown),
            Self::Invalid => Err(HeadError::TransferCodingInvalid),
        }
    }
}

/// The framing of a request.
pub(crate) fn of_request(version: Version, length: Length, coding: Coding) -> Result<Framing, HeadError> {
    if coding != Coding::Absent && length != Length::Absent {
        return Err(HeadError::LengthAndCoding);
    }
    if coding != Coding::Absent && version == Version::Http10 {
        return Err(HeadError::TransferCodingVersion);
    }
    if coding.check()? {
        return Ok(Framing::Chunked);
    }
    Ok(length.bytes()?.map_or(Framing::None, Framing::Length))
}

/// The framing of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseFraming {
    pub(crate) framing: Framing,
    /// The length as announced; `None` where a coding overrides it.
    pub(crate) length: Option<u64>,
    /// Whether the next response on this connection can be told from the rest of this one.
    pub(crate) clean: bool,
}

pub(crate) fn of_response(
    status: u16,
    version: Version,
    request: ResponseContext,
    length: Length,
    coding: Coding,
) -> Result<ResponseFraming, HeadError> {
    if coding != Coding::Absent && version == Version::Http10 {
        return Err(HeadError::TransferCodingVersion);
    }
    let chunked = coding.check()?;
    let bytes = length.bytes()?;
    let announced = chunked || bytes.is_some_and(|bytes| bytes > 0);
    if status < 200 {
        return if announced { Err(HeadError::InterimWithBody) } else { Ok(BODILESS) };
    }
    let length = if chunked { None } else { bytes };
    if status == 204 {
        // Who announces a body with a 204 may well send it.
        return Ok(ResponseFraming { clean: !announced, ..BODILESS });
    }
    if request.head || status == 304 {
        // HEAD may announce chunks (RFC 9112 §6.1); a 304 that does may well send the last one.
        return Ok(ResponseFraming { length, clean: request.head || !chunked, ..BODILESS });
    }
    let framing = match length {
        _ if chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        None => Framing::UntilClose,
    };
    let clean = framing != Framing::UntilClose && !(chunked && bytes.is_some());
    Ok(ResponseFraming { framing, length, clean })
}

const BODILESS: ResponseFraming = ResponseFraming { framing: Framing::None, length: None, clean: true };

/// Digits only: `str::parse` takes `+5`, and a length of 2^63 or more would overflow what others compute with it.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    let mut bytes = 0u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return None;
        }
        bytes = bytes.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (bytes <= i64::MAX as u64).then_some(bytes)
}

const LENGTH_DIGITS_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_digits() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"007"), Some(7));
        assert_eq!(parse_length(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in
            ["", "+5", "-1", " 5", "5 ", "0x5", "5,5", "1e3", "9223372036854775808", "99999999999999999999"]
        {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn codings_are_one_chunked() {
        let of = |values: &[&str]| {
            let mut coding = Coding::Absent;
            values.iter().for_each(|value| coding.add(value.as_bytes()));
            coding
        };
        assert_eq!(of(&["chunked"]), Coding::Chunked);
        assert_eq!(of(&["Chunked"]), Coding::Chunked);
        assert_eq!(of(&["gzip"]), Coding::Unknown);
        assert_eq!(of(&["gzip, chunked"]), Coding::Unknown);
        for bad in [
            &["chunked", "chunked"][..],
            &["gzip", "chunked"],
            &["chunked, chunked"],
            &["chunked, gzip"],
            &["identity"],
            &["chunked, identity"],
            &["chunked;q=1"],
            &["chunked,"],
            &[",chunked"],
            &[""],
            &["\"chunked\""],
        ] {
            let coding = of(bad);
            assert!(matches!(coding, Coding::Invalid | Coding::Unknown), "{bad:?}: {coding:?}");
        }
    }
}
