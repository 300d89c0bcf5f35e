//! Groups of flags that several verbs take, read into typed values.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ringress_shared::listener::{AccessLogFormat, ClientTimeouts, HeadLimits, HttpSettings};
use ringress_shared::route::{Dialect, RuleTimeouts};
use ringress_translate::objects::Key;
use ringress_translate::settings::Settings;
use tracing_subscriber::EnvFilter;

use super::cluster::ClusterArgs;
use super::{Driver, MeaningArgs, Mistakes, Pin, Process, ProcessArgs, TrafficArgs, values};

/// Whose defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defaults {
    /// Also `explain` and `lint`: they say what `run` would do.
    OfRun,
    OfDev,
}

type Ports = (Option<SocketAddr>, Option<SocketAddr>);

impl Mistakes {
    /// A folder and a cluster at once would leave open which of them counts.
    pub(super) fn cluster(&mut self, is_folder: bool, cluster: &ClusterArgs) {
        match cluster.given().filter(|_| is_folder) {
            Some(flag) => {
                self.add(format!("{flag} speaks of a cluster and --manifests of a folder; give one"))
            }
            None => cluster.mistakes().into_iter().for_each(|mistake| self.add(mistake)),
        }
    }

    pub(super) fn folder(&mut self, folder: PathBuf) -> PathBuf {
        if !folder.is_dir() {
            self.add(format!("--manifests {:?} is no folder that can be read", folder.display().to_string()));
        }
        folder
    }

    pub(super) fn ports(&mut self, http: &str, https: &str, address: IpAddr) -> Ports {
        let before = self.count();
        let http = self.read("http-port", http, values::port);
        let https = self.read("https-port", https, values::port);
        if self.count() == before {
            match (http, https) {
                (None, None) => self.add("--http-port and --https-port are both off".to_owned()),
                (Some(a), Some(b)) if a == b => {
                    self.add(format!("--http-port and --https-port are both {a}"));
                }
                _ => {}
            }
        }
        let at = |port| SocketAddr::new(address, port);
        (http.map(at), https.map(at))
    }

    pub(super) fn http_settings(
        &mut self,
        traffic: &TrafficArgs,
        access_log: AccessLogFormat,
    ) -> HttpSettings {
        let head_bytes_max = self.read("max-header-bytes", &traffic.max_header_bytes, values::head_bytes);
        let limits = HeadLimits::default();
        HttpSettings {
            limits: HeadLimits {
                head_bytes_max,
                request_line_bytes_max: limits.request_line_bytes_max.min(head_bytes_max),
                field_bytes_max: limits.field_bytes_max.min(head_bytes_max),
                ..limits
            },
            timeouts: ClientTimeouts {
                header: self.read("client-header-timeout", &traffic.client_header_timeout, values::timeout),
                body: self.read("client-body-timeout", &traffic.client_body_timeout, values::timeout),
                write: self.read("client-write-timeout", &traffic.client_write_timeout, values::timeout),
                idle: self.read("client-idle-timeout", &traffic.client_idle_timeout, values::timeout),
            },
            trusted_proxies: self
                .read("trusted-proxies", &traffic.trusted_proxies, values::ranges)
                .into_boxed_slice(),
            access_log,
            public_port: 0,
        }
    }

    fn rule_timeouts(&mut self, traffic: &TrafficArgs) -> RuleTimeouts {
        RuleTimeouts {
            connect: self.read("connect-timeout", &traffic.connect_timeout, values::timeout),
            response: self.read(
                "upstream-response-timeout",
                &traffic.upstream_response_timeout,
                values::timeout,
            ),
            idle: self.read("upstream-idle-timeout", &traffic.upstream_idle_timeout, values::timeout),
            tunnel: self.read("tunnel-idle-timeout", &traffic.tunnel_idle_timeout, values::timeout),
        }
    }

    pub(super) fn settings(
        &mut self,
        args: MeaningArgs,
        traffic: &TrafficArgs,
        (http, https): Ports,
        http_settings: HttpSettings,
        defaults: Defaults,
    ) -> Settings {
        let is_dev = defaults == Defaults::OfDev;
        let classless = args.watch_ingress_without_class.unwrap_or_else(|| is_dev.to_string());
        Settings {
            http,
            https,
            https_public_port: self.public_port("https-public-port", &traffic.https_public_port, https, 443),
            ingress_class: self.read("ingress-class", &args.ingress_class, values::name),
            controller_class: self.read("controller-class", &args.controller_class, values::name),
            watch_ingress_without_class: self.read(
                "watch-ingress-without-class",
                &classless,
                values::question,
            ),
            create_named_classes: is_dev,
            // What follows is said of a folder: no API server has filled in fields or vetted addresses.
            apply_default_class: true,
            allow_loopback_endpoints: true,
            default_backend_service: self.reference("default-backend-service", args.default_backend_service),
            default_ssl_certificate: self.reference("default-ssl-certificate", args.default_ssl_certificate),
            configmap: self.reference("configmap", args.configmap),
            annotations_prefix: self.read("annotations-prefix", &args.annotations_prefix, values::name),
            compat: self.dialect(&args.compat),
            http_settings: HttpSettings {
                public_port: self.public_port("http-public-port", &traffic.http_public_port, http, 80),
                ..http_settings
            },
            timeouts: self.rule_timeouts(traffic),
            body_bytes_max: self.read("max-body-bytes", &traffic.max_body_bytes, values::body_bytes),
            fallback_certificate: None,
        }
    }

    /// Where a Service or a load balancer stands before the listener, clients know another port than the one listened on.
    fn public_port(
        &mut self,
        flag: &str,
        text: &Option<String>,
        listening: Option<SocketAddr>,
        usual: u16,
    ) -> u16 {
        match text.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => self.read_or(flag, text, values::public_port, usual),
            None => listening.map_or(usual, |address| address.port()),
        }
    }

    fn dialect(&mut self, text: &str) -> Dialect {
        match text {
            "strict" => {}
            "ingress-nginx" => self.add(
                "--compat \"ingress-nginx\" is not there yet; strict is what Ingress v1 documents".to_owned(),
            ),
            _ => self.add(format!("--compat {text:?} is none of strict, ingress-nginx")),
        }
        Dialect::Strict
    }

    fn reference(&mut self, flag: &str, text: Option<String>) -> Option<Key> {
        let text = text.filter(|text| !text.is_empty())?;
        self.read(flag, &text, |text| values::reference(text).map(Some))
    }

    pub(super) fn process(&mut self, args: ProcessArgs) -> Process {
        Process {
            shards: self.read("shards", &args.shards, values::shards),
            pin: self.one_of("pin", &args.pin, PINS),
            io_driver: self.one_of("io-driver", &args.io_driver, DRIVERS),
            log_level: args
                .log_level
                .filter(|level| !level.is_empty())
                .map(|level| self.read("log-level", &level, log_level)),
        }
    }
}

/// Both address families: the unspecified IPv6 address is dual stack where the machine has it.
pub(super) const EVERY_ADDRESS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

pub(super) fn every_address(port: u16) -> SocketAddr {
    SocketAddr::new(EVERY_ADDRESS, port)
}

/// A lone word that is no level would be taken for the name of a module, and everything else fall silent.
fn log_level(text: &str) -> Result<String, String> {
    let is_known =
        |part: &str| part.contains('=') || LOG_LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    match text.split(',').all(|part| is_known(part.trim())) && EnvFilter::try_new(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "is no log level; write {}, or directives by module, as in info,ringress_controller=debug",
            LOG_LEVELS.join(", ")
        )),
    }
}

const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const PINS: &[(&str, Pin)] = &[("auto", Pin::Auto), ("always", Pin::Always), ("never", Pin::Never)];
const DRIVERS: &[(&str, Driver)] =
    &[("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
