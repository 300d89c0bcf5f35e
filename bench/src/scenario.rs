//! The scenarios, by the letters that the figures are quoted under.

/// The host that every request asks for and the certificate names.
pub(crate) const HOST: &str = "bench.local";

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// Letter in tables.
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) what: &'static str,
    /// Method of every request.
    pub(crate) method: &'static str,
    /// Path of every request; the origin knows it.
    pub(crate) path: &'static str,
    /// Bytes sent with every request.
    pub(crate) request_body_bytes: usize,
    /// Bytes expected in every answer.
    pub(crate) answer_body_bytes: usize,
    /// Connections that each keep one request in flight.
    pub(crate) connections: usize,
    /// Plain TCP or TLS 1.3.
    pub(crate) transport: Transport,
    /// Whether a connection carries one request or many.
    pub(crate) reuse: Reuse,
}

/// How the client reaches the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP.
    Plain,
    /// TLS 1.3.
    Tls,
}

/// Requests on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// As many as the window lasts.
    KeepAlive,
    /// One: the request says `Connection: close`, so that the proxy closes first and the client's ports do not
    /// pile up in TIME_WAIT.
    Once,
}

/// Path of the 1 KiB answer.
pub(crate) const SMALL_PATH: &str = "/1k";
/// Path of the 1 MiB answer.
pub(crate) const LARGE_PATH: &str = "/1m";
/// Length of the small answer.
pub(crate) const SMALL_BYTES: usize = 1024;
/// Length of the large answer.
pub(crate) const LARGE_BYTES: usize = 1024 * 1024;

/// Every scenario.
pub(crate) static ALL: [Scenario; 9] = [
    GET_SMALL,
    Scenario { name: "b", what: "GET 1 KiB, 512 connections", connections: 512, ..GET_SMALL },
    Scenario {
        name: "c",
        what: "GET 1 KiB, 64 connections, TLS 1.3",
        transport: Transport::Tls,
        ..GET_SMALL
    },
    Scenario {
        name: "d",
        what: "TLS 1.3 full handshake and GET 1 KiB, 64 at a time",
        transport: Transport::Tls,
        reuse: Reuse::Once,
        ..GET_SMALL
    },
    Scenario {
        name: "dp",
        what: "TCP connection and GET 1 KiB, 64 at a time",
        reuse: Reuse::Once,
        ..GET_SMALL
    },
    GET_LARGE,
    Scenario {
        name: "et",
        what: "GET 1 MiB, 16 connections, TLS 1.3",
        transport: Transport::Tls,
        ..GET_LARGE
    },
    Scenario { name: "g", what: "POST 64 KiB, 64 connections", ..POST_SMALL },
    Scenario {
        name: "gt",
        what: "POST 64 KiB, 64 connections, TLS 1.3",
        transport: Transport::Tls,
        ..POST_SMALL
    },
];

const POST_SMALL: Scenario = Scenario { method: "POST", request_body_bytes: 64 * 1024, ..GET_SMALL };

const GET_SMALL: Scenario = Scenario {
    name: "a",
    what: "GET 1 KiB, 64 connections",
    method: "GET",
    path: SMALL_PATH,
    request_body_bytes: 0,
    answer_body_bytes: SMALL_BYTES,
    connections: 64,
    transport: Transport::Plain,
    reuse: Reuse::KeepAlive,
};

const GET_LARGE: Scenario = Scenario {
    name: "e",
    what: "GET 1 MiB, 16 connections",
    path: LARGE_PATH,
    answer_body_bytes: LARGE_BYTES,
    connections: 16,
    ..GET_SMALL
};

/// Finds a scenario by its letter.
///
/// # Errors
/// Names the letters there are.
pub(crate) fn parse(name: &str) -> Result<&'static Scenario, String> {
    ALL.iter().find(|scenario| scenario.name == name).ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        format!("no scenario {name:?}; there are {}", known.join(", "))
    })
}

impl Scenario {
    /// The bytes of one request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: ringress-bench\r\n",
            self.method, self.path
        );
        if self.request_body_bytes > 0 {
            head.push_str(&format!("Content-Length: {}\r\n", self.request_body_bytes));
        }
        if self.reuse == Reuse::Once {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(pattern(self.request_body_bytes));
        bytes
    }
}

/// The bytes of every body: a period that divides no buffer size, so that a lost or doubled buffer shows.
pub(crate) fn pattern(length: usize) -> impl Iterator<Item = u8> {
    (0..length).map(|index| (index % 251) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_unique_and_found() {
        for scenario in &ALL {
            assert_eq!(parse(scenario.name), Ok(scenario));
        }
        assert!(parse("zz").is_err_and(|message| message.contains("a, b, c, d, dp, e, et, g, gt")));
    }

    #[test]
    fn a_request_declares_the_body_it_carries() {
        let bytes = parse("g").expect("g exists").request();
        let text = String::from_utf8_lossy(&bytes);
        let (head, _) = text.split_once("\r\n\r\n").expect("a head ends");
        assert!(head.starts_with("POST /1k HTTP/1.1\r\nHost: bench.local"), "{head}");
        assert!(head.contains("Content-Length: 65536"), "{head}");
        assert_eq!(bytes.len(), head.len() + 4 + 65536);
    }

    #[test]
    fn only_a_connection_of_one_request_asks_to_close() {
        for scenario in &ALL {
            let request = scenario.request();
            let closes = request.windows(17).any(|window| window == b"Connection: close");
            assert_eq!(closes, scenario.reuse == Reuse::Once, "{}", scenario.name);
        }
    }
}
