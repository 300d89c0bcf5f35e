//! What the fields of one head mean together, found in one walk over them.
//!
//! Syntax is the parser's business; this is where a well-formed head can still be refused.

use smallvec::SmallVec;

use super::error::HeadError;
use super::forward;
use super::framing::{self, Coding, Framing, Length, ResponseContext};
use super::head::{Head, Span, Version};
use super::hop;
use super::known::Known;
use super::uri::{self, is_token};

/// The meaning of a head, computed once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// How the body ends.
    pub framing: Framing,
    /// Content-Length as announced, also where no body follows (HEAD, 304); `None` where Transfer-Encoding overrides it.
    pub content_length: Option<u64>,
    /// Whether the sender wants and is able to go on with this connection.
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=N` of a response, in seconds.
    pub keep_alive_secs: Option<u32>,
    /// The protocol asked for (requests: GET, 1.1, without body, one protocol, not h2c) or switched to (101).
    pub upgrade: Option<Span>,
    /// `Expect: 100-continue` with a body to wait for.
    pub expect_continue: bool,
    /// `TE: trailers`: the client reads trailers.
    pub te_trailers: bool,
    /// Host and port as named by the client; empty where an HTTP/1.0 request names none.
    pub authority: Span,
    /// The host alone; IPv6 in brackets.
    pub hostname: Span,
    /// The port in Host; `None` where it is left out or empty.
    pub port: Option<u16>,
    /// The path of the target; [`Head::path`] fills in what an absolute target leaves out.
    pub path: Span,
    /// What follows the `?`.
    pub query: Option<Span>,
    /// How often the message went through ringress before: our marks in `CDN-Loop` (RFC 8586).
    pub passes: u16,
    /// Fields that Connection takes off the message, without those it may not name.
    pub nominated: SmallVec<[Span; 4]>,
    pub(crate) present: u64,
}

/// Checks and understands a request whose first line and fields are filled in.
pub(crate) fn of_request(head: &Head) -> Result<Facts, HeadError> {
    let seen = Seen::walk(head)?;
    let mut facts = Facts {
        framing: framing::of_request(head.version, seen.length, seen.coding)?,
        keep_alive: seen.keep_alive(head.version),
        te_trailers: seen.te_trailers,
        passes: seen.passes,
        present: seen.present,
        ..Facts::default()
    };
    if let Framing::Length(bytes) = facts.framing {
        facts.content_length = Some(bytes);
    }
    let bodiless = matches!(facts.framing, Framing::None | Framing::Length(0));
    facts.expect_continue = seen.expects_continue(head, bodiless)?;
    facts.upgrade = if bodiless { seen.request_upgrade(head) } else { None };
    locate(head, &seen, &mut facts)?;
    facts.nominated = seen.nominated;
    Ok(facts)
}

/// Checks and understands a response whose first line and fields are filled in.
pub(crate) fn of_response(head: &Head, request: ResponseContext) -> Result<Facts, HeadError> {
    let seen = Seen::walk(head)?;
    let framed = framing::of_response(head.status, head.version, request, seen.length, seen.coding)?;
    let switched = head.status == 101;
    if switched && !(request.upgrade && seen.upgrade.is_some_and(|protocol| !protocol.is_empty())) {
        return Err(HeadError::UnexpectedUpgrade);
    }
    Ok(Facts {
        framing: framed.framing,
        content_length: framed.length,
        keep_alive: framed.clean && !switched && seen.keep_alive(head.version),
        keep_alive_secs: keep_alive_secs(head, &seen),
        upgrade: if switched { seen.upgrade } else { None },
        present: seen.present,
        nominated: seen.nominated,
        ..Facts::default()
    })
}

/// Finds host, path and query, and compares the target with Host (RFC 9112 §3.2).
fn locate(head: &Head, seen: &Seen, facts: &mut Facts) -> Result<(), HeadError> {
    if seen.hosts > 1 {
        return Err(HeadError::HostRepeated);
    }
    let target = uri::parse_target(head.method(), head.target())?;
    facts.path = head.target.part(target.path);
    facts.query = target.query.map(|range| head.target.part(range));
    let named = target.authority.map(|range| head.target.part(range));
    facts.authority = match (seen.host, named) {
        (Some(host), Some(named)) if !head.bytes(host).eq_ignore_ascii_case(head.bytes(named)) => {
            return Err(HeadError::HostMismatch);
        }
        (Some(host), _) => host,
        (None, _) if head.version == Version::Http11 => return Err(HeadError::HostMissing),
        (None, Some(named)) => named,
        (None, None) => return Ok(()),
    };
    let authority = uri::parse_authority(head.bytes(facts.authority))?;
    facts.hostname = facts.authority.part(0..authority.hostname_len);
    facts.port = authority.port;
    Ok(())
}

fn keep_alive_secs(head: &Head, seen: &Seen) -> Option<u32> {
    if seen.present & Known::KeepAlive.bit() == 0 {
        return None;
    }
    let field = head.fields.iter().find(|field| field.known == Some(Known::KeepAlive))?;
    list(head.bytes(field.value)).find_map(|(_, item)| {
        let (name, value) = item.split_at_checked(b"timeout=".len())?;
        let digits = value.iter().all(u8::is_ascii_digit) && name.eq_ignore_ascii_case(b"timeout=");
        if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
    })
}

/// What one walk over the fields collects, before it is known what it adds up to.
#[derive(Default)]
struct Seen {
    present: u64,
    length: Length,
    coding: Coding,
    host: Option<Span>,
    hosts: u16,
    upgrade: Option<Span>,
    upgrades: u16,
    expectations: u16,
    te_trailers: bool,
    passes: u16,
    options: u16,
    close: bool,
    keep: bool,
    upgrading: bool,
    nominated: SmallVec<[Span; 4]>,
}

impl Seen {
    fn walk(head: &Head) -> Result<Seen, HeadError> {
        let mut seen = Seen::default();
        for field in &head.fields {
            if let Some(known) = field.known {
                seen.present |= known.bit();
                seen.add(known, field.value, head.bytes(field.value))?;
            }
        }
        Ok(seen)
    }

    fn add(&mut self, known: Known, span: Span, value: &[u8]) -> Result<(), HeadError> {
        match known {
            Known::Host => {
                self.host = Some(span);
                self.hosts += 1;
            }
            Known::ContentLength => self.length.add(value),
            Known::TransferEncoding => self.coding.add(value),
            Known::Connection => self.add_options(span, value)?,
            Known::Upgrade => {
                self.upgrade = Some(span);
                self.upgrades += 1;
            }
            Known::Expect => self.expectations += 1,
            Known::CdnLoop => {
                let ours = list(value).filter(|(_, item)| is_our_mark(item)).count();
                self.passes = self.passes.saturating_add(ours.try_into().unwrap_or(u16::MAX));
            }
            Known::Te => {
                self.te_trailers |= list(value).any(|(_, item)| item.eq_ignore_ascii_case(b"trailers"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_options(&mut self, span: Span, value: &[u8]) -> Result<(), HeadError> {
        for (start, option) in list(value) {
            self.options += 1;
            if self.options > CONNECTION_OPTIONS_MAX {
                return Err(HeadError::ConnectionOptions);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrading = true;
            } else if hop::may_be_nominated(option) {
                self.nominated.push(span.part(start..start + option.len()));
            }
        }
        Ok(())
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep)
    }

    /// An expectation without a body to wait for is dropped: endpoints disagree on whether one follows.
    fn expects_continue(&self, head: &Head, bodiless: bool) -> Result<bool, HeadError> {
        // RFC 9110 §10.1.1: an HTTP/1.0 expectation is ignored.
        if self.expectations == 0 || head.version == Version::Http10 {
            return Ok(false);
        }
        let one = self.expectations == 1
            && head.fields.iter().any(|field| {
                field.known == Some(Known::Expect)
                    && head.bytes(field.value).eq_ignore_ascii_case(b"100-continue")
            });
        if one { Ok(!bodiless) } else { Err(HeadError::Expectation) }
    }

    /// An upgrade that cannot be forwarded is no error: RFC 9110 §7.8 lets a recipient ignore it.
    fn request_upgrade(&self, head: &Head) -> Option<Span> {
        let asked = self.upgrading && self.upgrades == 1 && head.version == Version::Http11;
        if !asked || head.method() != b"GET" {
            return None;
        }
        self.upgrade.filter(|span| is_one_protocol(head.bytes(*span)))
    }
}

/// RFC 8586 §2: a name, and parameters that are none of our business.
fn is_our_mark(item: &[u8]) -> bool {
    let name = item.split(|byte| *byte == b';').next().unwrap_or(item);
    name.trim_ascii_end().eq_ignore_ascii_case(forward::PRODUCT)
}

/// One `token[/token]`; h2c would tunnel requests past every rule.
fn is_one_protocol(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |byte| *byte == b'/');
    parts.all(is_token) && !value.eq_ignore_ascii_case(b"h2c")
}

/// The items of a comma-separated list without the blanks around them, with their offsets; empty ones are skipped.
fn list(value: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    value.split(|byte| *byte == b',').filter_map(move |item| {
        let start = next + (item.len() - item.trim_ascii_start().len());
        next += item.len() + 1;
        let item = item.trim_ascii();
        (!item.is_empty()).then_some((start, item))
    })
}

/// Every field is compared with every option: without a bound, one head costs milliseconds.
const CONNECTION_OPTIONS_MAX: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_with_offsets() {
        let items: Vec<_> = list(b" a, ,bc ,\td").collect();
        assert_eq!(items, [(1, &b"a"[..]), (5, b"bc"), (10, b"d")]);
    }

    #[test]
    fn our_mark_is_a_name_with_or_without_parameters() {
        for ours in ["ringress", "Ringress", "ringress;hop=1", "ringress ; hop=1"] {
            assert!(is_our_mark(ours.as_bytes()), "{ours}");
        }
        for others in ["", "ringress2", "cdn;by=ringress", "ringress.example"] {
            assert!(!is_our_mark(others.as_bytes()), "{others}");
        }
    }

    #[test]
    fn protocols_are_one_token_with_a_version() {
        for good in ["websocket", "SPDY/3.1", "tcp"] {
            assert!(is_one_protocol(good.as_bytes()), "{good}");
        }
        for bad in ["", "h2c", "H2C", "websocket, h2c", "a/", "/b", "a b", "a/b/c"] {
            assert!(!is_one_protocol(bad.as_bytes()), "{bad}");
        }
    }
}
