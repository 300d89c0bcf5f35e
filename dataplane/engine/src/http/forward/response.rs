//! The head that a client sees.

use super::edit::{Edit, is_edited, keep, write_edits};
use super::{FORWARD_BYTES_EXTRA, PRODUCT, line, write_framing, write_persistence, write_status_line};
use crate::http::framing::Framing;
use crate::http::head::{Field, Head, Version};
use crate::http::hop;
use crate::http::known::Known;

/// How a response is forwarded.
#[derive(Debug, Clone, Copy)]
pub struct ForwardResponse<'a> {
    /// The client's version: a 1.0 client cannot read chunks.
    pub version: Version,
    /// Whether the request was HEAD.
    pub head: bool,
    /// Whether the client's connection may go on after this response.
    pub keep_alive: bool,
    /// The current date in the form of RFC 9110 §5.6.7.
    pub date: &'a [u8],
    /// What policies change.
    pub edits: &'a [Edit<'a>],
}

/// What a client may expect after the head that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientBody {
    /// How the body must be written.
    pub framing: Framing,
    /// Whether the connection goes on afterwards; the head says so too.
    pub keep_alive: bool,
}

/// Appends the head that goes to the client, and says how the body must follow. An interim response (1xx) is for
/// HTTP/1.1 clients only; the caller drops it for others.
pub fn write_response(head: &Head, forward: &ForwardResponse<'_>, out: &mut Vec<u8>) -> ClientBody {
    out.reserve(head.len() + FORWARD_BYTES_EXTRA);
    write_status_line(head.status, head.reason(), out);
    let body = client_body(head, forward);
    let mut response = ResponseWriter { head, forward, body, out, framed: false };
    for field in &head.fields {
        response.field(field);
    }
    response.finish();
    body
}

struct ResponseWriter<'a> {
    head: &'a Head,
    forward: &'a ForwardResponse<'a>,
    body: ClientBody,
    out: &'a mut Vec<u8>,
    framed: bool,
}

impl ResponseWriter<'_> {
    fn field(&mut self, field: &Field) {
        let name = self.head.bytes(field.name);
        match field.known {
            None if self.head.is_nominated(name) => {}
            Some(Known::ContentLength | Known::TransferEncoding) => self.framing(Some(name)),
            Some(Known::Trailer) if self.body.framing != Framing::Chunked => {}
            Some(known) if hop::is_hop_by_hop(known) => {}
            _ => keep(self.head, field, self.forward.edits, self.out),
        }
    }

    fn finish(mut self) {
        if self.head.status >= 200 {
            self.framing(None);
            self.supply(Known::Date, b"Date", self.forward.date);
            self.supply(Known::Server, b"Server", PRODUCT);
            write_persistence(self.forward.version, self.body.keep_alive, self.out);
        } else if let Some(protocol) = self.head.upgrade() {
            line(self.out, b"Connection", b"upgrade");
            line(self.out, b"Upgrade", protocol);
        }
        write_edits(self.forward.edits, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    fn framing(&mut self, name: Option<&[u8]>) {
        if std::mem::replace(&mut self.framed, true) {
            return;
        }
        // The length of what HEAD would have got, or of what a 304 stands for, is told though no body follows.
        let framing = match (self.body.framing, self.head.facts.content_length) {
            (Framing::None, Some(bytes)) => Framing::Length(bytes),
            (framing, _) => framing,
        };
        write_framing(framing, name, self.out);
    }

    fn supply(&mut self, known: Known, name: &[u8], value: &[u8]) {
        if !self.head.has(known) && !is_edited(self.forward.edits, name) {
            line(self.out, name, value);
        }
    }
}

fn client_body(head: &Head, forward: &ForwardResponse<'_>) -> ClientBody {
    if head.status < 200 {
        // An interim response says nothing about the connection; after a 101 it is no longer ours.
        return ClientBody { framing: Framing::None, keep_alive: forward.keep_alive && head.status != 101 };
    }
    match head.facts.framing {
        Framing::Chunked | Framing::UntilClose if forward.version == Version::Http10 => {
            ClientBody { framing: Framing::UntilClose, keep_alive: false }
        }
        Framing::UntilClose => ClientBody { framing: Framing::Chunked, keep_alive: forward.keep_alive },
        framing => ClientBody { framing, keep_alive: forward.keep_alive },
    }
}
