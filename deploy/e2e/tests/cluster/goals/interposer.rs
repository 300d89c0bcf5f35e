//! A proxy before the API server that fails on demand in ways a real one will not.
//!
//! It ends TLS with the server's own certificate and passes requests on one by one, with the credentials they carry: clients
//! of it need a token. A fault begins at once: streams under way are cut (or, for [`Fault::Hang`], stop).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The real one.
const SERVER: &str = "198.18.0.1:6443";
const SERVER_NAME: &str = "198.18.0.1";
/// Where it listens; the certificate of the real one holds for this address as well.
pub(crate) const ADDRESS: &str = "198.18.0.1:6444";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nobody listens.
    Refuse,
    /// Connections are accepted, and nothing is ever answered.
    Hang,
    /// Every answer is 500.
    InternalError,
    /// Every answer is 429, with a Retry-After of a second.
    TooManyRequests,
    /// The certificate is from an authority that nobody knows.
    UnknownAuthority,
    /// Every answer ends after 200 bytes, in the middle of a frame.
    Truncate,
    /// Watches have expired (410), and the lists of Ingresses that are asked for then have no items.
    EmptyLists,
}

impl Fault {
    /// Everything that makes the API server useless.
    pub(crate) const OUTAGES: [Self; 6] = [
        Self::Refuse,
        Self::Hang,
        Self::InternalError,
        Self::TooManyRequests,
        Self::UnknownAuthority,
        Self::Truncate,
    ];
}

/// The proxy, running until its runtime ends.
#[derive(Debug, Clone)]
pub(crate) struct Interposer {
    fault: Arc<watch::Sender<Fault>>,
}

impl Interposer {
    /// Starts it on a thread that is inside the box.
    pub(crate) async fn start(pki: PathBuf) -> anyhow::Result<Self> {
        let (fault, seen) = watch::channel(Fault::None);
        let keys = Keys::read(&pki)?;
        let listener = listen().await?;
        tokio::spawn(async move {
            if let Err(error) = accept(listener, keys, seen).await {
                eprintln!("the proxy before the API server ended: {error:#}");
            }
        });
        Ok(Self { fault: Arc::new(fault) })
    }

    /// From now on this goes wrong.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

#[derive(Clone)]
struct Keys {
    right: TlsAcceptor,
    wrong: TlsAcceptor,
    connector: TlsConnector,
}

impl Keys {
    fn read(pki: &Path) -> anyhow::Result<Self> {
        let certificate = vec![CertificateDer::from_pem_file(pki.join("apiserver.crt"))?];
        let right = acceptor(certificate, PrivateKeyDer::from_pem_file(pki.join("apiserver.key"))?)?;
        let stranger = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        let key =
            PrivateKeyDer::try_from(stranger.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let wrong = acceptor(vec![stranger.cert.der().clone()], key)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { right, wrong, connector: TlsConnector::from(Arc::new(client)) })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn acceptor(
    certificate: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<TlsAcceptor> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificate, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn listen() -> anyhow::Result<TcpListener> {
    let address: SocketAddr = ADDRESS.parse()?;
    TcpListener::bind(address).await.context("the proxy before the API server")
}

/// Accepts while anybody listens.
async fn accept(
    mut listener: TcpListener,
    keys: Keys,
    mut fault: watch::Receiver<Fault>,
) -> anyhow::Result<()> {
    loop {
        if *fault.borrow_and_update() == Fault::Refuse {
            drop(listener);
            fault.wait_for(|fault| *fault != Fault::Refuse).await?;
            listener = listen().await?;
        }
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(serve(accepted?.0, keys.clone(), fault.clone()));
            }
            changed = fault.changed() => changed?,
        }
    }
}

/// One connection of a client; it ends when another fault begins.
async fn serve(stream: TcpStream, keys: Keys, mut fault: watch::Receiver<Fault>) {
    let now = *fault.borrow_and_update();
    let acceptor = if now == Fault::UnknownAuthority { keys.wrong.clone() } else { keys.right.clone() };
    let connector = keys.connector;
    let served = async move {
        // A client that does not like our certificate is what the fault is for.
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let service = service_fn(move |request| answer(request, now, connector.clone()));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    };
    tokio::pin!(served);
    tokio::select! {
        () = &mut served => return,
        _ = fault.wait_for(|fault| *fault != now || *fault == Fault::Hang) => {}
    }
    // Whoever waits for more of an answer waits, on an open connection; the end of the fault closes it.
    let _ = fault.wait_for(|fault| *fault != Fault::Hang).await;
}

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

async fn answer(
    request: Request<Incoming>,
    fault: Fault,
    connector: TlsConnector,
) -> Result<Response<Body>, Infallible> {
    Ok(match fault {
        Fault::InternalError => failure(StatusCode::INTERNAL_SERVER_ERROR),
        Fault::TooManyRequests => failure(StatusCode::TOO_MANY_REQUESTS),
        Fault::EmptyLists if is_watch(&request) => failure(StatusCode::GONE),
        Fault::EmptyLists if is_list_of_ingresses(&request) => empty_list(),
        fault => match passed_on(request, fault, &connector).await {
            Ok(answer) => answer,
            // The real one is away, too.
            Err(_) => failure(StatusCode::BAD_GATEWAY),
        },
    })
}

fn failure(status: StatusCode) -> Response<Body> {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "message": "on purpose"
    });
    let mut answer = whole(body.to_string());
    *answer.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        answer.headers_mut().insert("retry-after", hyper::header::HeaderValue::from_static("1"));
    }
    answer
}

fn is_watch(request: &Request<Incoming>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("watch="))
}

fn is_list_of_ingresses(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET && request.uri().path().ends_with("/ingresses")
}

fn empty_list() -> Response<Body> {
    whole(
        serde_json::json!({
            "kind": "IngressList", "apiVersion": "networking.k8s.io/v1", "metadata": {"resourceVersion": "1"}, "items": []
        })
        .to_string(),
    )
}

fn whole(body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    answer
}

async fn passed_on(
    request: Request<Incoming>,
    fault: Fault,
    connector: &TlsConnector,
) -> anyhow::Result<Response<Body>> {
    let stream = TcpStream::connect(SERVER).await?;
    let stream = connector.connect(ServerName::try_from(SERVER_NAME)?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = match fault {
        Fault::Truncate => truncated(body),
        _ => body.map_err(anyhow::Error::from).boxed_unsync(),
    };
    Ok(Response::from_parts(head, body))
}

/// The first bytes, and then an end that is none.
fn truncated(body: Incoming) -> Body {
    const BYTES: usize = 200;
    let first = body
        .into_data_stream()
        .map_err(anyhow::Error::from)
        .map_ok(|bytes| Frame::data(bytes.slice(..bytes.len().min(BYTES))));
    let end = futures_util::stream::once(async { Err(anyhow::anyhow!("truncated on purpose")) });
    StreamBody::new(first.take(1).chain(end)).boxed_unsync()
}
