//! Calls to the API server: each with limits of its own, each failure with what follows from it.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{Credentials, chain};
use super::wire::Status;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The resource version is of no use any more: list again.
    Expired,
    /// We may not: wait for somebody to grant it.
    Forbidden(String),
    /// The server does not know who we are: what it was shown, what it said, what to do.
    Unauthenticated(String),
    /// There is no such thing.
    Missing,
    /// Somebody else was faster.
    Conflict,
    /// The server is overloaded, starting or ending.
    Busy { why: String, after: Option<Duration> },
    /// Anything else: no connection, no TLS, no answer in time, no sense in the answer.
    Broken(String),
}

impl Failure {
    /// What the server asks us to wait.
    pub(super) fn asks_for(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            _ => None,
        }
    }

    pub(super) fn of(status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            _ if status.is_expired() => Self::Expired,
            401 => Self::Unauthenticated(format!("our credentials: {message}")),
            403 => Self::Forbidden(message),
            404 => Self::Missing,
            409 => Self::Conflict,
            429 | 500..=599 => {
                let after = status.retry_after_s().map(Duration::from_secs);
                Self::Busy { why: format!("{}: {message}", status.code), after }
            }
            code => Self::Broken(format!("the API server answered {code}: {message}")),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired => f.write_str("the resource version is too old"),
            Self::Forbidden(why) => write!(f, "the API server refuses: {why}"),
            Self::Unauthenticated(why) => write!(f, "the API server does not accept {why}"),
            Self::Missing => f.write_str("not found"),
            Self::Conflict => f.write_str("changed by somebody else"),
            Self::Busy { why, .. } => write!(f, "the API server is busy: {why}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Sends a GET and gives the answer once its head is there.
pub(crate) async fn get(client: &Client, path: &str, head: Duration) -> Result<Response<Body>, Failure> {
    get_as(client, path, JSON, head).await
}

/// As [`get`], in the form that `accept` asks for.
pub(super) async fn get_as(
    client: &Client,
    path: &str,
    accept: &'static str,
    head: Duration,
) -> Result<Response<Body>, Failure> {
    let mut request = request("GET", path, None, Vec::new())?;
    request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static(accept));
    send(client, request, head).await
}

/// A call with a body of JSON; gives the answer's body.
pub(crate) async fn put(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &'static str,
    body: Vec<u8>,
    within: Duration,
) -> Result<Vec<u8>, Failure> {
    let response = send(client, request(method, path, Some(content_type), body)?, within).await?;
    whole(response, within).await
}

fn request(
    method: &str,
    path: &str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
) -> Result<Request<Body>, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, JSON)
        // Servers from 1.37 on compress each event of a watch by itself, which no decoder of ours joins (pitfall 4).
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(Body::from(body)).map_err(|error| Failure::Broken(format!("cannot ask for {path}: {error}")))
}

async fn send(client: &Client, request: Request<Body>, head: Duration) -> Result<Response<Body>, Failure> {
    let response = match timeout(head, client.send(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(Failure::Broken(chain(&error))),
        Err(_) => return Err(Failure::Broken(format!("no answer within {} s", head.as_secs_f64()))),
    };
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refusal(response, head).await)
}

/// Reads what the server says with a refusal.
async fn refusal(response: Response<Body>, within: Duration) -> Failure {
    let code = response.status();
    let asked =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let credentials = response.extensions().get::<Arc<Credentials>>().cloned();
    let body = whole(response, within).await.unwrap_or_default();
    let mut status: Status = serde_json::from_slice(&body).unwrap_or_default();
    if status.code == 0 {
        status.code = code.as_u16();
        // A proxy between us and the server answers what it likes: its first line says enough.
        let text = String::from_utf8_lossy(&body);
        status.message = text.lines().next().unwrap_or_default().chars().take(200).collect();
    }
    match (Failure::of(&status), asked) {
        (Failure::Unauthenticated(_), _) if let Some(credentials) = credentials => {
            let Credentials { what, next } = &*credentials;
            Failure::Unauthenticated(format!("{what} (401: {}); {next}", status.message))
        }
        (Failure::Busy { why, after }, Some(seconds)) => {
            let asked = Duration::from_secs(seconds);
            Failure::Busy { why, after: Some(after.map_or(asked, |after| after.max(asked))) }
        }
        (Failure::Broken(_), Some(seconds)) if code == StatusCode::TOO_MANY_REQUESTS => {
            Failure::Busy { why: status.message, after: Some(Duration::from_secs(seconds)) }
        }
        (failure, _) => failure,
    }
}

/// Reads a whole body; `silence` is the longest pause in it.
pub(crate) async fn whole(response: Response<Body>, silence: Duration) -> Result<Vec<u8>, Failure> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    loop {
        match timeout(silence, body.frame()).await {
            Err(_) => {
                return Err(Failure::Broken(format!("the answer stopped for {} s", silence.as_secs_f64())));
            }
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => return Err(Failure::Broken(chain(&error))),
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
        }
        if bytes.len() > BODY_BYTES_MAX {
            return Err(Failure::Broken("the answer is larger than 256 MiB".to_owned()));
        }
    }
}

/// The lines of a body that flows.
pub(crate) struct Lines {
    body: Body,
    bytes: Vec<u8>,
    /// How much of `bytes` has no line end, so that a long line is not searched twice.
    searched: usize,
    /// How much of `bytes` was given out.
    taken: usize,
}

impl Lines {
    pub(crate) fn new(response: Response<Body>) -> Self {
        Self { body: response.into_body(), bytes: Vec::new(), searched: 0, taken: 0 }
    }

    /// The next line without its end; `None` at the end, where a line that was cut is left out: the watch goes on from
    /// the line before, and the server sends it again.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Option<&[u8]>, Failure> {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        loop {
            if let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + length;
                self.searched = 0;
                self.taken = end + 1;
                return Ok(Some(&self.bytes[..end]));
            }
            self.searched = self.bytes.len();
            if self.bytes.len() > LINE_BYTES_MAX {
                return Err(Failure::Broken("a line of the watch is larger than 16 MiB".to_owned()));
            }
            match timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(Failure::Broken("the watch is silent after its time".to_owned())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Failure::Broken(chain(&error))),
                Ok(Some(Ok(frame))) => {
                    self.bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
        }
    }
}

const JSON: &str = "application/json";

/// A list of metadata alone; a server that does not know it sends whole objects.
pub(super) const NAMES: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A watch of metadata alone.
pub(super) const NAME_EVENTS: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// What an ordinary list or watch asks for.
pub(super) const OBJECTS: &str = JSON;

/// No object is larger than 3 MiB with everything that the server adds.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Pages hold 500 objects.
const BODY_BYTES_MAX: usize = 256 << 20;
