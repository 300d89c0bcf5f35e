//! What a process holds: descriptors, memory and buffers stay bounded whatever clients and endpoints do.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::upstream::ok;
use crate::support::{Client, Driver, Launch, Ringress, Upstream, on_both_drivers, wait_until};

/// Sockets that the process holds. Other descriptors come and go with its threads.
fn sockets(ringress: &Ringress) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", ringress.id())).unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

on_both_drivers! {
    fn descriptors_return_after_every_way_to_end_a_connection(driver) {
        let upstream = Upstream::start(|peer| {
            let Some(request) = peer.read_request() else { return };
            match request.target().as_str() {
                "/fin" => {}
                "/reset" => peer.reset(),
                "/silent" => {
                    peer.wait_end();
                }
                _ => {
                    peer.send(ok(&[("Connection", "close")], b"hello"));
                }
            }
        });
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        let before = sockets(&ringress);
        for round in 0..60 {
            let mut client = ringress.client();
            match round % 6 {
                0 => drop(client.get("a.test", "/")),
                1 => drop(client.try_get("a.test", "/fin")),
                2 => drop(client.try_get("a.test", "/reset")),
                3 => {
                    client.send("GET /silent HTTP/1.1\r\nHost: a.test\r\n\r\n");
                    client.reset();
                }
                4 => client.send("GET / HTTP/1.1\r\nHost: a"),
                _ => drop(client.ask("nonsense\r\n\r\n")),
            }
        }
        wait_until("all descriptors are back", || sockets(&ringress) <= before);
    }

    fn hundreds_of_clients_that_reset_at_once_harm_nobody(driver) {
        let upstream = Upstream::start(|peer| {
            while let Some(request) = peer.read_request() {
                if request.target() == "/wait" {
                    peer.wait_end();
                    return;
                }
                peer.send(ok(&[], b"hello"));
            }
        });
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        let before = sockets(&ringress);
        let mut clients: Vec<_> = (0..200).map(|_| ringress.client()).collect();
        clients.iter_mut().for_each(|client| client.send("GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        wait_until("all of them are under way", || upstream.requests().len() == 200);
        clients.into_iter().for_each(Client::reset);
        assert_eq!(ringress.get("a.test", "/").status, 200);
        // One pooled connection may stay for the request that was served.
        wait_until("all descriptors are back", || sockets(&ringress) <= before + 1);
        assert_eq!(ringress.metric("ringress_panics_total", ""), 0.0);
    }

    fn running_out_of_descriptors_is_told_and_passes(driver) {
        let upstream = Upstream::named("web");
        let limited = "ulimit -n 128; exec \"$0\" \"$@\"";
        let ringress = Launch::new(driver).under(&["sh", "-c", limited]).serving(&[&upstream]).start();
        let clients: Vec<_> = (0..200).map(|_| ringress.client()).collect();
        wait_until("the log says that accepting fails", || {
            let log = ringress.stdout();
            log.contains("shard notice") && log.contains("Too many open files")
        });
        clients.into_iter().for_each(Client::reset);
        wait_until("accepting goes on", || ringress.try_admin("/readyz").is_ok_and(|answer| answer.status == 200));
        // The ring closes what was reset a moment later.
        wait_until("requests are served again", || ringress.get("a.test", "/").status == 200);
        assert!(ringress.metric("ringress_shard_notices_total", "") >= 1.0);
        assert_eq!(ringress.metric("process_max_fds", ""), 128.0);
        assert!((1.0..128.0).contains(&ringress.metric("process_open_fds", "")));
    }

    fn a_client_that_does_not_read_stops_the_endpoint(driver) {
        const CHUNK: usize = 256 * 1024;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let upstream = Upstream::start(move |peer| {
            if peer.read_request().is_none() {
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 536870912\r\n\r\n");
            let chunk = vec![b'x'; CHUNK];
            while peer.send(&chunk) {
                count.fetch_add(CHUNK, Ordering::SeqCst);
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the answer flows", || sent.load(Ordering::SeqCst) > 0);
        let held = settled(&sent);
        // What lies in four socket buffers of the kernel is not ours; half a gigabyte would be.
        assert!(held < 64 * 1024 * 1024, "{held} bytes were taken from the endpoint for a client that reads nothing");
        client.take(8 * 1024 * 1024).unwrap();
        wait_until("the endpoint goes on when the client reads", || sent.load(Ordering::SeqCst) > held);
    }

    fn an_endpoint_that_does_not_read_stops_the_client(driver) {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let stopped = std::sync::Mutex::new(stopped);
        let upstream = Upstream::start(move |peer| {
            if peer.read_head().is_some() {
                // Ends with an error when the test lets go of the other side.
                let _ = stopped.lock().unwrap().recv();
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let client = ringress.client();
        let sent = Arc::new(AtomicUsize::new(0));
        let (mut stream, count) = (client.stream(), Arc::clone(&sent));
        let sender = std::thread::spawn(move || {
            drop(stream.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 536870912\r\n\r\n"));
            let chunk = vec![b'x'; 256 * 1024];
            while let Ok(written @ 1..) = stream.write(&chunk) {
                count.fetch_add(written, Ordering::SeqCst);
            }
        });
        wait_until("the body flows", || sent.load(Ordering::SeqCst) > 0);
        let held = settled(&sent);
        assert!(held < 64 * 1024 * 1024, "{held} bytes were taken from the client for an endpoint that reads nothing");
        drop(stop);
        client.reset();
        sender.join().unwrap();
    }

    fn memory_stays_where_it_was_after_many_changes_and_requests(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        let round = |from: usize| {
            for number in from..from + 100 {
                let host = format!("host-{number}.test");
                ringress.apply("more.yaml", &crate::support::manifest::Ingress::simple("more", &host, "web").yaml());
                assert_eq!(ringress.get(&host, "/").status, 200);
            }
        };
        round(0);
        let warm = resident(&ringress);
        round(100);
        round(200);
        let grown = resident(&ringress).saturating_sub(warm);
        println!("memory on {}: {warm} bytes, {grown} more after 200 changes", driver.as_str());
        assert!(grown < 24 * 1024 * 1024, "{grown} bytes more after 200 changes");
    }
}

/// A count once it has stood still for a while.
fn settled(count: &AtomicUsize) -> usize {
    let (mut last, mut since) = (count.load(Ordering::SeqCst), Instant::now());
    wait_until("nothing flows any more", || {
        let now = count.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(400)
    });
    last
}

fn resident(ringress: &Ringress) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", ringress.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_client_over_ipv6_is_served_and_named() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let driver = if Driver::IoUring.is_available() { Driver::IoUring } else { Driver::Epoll };
    let upstream = Upstream::named("web");
    let ringress = Launch::new(driver).serving(&[&upstream]).start();
    let stream = std::net::TcpStream::connect(("::1", ringress.ports.http)).unwrap();
    assert_eq!(Client::over(stream).get("a.test", "/").status, 200);
    assert_eq!(upstream.requests()[0].field("x-forwarded-for"), Some("::1"));
}
