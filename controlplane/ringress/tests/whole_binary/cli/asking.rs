//! Verbs that ask a process: shards, certs, backends, dump, doctor, wait. A cluster is asked in `deploy/e2e`.

use std::process::Command;

use super::{code, json, ringress, stderr, stdout};
use crate::support::manifest::{self, Ingress, file};
use crate::support::process::replace;
use crate::support::tools::Certificate;
use crate::support::{Launch, Ringress, Upstream, on_both_drivers};
use serde_json::Value;

fn admin(process: &Ringress) -> String {
    format!("--admin=127.0.0.1:{}", process.ports.admin)
}

/// What a verb says as JSON; it must end with that code.
#[track_caller]
fn asked(process: &Ringress, verb: &str, expected: i32) -> Value {
    let output = ringress(&[verb, &admin(process), "-o", "json"]);
    assert_eq!(code(&output), Some(expected), "{verb}: {}{}", stdout(&output), stderr(&output));
    json(&output)
}

on_both_drivers! {
    fn shards_are_listed_with_what_they_do(driver) {
        let upstream = Upstream::named("web");
        let process = Launch::new(driver).serving(&[&upstream]).start();
        let client = process.client();
        for _ in 0..3 {
            process.get("a.test", "/");
        }
        let shards = asked(&process, "shards", 0);
        let all = shards.as_array().unwrap();
        let sum = |field: &str| all.iter().map(|shard| shard[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!((all.len(), sum("requests")), (2, 3), "{shards}");
        assert!(sum("connections") >= 1, "{shards}");
        for (number, shard) in all.iter().enumerate() {
            assert_eq!(shard["shard"], number, "{shards}");
            assert_eq!(shard["driver"], driver.as_str(), "{shards}");
            assert_eq!((&shard["generation"], &shard["published"]), (&1.into(), &1.into()), "{shards}");
            assert_eq!(shard["accepting"], true, "{shards}");
            assert!(shard["core"].is_null(), "not pinned: {shards}");
        }
        let text = stdout(&ringress(&["shards", &admin(&process)]));
        assert!(text.starts_with("REPLICA") && text.lines().count() == 3, "{text}");
        assert!(text.contains(driver.as_str()), "{text}");
        drop(client);
    }

    fn wait_says_yes_to_what_the_shards_serve_and_to_nothing_else(driver) {
        let upstream = Upstream::named("web");
        let process = Launch::new(driver).serving(&[&upstream]).start();
        let next = |change: &dyn Fn(Ingress) -> Ingress| {
            file(&[
                manifest::CLASS.to_owned(),
                change(Ingress::simple("a", "a.test", "web")).yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &[upstream.address()]),
            ])
        };
        let elsewhere = tempfile::TempDir::new().unwrap();
        let wanted = elsewhere.path().join("wanted.yaml");
        let wait = |seconds: &str| {
            let wanted = wanted.to_str().unwrap();
            ringress(&["wait", "ingress/a", "-f", wanted, "--timeout", seconds, &admin(&process)])
        };
        std::fs::write(&wanted, next(&|same| same)).unwrap();
        let live = wait("0s");
        assert_eq!(code(&live), Some(0), "{}{}", stdout(&live), stderr(&live));
        assert!(stdout(&live).contains("live on 2 shards of 1 replica"), "{}", stdout(&live));
        // Another version than the one that is served: no yes, whatever is served meanwhile.
        std::fs::write(&wanted, next(&|one| one.route("b.test", "/", "Prefix", "web", "80"))).unwrap();
        let behind = wait("0s");
        assert_eq!(code(&behind), Some(1), "{}", stdout(&behind));
        assert!(stdout(&behind).contains("another version of the object is served"), "{}", stdout(&behind));
        // It comes while we wait.
        let text = std::fs::read_to_string(&wanted).unwrap();
        let later = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait("30s"));
            replace(&process.manifests(), "manifests.yaml", &text);
            waiting.join().unwrap()
        });
        assert_eq!(code(&later), Some(0), "{}", stdout(&later));
        assert_eq!(process.get("b.test", "/").status, 200, "a yes means that requests get there");
        // What is wrong in itself is refused at once, and what is of another class as well.
        let changes: [(&dyn Fn(Ingress) -> Ingress, &str); 2] = [
            (&|one| one.route("c.test", "no-slash", "Prefix", "web", "80"), "is refused"),
            (&|one| one.class(Some("nginx")), "is not served here"),
        ];
        for (change, part) in changes {
            std::fs::write(&wanted, next(change)).unwrap();
            process.apply("manifests.yaml", &next(change));
            let refused = wait("30s");
            assert_eq!(code(&refused), Some(1), "{}", stdout(&refused));
            assert!(stdout(&refused).contains(part), "{part}: {}", stdout(&refused));
        }
    }
}

#[test]
fn backends_have_every_endpoint_with_its_state() {
    let upstream = Upstream::named("web");
    let driver = crate::support::Driver::Epoll;
    let slice = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-late, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.9.9.9], conditions: {ready: false}, targetRef: {kind: Pod, name: late}}]
";
    let process = Launch::new(driver)
        .manifests(&[
            Ingress::simple("a", "a.test", "web").route("a.test", "/81", "Prefix", "web", "81").yaml(),
            Ingress::simple("b", "b.test", "gone").yaml(),
            manifest::service("web"),
            manifest::endpoints("web", &[upstream.address()]),
        ])
        .file("late.yaml", slice)
        .start();
    let lists = asked(&process, "backends", 0);
    let backends = lists[0]["backends"].as_array().unwrap();
    let of = |name: &str, port: &str| {
        let is_it = |backend: &&Value| backend["service"] == name && backend["port"] == port;
        backends.iter().find(is_it).unwrap()
    };
    for (name, port, absent) in [("gone", "80", "no such Service"), ("web", "81", "no such port")] {
        let backend = of(name, port);
        assert_eq!((&backend["absent"], &backend["endpoints"]), (&absent.into(), &serde_json::json!([])));
    }
    assert!(of("web", "80")["absent"].is_null(), "{lists}");
    let endpoints = of("web", "80")["endpoints"].as_array().unwrap();
    let shown: Vec<_> = endpoints
        .iter()
        .map(|one| (one["address"].as_str().unwrap(), one["state"].as_str().unwrap(), one["chosen"] == true))
        .collect();
    let address = upstream.address().to_string();
    assert_eq!(shown, [(&*address, "ready", true), ("10.9.9.9", "not ready", false)]);
    let other = ringress(&["backends", &admin(&process), "-n", "other", "-o", "name"]);
    assert_eq!(
        (code(&other), stdout(&other)),
        (Some(0), String::new()),
        "of another namespace there is none"
    );
}

#[test]
fn certificates_are_listed_and_missing_ones_end_with_1() {
    let driver = crate::support::Driver::Epoll;
    let process = Launch::new(driver)
        .manifests(&[Ingress::simple("a", "a.test", "web").tls("a.test", Some("gone")).yaml()])
        .start();
    let lists = asked(&process, "certs", 1);
    let missing = &lists[0]["missing"][0];
    assert_eq!(
        (&missing["reason"], &missing["hosts"][0]),
        (&"SecretNotFound".into(), &"a.test".into()),
        "{lists}"
    );
    let default = &lists[0]["certificates"][0];
    assert_eq!((&default["host"], &default["secret"]), (&"*".into(), &Value::Null), "{lists}");
    assert!(default["shown_since"].as_str().unwrap().starts_with("20"), "{lists}");
}

#[test]
fn dump_has_flags_with_their_origin_and_no_key() {
    let certificate = Certificate::for_names(&["a.test"]);
    let process = Launch::new(crate::support::Driver::Epoll)
        .manifests(&[
            Ingress::simple("a", "a.test", "web").tls("a.test", Some("cert")).yaml(),
            manifest::tls_secret("cert", &certificate.certificate, &certificate.key),
        ])
        .start();
    let output = ringress(&["dump", &admin(&process), "-o", "json"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let dump = json(&output);
    let flag = |name: &str| {
        let flags = dump["flags"].as_array().unwrap();
        let flag = flags.iter().find(|flag| flag["flag"] == name).unwrap();
        (flag["value"].as_str().unwrap().to_owned(), flag["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(flag("http-port"), (process.ports.http.to_string(), "flag".to_owned()));
    assert_eq!(flag("ingress-class"), ("ringress".to_owned(), "default".to_owned()));
    assert_eq!(dump["routes"][0]["host"], "a.test");
    assert_eq!(dump["backends"][0]["service"], "web");
    let shown = dump["certificates"].as_array().unwrap().iter().find(|one| one["host"] == "a.test").unwrap();
    assert_eq!((&shown["secret"], &shown["names"][0]), (&"cert".into(), &"a.test".into()));
    assert!(!shown["issuer"].as_str().unwrap().is_empty(), "{shown}");
    let yaml = stdout(&ringress(&["dump", &admin(&process)]));
    assert!(yaml.starts_with("backends:\n"), "{yaml}");
    // Any line of the key in PEM, and its first bytes in any form that contains its base64.
    let secrets: Vec<_> = certificate.key.lines().filter(|line| !line.starts_with("-----")).collect();
    for text in [&stdout(&output), &yaml] {
        assert!(
            secrets.iter().all(|line| !text.contains(line)) && !text.contains("PRIVATE KEY"),
            "a key is shown"
        );
    }
}

#[test]
fn doctor_finds_what_is_wrong_with_a_process() {
    let upstream = Upstream::named("web");
    let process = Launch::new(crate::support::Driver::Epoll).serving(&[&upstream]).start();
    let well = asked(&process, "doctor", 0);
    let states: Vec<_> =
        well.as_array().unwrap().iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert!(!states.contains(&"problem"), "{well}");
    let broken = Ingress::simple("a", "a.test", "web").tls("a.test", Some("gone")).yaml();
    process.apply("manifests.yaml", &file(&[manifest::CLASS.to_owned(), broken]));
    let ill = asked(&process, "doctor", 1);
    let problems: Vec<_> = ill.as_array().unwrap().iter().filter(|line| line["state"] == "problem").collect();
    let checks: Vec<_> = problems.iter().map(|problem| problem["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["answers", "certificates"], "{ill}");
    assert!(problems.iter().all(|problem| !problem["next"].as_str().unwrap().is_empty()), "{ill}");
    let other = ringress(&["doctor", &admin(&process), "-n", "other"]);
    assert_eq!(code(&other), Some(0), "of another namespace nothing is wrong: {}", stdout(&other));
}

#[test]
fn nobody_there_is_3_for_every_verb() {
    for verb in ["shards", "certs", "backends", "dump", "doctor"] {
        let output = ringress(&[verb, "--admin=127.0.0.1:1"]);
        assert_eq!(code(&output), Some(3), "{verb}: {}", stderr(&output));
        assert!(stderr(&output).contains("--admin-address"), "{verb}: {}", stderr(&output));
    }
}

#[test]
fn a_cluster_that_cannot_be_had_is_told_from_one_that_does_not_answer() {
    let folder = tempfile::TempDir::new().unwrap();
    let kubeconfig = folder.path().join("config");
    let text = "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], \
                contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}";
    std::fs::write(&kubeconfig, text).unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    for (arguments, expected) in [
        (&["shards", &flag][..], 3),
        (&["doctor", &flag], 3),
        (&["lint", &flag], 3),
        (&["explain", "http://a.test/", &flag], 3),
        (&["wait", "ingress/a", &flag, "--timeout=0s"], 3),
        (&["shards", "--kubeconfig=/nowhere"], 2),
        (&["shards", &flag, "--context=other"], 2),
    ] {
        let output = ringress(arguments);
        assert_eq!(code(&output), Some(expected), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(stderr(&output).trim().lines().count(), 1, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn as_a_plugin_it_is_called_as_kubectl_calls_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let plugin = folder.path().join("kubectl-ringress");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ringress"), &plugin).unwrap();
    let output = Command::new(&plugin).args(["shards", "--help"]).output().unwrap();
    assert!(stdout(&output).contains("Usage: kubectl ringress shards"), "{}", stdout(&output));
    // The variable of a process does not turn the plugin away from its cluster.
    let output = Command::new(&plugin)
        .args(["shards", "--kubeconfig=/nowhere"])
        .env("RINGRESS_ADMIN_ADDRESS", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere"), "{}", stderr(&output));
}
