//! The connection to the API server: where it is, who we are.
//!
//! A kubeconfig that is named must be there; without one `KUBECONFIG`, `~/.kube/config` and then the service account of the
//! pod are tried. Tokens and authorities are read again when they are rotated (pitfall 15): those of a service account by kube's
//! client from time to time, and all of them at once where they do not hold any more ([`renewed`]).

mod renewed;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use renewed::{Connected, Renewed};

pub(super) use renewed::Credentials;

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
        let connected = self.connect().await?;
        let namespace = connected.client.default_namespace().to_owned();
        Ok(Client::new(Renewed::new(self.clone(), connected), namespace))
    }

    /// A client with the credentials that there are now.
    async fn connect(&self) -> Result<Connected, AccessError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT);
        // Every call has limits of its own; this one would end watches.
        config.read_timeout = None;
        config.default_retry = false;
        let credentials = Arc::new(self.credentials(&config.auth_info));
        // A plugin of a kubeconfig is a process that is waited for.
        let built = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
        let built = built.map_err(|error| AccessError(chain(&error)))?;
        let client = built.map_err(|error| AccessError(chain(&error)))?;
        Ok(Connected { client, credentials })
    }

    /// What the API server is shown, in the order in which kube looks.
    fn credentials(&self, user: &AuthInfo) -> Credentials {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => path.display().to_string(),
            None => "the kubeconfig".to_owned(),
        };
        let of = |what: &str, field: &str| format!("{what} in users[].user.{field} of {kubeconfig}");
        let (what, next) = if user.auth_provider.is_some() {
            (of("the tokens of the provider", "auth-provider"), LOG_IN)
        } else if user.username.is_some() && user.password.is_some() {
            (of("the password", "password"), LOG_IN)
        } else if user.token.is_some() {
            (of("the token", "token"), LOG_IN)
        } else if let Some(file) = &user.token_file {
            (format!("the token in {file}"), REPLACE)
        } else if let Some(exec) = &user.exec {
            let command = exec.command.as_deref().unwrap_or("the plugin");
            (of(&format!("what {command} gives"), "exec"), LOG_IN)
        } else if user.client_certificate.is_some() || user.client_certificate_data.is_some() {
            (of("the client certificate", "client-certificate"), LOG_IN)
        } else {
            (of("a client without credentials", "token"), LOG_IN)
        };
        Credentials { what, next }
    }

    /// The URL of the API server.
    pub(super) async fn server(&self) -> Result<String, AccessError> {
        Ok(self.config().await?.cluster_url.to_string())
    }

    async fn config(&self) -> Result<Config, AccessError> {
        if let Some(why) = context_missing(self.kubeconfig.as_deref(), self.context.as_deref()) {
            return Err(AccessError(why));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| AccessError(chain(&error)))?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| AccessError(format!("{}: {}", path.display(), chain(&error))))
            }
            None if self.context.is_some() => {
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| AccessError(unusable(&usual_places(), &error)))
            }
            None => {
                let config = Config::infer().await;
                config
                    .map_err(|error| AccessError(unusable(&usual_places(), error.source().unwrap_or(&error))))
            }
        }
    }
}

/// That a kubeconfig, which can be read, has no context of this name; `None` for the file: those of the usual places.
pub fn context_missing(file: Option<&Path>, name: Option<&str>) -> Option<String> {
    let name = name?;
    let kubeconfig = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from).ok()?;
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|context| &*context.name).collect();
    let there_are = match names.is_empty() {
        true => "it has none".to_owned(),
        false => format!("there are: {}", names.join(", ")),
    };
    (!names.contains(&name)).then(|| format!("the kubeconfig has no context {name:?}; {there_are}"))
}

/// Where a kubeconfig stands that no flag names: the files of `KUBECONFIG`, else that of the user if there is one.
fn usual_places() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> =
        std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if !named.is_empty() {
        return named;
    }
    let own = std::env::home_dir().map(|home| home.join(".kube").join("config"));
    own.into_iter().filter(|path| path.exists()).collect()
}

/// Which of these files is wrong, and what is wrong with it; `error` is what they were told to be together.
fn unusable(files: &[PathBuf], error: &dyn Error) -> String {
    if files.is_empty() {
        return NOWHERE.to_owned();
    }
    let broken = files.iter().find_map(|file| Some((file, Kubeconfig::read_from(file).err()?)));
    let (files, why) = match broken {
        Some((file, error)) => (file.display().to_string(), chain(&error)),
        None => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            (files.join(", "), chain(error))
        }
    };
    format!("the kubeconfig {files} cannot be used: {why}; correct it, or give --kubeconfig FILE")
}

/// An error with everything that it stems from, without saying anything twice.
pub fn chain(error: &dyn Error) -> String {
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

/// What to do with credentials of a kubeconfig.
const LOG_IN: &str =
    "the kubeconfig is read again every second; log in anew, or put credentials of this cluster there";

/// What to do with a token in a file.
const REPLACE: &str = "the file is read again every second; see whether its ServiceAccount still exists and whether the token is one \
                       of this cluster, and restart the pod if nobody replaces the file";

/// A dead address is given up after this; the system alone would try for minutes.
const CONNECT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broken_kubeconfig_is_named_with_what_is_wrong_and_a_missing_one_is_not_called_broken() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let fine = file("fine", "{apiVersion: v1, kind: Config}");
        let broken = file("broken", "clusters: 7");
        let missing = dir.path().join("missing");
        let (whole, options) = (Kubeconfig::read_from(&fine).unwrap(), KubeConfigOptions::default());
        let error = Config::from_custom_kubeconfig(whole, &options).await.unwrap_err();
        let told = unusable(&[fine.clone(), broken], &error);
        assert!(told.contains("broken cannot be used: ") && told.contains("clusters"), "{told}");
        let told = unusable(&[missing], &error);
        assert!(told.contains("missing cannot be used: ") && told.contains("No such file"), "{told}");
        let told = unusable(&[fine], &error);
        assert!(told.contains("fine cannot be used: ") && told.contains("context"), "{told}");
        assert_eq!(unusable(&[], &error), NOWHERE);
    }

    #[test]
    fn a_context_that_is_not_there_is_named_with_those_that_are() {
        let dir = tempfile::tempdir().unwrap();
        let check = |contexts: &str, name: Option<&str>, expected: Option<&str>| {
            let path = dir.path().join("config");
            std::fs::write(&path, format!("{{apiVersion: v1, kind: Config, contexts: {contexts}}}")).unwrap();
            assert_eq!(context_missing(Some(&path), name).as_deref(), expected, "{contexts} {name:?}");
        };
        let two = "[{name: dev}, {name: live}]";
        check(two, None, None);
        check(two, Some("live"), None);
        check(two, Some("prod"), Some(r#"the kubeconfig has no context "prod"; there are: dev, live"#));
        check("[]", Some("prod"), Some(r#"the kubeconfig has no context "prod"; it has none"#));
        assert_eq!(context_missing(Some(&dir.path().join("missing")), Some("prod")), None, "said elsewhere");
    }
}
