//! The connection to the API server: where it is, who we are.
//!
//! A kubeconfig that is named must be there; without one `KUBECONFIG`, `~/.kube/config` and then the service account of the
//! pod are tried. Tokens and the authority of a service account are read again when they are rotated (pitfall 15: the client
//! does that, which is why nothing here builds one of its own).

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Who we are towards which API server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The kubeconfig; `None`: the usual places, then the service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; `None`: its current one.
    pub context: Option<String>,
}

/// Access to a cluster that cannot even be tried.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell how to reach the API server: {0}")]
pub struct AccessError(String);

impl Access {
    /// A client that keeps its connections and takes one try per call: when to try again is decided here (pitfall 2).
    ///
    /// # Errors
    /// No kubeconfig and no service account, or one that cannot be used.
    pub async fn client(&self) -> Result<Client, AccessError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT);
        // Every call has limits of its own; this one would end watches.
        config.read_timeout = None;
        config.default_retry = false;
        Client::try_from(config).map_err(|error| AccessError(chain(&error)))
    }

    /// The URL of the API server.
    pub(super) async fn server(&self) -> Result<String, AccessError> {
        Ok(self.config().await?.cluster_url.to_string())
    }

    async fn config(&self) -> Result<Config, AccessError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| AccessError(chain(&error)))?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| AccessError(format!("{}: {}", path.display(), chain(&error))))
            }
            None if self.context.is_some() => {
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| AccessError(chain(&error)))
            }
            None => Config::infer().await.map_err(|_| AccessError(NOWHERE.to_owned())),
        }
    }
}

/// An error with everything that it stems from, without saying anything twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

const NOWHERE: &str = "there is no kubeconfig (KUBECONFIG, ~/.kube/config) and this is no pod with a service account; \
                       give --kubeconfig FILE, or --manifests DIR to serve a folder";

/// A dead address is given up after this; the system alone would try for minutes.
const CONNECT: Duration = Duration::from_secs(2);
