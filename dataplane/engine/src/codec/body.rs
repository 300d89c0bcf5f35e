//! Finds the data and the end of a body in the bytes after a head.
//!
//! Data is never copied: events name ranges of the input. Chunk extensions are counted and forgotten. Trailers are kept,
//! up to their limits, without those that could change the message (RFC 9110 §6.5.1).
//!
//! ```text
//!  Size ──digit──▶ Size ──;──▶ Extension ──CR──▶ SizeLf ──LF──▶ Data(n) ──n bytes──▶ DataCr ──▶ DataLf ──▶ Size
//!    └──CR──────────────────────────────────────▲  │ size 0
//!                                                  └──────────▶ Trailers ──blank line──▶ Done
//! ```

mod trailers;

use std::fmt;
use std::ops::Range;

use ringress_shared::listener::HeadLimits;

pub use self::trailers::Trailers;

use crate::http::error::HeadError;
use crate::http::framing::Framing;

/// What one call found, and how much of the input is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that need not be given again; the data of the event is among them.
    pub consumed: usize,
    /// What was found.
    pub event: BodyEvent,
}

/// One step through a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// Data at this range of the input; never empty.
    Data(Range<usize>),
    /// Everything was consumed and the body goes on.
    NeedMore,
    /// The body is complete; what was not consumed is not part of it.
    End,
}

/// Why a body cannot be read on. The connection that it came from is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// A chunk size is no plain hexadecimal number of at most 16 digits below 2^63.
    ChunkSize,
    /// Chunk extensions hold a control byte or are longer than anyone needs.
    ChunkExtension,
    /// The data of a chunk is not followed by CRLF.
    ChunkEnd,
    /// A trailer is malformed.
    Trailer(HeadError),
    /// Trailers exceed a limit.
    TrailersTooLarge,
    /// The connection ended inside the body.
    Truncated,
}

impl BodyError {
    /// The status that a client whose body is like this gets.
    pub fn status(self) -> u16 {
        match self {
            Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }

    /// The RFC 9209 error token for a request like this.
    pub fn token(self) -> &'static str {
        "http_request_error"
    }

    /// The RFC 9209 error token for a response like this.
    pub fn response_token(self) -> &'static str {
        match self {
            Self::ChunkSize | Self::ChunkExtension | Self::ChunkEnd => "http_response_transfer_coding",
            Self::Trailer(_) => "http_protocol_error",
            Self::TrailersTooLarge => "http_response_trailer_section_size",
            Self::Truncated => "http_response_incomplete",
        }
    }

    /// One line for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::ChunkSize => "invalid chunk size",
            Self::ChunkExtension => "invalid chunk extension",
            Self::ChunkEnd => "chunk does not end in CRLF",
            Self::Trailer(_) => "invalid trailer",
            Self::TrailersTooLarge => "trailers too large",
            Self::Truncated => "incomplete body",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for BodyError {}

/// Reads one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    extension_bytes: u32,
    trailer_bytes_max: u32,
    trailers_max: u16,
    /// Boxed where there are any: hardly any body has them.
    trailers: Option<Box<Trailers>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size { digits: u8, size: u64 },
    Extension { line_bytes: u16, size: u64 },
    SizeLf { size: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl BodyDecoder {
    /// Reads a body framed like this, with the default limits for trailers.
    pub fn new(framing: Framing) -> BodyDecoder {
        Self::with_limits(framing, &HeadLimits::default())
    }

    /// Reads a body framed like this.
    pub fn with_limits(framing: Framing, limits: &HeadLimits) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => CHUNK_START,
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder {
            state,
            extension_bytes: 0,
            trailer_bytes_max: limits.trailer_bytes_max,
            trailers_max: limits.trailers_max,
            trailers: None,
        }
    }

    /// Whether the end was found.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The trailers that may travel; `None` where there are none, or not yet.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref().filter(|trailers| self.is_done() && !trailers.is_empty())
    }

    /// Takes the next step. Call again with what was not consumed after [`BodyEvent::Data`], with more input after
    /// [`BodyEvent::NeedMore`].
    ///
    /// # Errors
    /// For chunked bodies only, see [`BodyError`].
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Decoded { consumed: at, event: BodyEvent::End }),
                State::Length(_) | State::UntilClose | State::Data(_) => {
                    return Ok(self.data(at, input.len()));
                }
                _ if at == input.len() => return Ok(Decoded { consumed: at, event: BodyEvent::NeedMore }),
                State::Trailers => at += self.trailer(&input[at..])?,
                _ => {
                    self.step(input[at])?;
                    at += 1;
                }
            }
        }
    }

    /// The connection ended. Fine for a body that ends with it, or had ended before.
    ///
    /// # Errors
    /// [`BodyError::Truncated`].
    pub fn finish_on_close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    fn data(&mut self, start: usize, input_len: usize) -> Decoded {
        let available = (input_len - start) as u64;
        let (left, done) = match self.state {
            State::Length(left) => (left, State::Done),
            State::Data(left) => (left, State::DataCr),
            _ => (u64::MAX, State::UntilClose),
        };
        let taken = left.min(available);
        if taken == 0 {
            return Decoded { consumed: start, event: BodyEvent::NeedMore };
        }
        self.state = match self.state {
            _ if taken == left => done,
            State::Length(left) => State::Length(left - taken),
            State::Data(left) => State::Data(left - taken),
            same => same,
        };
        let end = start + taken as usize;
        Decoded { consumed: end, event: BodyEvent::Data(start..end) }
    }

    /// One byte of a size line or of the CRLF after data.
    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => add_digit(digits, size, byte)?,
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { line_bytes: 0, size },
            (State::Size { .. }, _) => return Err(BodyError::ChunkSize),
            (State::Extension { size, .. }, b'\r') => State::SizeLf { size },
            (State::Extension { line_bytes, size }, _) => self.add_extension(line_bytes, size, byte)?,
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
            (State::SizeLf { size }, b'\n') => State::Data(size),
            (State::SizeLf { .. }, _) => return Err(BodyError::ChunkSize),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => CHUNK_START,
            _ => return Err(BodyError::ChunkEnd),
        };
        Ok(())
    }

    fn add_extension(&mut self, line_bytes: u16, size: u64, byte: u8) -> Result<State, BodyError> {
        self.extension_bytes += 1;
        let readable = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        let room = line_bytes < EXTENSION_LINE_BYTES_MAX && self.extension_bytes <= EXTENSION_BYTES_MAX;
        if !readable || !room {
            return Err(BodyError::ChunkExtension);
        }
        Ok(State::Extension { line_bytes: line_bytes + 1, size })
    }

    /// Takes input up to the next line end of the trailers.
    fn trailer(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        if self.trailers.is_none() && input.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok(2);
        }
        let trailers = self.trailers.get_or_insert_default();
        let (taken, complete) = trailers.feed(input, self.trailer_bytes_max as usize)?;
        if complete {
            trailers.parse(usize::from(self.trailers_max))?;
            self.state = State::Done;
        }
        Ok(taken)
    }
}

fn add_digit(digits: u8, size: u64, byte: u8) -> Result<State, BodyError> {
    let value = (byte as char).to_digit(16).map_or(0, u64::from);
    let size = (size << 4) | value;
    // 16 digits cannot overflow u64; 2^63 and more would overflow what others compute with it.
    if digits == CHUNK_SIZE_DIGITS_MAX || size > i64::MAX as u64 {
        return Err(BodyError::ChunkSize);
    }
    Ok(State::Size { digits: digits + 1, size })
}

const CHUNK_START: State = State::Size { digits: 0, size: 0 };
const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
const EXTENSION_LINE_BYTES_MAX: u16 = 256;
const EXTENSION_BYTES_MAX: u32 = 16 * 1024;
