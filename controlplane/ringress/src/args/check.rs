//! Reading the texts of flags, verb by verb: all mistakes come out together.

use std::net::SocketAddr;

use clap::Parser;
use ringress_shared::listener::AccessLogFormat;
use ringress_translate::settings::Settings;

use super::ask::{self, Caller};
use super::groups::{Defaults, EVERY_ADDRESS, every_address};
use super::mistakes::NOWHERE;
use super::{
    Dev, DevArgs, EchoArgs, Explain, ExplainArgs, ExplainSource, Lint, LintArgs, LintSource, Mistakes,
    Origin, Run, RunArgs, TrafficArgs, values,
};

impl RunArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self) -> Result<Run, Mistakes> {
        let mut mistakes = Mistakes::default();
        let is_folder = self.manifests.is_some();
        let ignored = mistakes.foreign(&self.foreign);
        mistakes.cluster(is_folder, &self.cluster);
        let folder = self.manifests.map(|folder| mistakes.folder(folder));
        let ports = mistakes.ports(&self.http_port, &self.https_port, EVERY_ADDRESS);
        let access_log = mistakes.one_of("access-log", &self.access_log, ACCESS_LOGS);
        let http = mistakes.http_settings(&self.traffic, access_log);
        let settings = mistakes.settings(self.meaning, &self.traffic, ports, http, Defaults::OfRun);
        // An API server has filled in fields and vetted addresses already.
        let settings =
            Settings { apply_default_class: is_folder, allow_loopback_endpoints: is_folder, ..settings };
        let run = Run {
            origin: match folder {
                Some(folder) => Origin::Folder(folder),
                None => self.cluster.origin(&settings),
            },
            admin_address: mistakes.read_or("admin-address", &self.admin_address, values::address, NOWHERE),
            health_address: mistakes.read("health-address", &self.health_address, values::address_or_off),
            drain_timeout: mistakes.read("drain-timeout", &self.drain_timeout, values::duration),
            shutdown_grace_period: mistakes.read(
                "shutdown-grace-period",
                &self.shutdown_grace_period,
                values::duration,
            ),
            settings,
            process: mistakes.process(self.process),
            ignored,
        };
        mistakes.unless_any(run)
    }
}

impl DevArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self) -> Result<Dev, Mistakes> {
        let mut mistakes = Mistakes::default();
        let manifests = self.manifests.map(|folder| mistakes.folder(folder));
        let listen_address =
            mistakes.read_or("listen-address", &self.listen_address, values::ip, EVERY_ADDRESS);
        let ports = mistakes.ports(&self.http_port, &self.https_port, listen_address);
        let access_log = mistakes.one_of("access-log", &self.access_log, ACCESS_LOGS);
        let http = mistakes.http_settings(&self.traffic, access_log);
        let dev = Dev {
            manifests,
            admin_address: mistakes.read_or("admin-address", &self.admin_address, values::address, NOWHERE),
            settings: mistakes.settings(self.meaning, &self.traffic, ports, http, Defaults::OfDev),
            process: mistakes.process(self.process),
        };
        mistakes.unless_any(dev)
    }
}

impl ExplainArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Explain, Mistakes> {
        let mut mistakes = Mistakes::default();
        let http = mistakes.http_settings(&self.traffic, AccessLogFormat::Off);
        let ports = (Some(every_address(80)), Some(every_address(443)));
        let settings = mistakes.settings(self.meaning, &self.traffic, ports, http, Defaults::OfRun);
        let source = match self.manifests {
            Some(path) => ExplainSource::Manifests(path, Box::new(settings)),
            None => ExplainSource::Asked(self.ask.asked(caller, &mut mistakes)),
        };
        let headers: Vec<_> =
            self.headers.iter().map(|field| mistakes.read("header", field, field_parts)).collect();
        let output = self.output.read(&mut mistakes);
        let url = ask::url_of(self.url, &headers);
        let (method, is_every_replica) = (self.method, self.all_replicas);
        mistakes.unless_any(Explain { url, method, headers, source, is_every_replica, output })
    }
}

impl LintArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self, caller: Caller) -> Result<Lint, Mistakes> {
        let mut mistakes = Mistakes::default();
        let ports = (Some(every_address(80)), Some(every_address(443)));
        let traffic = TrafficArgs::defaults();
        let http = mistakes.http_settings(&traffic, AccessLogFormat::Off);
        let settings = mistakes.settings(self.meaning, &traffic, ports, http, Defaults::OfRun);
        let output = self.output.read(&mut mistakes);
        let (names_cluster, is_plugin) = (self.ask.names_cluster(), caller.is_plugin);
        if caller.names_admin {
            mistakes.add(
                "--admin is no source of objects; name files, or a cluster (-n, -A, --context)".to_owned(),
            );
        }
        if names_cluster && !self.paths.is_empty() {
            mistakes.add("files and a cluster are both named; give one of them".to_owned());
        }
        let source = match (self.paths.is_empty(), names_cluster || is_plugin) {
            (true, true) => LintSource::Cluster(self.ask.choice(&mut mistakes), self.selector),
            (true, false) => {
                mistakes
                    .add("no PATH is named; - is stdin, and -n, -A or --context judge a cluster".to_owned());
                LintSource::Manifests(Vec::new())
            }
            (false, _) => LintSource::Manifests(self.paths),
        };
        // An API server has filled in fields and vetted addresses already.
        let is_folder = matches!(source, LintSource::Manifests(_));
        let settings =
            Settings { apply_default_class: is_folder, allow_loopback_endpoints: is_folder, ..settings };
        mistakes.unless_any(Lint { source, settings, output })
    }
}

impl EchoArgs {
    /// Where to listen, and as which Service and pod.
    pub(crate) fn check(self) -> Result<(SocketAddr, String, Option<String>), Mistakes> {
        let mut mistakes = Mistakes::default();
        let address = mistakes.read_or("listen", &self.listen, values::address, NOWHERE);
        mistakes.unless_any((address, self.name, self.pod))
    }
}

impl TrafficArgs {
    /// The defaults as clap fills them in, for verbs that have none of these flags.
    fn defaults() -> Self {
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            traffic: TrafficArgs,
        }
        Only::parse_from(["ringress"]).traffic
    }
}

const ACCESS_LOGS: &[(&str, AccessLogFormat)] =
    &[("off", AccessLogFormat::Off), ("json", AccessLogFormat::Json), ("clf", AccessLogFormat::Clf)];

fn field_parts(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("is no field; write 'Name: value'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ringress_shared::listener::{ClientTimeouts, HeadLimits};
    use ringress_shared::route::RuleTimeouts;
    use ringress_translate::objects::Key;

    use super::super::{Asked, Cli, Cluster, Verb};
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    fn run(arguments: &[&str]) -> Result<Run, Mistakes> {
        let arguments = ["ringress", "run"].iter().chain(arguments);
        match Cli::try_read(arguments).expect("clap takes every text").verb {
            Verb::Run(args) => args.check(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_contradiction_in_the_definitions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let run = run(&["--manifests", "."]).unwrap();
        assert_eq!(run.settings.http, Some(every_address(80)));
        assert_eq!(run.settings.https, Some(every_address(443)));
        assert_eq!(run.admin_address.to_string(), "127.0.0.1:10254");
        assert_eq!(run.health_address, None);
        assert_eq!(run.drain_timeout, Duration::from_secs(30));
        assert_eq!(run.shutdown_grace_period, Duration::ZERO);
        assert_eq!(run.settings.timeouts, RuleTimeouts::default());
        assert_eq!(run.settings.http_settings.timeouts, ClientTimeouts::default());
        assert_eq!(run.settings.http_settings.limits, HeadLimits::default());
        assert_eq!(run.settings.http_settings.access_log, AccessLogFormat::Json);
        assert_eq!(run.settings.body_bytes_max, None);
        assert!(!run.settings.watch_ingress_without_class);
        assert_eq!(run.process.shards, None);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = run(&[
            "--manifests",
            "/nowhere/at/all",
            "--http-port=x",
            "--drain-timeout=soon",
            "--pin=maybe",
            "--max-header-bytes=1MiB",
            "--configmap=x",
            "--compat=traefik",
            "--trusted-proxies=10.0.0.0/99",
        ])
        .unwrap_err()
        .to_string();
        for flag in [
            "manifests",
            "http-port",
            "drain-timeout",
            "pin",
            "max-header-bytes",
            "configmap",
            "compat",
            "trusted-proxies",
        ] {
            assert!(mistakes.contains(&format!("--{flag} ")), "{flag} is missing in\n{mistakes}");
        }
        assert_eq!(mistakes.lines().count(), 8, "{mistakes}");
    }

    #[test]
    fn a_log_level_that_nobody_knows_is_a_mistake() {
        for wrong in ["foo", "info,foo", "ringress_shard", "foo=bar", "info;debug"] {
            let mistakes = run(&["--manifests=.", "--log-level", wrong]).unwrap_err().to_string();
            let is_named = ["--log-level", "off, error, warn, info, debug, trace"];
            assert!(is_named.iter().all(|part| mistakes.contains(part)), "{wrong}: {mistakes}");
        }
        for right in ["off", "info", "WARN", "info,ringress_controller=debug", "ringress_shard=trace"] {
            let run = run(&["--manifests=.", "--log-level", right]).unwrap();
            assert_eq!(run.process.log_level.as_deref(), Some(right));
        }
    }

    #[test]
    fn run_without_a_folder_serves_a_cluster() {
        let run = run(&["--watch-namespace=a,b", "--watch-namespace=c", "--configmap=x/y", "--context=here"]);
        let run = run.unwrap();
        assert!(!run.settings.apply_default_class && !run.settings.allow_loopback_endpoints);
        let Origin::Cluster(cluster) = run.origin else { panic!("{:?}", run.origin) };
        let Cluster { scope, status, cache, patience } = *cluster;
        assert!(cache.is_none());
        assert_eq!(patience.confirm, Duration::from_secs(10));
        assert_eq!(status.access.context.as_deref(), Some("here"));
        assert_eq!((status.publish, &*status.election_id), (None, "ringress-leader"));
        assert!(status.clear_on_shutdown && !status.report_internal_addresses);
        assert_eq!(scope.namespaces, ["a", "b", "c"].map(str::to_owned).into());
        assert_eq!(scope.config_map, Some(Key::new("x", "y")));
        assert_eq!(scope.class.0, "ringress");
    }

    #[test]
    fn a_folder_and_a_cluster_exclude_each_other() {
        let mistakes = run(&["--manifests=.", "--watch-namespace=a"]).unwrap_err().to_string();
        assert!(mistakes.contains("--watch-namespace") && mistakes.contains("--manifests"), "{mistakes}");
        let mistakes =
            run(&["--watch-namespace=A_b", "--watch-namespace-selector=a=b"]).unwrap_err().to_string();
        assert_eq!(mistakes.lines().count(), 2, "{mistakes}");
    }

    #[test]
    fn a_cache_has_a_folder_a_key_and_its_patience() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "0".repeat(64)).unwrap();
        let mode = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o400);
        let file = format!("--cache-key-file={}", key.display());
        let flags = ["--cache-dir=/c", &file, "--cache-after=1s", "--cache-max-age=1h"];
        let Origin::Cluster(cluster) = run(&flags).unwrap().origin else { panic!("no cluster") };
        let cache = cluster.cache.unwrap();
        assert_eq!(cache.dir, PathBuf::from("/c"));
        assert!(cache.key.is_some());
        assert_eq!((cache.after, cache.age_max), (Duration::from_secs(1), Duration::from_secs(3600)));
        let run_at_once = run(&["--empty-list-confirmation=0"]).unwrap();
        let Origin::Cluster(cluster) = run_at_once.origin else { panic!("no cluster") };
        assert!(cluster.patience.confirm.is_zero());
        mode(0o644);
        for (flags, parts) in [
            (&["--cache-dir=/c", &*file][..], ["--cache-key-file", "chmod 400"]),
            (&["--cache-dir=/c", "--cache-key-file=/nowhere"], ["/nowhere", "cannot be read"]),
            (&["--cache-dir=/c", "--cache-after=soon"], ["--cache-after", "\"soon\""]),
            (&["--cache-dir=/c", "--manifests=."], ["--cache-dir", "--manifests"]),
        ] {
            let mistakes = run(flags).unwrap_err().to_string();
            assert!(parts.iter().all(|part| mistakes.contains(part)), "{flags:?}: {mistakes}");
        }
        mode(0o400);
        let mistakes = run(&[&file]).unwrap_err().to_string();
        assert!(mistakes.contains("without --cache-dir"), "{mistakes}");
    }

    #[test]
    fn what_becomes_of_statuses_is_a_question() {
        let flags = ["--update-status-on-shutdown=false", "--report-node-internal-ip-address"];
        let Origin::Cluster(cluster) = run(&flags).unwrap().origin else { panic!("no cluster") };
        let status = cluster.status;
        assert!(!status.clear_on_shutdown && status.report_internal_addresses);
        let mistakes = run(&["--update-status-on-shutdown=later"]).unwrap_err().to_string();
        assert!(
            mistakes.contains("--update-status-on-shutdown \"later\" is neither true nor false"),
            "{mistakes}"
        );
    }

    #[test]
    fn statuses_are_left_alone_where_that_is_said() {
        for (flags, expected) in [
            (&[][..], true),
            (&["--update-status"], true),
            (&["--update-status=true"], true),
            (&["--update-status=false"], false),
        ] {
            let published = ["--publish-status-address=192.0.2.1"];
            let Origin::Cluster(cluster) = run(&[&published, flags].concat()).unwrap().origin else {
                panic!("no cluster")
            };
            assert_eq!(cluster.status.publish.is_some(), expected, "{flags:?}");
        }
        let mistakes = run(&["--update-status=later"]).unwrap_err().to_string();
        assert!(mistakes.contains("--update-status \"later\" is neither true nor false"), "{mistakes}");
    }

    #[test]
    fn nginx_semantics_are_not_there_yet() {
        let mistakes = run(&["--manifests=.", "--compat=ingress-nginx"]).unwrap_err().to_string();
        assert!(mistakes.contains("not there yet"), "{mistakes}");
    }

    #[test]
    fn one_port_cannot_serve_both() {
        assert!(run(&["--manifests=.", "--http-port=80", "--https-port=80"]).is_err());
        assert!(run(&["--manifests=.", "--http-port=off", "--https-port=off"]).is_err());
        let plain_only = run(&["--manifests=.", "--https-port=off"]).unwrap();
        assert_eq!(plain_only.settings.https, None);
    }

    #[test]
    fn the_public_ports_are_those_listened_on_unless_told_otherwise() {
        for (arguments, http, https) in [
            (&[][..], 80, 443),
            (&["--http-port=8080", "--https-port=8443"], 8080, 8443),
            (&["--https-port=8443", "--https-public-port=443"], 80, 443),
            (&["--http-port=8080", "--http-public-port=80", "--https-port=off"], 80, 443),
            (&["--https-port=off", "--https-public-port=8443"], 80, 8443),
        ] {
            let settings = run(&[&["--manifests=."], arguments].concat()).unwrap().settings;
            assert_eq!(
                (settings.http_settings.public_port, settings.https_public_port),
                (http, https),
                "{arguments:?}"
            );
        }
        let mistakes = run(&["--manifests=.", "--https-public-port=off"]).unwrap_err().to_string();
        assert!(mistakes.contains("--https-public-port \"off\" is no port"), "{mistakes}");
    }

    #[test]
    fn every_flag_of_run_has_its_variable_and_help() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let flags: Vec<_> = run.get_arguments().filter(|flag| flag.get_id() != "help").collect();
        assert!(flags.len() >= 30, "{}", flags.len());
        for flag in flags {
            let name = flag.get_long().unwrap();
            let variable = format!("RINGRESS_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(&*variable), "--{name}");
            assert!(flag.get_help().is_some(), "--{name}");
        }
    }

    #[test]
    fn dev_serves_objects_without_a_class_unless_told_otherwise() {
        for (arguments, expected) in
            [(&[][..], true), (&["--watch-ingress-without-class=false"], false), (&["--http-port=1"], true)]
        {
            let arguments = ["ringress", "dev"].iter().chain(arguments);
            let Verb::Dev(args) = Cli::try_read(arguments).unwrap().verb else { panic!("dev") };
            let dev = args.check().unwrap();
            assert_eq!(dev.settings.watch_ingress_without_class, expected);
            assert!(dev.settings.create_named_classes);
        }
    }

    #[test]
    fn dev_listens_on_this_machine_alone_unless_told_otherwise() {
        for (arguments, expected) in [
            (&[][..], Some("127.0.0.1:8080")),
            (&["--listen-address=::"], Some("[::]:8080")),
            (&["--listen-address=192.0.2.1"], Some("192.0.2.1:8080")),
            (&["--listen-address=everywhere"], None),
        ] {
            let arguments = ["ringress", "dev"].iter().chain(arguments);
            let Verb::Dev(args) = Cli::try_read(arguments).unwrap().verb else { panic!("dev") };
            let http = args.check().ok().and_then(|dev| dev.settings.http).map(|address| address.to_string());
            assert_eq!(http.as_deref(), expected);
        }
    }

    #[test]
    fn explain_asks_manifests_or_a_process() {
        let source = |arguments: &[&str]| {
            let arguments = ["ringress", "explain", "http://a.test/"].iter().chain(arguments);
            let Verb::Explain(args) = Cli::try_read(arguments).map_err(|refused| refused.kind())?.verb else {
                panic!("explain")
            };
            Ok(args.check(Caller::default()).unwrap().source)
        };
        let admin = "--admin=127.0.0.1:1";
        assert!(
            matches!(source(&["-f", "."]), Ok(ExplainSource::Manifests(path, _)) if path.as_os_str() == ".")
        );
        assert!(
            matches!(source(&[admin]), Ok(ExplainSource::Asked(Asked::Process(address, _))) if address.port() == 1)
        );
        assert!(matches!(source(&["-f", ".", admin]), Err(clap::error::ErrorKind::ArgumentConflict)));
    }

    #[test]
    fn fields_of_explain_need_a_colon() {
        assert_eq!(field_parts("A: b:c"), Ok(("A".into(), "b:c".into())));
        assert!(field_parts("A").is_err());
        assert!(field_parts(": b").is_err());
    }
}
