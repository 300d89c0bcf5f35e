//! Publishing: the order of commands, what is kept, what is bound, what is freed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ringress_controller::default_certificate;
use ringress_controller::publish::{Publication, Publisher};
use ringress_controller::tickets::TicketKeys;
use ringress_shared::certificate::CertificateStore;
use ringress_shared::listener::{
    HttpSettings, Listener, ListenerId, Routing, Socket, SocketId, TlsProfile, TlsProfileId, Transport,
};
use ringress_shared::snapshot::Parts;
use support::{FakeShard, ports, shards};

fn publisher(shards: &[Arc<FakeShard>]) -> Publisher {
    Publisher::new(ports(shards), TicketKeys::new().unwrap())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn profile(id: &str) -> Arc<TlsProfile> {
    let certificate = default_certificate::self_signed().unwrap();
    Arc::new(TlsProfile {
        id: TlsProfileId(id.into()),
        certificates: Arc::new(CertificateStore::new(Some(Arc::new(certificate)))),
        alpn: vec![b"http/1.1".to_vec()],
    })
}

fn settings() -> HttpSettings {
    HttpSettings {
        limits: Default::default(),
        timeouts: Default::default(),
        trusted_proxies: Box::new([]),
        access_log: Default::default(),
        public_port: 80,
    }
}

fn socket(address: SocketAddr, tls: Option<&Arc<TlsProfile>>) -> Socket {
    let listener = Listener {
        id: ListenerId(if tls.is_some() { "https" } else { "http" }.into()),
        hostname: None,
        tls: tls.cloned(),
        policies: Arc::default(),
        routing: Routing::Http(Arc::default()),
        http: Arc::new(settings()),
    };
    Socket {
        id: SocketId { address, transport: Transport::Tcp },
        proxy_protocol: false,
        listeners: [listener].into(),
    }
}

fn parts(sockets: impl IntoIterator<Item = Socket>) -> Parts {
    Parts { sockets: sockets.into_iter().collect(), upstreams: Arc::default() }
}

fn publish(publisher: &mut Publisher, parts: Parts) -> Publication {
    publisher.publish(parts).unwrap()
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind(loopback(0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_shard_is_told_to_listen_before_it_is_told_to_apply() {
    let (shards, _events) = shards(2);
    let mut publisher = publisher(&shards);
    publish(&mut publisher, parts([socket(loopback(0), None)]));
    for shard in &shards {
        assert_eq!(shard.told(), ["Listen(tcp/127.0.0.1:0)", "Apply(1)"]);
    }
}

#[test]
fn a_socket_is_bound_once_and_let_go_after_the_generation_that_lacks_it() {
    let (shards, _events) = shards(1);
    let mut publisher = publisher(&shards);
    for _ in 0..2 {
        publish(&mut publisher, parts([socket(loopback(0), None)]));
    }
    publish(&mut publisher, parts([]));
    let told = ["Listen(tcp/127.0.0.1:0)", "Apply(1)", "Apply(2)", "Apply(3)", "Unlisten(tcp/127.0.0.1:0)"];
    assert_eq!(shards[0].told(), told);
    assert!(publisher.bound().is_empty());
}

#[test]
fn every_shard_accepts_on_the_same_port() {
    let (shards, _events) = shards(3);
    let mut publisher = publisher(&shards);
    publish(&mut publisher, parts([socket(loopback(0), None)]));
    let address = *publisher.bound().values().next().unwrap();
    let listeners: Vec<TcpListener> = shards
        .iter()
        .map(|shard| TcpListener::from(shard.listening.lock().unwrap().pop().unwrap()))
        .collect();
    assert_eq!(listeners.iter().map(|l| l.local_addr().unwrap()).collect::<Vec<_>>(), [address; 3]);
    let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut accepted = Vec::new();
    for listener in &listeners {
        // Handed out in blocking mode: accept would wait, so this test sets what a driver would.
        listener.set_nonblocking(true).unwrap();
        accepted.push(std::iter::from_fn(|| listener.accept().ok()).count());
    }
    assert_eq!(accepted.iter().sum::<usize>(), clients.len());
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
}

#[test]
fn descriptors_are_handed_out_in_blocking_mode() {
    let (shards, _events) = shards(1);
    publish(&mut publisher(&shards), parts([socket(loopback(0), None)]));
    let descriptor = shards[0].listening.lock().unwrap().pop().unwrap();
    assert!(!socket2::Socket::from(descriptor).nonblocking().unwrap());
}

#[test]
fn the_unspecified_ipv6_address_takes_ipv4_too() {
    let (shards, _events) = shards(1);
    let mut publisher = publisher(&shards);
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let publication = publish(&mut publisher, parts([socket(any, None)]));
    assert!(publication.failed.is_empty(), "{:?}", publication.failed);
    let port = publisher.bound().values().next().unwrap().port();
    TcpStream::connect(loopback(port)).unwrap();
}

#[test]
fn a_taken_port_fails_its_socket_and_not_the_generation() {
    let (shards, _events) = shards(1);
    let mut publisher = publisher(&shards);
    let other = TcpListener::bind(loopback(0)).unwrap();
    let taken = other.local_addr().unwrap();
    let publication = publish(&mut publisher, parts([socket(taken, None), socket(loopback(0), None)]));
    assert_eq!(shards[0].told(), ["Listen(tcp/127.0.0.1:0)", "Apply(1)"]);
    let [error] = &publication.failed[..] else { panic!("{:?}", publication.failed) };
    let message = format!("{error}; {}", error.next_step(Some("--http-port")));
    assert!(message.starts_with(&format!("port {} is taken on 127.0.0.1", taken.port())), "{message}");
    assert!(message.ends_with("stop the other process or give --http-port another one"), "{message}");
    assert!(message.contains("os error 98"), "{message}");

    drop(other);
    assert!(publisher.rebind().is_empty());
    assert_eq!(shards[0].told().last().unwrap(), &format!("Listen(tcp/{taken})"));
    assert!(publisher.rebind().is_empty());
    assert_eq!(shards[0].told().len(), 3, "bound once");
}

#[test]
fn a_port_of_another_ringress_is_taken_although_it_could_be_shared() {
    let (first, _first_events) = shards(1);
    let (second, _second_events) = shards(1);
    let address = loopback(free_port());
    let mut one = publisher(&first);
    assert!(publish(&mut one, parts([socket(address, None)])).failed.is_empty());
    assert_eq!(publish(&mut publisher(&second), parts([socket(address, None)])).failed.len(), 1);
}

#[test]
fn generations_count_from_one_and_parts_keep_their_pointers() {
    let (shards, _events) = shards(1);
    let mut publisher = publisher(&shards);
    let parts = parts([socket(loopback(0), Some(&profile("a")))]);
    let first = publish(&mut publisher, parts.clone()).snapshot;
    let second = publish(&mut publisher, parts.clone()).snapshot;
    assert_eq!((first.generation, second.generation), (1, 2));
    assert!(Arc::ptr_eq(&first.sockets, &second.sockets));
    assert!(Arc::ptr_eq(&first.upstreams, &second.upstreams));
    assert!(Arc::ptr_eq(&first.server_configs, &second.server_configs));
    assert!(Arc::ptr_eq(&first.ambient, &second.ambient));
}

#[test]
fn a_tls_configuration_is_made_anew_only_for_another_profile() {
    let (shards, _events) = shards(1);
    let mut publisher = publisher(&shards);
    let (a, b) = (profile("a"), profile("a"));
    let https = ListenerId("https".into());
    let config = |publication: &Publication| Arc::clone(&publication.snapshot.server_configs[&https]);
    let plain = socket(loopback(0), None);
    let first = config(&publish(&mut publisher, parts([plain.clone(), socket(loopback(1), Some(&a))])));
    let second = config(&publish(&mut publisher, parts([socket(loopback(1), Some(&a))])));
    let third = config(&publish(&mut publisher, parts([socket(loopback(1), Some(&b))])));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&second, &third));
    let none = publish(&mut publisher, parts([plain])).snapshot;
    assert!(none.server_configs.is_empty());
}

#[test]
fn a_snapshot_lives_until_the_last_shard_has_let_go_of_it() {
    let (shards, _events) = shards(2);
    let mut publisher = publisher(&shards);
    let first = Arc::downgrade(&publish(&mut publisher, parts([])).snapshot);
    let late = shards[1].serving.lock().unwrap().clone().unwrap();
    for _ in 0..3 {
        publish(&mut publisher, parts([]));
    }
    assert_eq!(publisher.free(), 2, "the newest and the one that is held");
    let held = first.upgrade().map(|snapshot| snapshot.generation);
    assert_eq!(held, Some(1));
    drop(late);
    assert!(first.upgrade().is_some(), "the shard's share must not be the last");
    assert_eq!(publisher.free(), 1);
    assert!(first.upgrade().is_none());
}

#[test]
fn a_generation_is_acknowledged_by_the_last_shard() {
    let (shards, _events) = shards(2);
    let mut publisher = publisher(&shards);
    for _ in 0..3 {
        publish(&mut publisher, parts([]));
    }
    assert_eq!(publisher.installed(0, 3), 0);
    assert_eq!(publisher.installed(1, 2), 2);
    assert_eq!(publisher.installed(1, 1), 2, "an old message takes nothing back");
    assert_eq!(publisher.installed(1, 3), 3);
}
