//! The head that an endpoint sees.

use super::edit::{Edit, is_edited, keep, write_edits};
use super::peer::PeerText;
use super::{FORWARD_BYTES_EXTRA, PRODUCT, Scheme, line, write_framing};
use crate::http::framing::Framing;
use crate::http::head::{Field, Head, Span, is_field_value};
use crate::http::hop;
use crate::http::known::Known;
use crate::http::uri;

/// How a request is forwarded. Everything in it comes from the connection, the listener or a policy.
#[derive(Debug, Clone, Copy)]
pub struct ForwardRequest<'a> {
    /// The address that the connection came from.
    pub peer: &'a PeerText,
    /// The client behind the trusted proxies; else the peer.
    pub client: &'a PeerText,
    /// Whether that peer's own forwarding fields are believed.
    pub trusted: bool,
    /// What the client spoke to us.
    pub scheme: Scheme,
    /// The port that clients see.
    pub public_port: u16,
    /// Stands in where the client sent no usable X-Request-ID. Visible ASCII.
    pub request_id: &'a [u8],
    /// Path and query that replace the client's; bytes that a target cannot hold are escaped.
    pub target: Option<&'a [u8]>,
    /// Host and port that replace the client's.
    pub host: Option<&'a [u8]>,
    /// Whether the upgrade that the client asked for is forwarded.
    pub upgrade: bool,
    /// What policies change.
    pub edits: &'a [Edit<'a>],
}

/// Appends the head that goes to the endpoint. The body follows as `head.facts.framing` says.
pub fn write_request(head: &Head, forward: &ForwardRequest<'_>, out: &mut Vec<u8>) {
    out.reserve(head.len() + FORWARD_BYTES_EXTRA);
    write_request_line(head, forward, out);
    let mut request = RequestWriter { head, forward, out, framed: false, id: usable_id(head) };
    // RFC 9112 §3.2: Host is always sent; an HTTP/1.0 client may have sent none.
    if !head.has(Known::Host) {
        request.host(b"Host");
    }
    for field in &head.fields {
        request.field(field);
    }
    request.finish();
}

struct RequestWriter<'a> {
    head: &'a Head,
    forward: &'a ForwardRequest<'a>,
    out: &'a mut Vec<u8>,
    framed: bool,
    /// The client's request id, where it is fit to be kept.
    id: Option<Span>,
}

impl RequestWriter<'_> {
    fn field(&mut self, field: &Field) {
        let name = self.head.bytes(field.name);
        let Some(known) = field.known else {
            if !hop::has_alias_byte(name) && !self.head.is_nominated(name) {
                self.keep(field);
            }
            return;
        };
        match known {
            Known::Host => self.host(name),
            // RFC 8586 §2.1: neither removed nor changed.
            Known::CdnLoop => line(self.out, name, self.head.bytes(field.value)),
            Known::ContentLength | Known::TransferEncoding => self.framing(name),
            Known::Expect if self.head.facts.expect_continue => line(self.out, name, b"100-continue"),
            Known::Expect | Known::Proxy | Known::XForwardedFor | Known::XRealIp => {}
            Known::Trailer if self.head.facts.framing != Framing::Chunked => {}
            Known::Forwarded
            | Known::XForwardedHost
            | Known::XForwardedOther
            | Known::XForwardedPort
            | Known::XForwardedProto
                if !self.forward.trusted => {}
            Known::XRequestId if self.id.is_none() => {}
            known if hop::is_hop_by_hop(known) => {}
            _ => self.keep(field),
        }
    }

    fn host(&mut self, name: &[u8]) {
        let host = self.forward.host.filter(|host| is_field_value(host));
        line(self.out, name, host.unwrap_or(self.head.authority()));
    }

    fn framing(&mut self, name: &[u8]) {
        if !std::mem::replace(&mut self.framed, true) {
            write_framing(self.head.facts.framing, Some(name), self.out);
        }
    }

    fn keep(&mut self, field: &Field) {
        keep(self.head, field, self.forward.edits, self.out);
    }

    fn finish(mut self) {
        if !self.framed {
            write_framing(self.head.facts.framing, None, self.out);
        }
        self.connection();
        self.forwarding();
        write_edits(self.forward.edits, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// RFC 9110 §10.1.4 and §7.8: whoever sends TE or Upgrade names them in Connection.
    fn connection(&mut self) {
        match self.head.upgrade() {
            Some(protocol) if self.forward.upgrade => {
                line(self.out, b"Connection", b"upgrade");
                line(self.out, b"Upgrade", protocol);
            }
            _ if self.head.facts.te_trailers => {
                self.out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n")
            }
            _ => {}
        }
    }

    fn forwarding(&mut self) {
        line(self.out, b"CDN-Loop", PRODUCT);
        self.forwarded_for();
        let host = self.head.authority();
        if !host.is_empty() {
            self.claim(Known::XForwardedHost, b"X-Forwarded-Host", host);
        }
        let mut digits = itoa::Buffer::new();
        let port = digits.format(self.forward.public_port).as_bytes();
        self.claim(Known::XForwardedPort, b"X-Forwarded-Port", port);
        self.claim(Known::XForwardedProto, b"X-Forwarded-Proto", self.forward.scheme.text().as_bytes());
        if !is_edited(self.forward.edits, b"X-Real-IP") {
            line(self.out, b"X-Real-IP", self.forward.client.as_bytes());
        }
        if self.id.is_none() && !is_edited(self.forward.edits, b"X-Request-ID") {
            line(self.out, b"X-Request-ID", self.forward.request_id);
        }
    }

    /// States something about the client, unless a believed peer or a policy has stated it already.
    fn claim(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let believed = self.forward.trusted && self.head.has(known);
        if !believed && !is_edited(self.forward.edits, name) {
            line(self.out, name, value);
        }
    }

    fn forwarded_for(&mut self) {
        if is_edited(self.forward.edits, b"X-Forwarded-For") {
            return;
        }
        self.out.extend_from_slice(b"X-Forwarded-For: ");
        if self.forward.trusted {
            for before in self.head.find_all(Known::XForwardedFor).filter(|before| !before.is_empty()) {
                self.out.extend_from_slice(before);
                self.out.extend_from_slice(b", ");
            }
        }
        self.out.extend_from_slice(self.forward.peer.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}

/// The client's request id, where it is fit to be sent on: what the endpoint and the log both see.
pub fn client_request_id(head: &Head) -> Option<&[u8]> {
    usable_id(head).map(|span| head.bytes(span))
}

/// The client's id is kept if it is one, and cannot break a log line.
fn usable_id(head: &Head) -> Option<Span> {
    let mut ids = head.fields.iter().filter(|field| field.known == Some(Known::XRequestId));
    if !head.has(Known::XRequestId) {
        return None;
    }
    let id = ids.next()?.value;
    let text = head.bytes(id);
    let sane =
        !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.iter().all(u8::is_ascii_graphic);
    (sane && ids.next().is_none()).then_some(id)
}

fn write_request_line(head: &Head, forward: &ForwardRequest<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method());
    out.push(b' ');
    match forward.target {
        Some(target) => uri::write_escaped(target, out),
        None => write_origin_form(head, out),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_origin_form(head: &Head, out: &mut Vec<u8>) {
    out.extend_from_slice(head.path());
    if let Some(query) = head.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

const REQUEST_ID_BYTES_MAX: usize = 128;
