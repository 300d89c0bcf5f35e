//! The verbs as a person or a script meets them: output, exit codes, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::manifest::{self, Ingress};
use crate::support::process::{Ports, replace};
use crate::support::{Client, Driver, Launch, Ringress, Upstream, on_both_drivers, poll, wait_until};

/// Runs a verb to its end.
fn ringress(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringress")).args(arguments).output().expect("the binary was built")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").canonicalize().unwrap()
}

fn example(name: &str) -> String {
    examples().join(name).display().to_string()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

// dev

/// Starts `ringress dev` on ports of the test's own.
fn dev(driver: Driver, arguments: &[&str]) -> Ringress {
    let (home, ports) = (TempDir::new().unwrap(), Ports::free());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
    command.arg("dev").args(arguments).args(ports.flags()).args([
        "--shards=2",
        "--pin=never",
        "--io-driver",
        driver.as_str(),
    ]);
    Ringress::of(command, home, ports)
}

/// The lines of the screen that begin with a command, without their indentation.
fn lines_to_paste(process: &Ringress, program: &str) -> Vec<String> {
    let screen = process.stdout();
    let lines = screen
        .lines()
        .map(str::trim)
        .filter(|line| line.split(' ').next().is_some_and(|word| word.ends_with(program)));
    lines.map(str::to_owned).collect()
}

/// Pastes a line into a shell.
fn paste(line: &str) -> Output {
    Command::new("timeout").args(["15", "sh", "-c", line]).output().unwrap()
}

fn wait_for_screen(process: &Ringress, text: &str) {
    wait_until(&format!("the screen says {text:?}"), || process.stdout().contains(text));
}

on_both_drivers! {
    fn dev_serves_the_beginner_exercise_within_a_second(driver) {
        let began = Instant::now();
        let mut process = dev(driver, &[]);
        let first = poll(|| Client::try_connect(process.ports.http).ok()?.try_get("web.local", "/").ok().filter(|answer| answer.status == 200));
        let took = began.elapsed();
        println!("dev on {}: first 200 after {took:?}", driver.as_str());
        assert!(first.expect("dev answers").text().contains("web-service"));
        // A second is the promise for a release build on an idle machine; this is neither.
        assert!(took < Duration::from_secs(5), "{took:?}");
        wait_for_screen(&process, "generation 1 live on 2/2 shards in ");
        for text in ["web.local", "api.local", "/api", "web-service", "api-service", &format!("127.0.0.1:{}", process.ports.admin)] {
            assert!(process.stdout().contains(text), "{text} is not on the screen: {}", process.stdout());
        }
        process.signal("INT");
        assert_eq!(process.wait_exit().code(), Some(0));
    }

    fn every_line_on_the_screen_of_dev_works_when_pasted(driver) {
        let mut process = dev(driver, &[]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        let (curls, questions) = (lines_to_paste(&process, "curl"), lines_to_paste(&process, "ringress"));
        assert!(curls.len() >= 3 && questions.len() >= 3, "{}", process.stdout());
        for line in &curls {
            let output = paste(line);
            assert!(output.status.success(), "{line}: {}", stderr(&output));
            let body = stdout(&output);
            let expected = if line.contains("api") { "api-service" } else { "web-service" };
            assert!(body.contains(expected), "{line}: {body}");
        }
        for line in questions.iter().filter(|line| line.contains(" explain ")) {
            let output = paste(line);
            assert_eq!(code(&output), Some(0), "{line}: {}{}", stdout(&output), stderr(&output));
        }
    }

    fn saving_a_file_prints_its_generation_and_breaking_an_object_says_what_to_do(driver) {
        let good = Ingress::simple("shop", "shop.test", "cart").class(None).yaml();
        let files = folder(&[("shop.yaml", &good), ("services.yaml", &manifest::service("cart"))]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live on 2/2 shards in ");
        assert_eq!(process.get("shop.test", "/").status, 200, "a Service without endpoints has an echo backend");

        replace(files.path(), "shop.yaml", &Ingress::simple("shop", "store.test", "cart").class(None).yaml());
        wait_for_screen(&process, "generation 2 live on 2/2 shards in ");
        let line = process.stdout().lines().find(|line| line.contains("generation 2 live")).unwrap().to_owned();
        assert!(line.trim_end().ends_with(" ms"), "{line}");
        assert_eq!(process.get("store.test", "/").status, 200);

        let broken = Ingress::simple("shop", "store.test", "cart").class(None).annotation("ringress.dev/load-balance", "magic");
        replace(files.path(), "shop.yaml", &broken.yaml());
        wait_for_screen(&process, "stays as it was in generation 2");
        let told = process.stdout();
        let told = &told[told.find("generation 2 live").unwrap()..];
        for part in ["Ingress default/shop", "load-balance", "magic", "round_robin", "shop.yaml"] {
            assert!(told.contains(part), "object, field, value and next step: {part} is missing in {told}");
        }
        assert_eq!(process.get("store.test", "/").status, 200);

        replace(files.path(), "shop.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: [\n");
        wait_until("the broken file is named", || process.stdout().matches("shop.yaml").count() > told.matches("shop.yaml").count());
        assert_eq!(process.get("store.test", "/").status, 200, "what the file had before is still served");
    }

    fn dev_serves_every_example_as_it_stands(driver) {
        let names = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| !["flattened", "with-endpoints"].contains(&name.as_str())) {
            let mut process = dev(driver, &["-f", &example(&name)]);
            process.wait_ready();
            wait_for_screen(&process, "generation 1 live");
            let lines = lines_to_paste(&process, "curl");
            assert!(!lines.is_empty(), "{name}: {}", process.stdout());
            for line in lines {
                let output = paste(&line);
                let body = stdout(&output);
                let redirected = body.starts_with("HTTP/1.1 308 ");
                assert!(output.status.success() && (redirected || body.contains("\"service\"")), "{name}: {line}: {body}{}", stderr(&output));
            }
        }
    }
}

// explain

const SHOP: &str = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: ringress
spec:
  controller: ringress.dev/ingress-controller
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
spec:
  ingressClassName: ringress
  rules:
    - host: shop.test
      http:
        paths:
          - path: /cart
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 80}}}
          - path: /pay
            pathType: Prefix
            backend: {service: {name: pay, port: {number: 80}}}
          - path: /port
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 8080}}}
    - host: other.test
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 80}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: foreign
spec:
  ingressClassName: nginx
  rules:
    - host: shop.test
      http:
        paths:
          - path: /foreign
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 80}}}
---
apiVersion: v1
kind: Service
metadata:
  name: cart
spec:
  ports:
    - port: 80
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cart-1
  labels:
    kubernetes.io/service-name: cart
addressType: IPv4
endpoints:
  - addresses: [127.0.0.1]
    targetRef: {kind: Pod, name: cart-abc, namespace: default}
ports:
  - port: 9
";

#[test]
fn explain_names_the_winner_and_why_the_others_lost() {
    let files = folder(&[("shop.yaml", SHOP)]);
    let ask = |url: &str| ringress(&["explain", url, "-f", path(&files), "-o", "json"]);
    let routed = ask("http://shop.test/cart/1?x=y");
    assert_eq!(code(&routed), Some(0), "{}", stderr(&routed));
    let answer = json(&routed);
    assert_eq!(answer["routed"], true);
    assert_eq!(
        answer["winner"]["object"],
        serde_json::json!({"kind": "Ingress", "namespace": "default", "name": "shop"})
    );
    assert_eq!(answer["winner"]["field"], "spec.rules[0].http.paths[0]");
    assert_eq!(answer["backends"][0]["endpoints"][0]["address"], "127.0.0.1:9");
    let sent = answer["upstream_request"].as_str().unwrap();
    assert!(
        sent.starts_with("GET /cart/1?x=y HTTP/1.1\r\n") && sent.to_lowercase().contains("host: shop.test"),
        "{sent}"
    );
    for (url, check) in [
        ("http://nowhere.test/", "host"),
        ("http://shop.test/nothing", "path"),
        ("http://shop.test/foreign", "class"),
        ("http://shop.test/pay", "service"),
        ("http://shop.test/port", "port"),
    ] {
        let output = ask(url);
        assert_eq!(code(&output), Some(1), "{url}: {}", stderr(&output));
        let answer = json(&output);
        assert_eq!(answer["routed"], false, "{url}");
        let text = answer.to_string();
        let failed = answer["checklist"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["state"] == "failed")
            .map(|line| line["check"].as_str().unwrap().to_owned());
        let lost = answer["losers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["check"].as_str().unwrap().to_owned());
        assert!(failed.chain(lost).any(|failed| failed == check), "{url} fails at {check}: {text}");
    }
}

#[test]
fn explain_prints_the_checklist_in_the_order_of_the_article() {
    let files = folder(&[("shop.yaml", SHOP)]);
    let output = ringress(&["explain", "http://nowhere.test/", "-f", path(&files)]);
    assert_eq!(code(&output), Some(1));
    let text = stdout(&output).to_lowercase();
    let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word} is missing: {text}"));
    let from = at("host");
    let order: Vec<_> = ["path", "class", "service", "port"]
        .iter()
        .map(|word| text[from..].find(word).unwrap_or_else(|| panic!("{word}: {text}")))
        .collect();
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn explain_says_by_its_exit_code_what_went_wrong() {
    let files = folder(&[("shop.yaml", SHOP)]);
    let cases: [(&[&str], i32); 5] = [
        (&["explain", "http://shop.test/cart", "-f", path(&files)], 0),
        (&["explain", "http://shop.test/cart", "-f", path(&files), "-X", "POST", "-H", "X-Test: 1"], 0),
        (&["explain", "http://shop.test/cart", "-f", "/nowhere/at/all"], 2),
        (&["explain", "gopher://shop.test/", "-f", path(&files)], 2),
        (&["explain", "http://shop.test/cart", "--admin", "127.0.0.1:1"], 3),
    ];
    for (arguments, expected) in cases {
        let output = ringress(arguments);
        assert_eq!(code(&output), Some(expected), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(expected > 1, !stderr(&output).is_empty(), "{arguments:?}");
    }
}

on_both_drivers! {
    fn explain_of_a_running_process_says_what_that_process_does(driver) {
        let upstream = Upstream::named("web");
        let process = Launch::new(driver).serving(&[&upstream]).start();
        let admin = format!("127.0.0.1:{}", process.ports.admin);
        let output = ringress(&["explain", "http://a.test/x", "--admin", &admin, "-o", "json"]);
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        let answer = json(&output);
        assert_eq!(answer["generation"], 1);
        assert_eq!(answer["backends"][0]["endpoints"][0]["address"], upstream.address().to_string());
        // What it says is sent upstream is what is sent, but for the id that each request gets.
        process.get("a.test", "/x");
        let fields = |head: &str| {
            let lines = head.lines().map(str::to_ascii_lowercase).filter(|line| !line.is_empty() && !line.starts_with("x-request-id"));
            let mut lines: Vec<_> = lines.collect();
            lines.sort();
            lines
        };
        let sent = String::from_utf8(upstream.requests()[0].head.clone()).unwrap();
        assert_eq!(fields(answer["upstream_request"].as_str().unwrap()), fields(&sent));
        assert_eq!(code(&ringress(&["explain", "http://b.test/", "--admin", &admin])), Some(1));
    }
}

// lint and fmt

#[test]
fn lint_recognises_manifests_that_lost_their_indentation() {
    let output = ringress(&["lint", &example("flattened"), "-o", "json"]);
    assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    let findings = json(&output);
    let findings = findings.as_array().unwrap();
    let files = fs::read_dir(examples().join("flattened"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in files.filter(|file| file.ends_with(".yaml")) {
        let found = findings.iter().find(|finding| {
            finding["rule"] == "flattened-yaml"
                && finding["file"].as_str().unwrap_or_default().ends_with(&file)
        });
        let finding = found.unwrap_or_else(|| panic!("{file} is not recognised: {findings:#?}"));
        assert_eq!(finding["level"], "error");
        assert!(
            finding["message"].as_str().unwrap().contains("ringress fmt"),
            "the next step is named: {finding}"
        );
    }
}

#[test]
fn lint_has_a_stable_shape_and_names_field_value_and_place() {
    let wrong = [
        Ingress::simple("annotated", "a.test", "web").annotation("ringress.dev/load-balance", "magic").yaml(),
        Ingress::simple("missing", "b.test", "nowhere").yaml(),
        Ingress::new("port").route("c.test", "/", "Prefix", "web", "8080").yaml(),
        Ingress::simple("foreign", "d.test", "web")
            .annotation("nginx.ingress.kubernetes.io/auth-url", "http://x")
            .yaml(),
        Ingress::simple("classless", "e.test", "web").class(None).yaml(),
        manifest::service("web"),
    ];
    let files =
        folder(&[("all.yaml", &manifest::file(&[&[manifest::CLASS.to_owned()][..], &wrong].concat()))]);
    let output = ringress(&["lint", path(&files), "-o", "json"]);
    assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    let findings = json(&output);
    for finding in findings.as_array().unwrap() {
        let mut keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["file", "level", "line", "message", "object", "path", "reason", "rule"]);
        assert!(["error", "warning", "info"].contains(&finding["level"].as_str().unwrap()));
        assert!(
            finding["object"]["kind"].is_string()
                && finding["object"]["namespace"].is_string()
                && finding["object"]["name"].is_string()
        );
        assert!(
            finding["file"].as_str().unwrap().ends_with("all.yaml") && finding["line"].as_u64().unwrap() > 0,
            "{finding}"
        );
    }
    for (name, reason, part) in [
        ("annotated", "InvalidAnnotation", "magic"),
        ("missing", "BackendNotFound", "nowhere"),
        ("port", "PortNotFound", "8080"),
        ("foreign", "UnsupportedAnnotation", "auth-url"),
        ("classless", "NoClass", "class"),
    ] {
        let found = findings
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["object"]["name"] == name && finding["reason"] == reason);
        let finding = found.unwrap_or_else(|| panic!("{name} has no {reason}: {findings:#}"));
        assert!(finding.to_string().contains(part), "{finding}");
    }
    let text = stdout(&ringress(&["lint", path(&files)]));
    assert!(text.contains("all.yaml") && text.contains("error"), "{text}");
}

#[test]
fn lint_takes_the_flags_that_change_meaning() {
    let ingress = Ingress::simple("classless", "e.test", "web").class(None).yaml();
    let slice = manifest::endpoints("web", &["127.0.0.1:9".parse().unwrap()]);
    let files = folder(&[("all.yaml", &manifest::file(&[ingress, manifest::service("web"), slice]))]);
    let reasons = |flags: &[&str]| {
        let output = ringress(&[&["lint", path(&files), "-o", "json"], flags].concat());
        let findings = json(&output);
        findings
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["reason"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(reasons(&[]).contains(&"NoClass".to_owned()));
    assert!(
        reasons(&["--watch-ingress-without-class"]).is_empty(),
        "{:?}",
        reasons(&["--watch-ingress-without-class"])
    );
    assert_eq!(code(&ringress(&["lint", path(&files), "--watch-ingress-without-class"])), Some(0));
}

#[test]
fn lint_finds_the_placeholders_of_the_article() {
    let output = ringress(&["lint", &example("with-endpoints/versions"), "-o", "json"]);
    let findings = json(&output);
    let secret = findings.as_array().unwrap().iter().find(|finding| finding["object"]["kind"] == "Secret");
    let secret = secret.unwrap_or_else(|| panic!("{findings:#}"));
    assert!(secret.to_string().contains("tls.crt"), "the key is named: {secret}");
    assert!(!findings.to_string().contains("PRIVATE KEY"));
}

#[test]
fn fmt_restores_what_the_articles_meant() {
    for (flattened, meant) in [
        ("000-app-ingress", "app-ingress/ingress"),
        ("001-my-application-ingress", "path-based/ingress"),
        ("001-virtual-host-ingress", "virtual-hosts/ingress"),
        ("001-secure-ingress", "tls/ingress"),
        ("003-web-api", "versions/web-api"),
        ("003-app-ingress", "versions/ingress"),
        ("003-tls-secret", "versions/secret"),
    ] {
        let output = ringress(&["fmt", &example(&format!("flattened/{flattened}.yaml"))]);
        assert_eq!(code(&output), Some(0), "{flattened}: {}", stderr(&output));
        let restored = stdout(&output);
        let meant = fs::read_to_string(examples().join(format!("{meant}.yaml"))).unwrap();
        assert_eq!(outline(&restored), outline(&meant), "{flattened}:\n{restored}");
        let again = folder(&[("again.yaml", &restored)]);
        let again = again.path().join("again.yaml");
        assert_eq!(
            stdout(&ringress(&["fmt", again.to_str().unwrap()])),
            restored,
            "a manifest that is well stays as it is"
        );
    }
    let route = stdout(&ringress(&["fmt", &example("flattened/003-api-route.yaml")]));
    let expected = ["spec:", "  parentRefs:", "  hostnames:", "  rules:"];
    assert!(expected.iter().all(|line| route.lines().any(|found| found == *line)), "{route}");
}

/// The lines of a YAML text with their depth in levels, whatever the width of a level and the place of list dashes.
fn outline(text: &str) -> Vec<(usize, String)> {
    let mut open: Vec<usize> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim().is_empty() && *line != "---");
    lines
        .map(|line| {
            let dashes = line.trim_start();
            // A dash opens its own level, so `- a` under `b:` is the same at any indentation.
            let content = dashes.trim_start_matches("- ");
            let column = line.len() - content.len();
            while open.last().is_some_and(|above| *above >= column) {
                open.pop();
            }
            open.push(column);
            (open.len(), content.to_owned())
        })
        .collect()
}

#[test]
fn fmt_writes_in_place_and_refuses_what_it_does_not_understand() {
    let flattened = fs::read_to_string(examples().join("flattened/000-app-ingress.yaml")).unwrap();
    let files = folder(&[("a.yaml", &flattened), ("broken.yaml", "kind: Ingress\n  metadata: [")]);
    let (good, broken) = (files.path().join("a.yaml"), files.path().join("broken.yaml"));
    assert_eq!(code(&ringress(&["fmt", "-w", good.to_str().unwrap()])), Some(0));
    assert!(fs::read_to_string(&good).unwrap().contains("  name: app-ingress\n"));
    assert_eq!(code(&ringress(&["fmt", "-w", broken.to_str().unwrap()])), Some(1));
    assert_eq!(
        fs::read_to_string(&broken).unwrap(),
        "kind: Ingress\n  metadata: [",
        "what is not understood is not touched"
    );
}

on_both_drivers! {
    fn what_fmt_restores_is_served(driver) {
        let upstream = Upstream::named("web-service");
        let restored = stdout(&ringress(&["fmt", &example("flattened/000-app-ingress.yaml")]));
        let process = Launch::new(driver)
            .flags(&["--watch-ingress-without-class"])
            .manifests(&[restored, manifest::service("web-service"), manifest::endpoints("web-service", &[upstream.address()])])
            .start();
        assert_eq!(process.get("example.com", "/a").field("x-upstream"), Some("web-service"));
    }
}

// run

#[test]
fn run_without_manifests_is_wrong_usage_in_one_sentence() {
    let output = ringress(&["run"]);
    assert_eq!(code(&output), Some(2));
    let told = stderr(&output);
    assert!(told.contains("--manifests") && told.trim().lines().count() <= 2, "{told}");
}

#[test]
fn all_wrong_flags_are_reported_together() {
    let arguments = [
        "run",
        "--manifests=/nowhere",
        "--http-port=http",
        "--drain-timeout=soon",
        "--io-driver=kqueue",
        "--trusted-proxies=everybody",
        "--max-header-bytes=1",
        "--compat=apache",
    ];
    let output = ringress(&arguments);
    assert_eq!(code(&output), Some(2));
    let told = stderr(&output);
    for flag in [
        "--http-port",
        "--drain-timeout",
        "--io-driver",
        "--trusted-proxies",
        "--max-header-bytes",
        "--compat",
    ] {
        assert!(told.contains(flag), "{flag} is not in: {told}");
    }
}

#[test]
fn version_and_help_answer() {
    let version = ringress(&["version"]);
    assert_eq!(
        (code(&version), stdout(&version).trim().to_owned()),
        (Some(0), format!("ringress {}", env!("CARGO_PKG_VERSION")))
    );
    let help = ringress(&["run", "--help"]);
    assert_eq!(code(&help), Some(0));
    for flag in [
        "--manifests",
        "--http-port",
        "--https-port",
        "--admin-address",
        "--health-address",
        "--shards",
        "--pin",
        "--io-driver",
        "--ingress-class",
        "--controller-class",
        "--watch-ingress-without-class",
        "--default-backend-service",
        "--default-ssl-certificate",
        "--configmap",
        "--annotations-prefix",
        "--compat",
        "--access-log",
        "--drain-timeout",
        "--shutdown-grace-period",
        "--trusted-proxies",
        "--client-header-timeout",
        "--client-body-timeout",
        "--client-write-timeout",
        "--client-idle-timeout",
        "--connect-timeout",
        "--upstream-response-timeout",
        "--upstream-idle-timeout",
        "--tunnel-idle-timeout",
        "--max-body-bytes",
        "--max-header-bytes",
    ] {
        let variable = format!("RINGRESS_{}", flag.trim_start_matches("--").replace('-', "_").to_uppercase());
        assert!(stdout(&help).contains(flag) && stdout(&help).contains(&variable), "{flag} with {variable}");
    }
    assert_eq!(code(&ringress(&["serve"])), Some(2));
}

on_both_drivers! {
    fn a_port_that_is_taken_is_said_and_never_shared(driver) {
        let upstream = Upstream::named("first");
        let first = Launch::new(driver).serving(&[&upstream]).start();
        let (home, ports) = (TempDir::new().unwrap(), Ports { http: first.ports.http, ..Ports::free() });
        let files = folder(&[("class.yaml", manifest::CLASS)]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
        command.args(["run", "--manifests", path(&files)]).args(ports.flags()).args(["--shards=2", "--pin=never", "--io-driver", driver.as_str()]);
        let mut second = Ringress::of(command, home, ports);
        wait_until("the port is named", || second.logs().contains(&ports.http.to_string()));
        let ready = second.try_admin("/readyz").is_ok_and(|answer| answer.status == 200);
        assert!(!ready, "a process without its port is not ready");
        assert!(!second.is_running() || second.logs().to_lowercase().contains("in use"), "{}", second.logs());
        for _ in 0..20 {
            assert_eq!(first.get("a.test", "/").field("x-upstream"), Some("first"), "two processes shared a port");
        }
    }

    fn flags_may_come_from_the_environment(driver) {
        let files = folder(&[("class.yaml", manifest::CLASS)]);
        let (home, ports) = (TempDir::new().unwrap(), Ports::free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
        command
            .arg("run")
            .env("RINGRESS_MANIFESTS", path(&files))
            .env("RINGRESS_HTTP_PORT", ports.http.to_string())
            .env("RINGRESS_HTTPS_PORT", ports.https.to_string())
            .env("RINGRESS_ADMIN_ADDRESS", format!("127.0.0.1:{}", ports.admin))
            .env("RINGRESS_SHARDS", "3")
            .env("RINGRESS_PIN", "never")
            .env("RINGRESS_IO_DRIVER", driver.as_str());
        let mut process = Ringress::of(command, home, ports);
        process.wait_ready();
        assert_eq!(process.live().shards.len(), 3);
        assert_eq!(process.get("a.test", "/").status, 404);
    }

    fn the_admin_port_answers_and_the_health_port_answers_less(driver) {
        let health = crate::support::process::free_port();
        let process = Launch::new(driver).flags(&[&format!("--health-address=127.0.0.1:{health}")]).start();
        let of_health = |target: &str| Client::connect(health).get("localhost", target).status;
        for (target, on_admin, on_health) in [
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/metrics", 200, 200),
            ("/version", 200, 404),
            ("/generation", 200, 404),
            ("/routes", 200, 404),
            ("/nothing", 404, 404),
        ] {
            assert_eq!((process.admin(target).status, of_health(target)), (on_admin, on_health), "{target}");
        }
        let live: Value = serde_json::from_slice(&process.admin("/generation").body).unwrap();
        assert_eq!(live, serde_json::json!({"generation": 1, "shards": [1, 1]}));
        assert!(process.admin("/version").text().contains(env!("CARGO_PKG_VERSION")));
        assert_eq!(Client::connect(process.ports.http).get("localhost", "/healthz").status, 404, "nothing of this on the traffic port");
    }
}
