//! TLS as clients see it: certificates by name, versions, resumption, swaps and deadlines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::proxying::noise;
use crate::support::manifest::{self, Document, Ingress};
use crate::support::tools::{Certificate, openssl_s_client, tls_connect};
use crate::support::upstream::ok;
use crate::support::{Client, Driver, Launch, PATIENCE, Ringress, Upstream, on_both_drivers, wait_until};

/// The DER of the certificate that a server shows for a name, whoever signed it.
pub(crate) fn shown_certificate(port: u16, name: &str) -> Vec<u8> {
    let text = openssl_s_client(port, &["-servername", name, "-showcerts"], "");
    let begin = text
        .find("-----BEGIN CERTIFICATE-----")
        .unwrap_or_else(|| panic!("no certificate for {name}: {text}"));
    let pem = &text[begin..];
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn house(driver: Driver, upstream: &Upstream, ingress: Ingress, secrets: &[Document]) -> Launch {
    let base = [ingress.yaml(), manifest::service("web"), manifest::endpoints("web", &[upstream.address()])];
    let documents: Vec<_> = base.into_iter().chain(secrets.iter().cloned()).collect();
    Launch::new(driver).manifests(&documents)
}

fn secure(driver: Driver, upstream: &Upstream, certificate: &Certificate) -> Ringress {
    let ingress = Ingress::simple("a", "a.test", "web").tls("a.test", Some("cert"));
    let secret = manifest::tls_secret("cert", &certificate.certificate, &certificate.key);
    house(driver, upstream, ingress, &[]).file("secret.yaml", &secret).start()
}

on_both_drivers! {
    fn the_certificate_follows_the_server_name(driver) {
        let upstream = Upstream::named("web");
        let (exact, wild, default) = (Certificate::for_names(&["a.test"]), Certificate::for_names(&["*.wild.test"]), Certificate::for_names(&["default.test"]));
        let ingress = Ingress::simple("a", "a.test", "web")
            .route("x.wild.test", "/", "Prefix", "web", "80")
            .route("plain.test", "/", "Prefix", "web", "80")
            .route("uncovered.test", "/", "Prefix", "web", "80")
            .tls("a.test", Some("exact"))
            .tls("*.wild.test", Some("wild"))
            .tls("uncovered.test", Some("exact"));
        let secrets = [
            manifest::tls_secret("exact", &exact.certificate, &exact.key),
            manifest::tls_secret("wild", &wild.certificate, &wild.key),
            manifest::tls_secret("default", &default.certificate, &default.key),
        ];
        let ringress = house(driver, &upstream, ingress, &secrets).flags(&["--default-ssl-certificate=default/default"]).start();
        let port = ringress.ports.https;
        for (name, expected) in [
            ("a.test", &exact),
            ("A.TEST", &exact),
            ("x.wild.test", &wild),
            ("y.wild.test", &wild),
            ("x.y.wild.test", &default),
            ("wild.test", &default),
            ("plain.test", &default),
            // A Secret that does not cover the host is not shown for it.
            ("uncovered.test", &default),
            ("nobody.test", &default),
        ] {
            assert!(expected.is(&shown_certificate(port, name)), "{name} got another certificate");
        }
        let without_name = openssl_s_client(port, &["-noservername", "-showcerts"], REQUEST);
        assert!(without_name.contains("HTTP/1.1 200 OK"), "a client without SNI gets the default certificate: {without_name}");
    }

    fn both_versions_and_alpn_are_offered_and_nothing_older(driver) {
        let upstream = Upstream::named("web");
        let ringress = secure(driver, &upstream, &Certificate::for_names(&["a.test"]));
        let port = ringress.ports.https;
        for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let text = openssl_s_client(port, &["-servername", "a.test", flag, "-alpn", "h2,http/1.1"], REQUEST);
            assert!(text.contains(version), "{text}");
            assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
            assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
        }
        let old = openssl_s_client(port, &["-servername", "a.test", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], REQUEST);
        assert!(!old.contains("HTTP/1.1 200 OK"), "TLS 1.1 was spoken: {old}");
        let unknown = openssl_s_client(port, &["-servername", "a.test", "-alpn", "spdy/3"], REQUEST);
        assert!(!unknown.contains("HTTP/1.1 200 OK"), "RFC 7301 §3.2: no common protocol is an alert: {unknown}");
    }

    fn sessions_are_resumed_by_ticket_on_every_shard(driver) {
        let upstream = Upstream::named("web");
        let ringress = secure(driver, &upstream, &Certificate::for_names(&["a.test"]));
        let port = ringress.ports.https;
        let folder = tempfile::TempDir::new().unwrap();
        for version in ["-tls1_2", "-tls1_3"] {
            let session = folder.path().join(version);
            let session = session.to_str().unwrap();
            let first = openssl_s_client(port, &["-servername", "a.test", version, "-sess_out", session], REQUEST);
            assert!(first.contains("New, TLS"), "{first}");
            // The kernel spreads connections over the shards: all of them must open what one of them sealed.
            for _ in 0..8 {
                let next = openssl_s_client(port, &["-servername", "a.test", version, "-sess_in", session], REQUEST);
                assert!(next.contains("Reused, TLS"), "{version}: {next}");
                assert!(next.contains("HTTP/1.1 200 OK"), "{next}");
            }
        }
        assert!(ringress.metric("ringress_tls_handshakes_total", "resumed=\"true\"") >= 16.0);
    }

    fn a_new_certificate_is_live_without_dropping_a_connection(driver) {
        let upstream = Upstream::named("web");
        let (old, new) = (Certificate::for_names(&["a.test"]), Certificate::for_names(&["a.test"]));
        let ringress = secure(driver, &upstream, &old);
        let port = ringress.ports.https;
        let mut kept: Vec<_> = (0..4).map(|_| tls_connect(port, "a.test", &old.client_config()).unwrap()).collect();
        kept.iter_mut().for_each(|client| assert_eq!(client.get("a.test", "/before").status, 200));
        ringress.apply("secret.yaml", &manifest::tls_secret("cert", &new.certificate, &new.key));
        for _ in 0..4 {
            let mut fresh = tls_connect(port, "a.test", &new.client_config()).expect("the next handshake shows the new certificate");
            assert_eq!(fresh.get("a.test", "/fresh").status, 200);
        }
        kept.iter_mut().for_each(|client| assert_eq!(client.get("a.test", "/after").status, 200, "open connections go on"));
    }

    fn a_revoked_or_broken_secret_falls_back_to_the_default_certificate(driver) {
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let other = Certificate::for_names(&["a.test"]);
        let ringress = secure(driver, &upstream, &certificate);
        let port = ringress.ports.https;
        assert!(certificate.is(&shown_certificate(port, "a.test")));
        ringress.change(|manifests| std::fs::remove_file(manifests.join("secret.yaml")).unwrap());
        assert!(!certificate.is(&shown_certificate(port, "a.test")), "a Secret that is gone is no longer shown");
        assert_eq!(ringress.get("a.test", "/").status, 308, "the redirect stays");
        // A key that does not belong to its certificate.
        ringress.apply("secret.yaml", &manifest::tls_secret("cert", &certificate.certificate, &other.key));
        let shown = shown_certificate(port, "a.test");
        assert!(!certificate.is(&shown) && !other.is(&shown));
        ringress.apply("secret.yaml", &manifest::tls_secret("cert", &certificate.certificate, &certificate.key));
        assert!(certificate.is(&shown_certificate(port, "a.test")));
    }

    fn a_secret_serves_its_own_namespace_alone(driver) {
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let secret = manifest::tls_secret("cert", &certificate.certificate, &certificate.key);
        let foreign = secret.replace("  name: cert\n", "  name: cert\n  namespace: other\n");
        for named in ["cert", "other/cert"] {
            let ingress = Ingress::simple("a", "a.test", "web").tls("a.test", Some(named));
            let ringress = house(driver, &upstream, ingress, &[]).file("secret.yaml", &foreign).start();
            assert!(!certificate.is(&shown_certificate(ringress.ports.https, "a.test")), "{named} crossed the namespace");
        }
    }

    fn the_end_of_a_connection_is_announced(driver) {
        // RFC 8446 §6.1: whoever closes says so first, or a cut could pass for an end.
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let ingress = Ingress::simple("a", "a.test", "web").tls("a.test", Some("cert"));
        let secret = manifest::tls_secret("cert", &certificate.certificate, &certificate.key);
        let ringress = house(driver, &upstream, ingress, &[secret]).flags(&["--client-idle-timeout=300ms"]).start();
        let config = certificate.client_config();
        for (what, request) in [
            ("asked for", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"),
            ("idle", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("refused", "GET /\0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ] {
            let mut client = tls_connect(ringress.ports.https, "a.test", &config).unwrap();
            client.ask(request);
            let mut rest = Vec::new();
            // rustls tells an end without close_notify apart: it is an error.
            let end = client.transport().read_to_end(&mut rest);
            assert_eq!(end.ok(), Some(0), "{what}: the connection ended without a word");
        }
    }

    fn connections_over_tls_drain_as_well(driver) {
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let mut ringress = secure(driver, &upstream, &certificate);
        let config = certificate.client_config();
        let mut idle = tls_connect(ringress.ports.https, "a.test", &config).unwrap();
        assert_eq!(idle.get("a.test", "/").status, 200);
        let fresh = tls_connect(ringress.ports.https, "a.test", &config).unwrap();
        ringress.signal("TERM");
        // rustls tells an end without close_notify apart: that would be an error, not a plain end.
        let mut rest = Vec::new();
        idle.transport().read_to_end(&mut rest).expect("the end is announced");
        assert_eq!(ringress.wait_exit().code(), Some(0));
        drop(fresh);
    }

    fn an_unfinished_handshake_meets_the_header_deadline(driver) {
        // CVE-2026-22045: a handshake without a deadline holds a connection for ever.
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let ingress = Ingress::simple("a", "a.test", "web").tls("a.test", Some("cert"));
        let secret = manifest::tls_secret("cert", &certificate.certificate, &certificate.key);
        let ringress = house(driver, &upstream, ingress, &[secret]).flags(&["--client-header-timeout=500ms"]).start();
        let port = ringress.ports.https;
        let hello = client_hello(&certificate);
        let (half, trickle) = (hello[..hello.len() / 2].to_vec(), hello.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| assert_ends(port, "nothing", |_| {}));
            scope.spawn(|| assert_ends(port, "half a ClientHello", |stream| stream.write_all(&half).unwrap()));
            scope.spawn(|| assert_ends(port, "a ClientHello and nothing after it", |stream| stream.write_all(&hello).unwrap()));
            scope.spawn(|| {
                assert_ends(port, "a ClientHello byte by byte", |stream| {
                    for byte in &trickle[..40] {
                        if stream.write_all(&[*byte]).is_err() {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(50));
                    }
                });
            });
        });
        assert_eq!(tls_connect(port, "a.test", &certificate.client_config()).unwrap().get("a.test", "/").status, 200);
    }

    fn noise_on_the_tls_port_harms_nobody(driver) {
        let upstream = Upstream::named("web");
        let certificate = Certificate::for_names(&["a.test"]);
        let ringress = secure(driver, &upstream, &certificate);
        let port = ringress.ports.https;
        for bytes in [&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01\x00\x02", &[0; 100], b"\x15\x03\x03\x00\x02\x02\x28"] {
            let mut client = Client::connect(port);
            drop(client.try_send(bytes));
            client.half_close();
            client.read_rest();
        }
        assert_eq!(tls_connect(port, "a.test", &certificate.client_config()).unwrap().get("a.test", "/").status, 200);
        assert_eq!(ringress.metric("ringress_panics_total", ""), 0.0);
    }

    fn large_bodies_pass_over_tls(driver) {
        let upstream = Upstream::answering(|request| ok(&[], &request.body));
        let certificate = Certificate::for_names(&["a.test"]);
        let ringress = secure(driver, &upstream, &certificate);
        let body = noise(8 * 1024 * 1024);
        let mut client = tls_connect(ringress.ports.https, "a.test", &certificate.client_config()).unwrap();
        client.send([format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat());
        let answer = client.read("POST").unwrap();
        assert!(answer.body == body, "{} bytes came back and differ", answer.body.len());
        assert_eq!(client.get("a.test", "/").status, 200);
    }

    fn a_websocket_tunnel_opens_over_tls(driver) {
        let upstream = Upstream::start(|peer| {
            if peer.read_head().is_none() {
                return;
            }
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            while let Some(bytes) = peer.take(5) {
                peer.send(bytes.to_ascii_uppercase());
            }
        });
        let certificate = Certificate::for_names(&["a.test"]);
        let ringress = secure(driver, &upstream, &certificate);
        let mut client = tls_connect(ringress.ports.https, "a.test", &certificate.client_config()).unwrap();
        client.send("GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
        assert_eq!(client.read("GET").unwrap().status, 101);
        assert_eq!(client.take(5).unwrap(), b"EARLY");
        for text in ["hello", "there"] {
            client.send(text);
            assert_eq!(client.take(5).unwrap(), text.to_ascii_uppercase().as_bytes());
        }
        client.transport().conn.send_close_notify();
        drop(client.transport().flush());
        wait_until("the endpoint is let go", || ringress.metric("ringress_connections", "") <= 1.0);
    }

    fn a_body_that_ends_without_close_notify_is_not_whole(driver) {
        // Truncation: the end of a close-delimited body must be told apart from a cut; ours is chunked, so it can be.
        let upstream = Upstream::start(|peer| {
            if peer.read_request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            }
        });
        let certificate = Certificate::for_names(&["a.test"]);
        let ringress = secure(driver, &upstream, &certificate);
        let mut client = tls_connect(ringress.ports.https, "a.test", &certificate.client_config()).unwrap();
        assert!(client.try_get("a.test", "/").is_err(), "a cut body looked whole");
    }
}

/// The first flight of a handshake.
fn client_hello(certificate: &Certificate) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut connection = rustls::ClientConnection::new(certificate.client_config(), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// The connection must end in time, and not before.
fn assert_ends(port: u16, what: &str, send: impl FnOnce(&mut TcpStream)) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let began = Instant::now();
    send(&mut stream);
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    let timed_out = ended.is_err_and(|error| crate::support::client::is_timeout(&error));
    assert!(!timed_out, "{what}: still open after {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(400), "{what}: ended after {:?}", began.elapsed());
}
