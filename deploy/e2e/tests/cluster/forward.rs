//! Ports of pods, forwarded through the API server.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::Case;
use crate::support::World;

pub(crate) const CASES: &[Case] = &[("a_port_of_a_pod_is_forwarded_through_the_api_server", forward)];

/// Data and errors of the first port.
const DATA: u8 = 0;
const ERROR: u8 = 1;
const SERVER: &str = "198.18.0.1:6443";

fn forward(world: &World) -> anyhow::Result<()> {
    world.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: echo}]}}")?;
    world.until_ready("p", "True")?;
    world.until("it listens", || Ok(world.kubectl(&["logs", "p"])?.contains("8080")))?;
    let path = format!("/api/v1/namespaces/{}/pods/p/portforward?ports=8080", world.namespace());
    let pki = world.cluster().folder().join("pki");
    let answer = world.inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&path, pki))
    })?;
    ensure!(answer.contains("\"path\": \"/forwarded\""), "{answer}");
    Ok(())
}

/// What the pod answers to one request.
async fn ask(path: &str, pki: PathBuf) -> anyhow::Result<String> {
    let mut request = format!("wss://{SERVER}{path}").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("v4.channel.k8s.io"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, connect(pki).await?).await?;
    let get = b"GET /forwarded HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    socket.send(Message::binary([&[DATA], &get[..]].concat())).await?;
    let mut answer = Vec::new();
    let mut begun = [false; 2];
    while let Some(message) = socket.next().await {
        // The server may go without a word once the pod has closed its side.
        let Ok(message) = message else { break };
        let Message::Binary(bytes) = message else { continue };
        let (channel, bytes) = bytes.split_first().context("an empty message")?;
        ensure!(*channel <= ERROR, "channel {channel} was not asked for");
        if !std::mem::replace(&mut begun[usize::from(*channel)], true) {
            ensure!(bytes == 8080_u16.to_le_bytes(), "the first message names the port: {bytes:?}");
            continue;
        }
        ensure!(*channel == DATA, "{}", String::from_utf8_lossy(bytes));
        answer.extend_from_slice(bytes);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn connect(pki: PathBuf) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
    let certificate = vec![CertificateDer::from_pem_file(pki.join("admin.crt"))?];
    let key = PrivateKeyDer::from_pem_file(pki.join("admin.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificate, key)?;
    let stream = TcpStream::connect(SERVER).await?;
    let name = ServerName::try_from("198.18.0.1")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}
