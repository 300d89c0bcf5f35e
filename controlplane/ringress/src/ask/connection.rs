//! One HTTP/1.1 connection to an admin address, over whatever leads there.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// A connection; ends when it is dropped.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What the way there says where it leads nowhere.
    complaint: Option<Complaint>,
}

/// Tells why a way leads nowhere, if it does.
pub(super) type Complaint = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Speaks HTTP/1.1 over `stream`.
    ///
    /// # Errors
    /// The other side is gone already.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what goes wrong is told to whoever waits for an answer.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, complaint: None })
    }

    pub(super) fn with_complaint(self, complaint: Option<Complaint>) -> Self {
        Self { complaint, ..self }
    }

    /// The status of the answer to a GET of `/` at that host.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn status(mut self, host: &str) -> anyhow::Result<u16> {
        let request = Request::builder().uri("/").header(HOST, host).body(Full::default())?;
        Ok(self.sender.send_request(request).await?.status().as_u16())
    }

    /// What a page says.
    ///
    /// # Errors
    /// No answer, another status than 200, or something that is not of this version of ringress.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, page: &str) -> anyhow::Result<T> {
        self.ask("GET", page, Bytes::new()).await?.read()
    }

    /// One request, and its whole answer.
    ///
    /// # Errors
    /// No answer within [`PATIENCE`].
    pub(crate) async fn ask(&mut self, method: &str, page: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(page)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answered = timeout(PATIENCE, async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
            anyhow::Ok(Answer { status, body: body.to_bytes() })
        });
        let answered =
            answered.await.with_context(|| format!("no answer within {} s", PATIENCE.as_secs())).flatten();
        match answered {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.complaint().await.map_or(error, anyhow::Error::msg)),
        }
    }

    /// A tunnel breaks without a word, and says why on a way of its own.
    async fn complaint(&mut self) -> Option<String> {
        timeout(Duration::from_millis(500), self.complaint.take()?).await.ok()?
    }
}

impl Answer {
    /// The value of an answer that is fine.
    ///
    /// # Errors
    /// Another status, or another shape.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        match self.status {
            200 => {
                let value: serde_json::Value =
                    serde_json::from_slice(&self.body).context("the answer is no JSON")?;
                serde_json::from_value(value).context("the answer is of another version of ringress")
            }
            404 => bail!("it has no such page: it is of another version of ringress, or serves health only"),
            status => bail!("it answers {status}: {}", String::from_utf8_lossy(&self.body).trim_end()),
        }
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
