//! The end of a process: what was accepted is answered, what takes too long is cut, and the exit code says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::upstream::echo;
use crate::support::{Client, Driver, Launch, Upstream, on_both_drivers, poll, wait_until};

/// An endpoint that takes a while.
fn slow(time: Duration) -> Upstream {
    Upstream::start(move |peer| {
        while let Some(request) = peer.read_request() {
            // The time that an exchange takes is the subject.
            std::thread::sleep(time);
            peer.send(echo("slow", &request));
        }
    })
}

/// The longest that clients with nothing under way may hold a process: two seconds of lingering, the rest is for a machine
/// that is busy with other tests. Far below the drain timeout.
const PROMPT: Duration = Duration::from_secs(8);
/// Beyond the drain timeout of those tests, so that a process that is held tells for how long.
const HELD: Duration = Duration::from_secs(25);

on_both_drivers! {
    fn every_accepted_request_is_answered_under_load(driver) {
        // Several times, since what is under way when the signal comes differs each time.
        (0..4).for_each(|round| drain_under_load(driver, round));
    }

    fn readiness_ends_before_the_listeners_do(driver) {
        let upstream = Upstream::named("web");
        let mut ringress = Launch::new(driver).flags(&["--shutdown-grace-period=1500ms"]).serving(&[&upstream]).start();
        let began = Instant::now();
        ringress.signal("TERM");
        wait_until("readiness is gone", || ringress.admin("/readyz").status == 503);
        assert_eq!(ringress.get("a.test", "/").status, 200, "new connections are served in the grace period");
        assert_eq!(ringress.admin("/healthz").status, 200, "the process is well, it only leaves");
        assert_eq!(ringress.wait_exit().code(), Some(0));
        assert!(began.elapsed() >= Duration::from_millis(1400), "the grace period was cut short: {:?}", began.elapsed());
        assert!(Client::try_connect(ringress.ports.http).is_err());
    }

    fn idle_connections_do_not_hold_the_process(driver) {
        let upstream = Upstream::named("web");
        let mut ringress = Launch::new(driver).flags(&["--drain-timeout=20s"]).serving(&[&upstream]).start();
        let mut idle: Vec<_> = (0..8).map(|_| ringress.client()).collect();
        idle.iter_mut().for_each(|client| assert_eq!(client.get("a.test", "/").status, 200));
        let unused: Vec<_> = (0..4).map(|_| ringress.client()).collect();
        let began = Instant::now();
        ringress.signal("TERM");
        assert_eq!(ringress.wait_exit().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "it waited {:?} for nobody", began.elapsed());
        assert!(idle.iter_mut().all(|client| client.is_closed().is_some()));
        drop(unused);
    }

    fn a_client_that_keeps_its_connection_after_the_last_answer_does_not_hold_the_process(driver) {
        let upstream = Upstream::named("web");
        let mut ringress = Launch::new(driver).flags(&["--drain-timeout=20s"]).serving(&[&upstream]).start();
        let mut kept: Vec<_> = (0..4).map(|_| ringress.client()).collect();
        kept.iter_mut().for_each(|client| assert_eq!(client.get("a.test", "/").status, 200));
        let began = Instant::now();
        ringress.signal("TERM");
        // Asks until it is told to go, and stays all the same.
        kept.iter_mut().for_each(|client| {
            wait_until("the answer says close", || client.get("a.test", "/").says_close());
        });
        assert_eq!(ringress.wait_exit_within(HELD).code(), Some(0));
        println!("exit on {} after {:?}", driver.as_str(), began.elapsed());
        assert!(began.elapsed() < PROMPT, "clients that were told to go held it for {:?}", began.elapsed());
        assert!(kept.iter_mut().all(|client| client.is_closed().is_some()));
    }

    fn an_exchange_that_ends_after_the_signal_does_not_hold_the_process(driver) {
        // The one head has left before the signal and promised to keep the connection, the other comes after it.
        let (released, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (open, waiting) = (Arc::clone(&released), Arc::clone(&gate));
        let upstream = Upstream::start(move |peer| {
            while let Some(request) = peer.read_request() {
                let (before, after) = ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "cd");
                let begins = request.target() == "/begun";
                let said = if begins { before.len() } else { 0 };
                peer.send(&before[..said]);
                waiting.fetch_add(1, Ordering::SeqCst);
                wait_until("the endpoint may go on", || open.load(Ordering::SeqCst));
                peer.send(format!("{}{after}", &before[said..]));
            }
        });
        let mut ringress = Launch::new(driver).flags(&["--drain-timeout=20s"]).serving(&[&upstream]).start();
        let (mut begun, mut silent) = (ringress.client(), ringress.client());
        begun.send("GET /begun HTTP/1.1\r\nHost: a.test\r\n\r\n");
        silent.send("GET /silent HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("both requests are under way", || gate.load(Ordering::SeqCst) == 2);
        assert!(!begun.is_silent_for(Duration::from_secs(5)), "the first half of the answer came");
        ringress.signal("TERM");
        wait_until("the listener is closed", || Client::try_connect(ringress.ports.http).is_err());
        assert!(ringress.is_running(), "it waits for what is under way");
        released.store(true, Ordering::SeqCst);
        assert_eq!(begun.read("GET").unwrap().text(), "abcd");
        let late = silent.read("GET").unwrap();
        assert!(late.text() == "abcd" && late.says_close());
        let began = Instant::now();
        assert_eq!(ringress.wait_exit_within(HELD).code(), Some(0));
        println!("exit on {} after {:?}", driver.as_str(), began.elapsed());
        assert!(began.elapsed() < PROMPT, "exchanges that were over held it for {:?}", began.elapsed());
        assert!(begun.is_closed().is_some() && silent.is_closed().is_some());
    }

    fn an_exchange_under_way_is_finished_and_its_connection_ends(driver) {
        let upstream = slow(Duration::from_millis(700));
        let mut ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the endpoint has the request", || upstream.requests().len() == 1);
        ringress.signal("TERM");
        let answer = client.read("GET").unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.says_close(), "the client is told not to come back on this connection");
        assert!(client.is_closed().is_some());
        assert_eq!(ringress.wait_exit().code(), Some(0));
    }

    fn tunnels_are_cut_at_the_drain_timeout(driver) {
        let upstream = Upstream::start(|peer| {
            if peer.read_head().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                while let Some(bytes) = peer.take(1) {
                    peer.send(bytes);
                }
            }
        });
        let mut ringress = Launch::new(driver).flags(&["--drain-timeout=1s"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.read("GET").unwrap().status, 101);
        let began = Instant::now();
        ringress.signal("TERM");
        wait_until("the listener is closed", || Client::try_connect(ringress.ports.http).is_err());
        client.send("x");
        assert_eq!(client.take(1).unwrap(), b"x", "a tunnel lives until the deadline");
        assert!(client.is_closed().is_some());
        let lasted = began.elapsed();
        assert!(lasted >= Duration::from_millis(800) && lasted < Duration::from_secs(8), "cut after {lasted:?}");
        assert_eq!(ringress.wait_exit().code(), Some(0));
    }

    fn a_second_signal_ends_it_at_once(driver) {
        let upstream = slow(Duration::from_secs(12));
        let mut ringress = Launch::new(driver).flags(&["--drain-timeout=60s"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the endpoint has the request", || upstream.requests().len() == 1);
        ringress.signal("TERM");
        wait_until("the listener is closed", || Client::try_connect(ringress.ports.http).is_err());
        assert!(ringress.is_running(), "one signal waits for what is under way");
        ringress.signal("TERM");
        ringress.wait_exit_within(Duration::from_secs(5));
    }

    fn a_process_starts_again_at_once_on_the_ports_of_the_last(driver) {
        let upstream = Upstream::named("web");
        let mut ports = None;
        for _ in 0..3 {
            let launch = Launch::new(driver).serving(&[&upstream]);
            let mut ringress = ports.map_or(launch.clone(), |ports| launch.ports(ports)).start();
            // Connections that ringress ends first linger in the kernel on its side.
            for _ in 0..5 {
                assert_eq!(ringress.get("a.test", "/").status, 200);
            }
            let mut kept = ringress.client();
            assert_eq!(kept.get("a.test", "/").status, 200);
            ringress.signal("TERM");
            assert_eq!(ringress.wait_exit().code(), Some(0));
            ports = Some(ringress.ports);
        }
    }

    fn an_interrupt_from_the_keyboard_drains_as_well(driver) {
        let upstream = Upstream::named("web");
        let mut ringress = Launch::new(driver).serving(&[&upstream]).start();
        assert_eq!(ringress.get("a.test", "/").status, 200);
        ringress.signal("INT");
        assert_eq!(ringress.wait_exit().code(), Some(0));
    }
}

fn drain_under_load(driver: Driver, round: usize) {
    let released = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&released);
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.read_request() {
            match request.target() == HELD_TARGET {
                true => wait_until("the endpoint may answer", || may_answer.load(Ordering::SeqCst)),
                // The time that an exchange takes is the subject.
                false => std::thread::sleep(Duration::from_millis(5)),
            }
            peer.send(echo("slow", &request));
        }
    });
    let mut ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
    let port = ringress.ports.http;
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let seen = Arc::clone(&seen);
            // Half of them keep their connections, the others are always about to open one.
            let requests_max = if number % 2 == 0 { usize::MAX } else { 1 };
            std::thread::spawn(move || ask_until_refused(port, requests_max, &seen))
        })
        .collect();
    wait_until("there is load", || seen.answers.load(Ordering::SeqCst) > 300 + 37 * round);
    // Keeps the process until its counters are read.
    let mut held = ringress.client();
    held.send(format!("GET {HELD_TARGET} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let is_held = || upstream.requests().iter().any(|request| request.target() == HELD_TARGET);
    wait_until("the endpoint has the request that is held", is_held);
    seen.ending.store(true, Ordering::SeqCst);
    ringress.signal("TERM");
    let failures: Vec<_> = clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
    let (answers, answered) = (seen.answers.load(Ordering::SeqCst), seen.connections.load(Ordering::SeqCst));
    println!(
        "drain {round} on {}: {answers} answers on {answered} connections, {} refused before they were accepted, {} failed",
        driver.as_str(),
        seen.refused.load(Ordering::SeqCst),
        failures.len()
    );
    assert!(failures.is_empty(), "{failures:?}");
    // Every client is through, so each connection that a shard ever took has had an answer, or never gets one.
    let expected = answered + 1;
    let accepted = poll(|| {
        let accepted = ringress.metric("ringress_connections_accepted_total", "") as usize;
        // A shard that is late with its report is missing in the sum.
        Some(accepted).filter(|accepted| *accepted >= expected)
    });
    assert_eq!(accepted, Some(expected), "connections that were accepted, and those that were answered");
    released.store(true, Ordering::SeqCst);
    assert_eq!(held.read("GET").unwrap().status, 200);
    assert_eq!(ringress.wait_exit().code(), Some(0));
}

const HELD_TARGET: &str = "/held";

/// What the clients of one process saw.
#[derive(Default)]
struct Seen {
    /// Set before the signal.
    ending: AtomicBool,
    answers: AtomicUsize,
    /// Connections with one answer at least.
    connections: AtomicUsize,
    /// Connections that were reset before their first answer.
    refused: AtomicUsize,
}

/// Asks so often on each connection and honours close; ends when new connections are refused. A request without an answer is a
/// failure, unless it was the first of its connection: whether a shard had accepted that one, the process's counter tells.
fn ask_until_refused(port: u16, requests_max: usize, seen: &Seen) -> Result<(), String> {
    let is_ending = || seen.ending.load(Ordering::SeqCst);
    loop {
        let Ok(mut client) = Client::try_connect(port) else {
            // Refused while nobody asked the process to end would be a failure of its own.
            return is_ending().then_some(()).ok_or_else(|| "a connection was refused".into());
        };
        let mut on_this_connection = 0;
        loop {
            match client.try_get("a.test", "/") {
                Ok(answer) if answer.status == 200 => {
                    on_this_connection += 1;
                    seen.answers.fetch_add(1, Ordering::SeqCst);
                    seen.connections.fetch_add(usize::from(on_this_connection == 1), Ordering::SeqCst);
                    if answer.says_close() || on_this_connection == requests_max {
                        break;
                    }
                }
                Ok(answer) => return Err(format!("{} {:?}", answer.status, answer.text())),
                // The listener closed before it took this connection, which the kernel alone had accepted.
                Err(error)
                    if on_this_connection == 0
                        && is_ending()
                        && error.kind() == std::io::ErrorKind::ConnectionReset =>
                {
                    seen.refused.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(error) => return Err(format!("after {on_this_connection} answers: {error}")),
            }
        }
    }
}
