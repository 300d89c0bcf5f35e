//! The process that holds a box together: starts its parts in order, then answers questions until it is killed.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::boxes::Cluster;
use crate::control::{self, Answer, Question};
use crate::control_plane::{ControlPlane, Part};
use crate::kubelet::Kubelet;
use crate::{net, service, up};

/// Runs until it is killed.
///
/// # Errors
/// The box does not come up.
pub(crate) fn run(folder: &Path) -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("RINGRESS_E2E_LOG")
                .unwrap_or_else(|_| "info,kube_client=off,kube_runtime=warn,tower=warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Fails only where one is installed already, which would be this one.
    let _ = provider.install_default();
    net::prepare()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(supervise(&Cluster::at(folder)))
}

async fn supervise(cluster: &Cluster) -> anyhow::Result<ExitCode> {
    let plan = cluster.plan()?;
    tell("starting the control plane")?;
    let control_plane = ControlPlane::start(cluster, &plan)?;
    let client = client(cluster).await?;
    api_server_ready(&client).await?;
    tell("starting nodes")?;
    let kubelet = Arc::new(Kubelet::start(cluster, &plan, client.clone()).await?);
    tokio::spawn(service::run(client.clone()));
    await_default_account(&client).await?;
    let socket = cluster.socket();
    let answers = control::serve(&socket, move |question| {
        let (control_plane, kubelet) = (control_plane.clone(), Arc::clone(&kubelet));
        async move {
            answer(question, &control_plane, &kubelet)
                .await
                .unwrap_or_else(|error| Answer::Refused(format!("{error:#}")))
        }
    });
    let answers = async { answers.await.map(|()| ExitCode::SUCCESS) };
    tokio::pin!(answers);
    // Polled once, it listens: only then is the box ready to be asked.
    tokio::select! {
        biased;
        ended = &mut answers => return ended,
        () = tokio::task::yield_now() => tell(up::READY)?,
    }
    answers.await
}

async fn answer(
    question: Question,
    control_plane: &ControlPlane,
    kubelet: &Kubelet,
) -> anyhow::Result<Answer> {
    match question {
        Question::Pods => Ok(Answer::Pods(kubelet.pods())),
        Question::Pod { pod } => kubelet.pod(&pod).map(Answer::Pod),
        Question::Fault { fault, target } => {
            match Part::named(&target) {
                Some(part) => control_plane.harm(part, fault).await?,
                None => kubelet.harm(&target, fault).await?,
            }
            Ok(Answer::Done)
        }
    }
}

/// A line for whoever waits outside.
///
/// # Errors
/// Nobody waits any more: the box ends rather than stay behind.
fn tell(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("nobody waits for this box any more")
}

async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A frozen API server must not hold the kubelet for the five minutes that a watch may be silent.
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

const PATIENCE: Duration = Duration::from_secs(60);

async fn api_server_ready(client: &Client) -> anyhow::Result<()> {
    poll("the API server is not ready", async || {
        let request = http_request("/readyz");
        client.request_text(request).await.is_ok_and(|body| body == "ok")
    })
    .await
}

/// Pods are refused until the namespace has its service account.
async fn await_default_account(client: &Client) -> anyhow::Result<()> {
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(client.clone(), "default");
    poll("there is no default service account", async || {
        accounts.get_opt("default").await.is_ok_and(|one| one.is_some())
    })
    .await
}

async fn poll(what: &str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let patience = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() > patience {
            bail!("{what} after {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn http_request(path: &str) -> hyper::Request<Vec<u8>> {
    hyper::Request::get(path).body(Vec::new()).expect("a path makes a request")
}
