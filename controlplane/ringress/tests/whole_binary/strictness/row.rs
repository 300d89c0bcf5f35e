//! One case, and the words that cases are written in.

/// One case: bytes in, what comes back, what got through.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) source: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Allowed statuses, answer by answer.
    pub(super) answers: Vec<Vec<u16>>,
    pub(super) ending: Ending,
    pub(super) reaches: Reaches,
    /// What the upstreams must have received, in any case.
    pub(super) present: Vec<String>,
    /// What they must not have received, in any case.
    pub(super) absent: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The connection ends after the last answer, and that answer says so.
    Closed,
    /// The standard leaves it open.
    Either,
}

pub(super) enum Reaches {
    /// Not one byte.
    Nothing,
    /// At most the beginning of a request that never completes.
    NoWholeRequest,
    /// These requests and no others, as upstream and target.
    Requests(Vec<(&'static str, &'static str)>),
}

/// A row whose request is refused with 400 before anything is forwarded.
pub(super) fn refused(source: &'static str, name: &str, bytes: impl AsRef<[u8]>) -> Row {
    Row {
        name: name.to_owned(),
        source,
        bytes: bytes.as_ref().to_vec(),
        answers: vec![vec![400]],
        ending: Ending::Closed,
        reaches: Reaches::Nothing,
        present: Vec::new(),
        absent: Vec::new(),
    }
}

/// A row whose requests are served with 200 each.
pub(super) fn served(
    source: &'static str,
    name: &str,
    bytes: impl AsRef<[u8]>,
    requests: &[(&'static str, &'static str)],
) -> Row {
    Row {
        answers: vec![vec![200]; requests.len()],
        ending: Ending::Either,
        reaches: Reaches::Requests(requests.to_vec()),
        ..refused(source, name, bytes)
    }
}

impl Row {
    /// Other statuses of the one refusal.
    pub(super) fn with(mut self, statuses: &[u16]) -> Self {
        self.answers = vec![statuses.to_vec()];
        self
    }

    /// The fault stands in the body, so the head may be on its way already.
    pub(super) fn in_body(mut self) -> Self {
        self.reaches = Reaches::NoWholeRequest;
        self
    }

    /// These requests are answered before the fault.
    pub(super) fn after(mut self, requests: &[(&'static str, &'static str)]) -> Self {
        self.answers = requests.iter().map(|_| vec![200]).chain(self.answers).collect();
        self.reaches = Reaches::Requests(requests.to_vec());
        self
    }

    /// The connection may stay.
    pub(super) fn may_stay(mut self) -> Self {
        self.ending = Ending::Either;
        self
    }

    pub(super) fn present(mut self, text: &str) -> Self {
        self.present.push(text.to_owned());
        self
    }

    pub(super) fn absent(mut self, text: &str) -> Self {
        self.absent.push(text.to_owned());
        self
    }
}

pub(super) const OPEN: &[(&str, &str)] = &[("open", "/")];
pub(super) const TWO: &[(&str, &str)] = &[("open", "/"), ("open", "/second")];
pub(super) const SMUGGLED: &str = "GET /admin/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
pub(super) const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";

pub(super) fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

pub(super) fn get_target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

pub(super) fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{body}")
}

pub(super) fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A head with raw bytes in the middle.
pub(super) fn bytes(before: &str, middle: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), middle, after.as_bytes()].concat()
}
