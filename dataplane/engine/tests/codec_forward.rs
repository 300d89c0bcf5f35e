//! Heads as they leave us: what an endpoint sees of a request, what a client sees of a response and of our own answers.

mod codec_support;

use std::net::IpAddr;

use codec_support::{good_request, good_response};
use ringress_engine::codec::h1::ResponseContext;
use ringress_engine::http::forward::{
    ClientBody, Edit, ForwardRequest, ForwardResponse, LocalAnswer, PeerText, Scheme, client_address,
    write_local_answer, write_request, write_response,
};
use ringress_engine::http::{Framing, Head, Version};

const DATE: &[u8] = b"Sat, 21 Nov 2026 12:00:00 GMT";
const OURS: &str = "CDN-Loop: ringress\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: 8443\r\n\
                    X-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id-1\r\n";

fn forward(peer: &PeerText) -> ForwardRequest<'_> {
    ForwardRequest {
        peer,
        client: peer,
        trusted: false,
        scheme: Scheme::Https,
        public_port: 8443,
        request_id: b"id-1",
        target: None,
        host: None,
        upgrade: false,
        edits: &[],
    }
}

fn peer() -> PeerText {
    PeerText::new("192.0.2.1".parse().expect("an address"))
}

fn sent_with(head: &Head, forward: &ForwardRequest<'_>) -> String {
    let mut out = b"before".to_vec();
    write_request(head, forward, &mut out);
    assert!(out.starts_with(b"before"), "appended");
    String::from_utf8(out.split_off(6)).expect("text")
}

fn sent(bytes: &str) -> String {
    sent_with(&good_request(bytes.as_bytes()), &forward(&peer()))
}

/// What becomes of fields behind `GET / HTTP/1.1` and `Host: a`, without what we add at the end.
#[track_caller]
fn check_fields(clause: &str, fields: &str, expected: &str) {
    let found = sent(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(found, format!("GET / HTTP/1.1\r\nHost: a\r\n{expected}{OURS}\r\n"), "{clause}");
}

#[test]
fn order_and_case_stay() {
    check_fields("", "x-B: 1\r\nAccept: */*\r\nX-b: 2\r\n", "x-B: 1\r\nAccept: */*\r\nX-b: 2\r\n");
    check_fields("RFC 9110 §5.5 blanks go", "X:  y \t\r\nZ:\r\n", "X: y\r\nZ: \r\n");
    let found = sent("GET / HTTP/1.1\r\nX: y\r\nhOST: a\r\n\r\n");
    assert!(found.starts_with("GET / HTTP/1.1\r\nX: y\r\nhOST: a\r\n"), "{found}");
}

#[test]
fn what_belongs_to_the_connection_stays_here() {
    for (clause, fields, expected) in [
        ("RFC 9110 §7.6.1", "Connection: close\r\n", ""),
        ("RFC 9110 §7.6.1", "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n", ""),
        ("RFC 9110 §7.8 not asked for", "Upgrade: websocket\r\n", ""),
        ("RFC 9110 §11.7.2", "Proxy-Authorization: Basic eA==\r\nProxy-Authenticate: x\r\n", ""),
        (
            "h2c smuggling",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            "",
        ),
        ("RFC 9110 §10.1.4 TE without trailers", "TE: gzip\r\nConnection: TE\r\n", ""),
        ("nominated", "Connection: X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n", "X-Other: 2\r\n"),
        ("nominated in any case", "x-mine: 1\r\nConnection: X-MINE\r\n", ""),
        ("nominated next to close", "Connection: close, X-Mine\r\nX-Mine: 1\r\n", ""),
        (
            "nominated by a second field",
            "Connection: a\r\nConnection: b\r\nb: 1\r\na: 2\r\nc: 3\r\n",
            "c: 3\r\n",
        ),
        (
            "CVE-2024-45410 Authorization",
            "Connection: authorization\r\nAuthorization: x\r\n",
            "Authorization: x\r\n",
        ),
        ("CVE-2024-45410 Cookie", "Connection: cookie\r\nCookie: x\r\n", "Cookie: x\r\n"),
        ("CVE-2024-45410 Host", "Connection: host\r\n", ""),
        ("CVE-2024-45410 forwarding", "Connection: x-forwarded-for, x-real-ip, X-Request-ID\r\n", ""),
        ("RFC 8586 §2.1", "CDN-Loop: a, b;x=1\r\ncdn-loop: c\r\n", "CDN-Loop: a, b;x=1\r\ncdn-loop: c\r\n"),
        ("RFC 8586 §2.1", "Connection: cdn-loop\r\nCDN-Loop: a\r\n", "CDN-Loop: a\r\n"),
        ("httpoxy CVE-2016-5385", "Proxy: http://evil\r\n", ""),
        ("§4.7 10", "X_Y: 1\r\nContent_Length: 5\r\nX-Y: 2\r\n", "X-Y: 2\r\n"),
        ("§4.7 10 other token bytes pass", "X.Y: 1\r\nX!: 2\r\n", "X.Y: 1\r\nX!: 2\r\n"),
        ("RFC 9110 §6.6.2 no chunks, no trailers", "Trailer: x\r\n", ""),
    ] {
        check_fields(clause, fields, expected);
    }
}

#[test]
fn framing_is_written_anew() {
    let post = |fields: &str| sent(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}X: y\r\n\r\n"));
    for (fields, expected) in [
        ("Content-Length: 5\r\n", "Content-Length: 5\r\nX: y\r\n"),
        ("content-length: 0005\r\n", "content-length: 5\r\nX: y\r\n"),
        ("Content-Length: 0\r\n", "Content-Length: 0\r\nX: y\r\n"),
        ("Transfer-Encoding: CHUNKED\r\n", "Transfer-Encoding: chunked\r\nX: y\r\n"),
        (
            "Transfer-Encoding: chunked\r\nTrailer: z\r\n",
            "Transfer-Encoding: chunked\r\nTrailer: z\r\nX: y\r\n",
        ),
        ("Connection: content-length\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nX: y\r\n"),
        (
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nX: y\r\n",
        ),
    ] {
        assert_eq!(post(fields), format!("POST / HTTP/1.1\r\nHost: a\r\n{expected}{OURS}\r\n"), "{fields}");
    }
}

#[test]
fn a_body_without_field_is_framed_at_the_end() {
    let mut head = Head::new();
    head.begin_request(b"POST", b"/").expect("a good line");
    head.push_field(b"host", b"a").expect("a good field");
    head.finish_request().expect("a good head");
    head.facts.framing = Framing::Chunked;
    let found = sent_with(&head, &forward(&peer()));
    assert_eq!(found, format!("POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n{OURS}\r\n"));
}

#[test]
fn expectations_travel_where_a_body_waits() {
    let post = |fields: &str| sent(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert!(post("Content-Length: 5\r\nexpect: 100-Continue\r\n").contains("\r\nexpect: 100-continue\r\n"));
    assert!(!post("Expect: 100-continue\r\n").contains("xpect"), "0.CL desync");
}

#[test]
fn trailers_are_asked_for_as_the_standard_says() {
    let added = "Connection: TE\r\nTE: trailers\r\n";
    check_fields("RFC 9110 §10.1.4", "TE: trailers\r\n", added);
    check_fields("RFC 9110 §10.1.4", "te: gzip;q=1, trailers\r\nConnection: te\r\n", added);
}

#[test]
fn targets_become_origin_form() {
    for (line, expected) in [
        ("GET http://a/b?c HTTP/1.1", "GET /b?c HTTP/1.1"),
        ("GET http://a HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://a?b HTTP/1.1", "GET /?b HTTP/1.1"),
        ("OPTIONS http://a HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("GET /a/../%2e//b?c?d HTTP/1.1", "GET /a/../%2e//b?c?d HTTP/1.1"),
        ("GET /? HTTP/1.1", "GET /? HTTP/1.1"),
        ("get / HTTP/1.1", "get / HTTP/1.1"),
        ("GET / HTTP/1.0", "GET / HTTP/1.1"),
    ] {
        let found = sent(&format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(found, format!("{expected}\r\nHost: a\r\n{OURS}\r\n"), "{line}");
    }
}

#[test]
fn a_host_is_always_sent() {
    let named = sent("GET http://a/b HTTP/1.0\r\nX: y\r\n\r\n");
    assert_eq!(named, format!("GET /b HTTP/1.1\r\nHost: a\r\nX: y\r\n{OURS}\r\n"));
    let ours = OURS.replace("X-Forwarded-Host: a\r\n", "");
    assert_eq!(sent("GET / HTTP/1.0\r\n\r\n"), format!("GET / HTTP/1.1\r\nHost: \r\n{ours}\r\n"));
}

#[test]
fn policies_replace_target_and_host() {
    let (head, peer) = (good_request(b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"), peer());
    let forward = ForwardRequest { target: Some(b"/c?d"), host: Some(b"other:81"), ..forward(&peer) };
    assert_eq!(sent_with(&head, &forward), format!("GET /c?d HTTP/1.1\r\nHost: other:81\r\n{OURS}\r\n"));
}

#[test]
fn a_replaced_host_cannot_end_its_line() {
    let (head, peer) = (good_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), peer());
    let forward = ForwardRequest { host: Some(b"b\r\nEvil: x"), ..forward(&peer) };
    assert_eq!(sent_with(&head, &forward), format!("GET / HTTP/1.1\r\nHost: a\r\n{OURS}\r\n"));
}

#[test]
fn a_rewritten_target_cannot_end_its_line() {
    let (head, peer) = (good_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), peer());
    let forward = ForwardRequest { target: Some(b"/a b\r\n\xff#%41?c=[1]"), ..forward(&peer) };
    let found = sent_with(&head, &forward);
    assert!(found.starts_with("GET /a%20b%0D%0A%FF%23%41?c=[1] HTTP/1.1\r\n"), "{found}");
}

#[test]
fn an_untrusted_client_says_nothing_about_itself() {
    for field in [
        "X-Forwarded-For: 10.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n",
        "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Proto: http\r\n",
        "X-Forwarded-Prefix: /x\r\nX-Forwarded-User: root\r\nX-Forwarded: for=x\r\n",
        "X-Real-IP: 10.0.0.1\r\n",
        "Forwarded: for=10.0.0.1\r\n",
        "X_Forwarded_For: 10.0.0.1\r\nX_Forwarded-For: 10.0.0.1\r\nx_real_ip: 1\r\n",
    ] {
        check_fields("§4.7 11", field, "");
    }
}

#[test]
fn a_trusted_peer_is_believed() {
    let (bytes, peer) = (
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: b\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
         X-Forwarded-Prefix: /p\r\nForwarded: for=x\r\nX-Real-IP: 10.0.0.1\r\nX_Forwarded_For: x\r\nX-Forwarded-A_B: x\r\nProxy: y\r\n\r\n",
        peer(),
    );
    let client = PeerText::new([10, 0, 0, 2].into());
    let believed = ForwardRequest { trusted: true, client: &client, ..forward(&peer) };
    let found = sent_with(&good_request(bytes.as_bytes()), &believed);
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b\r\nX-Forwarded-Prefix: /p\r\nForwarded: for=x\r\n\
                    CDN-Loop: ringress\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.1\r\nX-Forwarded-Port: 8443\r\n\
                    X-Forwarded-Proto: https\r\nX-Real-IP: 10.0.0.2\r\nX-Request-ID: id-1\r\n\r\n";
    assert_eq!(found, expected);
    let bare = good_request(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For:\r\n\r\n");
    let found = sent_with(&bare, &ForwardRequest { trusted: true, ..forward(&peer) });
    assert_eq!(found, format!("GET / HTTP/1.1\r\nHost: a\r\n{OURS}\r\n"));
}

/// 192.0.2.0/24 and 2001:db8::/32 are trusted proxies.
#[test]
fn the_client_is_the_first_behind_the_trusted_proxies() {
    let is_trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().starts_with(&[192, 0, 2]),
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    };
    let rows = [
        ("198.51.100.7", "X-Forwarded-For: 9.9.9.9\r\n", "198.51.100.7"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "X-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Forwarded-For: 9.9.9.9,\t192.0.2.5, 192.0.2.6\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 192.0.2.5\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Forwarded-For: 192.0.2.9, 192.0.2.5\r\n", "192.0.2.9"),
        ("192.0.2.1", "X-Forwarded-For: 9.9.9.9, unknown, 192.0.2.5\r\n", "192.0.2.5"),
        ("192.0.2.1", "X-Forwarded-For: 9.9.9.9:4711\r\n", "9.9.9.9"),
        ("2001:db8::1", "X-Forwarded-For: [2001:db9::7]:443\r\n", "2001:db9::7"),
        ("2001:db8::1", "X-Forwarded-For: [2001:db9::7]\r\n", "2001:db9::7"),
        ("192.0.2.1", "X-Forwarded-For: ::ffff:9.9.9.9\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Real-IP: 9.9.9.9\r\n", "9.9.9.9"),
        ("192.0.2.1", "X-Real-IP: 7.7.7.7\r\nX-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9"),
        ("198.51.100.7", "X-Real-IP: 9.9.9.9\r\n", "198.51.100.7"),
        ("192.0.2.1", "X-Real-IP: nobody\r\n", "192.0.2.1"),
    ];
    for (peer, fields, expected) in rows {
        let head = good_request(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        let client = client_address(&head, peer.parse().unwrap(), is_trusted);
        assert_eq!(client.to_string(), expected, "{peer} {fields}");
    }
}

#[test]
fn request_ids_are_kept_when_sane() {
    let longest = "x".repeat(128);
    let without = OURS.replace("X-Request-ID: id-1\r\n", "");
    for id in ["abc-123", "a/b=c", &longest] {
        let found = sent(&format!("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: {id}\r\n\r\n"));
        assert_eq!(found, format!("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: {id}\r\n{without}\r\n"));
    }
    let too_long = "x".repeat(129);
    for fields in ["", "a b", "é", "a\tb", &too_long, "a\r\nX-Request-ID: b"] {
        check_fields("replaced", &format!("X-Request-ID: {fields}\r\n"), "");
    }
}

#[test]
fn upgrades_are_forwarded_where_allowed() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nTE: trailers\r\n\r\n";
    let (head, peer) = (good_request(bytes), peer());
    let allowed = sent_with(&head, &ForwardRequest { upgrade: true, ..forward(&peer) });
    let asked = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(allowed, format!("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\n{asked}{OURS}\r\n"));
    assert!(!sent_with(&head, &forward(&peer)).contains("pgrade"));
    let h2c = good_request(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
    assert!(!sent_with(&h2c, &ForwardRequest { upgrade: true, ..forward(&peer) }).contains("pgrade"));
}

#[test]
fn policies_edit_fields() {
    let head = good_request(b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nb: 3\r\nC: 4\r\n\r\n");
    let peer = peer();
    let edits = [
        Edit::Remove { name: b"a" },
        Edit::Set { name: b"B", value: b"5" },
        Edit::Add { name: b"C", value: b"6" },
        Edit::Set { name: b"x-forwarded-proto", value: b"wss" },
    ];
    let found = sent_with(&head, &ForwardRequest { edits: &edits, ..forward(&peer) });
    let ours = OURS.replace("X-Forwarded-Proto: https\r\n", "");
    assert_eq!(
        found,
        format!("GET / HTTP/1.1\r\nHost: a\r\nC: 4\r\n{ours}B: 5\r\nC: 6\r\nx-forwarded-proto: wss\r\n\r\n")
    );
}

#[test]
fn policies_cannot_break_a_head() {
    let (head, peer) =
        (good_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA: 1\r\n\r\n"), peer());
    let edits = [
        Edit::Set { name: b"A", value: b"x\r\nEvil: y" },
        Edit::Add { name: b"A B", value: b"x" },
        Edit::Add { name: b"", value: b"x" },
        Edit::Set { name: b"Content-Length", value: b"7" },
        Edit::Remove { name: b"content-length" },
        Edit::Add { name: b"Transfer-Encoding", value: b"chunked" },
        Edit::Set { name: b"Host", value: b"evil" },
        Edit::Remove { name: b"host" },
        Edit::Set { name: b"Connection", value: b"close" },
        Edit::Set { name: b"CDN-Loop", value: b"none" },
        Edit::Remove { name: b"cdn-loop" },
    ];
    let found = sent_with(&head, &ForwardRequest { edits: &edits, ..forward(&peer) });
    assert_eq!(found, format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA: 1\r\n{OURS}\r\n"));
}

const GET: ResponseContext = ResponseContext { head: false, upgrade: false };
const HEAD: ResponseContext = ResponseContext { head: true, upgrade: false };
const TO_11: ForwardResponse<'_> =
    ForwardResponse { version: Version::Http11, head: false, keep_alive: true, date: DATE, edits: &[] };

fn answered(bytes: &str, context: ResponseContext, forward: &ForwardResponse<'_>) -> (String, ClientBody) {
    let mut out = Vec::new();
    let body = write_response(&good_response(bytes.as_bytes(), context), forward, &mut out);
    (String::from_utf8(out).expect("text"), body)
}

#[track_caller]
fn check_response(clause: &str, fields: &str, expected: &str, body: Framing) {
    let (found, client) =
        answered(&format!("HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\n{fields}\r\n"), GET, &TO_11);
    assert_eq!(found, format!("HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\n{expected}\r\n"), "{clause}");
    assert_eq!(client, ClientBody { framing: body, keep_alive: true }, "{clause}");
}

#[test]
fn responses_are_framed_for_the_client() {
    check_response(
        "§6.3 rule 6",
        "Content-Length: 5\r\nX: y\r\n",
        "Content-Length: 5\r\nX: y\r\n",
        Framing::Length(5),
    );
    check_response(
        "§6.3 rule 4",
        "transfer-encoding: Chunked\r\nX: y\r\n",
        "transfer-encoding: chunked\r\nX: y\r\n",
        Framing::Chunked,
    );
    check_response("§6.3 rule 8", "X: y\r\n", "X: y\r\nTransfer-Encoding: chunked\r\n", Framing::Chunked);
    let both = "Content-Length: 5\r\nX: y\r\nTransfer-Encoding: chunked\r\n";
    check_response("§6.3 rule 3", both, "Transfer-Encoding: chunked\r\nX: y\r\n", Framing::Chunked);
    let hop = "Connection: X-Mine, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nUpgrade: h2\r\nContent-Length: 0\r\n";
    check_response("RFC 9110 §7.6.1", hop, "Content-Length: 0\r\n", Framing::Length(0));
    check_response(
        "RFC 9110 §6.6.2",
        "Trailer: a\r\n",
        "Trailer: a\r\nTransfer-Encoding: chunked\r\n",
        Framing::Chunked,
    );
    check_response(
        "RFC 9110 §6.6.2",
        "Trailer: a\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\n",
        Framing::Length(0),
    );
    let cookies = "Set-Cookie: a=b\r\nset-cookie: c\r\nX_Y: z\r\nContent-Length: 0\r\n";
    check_response("fields pass", cookies, cookies, Framing::Length(0));
}

#[test]
fn an_old_client_gets_what_it_can_read() {
    let old = ForwardResponse { version: Version::Http10, ..TO_11 };
    let close = ClientBody { framing: Framing::UntilClose, keep_alive: false };
    for fields in ["Transfer-Encoding: chunked\r\n", ""] {
        let (found, client) =
            answered(&format!("HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\n{fields}\r\n"), GET, &old);
        assert_eq!(found, "HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\nConnection: close\r\n\r\n");
        assert_eq!(client, close);
    }
    let (found, client) =
        answered("HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\nContent-Length: 5\r\n\r\n", GET, &old);
    assert_eq!(
        found,
        "HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    );
    assert_eq!(client, ClientBody { framing: Framing::Length(5), keep_alive: true });
}

#[test]
fn closing_is_announced() {
    let last = ForwardResponse { keep_alive: false, ..TO_11 };
    let (found, client) =
        answered("HTTP/1.1 200 OK\r\nDate: D\r\nServer: S\r\nContent-Length: 5\r\n\r\n", GET, &last);
    assert!(found.ends_with("Content-Length: 5\r\nConnection: close\r\n\r\n"), "{found}");
    assert!(!client.keep_alive);
}

#[test]
fn date_and_server_are_always_there() {
    let (found, _) = answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", GET, &TO_11);
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nServer: ringress\r\n\r\n";
    assert_eq!(found, expected);
}

#[test]
fn responses_without_body_say_what_they_may() {
    let answer = |status: u16, fields: &str, context: ResponseContext| {
        let forward = ForwardResponse { head: context.head, ..TO_11 };
        let (found, client) = answered(
            &format!("HTTP/1.1 {status} X\r\nDate: D\r\nServer: S\r\n{fields}\r\n"),
            context,
            &forward,
        );
        assert_eq!(client.framing, Framing::None, "{status} {fields}");
        found.replacen(&format!("HTTP/1.1 {status} X\r\nDate: D\r\nServer: S\r\n"), "", 1)
    };
    assert_eq!(answer(200, "Content-Length: 5\r\n", HEAD), "Content-Length: 5\r\n\r\n");
    assert_eq!(answer(200, "", HEAD), "\r\n");
    assert_eq!(answer(200, "Transfer-Encoding: chunked\r\n", HEAD), "\r\n");
    assert_eq!(answer(200, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HEAD), "\r\n");
    assert_eq!(answer(304, "Content-Length: 5\r\nETag: x\r\n", GET), "Content-Length: 5\r\nETag: x\r\n\r\n");
    assert_eq!(answer(204, "Content-Length: 0\r\n", GET), "\r\n", "RFC 9110 §8.6");
    assert_eq!(answer(204, "Transfer-Encoding: chunked\r\n", GET), "\r\n", "RFC 9112 §6.1");
}

#[test]
fn interim_responses_are_relayed_bare() {
    let last = ForwardResponse { keep_alive: false, ..TO_11 };
    let (found, _) = answered(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        GET,
        &last,
    );
    assert_eq!(found, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    assert_eq!(answered("HTTP/1.1 100 Continue\r\n\r\n", GET, &TO_11).0, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_switch_of_protocols_is_relayed() {
    let context = ResponseContext { head: false, upgrade: true };
    let bytes = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let (found, client) = answered(bytes, context, &TO_11);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!((found.as_str(), client.framing, client.keep_alive), (expected, Framing::None, false));
}

#[test]
fn response_fields_are_edited() {
    let edits = [
        Edit::Set { name: b"server", value: b"mine" },
        Edit::Remove { name: b"X-Powered-By" },
        Edit::Add { name: b"Strict-Transport-Security", value: b"max-age=1" },
        Edit::Remove { name: b"Content-Length" },
    ];
    let forward = ForwardResponse { edits: &edits, ..TO_11 };
    let (found, _) =
        answered("HTTP/1.1 200 OK\r\nDate: D\r\nX-Powered-By: x\r\nContent-Length: 0\r\n\r\n", GET, &forward);
    let expected = "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 0\r\nserver: mine\r\nStrict-Transport-Security: max-age=1\r\n\r\n";
    assert_eq!(found, expected);
}

fn local(answer: &LocalAnswer<'_>) -> String {
    let mut out = Vec::new();
    write_local_answer(answer, &mut out);
    String::from_utf8(out).expect("text")
}

const NOT_FOUND: LocalAnswer<'_> = LocalAnswer {
    status: 404,
    error: Some("destination_not_found"),
    body: b"no route for this host and path\n",
    fields: &[],
    date: DATE,
    version: Version::Http11,
    head: false,
    keep_alive: true,
};

#[test]
fn our_own_answers_are_plain() {
    let head = "HTTP/1.1 404 Not Found\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nServer: ringress\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Length: 32\r\n\
                Proxy-Status: ringress; error=destination_not_found\r\n";
    assert_eq!(local(&NOT_FOUND), format!("{head}\r\nno route for this host and path\n"));
    assert_eq!(local(&LocalAnswer { head: true, ..NOT_FOUND }), format!("{head}\r\n"), "RFC 9110 §9.3.2");
    let last = local(&LocalAnswer { keep_alive: false, head: true, ..NOT_FOUND });
    assert_eq!(last, format!("{head}Connection: close\r\n\r\n"));
    let old = local(&LocalAnswer { version: Version::Http10, head: true, ..NOT_FOUND });
    assert_eq!(old, format!("{head}Connection: keep-alive\r\n\r\n"));
}

#[test]
fn a_redirect_names_its_location() {
    let fields: &[(&str, &[u8])] = &[("Location", b"https://a/b"), ("X-Evil", b"a\r\nSet-Cookie: b")];
    let found = local(&LocalAnswer { status: 308, error: None, body: b"", fields, ..NOT_FOUND });
    assert!(
        found.starts_with("HTTP/1.1 308 Permanent Redirect\r\n")
            && found.contains("\r\nLocation: https://a/b\r\n")
    );
    assert!(
        !found.contains("Proxy-Status")
            && !found.contains("Set-Cookie")
            && found.contains("Content-Length: 0\r\n")
    );
    let none = local(&LocalAnswer { status: 204, error: None, ..NOT_FOUND });
    assert!(!none.contains("Content-") && none.ends_with("\r\n\r\n"), "RFC 9110 §8.6: {none}");
}
