//! The echo backend: an HTTP server that answers with what it received.
//!
//! `dev` starts one for every Service without endpoints, tests and clusters start it as `ringress echo`. It stands behind
//! the data plane and is no part of it: hyper does the protocol. The last two elements of a path may ask for more:
//!
//! | path | answer |
//! |---|---|
//! | `…/status/NNN` | that status |
//! | `…/delay/MS` | the usual answer after so many milliseconds |
//! | `…/bytes/N` | N bytes with a Content-Length |
//! | `…/chunked/N` | N chunks, no Content-Length |
//!
//! `Upgrade: websocket` echoes messages, `Upgrade: echo` echoes bytes; both answer 101 first.

mod helpers;
mod upgrade;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal;
use helpers::Helper;

/// As whom a backend answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The Service that it stands behind.
    pub(crate) service: String,
    /// Which of its pods it plays.
    pub(crate) pod: String,
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// `ringress echo`: listens and answers until the process ends.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn run((address, service, pod): (SocketAddr, String, Option<String>)) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; give --listen another one"))?;
        let address = listener.local_addr()?;
        // Whoever asked for port 0 reads the real one here.
        terminal::print(&format!("{address}\n"));
        let pod = pod.unwrap_or_else(|| format!("{service}-{}", address.port()));
        // As the first process of a container it would not be ended by a signal that it does not handle.
        let mut ended = signal(SignalKind::terminate())?;
        tokio::select! {
            () = serve(listener, Identity { service, pod }) => {}
            _ = ended.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Accepts and answers until dropped.
pub(crate) async fn serve(listener: TcpListener, identity: Identity) {
    let identity = Arc::new(identity);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&identity)))),
            // Out of descriptors: give connections time to end instead of spinning.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream, identity: Arc<Identity>) {
    // Small answers in two writes would wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let identity = Arc::clone(&identity);
        async move { Ok::<_, Infallible>(answer(request, &identity).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that goes away mid-exchange is no news to anybody here.
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, identity: &Identity) -> Response<Body> {
    if let Some(protocol) = upgrade::wanted(&request) {
        return upgrade::accept(request, protocol);
    }
    let helper = Helper::of(request.uri().path());
    let (head, body) = request.into_parts();
    let received = match receive(body).await {
        Ok(received) => received,
        // The connection broke inside the body: nobody is left to read this.
        Err(_) => return Response::new(empty()),
    };
    let report = Report {
        service: &identity.service,
        pod: &identity.pod,
        method: head.method.as_str(),
        path: head.uri.to_string(),
        host: head.headers.get("host").map(text).unwrap_or_default(),
        headers: fields(&head.headers),
        body_bytes: received.bytes,
        trailers: fields(&received.trailers),
    };
    match helper {
        Some(helper) => helper.answer(|| report.response()).await,
        None => report.response(),
    }
}

/// What the answer says.
#[derive(Serialize)]
struct Report<'r> {
    service: &'r str,
    pod: &'r str,
    method: &'r str,
    /// With its query, as received.
    path: String,
    host: String,
    headers: BTreeMap<String, String>,
    body_bytes: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    trailers: BTreeMap<String, String>,
}

impl Report<'_> {
    fn response(&self) -> Response<Body> {
        let mut json = serde_json::to_string_pretty(self).expect("texts and numbers always serialise");
        json.push('\n');
        let mut response = Response::new(Full::new(Bytes::from(json)).boxed());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

struct Received {
    bytes: u64,
    trailers: HeaderMap,
}

async fn receive(mut body: Incoming) -> Result<Received, hyper::Error> {
    let mut received = Received { bytes: 0, trailers: HeaderMap::new() };
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => received.bytes += data.len() as u64,
            Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(received)
}

/// Fields by name; several of one name are joined, as RFC 9110 §5.3 allows.
fn fields(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        fields
            .entry(name.to_string())
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(&text(value));
            })
            .or_insert_with(|| text(value));
    }
    fields
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn empty() -> Body {
    Full::new(Bytes::new()).boxed()
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn started() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Identity { service: "web".into(), pod: "web-1".into() }));
        address
    }

    /// Sends bytes, closes the sending side and gives everything that comes back.
    async fn exchange(bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(started().await).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn json(answer: &str) -> serde_json::Value {
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    #[tokio::test]
    async fn an_answer_says_what_was_received() {
        let answer = exchange(
            b"POST /a/b?c=d HTTP/1.1\r\nHost: Web.local:80\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let report = json(&answer);
        assert_eq!(report["service"], "web");
        assert_eq!(report["pod"], "web-1");
        assert_eq!(report["method"], "POST");
        assert_eq!(report["path"], "/a/b?c=d");
        assert_eq!(report["host"], "Web.local:80");
        assert_eq!(report["headers"]["x-two"], "1, 2");
        assert_eq!(report["body_bytes"], 5);
    }

    #[tokio::test]
    async fn chunked_bodies_are_counted_and_their_trailers_named() {
        let answer = exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n",
        )
        .await;
        assert_eq!(json(&answer)["body_bytes"], 3, "{answer}");
        assert_eq!(json(&answer)["trailers"]["x-sum"], "9", "{answer}");
    }

    #[tokio::test]
    async fn connections_are_kept() {
        let answer = exchange(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    }

    #[tokio::test]
    async fn an_answer_to_head_has_a_length_and_no_body() {
        let answer = exchange(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-length: "), "{head}");
        assert_eq!(body, "");
    }

    #[tokio::test]
    async fn helpers_work_under_any_prefix() {
        let answer = exchange(b"GET /api/status/418 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
        let answer = exchange(b"GET /bytes/3000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.to_lowercase().contains("content-length: 3000\r\n"), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 3000);
        let answer = exchange(b"GET /chunked/2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{answer}");
        assert!(answer.ends_with("8\r\nchunk 1\n\r\n8\r\nchunk 2\n\r\n0\r\n\r\n"), "{answer}");
        let started = std::time::Instant::now();
        let answer = exchange(b"GET /delay/120 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(started.elapsed() >= Duration::from_millis(120));
        assert_eq!(json(&answer)["service"], "web");
    }

    #[tokio::test]
    async fn an_echo_upgrade_returns_bytes() {
        let answer = exchange(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n\x00raw bytes",
        )
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_eq!(body, "\x00raw bytes");
    }

    #[tokio::test]
    async fn an_unknown_upgrade_is_ignored() {
        let answer =
            exchange(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x/2\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn websocket_messages_come_back() {
        use futures_util::{SinkExt, StreamExt};
        use tokio_tungstenite::tungstenite::Message;
        let address = started().await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://{address}/chat"), stream).await.unwrap();
        for message in [Message::text("hello"), Message::binary(vec![0u8; 70_000])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    }
}
