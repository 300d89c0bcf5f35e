//! The fields after the last chunk: collected up to a limit, parsed like the fields of a head, and sifted.

use std::ops::Range;

use httparse::Header;
use memchr::memchr;
use smallvec::SmallVec;

use super::BodyError;
use crate::http::error::HeadError;
use crate::http::hop;

/// The trailers of one body that may travel on.
#[derive(Debug, Clone, Default)]
pub struct Trailers {
    bytes: Vec<u8>,
    line_start: usize,
    fields: SmallVec<[(Range<u32>, Range<u32>); 4]>,
}

impl Trailers {
    /// Names and values in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (self.bytes(name), self.bytes(value)))
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Takes bytes up to a line end. Returns how many, and whether that line was the blank one.
    pub(super) fn feed(&mut self, input: &[u8], bytes_max: usize) -> Result<(usize, bool), BodyError> {
        let line_feed = memchr(b'\n', input);
        let taken = line_feed.map_or(input.len(), |at| at + 1);
        if self.bytes.len() + taken > bytes_max {
            return Err(BodyError::TrailersTooLarge);
        }
        self.bytes.extend_from_slice(&input[..taken]);
        if line_feed.is_none() {
            return Ok((taken, false));
        }
        let line = &self.bytes[self.line_start..];
        if !line.ends_with(b"\r\n") {
            return Err(BodyError::Trailer(HeadError::BareLineFeed));
        }
        let blank = line.len() == 2;
        self.line_start = self.bytes.len();
        Ok((taken, blank))
    }

    /// Splits the collected section, whose lines all end in CRLF.
    pub(super) fn parse(&mut self, fields_max: usize) -> Result<(), BodyError> {
        let mut headers = vec![httparse::EMPTY_HEADER; fields_max];
        let found = match httparse::parse_headers(&self.bytes, &mut headers) {
            Ok(httparse::Status::Complete((_, found))) => found,
            Ok(httparse::Status::Partial) => return Err(BodyError::Trailer(HeadError::Incomplete)),
            Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TrailersTooLarge),
            Err(httparse::Error::HeaderValue) => return Err(BodyError::Trailer(HeadError::FieldValue)),
            Err(_) => return Err(BodyError::Trailer(HeadError::FieldName)),
        };
        self.fields = found
            .iter()
            .filter(|header| !hop::is_banned_in_trailers(header.name.as_bytes()))
            .map(|header| self.ranges(header))
            .collect();
        Ok(())
    }

    fn ranges(&self, header: &Header<'_>) -> (Range<u32>, Range<u32>) {
        let range = |part: &[u8]| {
            let start = (part.as_ptr().addr() - self.bytes.as_ptr().addr()) as u32;
            start..start + part.len() as u32
        };
        (range(header.name.as_bytes()), range(header.value))
    }

    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}
