//! Every strictness rule and every framing or path vulnerability of the last years, as a row of raw bytes.
//!
//! Two scripted upstreams stand behind one shard: `open` takes `/`, `admin` takes `/admin`. After each row a sentinel goes
//! the same way, over whatever pooled connections the row left behind, so that a byte that slipped through shows up either
//! in the record of an upstream or as a spoiled sentinel.

mod desync;
mod fields;
mod framing;
mod lines;
mod row;
mod targets;

use crate::support::manifest::{self, Ingress};
use crate::support::message::values_of;
use crate::support::{Client, Driver, Launch, Received, Response, Ringress, Upstream, on_both_drivers};
use row::{Ending, Reaches, Row};

on_both_drivers! {
    fn every_row_is_refused_or_served_as_the_standard_says(driver) {
        let rows = all_rows();
        assert!(rows.len() >= 300, "rows were lost");
        House::start(driver, 1).check_all(driver, &rows);
    }

    fn rows_of_hosts_and_paths_hold_however_many_hosts_there_are(driver) {
        // CVE-2026-27587, CVE-2026-27588: other code above a number of hosts, which compared other spellings.
        let rows = targets::rows();
        assert!(rows.len() >= 100, "rows were lost");
        for hosts in [99, 101, 10_000] {
            House::start(driver, hosts).check_all(driver, &rows);
        }
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

fn all_rows() -> Vec<Row> {
    let groups = [framing::rows(), lines::rows(), targets::rows(), fields::rows(), desync::rows()];
    groups.into_iter().flatten().collect()
}

/// The process and its two upstreams.
struct House {
    hosts: usize,
    ringress: Ringress,
    open: Upstream,
    admin: Upstream,
}

impl House {
    /// With so many hosts, of which the rows ask for one.
    fn start(driver: Driver, hosts: usize) -> Self {
        let (open, admin) = (Upstream::named("open"), Upstream::named("admin"));
        let ingress =
            Ingress::simple("house", "a.test", "open").route("a.test", "/admin", "Prefix", "admin", "80");
        // Named so that they stand before the one and after it, wherever order decides.
        let other =
            |number: usize| format!("{}{number}.test", if number.is_multiple_of(2) { "0" } else { "z" });
        let others = (1..hosts).fold(Ingress::new("others"), |others, number| {
            others.route(&other(number), "/", "Prefix", "open", "80")
        });
        let others = if hosts > 1 { vec![others.yaml()] } else { Vec::new() };
        let ringress = Launch::new(driver)
            .shards(1)
            .file("others.yaml", &manifest::file(&others))
            .manifests(&[
                ingress.yaml(),
                manifest::service("open"),
                manifest::service("admin"),
                manifest::endpoints("open", &[open.address()]),
                manifest::endpoints("admin", &[admin.address()]),
            ])
            .start();
        Self { hosts, ringress, open, admin }
    }

    fn check_all(&self, driver: Driver, rows: &[Row]) {
        let failures: Vec<_> = rows.iter().filter_map(|row| self.check(row).err()).collect();
        let (all, good, hosts) = (rows.len(), rows.len() - failures.len(), self.hosts);
        println!("strictness on {} with {hosts} hosts: {good} of {all}", driver.as_str());
        assert_eq!(self.ringress.metric("ringress_panics_total", ""), 0.0);
        assert!(
            failures.is_empty(),
            "{hosts} hosts: {} of {all} rows failed:\n{}",
            failures.len(),
            failures.join("\n")
        );
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
