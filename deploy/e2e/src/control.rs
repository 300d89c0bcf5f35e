//! The control socket of a box: one question and one answer per connection, each a line of JSON.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// How is this pod run?
    Pod {
        /// NAMESPACE/NAME.
        pod: String,
    },
    /// Every pod that is run, fake ones left out.
    Pods,
    /// Do harm.
    Fault {
        /// Which harm.
        fault: Fault,
        /// NAMESPACE/NAME of a pod, or a part of the control plane.
        target: String,
    },
}

/// Which harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL; what restarts, restarts.
    Kill,
    /// SIGSTOP.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// Drop every packet but those of probes.
    Blackhole,
    /// Undo `Blackhole`.
    Heal,
    /// Report as not ready, whatever probes say.
    Unready,
    /// Undo `Unready`.
    Ready,
    /// New tokens of the service account in its volumes, within three seconds.
    Rotate,
    /// End, and keep down (parts of the control plane only).
    Stop,
    /// Undo `Stop`.
    Start,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done.
    Done,
    /// How a pod is run.
    Pod(PodRun),
    /// How all are run.
    Pods(Vec<PodRun>),
    /// It was not done, and why.
    Refused(String),
}

/// How a pod is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRun {
    /// NAMESPACE/NAME.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its address.
    pub address: String,
    /// The name of its network namespace, under /run/netns inside the box.
    pub network: String,
    /// The processes of its containers, numbered as inside the box.
    pub processes: Vec<i32>,
}

/// Asks and waits for the answer.
///
/// # Errors
/// Nobody answers, or the answer is a refusal.
pub(crate) fn ask(socket: &Path, question: &Question) -> anyhow::Result<Answer> {
    let mut stream =
        UnixStream::connect(socket).context("the box does not answer; see logs/supervise.log of it")?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    writeln!(stream, "{}", serde_json::to_string(question)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the box gave no answer")? {
        Answer::Refused(why) => bail!(why),
        answer => Ok(answer),
    }
}

/// Answers questions until dropped.
///
/// # Errors
/// The socket cannot be made.
pub(crate) async fn serve<A, F>(socket: &Path, answer: A) -> anyhow::Result<()>
where
    A: Fn(Question) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send,
{
    let listener =
        UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(reader).lines();
            let Ok(Some(line)) = lines.next_line().await else { return };
            let said = match serde_json::from_str(&line) {
                Ok(question) => answer(question).await,
                Err(error) => Answer::Refused(format!("the question is not understood: {error}")),
            };
            let mut text = serde_json::to_vec(&said).expect("answers hold texts and numbers only");
            text.push(b'\n');
            // Whoever asked may have gone.
            let _ = writer.write_all(&text).await;
        });
    }
}
