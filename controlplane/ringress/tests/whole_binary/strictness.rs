//! Every strictness rule and every framing or path vulnerability of the last years, as a row of raw bytes.
//!
//! Two scripted upstreams stand behind one shard: `open` takes `/`, `admin` takes `/admin`. After each row a sentinel goes
//! the same way, over whatever pooled connections the row left behind, so that a byte that slipped through shows up either
//! in the record of an upstream or as a spoiled sentinel.

use crate::support::manifest::{self, Ingress};
use crate::support::message::values_of;
use crate::support::{Client, Driver, Launch, Received, Response, Ringress, Upstream, on_both_drivers};

on_both_drivers! {
    fn every_row_is_refused_or_served_as_the_standard_says(driver) {
        let house = House::start(driver);
        let rows = all_rows();
        let failures: Vec<_> = rows.iter().filter_map(|row| house.check(row).err()).collect();
        println!("strictness on {}: {} of {}", driver.as_str(), rows.len() - failures.len(), rows.len());
        assert!(rows.len() >= 120, "rows were lost");
        assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
    }

    fn hosts_and_paths_match_alike_however_many_there_are(driver) {
        // CVE-2026-27587, CVE-2026-27588: another code path above a number of hosts forgot to fold case.
        for hosts in [1, 99, 101, 10_000] {
            let upstream = Upstream::named("open");
            let ingress = (0..hosts).fold(Ingress::new("many"), |ingress, number| {
                ingress.route(&format!("h{number}.test"), "/API", "Prefix", "open", "80")
            });
            let ringress = Launch::new(driver)
                .shards(1)
                .manifests(&[ingress.yaml(), manifest::service("open"), manifest::endpoints("open", &[upstream.address()])])
                .start();
            let last = hosts - 1;
            for (host, target, expected) in [
                (format!("h{last}.test"), "/API", 200),
                (format!("H{last}.TEST"), "/API", 200),
                (format!("h{last}.Test:8080"), "/API/x", 200),
                (format!("h{last}.test."), "/API", 200),
                (format!("h{last}.test"), "/%41PI", 200),
                (format!("h{last}.test"), "/api", 404),
                (format!("h{last}.test"), "/%61PI", 404),
                (format!("h{hosts}.test"), "/API", 404),
            ] {
                assert_eq!(ringress.get(&host, target).status, expected, "{hosts} hosts: {host}{target}");
            }
        }
    }
}

/// The process and its two upstreams.
struct House {
    ringress: Ringress,
    open: Upstream,
    admin: Upstream,
}

impl House {
    fn start(driver: Driver) -> Self {
        let (open, admin) = (Upstream::named("open"), Upstream::named("admin"));
        let ingress =
            Ingress::simple("house", "a.test", "open").route("a.test", "/admin", "Prefix", "admin", "80");
        let ringress = Launch::new(driver)
            .shards(1)
            .manifests(&[
                ingress.yaml(),
                manifest::service("open"),
                manifest::service("admin"),
                manifest::endpoints("open", &[open.address()]),
                manifest::endpoints("admin", &[admin.address()]),
            ])
            .start();
        Self { ringress, open, admin }
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        self.open.forget();
        self.admin.forget();
        self.check_answers(row)
            .and_then(|()| self.check_sentinels())
            .and_then(|()| self.check_reached(row))
            .map_err(|why| format!("  {} [{}]: {why}", row.name, row.source))
    }

    fn check_answers(&self, row: &Row) -> Result<(), String> {
        let mut client = self.ringress.client();
        // A refusal may come before the last byte is written; what counts is the answer.
        drop(client.try_send(&row.bytes));
        let method = if row.bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        for (number, allowed) in row.answers.iter().enumerate() {
            let answer = final_answer(&mut client, method)
                .map_err(|error| format!("answer {number}: {error}, not {allowed:?}"))?;
            if !allowed.contains(&answer.status) {
                return Err(format!("answer {number} is {}, not {allowed:?}", answer.status));
            }
            check_head(&answer)?;
            let refused = row.ending == Ending::Closed && number + 1 == row.answers.len();
            if refused && !answer.says_close() {
                return Err(format!("answer {number} does not say that the connection ends"));
            }
        }
        check_ending(row, &mut client)
    }

    fn check_sentinels(&self) -> Result<(), String> {
        for target in ["/sentinel", "/admin/sentinel"] {
            let answer = self
                .ringress
                .client()
                .try_get("a.test", target)
                .map_err(|error| format!("{target}: {error}"))?;
            if answer.status != 200 || !answer.text().starts_with(&format!("GET {target} HTTP/1.1\r\n")) {
                return Err(format!("{target} got the answer {} {:?}", answer.status, answer.text()));
            }
        }
        Ok(())
    }

    fn check_reached(&self, row: &Row) -> Result<(), String> {
        for (name, upstream) in [("open", &self.open), ("admin", &self.admin)] {
            let reached = Reached::of(upstream);
            match &row.reaches {
                Reaches::Nothing if !reached.bytes.is_empty() => {
                    return Err(format!("{name} received {:?}", String::from_utf8_lossy(&reached.bytes)));
                }
                Reaches::NoWholeRequest if !reached.requests.is_empty() => {
                    return Err(format!("{name} received {:?}", reached.targets()));
                }
                Reaches::Requests(expected) => {
                    let expected: Vec<_> =
                        expected.iter().filter(|(to, _)| *to == name).map(|(_, target)| *target).collect();
                    if reached.targets() != expected {
                        return Err(format!("{name} received {:?}, not {expected:?}", reached.targets()));
                    }
                }
                Reaches::Nothing | Reaches::NoWholeRequest => {}
            }
        }
        self.check_text(row)
    }

    fn check_text(&self, row: &Row) -> Result<(), String> {
        let bytes = [Reached::of(&self.open).bytes, Reached::of(&self.admin).bytes].concat();
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some(missing) = row.present.iter().find(|part| !text.contains(&part.to_ascii_lowercase())) {
            return Err(format!("{missing:?} did not reach the upstream: {text:?}"));
        }
        match row.absent.iter().find(|part| text.contains(&part.to_ascii_lowercase())) {
            Some(leaked) => Err(format!("{leaked:?} reached the upstream: {text:?}")),
            None => Ok(()),
        }
    }
}

/// Answers carry what the conformance suites ask of every answer, and each framing field at most once.
fn check_head(answer: &Response) -> Result<(), String> {
    for name in ["date", "content-length"] {
        if values_of(&answer.fields, name).len() != 1 {
            return Err(format!("{name} does not stand once in {:?}", answer.fields));
        }
    }
    match values_of(&answer.fields, "server").len() {
        1 => Ok(()),
        count => Err(format!("server stands {count} times")),
    }
}

/// The next answer that is no interim one.
fn final_answer(client: &mut Client, method: &str) -> std::io::Result<Response> {
    loop {
        let answer = client.read(method)?;
        if answer.status >= 200 {
            return Ok(answer);
        }
    }
}

fn check_ending(row: &Row, client: &mut Client) -> Result<(), String> {
    match row.ending {
        Ending::Closed if client.is_closed().is_none() => {
            Err("the connection did not end after the last answer".into())
        }
        Ending::Closed | Ending::Either => Ok(()),
    }
}

/// What reached an upstream, without the sentinel.
struct Reached {
    bytes: Vec<u8>,
    requests: Vec<Received>,
}

impl Reached {
    fn of(upstream: &Upstream) -> Self {
        let is_sentinel = |request: &Received| request.target().ends_with("/sentinel");
        let (sentinels, requests): (Vec<_>, Vec<_>) = upstream.requests().into_iter().partition(is_sentinel);
        let mut bytes = upstream.bytes();
        for sentinel in sentinels {
            if let Some(at) = crate::support::message::find(&bytes, &sentinel.head) {
                bytes.drain(at..at + sentinel.head.len());
            }
        }
        Self { bytes, requests }
    }

    fn targets(&self) -> Vec<String> {
        self.requests.iter().map(Received::target).collect()
    }
}

/// One case: bytes in, what comes back, what got through.
struct Row {
    name: String,
    source: &'static str,
    bytes: Vec<u8>,
    /// Allowed statuses, answer by answer.
    answers: Vec<Vec<u16>>,
    ending: Ending,
    reaches: Reaches,
    /// What the upstreams must have received, in any case.
    present: Vec<String>,
    /// What they must not have received, in any case.
    absent: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The connection ends after the last answer, and that answer says so.
    Closed,
    /// The standard leaves it open.
    Either,
}

enum Reaches {
    /// Not one byte.
    Nothing,
    /// At most the beginning of a request that never completes.
    NoWholeRequest,
    /// These requests and no others, as upstream and target.
    Requests(Vec<(&'static str, &'static str)>),
}

/// A row whose request is refused with 400 before anything is forwarded.
fn refused(source: &'static str, name: &str, bytes: impl AsRef<[u8]>) -> Row {
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
fn served(
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
    fn with(mut self, statuses: &[u16]) -> Self {
        self.answers = vec![statuses.to_vec()];
        self
    }

    /// The fault stands in the body, so the head may be on its way already.
    fn in_body(mut self) -> Self {
        self.reaches = Reaches::NoWholeRequest;
        self
    }

    /// These requests are answered before the fault.
    fn after(mut self, requests: &[(&'static str, &'static str)]) -> Self {
        self.answers = requests.iter().map(|_| vec![200]).chain(self.answers).collect();
        self.reaches = Reaches::Requests(requests.to_vec());
        self
    }

    /// The connection may stay.
    fn may_stay(mut self) -> Self {
        self.ending = Ending::Either;
        self
    }

    fn present(mut self, text: &str) -> Self {
        self.present.push(text.to_owned());
        self
    }

    fn absent(mut self, text: &str) -> Self {
        self.absent.push(text.to_owned());
        self
    }
}

const OPEN: &[(&str, &str)] = &[("open", "/")];
const TWO: &[(&str, &str)] = &[("open", "/"), ("open", "/second")];
const SMUGGLED: &str = "GET /admin/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

fn get_target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A head with raw bytes in the middle.
fn bytes(before: &str, middle: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), middle, after.as_bytes()].concat()
}

fn all_rows() -> Vec<Row> {
    let groups = [
        length_beside_chunked(),
        transfer_codings(),
        lengths(),
        line_ends(),
        folded_lines(),
        field_names(),
        field_values(),
        request_lines(),
        targets(),
        chunks(),
        trailers(),
        hosts(),
        forms_of_targets(),
        aliases(),
        forwarding_fields(),
        connection_fields(),
        bodies(),
        upgrades(),
        unread_bodies(),
        expectations(),
        limits(),
        paths(),
        refused_paths(),
    ];
    groups.into_iter().flatten().collect()
}

fn length_beside_chunked() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §6.1";
    let smuggle = format!("0\r\n\r\n{SMUGGLED}");
    vec![
        refused(
            SOURCE,
            "Content-Length before chunked",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "chunked before Content-Length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "CL.TE with a second request",
            post("Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", &smuggle),
        ),
        refused(
            SOURCE,
            "TE.CL with a second request",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                &format!("2f\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            ),
        ),
        refused(
            SOURCE,
            "a length of zero beside chunked",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &smuggle),
        ),
        refused(
            SOURCE,
            "both in a GET",
            get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        refused(
            SOURCE,
            "a length beside identity",
            post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
        )
        .with(&[400, 501]),
        refused(
            SOURCE,
            "chunked between two lengths",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
    ]
}

fn transfer_codings() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §6.1, CVE-2026-2835";
    let mut rows: Vec<_> = [
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "identity, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked; x",
        "\"chunked\"",
        "gzip",
        "",
        "chunked,",
        ",chunked",
        ", chunked",
        "chu\tnked",
        "chun ked",
        "chunked\u{b}",
        "trailers",
        "cow",
    ]
    .into_iter()
    .map(|coding| {
        let bytes = post(&format!("Transfer-Encoding: {coding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        refused(SOURCE, &format!("Transfer-Encoding {coding:?}"), bytes).with(&[400, 501])
    })
    .collect();
    rows.extend([
        refused(SOURCE, "chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked and identity in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked and an empty field", post("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked in HTTP/1.0", format!("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        refused(SOURCE, "chunked with keep-alive in HTTP/1.0", format!("POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        refused(SOURCE, "a NUL in the coding", bytes("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked", b"\0", "\r\n\r\n0\r\n\r\n")),
        served("RFC 9110 §10.1.4", "the coding in another case", post("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), OPEN).present("hello"),
        served("RFC 9110 §5.5", "white space around the coding", post("Transfer-Encoding: \tchunked \t\r\n", "5\r\nhello\r\n0\r\n\r\n"), OPEN).present("hello"),
    ]);
    rows
}

fn lengths() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §8.6, RFC 9112 §6.3";
    let mut rows: Vec<_> = [
        "+5",
        "-5",
        "-0",
        "5 5",
        "5,5",
        "5, 5",
        "5, 6",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "5;",
        "\"5\"",
        "five",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999",
        "\u{665}",
    ]
    .into_iter()
    .map(|length| {
        refused(
            SOURCE,
            &format!("Content-Length {length:?}"),
            post(&format!("Content-Length: {length}\r\n"), "hello"),
        )
    })
    .collect();
    rows.extend([
        refused("CVE-2023-40225", "an empty length", post("Content-Length:\r\n", "hello")),
        refused("CVE-2023-40225", "a length of white space", post("Content-Length: \t \r\n", "hello")),
        refused(
            SOURCE,
            "two lengths that differ",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ),
        refused(SOURCE, "two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        refused(
            SOURCE,
            "a length and an empty one",
            post("Content-Length: 5\r\nContent-Length:\r\n", "hello"),
        ),
        refused(
            SOURCE,
            "two lengths in another case",
            post("content-length: 5\r\nCONTENT-LENGTH: 0\r\n", "hello"),
        ),
        refused(SOURCE, "a length with a vertical tab", post("Content-Length: 5\u{b}\r\n", "hello")),
        refused(
            SOURCE,
            "two lengths in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
        ),
        served(SOURCE, "white space around a length", post("Content-Length: \t5 \r\n", "hello"), OPEN)
            .present("hello"),
    ]);
    rows
}

fn line_ends() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §2.2";
    vec![
        refused(SOURCE, "a bare LF after the request line", "GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "bare LFs everywhere", "GET / HTTP/1.1\nHost: a.test\n\n"),
        refused(SOURCE, "a bare LF after a field", get("X: y\nZ: z\r\n")),
        refused(
            SOURCE,
            "a bare LF that hides chunked",
            post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "a bare LF as the blank line", "GET / HTTP/1.1\r\nHost: a.test\r\n\nX: y\r\n\r\n"),
        refused(SOURCE, "LF CR as the blank line", "GET / HTTP/1.1\r\nHost: a.test\r\n\n\r\r\n\r\n"),
        refused(SOURCE, "a bare CR in a value", get("X: y\rZ: z\r\n")),
        refused(
            SOURCE,
            "a bare CR that hides chunked",
            post("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "CR CR LF after a field", get("X: y\r\r\n")),
        refused(SOURCE, "a bare CR in a name", get("X\rY: z\r\n")),
        refused(SOURCE, "a bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a CR at the end of the version", "GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
        served(
            SOURCE,
            "one empty line before the request",
            "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            OPEN,
        ),
        refused(
            SOURCE,
            "two empty lines before the request",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        refused(SOURCE, "an LF before the request", "\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a CR before the request", "\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "white space before the request", " GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ]
}

fn folded_lines() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §5.2";
    vec![
        refused(SOURCE, "a value folded by a space", get("X: y\r\n z\r\n")),
        refused(SOURCE, "a value folded by a tab", get("X: y\r\n\tz\r\n")),
        refused(SOURCE, "a folded Host", "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n"),
        refused(
            SOURCE,
            "a folded coding",
            post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(
            SOURCE,
            "chunked behind a fold",
            post("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(
            "RFC 9112 §2.2",
            "white space before the first field",
            "GET / HTTP/1.1\r\n Host: a.test\r\nHost: a.test\r\n\r\n",
        ),
        refused(SOURCE, "a line of white space alone", get(" \r\n")),
    ]
}

fn field_names() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §5.1, RFC 9112 §5.1";
    let names = [
        "X Y", "X(", "X[", "X{", "X\"", "X/", "X\\", "X@", "X,", "X;", "X=", "X?", "X<", "\u{e9}", "X\u{7f}",
        "X\u{1}",
    ];
    let mut rows: Vec<_> = names
        .into_iter()
        .map(|name| refused(SOURCE, &format!("the field name {name:?}"), get(&format!("{name}: v\r\n"))))
        .collect();
    rows.extend([
        refused("CVE-2023-25725", "an empty field name", get(": v\r\n")),
        refused(
            "CVE-2023-25725",
            "an empty field name before chunked",
            post(":\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        refused(SOURCE, "a space before the colon", get("X : v\r\n")),
        refused(SOURCE, "a tab before the colon", get("X\t: v\r\n")),
        refused(SOURCE, "a space before the colon of a length", post("Content-Length : 5\r\n", "hello")),
        refused(
            SOURCE,
            "a space before the colon of a coding",
            post("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "a field without a colon", get("garbage\r\n")),
        refused(SOURCE, "a second request line among the fields", get("GET /admin HTTP/1.1\r\n")),
        refused(
            SOURCE,
            "a NUL in a name",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX", b"\0", "Y: v\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "a byte above 127 in a name",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX", b"\xff", ": v\r\n\r\n"),
        ),
    ]);
    rows
}

fn field_values() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §5.5";
    let mut rows: Vec<_> = [0u8, 1, 7, 8, 11, 12, 14, 27, 31, 127]
        .into_iter()
        .map(|byte| {
            let head = bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX: a", &[byte], "b\r\n\r\n");
            refused(SOURCE, &format!("the byte {byte} in a value"), head)
        })
        .collect();
    rows.extend([
        served(SOURCE, "a tab in a value", get("X: a\tb\r\n"), OPEN).present("X: a\tb\r\n"),
        served(SOURCE, "an empty value", get("X:\r\n"), OPEN),
        served(
            SOURCE,
            "bytes above 127 in a value",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX: a", b"\xe9\xff", "b\r\n\r\n"),
            OPEN,
        ),
    ]);
    rows
}

fn request_lines() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §3";
    let line = |line: &str| format!("{line}\r\nHost: a.test\r\n\r\n");
    vec![
        refused(SOURCE, "two spaces before the target", line("GET  / HTTP/1.1")),
        refused(SOURCE, "two spaces after the target", line("GET /  HTTP/1.1")),
        refused(SOURCE, "a space after the version", line("GET / HTTP/1.1 ")),
        refused(SOURCE, "a space in the target", line("GET /a b HTTP/1.1")),
        refused(SOURCE, "tabs for spaces", line("GET\t/\tHTTP/1.1")),
        refused(SOURCE, "a tab in the target", line("GET /a\tb HTTP/1.1")),
        refused(SOURCE, "no version", line("GET /")).with(&[400, 505]),
        refused(SOURCE, "no target", line("GET HTTP/1.1")),
        refused(SOURCE, "no method", line(" / HTTP/1.1")),
        refused(SOURCE, "a method that is no token", line("GE{T} / HTTP/1.1")),
        refused(SOURCE, "a NUL in the method", bytes("GE", b"\0", "T / HTTP/1.1\r\nHost: a.test\r\n\r\n")),
        refused(SOURCE, "a version in lower case", line("GET / http/1.1")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1.2", line("GET / HTTP/1.2")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1.10", line("GET / HTTP/1.10")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1", line("GET / HTTP/1")).with(&[400, 505]),
        refused(SOURCE, "HTTP/2.0", line("GET / HTTP/2.0")).with(&[400, 505]),
        refused(SOURCE, "HTTP/0.9 spelled out", line("GET / HTTP/0.9")).with(&[400, 505]),
        refused("RFC 9113 §3.4", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .with(&[400, 505]),
        refused(
            SOURCE,
            "the beginning of a TLS handshake",
            bytes("", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "\r\n\r\n"),
        ),
        served(SOURCE, "a method nobody knows", "BREW / HTTP/1.1\r\nHost: a.test\r\n\r\n", OPEN)
            .present("BREW / HTTP/1.1"),
        served(
            "RFC 9110 §9.1",
            "a method in lower case is another method",
            "get / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            OPEN,
        )
        .present("get / HTTP/1.1"),
    ]
}

fn targets() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §3.2, RFC 3986 §2";
    let mut rows: Vec<_> = ["\\", "\"", "<", ">", "^", "`", "{", "}", "|"]
        .into_iter()
        .map(|byte| refused(SOURCE, &format!("{byte} in the path"), get_target(&format!("/a{byte}b"))))
        .collect();
    rows.extend([
        refused("CVE-2023-45539, CVE-2021-32779, CVE-2023-47106", "# in the path", get_target("/a#b")),
        refused("CVE-2023-45539", "# before the guarded path", get_target("/#/../admin")),
        refused("CVE-2023-45539", "# in the query", get_target("/a?b#c")),
        refused(SOURCE, "a backslash as a slash", get_target("/x\\..\\admin")),
        refused(
            SOURCE,
            "a byte above 127 in the path",
            bytes("GET /a", b"\xc3\xa9", " HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "a byte above 127 in the query",
            bytes("GET /a?b", b"\xff", " HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "a control byte in the target",
            bytes("GET /a", b"\x01", " HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ),
        refused(SOURCE, "a NUL in the target", bytes("GET /a", b"\0", "b HTTP/1.1\r\nHost: a.test\r\n\r\n")),
        refused(SOURCE, "DEL in the target", bytes("GET /a", b"\x7f", " HTTP/1.1\r\nHost: a.test\r\n\r\n")),
        served(
            SOURCE,
            "every byte that a target may hold",
            get_target("/a-._~!$&'()*+,;=:@%20?b/?:@!$&'()*+,;=-._~%7c"),
            &[("open", "/a-._~!$&'()*+,;=:@%20?b/?:@!$&'()*+,;=-._~%7c")],
        ),
    ]);
    rows
}

fn chunks() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §7.1";
    let rest = "\r\nhello\r\n0\r\n\r\n";
    let mut rows: Vec<_> = [
        "+5",
        "-5",
        "0x5",
        " 5",
        "5 ",
        "\t5",
        "5\t",
        "g",
        "",
        "00000000000000005",
        "fffffffffffffffff",
        "10000000000000005",
        "5,",
        "5\0",
        "5h",
        "5 ;x",
        "\u{665}",
    ]
    .into_iter()
    .map(|size| {
        refused(SOURCE, &format!("the chunk size {size:?}"), chunked(&format!("{size}{rest}"))).in_body()
    })
    .collect();
    rows.extend([
        refused(SOURCE, "an LF after a size", chunked("5\nhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "a CR after a size", chunked("5\rhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "CR CR LF after a size", chunked("5\r\r\nhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "two arbitrary bytes after a chunk", chunked("5\r\nhelloXX0\r\n\r\n")).in_body(),
        refused(SOURCE, "an LF after a chunk", chunked("5\r\nhello\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "nothing after a chunk", chunked("5\r\nhello0\r\n\r\n")).in_body(),
        refused(SOURCE, "a chunk longer than its size", chunked("5\r\nhello!\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "LF CR after a chunk", chunked("5\r\nhello\n\r0\r\n\r\n")).in_body(),
        refused(SOURCE, "an LF after the last chunk", chunked("0\n\r\n")).in_body(),
        refused(SOURCE, "an LF as the end of the body", chunked("0\r\n\n")).in_body(),
        refused(SOURCE, "a CR and another byte as the end", chunked("0\r\n\rX")).in_body(),
        refused(
            "RFC 9112 §7.1.1, TERM.EXT",
            "an LF inside an extension",
            chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
        )
        .in_body(),
        refused(
            "RFC 9112 §7.1.1, EXT.TERM",
            "a CR inside an extension",
            chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"),
        )
        .in_body(),
        refused("RFC 9112 §7.1.1", "a NUL inside an extension", chunked("5;a\0b\r\nhello\r\n0\r\n\r\n"))
            .in_body(),
        refused(
            "RFC 9112 §7.1.1",
            "an extension of 4 KiB",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4096))),
        )
        .in_body(),
        refused(
            "RFC 9112 §7.1.1, CVE-2023-39326",
            "extensions of 32 KiB in all",
            chunked(&format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "y".repeat(200)).repeat(160))),
        )
        .in_body(),
        served(
            "RFC 9112 §7.1.1",
            "an extension is not forwarded",
            chunked("5;secret=1\r\nhello\r\n0;last\r\n\r\n"),
            OPEN,
        )
        .present("hello")
        .absent("secret")
        .absent(";last"),
        served(
            SOURCE,
            "a size in upper case with zeros before",
            chunked("00A\r\n0123456789\r\n000\r\n\r\n"),
            OPEN,
        )
        .present("0123456789"),
        served(SOURCE, "chunks and then a second request", chunked("5\r\nhello\r\n0\r\n\r\n") + SECOND, TWO)
            .present("hello"),
        served(SOURCE, "an empty body and then a second request", chunked("0\r\n\r\n") + SECOND, TWO),
    ]);
    rows
}

fn trailers() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §6.5, RFC 9112 §7.1.2";
    let with = |trailers: &str| chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let many: String = (0..40).map(|number| format!("X{number}: y\r\n")).collect();
    vec![
        refused(SOURCE, "a bare LF after a trailer", with("X: y\n")).in_body(),
        refused(SOURCE, "a bare CR in a trailer", with("X: y\rz\r\n")).in_body(),
        refused(SOURCE, "a folded trailer", with("X: y\r\n z\r\n")).in_body(),
        refused(SOURCE, "an empty trailer name", with(": y\r\n")).in_body(),
        refused(SOURCE, "a space before the colon of a trailer", with("X : y\r\n")).in_body(),
        refused(SOURCE, "a trailer without a colon", with("garbage\r\n")).in_body(),
        refused(SOURCE, "a NUL in a trailer", with("X: a\0b\r\n")).in_body(),
        refused(SOURCE, "a request as trailers", with("GET /admin HTTP/1.1\r\nHost: a.test\r\n")).in_body(),
        refused("limits", "forty trailers", with(&many)).with(&[400, 431]).in_body(),
        refused("limits", "a trailer of 12 KiB", with(&format!("X: {}\r\n", "y".repeat(12 * 1024))))
            .with(&[400, 431])
            .in_body(),
        served(
            SOURCE,
            "framing fields among the trailers",
            with("Content-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: evil.test\r\n"),
            OPEN,
        )
        .absent("99")
        .absent("gzip")
        .absent("evil.test"),
        served(
            SOURCE,
            "forwarding and secret fields among the trailers",
            with("X-Forwarded-For: 6.6.6.6\r\nAuthorization: evil\r\nConnection: evil\r\n"),
            OPEN,
        )
        .absent("6.6.6.6")
        .absent("evil"),
    ]
}

fn hosts() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §3.2, RFC 3986 §3.2.2";
    let mut rows: Vec<_> = [
        "a.test b",
        "a.test/x",
        "user@a.test",
        "a.test,b.test",
        "a.test:80:80",
        "a.test:http",
        "a.test:-1",
        "a.test:+80",
        "a.test:99999",
        "[::1",
        "::1",
        "a.test#",
        "a.test?",
        "a\\test",
        "a.test\u{1}",
        "a\u{e9}.test",
        "a.test%",
        "http://a.test",
        "a.test;x",
        "\"a.test\"",
        "{a.test}",
        "a<b",
    ]
    .into_iter()
    .map(|host| {
        refused(SOURCE, &format!("the Host {host:?}"), format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    })
    .collect();
    rows.extend([
        refused(SOURCE, "no Host", "GET / HTTP/1.1\r\n\r\n"),
        refused(SOURCE, "two Hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        refused(SOURCE, "the same Host twice", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        refused(SOURCE, "a NUL in Host", bytes("GET / HTTP/1.1\r\nHost: a.test", b"\0", "\r\n\r\n")),
        refused(SOURCE, "no Host in HTTP/1.0 reaches no route", "GET / HTTP/1.0\r\n\r\n")
            .with(&[404])
            .may_stay(),
        refused(SOURCE, "an empty Host reaches no route", "GET / HTTP/1.1\r\nHost:\r\n\r\n")
            .with(&[400, 404])
            .may_stay(),
        refused(SOURCE, "an unknown Host reaches no route", "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
            .with(&[404])
            .may_stay(),
        served(
            SOURCE,
            "Host in another case with a port",
            "GET / HTTP/1.1\r\nHost: A.Test:8080\r\n\r\n",
            OPEN,
        )
        .present("Host: A.Test:8080"),
        served(SOURCE, "Host with a dot at its end", "GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n", OPEN),
    ]);
    rows
}

fn forms_of_targets() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §3.2.1 to §3.2.4";
    vec![
        served(
            SOURCE,
            "absolute form that agrees with Host",
            "GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[("open", "/x")],
        ),
        refused(
            SOURCE,
            "absolute form that contradicts Host",
            "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        refused(
            SOURCE,
            "Host that contradicts the absolute form",
            "GET http://a.test/admin HTTP/1.1\r\nHost: b.test\r\n\r\n",
        ),
        refused(SOURCE, "absolute form without Host", "GET http://a.test/ HTTP/1.1\r\n\r\n"),
        refused(
            SOURCE,
            "absolute form with a user",
            "GET http://a.test@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        refused(
            SOURCE,
            "absolute form of another scheme",
            "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        refused(SOURCE, "absolute form without authority", "GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "CONNECT", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n")
            .with(&[400, 405, 501]),
        refused(SOURCE, "CONNECT with a path", "CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .with(&[400, 405, 501]),
        refused(
            "CVE-2025-64763",
            "bytes behind CONNECT",
            format!("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n{SMUGGLED}"),
        )
        .with(&[400, 405, 501]),
        refused(SOURCE, "authority form in a GET", "GET a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "asterisk form in a GET", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a target without a slash", "GET admin HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a query without a path", "GET ?x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        served(
            SOURCE,
            "two slashes are a path, not an authority",
            get_target("//b.test/x"),
            &[("open", "//b.test/x")],
        ),
    ]
}

fn aliases() -> Vec<Row> {
    const SOURCE: &str = "CVE-2024-45410 and its repeat with underscores";
    vec![
        served(
            SOURCE,
            "Content_Length is no length and is dropped",
            get("Content_Length: 99\r\n") + SECOND,
            TWO,
        )
        .absent("content_length"),
        served(
            SOURCE,
            "Transfer_Encoding is no coding and is dropped",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
            OPEN,
        )
        .absent("transfer_encoding")
        .present("hello"),
        served(SOURCE, "X_Forwarded_For is dropped", get("X_Forwarded_For: 6.6.6.6\r\n"), OPEN)
            .absent("6.6.6.6"),
        served(SOURCE, "X_Real_IP is dropped", get("X_Real_IP: 6.6.6.6\r\n"), OPEN).absent("6.6.6.6"),
        served(SOURCE, "a name with both signs is dropped", get("X-Forwarded_For: 6.6.6.6\r\n"), OPEN)
            .absent("6.6.6.6"),
    ]
}

fn forwarding_fields() -> Vec<Row> {
    const SOURCE: &str = "CVE-2024-45410, RFC 7239 §8.1";
    let mut rows: Vec<_> = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Real-IP",
        "Forwarded",
    ]
    .into_iter()
    .map(|name| {
        let row = served(
            SOURCE,
            &format!("{name} of a client is not believed"),
            get(&format!("{name}: evil.test\r\n")),
            OPEN,
        );
        row.absent("evil.test")
    })
    .collect();
    rows.extend([
        served("CVE-2016-5385", "Proxy of a client is dropped", get("Proxy: http://evil.test\r\n"), OPEN)
            .absent("evil.test"),
        served(
            SOURCE,
            "two X-Forwarded-For of a client",
            get("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n"),
            OPEN,
        )
        .absent("6.6.6.6")
        .absent("7.7.7.7"),
        served(SOURCE, "what stands there is the peer", get(""), OPEN)
            .present("X-Forwarded-For: 127.0.0.1\r\n")
            .present("X-Real-IP: 127.0.0.1\r\n")
            .present("X-Forwarded-Proto: http\r\n"),
    ]);
    rows
}

fn connection_fields() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §7.6.1, CVE-2024-45410";
    vec![
        served(
            SOURCE,
            "a listed field is removed",
            get("Connection: close, X-Hop\r\nX-Hop: secret\r\n"),
            OPEN,
        )
        .absent("secret"),
        served(
            SOURCE,
            "a listed field is removed in any case",
            get("Connection: x-HOP\r\nX-hop: secret\r\n"),
            OPEN,
        )
        .absent("secret"),
        served(
            SOURCE,
            "hop-by-hop fields are removed",
            get("Keep-Alive: timeout=7\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n"),
            OPEN,
        )
        .absent("timeout=7")
        .absent("proxy-connection")
        .absent("te: gzip"),
        served(SOURCE, "Host cannot be listed", get("Connection: close, Host\r\n"), OPEN)
            .present("Host: a.test"),
        served(
            SOURCE,
            "Authorization cannot be listed",
            get("Connection: close, Authorization\r\nAuthorization: Basic eDp5\r\n"),
            OPEN,
        )
        .present("Authorization: Basic eDp5"),
        served(SOURCE, "Cookie cannot be listed", get("Connection: close, Cookie\r\nCookie: a=b\r\n"), OPEN)
            .present("Cookie: a=b"),
        served(
            SOURCE,
            "X-Forwarded-For cannot be listed",
            get("Connection: close, X-Forwarded-For, X-Real-IP, X-Forwarded-Proto\r\n"),
            OPEN,
        )
        .present("X-Forwarded-For: 127.0.0.1")
        .present("X-Real-IP: 127.0.0.1")
        .present("X-Forwarded-Proto: http"),
        served(
            SOURCE,
            "Content-Length cannot be listed",
            post("Connection: close, Content-Length\r\nContent-Length: 5\r\n", "hello"),
            OPEN,
        )
        .present("Content-Length: 5\r\n")
        .present("hello"),
        served(
            SOURCE,
            "Transfer-Encoding cannot be listed",
            post(
                "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            OPEN,
        )
        .present("Transfer-Encoding: chunked\r\n")
        .present("hello"),
    ]
}

fn bodies() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §9.3.1, RFC 9112 §6.3";
    let five = "Content-Length: 5\r\n\r\nhello";
    vec![
        served(SOURCE, "a GET with a body is framed", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{five}{SECOND}"), TWO).present("Content-Length: 5\r\n").present("hello"),
        served(SOURCE, "a HEAD with a body is framed", format!("HEAD / HTTP/1.1\r\nHost: a.test\r\n{five}"), OPEN).present("hello"),
        served(SOURCE, "a DELETE with a body is framed", format!("DELETE / HTTP/1.1\r\nHost: a.test\r\n{five}{SECOND}"), TWO).present("hello"),
        served(SOURCE, "an OPTIONS with a chunked body is framed", format!("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SECOND}"), TWO).present("hello"),
        served("CVE-2026-2835", "a POST without framing has no body", format!("POST / HTTP/1.1\r\nHost: a.test\r\n\r\n{SECOND}"), TWO),
        served("CVE-2026-2835", "a POST of HTTP/1.0 without framing has no body", format!("POST / HTTP/1.0\r\nHost: a.test\r\n\r\n{SMUGGLED}"), OPEN).absent("smuggled"),
        served("CVE-2026-2835", "a POST of HTTP/1.0 with a length", format!("POST / HTTP/1.0\r\nHost: a.test\r\n{five}"), OPEN).present("hello"),
        served(SOURCE, "bytes behind a request that ends the connection", format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{SMUGGLED}"), OPEN).absent("smuggled"),
        refused(SOURCE, "a fault behind a good request", format!("{}GET /\0 HTTP/1.1\r\n\r\n", get(""))).after(OPEN),
        refused(SOURCE, "bytes beyond the length are the next request", format!("{}!{SMUGGLED}", post("Content-Length: 5\r\n", "hello "))).after(OPEN),
        refused(SOURCE, "a refused request takes what follows with it", format!("{}{SMUGGLED}", get("X : y\r\n"))),
    ]
}

fn upgrades() -> Vec<Row> {
    const SOURCE: &str = "CVE-2026-2833, RFC 9110 §7.8";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    vec![
        served(SOURCE, "no tunnel without 101: what follows is a request", get(upgrade) + SECOND, TWO),
        refused(SOURCE, "no tunnel without 101: what follows is parsed strictly", get(upgrade) + "not http\r\n\r\n").after(OPEN),
        served(SOURCE, "no upgrade in HTTP/1.0", format!("GET / HTTP/1.0\r\nHost: a.test\r\n{upgrade}\r\n"), OPEN).absent("upgrade"),
        served(SOURCE, "Upgrade that Connection does not list", get("Upgrade: websocket\r\n"), OPEN).absent("upgrade"),
        served(SOURCE, "no HTTP/2 in clear text through us", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"), OPEN).absent("h2c").absent("http2-settings"),
    ]
}

fn unread_bodies() -> Vec<Row> {
    const SOURCE: &str = "CVE-2025-4366";
    let unrouted =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: b.test\r\n{fields}\r\n{body}");
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    vec![
        refused(SOURCE, "a body behind a 404 is no request", unrouted(&length, SMUGGLED))
            .with(&[404])
            .may_stay(),
        refused(
            SOURCE,
            "a chunked body behind a 404 is no request",
            unrouted("Transfer-Encoding: chunked\r\n", &chunk),
        )
        .with(&[404])
        .may_stay(),
        refused(
            SOURCE,
            "a body that never ends behind a 404",
            unrouted("Content-Length: 100000000\r\n", SMUGGLED),
        )
        .with(&[404])
        .may_stay(),
        refused(
            SOURCE,
            "a broken chunk behind a 404",
            unrouted("Transfer-Encoding: chunked\r\n", &format!("zz\r\n{SMUGGLED}")),
        )
        .with(&[404, 400])
        .may_stay(),
    ]
}

fn expectations() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §10.1.1, 0.CL and CL.0 of 2025";
    let mut rows: Vec<_> =
        ["100-continued", "100 continue", "200-ok", "y 100-continue", "100-continue, x", "\"100-continue\""]
            .into_iter()
            .map(|value| {
                let bytes =
                    post(&format!("Expect: {value}\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED);
                refused(SOURCE, &format!("Expect {value:?}"), bytes).with(&[400, 417])
            })
            .collect();
    rows.extend([
        served(
            SOURCE,
            "a body that does not wait for 100",
            post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            OPEN,
        ),
        served(
            SOURCE,
            "a GET with Expect and a body",
            get(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", SMUGGLED.len()))
                + SMUGGLED
                + SECOND,
            TWO,
        ),
        served(SOURCE, "Expect without a body", get("Expect: 100-continue\r\n") + SECOND, TWO),
    ]);
    rows
}

fn limits() -> Vec<Row> {
    const SOURCE: &str = "limits: 8 KiB request line, 16 KiB field, 64 KiB and 100 fields a head";
    let field = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes));
    let numbered = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    vec![
        refused(SOURCE, "a request line of 9,000 bytes", get_target(&format!("/{}", "a".repeat(9_000))))
            .with(&[414]),
        refused(SOURCE, "a request line of 80,000 bytes", get_target(&format!("/{}", "a".repeat(80_000))))
            .with(&[414]),
        refused(SOURCE, "a request line that does not end", format!("GET /{}", "a".repeat(80_000)))
            .with(&[414]),
        refused(SOURCE, "a field of 20,000 bytes", get(&field(20_000))).with(&[431]),
        refused(
            SOURCE,
            "a field that does not end",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "y".repeat(80_000)),
        )
        .with(&[431]),
        refused(SOURCE, "a head of 75,000 bytes", get(&field(15_000).repeat(5))).with(&[431]),
        refused(SOURCE, "101 fields", get(&numbered(100))).with(&[431]),
        refused(SOURCE, "1,000 fields", get(&numbered(1_000))).with(&[431]),
        served(SOURCE, "100 fields", get(&numbered(99)), OPEN).present("X-98: y"),
        served(SOURCE, "a field of 15,000 bytes", get(&field(15_000)), OPEN),
        served(SOURCE, "a head of 60,000 bytes", get(&field(15_000).repeat(4)), OPEN),
    ]
}

/// Paths that reach the guarded rule or do not, in every spelling; the target goes on as sent.
fn paths() -> Vec<Row> {
    const SOURCE: &str = "RFC 3986 §6.2.2, CVE-2025-32431, CVE-2025-47952, CVE-2025-66490, CVE-2026-48020";
    const GUARDED: [&str; 20] = [
        "/admin",
        "/admin/",
        "/admin/x",
        "/admin?x=/../",
        "/admin/%2E",
        "/%61dmin",
        "/%61%64%6d%69%6e",
        "/adm%69n/x",
        "/./admin",
        "/%2e/admin",
        "/x/../admin",
        "/x/./../admin",
        "/x/y/../../admin",
        "/x/%2e%2e/admin",
        "/x/%2E%2E/admin",
        "/x/.%2e/admin",
        "/x/%2e./admin",
        "/admin/x/..",
        "/admin/./x",
        "/x/../%61dmin/y",
    ];
    const OPEN: [&str; 15] = [
        "/",
        "/adminx",
        "/ADMIN",
        "/Admin",
        "//admin",
        "/admin/../x",
        "/admin/..",
        "/admin/%2e%2e/x",
        "/x?/../admin",
        "/x/admin",
        "/admin;x",
        "/..admin",
        "/admin%3fx",
        "/admin%23",
        "/%2561dmin",
    ];
    let guarded = GUARDED.into_iter().map(|target| ("admin", target));
    let open = OPEN.into_iter().map(|target| ("open", target));
    let row = |(to, target): (&'static str, &'static str)| {
        let name = format!("{target} goes to {to}");
        served(SOURCE, &name, get_target(target), &[(to, target)])
            .present(&format!("GET {target} HTTP/1.1\r\n"))
    };
    guarded.chain(open).map(row).collect()
}

fn refused_paths() -> Vec<Row> {
    const SOURCE: &str = "RFC 3986 §2.1 and §5.2.4, CVE-2025-66490";
    [
        "/%00",
        "/admin%00",
        "/x%00/../admin",
        "/%",
        "/%2",
        "/%zz",
        "/a%g0",
        "/..",
        "/../admin",
        "/%2e%2e",
        "/%2e%2e/admin",
        "/./../admin",
        "/x/../../admin",
        "/admin%2fx",
        "/admin%2Fx",
        "/x%2f..%2fadmin",
        "/x/..%2fadmin",
        "/%2fadmin%2f..%2f..%2fadmin",
        "/admin%2fy/../x",
    ]
    .into_iter()
    // The head is framed well, so refusing its path need not end the connection.
    .map(|target| refused(SOURCE, &format!("the path {target}"), get_target(target)).may_stay())
    .collect()
}
