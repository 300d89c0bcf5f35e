//! Answers of our own.

use super::{FORWARD_BYTES_EXTRA, PRODUCT, line, number_line, write_persistence, write_status_line};
use crate::http::head::{Version, is_field_value};
use crate::http::status;

/// An answer of our own: a status, one line for people and a token for machines.
#[derive(Debug, Clone, Copy)]
pub struct LocalAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The RFC 9209 error token; `None` where nothing went wrong, as in a redirect.
    pub error: Option<&'a str>,
    /// Plain text, with its line end.
    pub body: &'a [u8],
    /// Further fields; one whose value would end its line is left out.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// The current date in the form of RFC 9110 §5.6.7.
    pub date: &'a [u8],
    /// The client's version.
    pub version: Version,
    /// Whether the request was HEAD: the length is announced and the body left out.
    pub head: bool,
    /// Whether the client's connection may go on.
    pub keep_alive: bool,
}

/// Appends an answer of our own, body included.
pub fn write_local_answer(answer: &LocalAnswer<'_>, out: &mut Vec<u8>) {
    out.reserve(answer.body.len() + FORWARD_BYTES_EXTRA);
    write_status_line(answer.status, status::reason(answer.status).as_bytes(), out);
    line(out, b"Date", answer.date);
    line(out, b"Server", PRODUCT);
    let bodiless = answer.status < 200 || matches!(answer.status, 204 | 304);
    if !bodiless {
        line(out, b"Content-Type", b"text/plain; charset=utf-8");
        number_line(out, b"Content-Length", answer.body.len() as u64);
    }
    if let Some(error) = answer.error {
        out.extend_from_slice(b"Proxy-Status: ringress; error=");
        out.extend_from_slice(error.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in answer.fields.iter().filter(|(_, value)| is_field_value(value)) {
        line(out, name.as_bytes(), value);
    }
    write_persistence(answer.version, answer.keep_alive, out);
    out.extend_from_slice(b"\r\n");
    if !bodiless && !answer.head {
        out.extend_from_slice(answer.body);
    }
}

/// The interim answer to an expectation that we meet ourselves.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
