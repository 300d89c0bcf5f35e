//! HTTP/1.1 heads: found byte by byte, parsed once, refused rather than repaired.
//!
//! [`HeadScanner`] looks for the blank line and ends hopeless heads early; [`parse_request`] and [`parse_response`] check
//! the whole head again by themselves, so that neither relies on the other. httparse splits it; on top of that come the
//! rules it does not have: every line ends in CRLF, the target's grammar, versions by name, sizes.

mod scanner;

use std::mem::MaybeUninit;

use httparse::Header;
use memchr::memchr;
use ringress_shared::listener::HeadLimits;

pub use self::scanner::HeadScanner;
pub use crate::http::error::HeadError;
pub use crate::http::framing::ResponseContext;

use crate::http::head::{Field, Head, Span, Version};
use crate::http::known::Known;

/// Parses a whole request head into `head`, whose capacity is reused. One CRLF before it is skipped (RFC 9112 §2.2).
///
/// # Errors
/// Everything that RFC 9112 calls malformed, and what two parsers could read differently; `head` is then meaningless.
pub fn parse_request(bytes: &[u8], limits: &HeadLimits, head: &mut Head) -> Result<(), HeadError> {
    let bytes = begin(bytes.strip_prefix(b"\r\n").unwrap_or(bytes), limits, head)?;
    with_headers(limits, |headers| {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, headers);
        whole(parsed, |error| request_error(error, bytes, &request))?;
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(HeadError::RequestLine);
        };
        head.method = span_in(bytes, method.as_bytes());
        head.target = span_in(bytes, target.as_bytes());
        head.version = version_of(version);
        let line_len = method.len() + target.len() + "  HTTP/1.1".len();
        push_fields(bytes, line_len, request.headers, limits, head)
    })?;
    head.finish_request()
}

/// Parses a whole response head into `head`, whose capacity is reused.
///
/// # Errors
/// As [`parse_request`]; the caller answers 502 to all of them.
pub fn parse_response(
    bytes: &[u8],
    request: ResponseContext,
    limits: &HeadLimits,
    head: &mut Head,
) -> Result<(), HeadError> {
    let bytes = begin(bytes, limits, head)?;
    with_headers(limits, |headers| {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, headers);
        whole(parsed, |error| response_error(error, bytes))?;
        let (Some(version), Some(status @ 100..)) = (response.version, response.code) else {
            return Err(HeadError::StatusLine);
        };
        head.version = version_of(version);
        head.status = status;
        let line_len = memchr(b'\n', bytes).ok_or(HeadError::Incomplete)?.saturating_sub(1);
        // httparse gives an empty phrase where it holds obs-text; the bytes are what we pass on.
        let reason_start = "HTTP/1.1 200 ".len().min(line_len);
        head.reason = Span::between(reason_start, line_len);
        push_fields(bytes, line_len, response.headers, limits, head)
    })?;
    head.finish_response(request)
}

/// Takes the bytes over into an empty head.
fn begin<'a>(bytes: &'a [u8], limits: &HeadLimits, head: &mut Head) -> Result<&'a [u8], HeadError> {
    head.clear();
    if bytes.len() > head_bytes_max(limits) {
        return Err(HeadError::HeadTooLarge);
    }
    // httparse would skip any number of empty lines.
    match bytes.first() {
        None => return Err(HeadError::Incomplete),
        Some(b'\r' | b'\n') => return Err(HeadError::EmptyLine),
        Some(_) => head.bytes.extend_from_slice(bytes),
    }
    Ok(bytes)
}

/// Fills in the fields and proves that every line, the first included, ends in CRLF and the last is blank.
fn push_fields(
    bytes: &[u8],
    first_line_len: usize,
    headers: &[Header<'_>],
    limits: &HeadLimits,
    head: &mut Head,
) -> Result<(), HeadError> {
    if first_line_len > limits.request_line_bytes_max as usize {
        return Err(HeadError::RequestLineTooLong);
    }
    let mut next = after_line_end(bytes, first_line_len)?;
    for header in headers {
        let name = span_in(bytes, header.name.as_bytes());
        let value = span_in(bytes, header.value);
        debug_assert_eq!(usize::from(name.start), next, "httparse skipped something");
        let end = after_blanks(bytes, usize::from(value.start) + usize::from(value.len));
        if end - next > limits.field_bytes_max as usize {
            return Err(HeadError::FieldTooLarge);
        }
        next = after_line_end(bytes, end)?;
        head.fields.push(Field { name, value, known: Known::of(header.name.as_bytes()) });
    }
    match after_line_end(bytes, next)? {
        end if end == bytes.len() => Ok(()),
        _ => Err(HeadError::Incomplete),
    }
}

fn after_blanks(bytes: &[u8], start: usize) -> usize {
    let blanks = bytes[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    start + blanks
}

fn after_line_end(bytes: &[u8], at: usize) -> Result<usize, HeadError> {
    match bytes.get(at..) {
        Some([b'\r', b'\n', ..]) => Ok(at + 2),
        Some([b'\n', ..]) => Err(HeadError::BareLineFeed),
        _ => Err(HeadError::Incomplete),
    }
}

/// Where `part`, a slice of `bytes`, stands in it.
fn span_in(bytes: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr().addr() - bytes.as_ptr().addr();
    Span::between(start, start + part.len())
}

/// Lends room for as many fields as the limits allow, on the stack where that is few.
fn with_headers<'a, T>(
    limits: &HeadLimits,
    parse: impl FnOnce(&mut [MaybeUninit<Header<'a>>]) -> Result<T, HeadError>,
) -> Result<T, HeadError> {
    let count = usize::from(limits.fields_max);
    if count <= FIELDS_ON_STACK {
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        return parse(&mut headers[..count]);
    }
    let mut headers = Vec::new();
    headers.resize_with(count, MaybeUninit::uninit);
    parse(&mut headers)
}

fn whole(
    parsed: httparse::Result<usize>,
    explain: impl FnOnce(httparse::Error) -> HeadError,
) -> Result<(), HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(HeadError::Incomplete),
        Err(error) => Err(explain(error)),
    }
}

fn request_error(error: httparse::Error, bytes: &[u8], request: &httparse::Request<'_, '_>) -> HeadError {
    match error {
        httparse::Error::Version => version_error(bytes, request),
        httparse::Error::Token if request.method.is_some() => HeadError::Target,
        httparse::Error::Token | httparse::Error::Status => HeadError::RequestLine,
        httparse::Error::NewLine if !is_request_line_whole(bytes, request) => HeadError::RequestLine,
        _ => field_error(error),
    }
}

fn response_error(error: httparse::Error, bytes: &[u8]) -> HeadError {
    match error {
        httparse::Error::Version if is_foreign_version(bytes.get(..8).unwrap_or_default()) => {
            HeadError::Version
        }
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => HeadError::StatusLine,
        _ => field_error(error),
    }
}

fn field_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        // What is left is a CR where a name or the blank line should be.
        _ => HeadError::BareCarriageReturn,
    }
}

/// Tells a version that we do not speak (505) from a line that has none (400).
fn version_error(bytes: &[u8], request: &httparse::Request<'_, '_>) -> HeadError {
    let line_end = memchr(b'\r', bytes).unwrap_or(bytes.len());
    match bytes.get(version_start(request)..line_end) {
        Some(version) if is_foreign_version(version) => HeadError::Version,
        _ => HeadError::RequestLine,
    }
}

fn is_request_line_whole(bytes: &[u8], request: &httparse::Request<'_, '_>) -> bool {
    let end = version_start(request) + "HTTP/1.1".len();
    bytes.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n"))
}

fn version_start(request: &httparse::Request<'_, '_>) -> usize {
    request.method.map_or(0, str::len) + request.path.map_or(0, str::len) + 2
}

fn is_foreign_version(text: &[u8]) -> bool {
    match text {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit() && !matches!((major, minor), (b'1', b'0' | b'1'))
        }
        _ => false,
    }
}

fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

fn head_bytes_max(limits: &HeadLimits) -> usize {
    (limits.head_bytes_max as usize).min(Head::BYTES_MAX)
}

const FIELDS_ON_STACK: usize = 128;
