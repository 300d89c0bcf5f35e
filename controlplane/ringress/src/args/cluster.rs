//! Where objects come from: a folder, or an API server and how much of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringress_controller::source::kube::{Access, CacheConfig, CacheKey, Patience, Scope};
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
    /// Folder for a copy of what is known of the cluster, served where the API server is away at the start. Default: none.
    #[arg(long, value_name = "DIR", env = "RINGRESS_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// 32 bytes in hexadecimal digits or base64, which encrypt Secrets in the cache; without them none are kept, and hosts
    /// with certificates refuse TLS while the cache is served.
    #[arg(long, value_name = "FILE", env = "RINGRESS_CACHE_KEY_FILE")]
    cache_key_file: Option<PathBuf>,
    /// How long the API server is waited for before the cache is served.
    #[arg(long, value_name = "DURATION", default_value = "5s", env = "RINGRESS_CACHE_AFTER")]
    cache_after: String,
    /// A cache that was true longer ago is not served: addresses of pods are given to others in time.
    #[arg(long, value_name = "DURATION", default_value = "24h", env = "RINGRESS_CACHE_MAX_AGE")]
    cache_max_age: String,
    /// A list without any object, where there were some, is believed once another one says so after this; 0: at once.
    /// Deletions that are watched are always believed at once. That the Service whose addresses are shown has none is believed
    /// when it lasts for so long.
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "RINGRESS_EMPTY_LIST_CONFIRMATION")]
    empty_list_confirmation: String,
    /// The Service whose addresses Ingresses show in their status.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_PUBLISH_SERVICE")]
    publish_service: Option<String>,
    /// Addresses and names that Ingresses show in their status, in place of those of a Service or of the nodes.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', env = "RINGRESS_PUBLISH_STATUS_ADDRESS")]
    publish_status_address: Vec<String>,
    /// Of nodes, show the internal address in statuses even where there is an external one.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        env = "RINGRESS_REPORT_NODE_INTERNAL_IP_ADDRESS"
    )]
    report_node_internal_ip_address: String,
    /// Whether addresses are written into the statuses of Ingresses; false beside a controller that writes its own there.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        env = "RINGRESS_UPDATE_STATUS"
    )]
    update_status: String,
    /// Whether the last replica takes the addresses out of the statuses when it ends.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        env = "RINGRESS_UPDATE_STATUS_ON_SHUTDOWN"
    )]
    update_status_on_shutdown: String,
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
    Cluster(Box<Cluster>),
}

/// An API server, how much of it, and what is done where it is away.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) scope: Scope,
    pub(crate) patience: Patience,
    pub(crate) cache: Option<CacheConfig>,
    pub(crate) status: StatusConfig,
}

impl ClusterArgs {
    /// The first flag that speaks of a cluster.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { kubeconfig, context, watch_namespace, watch_namespace_selector, cache_dir, .. } = self;
        let flags = [
            (kubeconfig.is_some(), "--kubeconfig"),
            (context.is_some(), "--context"),
            (!watch_namespace.is_empty(), "--watch-namespace"),
            (watch_namespace_selector.is_some(), "--watch-namespace-selector"),
            (cache_dir.is_some(), "--cache-dir"),
        ];
        flags.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag)
    }

    /// What is wrong with the values.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.mistakes_of_cache();
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
        for (flag, text) in [
            ("report-node-internal-ip-address", &self.report_node_internal_ip_address),
            ("update-status", &self.update_status),
            ("update-status-on-shutdown", &self.update_status_on_shutdown),
        ] {
            if let Err(why) = values::question(text) {
                mistakes.push(format!("--{flag} {text:?} {why}"));
            }
        }
        if let Err(why) = values::name(&self.election_id) {
            mistakes.push(format!("--election-id {:?} {why}", self.election_id));
        }
        mistakes
    }

    fn mistakes_of_cache(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let durations = [
            ("--cache-after", &self.cache_after),
            ("--cache-max-age", &self.cache_max_age),
            ("--empty-list-confirmation", &self.empty_list_confirmation),
        ];
        for (flag, text) in durations {
            mistakes.extend(values::duration(text).err().map(|why| format!("{flag} {text:?} {why}")));
        }
        if let Some(file) = given(&self.cache_key_file) {
            if given(&self.cache_dir).is_none() {
                mistakes.push("--cache-key-file without --cache-dir encrypts nothing; give both".to_owned());
            }
            if let Err(error) = CacheKey::read(file) {
                mistakes.push(format!("--cache-key-file {:?} {error}", file.display().to_string()));
            }
        }
        mistakes
    }

    /// The cache, where there is one; mistakes are reported elsewhere.
    fn cache(&self) -> Option<CacheConfig> {
        let mut cache = CacheConfig::new(given(&self.cache_dir)?.clone());
        cache.key = given(&self.cache_key_file).and_then(|file| CacheKey::read(file).ok());
        cache.after = values::duration(&self.cache_after).unwrap_or(cache.after);
        cache.age_max = values::duration(&self.cache_max_age).unwrap_or(cache.age_max);
        Some(cache)
    }

    fn patience(&self) -> Patience {
        let patience = Patience::default();
        let confirm = values::duration(&self.empty_list_confirmation).unwrap_or(patience.confirm);
        Patience { confirm, ..patience }
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
        let (patience, cache) = (self.patience(), self.cache());
        let says_yes = |text: &str| values::question(text) == Ok(true);
        let context = self.context.filter(|name| !name.is_empty());
        let status = StatusConfig {
            access: Access { kubeconfig: given(&self.kubeconfig).cloned(), context },
            publish,
            report_internal_addresses: says_yes(&self.report_node_internal_ip_address),
            watched: scope.namespaces.clone(),
            read_again: STATUSES_READ_AGAIN,
            confirm: patience.confirm,
            clear_on_shutdown: says_yes(&self.update_status_on_shutdown),
            election_id: self.election_id,
            pod_name: self.pod_name,
            pod_namespace: self.pod_namespace,
        };
        Origin::Cluster(Box::new(Cluster { scope, patience, cache, status }))
    }

    /// Where addresses come from; outside of a pod and without a flag nowhere, nor where no status is to be written.
    fn publish(&self) -> Option<Publish> {
        if values::question(&self.update_status) == Ok(false) {
            return None;
        }
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

/// A path that is set; an empty variable sets none.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

/// Whether a text is a DNS label, as names of namespaces are.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// As ingress-nginx does.
const STATUSES_READ_AGAIN: Duration = Duration::from_secs(60);
