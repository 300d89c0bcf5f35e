//! `explain`: the winner, the losers and the checklist, offline and live.

use std::process::Command;

use super::{code, folder, json, path, ringress, stderr, stdout};
use crate::support::manifest::{self, Ingress};
use crate::support::{Launch, Upstream, on_both_drivers};

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
fn manifests_without_endpoints_are_explained_as_far_as_they_go() {
    let documents = [
        manifest::CLASS.to_owned(),
        Ingress::simple("a", "a.test", "web").yaml(),
        Ingress::simple("b", "b.test", "gone").yaml(),
        manifest::service("web"),
    ];
    let files = folder(&[("all.yaml", &manifest::file(&documents))]);
    let ask = |url: &str| ringress(&["explain", url, "-f", path(&files)]);
    let routed = ask("http://a.test/");
    assert_eq!(code(&routed), Some(0), "{}", stdout(&routed));
    assert!(stdout(&routed).contains("endpoints unknown"), "{}", stdout(&routed));
    assert_eq!(code(&ask("http://b.test/")), Some(1), "its Service is missing whoever would be ready");
    // Where some endpoints are known, none is none.
    let slice = manifest::endpoints("other", &["127.0.0.1:9".parse().unwrap()]);
    std::fs::write(files.path().join("slice.yaml"), slice).unwrap();
    assert_eq!(code(&ask("http://a.test/")), Some(1));
}

#[test]
fn a_redirect_leads_to_the_port_that_clients_know() {
    let documents = [
        manifest::CLASS.to_owned(),
        Ingress::simple("a", "a.test", "web").tls("a.test", None).yaml(),
        manifest::service("web"),
        manifest::endpoints("web", &["127.0.0.1:9".parse().unwrap()]),
    ];
    let files = folder(&[("all.yaml", &manifest::file(&documents))]);
    for (flags, location) in [
        (&[][..], "https://a.test/x"),
        (&["--https-public-port=443"], "https://a.test/x"),
        (&["--https-public-port=8443"], "https://a.test:8443/x"),
    ] {
        let asked = [&["explain", "http://a.test/x", "-f", path(&files), "-o", "json"][..], flags].concat();
        assert_eq!(json(&ringress(&asked))["answer"]["location"], location, "{flags:?}");
    }
    let forwarded = |flags: &[&str]| {
        let asked = ["explain", "https://a.test/x", "-f", path(&files), "-o", "json"];
        let sent = json(&ringress(&[&asked[..], flags].concat()))["upstream_request"].to_string();
        sent.to_lowercase().split("x-forwarded-port: ").nth(1).unwrap().split('\\').next().unwrap().to_owned()
    };
    assert_eq!((forwarded(&[]), forwarded(&["--https-public-port=8443"])), ("443".into(), "8443".into()));
}

#[test]
fn a_host_that_no_rule_names_is_not_called_named() {
    let documents = [
        manifest::CLASS.to_owned(),
        Ingress::simple("wild", "*.api.test", "web").yaml(),
        Ingress::new("rest").route("", "/only", "Exact", "web", "80").yaml(),
        manifest::service("web"),
    ];
    let files = folder(&[("all.yaml", &manifest::file(&documents))]);
    let output = ringress(&["explain", "http://a.b.api.test/", "-f", path(&files), "-o", "json"]);
    let answer = json(&output);
    let host = answer["checklist"][0]["says"].as_str().unwrap();
    assert_eq!(
        host,
        "a.b.api.test is named by no rule; Ingress default/rest takes every host; *.api.test takes one label only"
    );
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

#[test]
fn explain_of_manifests_leaves_the_variable_of_the_process_alone() {
    let files = folder(&[("shop.yaml", SHOP)]);
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
        command.args(["explain", "http://shop.test/cart"]).args(arguments);
        command.env("RINGRESS_ADMIN_ADDRESS", "127.0.0.1:1").output().unwrap()
    };
    let offline = ask(&["-f", path(&files)]);
    assert_eq!(code(&offline), Some(0), "{}", stderr(&offline));
    assert_eq!(code(&ask(&[])), Some(3), "the variable names the process to ask");
    assert_eq!(code(&ask(&["-f", path(&files), "--admin", "127.0.0.1:1"])), Some(2));
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
        // A list of questions is answered by a list, in its order.
        let urls = ["http://b.test/", "http://a.test/x", "http://a.test/"];
        let list: Vec<_> = urls.iter().map(|url| serde_json::json!({"url": url, "brief": true})).collect();
        let answers = process.admin_post("/explain", &serde_json::json!(list));
        let answers: serde_json::Value = serde_json::from_slice(&answers.body).unwrap();
        let told: Vec<_> = answers.as_array().unwrap().iter().map(|one| (one["url"].as_str().unwrap(), one["routed"] == true)).collect();
        assert_eq!(told, [(urls[0], false), (urls[1], true), (urls[2], true)], "{answers}");
    }
}

on_both_drivers! {
    fn a_wrong_question_is_refused_with_its_field(driver) {
        let process = Launch::new(driver).start();
        for (question, field) in [
            (serde_json::json!({"url": "gopher://a.test/"}), "url"),
            (serde_json::json!({"method": "GET"}), "url"),
            (serde_json::json!({"url": "http://a.test/", "headers": "A: b"}), "headers"),
            (serde_json::json!({"url": "http://a.test/", "methd": "GET"}), "methd"),
            (serde_json::json!([{"url": "http://a.test/"}, {"url": "gopher://a.test/"}]), "url"),
            (serde_json::json!(vec![serde_json::json!({"url": "http://a.test/"}); 257]), "body"),
        ] {
            let answer = process.admin_post("/explain", &question);
            assert_eq!(answer.status, 400, "{question}: {}", answer.text());
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["field"], field, "{question}");
            assert!(!body["error"].as_str().unwrap().is_empty(), "{question}");
        }
        let admin = format!("127.0.0.1:{}", process.ports.admin);
        let output = ringress(&["explain", "gopher://a.test/", "--admin", &admin]);
        assert_eq!(code(&output), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("neither http nor https"), "{}", stderr(&output));
    }

    fn explain_agrees_with_the_shards_on_paths_that_cannot_be_served(driver) {
        let upstream = Upstream::named("web");
        let denied = "nginx.ingress.kubernetes.io/auth-url";
        let named = |name: &str, service: &str| Ingress::simple(name, &format!("{name}.test"), service);
        let process = Launch::new(driver)
            .manifests(&[
                named("denied", "web").annotation(denied, "http://auth/").yaml(),
                named("denied-gone", "gone").annotation(denied, "http://auth/").yaml(),
                named("gone", "gone").yaml(),
                named("idle", "idle").yaml(),
                named("outside", "outside").yaml(),
                named("local", "local").yaml(),
                Ingress::new("port").route("port.test", "/", "Prefix", "web", "81").yaml(),
                manifest::service("web"),
                manifest::service("idle"),
                manifest::endpoints("web", &[upstream.address()]),
                external("outside", "name.invalid"),
                external("local", "localhost"),
            ])
            .start();
        let admin = format!("127.0.0.1:{}", process.ports.admin);
        for (name, policy, reason) in [
            ("denied", Some("denied"), "this route is closed"),
            ("denied-gone", Some("denied"), "this route is closed"),
            ("gone", None, "does not exist"),
            ("idle", None, "no endpoints"),
            ("outside", None, "name.invalid does not resolve"),
            ("local", None, "localhost is refused"),
            ("port", None, "has no such port; it has 80"),
        ] {
            let url = format!("http://{name}.test/");
            let answer = json(&ringress(&["explain", &url, "--admin", &admin, "-o", "json"]));
            let served = process.get(&format!("{name}.test"), "/");
            assert_eq!(answer["answer"]["status"], served.status, "{name}: {answer}");
            assert_eq!(served.text().trim_end(), answer["answer"]["message"], "{name}");
            assert_eq!(answer["answer"]["policy"].as_str(), policy, "{name}");
            let text = stdout(&ringress(&["explain", &url, "--admin", &admin]));
            let verdict = text.lines().find(|line| line.contains("verdict")).unwrap();
            assert!(verdict.contains(reason), "{name}: {verdict}");
        }
    }
}

/// A Service that is a name elsewhere.
fn external(name: &str, of: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: ExternalName\n  externalName: {of}\n  ports:\n    - port: 80\n"
    )
}

#[test]
fn places_are_named_as_a_process_that_serves_the_folder_names_them() {
    let files = folder(&[("shop.yaml", SHOP)]);
    let answer = json(&ringress(&["explain", "http://shop.test/cart", "-f", path(&files), "-o", "json"]));
    assert_eq!(answer["winner"]["file"], "shop.yaml");
}

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
