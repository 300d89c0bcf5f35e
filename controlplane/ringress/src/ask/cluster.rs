//! A cluster: where it is, who we are there, and what runs as the controller.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Request;
use hyper::header::ACCEPT;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use ringress_controller::source::kube::{chain, context_missing, escape};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Replica, Selection, forbidden, unreachable};
use crate::args::Choice;

/// A cluster that is asked.
pub(crate) struct Cluster {
    client: Client,
    selection: Selection,
    /// Where the controller runs; `None`: wherever it is found.
    controller_namespace: Option<String>,
    /// Which of those that run are meant; `None`: all.
    controller_release: Option<String>,
}

/// Why the API server does not answer a question.
#[derive(Debug)]
pub(crate) enum Refusal {
    Forbidden(String),
    Missing,
    /// The cluster cannot be reached, or makes no sense.
    Broken(String),
}

impl Cluster {
    /// A client for the cluster that the flags, KUBECONFIG, `~/.kube/config` or the service account name.
    ///
    /// # Errors
    /// None of them can be used.
    pub(super) async fn connect(choice: Choice) -> anyhow::Result<Self> {
        let mut config = config(&choice).await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE_MAX);
        config.default_retry = false;
        let own = config.default_namespace.clone();
        let client = Client::try_from(config).context("cannot use this access to the cluster")?;
        let selection = match (choice.is_all, choice.namespace) {
            (true, _) => Selection::All,
            (false, namespace) => Selection::Namespace(namespace.unwrap_or(own)),
        };
        let Choice { controller_namespace, controller_release, .. } = choice;
        Ok(Self { client, selection, controller_namespace, controller_release })
    }

    /// The namespaces that the user speaks of.
    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Everything that runs as the controller, by name.
    ///
    /// # Errors
    /// The cluster cannot be reached, or may not be asked for its pods.
    pub(crate) async fn replicas(&self) -> anyhow::Result<Vec<Replica>> {
        let pods = match &self.controller_namespace {
            Some(namespace) => self.pods(Some(namespace)).await,
            None => match self.pods(None).await {
                // Who may not look everywhere may still look where it is by default.
                Err(Refusal::Forbidden(_)) => self.pods(Some(NAMESPACE)).await,
                found => found,
            },
        };
        let pods = pods.map_err(|why| {
            let right = match why {
                Refusal::Forbidden(_) => {
                    "; it takes the rights to list pods and to create pods/portforward in its namespace"
                }
                _ => "",
            };
            why.error(format!("cannot list the pods of the controller: {why}{right}"))
        })?;
        let is_over = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        let mut replicas: Vec<Replica> = pods
            .iter()
            .filter(|pod| !is_over(pod))
            .map(|pod| {
                Replica::pod(Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default()), pod)
            })
            .filter(|replica| self.is_meant(replica))
            .collect();
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(replicas)
    }

    fn is_meant(&self, replica: &Replica) -> bool {
        let Some(wanted) = &self.controller_release else { return true };
        let release = replica.release.as_deref().unwrap_or_default();
        release == wanted || release.rsplit('/').next() == Some(wanted)
    }

    /// What to say where there is none.
    pub(crate) fn nothing_runs(&self) -> String {
        let place = match &self.controller_namespace {
            Some(namespace) => format!("in the namespace {namespace}"),
            None => "in any namespace".to_owned(),
        };
        if let Some(release) = &self.controller_release {
            return format!(
                "no controller of the release {release} runs {place}; kubectl get pods -A -l {LABEL} \
                 --label-columns app.kubernetes.io/instance lists what does"
            );
        }
        format!(
            "no controller runs: there is no pod with the label {LABEL} {place}; install it (helm install ringress …), \
             or name its namespace with --controller-namespace"
        )
    }

    async fn pods(&self, namespace: Option<&str>) -> Result<Vec<Pod>, Refusal> {
        let pods = match namespace {
            Some(namespace) => Api::<Pod>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let listed = pods.list(&ListParams::default().labels(LABEL)).await;
        Ok(listed.map_err(Refusal::from)?.items)
    }

    /// Every object of a kind, as text: `group` is `/api/v1` or `/apis/GROUP/VERSION`.
    ///
    /// # Errors
    /// The API server refuses, or cannot be reached.
    pub(crate) async fn list(
        &self,
        (group, resource): (&str, &str),
        selection: &Selection,
        query: &str,
    ) -> Result<Vec<Box<RawValue>>, Refusal> {
        let namespace = match selection {
            Selection::All => String::new(),
            Selection::Namespace(name) => format!("namespaces/{name}/"),
        };
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let page: Page =
                self.get(&format!("{group}/{namespace}{resource}?limit={PAGE}{query}{next}")).await?;
            items.extend(page.items.unwrap_or_default());
            match page.metadata.r#continue {
                token if token.is_empty() => return Ok(items),
                token => next = format!("&continue={}", escape(&token)),
            }
        }
    }

    /// Every object of a kind, decoded.
    ///
    /// # Errors
    /// As [`list`](Self::list), and an object that is not of this kind.
    pub(crate) async fn objects<T: DeserializeOwned>(
        &self,
        kind: (&str, &str),
        selection: &Selection,
        query: &str,
    ) -> Result<Vec<T>, Refusal> {
        let items = self.list(kind, selection, query).await?;
        let decoded = items.iter().map(|item| serde_json::from_str(item.get()));
        decoded
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::Broken(format!("a {} cannot be read: {error}", kind.1)))
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// The API server refuses, cannot be reached, or answers something else.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        let text = self.text(path).await?;
        serde_json::from_str(&text)
            .map_err(|error| Refusal::Broken(format!("the answer to {path} cannot be read: {error}")))
    }

    /// The text that stands at a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn text(&self, path: &str) -> Result<String, Refusal> {
        let request = Request::get(path).header(ACCEPT, "application/json").body(Vec::new());
        let request =
            request.map_err(|error| Refusal::Broken(format!("{path} cannot be asked for: {error}")))?;
        self.client.request_text(request).await.map_err(Refusal::from)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: Metadata,
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    r#continue: String,
}

async fn config(choice: &Choice) -> anyhow::Result<Config> {
    if let Some(why) = context_missing(choice.kubeconfig.as_deref(), choice.context.as_deref()) {
        bail!(why);
    }
    let options = KubeConfigOptions { context: choice.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &choice.kubeconfig {
        let kubeconfig =
            Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        return config.with_context(|| format!("{} leads to no cluster", path.display()));
    }
    let why = match Config::from_kubeconfig(&options).await {
        Ok(config) => return Ok(config),
        Err(why) => why,
    };
    let inside = if choice.context.is_none() { Config::incluster().ok() } else { None };
    inside.ok_or(why).context(
        "nothing leads to a cluster (--kubeconfig, KUBECONFIG, ~/.kube/config); --admin IP:PORT asks a process",
    )
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                401 | 403 => Self::Forbidden(status.message.clone()),
                404 => Self::Missing,
                code => Self::Broken(format!("the API server answers {code}: {}", status.message)),
            },
            error => Self::Broken(chain(&error)),
        }
    }
}

impl Refusal {
    /// The error in which it ends, in these words.
    pub(crate) fn error(&self, said: impl fmt::Display) -> anyhow::Error {
        match self {
            Self::Forbidden(_) => forbidden(said),
            Self::Missing | Self::Broken(_) => unreachable(said),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(why) => write!(f, "the API server refuses: {why}"),
            Self::Missing => f.write_str("not found"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What the chart gives its pods, whatever its values make of the usual labels (`nameOverride`).
pub(crate) const LABEL: &str = "ringress.dev/component=controller";

/// Where the controller is installed by default.
const NAMESPACE: &str = "ringress";

const PAGE: usize = 500;

/// A dead address is given up after this.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence of the API server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_escaped_for_a_query() {
        assert_eq!(escape("a=b,c d/ü"), "a%3Db%2Cc%20d%2F%C3%BC");
    }
}
