//! The rustls configurations: handshakes, resumption, and what must not resume.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ringress_controller::default_certificate::{self, NAME};
use ringress_controller::publish::Publisher;
use ringress_controller::tickets::TicketKeys;
use ringress_shared::certificate::{Certificate, CertificateStore};
use ringress_shared::listener::{
    HttpSettings, Listener, ListenerId, Routing, Socket, SocketId, TlsProfile, TlsProfileId, Transport,
};
use ringress_shared::snapshot::Parts;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

/// The configurations of listeners with these TLS profiles.
fn configs(publisher: &mut Publisher, profiles: &[(&str, &Arc<Certificate>)]) -> Vec<Arc<ServerConfig>> {
    let listener = |(id, certificate): &(&str, &Arc<Certificate>)| Listener {
        id: ListenerId((*id).into()),
        hostname: None,
        tls: Some(Arc::new(TlsProfile {
            id: TlsProfileId((*id).into()),
            certificates: Arc::new(CertificateStore::new(Some(Arc::clone(certificate)))),
            alpn: vec![b"http/1.1".to_vec()],
        })),
        policies: Arc::default(),
        routing: Routing::Http(Arc::default()),
        http: Arc::new(HttpSettings {
            limits: Default::default(),
            timeouts: Default::default(),
            trusted_proxies: Box::new([]),
            access_log: Default::default(),
            public_port: 443,
        }),
    };
    let socket = Socket {
        id: SocketId { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), transport: Transport::Tcp },
        proxy_protocol: false,
        listeners: profiles.iter().map(listener).collect(),
    };
    let parts = Parts { sockets: [socket].into(), upstreams: Arc::default() };
    publisher.publish(parts).unwrap().snapshot.server_configs.values().cloned().collect()
}

fn publisher() -> Publisher {
    let (shards, _events) = support::shards(1);
    Publisher::new(support::ports(&shards), TicketKeys::new().unwrap())
}

fn certificate() -> Arc<Certificate> {
    Arc::new(default_certificate::self_signed().unwrap())
}

fn client(trusted: &[&Certificate], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.key.cert[0].clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

struct Shaken {
    kind: HandshakeKind,
    version: ProtocolVersion,
    alpn: Vec<u8>,
    tickets: usize,
}

/// A handshake in memory, and what the server sends after it.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Shaken {
    let mut client = ClientConnection::new(Arc::clone(client), NAME.try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Shaken {
        kind: server.handshake_kind().unwrap(),
        version: server.protocol_version().unwrap(),
        alpn: server.alpn_protocol().unwrap().to_vec(),
        tickets: client.tls13_tickets_received() as usize,
    }
}

#[test]
fn both_versions_are_served_with_http_1_1() {
    let certificate = certificate();
    let configs = configs(&mut publisher(), &[("a", &certificate)]);
    for (offered, expected, tickets) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2, 0),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3, 1),
    ] {
        let shaken = shake(&client(&[&certificate], offered), &configs[0]);
        assert_eq!((shaken.version, &*shaken.alpn), (expected, &b"http/1.1"[..]));
        assert_eq!(shaken.tickets, tickets);
        assert_eq!(shaken.kind, HandshakeKind::Full);
    }
}

#[test]
fn a_session_resumes_after_the_certificate_was_swapped() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (before, after) = (certificate(), certificate());
        let mut publisher = publisher();
        let client = client(&[&before, &after], version);
        let first = configs(&mut publisher, &[("a", &before)]);
        assert_eq!(shake(&client, &first[0]).kind, HandshakeKind::Full);
        let second = configs(&mut publisher, &[("a", &after)]);
        assert!(!Arc::ptr_eq(&first[0], &second[0]));
        assert_eq!(shake(&client, &second[0]).kind, HandshakeKind::Resumed);
    }
}

#[test]
fn a_session_of_one_profile_does_not_resume_under_another() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let certificate = certificate();
        let configs = configs(&mut publisher(), &[("a", &certificate), ("b", &certificate)]);
        let client = client(&[&certificate], version);
        assert_eq!(shake(&client, &configs[0]).kind, HandshakeKind::Full);
        assert_eq!(shake(&client, &configs[1]).kind, HandshakeKind::Full);
    }
}

#[test]
fn no_early_data_is_offered() {
    let certificate = certificate();
    let configs = configs(&mut publisher(), &[("a", &certificate)]);
    assert_eq!(configs[0].max_early_data_size, 0);
}

#[test]
fn the_default_certificate_is_valid_now_and_names_itself() {
    let certificate = certificate();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!(certificate.not_before < now && now < certificate.not_after);
    assert!(certificate.covers(NAME));
    assert_eq!(certificate.secret, None);
}
