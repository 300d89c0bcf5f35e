//! Verbs that ask what runs: a cluster, or one process.
//!
//! As `kubectl ringress` they ask the cluster of the kubeconfig, as `ringress` the process on this machine, unless a flag says
//! otherwise.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::mistakes::NOWHERE;
use super::{Mistakes, Output, values};
use crate::ask::Selection;

/// How the program was called, as far as it decides who is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// As a plugin of kubectl.
    pub(super) is_plugin: bool,
    /// With `--admin` on the command line; a variable that is set for the whole shell is no choice.
    pub(super) names_admin: bool,
}

/// Who is asked; all verbs that ask take the same.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who is asked")]
pub(super) struct AskArgs {
    /// Ask this process. As ringress that is the default, as kubectl ringress it is the cluster.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin: String,
    /// Objects of this namespace; default: the one of the context.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Objects of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Context of the kubeconfig; without it its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig; without it KUBECONFIG, ~/.kube/config, then the service account of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where the controller runs; without it wherever its pods are found.
    #[arg(long, value_name = "NAMESPACE")]
    controller_namespace: Option<String>,
    /// Which release of it, where several run: NAME or NAMESPACE/NAME; without it all of them.
    #[arg(long, value_name = "RELEASE")]
    controller_release: Option<String>,
}

/// Who is asked, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The process behind this admin address; `All` where no namespace is named.
    Process(SocketAddr, Selection),
    /// The replicas of a cluster.
    Cluster(Choice),
}

/// Which cluster, and what of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    /// `None`: the one of the context.
    pub(crate) namespace: Option<String>,
    pub(crate) is_all: bool,
    pub(crate) controller_namespace: Option<String>,
    /// `NAME` or `NAMESPACE/NAME`; `None`: all that are found.
    pub(crate) controller_release: Option<String>,
}

impl AskArgs {
    /// Who is asked.
    pub(super) fn asked(self, caller: Caller, mistakes: &mut Mistakes) -> Asked {
        let of_cluster = self.of_cluster();
        if let (true, Some(flag)) = (caller.names_admin, of_cluster) {
            mistakes.add(format!("{flag} speaks of a cluster and --admin of a process; give one"));
        }
        let is_cluster = caller.is_plugin || of_cluster.is_some() || self.narrows();
        if is_cluster && !caller.names_admin {
            return Asked::Cluster(self.choice(mistakes));
        }
        let address = mistakes.read_or("admin", &self.admin, values::address, NOWHERE);
        let selection = match (self.all_namespaces, self.namespace) {
            (false, Some(name)) => Selection::Namespace(name),
            _ => Selection::All,
        };
        Asked::Process(address, selection)
    }

    /// Whether a flag chooses a cluster, or objects of one.
    pub(super) fn names_cluster(&self) -> bool {
        self.of_cluster().is_some() || self.narrows()
    }

    /// Which cluster.
    pub(super) fn choice(self, mistakes: &mut Mistakes) -> Choice {
        for (flag, name) in
            [("namespace", &self.namespace), ("controller-namespace", &self.controller_namespace)]
        {
            if let Some(name) = name.as_deref().filter(|name| !super::cluster::is_label(name)) {
                mistakes.add(format!("--{flag} {name:?} is no name of a namespace"));
            }
        }
        Choice {
            kubeconfig: self.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
            context: self.context.filter(|name| !name.is_empty()),
            namespace: self.namespace,
            is_all: self.all_namespaces,
            controller_namespace: self.controller_namespace,
            controller_release: self.controller_release,
        }
    }

    /// The first flag that can only be meant for a cluster.
    fn of_cluster(&self) -> Option<&'static str> {
        let flags = [
            (self.context.is_some(), "--context"),
            (self.kubeconfig.is_some(), "--kubeconfig"),
            (self.controller_namespace.is_some(), "--controller-namespace"),
            (self.controller_release.is_some(), "--controller-release"),
        ];
        flags.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag)
    }

    fn narrows(&self) -> bool {
        self.namespace.is_some() || self.all_namespaces
    }
}

/// How an answer of a table is printed.
#[derive(Debug, Args)]
struct TableArgs {
    /// text, wide, name, json or yaml.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: String,
}

/// Flags of `shards`, `certs` and `backends`.
#[derive(Debug, Args)]
pub(crate) struct TellArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// Flags of `doctor`, whose answer is no table.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// Flags of `dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// yaml or json.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    output: String,
    #[command(flatten)]
    ask: AskArgs,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Ingresses, as in ingress/web.
    #[arg(value_name = "ingress/NAME")]
    objects: Vec<String>,
    /// All Ingresses with these labels, as in app=web.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// How long to wait; 0s asks once.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: String,
    /// With --admin: the manifests that the process should have applied; a process alone does not know what it lacks.
    #[arg(short = 'f', long = "manifests", value_name = "PATH")]
    manifests: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// A verb that tells, read.
#[derive(Debug)]
pub(crate) struct Tell {
    pub(crate) asked: Asked,
    pub(crate) output: Output,
}

/// `wait`, read.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) asked: Asked,
    /// Names of Ingresses.
    pub(crate) names: Vec<String>,
    pub(crate) selector: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) manifests: Option<PathBuf>,
    pub(crate) output: Output,
}

impl TellArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Tell, Mistakes> {
        let mut mistakes = Mistakes::default();
        let output = mistakes.one_of("output", &self.table.output, TABLES);
        let asked = self.ask.asked(caller, &mut mistakes);
        mistakes.unless_any(Tell { asked, output })
    }
}

impl DoctorArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Tell, Mistakes> {
        let mut mistakes = Mistakes::default();
        let output = self.output.read(&mut mistakes);
        let asked = self.ask.asked(caller, &mut mistakes);
        mistakes.unless_any(Tell { asked, output })
    }
}

impl DumpArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Tell, Mistakes> {
        let mut mistakes = Mistakes::default();
        let output = mistakes.one_of("output", &self.output, STRUCTURED);
        let asked = self.ask.asked(caller, &mut mistakes);
        mistakes.unless_any(Tell { asked, output })
    }
}

impl WaitArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Wait, Mistakes> {
        let mut mistakes = Mistakes::default();
        let names = names_of(&self.objects, &mut mistakes);
        let has_any = !self.objects.is_empty() || self.selector.is_some() || self.manifests.is_some();
        if !has_any {
            mistakes.add("nothing to wait for; name it as in ingress/web, or give -l SELECTOR".to_owned());
        }
        let timeout = mistakes.read("timeout", &self.timeout, values::duration);
        let output = self.output.read(&mut mistakes);
        let asked = self.ask.asked(caller, &mut mistakes);
        match (&asked, &self.manifests) {
            (Asked::Process(..), None) => mistakes.add(
                "a process does not know what it lacks: give -f PATH, the manifests that it should have applied, or \
                 wait for a cluster (kubectl ringress wait)"
                    .to_owned(),
            ),
            (Asked::Cluster(_), Some(_)) => {
                mistakes.add("-f is for --admin: what a cluster should have applied, its API server knows".to_owned());
            }
            _ => {}
        }
        if self.selector.is_some() && self.manifests.is_some() {
            mistakes.add("-l asks the API server and -f the files; give one".to_owned());
        }
        let Self { selector, manifests, .. } = self;
        mistakes.unless_any(Wait { asked, names, selector, timeout, manifests, output })
    }
}

/// `ingress/web`, `ing/web`, or `ingress web other`, as kubectl takes it.
fn names_of(objects: &[String], mistakes: &mut Mistakes) -> Vec<String> {
    if let [kind, names @ ..] = objects
        && is_ingress(kind)
        && !names.is_empty()
    {
        return names.to_vec();
    }
    let mut found = Vec::new();
    for object in objects {
        match ingress_of(object) {
            Some(name) => found.push(name.to_owned()),
            None => mistakes.add(format!("{object:?} is no Ingress; write ingress/NAME")),
        }
    }
    found
}

/// The name in `ingress/NAME`.
pub(crate) fn ingress_of(text: &str) -> Option<&str> {
    let (kind, name) = text.split_once('/')?;
    (is_ingress(kind) && !name.is_empty() && !name.contains('/')).then_some(name)
}

fn is_ingress(kind: &str) -> bool {
    let kinds = ["ingress", "ingresses", "ing", "ingress.networking.k8s.io", "ingresses.networking.k8s.io"];
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// What is asked for: a URL, or the path of a URL whose host stands in a Host field, as curl users write it.
pub(super) fn url_of(url: String, headers: &[(String, String)]) -> String {
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    match host {
        Some((_, host)) if url.starts_with('/') => format!("http://{host}{url}"),
        _ => url,
    }
}

/// How an answer that is no table is printed; `explain`, `lint`, `wait` and `doctor` take the same.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// text, json or yaml.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: String,
}

impl OutputArgs {
    pub(super) fn read(&self, mistakes: &mut Mistakes) -> Output {
        mistakes.one_of("output", &self.output, ANSWERS)
    }
}

const ANSWERS: &[(&str, Output)] = &[("text", Output::Text), ("json", Output::Json), ("yaml", Output::Yaml)];
const STRUCTURED: &[(&str, Output)] = &[("yaml", Output::Yaml), ("json", Output::Json)];
const TABLES: &[(&str, Output)] = &[
    ("text", Output::Text),
    ("wide", Output::Wide),
    ("name", Output::Name),
    ("json", Output::Json),
    ("yaml", Output::Yaml),
];

#[cfg(test)]
mod tests {
    use super::super::{Cli, Verb};
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Asked, String> {
        let cli = Cli::try_read(arguments).map_err(|refused| refused.to_string())?;
        let Verb::Shards(args) = cli.verb else { panic!("{:?}", cli.verb) };
        args.check(cli.caller).map(|tell| tell.asked).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_name_of_the_program_and_flags_decide_who_is_asked() {
        let process = |namespace: Option<&str>| {
            let selection = namespace.map_or(Selection::All, |name| Selection::Namespace(name.to_owned()));
            Asked::Process("127.0.0.1:7".parse().unwrap(), selection)
        };
        let cluster = |choice: Choice| Asked::Cluster(choice);
        let text = |text: &str| Some(text.to_owned());
        let admin = "--admin=127.0.0.1:7";
        for (arguments, expected) in [
            (&["ringress", "shards", admin][..], process(None)),
            (&["ringress", "shards", admin, "-n", "shop"], process(Some("shop"))),
            (&["ringress", "shards", admin, "-n", "shop", "-A"], process(None)),
            (&["/opt/kubectl-ringress", "shards", admin], process(None)),
            (&["kubectl-ringress", "shards"], cluster(Choice::default())),
            (&["ringress", "shards", "-A"], cluster(Choice { is_all: true, ..Choice::default() })),
            (
                &["ringress", "shards", "-nshop"],
                cluster(Choice { namespace: text("shop"), ..Choice::default() }),
            ),
            (
                &["ringress", "shards", "--context=c", "--kubeconfig=/k", "--controller-namespace=r"],
                cluster(Choice {
                    context: text("c"),
                    kubeconfig: Some("/k".into()),
                    controller_namespace: text("r"),
                    ..Choice::default()
                }),
            ),
        ] {
            assert_eq!(asked(arguments), Ok(expected), "{arguments:?}");
        }
        let Ok(Asked::Process(address, _)) = asked(&["ringress", "shards"]) else { panic!("no process") };
        assert_eq!(address.to_string(), "127.0.0.1:10254");
    }

    #[test]
    fn who_is_asked_is_said_once() {
        for (arguments, part) in [
            (&["ringress", "shards", "--admin=127.0.0.1:7", "--context=c"][..], "--context"),
            (&["ringress", "shards", "--admin=nowhere"], "--admin \"nowhere\""),
            (&["kubectl-ringress", "shards", "-n", "Not_One"], "--namespace \"Not_One\""),
            (&["kubectl-ringress", "shards", "-o", "table"], "--output \"table\""),
        ] {
            let told = asked(arguments).unwrap_err();
            assert!(told.contains(part), "{arguments:?}: {told}");
        }
    }

    #[test]
    fn the_plugin_calls_itself_as_it_is_called() {
        for (program, usage) in [("kubectl-ringress", "kubectl ringress"), ("ringress", "ringress")] {
            let help = Cli::try_read([program, "shards", "--help"]).unwrap_err().to_string();
            assert!(help.contains(&format!("Usage: {usage} shards")), "{help}");
        }
    }

    #[test]
    fn each_verb_takes_its_formats_and_names_them_where_it_refuses() {
        let read = |verb: &[&str], format: &str| -> Result<Output, String> {
            let cli = Cli::try_read([&["kubectl-ringress"], verb, &["-o", format]].concat()).unwrap();
            let caller = cli.caller;
            let output = match cli.verb {
                Verb::Explain(args) => args.check(caller).map(|explain| explain.output),
                Verb::Lint(args) => args.check(caller).map(|lint| lint.output),
                Verb::Wait(args) => args.check(caller).map(|wait| wait.output),
                Verb::Doctor(args) => args.check(caller).map(|tell| tell.output),
                Verb::Dump(args) => args.check(caller).map(|tell| tell.output),
                Verb::Shards(args) | Verb::Certs(args) | Verb::Backends(args) => {
                    args.check(caller).map(|tell| tell.output)
                }
                verb => panic!("{verb:?}"),
            };
            output.map_err(|mistakes| mistakes.to_string())
        };
        let formats = [
            ("text", Output::Text),
            ("wide", Output::Wide),
            ("name", Output::Name),
            ("json", Output::Json),
            ("yaml", Output::Yaml),
        ];
        for (verb, taken) in [
            (&["shards"][..], "text, wide, name, json, yaml"),
            (&["certs"], "text, wide, name, json, yaml"),
            (&["backends"], "text, wide, name, json, yaml"),
            (&["doctor"], "text, json, yaml"),
            (&["lint"], "text, json, yaml"),
            (&["explain", "http://web.test/"], "text, json, yaml"),
            (&["wait", "ingress/web"], "text, json, yaml"),
            (&["dump"], "yaml, json"),
        ] {
            for (format, output) in formats.into_iter().chain([("table", Output::Text)]) {
                let expected = match taken.split(", ").any(|one| one == format) {
                    true => Ok(output),
                    false => Err(format!("error: --output {format:?} is none of {taken}\n")),
                };
                assert_eq!(read(verb, format), expected, "{verb:?} -o {format}");
            }
        }
    }

    fn wait(arguments: &[&str]) -> Result<Wait, String> {
        let cli =
            Cli::try_read([&["kubectl-ringress", "wait"], arguments].concat()).map_err(|e| e.to_string())?;
        let Verb::Wait(args) = cli.verb else { panic!("{:?}", cli.verb) };
        args.check(cli.caller).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_is_waited_for_is_named_as_with_kubectl() {
        for (arguments, names) in [
            (&["ingress/web"][..], &["web"][..]),
            (&["ing/a", "ingresses.networking.k8s.io/b"], &["a", "b"]),
            (&["ingress", "a", "b"], &["a", "b"]),
            (&["-l", "app=web"], &[]),
        ] {
            assert_eq!(wait(arguments).unwrap().names, names, "{arguments:?}");
        }
        assert_eq!(wait(&["ingress/web", "--timeout=5s"]).unwrap().timeout, Duration::from_secs(5));
        assert_eq!(wait(&["ingress/web"]).unwrap().timeout, Duration::from_secs(60));
        for (arguments, part) in [
            (&[][..], "nothing to wait for"),
            (&["service/web"], "\"service/web\" is no Ingress"),
            (&["ingress/a/b"], "\"ingress/a/b\""),
            (&["ingress/web", "--timeout=soon"], "--timeout"),
            (&["ingress/web", "--admin=127.0.0.1:7"], "give -f PATH"),
            (&["ingress/web", "-f", "x"], "-f is for --admin"),
        ] {
            let told = wait(arguments).unwrap_err();
            assert!(told.contains(part), "{arguments:?}: {told}");
        }
    }

    #[test]
    fn a_path_takes_its_host_from_the_field() {
        let host = [("Host".to_owned(), "web.local".to_owned())];
        assert_eq!(url_of("/api?x=1".into(), &host), "http://web.local/api?x=1");
        assert_eq!(url_of("http://198.18.255.1/".into(), &host), "http://198.18.255.1/");
        assert_eq!(url_of("/api".into(), &[]), "/api");
    }
}
