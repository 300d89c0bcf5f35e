//! Arguments and environment: the only place that reads either.
//!
//! clap knows the flags, their variables, defaults and help; every value is taken as text. [`RunArgs::check`] and its
//! siblings then read all the texts and report all [`Mistakes`] together, before any port is bound. Texts become typed
//! values here and nowhere else; what changes the meaning of objects ends in a `Settings` field.

mod check;
mod cluster;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ringress_translate::settings::Settings;

use crate::terminal::quoted;
pub(crate) use check::Mistakes;
pub(crate) use cluster::{Cluster, Origin};

/// Serves Kubernetes Ingress manifests through pinned shards.
#[derive(Debug, Parser)]
#[command(name = "ringress", version, max_term_width = 120, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// What the user asks for. Ends the process where help is asked for and where clap refuses the arguments.
    pub(crate) fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|refused| refused.exit())
    }

    fn try_read(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let is_told_twice = matches.subcommand_matches("explain").is_some_and(has_two_sources);
        match command.find_subcommand_mut("explain") {
            Some(explain) if is_told_twice => Err(explain.error(ErrorKind::ArgumentConflict, TWO_SOURCES)),
            _ => Self::from_arg_matches(&matches).map_err(|refused| refused.format(&mut command)),
        }
    }
}

const TWO_SOURCES: &str =
    "the argument '--manifests <PATH>' cannot be used with '--admin <IP:PORT>': one of them answers";

/// Whether `explain` is told two places to ask. clap's own conflicts count a variable like a flag, and a variable that is
/// set for the whole shell must not forbid `-f`.
fn has_two_sources(explain: &ArgMatches) -> bool {
    let is_flag_given = |id| explain.value_source(id) == Some(ValueSource::CommandLine);
    is_flag_given("manifests") && is_flag_given("admin")
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve a cluster, or a folder of manifests, and every change to it.
    Run(Box<RunArgs>),
    /// Try it on this machine: no cluster, no root, echo backends inside the process.
    Dev(DevArgs),
    /// Say which rule takes a URL, what is sent to whom, and why every other rule lost.
    Explain(ExplainArgs),
    /// List everything that is wrong with manifests.
    Lint(LintArgs),
    /// Restore the indentation of manifests that lost it.
    Fmt(FmtArgs),
    /// Answer every request with what was received.
    #[command(hide = true)]
    Echo(EchoArgs),
    /// Print the version.
    Version,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder of Kubernetes YAML or JSON to serve and to watch, in place of a cluster.
    #[arg(long, value_name = "DIR", env = "RINGRESS_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Port for plain text on every address, or off.
    #[arg(long, value_name = "PORT", default_value = "80", env = "RINGRESS_HTTP_PORT")]
    http_port: String,
    /// Port for TLS on every address, or off.
    #[arg(long, value_name = "PORT", default_value = "443", env = "RINGRESS_HTTPS_PORT")]
    https_port: String,
    /// Where health, metrics, routes and explain are answered.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin_address: String,
    /// Where /healthz, /readyz and /metrics alone are answered, or off.
    #[arg(long, value_name = "IP:PORT", default_value = "off", env = "RINGRESS_HEALTH_ADDRESS")]
    health_address: String,
    /// One line for each exchange on stdout: off, json or clf.
    #[arg(long, value_name = "FORMAT", default_value = "json", env = "RINGRESS_ACCESS_LOG")]
    access_log: String,
    /// How long exchanges under way may go on after SIGTERM; the process ends earlier when nothing is open.
    #[arg(long, value_name = "DURATION", default_value = "30s", env = "RINGRESS_DRAIN_TIMEOUT")]
    drain_timeout: String,
    /// How long to accept on after SIGTERM while /readyz answers 503, before draining.
    #[arg(long, value_name = "DURATION", default_value = "0s", env = "RINGRESS_SHUTDOWN_GRACE_PERIOD")]
    shutdown_grace_period: String,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Flags of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Folder of manifests; without it an embedded example is served.
    #[arg(short = 'f', long = "manifests", value_name = "DIR", env = "RINGRESS_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Port for plain text, or off.
    #[arg(long, value_name = "PORT", default_value = "8080", env = "RINGRESS_HTTP_PORT")]
    http_port: String,
    /// Port for TLS, or off.
    #[arg(long, value_name = "PORT", default_value = "8443", env = "RINGRESS_HTTPS_PORT")]
    https_port: String,
    /// Address of both ports: this machine alone, or :: for everybody who can reach it.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "RINGRESS_LISTEN_ADDRESS")]
    listen_address: String,
    /// Where health, metrics, routes and explain are answered.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin_address: String,
    /// One line for each exchange on stdout: off, json or clf.
    #[arg(long, value_name = "FORMAT", default_value = "off", env = "RINGRESS_ACCESS_LOG")]
    access_log: String,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// What a client would ask for, as in http://web.local/cart
    url: String,
    /// Answer from these manifests (a folder, a file, or - for stdin), not from a process.
    #[arg(short = 'f', long = "manifests", value_name = "PATH")]
    pub(crate) manifests: Option<PathBuf>,
    /// Ask a process that runs.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin: String,
    /// Request method.
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Request field, as in 'Cookie: a=b'; repeat for more.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
}

/// Flags of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Folders or files; - is stdin.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
}

/// Flags of `fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// Files; - is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Replace the files instead of printing.
    #[arg(short = 'w', long)]
    pub(crate) write: bool,
}

/// Flags of `echo`.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Where to listen.
    #[arg(long, value_name = "IP:PORT")]
    listen: String,
    /// The Service to name in answers.
    #[arg(long, value_name = "SERVICE", default_value = "echo")]
    name: String,
    /// The pod to name in answers; the port is added where this is not given.
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
}

/// How an answer is printed.
#[derive(Debug, Args)]
struct OutputArgs {
    /// text or json.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: String,
}

/// What changes the meaning of objects; `run`, `dev`, `explain` and `lint` take the same.
#[derive(Debug, Args)]
#[command(next_help_heading = "Meaning of objects")]
struct MeaningArgs {
    /// The IngressClass that is served.
    #[arg(long, value_name = "NAME", default_value = "ringress", env = "RINGRESS_INGRESS_CLASS")]
    ingress_class: String,
    /// The spec.controller of IngressClasses that are served.
    #[arg(
        long,
        value_name = "DOMAIN/NAME",
        default_value = "ringress.dev/ingress-controller",
        env = "RINGRESS_CONTROLLER_CLASS"
    )]
    controller_class: String,
    /// Serve Ingresses that name no class; dev: true, else false.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "RINGRESS_WATCH_INGRESS_WITHOUT_CLASS"
    )]
    watch_ingress_without_class: Option<String>,
    /// The Service that answers what no rule takes; its first port is used.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_DEFAULT_BACKEND_SERVICE")]
    default_backend_service: Option<String>,
    /// The Secret with the certificate for names that no other certificate covers.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_DEFAULT_SSL_CERTIFICATE")]
    default_ssl_certificate: Option<String>,
    /// The ConfigMap with global settings (unread in strict, with a warning).
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_CONFIGMAP")]
    configmap: Option<String>,
    /// The prefix of foreign annotations that are recognised.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "nginx.ingress.kubernetes.io",
        env = "RINGRESS_ANNOTATIONS_PREFIX"
    )]
    annotations_prefix: String,
    /// Whose semantics rules follow: strict (ingress-nginx is not there yet).
    #[arg(long, value_name = "DIALECT", default_value = "strict", env = "RINGRESS_COMPAT")]
    compat: String,
}

/// Limits and timeouts that rules start from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients and endpoints")]
struct TrafficArgs {
    /// Port that clients see for plain text, for X-Forwarded-Port; default: the port of --http-port.
    #[arg(long, value_name = "PORT", env = "RINGRESS_HTTP_PUBLIC_PORT")]
    http_public_port: Option<String>,
    /// Port that clients see for TLS, for redirects and X-Forwarded-Port; default: the port of --https-port.
    #[arg(long, value_name = "PORT", env = "RINGRESS_HTTPS_PUBLIC_PORT")]
    https_public_port: Option<String>,
    /// Peers whose X-Forwarded fields are believed: ranges, separated by commas. Nobody by default.
    #[arg(
        long,
        value_name = "CIDR,...",
        default_value = "",
        hide_default_value = true,
        env = "RINGRESS_TRUSTED_PROXIES"
    )]
    trusted_proxies: String,
    /// For a whole request head, and for the TLS handshake (408).
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "RINGRESS_CLIENT_HEADER_TIMEOUT")]
    client_header_timeout: String,
    /// Longest silence inside a request body (408).
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_CLIENT_BODY_TIMEOUT")]
    client_body_timeout: String,
    /// Longest time in which a client takes no byte of an answer.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_CLIENT_WRITE_TIMEOUT")]
    client_write_timeout: String,
    /// Life of an idle client connection.
    #[arg(long, value_name = "DURATION", default_value = "75s", env = "RINGRESS_CLIENT_IDLE_TIMEOUT")]
    client_idle_timeout: String,
    /// For a TCP connection to an endpoint (504).
    #[arg(long, value_name = "DURATION", default_value = "5s", env = "RINGRESS_CONNECT_TIMEOUT")]
    connect_timeout: String,
    /// Longest silence of an endpoint, for the head (504) and inside the body.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_UPSTREAM_RESPONSE_TIMEOUT")]
    upstream_response_timeout: String,
    /// Life of an unused connection to an endpoint.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_UPSTREAM_IDLE_TIMEOUT")]
    upstream_idle_timeout: String,
    /// Longest silence in both directions of a tunnel, such as a WebSocket.
    #[arg(long, value_name = "DURATION", default_value = "1h", env = "RINGRESS_TUNNEL_IDLE_TIMEOUT")]
    tunnel_idle_timeout: String,
    /// Largest request body in bytes, as in 1MiB, or unlimited (413).
    #[arg(long, value_name = "SIZE", default_value = "unlimited", env = "RINGRESS_MAX_BODY_BYTES")]
    max_body_bytes: String,
    /// Largest request head in bytes, at most 64KiB (431).
    #[arg(long, value_name = "SIZE", default_value = "64KiB", env = "RINGRESS_MAX_HEADER_BYTES")]
    max_header_bytes: String,
}

/// What holds for the whole process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
struct ProcessArgs {
    /// Number of shards; auto: what CPU quota and affinity allow.
    #[arg(long, value_name = "COUNT", default_value = "auto", env = "RINGRESS_SHARDS")]
    shards: String,
    /// Whether each shard keeps to one core: auto (when there are as many as shards), always or never.
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "RINGRESS_PIN")]
    pin: String,
    /// How shards do input and output: auto, io_uring or epoll.
    #[arg(long, value_name = "DRIVER", default_value = "auto", env = "RINGRESS_IO_DRIVER")]
    io_driver: String,
    /// What is logged: error, warn, info (the default of run), debug, trace, or directives by module.
    #[arg(long, value_name = "LEVEL", env = "RINGRESS_LOG_LEVEL")]
    log_level: Option<String>,
}

/// `run`, read.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) origin: Origin,
    pub(crate) admin_address: SocketAddr,
    pub(crate) health_address: Option<SocketAddr>,
    pub(crate) drain_timeout: Duration,
    pub(crate) shutdown_grace_period: Duration,
    pub(crate) settings: Settings,
    pub(crate) process: Process,
}

/// `dev`, read.
#[derive(Debug)]
pub(crate) struct Dev {
    /// `None`: the embedded example.
    pub(crate) manifests: Option<PathBuf>,
    pub(crate) admin_address: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) process: Process,
}

/// `explain`, read.
#[derive(Debug)]
pub(crate) struct Explain {
    pub(crate) url: String,
    pub(crate) method: String,
    /// Name and value, as given.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) source: ExplainSource,
    pub(crate) output: Output,
}

/// Who answers `explain`.
#[derive(Debug)]
pub(crate) enum ExplainSource {
    /// These manifests.
    Manifests(PathBuf, Box<Settings>),
    /// The process behind this admin address.
    Admin(SocketAddr),
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs; its shape is stable.
    Json,
}

/// What holds for the whole process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// `None`: as many as quota and affinity allow.
    pub(crate) shards: Option<usize>,
    pub(crate) pin: Pin,
    pub(crate) io_driver: Driver,
    /// `None`: what suits the verb.
    pub(crate) log_level: Option<String>,
}

/// Whether shards keep to one core each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pin {
    /// When there are as many allowed cores as shards.
    #[default]
    Auto,
    /// Also when shards have to share.
    Always,
    /// The kernel decides.
    Never,
}

/// How shards do input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Driver {
    /// The best that the kernel allows.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// Whether the user asks every program for plain text (no-color.org).
pub(crate) fn is_color_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// How the running program can be called again: as short as it works from here, for a shell.
pub(crate) fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "ringress".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |folder: PathBuf| folder.join(program.file_name()?).canonicalize().ok();
    let in_path = std::env::split_paths(&path).find_map(found);
    quoted(&called_again(&program, &here, in_path.as_deref()))
}

/// A bare name works only where PATH has this very program under it, and a file of the current folder needs its `./`.
fn called_again(program: &Path, here: &Path, in_path: Option<&Path>) -> String {
    let text = |path: &Path| path.display().to_string();
    match (program.file_name(), program.strip_prefix(here)) {
        (Some(name), _) if in_path == Some(program) => text(name.as_ref()),
        (_, Ok(below)) if below.components().count() == 1 => format!("./{}", below.display()),
        (_, Ok(below)) => text(below),
        (_, Err(_)) => text(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_so_that_a_shell_finds_it() {
        let check = |here: &str, in_path: Option<&str>, expected: &str| {
            let called = called_again(Path::new("/a/b/ringress"), Path::new(here), in_path.map(Path::new));
            assert_eq!(called, expected, "from {here}, PATH has {in_path:?}");
        };
        check("/a/b", None, "./ringress");
        check("/a", None, "b/ringress");
        check("/", None, "a/b/ringress");
        check("/other", None, "/a/b/ringress");
        check("/other", Some("/a/b/ringress"), "ringress");
        check("/a/b", Some("/a/b/ringress"), "ringress");
        check("/a/b", Some("/usr/bin/ringress"), "./ringress");
    }
}
