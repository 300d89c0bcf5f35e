//! The head of an answer, as strictly as a client needs it to know where the answer ends.

use std::fmt;

/// What a client needs to know of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    /// Length of the head itself.
    pub(crate) head_bytes: usize,
    /// From `Content-Length`.
    pub(crate) body_bytes: usize,
    /// The proxy ends the connection after this answer.
    pub(crate) closes: bool,
}

/// Why the bytes are no answer that this client can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    Syntax(httparse::Error),
    /// The origin declares a length; a proxy that drops it or chunks the body has changed the workload.
    NoLength,
    BadLength,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Syntax(error) => write!(f, "{error}"),
            Malformed::NoLength => f.write_str("no Content-Length"),
            Malformed::BadLength => f.write_str("Content-Length is no number, or there are two"),
        }
    }
}

/// The head at the start of `bytes`; `None` while it is not complete.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<AnswerHead>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let (head_bytes, status) = match head.parse(bytes).map_err(Malformed::Syntax)? {
        httparse::Status::Complete(head_bytes) => (head_bytes, head.code.unwrap_or(0)),
        httparse::Status::Partial => return Ok(None),
    };
    let mut body_bytes = None;
    let mut closes = head.version == Some(0);
    for field in head.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let length = length(field.value).ok_or(Malformed::BadLength)?;
            if body_bytes.replace(length).is_some() {
                return Err(Malformed::BadLength);
            }
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    let body_bytes = body_bytes.ok_or(Malformed::NoLength)?;
    Ok(Some(AnswerHead { status, head_bytes, body_bytes, closes }))
}

fn length(value: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(value).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Option<AnswerHead>, Malformed>) {
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn a_whole_head_is_understood_and_a_part_is_not_yet() {
        let text = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 1024\r\n\r\n";
        for end in 0..text.len() {
            check(&text[..end], Ok(None));
        }
        let head = AnswerHead { status: 200, head_bytes: text.len(), body_bytes: 1024, closes: false };
        check(text, Ok(Some(head)));
        check(&format!("{text}body"), Ok(Some(head)));
    }

    #[test]
    fn the_announced_end_is_seen() {
        let text = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        check(
            text,
            Ok(Some(AnswerHead { status: 502, head_bytes: text.len(), body_bytes: 0, closes: true })),
        );
        let text = "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n";
        check(
            text,
            Ok(Some(AnswerHead { status: 200, head_bytes: text.len(), body_bytes: 7, closes: true })),
        );
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Malformed::NoLength));
        for wrong in ["", "+5", "-1", "5, 5", "0x10", "99999999999999999999999"] {
            check(&format!("HTTP/1.1 200 OK\r\nContent-Length: {wrong}\r\n\r\n"), Err(Malformed::BadLength));
        }
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Err(Malformed::BadLength));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert!(matches!(parse(b"SSH-2.0-x\r\n\r\n"), Err(Malformed::Syntax(_))));
    }
}
