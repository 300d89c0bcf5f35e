//! Hosts, targets and paths, in every spelling.

use super::row::{OPEN, Row, SMUGGLED, bytes, get_target, refused, served};

pub(super) fn rows() -> Vec<Row> {
    [targets(), hosts(), forms_of_targets(), paths(), refused_paths()].into_iter().flatten().collect()
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
