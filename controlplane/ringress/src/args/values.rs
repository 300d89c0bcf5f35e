//! Texts of flags into values: durations, sizes, ports, addresses.
//!
//! Nothing here knows a flag's name; [`Mistakes`](super::Mistakes) adds it. Every error says what is accepted.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use ringress_translate::objects::Key;

/// `5s`, `500ms`, `1m30s`, `1h`; a bare integer is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || "is no duration; write 5s, 500ms, 1m30s, 1h, or whole seconds".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = unit_of_time(&rest[digits..unit_end]).ok_or_else(wrong)?;
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// As [`duration`], but not zero: a timeout of nothing would fail every request.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0; nothing could succeed".to_owned()),
        timeout => Ok(timeout),
    }
}

fn unit_of_time(unit: &str) -> Option<Duration> {
    match unit {
        "ms" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        "h" => Some(Duration::from_secs(3600)),
        _ => None,
    }
}

/// Plain bytes, or `64KiB`, `1MiB`, `2GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "is no size; write plain bytes, 64KiB, 1MiB or 2GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Bytes of a request body, or `unlimited`.
pub(super) fn body_bytes(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" { Ok(None) } else { bytes(text).map(Some) }
}

/// Bytes of a head: offsets into it are 16 bits, so 64 KiB means the largest that they reach.
pub(super) fn head_bytes(text: &str) -> Result<u32, String> {
    match bytes(text)? {
        0..1024 => Err("is too small; no browser sends less than 1KiB".to_owned()),
        size @ 1024..=65_535 => Ok(size as u32),
        65_536 => Ok(65_535),
        _ => Err("is too large; 64KiB is the most".to_owned()),
    }
}

/// A port, or `off`.
pub(super) fn port(text: &str) -> Result<Option<u16>, String> {
    match text.parse() {
        Ok(0) | Err(_) if text != "off" => Err("is no port; write 1 to 65535, or off".to_owned()),
        Ok(port) => Ok(Some(port)),
        Err(_) => Ok(None),
    }
}

/// `IP:PORT`, or a bare port on loopback.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| "is no address; write IP:PORT, as in 127.0.0.1:10254".to_owned())
}

/// An address alone.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    text.parse()
        .map_err(|_| "is no IP address; write 127.0.0.1 for this machine alone, or :: for all".to_owned())
}

/// `IP:PORT`, or `off`.
pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" { Ok(None) } else { address(text).map(Some) }
}

/// `true` or `false`.
pub(super) fn question(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".to_owned())
}

/// `auto`, or a number of shards.
pub(super) fn shards(text: &str) -> Result<Option<usize>, String> {
    match text.parse() {
        _ if text == "auto" => Ok(None),
        Ok(count @ 1..=1024) => Ok(Some(count)),
        _ => Err("is no number of shards; write 1 to 1024, or auto".to_owned()),
    }
}

/// Ranges or single addresses, separated by commas; empty for none.
pub(super) fn ranges(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(range).collect()
}

fn range(part: &str) -> Result<IpNet, String> {
    part.parse()
        .or_else(|_| part.parse().map(|address: std::net::IpAddr| IpNet::from(address)))
        .map_err(|_| format!("has {part:?}, which is no CIDR range; write 10.0.0.0/8,fd00::/8"))
}

/// `NAMESPACE/NAME`.
pub(super) fn reference(text: &str) -> Result<Key, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Key::new(namespace, name))
        }
        _ => Err("names no object; write NAMESPACE/NAME".to_owned()),
    }
}

/// A text that may not be empty.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bare_integers_are_seconds() {
        let rows = [
            ("5s", Some(5_000)),
            ("500ms", Some(500)),
            ("1m", Some(60_000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("7", Some(7_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("5s3", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999h", None),
        ];
        for (text, milliseconds) in rows {
            assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis), "{text:?}");
        }
        assert!(timeout("0s").is_err());
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        let rows = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1_048_576)),
            ("1GiB", Some(1 << 30)),
            ("1KB", None),
            ("KiB", None),
            ("", None),
            ("99999999999999GiB", None),
        ];
        for (text, expected) in rows {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
        assert_eq!(head_bytes("64KiB"), Ok(65_535));
        assert!(head_bytes("64.1KiB").is_err());
        assert!(head_bytes("1MiB").is_err());
        assert_eq!(body_bytes("unlimited"), Ok(None));
    }

    #[test]
    fn ports_and_addresses_parse_or_say_what_is_accepted() {
        assert_eq!(port("8080"), Ok(Some(8080)));
        assert_eq!(port("off"), Ok(None));
        assert!(port("0").is_err());
        assert!(port("65536").is_err());
        assert!(port("http").is_err());
        assert_eq!(address("9000"), Ok(SocketAddr::from(([127, 0, 0, 1], 9000))));
        assert_eq!(address("localhost:1"), Ok(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(address("[::1]:2").map(|address| address.port()), Ok(2));
        assert!(address("example.com:80").is_err());
        assert_eq!(address_or_off("off"), Ok(None));
        assert_eq!(ip("localhost"), Ok(IpAddr::from([127, 0, 0, 1])));
        assert!(ip("::").is_ok_and(|ip| ip.is_unspecified()));
        assert!(ip("127.0.0.1:80").is_err());
    }

    #[test]
    fn ranges_and_references_parse() {
        assert_eq!(ranges("10.0.0.0/8, ::1").map(|list| list.len()), Ok(2));
        assert_eq!(ranges("").map(|list| list.len()), Ok(0));
        assert!(ranges("10.0.0.0/33").is_err_and(|error| error.contains("10.0.0.0/33")));
        assert_eq!(reference("a/b"), Ok(Key::new("a", "b")));
        assert!(reference("b").is_err());
        assert!(reference("a/b/c").is_err());
    }
}
