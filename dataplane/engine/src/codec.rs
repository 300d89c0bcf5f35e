//! Bytes to heads and body events, and back. Nothing is borrowed: an event names ranges of the buffer it was given.
//!
//! Law of every decoder here: the same events, after joining adjacent data, whether fed whole or byte by byte.

pub mod body;
pub mod encode;
pub mod h1;

pub use body::{BodyDecoder, BodyError, BodyEvent, Decoded, Trailers};
pub use h1::{HeadScanner, parse_request, parse_response};
