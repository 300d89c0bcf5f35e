//! What endpoints, logs and metrics are told of an exchange.

use crate::support::upstream::ok;
use crate::support::{Launch, Upstream, on_both_drivers, wait_until};

on_both_drivers! {
    fn an_endpoint_is_told_who_asks_and_nothing_more(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let port = ringress.ports.http;
        ringress.client().ask(format!("GET /a%2e/b?c=%zz&d HTTP/1.1\r\nhost: A.test:{port}\r\nUser-Agent: me\r\nX-Request-ID: abc-1\r\nAccept: */*\r\n\r\n"));
        let request = &upstream.requests()[0];
        assert_eq!(request.target(), "/a%2e/b?c=%zz&d", "the target goes on as sent");
        let mut names: Vec<_> = request.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let expected = ["accept", "cdn-loop", "host", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip", "x-request-id"];
        assert_eq!(names, expected);
        for (name, expected) in [
            ("cdn-loop", "ringress".into()),
            ("host", format!("A.test:{port}")),
            ("x-forwarded-for", "127.0.0.1".into()),
            ("x-forwarded-host", format!("A.test:{port}")),
            ("x-forwarded-port", port.to_string()),
            ("x-forwarded-proto", "http".into()),
            ("x-real-ip", "127.0.0.1".into()),
            ("x-request-id", "abc-1".into()),
        ] {
            assert_eq!(request.field(name), Some(expected.as_str()), "{name}");
        }
    }

    fn request_ids_are_made_where_none_came_and_differ(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        for _ in 0..20 {
            ringress.get("a.test", "/");
        }
        let mut ids: Vec<_> = upstream.requests().iter().map(|request| request.field("x-request-id").unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20);
        assert!(ids.iter().all(|id| id.len() >= 16));
    }

    fn trusted_proxies_are_believed_and_others_are_not(driver) {
        for (range, trusted) in [("127.0.0.0/8", true), ("10.0.0.0/8,::1/128", false)] {
            let upstream = Upstream::named("web");
            let ringress = Launch::new(driver).flags(&["--trusted-proxies", range]).serving(&[&upstream]).start();
            ringress.client().ask(
                "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\nX-Real-IP: 203.0.113.9\r\n\r\n",
            );
            let request = &upstream.requests()[0];
            let expected = match trusted {
                true => ["203.0.113.9, 127.0.0.1", "https", "shop.test", "203.0.113.9"],
                false => ["127.0.0.1", "http", "a.test", "127.0.0.1"],
            };
            let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip"];
            assert_eq!(names.map(|name| request.field(name).unwrap()), expected, "{range}");
        }
    }
}

on_both_drivers! {
    fn each_exchange_writes_one_line_that_names_its_generation(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        ringress.get("a.test", "/logged?q=1");
        ringress.get("b.test", "/unrouted");
        let line = |path: &str| {
            let out = ringress.stdout();
            out.lines().find(|line| line.contains(path)).map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        };
        wait_until("both lines are written", || line("/logged").is_some() && line("/unrouted").is_some());
        let (routed, unrouted) = (line("/logged").unwrap(), line("/unrouted").unwrap());
        assert_eq!((routed["status"].as_u64(), routed["generation"].as_u64()), (Some(200), Some(1)), "{routed}");
        assert_eq!((routed["method"].as_str(), routed["host"].as_str()), (Some("GET"), Some("a.test")), "{routed}");
        assert_eq!(unrouted["status"].as_u64(), Some(404), "{unrouted}");
        assert!(unrouted["no_route_reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{unrouted}");
    }

    fn what_never_became_a_request_is_logged_with_its_first_line_and_the_reason(driver) {
        let ringress = Launch::new(driver).start();
        ringress.client().ask("GET /pipe|?\u{1}\" HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the line is written", || ringress.stdout().contains("/pipe"));
        let out = ringress.stdout();
        let line: serde_json::Value = serde_json::from_str(out.lines().find(|line| line.contains("/pipe")).unwrap()).unwrap();
        assert_eq!(line["received"].as_str(), Some("GET /pipe|?\u{1}\" HTTP/1.1"), "{line}");
        assert_eq!(line["status"].as_u64(), Some(400), "{line}");
        assert!(line["detail"].as_str().is_some_and(|detail| detail.contains("target")), "{line}");
    }

    fn the_log_names_the_client_behind_trusted_proxies(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--trusted-proxies=127.0.0.0/8"]).serving(&[&upstream]).start();
        let answer = ringress.client().ask("GET /behind HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.9, 127.0.0.7\r\nX-Real-IP: 7.7.7.7\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.status, 200);
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.field("X-Real-IP"), Some("198.51.100.9"));
        wait_until("the line is written", || ringress.stdout().contains("/behind"));
        assert!(ringress.stdout().lines().any(|line| line.contains("/behind") && line.contains("\"client_ip\":\"198.51.100.9\"")));
    }

    fn a_log_line_stays_one_line_whatever_a_client_sends(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let before = ringress.stdout().lines().count();
        ringress.client().ask("GET /marker%0a%22%7d?\"quoted\" HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\"b\\c\t{}\r\nReferer: \u{e9}\r\nConnection: close\r\n\r\n");
        ringress.client().ask("GET /marker%0a%22%7d?$%7Bx%7D HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\"b\\c\t{}\r\nReferer: \u{e9}\r\nConnection: close\r\n\r\n");
        wait_until("the lines are written", || ringress.stdout().matches("/marker").count() >= 1);
        for line in ringress.stdout().lines().skip(before) {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
        }
    }

    fn answers_are_counted_by_class(driver) {
        let upstream = Upstream::answering(|request| match request.target().as_str() {
            "/down" => b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => ok(&[], b""),
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        for (host, target, times) in [("a.test", "/", 3), ("a.test", "/down", 2), ("b.test", "/", 4)] {
            (0..times).for_each(|_| drop(ringress.get(host, target)));
        }
        let count = |class: &str| ringress.metric("ringress_requests_total", &format!("code_class=\"{class}\""));
        wait_until("all are counted", || (count("2xx"), count("5xx"), count("4xx")) == (3.0, 2.0, 4.0));
        assert_eq!(ringress.metric("ringress_no_route_total", "reason=\"host\""), 4.0);
    }

    fn metrics_are_well_formed_and_name_no_client_text(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        ringress.get("a.test", "/some-path");
        ringress.get("unknown-host.test", "/some-path");
        let text = ringress.admin("/metrics").text();
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            assert!(value.parse::<f64>().is_ok(), "{line:?}");
            assert!(seen.insert(series.to_owned()), "{series} stands twice");
            let name = series.split('{').next().unwrap();
            assert!(text.contains("# TYPE ") && name.starts_with("ringress_") || name.starts_with("process_"), "{line:?}");
        }
        assert!(seen.len() > 20, "{text}");
        assert!(!text.contains("some-path") && !text.contains("unknown-host"), "labels are bounded by the configuration");
        assert!(!ringress.stdout().contains("some-path"), "no line is written where the log is off");
    }

    fn the_log_speaks_the_common_format_where_it_is_asked_to(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--access-log=clf"]).serving(&[&upstream]).start();
        ringress.get("a.test", "/clf?x=%22");
        wait_until("the line is written", || ringress.stdout().contains("/clf"));
        let out = ringress.stdout();
        let line = out.lines().find(|line| line.contains("/clf")).unwrap();
        let (before, rest) = line.split_once(" \"GET /clf?x=%22 HTTP/1.1\" 200 ").unwrap_or_else(|| panic!("{line}"));
        assert!(before.starts_with("127.0.0.1 - - [") && before.ends_with(']'), "{line}");
        assert!(rest.split(' ').next().unwrap().parse::<u64>().is_ok(), "{line}");
    }

    fn the_driver_is_named_where_people_look(driver) {
        let ringress = Launch::new(driver).start();
        let name = driver.as_str();
        let metric = format!("driver=\"{name}\"");
        assert!(ringress.metric("ringress_io_driver", &metric) >= 2.0, "one line for each shard");
        assert!(ringress.admin("/readyz").text().contains(name));
        assert!(ringress.logs().contains(name));
        assert!(ringress.metric("ringress_generation", "") >= 2.0);
    }
}
