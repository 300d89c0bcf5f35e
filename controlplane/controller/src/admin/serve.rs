//! The connections of an admin address: few, and none that lives by keeping silent.
//!
//! A head must come within ten seconds, which also ends idle connections; a body within ten seconds after it; an answer
//! must be taken on. Beyond the cap a newcomer takes the place of the longest-standing connection: clients that hold on
//! to theirs must not keep a kubelet from asking whether the process lives.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinError, JoinSet};

/// Serves until its task is dropped.
pub(crate) async fn serve(listener: Arc<TcpListener>, router: Router) {
    // Its own, for it may be started again.
    match listener.try_clone().and_then(tokio::net::TcpListener::from_std) {
        Ok(listener) => serve_all(listener, router).await,
        Err(error) => tracing::error!(%error, "admin address is not served"),
    }
}

async fn serve_all(listener: tokio::net::TcpListener, router: Router) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.take(stream, router.clone()),
            // A client that gave up while it was queued is nobody's problem.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "admin address cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// The open connections; closed when this is dropped.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// The longest-standing first; some have ended.
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn take(&mut self, stream: TcpStream, router: Router) {
        while let Some(ended) = self.tasks.try_join_next() {
            tell_panic(ended);
        }
        self.by_age.retain(|connection| !connection.is_finished());
        if self.by_age.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(serve_one(stream, router)));
    }
}

/// A page that panics costs its connection.
fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a defect of ringress: an admin page panicked");
    }
}

async fn serve_one(stream: TcpStream, router: Router) {
    // A client that does not take its answer is given up by the kernel. Where it cannot be set, the cap is left.
    drop(SockRef::from(&stream).set_tcp_user_timeout(Some(SILENCE_MAX)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}

/// For a whole head; also the life of an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take no byte of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Probes, scrapes and people need a few; each costs a descriptor that clients would have.
const CONNECTIONS_MAX: usize = 256;

/// After a failed accept: descriptors do not return at once.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::Captured;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    async fn started() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(Arc::new(listener), Router::new().route("/", get(|| async { "here" }))));
        address
    }

    async fn get_one(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// How long after `began` the server closes.
    async fn closed_after(mut stream: TcpStream, began: Instant) -> Duration {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.expect("not closed");
        began.elapsed()
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_closes_the_connection() {
        let address = started().await;
        let began = Instant::now();
        let silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        let (silent, slow) = tokio::join!(closed_after(silent, began), closed_after(slow, began));
        for took in [silent, slow] {
            assert!((HEAD_TIMEOUT..HEAD_TIMEOUT * 2).contains(&took), "{took:?}");
        }
    }

    #[tokio::test]
    async fn a_page_that_panics_is_said_and_costs_its_connection_alone() {
        let log = Captured::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let panics = || async {
            assert_eq!("this", "page");
        };
        let router = Router::new().route("/", get(|| async { "here" })).route("/panics", get(panics));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Arc::new(listener);
        let serving = tokio::spawn(serve(Arc::clone(&listener), router.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /panics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        closed_after(stream, Instant::now()).await;
        assert!(get_one(address).await.ends_with("here"));
        assert!(
            log.text().contains("ERROR") && log.text().contains("an admin page panicked"),
            "{}",
            log.text()
        );
        // What panicked itself is started again on the same address.
        serving.abort();
        assert!(serving.await.is_err());
        tokio::spawn(serve(listener, router));
        assert!(get_one(address).await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_longest_standing_connection() {
        let address = started().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let began = Instant::now();
        let answer = timeout(HEAD_TIMEOUT / 2, get_one(address)).await.expect("a place was made");
        assert!(answer.ends_with("here"), "{answer}");
        let first = closed_after(silent.remove(0), began).await;
        assert!(first < HEAD_TIMEOUT / 2, "{first:?}");
        let open = timeout(Duration::from_millis(50), silent[0].readable()).await;
        assert!(open.is_err(), "the others stay");
    }
}
