//! Ingress v1, strict: what the API's documentation and the seed articles promise, seen from a client.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::manifest::{self, Document, Endpoint, Ingress};
use crate::support::tools::{Certificate, curl};
use crate::support::{Driver, Launch, Response, Ringress, Upstream, on_both_drivers, wait_until};

/// Upstreams by the name of their Service.
struct Fleet(BTreeMap<&'static str, Upstream>);

impl Fleet {
    fn new(names: &[&'static str]) -> Self {
        Self(names.iter().map(|name| (*name, Upstream::named(name))).collect())
    }

    /// A Service and an EndpointSlice for each of them.
    fn documents(&self) -> Vec<Document> {
        let pair = |(name, upstream): (&&'static str, &Upstream)| {
            [manifest::service(name), manifest::endpoints(name, &[upstream.address()])]
        };
        self.0.iter().flat_map(pair).collect()
    }

    fn launch(&self, driver: Driver, ingresses: &[Ingress]) -> Launch {
        let ingresses = ingresses.iter().map(Ingress::yaml);
        Launch::new(driver).manifests(&ingresses.chain(self.documents()).collect::<Vec<_>>())
    }
}

/// Who answered: the name of an upstream, or the status where none did.
fn who(answer: &Response) -> String {
    answer.field("x-upstream").map(str::to_owned).unwrap_or_else(|| answer.status.to_string())
}

fn check(ringress: &Ringress, rows: &[(&str, &str, &str)]) {
    let wrong: Vec<_> = rows
        .iter()
        .map(|(host, target, expected)| (host, target, expected, who(&ringress.get(host, target))))
        .filter(|(_, _, expected, got)| **expected != got)
        .map(|(host, target, expected, got)| format!("{host}{target}: {got}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

on_both_drivers! {
    fn hosts_and_paths_are_matched_as_the_api_documents_them(driver) {
        let fleet = Fleet::new(&["one", "two", "three", "four"]);
        let hosts = Ingress::simple("exact", "exact.test", "one")
            .route("*.wild.test", "/", "Prefix", "two", "80")
            .route("deep.wild.test", "/", "Prefix", "one", "80")
            .route("", "/any", "Prefix", "three", "80");
        let paths = Ingress::new("paths")
            .route("p.test", "/foo", "Prefix", "one", "80")
            .route("p.test", "/foo/bar", "Prefix", "two", "80")
            .route("p.test", "/foo", "Exact", "three", "80")
            .route("p.test", "/slash/", "Prefix", "one", "80")
            .route("p.test", "/exact/", "Exact", "two", "80")
            .route("p.test", "/impl", "ImplementationSpecific", "four", "80")
            .route("p.test", "/aaa/bbb", "Prefix", "four", "80");
        let ringress = fleet.launch(driver, &[hosts, paths]).start();
        check(&ringress, &[
            ("exact.test", "/", "one"),
            ("EXACT.Test:8080", "/a/b?c=d", "one"),
            ("a.wild.test", "/", "two"),
            ("A.WILD.test", "/", "two"),
            ("wild.test", "/", "404"),
            ("a.b.wild.test", "/", "404"),
            ("deep.wild.test", "/", "one"),
            ("a.wild.test", "/any", "two"),
            ("other.test", "/any", "three"),
            ("other.test", "/any/x", "three"),
            ("other.test", "/anyx", "404"),
            ("other.test", "/", "404"),
            ("127.0.0.1", "/any", "three"),
            ("[::1]:80", "/any", "three"),
            ("p.test", "/foo", "three"),
            ("p.test", "/foo/", "one"),
            ("p.test", "/foo/x", "one"),
            ("p.test", "/foo/bar", "two"),
            ("p.test", "/foo/bar/", "two"),
            ("p.test", "/foo/barx", "one"),
            ("p.test", "/foox", "404"),
            ("p.test", "/Foo", "404"),
            ("p.test", "/slash", "one"),
            ("p.test", "/slash/", "one"),
            ("p.test", "/slash/x", "one"),
            ("p.test", "/slashx", "404"),
            ("p.test", "/exact/", "two"),
            ("p.test", "/exact", "404"),
            ("p.test", "/exact/x", "404"),
            ("p.test", "/impl/x", "four"),
            ("p.test", "/implx", "404"),
            ("p.test", "/aaa/bbb/ccc", "four"),
            ("p.test", "/aaa/bbbxyz", "404"),
            ("p.test", "/aaa//bbb", "404"),
        ]);
    }

    fn only_objects_of_our_class_are_served(driver) {
        let fleet = Fleet::new(&["web"]);
        let class = |name: &str, controller: &str, default: bool| {
            let default = if default { "  annotations:\n    ingressclass.kubernetes.io/is-default-class: \"true\"\n" } else { "" };
            format!("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata:\n  name: {name}\n{default}spec:\n  controller: {controller}\n")
        };
        let ours = "ringress.dev/ingress-controller";
        let ingresses: Vec<_> = [
            ("by-name", Some("ringress")),
            ("by-alias", Some("alias")),
            ("foreign", Some("nginx")),
            ("missing", Some("nowhere")),
            ("none", None),
        ]
        .into_iter()
        .map(|(name, class)| Ingress::simple(name, &format!("{name}.test"), "web").class(class))
        .chain([
            Ingress::simple("legacy", "legacy.test", "web").class(None).annotation("kubernetes.io/ingress.class", "ringress"),
            Ingress::simple("legacy-foreign", "legacy-foreign.test", "web").class(None).annotation("kubernetes.io/ingress.class", "nginx"),
        ])
        .collect();
        let rows = |classless: &'static str| {
            [
                ("by-name.test", "/", "web"),
                ("by-alias.test", "/", "web"),
                ("foreign.test", "/", "404"),
                ("missing.test", "/", "404"),
                ("legacy.test", "/", "web"),
                ("legacy-foreign.test", "/", "404"),
                ("none.test", "/", classless),
            ]
        };
        let aliases = manifest::file(&[class("alias", ours, false), class("nginx", "k8s.io/ingress-nginx", false)]);
        let ringress = fleet.launch(driver, &ingresses).file("classes.yaml", &aliases).start();
        check(&ringress, &rows("404"));
        let ringress = fleet.launch(driver, &ingresses).file("classes.yaml", &aliases).flags(&["--watch-ingress-without-class"]).start();
        check(&ringress, &rows("web"));
        let default = manifest::file(&[class("alias", ours, true), class("nginx", "k8s.io/ingress-nginx", false)]);
        let ringress = fleet.launch(driver, &ingresses).file("classes.yaml", &default).start();
        check(&ringress, &rows("web"));
        // Taking the class away takes the route away.
        ringress.apply("classes.yaml", &class("nginx", "k8s.io/ingress-nginx", false));
        check(&ringress, &[("by-alias.test", "/", "404"), ("none.test", "/", "404"), ("by-name.test", "/", "web")]);
    }

    fn default_backends_take_what_nothing_else_takes(driver) {
        let fleet = Fleet::new(&["web", "fallback", "cluster"]);
        let of_rules = Ingress::new("with-rules").route("a.test", "/x", "Exact", "web", "80").default_backend("fallback", "80");
        let flags = ["--default-backend-service=default/cluster"];
        let ringress = fleet.launch(driver, &[of_rules]).flags(&flags).start();
        check(&ringress, &[("a.test", "/x", "web"), ("a.test", "/y", "fallback"), ("b.test", "/y", "cluster")]);
        let alone = Ingress::new("alone").default_backend("fallback", "80");
        let ringress = fleet.launch(driver, &[alone, Ingress::new("rules").route("a.test", "/x", "Exact", "web", "80")]).start();
        check(&ringress, &[("a.test", "/x", "web"), ("b.test", "/y", "fallback")]);
    }

    fn backends_are_found_through_services_and_slices(driver) {
        let fleet = Fleet::new(&["plain"]);
        let (named, other, ready, unready, leaving) =
            (Upstream::named("named"), Upstream::named("other"), Upstream::named("ready"), Upstream::named("unready"), Upstream::named("leaving"));
        let external = Upstream::named("external");
        let condition = |upstream: &Upstream, ready, serving, terminating| Endpoint { address: upstream.address(), ready, serving, terminating };
        let route = |name: &str, port: &str| Ingress::new(name).route(&format!("{name}.test"), "/", "Prefix", name, port).yaml();
        let ports = "apiVersion: v1\nkind: Service\nmetadata:\n  name: ports\nspec:\n  ports:\n    - name: http\n      port: 80\n      targetPort: web\n    - name: admin\n      port: 81\n      targetPort: 9000\n";
        let headless = manifest::service("headless").replace("spec:\n", "spec:\n  clusterIP: None\n");
        let external_name = format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: external\nspec:\n  type: ExternalName\n  externalName: localhost\n  ports:\n    - port: {}\n", external.port());
        let legacy = format!("apiVersion: v1\nkind: Endpoints\nmetadata:\n  name: legacy\nsubsets:\n  - addresses:\n      - ip: 127.0.0.1\n    ports:\n      - port: {}\n", other.port());
        let documents = [
            route("plain", "80"),
            Ingress::new("by-name").route("by-name.test", "/", "Prefix", "ports", "http").yaml(),
            Ingress::new("by-other-name").route("by-other-name.test", "/", "Prefix", "ports", "admin").yaml(),
            Ingress::new("by-number").route("by-number.test", "/", "Prefix", "ports", "81").yaml(),
            Ingress::new("no-port").route("no-port.test", "/", "Prefix", "ports", "8080").yaml(),
            Ingress::new("no-name").route("no-name.test", "/", "Prefix", "ports", "https").yaml(),
            ports.to_owned(),
            manifest::slices(None, "ports", "http", &[Endpoint::ready(named.address())]),
            manifest::slices(None, "ports", "admin", &[Endpoint::ready(other.address())]),
            route("headless", "80"),
            headless,
            manifest::endpoints("headless", &[named.address()]),
            Ingress::new("external").route("external.test", "/", "Prefix", "external", &external.port().to_string()).yaml(),
            external_name,
            route("legacy", "80"),
            manifest::service("legacy"),
            legacy,
            route("missing", "80"),
            route("empty", "80"),
            manifest::service("empty"),
            route("mixed", "80"),
            manifest::service("mixed"),
            manifest::slices(None, "mixed", "", &[condition(&unready, false, false, false), condition(&ready, true, true, false), condition(&leaving, false, true, true)]),
            route("draining", "80"),
            manifest::service("draining"),
            manifest::slices(None, "draining", "", &[condition(&unready, false, false, false), condition(&leaving, false, true, true)]),
            route("dark", "80"),
            manifest::service("dark"),
            manifest::slices(None, "dark", "", &[condition(&unready, false, false, true)]),
        ];
        let documents: Vec<_> = documents.into_iter().chain(fleet.documents()).collect();
        let ringress = Launch::new(driver).manifests(&documents).start();
        // A name that leads back to this machine would open its private ports to everybody who may write a Service.
        wait_until("the refusal is logged", || ringress.logs().contains("ExternalNameRefused") || ringress.logs().contains("localhost"));
        check(&ringress, &[
            ("plain.test", "/", "plain"),
            ("by-name.test", "/", "named"),
            ("by-other-name.test", "/", "other"),
            ("by-number.test", "/", "other"),
            ("no-port.test", "/", "503"),
            ("no-name.test", "/", "503"),
            ("headless.test", "/", "named"),
            ("external.test", "/", "503"),
            ("legacy.test", "/", "other"),
            ("missing.test", "/", "503"),
            ("empty.test", "/", "503"),
            ("mixed.test", "/", "ready"),
            ("mixed.test", "/", "ready"),
            ("mixed.test", "/", "ready"),
            ("draining.test", "/", "leaving"),
            ("dark.test", "/", "503"),
        ]);
        let answer = ringress.get("missing.test", "/");
        assert!(answer.field("proxy-status").is_some_and(|value| value.starts_with("ringress; error=")), "{:?}", answer.fields);
        assert!(!answer.text().contains("127.0.0.1"), "internal addresses stay in logs");
    }

    fn several_slices_of_a_service_are_one_upstream_and_readiness_moves_it(driver) {
        let (one, two) = (Upstream::named("one"), Upstream::named("two"));
        let base = [Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web")];
        let slices = |second_ready: bool| {
            let second = Endpoint { address: two.address(), ready: second_ready, serving: second_ready, terminating: false };
            manifest::slices(None, "web", "", &[Endpoint::ready(one.address()), second])
        };
        let ringress = Launch::new(driver).shards(1).manifests(&base).file("slices.yaml", &slices(true)).start();
        let seen = |ringress: &Ringress| {
            let mut seen: Vec<_> = (0..8).map(|_| who(&ringress.get("a.test", "/"))).collect();
            seen.sort();
            seen.dedup();
            seen
        };
        assert_eq!(seen(&ringress), ["one", "two"]);
        ringress.apply("slices.yaml", &slices(false));
        assert_eq!(seen(&ringress), ["one"]);
        ringress.apply("slices.yaml", &slices(true));
        assert_eq!(seen(&ringress), ["one", "two"]);
    }

    fn the_oldest_object_wins_and_the_loser_is_reported(driver) {
        let fleet = Fleet::new(&["old", "new", "first", "second"]);
        let ingresses = [
            Ingress::simple("a-new", "age.test", "new").created("2026-02-01T00:00:00Z").route("age.test", "/only-new", "Prefix", "new", "80"),
            Ingress::simple("z-old", "age.test", "old").created("2026-01-01T00:00:00Z"),
            Ingress::simple("b-second", "name.test", "second"),
            Ingress::simple("a-first", "name.test", "first"),
        ];
        let ringress = fleet.launch(driver, &ingresses).start();
        check(&ringress, &[
            ("age.test", "/", "old"),
            ("age.test", "/only-new", "new"),
            ("name.test", "/", "first"),
        ]);
        for (url, winner, loser) in [("http://age.test/", "z-old", "a-new"), ("http://name.test/", "a-first", "b-second")] {
            let answer = ringress.admin_post("/explain", &serde_json::json!({ "url": url }));
            let explained: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(explained["winner"]["object"]["name"], winner, "{explained:#}");
            let told = explained["losers"].as_array().unwrap().iter().any(|lost| lost["object"]["name"] == loser && lost["check"] == "precedence");
            assert!(told, "{loser} lost by age or name: {explained:#}");
        }
        wait_until("the log tells the losers", || ringress.logs().contains("a-new") && ringress.logs().contains("b-second"));
        assert_eq!(ringress.admin("/routes").status, 200);
    }

    fn one_host_may_be_shared_by_namespaces(driver) {
        let (shop, blog) = (Upstream::named("shop"), Upstream::named("blog"));
        let part = |namespace: &str, path: &str, upstream: &Upstream| {
            manifest::file(&[
                Ingress::new("web").namespace(namespace).route("a.test", path, "Prefix", "web", "80").yaml(),
                manifest::service_in(Some(namespace), "web"),
                manifest::slices(Some(namespace), "web", "", &[Endpoint::ready(upstream.address())]),
            ])
        };
        let ringress = Launch::new(driver).manifests(&[part("shop", "/shop", &shop), part("blog", "/blog", &blog)]).start();
        check(&ringress, &[("a.test", "/shop", "shop"), ("a.test", "/blog/x", "blog"), ("a.test", "/", "404")]);
    }

    fn foreign_annotations_that_protect_close_their_paths(driver) {
        let fleet = Fleet::new(&["web"]);
        let protective = [
            "auth-url",
            "auth-type",
            "whitelist-source-range",
            "denylist-source-range",
            "limit-rps",
            "auth-tls-secret",
            "satisfy",
            "configuration-snippet",
            "server-snippet",
            "proxy-body-size",
        ];
        let mut ingresses: Vec<_> = protective
            .iter()
            .map(|key| Ingress::simple(key, &format!("{key}.test"), "web").annotation(&format!("nginx.ingress.kubernetes.io/{key}"), "x"))
            .collect();
        ingresses.push(Ingress::simple("rewrite", "rewrite.test", "web").annotation("nginx.ingress.kubernetes.io/rewrite-target", "/"));
        let ringress = fleet.launch(driver, &ingresses).start();
        for key in protective {
            assert_eq!(who(&ringress.get(&format!("{key}.test"), "/")), "503", "{key} asks for a protection that is not there");
        }
        let answer = ringress.get("rewrite.test", "/kept/as/sent");
        assert!(answer.text().starts_with("GET /kept/as/sent "), "an annotation that is not applied changes nothing");
    }

    fn empty_path_elements_lead_around_no_protection(driver) {
        let fleet = Fleet::new(&["web"]);
        let protected = Ingress::new("protected")
            .route("a.test", "/admin", "Prefix", "web", "80")
            .annotation("nginx.ingress.kubernetes.io/auth-url", "http://auth.test/");
        let ringress = fleet.launch(driver, &[Ingress::simple("open", "a.test", "web"), protected]).start();
        let closed = ["/admin", "//admin", "//admin/x", "/x/..//admin", "/x//../admin", "/%2fadmin", "/%2Fadmin//x"];
        check(&ringress, &closed.map(|target| ("a.test", target, "503")));
        for target in ["//", "//x", "/x//admin", "//administrator"] {
            let answer = ringress.get("a.test", target);
            assert!(answer.text().starts_with(&format!("GET {target} ")), "{target}: {}", answer.text());
        }
    }

    fn one_wrong_object_harms_only_its_own_rules(driver) {
        let fleet = Fleet::new(&["web"]);
        let wrong = [
            Ingress::simple("bad-host", "bad_host!.test", "web"),
            Ingress::simple("bad-wildcard", "a.*.test", "web"),
            Ingress::new("bad-path").route("path.test", "no-slash", "Prefix", "web", "80").route("path.test", "/good", "Prefix", "web", "80"),
            Ingress::new("bad-type").route("type.test", "/", "Fuzzy", "web", "80"),
            Ingress::simple("bad-annotation", "annotation.test", "web").annotation("ringress.dev/load-balance", "magic"),
        ];
        let good = Ingress::simple("good", "good.test", "web");
        let undecodable = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: undecodable\nspec:\n  rules: 7\n";
        let broken = "apiVersion: v1\nkind: Service\nmetadata: {name: [\n";
        let all: Vec<_> = wrong.into_iter().chain([good]).collect();
        let ringress = fleet
            .launch(driver, &all)
            .file("undecodable.yaml", undecodable)
            .file("broken.yaml", broken)
            .file("notes.txt", "no manifest at all")
            .file("foreign.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n")
            .start();
        check(&ringress, &[("good.test", "/", "web"), ("path.test", "/good", "web")]);
        assert_eq!(ringress.get("bad_host!.test", "/").status / 100, 4);
    }

    fn no_text_of_an_object_reaches_a_head_or_breaks_a_log_line(driver) {
        // The class of CVE-2021-25745 to CVE-2026-24512: texts of objects that end up in what the proxy writes.
        let fleet = Fleet::new(&["web"]);
        let evil = ["/a\r\nX-Evil: 1", "/a\nX-Evil: 1", "/a\0b", "/a\";}", "/${x}", "/$1", "/a b", "/a#b", "/a?b", "/../x"];
        let mut ingresses: Vec<_> = (0..)
            .zip(evil)
            .map(|(number, path)| Ingress::new(&format!("evil-{number}")).route(&format!("e{number}.test"), path, "Prefix", "web", "80"))
            .collect();
        ingresses.push(Ingress::simple("host", "evil.test\r\nX-Evil: 1", "web"));
        ingresses.push(Ingress::simple("annotation", "annotation.test", "web").annotation("ringress.dev/ssl-redirect", "false\r\nX-Evil: 1"));
        ingresses.push(Ingress::simple("good", "good.test", "web"));
        let ringress = fleet.launch(driver, &ingresses).start();
        for number in 0..evil.len() {
            ringress.get(&format!("e{number}.test"), "/a");
            ringress.get(&format!("e{number}.test"), "/");
        }
        ringress.get("annotation.test", "/");
        check(&ringress, &[("good.test", "/", "web")]);
        let received = String::from_utf8(fleet.0["web"].bytes()).unwrap();
        assert!(!received.contains("X-Evil"), "{received}");
        // What is served is served before the log says so.
        wait_until("the owner is told", || ringress.stdout().contains("evil-0"));
        let log = ringress.stdout() + &ringress.stderr();
        for line in log.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "a log line was broken: {line:?}");
        }
    }

    fn json_and_lists_are_read_as_well(driver) {
        let fleet = Fleet::new(&["web"]);
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "json"}, "spec": {"ingressClassName": "ringress", "rules": [
                {"host": "json.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}]}"#;
        let ringress = fleet.launch(driver, &[]).file("list.json", list).start();
        check(&ringress, &[("json.test", "/", "web")]);
    }

    fn hosts_under_tls_are_redirected_to_https(driver) {
        let fleet = Fleet::new(&["web"]);
        let ingresses = [
            Ingress::simple("secure", "secure.test", "web").tls("secure.test", None).route("open.test", "/", "Prefix", "web", "80"),
            Ingress::simple("wild", "a.wild.test", "web").tls("*.wild.test", None),
            Ingress::simple("off", "off.test", "web").tls("off.test", None).annotation("ringress.dev/ssl-redirect", "false"),
        ];
        let ringress = fleet.launch(driver, &ingresses).start();
        let https = ringress.ports.https;
        for (host, target) in [("secure.test", "/a%20b/c?d=e&f=%2f"), ("secure.test:8080", "/x"), ("SECURE.test", "/"), ("a.wild.test", "/")] {
            let answer = ringress.get(host, target);
            let name = host.split(':').next().unwrap();
            assert_eq!(answer.status, 308, "{host}{target}");
            let location = answer.field("location").unwrap_or_default().to_ascii_lowercase();
            assert_eq!(location, format!("https://{name}:{https}{target}").to_ascii_lowercase());
        }
        let post = ringress.client().ask("POST /x HTTP/1.1\r\nHost: secure.test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(post.status, 308, "308 keeps method and body");
        assert!(fleet.0["web"].bytes().is_empty(), "nothing is forwarded in clear text");
        check(&ringress, &[("open.test", "/", "web"), ("off.test", "/", "web")]);
        let url = format!("https://secure.test:{https}/x");
        let output = curl(&["-k", "--resolve", &format!("secure.test:{https}:127.0.0.1"), &url]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("GET /x HTTP/1.1\r\n") && text.contains("X-Forwarded-Proto: https\r\n"), "{text}");
    }
}

// The examples.

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples")
}

/// A line of `answers.txt`, which stands beside an example for all its tests: in a cluster, too.
struct Answer {
    scheme: &'static str,
    host: &'static str,
    target: &'static str,
    /// A Service, or a status.
    by: &'static str,
}

fn answers(example: &str) -> Vec<Answer> {
    let lines = kept(&examples().join(example).join("answers.txt")).lines();
    let answer = |line: &'static str| {
        let (url, by) = line.split_once(' ').unwrap();
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        Answer { scheme, host, target, by: by.trim() }
    };
    lines.filter(|line| !line.starts_with('#')).map(answer).collect()
}

fn examples_with_answers() -> Vec<&'static str> {
    let folders = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|folder| folder.join("answers.txt").is_file());
    folders.map(|folder| &*folder.file_name().unwrap().to_str().unwrap().to_owned().leak()).collect()
}

/// A file that is read for as long as the tests run.
fn kept(file: &Path) -> &'static str {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).leak()
}

/// An example with its own endpoints file, each address replaced by an upstream of the test.
struct Example {
    name: &'static str,
    fleet: Fleet,
}

impl Example {
    fn new(name: &'static str) -> Self {
        let endpoints = kept(&examples().join("with-endpoints").join(name).join("endpoints.yaml"));
        let label = |line: &'static str| line.trim().strip_prefix("kubernetes.io/service-name: ");
        Self { name, fleet: Fleet::new(&endpoints.lines().filter_map(label).collect::<Vec<_>>()) }
    }

    fn launch(&self, driver: Driver) -> Launch {
        let folder = examples().join("with-endpoints").join(self.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        files.fold(Launch::new(driver).flags(&["--watch-ingress-without-class"]), |launch, file| {
            let text = fs::read_to_string(folder.join(&file)).unwrap();
            launch.file(&file, &if file == "endpoints.yaml" { self.point_here(&text) } else { text })
        })
    }

    /// The ports in the file stand for `ringress echo`; these tests have upstreams of their own.
    fn point_here(&self, endpoints: &str) -> String {
        let slice = |document: &str| {
            let service = document
                .lines()
                .find_map(|line| line.trim().strip_prefix("kubernetes.io/service-name: "))
                .unwrap();
            let port = document.lines().find(|line| line.starts_with("    port: ")).unwrap();
            document.replace(port, &format!("    port: {}", self.fleet.0[service].port()))
        };
        endpoints.split("---\n").map(slice).collect::<Vec<_>>().join("---\n")
    }
}

/// Who answers `https://host/target`, and with which path.
fn over_tls(ringress: &Ringress, host: &str, target: &str) -> String {
    let port = ringress.ports.https;
    let output = curl(&[
        "-k",
        "-i",
        "--resolve",
        &format!("{host}:{port}:127.0.0.1"),
        &format!("https://{host}:{port}{target}"),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let upstream = text.lines().find_map(|line| line.strip_prefix("X-Upstream: ")).unwrap().to_owned();
    assert!(text.contains(&format!("GET {target} HTTP/1.1")), "{text}");
    upstream
}

on_both_drivers! {
    fn every_example_routes_as_its_article_promises(driver) {
        let names = examples_with_answers();
        assert!(names.len() >= 13, "{names:?}");
        for name in names {
            println!("{name}");
            let example = Example::new(name);
            let ringress = example.launch(driver).start();
            let (secure, plain): (Vec<_>, Vec<_>) = answers(name).into_iter().partition(|answer| answer.scheme == "https");
            check(&ringress, &plain.iter().map(|answer| (answer.host, answer.target, answer.by)).collect::<Vec<_>>());
            for Answer { host, target, by, .. } in secure {
                assert_eq!(over_tls(&ringress, host, target), by, "https://{host}{target}");
            }
        }
    }

    fn tls_examples_serve_their_secret_or_the_default_certificate(driver) {
        let tls = Example::new("tls");
        let ringress = tls.launch(driver).start();
        let certificate = Certificate::for_names(&["app.example.com"]);
        let shown = |ringress: &Ringress| crate::tls::shown_certificate(ringress.ports.https, "app.example.com");
        assert!(!certificate.is(&shown(&ringress)));
        ringress.apply("secret.yaml", &manifest::tls_secret("my-tls-secret", &certificate.certificate, &certificate.key));
        assert!(certificate.is(&shown(&ringress)), "the Secret is picked up when it comes");

        let admin = Example::new("admin-path");
        let certificate = Certificate::for_names(&["example.com", "api.example.com"]);
        let secret = manifest::tls_secret("example-tls", &certificate.certificate, &certificate.key);
        let ringress = admin.launch(driver).file("secret.yaml", &secret).start();
        assert_eq!(over_tls(&ringress, "example.com", "/admin"), "admin-service");
        assert!(certificate.is(&crate::tls::shown_certificate(ringress.ports.https, "example.com")));
    }
}

#[test]
fn every_example_has_services_endpoints_and_a_readme_of_three_lines() {
    let folders =
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folders: Vec<_> = folders.collect();
    assert!(folders.len() >= 15, "{folders:?}");
    for folder in folders {
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(readme.lines().count(), 3, "{}", folder.display());
        if folder.ends_with("flattened") || folder.ends_with("with-endpoints") {
            continue;
        }
        let endpoints = examples().join("with-endpoints").join(folder.file_name().unwrap());
        for file in [
            folder.join("services.yaml"),
            folder.join("ingress.yaml"),
            folder.join("answers.txt"),
            endpoints.join("endpoints.yaml"),
            endpoints.join("ingress.yaml"),
        ] {
            assert!(file.is_file(), "{} is missing", file.display());
        }
    }
}
