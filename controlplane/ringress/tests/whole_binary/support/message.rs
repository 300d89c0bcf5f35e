//! HTTP/1.1 messages as the tests read them: plainly, by the book, sharing no line with ringress.

use std::io::{self, Read};

/// Header or trailer fields in order of arrival.
pub(crate) type Fields = Vec<(String, String)>;

/// A response as a client saw it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    /// From the status line.
    pub(crate) status: u16,
    /// The whole head, with its blank line.
    pub(crate) head: Vec<u8>,
    /// Header fields.
    pub(crate) fields: Fields,
    /// Content without framing.
    pub(crate) body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub(crate) trailers: Fields,
}

impl Response {
    /// The value of a field, which must stand at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = values_of(&self.fields, name);
        assert!(values.len() <= 1, "{name} stands {} times in {:?}", values.len(), self.fields);
        values.first().copied()
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the sender asked to end the connection.
    pub(crate) fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A request as an upstream saw it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// The whole head, with its blank line.
    pub(crate) head: Vec<u8>,
    /// Header fields.
    pub(crate) fields: Fields,
    /// Content without framing.
    pub(crate) body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub(crate) trailers: Fields,
}

impl Received {
    /// The method of the request line.
    pub(crate) fn method(&self) -> String {
        self.request_line_part(0)
    }

    /// The target of the request line, as sent.
    pub(crate) fn target(&self) -> String {
        self.request_line_part(1)
    }

    /// The value of a field, which must stand at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = values_of(&self.fields, name);
        assert!(values.len() <= 1, "{name} stands {} times in {:?}", values.len(), self.fields);
        values.first().copied()
    }

    fn request_line_part(&self, number: usize) -> String {
        let line = String::from_utf8_lossy(&self.head);
        line.lines().next().and_then(|line| line.split(' ').nth(number)).unwrap_or_default().to_owned()
    }
}

/// All values of a field, in order.
pub(crate) fn values_of<'f>(fields: &'f Fields, name: &str) -> Vec<&'f str> {
    let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

/// Bytes that arrive, kept until a whole message is there.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pending: Vec<u8>,
}

impl Inbox {
    /// Reads one response to a request with `method`, skipping nothing: an interim response is a response.
    ///
    /// # Errors
    /// `UnexpectedEof` where the message ends before its framing says so, or never began.
    pub(crate) fn read_response(&mut self, from: &mut impl Read, method: &str) -> io::Result<Response> {
        let head = self.take_head(from)?;
        let fields = parse_fields(&head);
        let status = status_of(&head).ok_or_else(|| malformed("no status line", &head))?;
        let mut response = Response { status, head, fields, ..Response::default() };
        let bodiless = method == "HEAD" || status == 204 || status == 304 || status < 200;
        if bodiless || (method == "CONNECT" && status < 300) {
            return Ok(response);
        }
        let framing = Framing::of(&response.fields, Framing::UntilClose)?;
        (response.body, response.trailers) = self.take_body(from, framing)?;
        Ok(response)
    }

    /// Reads one request.
    ///
    /// # Errors
    /// `UnexpectedEof` where the message ends before its framing says so, or never began.
    pub(crate) fn read_request(&mut self, from: &mut impl Read) -> io::Result<Received> {
        let head = self.take_head(from)?;
        let fields = parse_fields(&head);
        let framing = Framing::of(&fields, Framing::Length(0))?;
        let (body, trailers) = self.take_body(from, framing)?;
        Ok(Received { head, fields, body, trailers })
    }

    /// Reads a head with its blank line and leaves the rest.
    ///
    /// # Errors
    /// `UnexpectedEof` where no whole head comes.
    pub(crate) fn take_head(&mut self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n\r\n") {
                return Ok(self.split_off(at + 4));
            }
            self.fill(from)?;
        }
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` where fewer come.
    pub(crate) fn take(&mut self, from: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < count {
            self.fill(from)?;
        }
        Ok(self.split_off(count))
    }

    /// Reads until the other side ends.
    ///
    /// # Errors
    /// As reading gives them; a reset is an error, too.
    pub(crate) fn take_all(&mut self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        from.read_to_end(&mut self.pending)?;
        Ok(std::mem::take(&mut self.pending))
    }

    /// What has arrived and is not taken yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    fn take_body(&mut self, from: &mut impl Read, framing: Framing) -> io::Result<(Vec<u8>, Fields)> {
        match framing {
            Framing::Length(length) => Ok((self.take(from, length)?, Fields::new())),
            Framing::UntilClose => Ok((self.take_all(from)?, Fields::new())),
            Framing::Chunked => self.take_chunks(from),
        }
    }

    fn take_chunks(&mut self, from: &mut impl Read) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line(from)?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size)
                .ok()
                .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
            let size = size.ok_or_else(|| malformed("no chunk size", &line))?;
            if size == 0 {
                return Ok((body, self.take_trailers(from)?));
            }
            body.extend(self.take(from, size)?);
            let end = self.take(from, 2)?;
            if end != b"\r\n" {
                return Err(malformed("no line end after a chunk", &end));
            }
        }
    }

    fn take_trailers(&mut self, from: &mut impl Read) -> io::Result<Fields> {
        let mut trailers = Fields::new();
        loop {
            let line = self.take_line(from)?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.extend(parse_field(&line));
        }
    }

    fn take_line(&mut self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n") {
                let mut line = self.split_off(at + 2);
                line.truncate(at);
                return Ok(line);
            }
            self.fill(from)?;
        }
    }

    fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match retried(|| from.read(&mut buffer))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.pending.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    fn split_off(&mut self, count: usize) -> Vec<u8> {
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(fields: &Fields, otherwise: Self) -> io::Result<Self> {
        if !values_of(fields, "transfer-encoding").is_empty() {
            return Ok(Self::Chunked);
        }
        match values_of(fields, "content-length").first() {
            Some(text) => text.parse().map(Self::Length).map_err(|_| malformed("no length", text.as_bytes())),
            None => Ok(otherwise),
        }
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(head.get(..13)?).into_owned();
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

fn parse_fields(head: &[u8]) -> Fields {
    let lines =
        head.split(|byte| *byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter_map(parse_field).collect()
}

fn parse_field(line: &[u8]) -> Option<(String, String)> {
    let line = String::from_utf8_lossy(line).into_owned();
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

/// Where `needle` begins in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Repeats what a signal interrupted: with a timeout on the socket the kernel does not do it by itself.
pub(crate) fn retried<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn malformed(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {:?}", String::from_utf8_lossy(bytes)))
}
