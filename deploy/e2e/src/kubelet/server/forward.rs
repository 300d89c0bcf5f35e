//! Port forwarding by WebSocket, as clients of the `v4.channel.k8s.io` protocol ask for it.
//!
//! Every port has two channels, one for bytes and one for what went wrong; every message begins with the number of its
//! channel, and the first one on each names the port. Older clients that speak SPDY are refused. A port is looked for on the
//! pod's own loopback, as kubelets do it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Body, Query, text};

const PROTOCOL: &str = "v4.channel.k8s.io";

/// Answers 101 and forwards, or says why not.
pub(super) fn accept(request: Request<Incoming>, network: String) -> Response<Body> {
    let offered = request.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    let speaks = offered.is_some_and(|offered| offered.split(',').any(|one| one.trim() == PROTOCOL));
    let key = request.headers().get("sec-websocket-key");
    let accepted = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let (true, Some(accepted)) = (speaks, accepted) else {
        return text(
            StatusCode::BAD_REQUEST,
            "ports are forwarded by WebSocket with v4.channel.k8s.io only\n",
        );
    };
    let ports = ports(&Query::of(&request));
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accepted);
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            forward(upgraded, &network, &ports).await;
        }
    });
    response
}

fn ports(query: &Query) -> Vec<u16> {
    let named = query.0.iter().filter(|(name, _)| name == "port" || name == "ports");
    named.flat_map(|(_, value)| value.split(',')).filter_map(|port| port.parse().ok()).collect()
}

/// One WebSocket, as long as its client stays.
async fn forward(upgraded: Upgraded, network: &str, ports: &[u16]) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut outgoing, mut incoming) = socket.split();
    let (messages, mut queued) = mpsc::channel::<Vec<u8>>(64);
    let mut to_pods = HashMap::new();
    for (index, port) in ports.iter().enumerate().take(127) {
        let channels = Channels { data: index as u8 * 2, error: index as u8 * 2 + 1 };
        let (bytes, received) = mpsc::channel(64);
        to_pods.insert(channels.data, bytes);
        tokio::spawn(carry(network.to_owned(), *port, channels, received, messages.clone()));
    }
    drop(messages);
    let send = async {
        while let Some(message) = queued.recv().await {
            if outgoing.send(Message::binary(message)).await.is_err() {
                return;
            }
        }
        // Closing twice is no harm.
        let _ = outgoing.close().await;
    };
    let receive = async {
        while let Some(Ok(message)) = incoming.next().await {
            let Message::Binary(message) = message else { continue };
            let Some((channel, bytes)) = message.split_first() else { continue };
            if let Some(to_pod) = to_pods.get(channel) {
                // A pod that closed its side takes no more.
                let _ = to_pod.send(bytes.to_vec()).await;
            }
        }
    };
    tokio::select! { () = send => {}, () = receive => {} }
}

#[derive(Debug, Clone, Copy)]
struct Channels {
    data: u8,
    error: u8,
}

/// A connection inside the network of a pod: a socket belongs to the network of the thread that makes it, so it takes a
/// thread that ends afterwards.
async fn connect(network: String, port: u16) -> io::Result<TcpStream> {
    let (connected, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let connect = || {
            let network = File::open(Path::new("/run/netns").join(network))?;
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        // Nobody waits where the client has gone.
        drop(connected.send(connect()));
    });
    let stream: io::Result<_> = wait.await.map_err(io::Error::other)?;
    TcpStream::from_std(stream?)
}

/// One connection to a port of a pod.
async fn carry(
    network: String,
    port: u16,
    channels: Channels,
    mut to_pod: mpsc::Receiver<Vec<u8>>,
    messages: mpsc::Sender<Vec<u8>>,
) {
    let said = |channel: u8, bytes: &[u8]| [&[channel], bytes].concat();
    for channel in [channels.data, channels.error] {
        let _ = messages.send(said(channel, &port.to_le_bytes())).await;
    }
    let stream = match connect(network, port).await {
        Ok(stream) => stream,
        Err(error) => {
            let _ = messages.send(said(channels.error, format!("port {port}: {error}").as_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let there = async {
        while let Some(bytes) = to_pod.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            if messages.send(said(channels.data, &buffer[..read])).await.is_err() {
                return;
            }
        }
    };
    // The pod has the last word: a client that stops sending still wants the answer.
    tokio::select! { () = back => {}, () = async { there.await; std::future::pending().await } => {} }
}
