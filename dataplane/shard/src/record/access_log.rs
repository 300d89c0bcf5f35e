//! Lines of the access log. Whatever a client sent is escaped: a line stays one line.

use std::io::Write;

use ringress_engine::http::{Known, Version};

use super::Record;
use crate::clock::Clock;

/// One JSON object.
pub(super) fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut line = Line { out, first: true };
    line.text("time", &rfc3339(Clock::since_epoch()));
    line.bytes("request_id", record.request_id);
    line.text("client_ip", &record.client.to_string());
    if let Some(head) = record.head {
        line.bytes("method", head.method());
        line.bytes("host", head.authority());
        line.bytes("path", head.path());
        line.bytes("query", head.query().unwrap_or_default());
        line.text("protocol", protocol(head.version()));
        line.bytes("user_agent", head.find(Known::UserAgent).unwrap_or_default());
        line.bytes("referer", head.find(Known::Referer).unwrap_or_default());
    }
    if let Some(received) = record.line {
        line.bytes("received", received);
    }
    line.number("status", u64::from(record.status));
    line.text("error", record.token);
    line.text("detail", record.detail);
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.number("duration_us", record.micros);
    if let Some(rule) = record.rule {
        line.text("namespace", &rule.origin.object.namespace);
        line.text("ingress", &rule.origin.object.name);
        line.text("rule", &rule.origin.field);
    }
    line.text("no_route_reason", record.no_route);
    if let Some(endpoint) = record.endpoint {
        line.text("upstream", &endpoint.to_string());
        line.number("tries", record.tries as u64);
    }
    line.text("tls", record.tls);
    line.number("shard", record.shard as u64);
    line.number("generation", record.generation);
    out.extend_from_slice(b"}\n");
}

/// Common Log Format.
pub(super) fn clf(record: &Record<'_>, out: &mut Vec<u8>) {
    let time = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + Clock::since_epoch());
    // `Sun, 06 Nov 1994 08:49:37 GMT` holds the same numbers in another order.
    let field = |range: std::ops::Range<usize>| time.get(range).unwrap_or("-");
    let date = format!("{}/{}/{}:{} +0000", field(5..7), field(8..11), field(12..16), field(17..25));
    let _ = write!(out, "{} - - [{date}] \"", record.client);
    if let Some(received) = record.line {
        escape(received, out);
    }
    if let Some(head) = record.head {
        escape(head.method(), out);
        out.push(b' ');
        escape(head.target(), out);
        out.push(b' ');
        out.extend_from_slice(protocol(head.version()).as_bytes());
    }
    let _ = writeln!(out, "\" {} {}", record.status, record.bytes_out);
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

/// `2026-11-21T12:00:00.123Z`
fn rfc3339(since_epoch: std::time::Duration) -> String {
    let days = since_epoch.as_secs() / 86_400;
    let second = since_epoch.as_secs() % 86_400;
    let (year, month, day) = civil(days as i64);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        second % 60,
        since_epoch.subsec_millis()
    )
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar (H. Hinnant, "civil_from_days").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// One line being written; empty texts are left out.
struct Line<'l> {
    out: &'l mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        self.out.push(if std::mem::take(&mut self.first) { b'{' } else { b',' });
        let _ = write!(self.out, "\"{key}\":");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.bytes(key, value.as_bytes());
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.key(key);
        self.out.push(b'"');
        escape(value, self.out);
        self.out.push(b'"');
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// As JSON wants it; bytes that are no ASCII are written as Latin-1 escapes, so that any bytes give valid JSON.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            0x20..=0x7e => out.push(*byte),
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_have_the_form_of_rfc_3339() {
        for (second, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_262_400, "2026-11-21T12:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(second)), expected);
        }
    }

    #[test]
    fn whatever_a_client_sends_stays_in_its_line() {
        let mut out = Vec::new();
        escape(b"a\"\\\r\n\0\xff", &mut out);
        assert_eq!(out, br#"a\"\\\u000d\u000a\u0000\u00ff"#);
    }
}
