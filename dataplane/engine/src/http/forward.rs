//! Writes the heads that leave us: requests towards an endpoint, responses towards a client, and our own answers.
//!
//! One walk over the fields, one contiguous buffer; order and case of names stay. What one connection owns is taken off,
//! what framing says is written anew from [`Facts`](super::Facts), never copied, and what an untrusted client claims
//! about itself is replaced. Invariant: nothing that this file writes holds a line end that it did not mean.

mod answer;
mod client;
mod edit;
mod peer;
mod request;
mod response;

pub use answer::{CONTINUE, LocalAnswer, write_local_answer};
pub use client::client_address;
pub use edit::Edit;
pub use peer::PeerText;
pub use request::{ForwardRequest, client_request_id, write_request};
pub use response::{ClientBody, ForwardResponse, write_response};

use super::framing::Framing;
use super::head::Version;
use super::known::Known;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme as it stands in a URI.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What we call ourselves: in `CDN-Loop` towards endpoints, and in `Server` where an endpoint does not name itself.
pub const PRODUCT: &[u8] = b"ringress";

fn write_status_line(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn write_framing(framing: Framing, name: Option<&[u8]>, out: &mut Vec<u8>) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(bytes) => {
            number_line(out, name_or(name, Known::ContentLength, b"Content-Length"), bytes);
        }
        Framing::Chunked => {
            line(out, name_or(name, Known::TransferEncoding, b"Transfer-Encoding"), b"chunked");
        }
    }
}

/// The sender's spelling, where it is a spelling of this very name.
fn name_or<'a>(name: Option<&'a [u8]>, known: Known, ours: &'a [u8]) -> &'a [u8] {
    name.filter(|name| name.len() == known.name().len()).unwrap_or(ours)
}

fn write_persistence(version: Version, keep_alive: bool, out: &mut Vec<u8>) {
    match (version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => line(out, b"Connection", b"keep-alive"),
        (_, false) => line(out, b"Connection", b"close"),
    }
}

fn number_line(out: &mut Vec<u8>, name: &[u8], value: u64) {
    line(out, name, itoa::Buffer::new().format(value).as_bytes());
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What our own fields add to a head, about.
const FORWARD_BYTES_EXTRA: usize = 320;
