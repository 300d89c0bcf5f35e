//! What the API server asks a kubelet for: logs of containers, and connections to ports of pods.

mod forward;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::log::{self, Wanted};
use super::process::Process;
use super::{Host, Pods, describe, lock};
use crate::boxes::Cluster;
use crate::certificates::Pki;
use crate::net::{GATEWAY, KUBELET_PORT};

type Body = BoxBody<Bytes, Infallible>;

/// Starts to listen, for all nodes.
///
/// # Errors
/// The certificate cannot be read, or the port is taken.
pub(super) async fn start(cluster: &Cluster, host: Arc<Host>, pods: Pods) -> anyhow::Result<()> {
    let (certificate, key) = Pki::at(&cluster.pki()).pair("kubelet");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
        vec![CertificateDer::from_pem_file(certificate)?],
        PrivateKeyDer::from_pem_file(key)?,
    )?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((GATEWAY, KUBELET_PORT)).await.context("the port of the kubelet")?;
    let server = Server { host, pods };
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, acceptor.clone(), server.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok(())
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, server: Server) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request)) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The API server goes away whenever its own client does.
    let _ = connection.with_upgrades().await;
}

#[derive(Clone)]
struct Server {
    host: Arc<Host>,
    pods: Pods,
}

impl Server {
    fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        match words[..] {
            ["healthz"] => text(StatusCode::OK, "ok"),
            ["containerLogs", namespace, pod, container] => {
                let container = Named { namespace, pod, container };
                self.logs(&container, &Query::of(&request))
            }
            ["portForward", namespace, pod] => {
                let name = format!("{namespace}/{pod}");
                let run = lock(&self.pods).values().find(|entry| entry.name == name).and_then(describe);
                match run {
                    Some(run) => forward::accept(request, run.network),
                    None => text(StatusCode::NOT_FOUND, "no such pod is run here\n"),
                }
            }
            _ => text(StatusCode::NOT_FOUND, "this kubelet gives logs and forwards ports, nothing else\n"),
        }
    }

    fn logs(&self, container: &Named<'_>, query: &Query) -> Response<Body> {
        // The words of a path hold no slash, so this stays in the folder.
        let mut file = self.host.logs_folder.join(container.file());
        if query.says("previous") {
            file.set_extension("previous");
        }
        let wanted = query.wanted(Timestamp::now());
        let process = self.process(container);
        let (log, end) = match log::read(&file, 0) {
            Ok(read) => read,
            Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        };
        let so_far = log::select(&log, &wanted);
        if !query.says("follow") {
            return text(StatusCode::OK, &so_far);
        }
        let (server, container) = (self.clone(), container.owned());
        let goes_on = move || process.is_some() && server.process(&container.borrowed()) == process;
        follow(so_far, Follow { file, end, timestamps: wanted.timestamps }, goes_on)
    }

    fn process(&self, container: &Named<'_>) -> Option<Process> {
        let name = format!("{}/{}", container.namespace, container.pod);
        let entry = lock(&self.pods).values().find(|entry| entry.name == name)?.clone();
        let processes = entry.handle.shown().processes;
        processes.into_iter().find(|(name, _)| name == container.container).map(|(_, process)| process)
    }
}

/// A container as a path names it.
struct Named<'p> {
    namespace: &'p str,
    pod: &'p str,
    container: &'p str,
}

struct Owned([String; 3]);

impl Named<'_> {
    fn file(&self) -> String {
        format!("{}_{}_{}.log", self.namespace, self.pod, self.container)
    }

    fn owned(&self) -> Owned {
        Owned([self.namespace, self.pod, self.container].map(str::to_owned))
    }
}

impl Owned {
    fn borrowed(&self) -> Named<'_> {
        let [namespace, pod, container] = &self.0;
        Named { namespace, pod, container }
    }
}

struct Follow {
    file: PathBuf,
    end: u64,
    timestamps: bool,
}

/// What it said so far, then whatever comes, until the container ends or the reader goes.
fn follow(
    so_far: String,
    follow: Follow,
    goes_on: impl Fn() -> bool + Send + Sync + 'static,
) -> Response<Body> {
    let wanted = Wanted { timestamps: follow.timestamps, ..Wanted::default() };
    let reader = Reader { file: follow.file, wanted, goes_on };
    let chunks = stream::unfold((Some(so_far), follow.end, reader), async |(first, end, reader)| {
        if let Some(first) = first {
            return Some((chunk(first), (None, end, reader)));
        }
        let (said, end) = reader.next(end).await?;
        Some((chunk(said), (None, end, reader)))
    });
    let chunks: Chunks = Box::pin(chunks);
    Response::new(BodyExt::boxed(StreamBody::new(chunks)))
}

struct Reader<F> {
    file: PathBuf,
    wanted: Wanted,
    goes_on: F,
}

impl<F: Fn() -> bool> Reader<F> {
    /// What was said since this offset, and the next one.
    async fn next(&self, end: u64) -> Option<(String, u64)> {
        loop {
            // Asked before reading: what was said until the end is then read, whenever that was.
            let goes_on = (self.goes_on)();
            let (log, next) = log::read(&self.file, end).ok()?;
            if !log.is_empty() {
                return Some((log::select(&log, &self.wanted), next));
            }
            if !goes_on {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

type Chunks =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;

fn chunk(text: String) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(Bytes::from(text)))
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())).boxed());
    *response.status_mut() = status;
    response
}

/// The query of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        Self::parse(request.uri().query().unwrap_or_default())
    }

    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    fn wanted(&self, now: Timestamp) -> Wanted {
        let seconds = self.value("sinceSeconds").and_then(|value| value.parse().ok());
        let since = self.value("sinceTime").and_then(|value| value.parse().ok());
        Wanted {
            since: since.or_else(|| now.checked_sub(SignedDuration::from_secs(seconds?)).ok()),
            tail: self.value("tailLines").and_then(|value| value.parse().ok()),
            timestamps: self.says("timestamps"),
        }
    }
}

/// Percent-decoding, as far as times need it.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let wanted = |query: &str| Query::parse(query).wanted(now);
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(wanted("sinceTime=2026-01-01T00%3A00%3A01Z").since, at("2026-01-01T00:00:01Z"));
        assert_eq!(wanted("sinceSeconds=30").since, at("2026-01-01T00:00:30Z"));
        assert_eq!(
            wanted("tailLines=5&timestamps=true"),
            Wanted { since: None, tail: Some(5), timestamps: true }
        );
        assert_eq!(wanted(""), Wanted::default());
        assert_eq!(decoded("%zz%"), "%zz%");
    }
}
