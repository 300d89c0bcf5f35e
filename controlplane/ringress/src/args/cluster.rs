//! Where objects come from: a folder, or an API server and how much of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use ringress_controller::source::kube::{Access, Scope};
use ringress_controller::status::{Publish, StatusConfig};
use ringress_translate::settings::Settings;

use super::values;

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
    /// The Service whose addresses Ingresses show in their status.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_PUBLISH_SERVICE")]
    publish_service: Option<String>,
    /// Addresses and names that Ingresses show in their status, in place of those of a Service or of the nodes.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', env = "RINGRESS_PUBLISH_STATUS_ADDRESS")]
    publish_status_address: Vec<String>,
    /// The Lease whose holder writes statuses and Events; every replica serves.
    #[arg(long, value_name = "NAME", default_value = "ringress-leader", env = "RINGRESS_ELECTION_ID")]
    election_id: String,
    /// The pod that this process runs in.
    #[arg(long, value_name = "NAME", env = "RINGRESS_POD_NAME")]
    pod_name: Option<String>,
    /// The namespace of the pod and of the Lease.
    #[arg(long, value_name = "NAMESPACE", env = "RINGRESS_POD_NAMESPACE")]
    pod_namespace: Option<String>,
}

/// Where objects come from, read.
#[derive(Debug)]
pub(crate) enum Origin {
    /// This folder.
    Folder(PathBuf),
    /// This API server.
    Cluster(Scope, Box<StatusConfig>),
}

impl ClusterArgs {
    /// The first flag that speaks of a cluster.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { kubeconfig, context, watch_namespace, watch_namespace_selector, .. } = self;
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
        if let Some(Err(why)) = self.publish_service().map(values::reference) {
            mistakes
                .push(format!("--publish-service {:?} {why}", self.publish_service().unwrap_or_default()));
        }
        if self.publish_service().is_some() && !self.publish_addresses().is_empty() {
            mistakes.push("--publish-service and --publish-status-address exclude each other".to_owned());
        }
        if let Err(why) = values::name(&self.election_id) {
            mistakes.push(format!("--election-id {:?} {why}", self.election_id));
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
        let publish = self.publish();
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        let context = self.context.filter(|name| !name.is_empty());
        let status = StatusConfig {
            access: Access { kubeconfig: self.kubeconfig.filter(given), context },
            publish,
            election_id: self.election_id,
            pod_name: self.pod_name,
            pod_namespace: self.pod_namespace,
        };
        Origin::Cluster(scope, Box::new(status))
    }

    /// Where addresses come from; outside of a pod and without a flag nowhere.
    fn publish(&self) -> Option<Publish> {
        let addresses = self.publish_addresses();
        let service = self.publish_service().and_then(|text| values::reference(text).ok());
        match service {
            Some(service) => Some(Publish::Service(service)),
            None if !addresses.is_empty() => Some(Publish::Addresses(addresses)),
            None => self.pod_name.as_ref().filter(|name| !name.is_empty()).map(|_| Publish::Nodes),
        }
    }

    fn publish_service(&self) -> Option<&str> {
        self.publish_service.as_deref().filter(|text| !text.is_empty())
    }

    fn publish_addresses(&self) -> Vec<String> {
        let texts = self.publish_status_address.iter().map(|text| text.trim());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
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
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
