//! One concrete head: its bytes, and offsets into them.
//!
//! Offsets instead of slices, so that a head may be moved, kept over a retry and reused for the next exchange; `u16`, so
//! that a field costs ten bytes. HTTP/1.1 splits a received head into this form, HTTP/2 pushes its decoded fields into
//! the same form. Invariant: every span lies inside `bytes`.

use smallvec::SmallVec;

use super::error::HeadError;
use super::facts::{self, Facts};
use super::framing::ResponseContext;
use super::known::Known;
use super::uri::is_token;

/// A range of a head's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u16,
    /// Number of bytes.
    pub len: u16,
}

impl Span {
    /// The span of `start..end`. Both must be offsets into a head.
    pub(crate) fn between(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= Head::BYTES_MAX);
        Span { start: start as u16, len: (end - start) as u16 }
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// A part of this span, by offsets into it.
    pub(crate) fn part(self, range: std::ops::Range<usize>) -> Span {
        debug_assert!(range.start <= range.end && range.end <= usize::from(self.len));
        Span { start: self.start + range.start as u16, len: (range.end - range.start) as u16 }
    }

    /// The bytes of this span.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.start) + usize::from(self.len)]
    }
}

/// One field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// As it was sent, case included.
    pub name: Span,
    /// Without the white space around it.
    pub value: Span,
    /// `None` for names that ringress does not read.
    pub known: Option<Known>,
}

/// The version of a message. HTTP/2 heads say 1.1: they may use everything that 1.1 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// The head of a request or a response.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: SmallVec<[Field; 32]>,
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) reason: Span,
    pub(crate) status: u16,
    pub(crate) version: Version,
    /// What the fields mean together.
    pub facts: Facts,
}

impl Head {
    /// The most bytes a head can hold.
    pub const BYTES_MAX: usize = u16::MAX as usize;

    /// An empty head.
    pub fn new() -> Head {
        Head::default()
    }

    /// Forgets everything but the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.method = Span::default();
        self.target = Span::default();
        self.reason = Span::default();
        self.status = 0;
        self.version = Version::default();
        self.facts = Facts::default();
    }

    /// The bytes of a span of this head.
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// How many bytes this head holds.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether this head was never filled.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The method of a request, case-sensitive (RFC 9110 §9.1); empty in a response.
    pub fn method(&self) -> &[u8] {
        self.bytes(self.method)
    }

    /// The target as sent, in whichever form.
    pub fn target(&self) -> &[u8] {
        self.bytes(self.target)
    }

    /// The status of a response; 0 in a request.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase of a response; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.bytes(self.reason)
    }

    /// The version in the first line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in the order they came.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The path of the target, raw: `/` for an absolute target without one, `*` for the whole server.
    pub fn path(&self) -> &[u8] {
        match self.bytes(self.facts.path) {
            // RFC 9112 §3.2.4: the last proxy turns `OPTIONS http://host` into `OPTIONS *`.
            b"" if self.method() == b"OPTIONS" && self.facts.query.is_none() => b"*",
            b"" => b"/",
            path => path,
        }
    }

    /// What follows the `?` of the target; `None` without one.
    pub fn query(&self) -> Option<&[u8]> {
        self.facts.query.map(|span| self.bytes(span))
    }

    /// Host and port as the client named them; empty where an HTTP/1.0 request names none.
    pub fn authority(&self) -> &[u8] {
        self.bytes(self.facts.authority)
    }

    /// The host without its port; an IPv6 address keeps its brackets.
    pub fn hostname(&self) -> &[u8] {
        self.bytes(self.facts.hostname)
    }

    /// The protocol that the peer asked for, or switched to.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.facts.upgrade.map(|span| self.bytes(span))
    }

    /// Whether a field of this name is there. Costs one bit test.
    pub fn has(&self, known: Known) -> bool {
        self.facts.present & known.bit() != 0
    }

    /// The value of the first field of this name.
    pub fn find(&self, known: Known) -> Option<&[u8]> {
        if !self.has(known) {
            return None;
        }
        self.find_all(known).next()
    }

    /// The values of all fields of this name, in order.
    pub fn find_all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |field| field.known == Some(known))
            .map(|field| self.bytes(field.value))
    }

    /// The value of the first field of this name, whatever the case.
    pub fn find_name(&self, name: &[u8]) -> Option<&[u8]> {
        let same = |field: &&Field| self.bytes(field.name).eq_ignore_ascii_case(name);
        self.fields.iter().find(same).map(|field| self.bytes(field.value))
    }

    /// Whether the method is one that may be repeated (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }

    /// Whether Connection asks to remove this field on the way (RFC 9110 §7.6.1).
    pub fn is_nominated(&self, name: &[u8]) -> bool {
        self.facts.nominated.iter().any(|span| self.bytes(*span).eq_ignore_ascii_case(name))
    }

    /// Starts a request that does not come as HTTP/1.1 bytes; fields and [`Head::finish_request`] follow.
    ///
    /// # Errors
    /// [`HeadError::RequestLine`] for a method that is no token, [`HeadError::HeadTooLarge`].
    pub fn begin_request(&mut self, method: &[u8], target: &[u8]) -> Result<(), HeadError> {
        self.clear();
        if !is_token(method) {
            return Err(HeadError::RequestLine);
        }
        self.method = self.push_bytes(method)?;
        self.target = self.push_bytes(target)?;
        Ok(())
    }

    /// Starts a response that does not come as HTTP/1.1 bytes; fields and [`Head::finish_response`] follow.
    pub fn begin_response(&mut self, status: u16) {
        self.clear();
        self.status = status;
    }

    /// Adds a field to a head that was begun.
    ///
    /// # Errors
    /// [`HeadError::FieldName`] and [`HeadError::FieldValue`] for what HTTP/1.1 could not carry,
    /// [`HeadError::HeadTooLarge`].
    pub fn push_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::FieldName);
        }
        if !is_field_value(value) {
            return Err(HeadError::FieldValue);
        }
        let field =
            Field { name: self.push_bytes(name)?, value: self.push_bytes(value)?, known: Known::of(name) };
        self.fields.push(field);
        Ok(())
    }

    /// Checks a request that was begun and computes its facts.
    ///
    /// # Errors
    /// Everything that [`crate::codec::h1::parse_request`] finds in fields and target.
    pub fn finish_request(&mut self) -> Result<(), HeadError> {
        self.facts = facts::of_request(self)?;
        Ok(())
    }

    /// Checks a response that was begun and computes its facts.
    ///
    /// # Errors
    /// Everything that [`crate::codec::h1::parse_response`] finds in status and fields.
    pub fn finish_response(&mut self, request: ResponseContext) -> Result<(), HeadError> {
        self.facts = facts::of_response(self, request)?;
        Ok(())
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Result<Span, HeadError> {
        let start = self.bytes.len();
        if bytes.len() > Self::BYTES_MAX - start {
            return Err(HeadError::HeadTooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(Span::between(start, self.bytes.len()))
    }
}

/// Whether a value can stand in a field line: no control byte but HTAB, no white space around it.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first())
        && !blank(value.last())
        && value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Framing;

    #[test]
    fn a_head_is_worth_boxing_but_not_more() {
        assert!(size_of::<Head>() <= 640, "{}", size_of::<Head>());
        assert_eq!(size_of::<Field>(), 10);
    }

    #[test]
    fn pushed_fields_mean_what_parsed_fields_mean() {
        let mut head = Head::new();
        head.begin_request(b"POST", b"/a?b").unwrap();
        head.push_field(b"host", b"example.com:81").unwrap();
        head.push_field(b"content-length", b"7").unwrap();
        head.finish_request().unwrap();
        assert_eq!((head.path(), head.query()), (&b"/a"[..], Some(&b"b"[..])));
        assert_eq!((head.hostname(), head.facts.port), (&b"example.com"[..], Some(81)));
        assert_eq!(head.facts.framing, Framing::Length(7));
    }

    #[test]
    fn a_pushed_field_cannot_carry_a_line_end() {
        let mut head = Head::new();
        head.begin_request(b"GET", b"/").unwrap();
        for value in [&b"a\r\nb: c"[..], b"a\n", b"\0", b" a", b"a\t"] {
            assert_eq!(head.push_field(b"x", value), Err(HeadError::FieldValue), "{value:?}");
        }
        assert_eq!(head.push_field(b"a b", b""), Err(HeadError::FieldName));
        assert_eq!(head.push_field(b"", b""), Err(HeadError::FieldName));
    }

    #[test]
    fn a_head_never_outgrows_its_offsets() {
        let mut head = Head::new();
        head.begin_request(b"GET", b"/").unwrap();
        let value = vec![b'a'; 40_000];
        head.push_field(b"a", &value).unwrap();
        assert_eq!(head.push_field(b"b", &value), Err(HeadError::HeadTooLarge));
    }
}
