//! Where objects come from: a folder, or an API server and how much of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use ringress_controller::source::kube::{Access, Scope};
use ringress_translate::settings::Settings;

/// Flags that say which cluster is served, and how much of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster (without --manifests)")]
pub(super) struct ClusterArgs {
    /// Kubeconfig; without it KUBECONFIG, ~/.kube/config, then the service account of the pod.
    #[arg(long, value_name = "FILE", env = "RINGRESS_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; without it its current one.
    #[arg(long, value_name = "NAME", env = "RINGRESS_CONTEXT")]
    context: Option<String>,
    /// Serve these namespaces only, separated by commas or repeated; Roles in them suffice. Default: all.
    #[arg(long, value_name = "NAMESPACE,...", value_delimiter = ',', env = "RINGRESS_WATCH_NAMESPACE")]
    watch_namespace: Vec<String>,
    /// Serve namespaces with these labels only, as in team=a or 'env in (test, prod)'.
    #[arg(long, value_name = "SELECTOR", env = "RINGRESS_WATCH_NAMESPACE_SELECTOR")]
    watch_namespace_selector: Option<String>,
}

/// Where objects come from, read.
#[derive(Debug)]
pub(crate) enum Origin {
    /// This folder.
    Folder(PathBuf),
    /// This API server.
    Cluster(Access, Scope),
}

impl ClusterArgs {
    /// The first flag that speaks of a cluster.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { kubeconfig, context, watch_namespace, watch_namespace_selector } = self;
        let flags = [
            (kubeconfig.is_some(), "--kubeconfig"),
            (context.is_some(), "--context"),
            (!watch_namespace.is_empty(), "--watch-namespace"),
            (watch_namespace_selector.is_some(), "--watch-namespace-selector"),
        ];
        flags.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag)
    }

    /// What is wrong with the values.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for namespace in self.namespaces().iter().filter(|name| !is_label(name)) {
            mistakes.push(format!("--watch-namespace {namespace:?} is no name of a namespace"));
        }
        if !self.namespaces().is_empty() && self.selector().is_some() {
            mistakes.push("--watch-namespace and --watch-namespace-selector exclude each other".to_owned());
        }
        mistakes
    }

    /// The typed values.
    pub(super) fn origin(self, settings: &Settings) -> Origin {
        let scope = Scope {
            namespaces: self.namespaces(),
            namespace_selector: self.selector(),
            config_map: settings.configmap.clone(),
            default_certificate: settings.default_ssl_certificate.clone(),
            default_backend: settings.default_backend_service.clone(),
            class: (settings.ingress_class.clone(), settings.controller_class.clone()),
        };
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        let context = self.context.filter(|name| !name.is_empty());
        Origin::Cluster(Access { kubeconfig: self.kubeconfig.filter(given), context }, scope)
    }

    fn namespaces(&self) -> BTreeSet<String> {
        let names = self.watch_namespace.iter().map(|name| name.trim());
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn selector(&self) -> Option<String> {
        self.watch_namespace_selector.clone().filter(|selector| !selector.trim().is_empty())
    }
}

/// Whether a text is a DNS label, as names of namespaces are.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
