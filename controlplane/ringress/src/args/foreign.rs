//! Flags of ingress-nginx that `run` does not have.
//!
//! People bring them along in their values files. One that changes nothing for anybody is taken, and said in a warning; one that
//! would have protected or moved something is a mistake with what to do instead: it is never dropped in silence.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::Mistakes;

/// A flag of ingress-nginx that is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Without its dashes.
    flag: &'static str,
    fate: Fate,
}

/// What becomes of it.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is taken and changes nothing, for this reason.
    Ignored(&'static str),
    /// It is refused unless it is `false`; this is what to do instead.
    Refused(&'static str),
}

/// The command with them, hidden: its help shows what does something.
pub(super) fn known_to(command: Command) -> Command {
    command.mut_subcommand("run", |run| run.args(FOREIGN.iter().map(Foreign::argument)))
}

/// Those that stand on the command line.
pub(super) fn given(run: &ArgMatches) -> Vec<&'static Foreign> {
    FOREIGN.iter().filter(|foreign| foreign.counts(run)).collect()
}

impl Foreign {
    fn argument(&self) -> Arg {
        // A value may follow after a blank, as pflag has it, and may be missing, as of a question.
        let argument = Arg::new(self.flag).long(self.flag).hide(true).num_args(0..=1);
        if self.flag == VERBOSITY { argument.short('v') } else { argument }
    }

    /// `false` asks for nothing.
    fn counts(&self, run: &ArgMatches) -> bool {
        let is_given = run.value_source(self.flag) == Some(ValueSource::CommandLine);
        let says_no = run.get_one::<String>(self.flag).is_some_and(|value| value == "false");
        is_given && !says_no
    }
}

impl Mistakes {
    /// What is wrong with those that were given; returns the others, each with why it is ignored.
    pub(super) fn foreign(&mut self, given: &[&'static Foreign]) -> Vec<(&'static str, &'static str)> {
        let mut ignored = Vec::new();
        for Foreign { flag, fate } in given {
            match fate {
                Fate::Ignored(why) => ignored.push((*flag, *why)),
                Fate::Refused(instead) => self.add(format!(
                    "--{flag} is a flag of ingress-nginx that ringress does not have: {instead}"
                )),
            }
        }
        ignored
    }
}

const fn ignored(flag: &'static str, why: &'static str) -> Foreign {
    Foreign { flag, fate: Fate::Ignored(why) }
}

const fn refused(flag: &'static str, instead: &'static str) -> Foreign {
    Foreign { flag, fate: Fate::Refused(instead) }
}

/// klog's, which has a short form, too.
const VERBOSITY: &str = "v";

const NO_RELOAD: &str = "changes are live within milliseconds; there is no reload to put off";
const NO_TEST: &str = "there is no file of nginx to test";
const NO_PROCESS: &str = "there is no nginx beside this process";
const NO_BUCKETS: &str = "the buckets of histograms are fixed";
const NO_LOCATION: &str = "requests are not located";
const NO_WEBHOOK: &str = "there is no admission webhook, and an object that is wrong harms its own rules alone; delete the webhook of \
                          ingress-nginx and leave the flag out";
const NO_STREAMS: &str =
    "HTTP and HTTPS alone are served; leave it out, and serve these ports by a Service of their own";

/// By name; the chart's `files/foreign-flags.yaml` has the same ones.
static FOREIGN: &[Foreign] = &[
    ignored("alsologtostderr", "logs go to stdout"),
    refused("apiserver-host", "say the server in a kubeconfig, and --kubeconfig"),
    refused("certificate-authority", "say it in a kubeconfig, and --kubeconfig"),
    ignored("deep-inspect", "there are no snippets of nginx to look into"),
    ignored("default-server-port", NO_PROCESS),
    refused(
        "disable-catch-all",
        "Ingresses without a host are served; keep them out by a ValidatingAdmissionPolicy",
    ),
    ignored("disable-full-test", NO_TEST),
    refused(
        "disable-leader-election",
        "one replica alone writes statuses; run one replica if that is what is meant",
    ),
    refused(
        "disable-svc-external-name",
        "Services of type ExternalName cannot be refused; keep them out by a ValidatingAdmissionPolicy",
    ),
    refused("disable-sync-events", "Events cannot be switched off; take the right to create them away"),
    ignored("dynamic-configuration-retries", NO_PROCESS),
    ignored("election-ttl", "the Lease has one duration"),
    ignored("enable-annotation-validation", "annotations are always validated"),
    ignored("enable-metrics", "metrics are always there, at --admin-address and --health-address"),
    refused("enable-ssl-chain-completion", "put the whole chain into tls.crt of the Secret"),
    refused(
        "enable-ssl-passthrough",
        "TLS is always ended here; leave it out, and serve these hosts by a Service of their own",
    ),
    ignored("enable-topology-aware-routing", "every ready endpoint is used"),
    ignored("exclude-socket-metrics", "there are no such metrics"),
    refused("health-check-path", "health is answered at /healthz and /readyz"),
    ignored("health-check-timeout", "nothing is asked in order to answer"),
    refused("healthz-host", "say --health-address IP:PORT"),
    refused("healthz-port", "say --health-address IP:PORT, as in 0.0.0.0:10254"),
    refused(
        "ingress-class-by-name",
        "a class is ours by its spec.controller; say --ingress-class, or --controller-class",
    ),
    ignored("internal-logger-address", NO_PROCESS),
    refused("length-buckets", NO_BUCKETS),
    ignored("logtostderr", "logs go to stdout"),
    refused("maxmind-edition-ids", NO_LOCATION),
    refused("maxmind-license-key", NO_LOCATION),
    refused("maxmind-mirror", NO_LOCATION),
    ignored("maxmind-retries-count", NO_LOCATION),
    ignored("maxmind-retries-timeout", NO_LOCATION),
    refused("metrics-per-host", "which labels metrics have is fixed; leave it out"),
    refused("metrics-per-undefined-host", "labels of metrics never come from clients; leave it out"),
    ignored("monitor-max-batch-size", NO_PROCESS),
    refused(
        "post-shutdown-grace-period",
        "the process ends when nothing is open; say --shutdown-grace-period and --drain-timeout",
    ),
    ignored("profiler-port", "there is no profiler"),
    ignored("profiling", "there is no profiler"),
    ignored("report-status-classes", "the labels of metrics are fixed"),
    refused("size-buckets", NO_BUCKETS),
    ignored("ssl-passthrough-proxy-port", NO_PROCESS),
    ignored("status-port", NO_PROCESS),
    ignored("status-update-interval", "statuses are put right within a minute"),
    ignored("stream-port", NO_PROCESS),
    ignored("sync-period", "everything is watched"),
    ignored("sync-rate-limit", NO_RELOAD),
    refused("tcp-services-configmap", NO_STREAMS),
    refused("time-buckets", NO_BUCKETS),
    refused("udp-services-configmap", NO_STREAMS),
    ignored(VERBOSITY, "say --log-level debug, or trace, for more"),
    refused("validating-webhook", NO_WEBHOOK),
    refused("validating-webhook-certificate", NO_WEBHOOK),
    refused("validating-webhook-key", NO_WEBHOOK),
];

#[cfg(test)]
mod tests {
    use super::super::{Cli, Run, Verb};
    use super::*;

    /// What `run` makes of these flags.
    fn run(flags: &[&str]) -> Result<Run, String> {
        let cli = Cli::try_read([&["ringress", "run", "--manifests=."], flags].concat());
        let Verb::Run(args) = cli.map_err(|refused| refused.to_string())?.verb else { panic!("run") };
        args.check().map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_changes_nothing_is_taken_and_said() {
        for (flags, expected) in [
            (&["--sync-rate-limit=0.3"][..], &["sync-rate-limit"][..]),
            (&["--sync-rate-limit", "0.3", "--sync-period", "10m"], &["sync-period", "sync-rate-limit"]),
            (&["-v=2"], &["v"]),
            (&["-v", "5"], &["v"]),
            (&["--v=5"], &["v"]),
            (&["--enable-metrics"], &["enable-metrics"]),
            (&["--enable-metrics=false"], &[]),
            (&["--enable-ssl-passthrough=false", "--validating-webhook=false"], &[]),
            (&["--election-ttl=30s"], &["election-ttl"]),
            (&[], &[]),
        ] {
            let ignored: Vec<_> = run(flags).unwrap().ignored.into_iter().map(|(flag, _)| flag).collect();
            assert_eq!(ignored, expected, "{flags:?}");
        }
    }

    #[test]
    fn what_would_do_something_is_refused_with_what_to_do_instead() {
        for (flag, instead) in [
            ("--healthz-port=10254", "--health-address IP:PORT"),
            ("--disable-leader-election", "run one replica"),
            ("--disable-leader-election=true", "run one replica"),
            ("--enable-ssl-passthrough", "a Service of their own"),
            ("--tcp-services-configmap=a/b", "a Service of their own"),
            ("--post-shutdown-grace-period=10", "--drain-timeout"),
            ("--disable-catch-all", "ValidatingAdmissionPolicy"),
            ("--ingress-class-by-name", "--controller-class"),
            ("--validating-webhook=:8443", "delete the webhook"),
        ] {
            let said = run(&[flag]).unwrap_err();
            let name = flag.split('=').next().unwrap();
            assert!(said.starts_with(&format!("error: {name} is a flag of ingress-nginx")), "{said}");
            assert!(said.contains(instead), "{flag}: {said}");
        }
        let all = run(&["--healthz-port=1", "--enable-ssl-passthrough", "--http-port=no"]).unwrap_err();
        assert_eq!(all.lines().count(), 3, "{all}");
    }

    #[test]
    fn a_flag_that_nobody_has_is_refused_as_ever() {
        let said = run(&["--sync-rate-limits=1"]).unwrap_err();
        assert!(said.contains("unexpected argument '--sync-rate-limits'"), "{said}");
    }

    #[test]
    fn help_and_the_flags_that_are_shown_leave_them_out() {
        let cli = Cli::try_read(["ringress", "run", "-v=3"]).unwrap();
        assert!(cli.told.iter().all(|told| told.flag != VERBOSITY), "{:?}", cli.told);
        let help = Cli::try_read(["ringress", "run", "--help"]).unwrap_err().to_string();
        assert!(help.contains("--update-status ") || help.contains("--update-status["), "{help}");
        assert!(!help.contains("sync-rate-limit"), "{help}");
    }

    #[test]
    fn the_chart_knows_the_same_ones() {
        let file = include_str!("../../../../deploy/helm/ringress/files/foreign-flags.yaml");
        let (refused, ignored) = file.split_once("\nignored:\n").unwrap();
        let of = |lines: &str| -> Vec<String> {
            let lines = lines.lines().filter_map(|line| line.strip_prefix("  "));
            let name = |line: &str| line.trim_start_matches("- ").split(':').next().map(str::to_owned);
            lines.filter_map(name).collect()
        };
        let ours = |is_refused: bool| -> Vec<String> {
            let of_fate =
                FOREIGN.iter().filter(|foreign| matches!(foreign.fate, Fate::Refused(_)) == is_refused);
            of_fate.map(|foreign| foreign.flag.to_owned()).collect()
        };
        assert_eq!(of(refused), ours(true));
        assert_eq!(of(ignored), ours(false));
    }
}
