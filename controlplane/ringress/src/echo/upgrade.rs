//! Protocols that the echo backend switches to.

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Body, empty, plain};

/// What the connection becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    WebSocket,
    Echo,
}

/// The protocol that a request asks for, where it is one of ours.
pub(super) fn wanted(request: &Request<Incoming>) -> Option<Protocol> {
    let upgrades = |token: &str| has_token(request.headers(), &UPGRADE, token);
    if !has_token(request.headers(), &CONNECTION, "upgrade") {
        return None;
    }
    match () {
        () if upgrades("websocket") => Some(Protocol::WebSocket),
        () if upgrades("echo") => Some(Protocol::Echo),
        () => None,
    }
}

/// Answers 101 and starts the new protocol.
pub(super) fn accept(request: Request<Incoming>, protocol: Protocol) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    match protocol {
        Protocol::Echo => {
            headers.insert(UPGRADE, HeaderValue::from_static("echo"));
        }
        Protocol::WebSocket => {
            let Some(accept) = accept_key(request.headers()) else {
                return plain(StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key\n");
            };
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert("sec-websocket-accept", accept);
        }
    }
    tokio::spawn(converse(request, protocol));
    response
}

fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get("sec-websocket-key")?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

async fn converse(request: Request<Incoming>, protocol: Protocol) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    match protocol {
        Protocol::WebSocket => echo_messages(upgraded).await,
        // A peer that goes away ends the echo; there is nothing to report.
        Protocol::Echo => drop(echo_bytes(upgraded).await),
    }
}

async fn echo_messages(upgraded: Upgraded) {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    // Pings and closes are answered by the library while it is read.
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn echo_bytes(upgraded: Upgraded) -> std::io::Result<()> {
    let mut stream = TokioIo::new(upgraded);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            count => stream.write_all(&buffer[..count]).await?,
        }
        stream.flush().await?;
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
