//! The features of the upstream Ingress v1 conformance suite, as tables: each scenario is a test named after it.
//!
//! A feature is played as a whole by the first of its scenarios that is asked for: its Ingress is made, each scenario asked,
//! everything removed. So scenarios cost a request each, and features that take requests for any host never meet.
//!
//! The Ingress of `host_rules` has TLS and yet answers on http: controllers that redirect by default have to be told. A last
//! scenario, which is ours, takes that back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use anyhow::{Context, bail, ensure};
use libtest_mimic::Trial;

use crate::client::{Answer, Question, ask, get, get_tls, until_outcome};
use crate::seeds::{authority, create_secret};
use crate::support::{World, every_host};

/// One test for each scenario.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    FEATURES.iter().flat_map(|feature| {
        feature.scenarios.iter().map(|scenario| {
            let name = format!("{}: {}", feature.name, scenario.name);
            Trial::test(name, || feature.outcome(scenario.name).map_err(Into::into))
        })
    })
}

struct Feature {
    name: &'static str,
    /// Its Ingress, and Services that its backends name.
    ingress: &'static str,
    services: &'static [&'static str],
    /// More than one pod behind a Service.
    replicas: u32,
    /// A host that gets a Secret of its own.
    secured: Option<&'static str>,
    scenarios: &'static [Scenario],
    played: OnceLock<Result<Outcomes, String>>,
}

/// What became of each scenario.
type Outcomes = BTreeMap<&'static str, Result<(), String>>;

struct Scenario {
    name: &'static str,
    steps: &'static [Step],
}

enum Step {
    /// GET of a URL is answered by this Service, which saw the same host and path.
    Served(&'static str, &'static str),
    /// The same over https, by a certificate that proves the host.
    Secured(&'static str, &'static str),
    /// GET of a URL is answered with this status.
    Status(&'static str, u16),
    /// GET of a URL is answered with 308 and this location.
    Redirected(&'static str, &'static str),
    /// An Ingress loses an annotation.
    Unannotated(&'static str, &'static str),
    /// A request of any method is answered by `echo-service`, which saw it as it was, and the answer has the fields that the
    /// suite asks for.
    Echoed { method: &'static str, host: &'static str, target: &'static str },
    /// So many requests reach so many pods.
    Balanced { requests: usize, pods: usize },
    /// The status of the Ingress has no address, and nothing is served.
    NotExposed(&'static str),
    /// The host of the Ingress becomes another one.
    Rename { from: &'static str, to: &'static str },
    /// The Ingress is removed.
    Remove,
}

use Step::{Balanced, Echoed, NotExposed, Redirected, Remove, Rename, Secured, Served, Status, Unannotated};

const fn scenario(name: &'static str, steps: &'static [Step]) -> Scenario {
    Scenario { name, steps }
}

/// With one pod behind each Service, and without a Secret.
const fn feature(
    name: &'static str,
    ingress: &'static str,
    services: &'static [&'static str],
    scenarios: &'static [Scenario],
) -> Feature {
    Feature { name, ingress, services, replicas: 1, secured: None, scenarios, played: OnceLock::new() }
}

impl Feature {
    const fn secured(mut self, host: &'static str) -> Self {
        self.secured = Some(host);
        self
    }

    const fn replicas(mut self, pods: u32) -> Self {
        self.replicas = pods;
        self
    }
}

static FEATURES: [Feature; 8] = [
    feature(
            "host_rules",
            r#"
metadata: {name: host-rules, annotations: {ringress.dev/ssl-redirect: "false"}}
spec:
  tls: [{hosts: [foo.bar.com], secretName: conformance-tls}]
  rules:
  - host: "*.foo.com"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: wildcard-foo-com, port: {number: 8080}}}}]}
  - host: foo.bar.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: foo-bar-com, port: {name: http}}}}]}
"#,
            &["wildcard-foo-com", "foo-bar-com"],
            &[
                scenario(
                    "a_host_rule_sends_tls_traffic_to_the_matching_backend_service",
                    &[Secured("https://foo.bar.com/", "foo-bar-com")],
                ),
                scenario(
                    "a_host_rule_sends_traffic_to_the_matching_backend_service",
                    &[Served("http://foo.bar.com/", "foo-bar-com")],
                ),
                scenario(
                    "a_host_rule_does_not_route_where_the_hostname_does_not_match",
                    &[Status("http://subdomain.bar.com/", 404)],
                ),
                scenario(
                    "a_wildcard_host_rule_sends_traffic_to_the_matching_backend_service",
                    &[Served("http://bar.foo.com/", "wildcard-foo-com")],
                ),
                scenario(
                    "a_wildcard_host_rule_does_not_match_more_than_a_single_dns_label",
                    &[Status("http://baz.bar.foo.com/", 404)],
                ),
                scenario(
                    "a_wildcard_host_rule_does_not_match_no_dns_label",
                    &[Status("http://foo.com/", 404)],
                ),
                scenario(
                    "a_host_with_tls_redirects_where_no_annotation_says_otherwise",
                    &[
                        Unannotated("host-rules", "ringress.dev/ssl-redirect"),
                        Redirected("http://foo.bar.com/x?y", "https://foo.bar.com/x?y"),
                        Served("http://bar.foo.com/", "wildcard-foo-com"),
                        Secured("https://foo.bar.com/", "foo-bar-com"),
                    ],
                ),
            ],
        )
        .secured("foo.bar.com"),
    feature(
        "path_rules",
        r#"
metadata: {name: path-rules}
spec:
  rules:
  - host: exact-path-rules
    http: {paths: [{path: /foo, pathType: Exact, backend: {service: {name: foo-exact, port: {number: 8080}}}}]}
  - host: prefix-path-rules
    http:
      paths:
      - {path: /foo, pathType: Prefix, backend: {service: {name: foo-prefix, port: {number: 8080}}}}
      - {path: /aaa/bbb, pathType: Prefix, backend: {service: {name: aaa-slash-bbb-prefix, port: {number: 8080}}}}
      - {path: /aaa, pathType: Prefix, backend: {service: {name: aaa-prefix, port: {number: 8080}}}}
  - host: mixed-path-rules
    http:
      paths:
      - {path: /foo, pathType: Prefix, backend: {service: {name: foo-prefix, port: {number: 8080}}}}
      - {path: /foo, pathType: Exact, backend: {service: {name: foo-exact, port: {number: 8080}}}}
  - host: trailing-slash-path-rules
    http:
      paths:
      - {path: /aaa/bbb/, pathType: Prefix, backend: {service: {name: aaa-slash-bbb-slash-prefix, port: {number: 8080}}}}
      - {path: /foo/, pathType: Exact, backend: {service: {name: foo-slash-exact, port: {number: 8080}}}}
"#,
        &[
            "foo-exact",
            "foo-prefix",
            "aaa-slash-bbb-prefix",
            "aaa-prefix",
            "aaa-slash-bbb-slash-prefix",
            "foo-slash-exact",
        ],
        &[
            scenario(
                "exact_path_rules_send_traffic_to_the_matching_backend_service",
                &[Served("http://exact-path-rules/foo", "foo-exact")],
            ),
            scenario(
                "exact_path_rules_do_not_match_requests_with_trailing_slash",
                &[Status("http://exact-path-rules/foo/", 404)],
            ),
            scenario("exact_path_rules_are_case_sensitive", &[Status("http://exact-path-rules/FOO", 404)]),
            scenario(
                "exact_path_rules_do_not_match_any_other_label",
                &[Status("http://exact-path-rules/bar", 404)],
            ),
            scenario(
                "prefix_path_rules_send_traffic_to_the_matching_backend_service",
                &[Served("http://prefix-path-rules/foo", "foo-prefix")],
            ),
            scenario(
                "prefix_path_rules_ignore_the_request_trailing_slash",
                &[Served("http://prefix-path-rules/foo/", "foo-prefix")],
            ),
            scenario("prefix_path_rules_are_case_sensitive", &[Status("http://prefix-path-rules/FOO", 404)]),
            scenario(
                "prefix_path_rules_match_multiple_labels_and_the_longest_path",
                &[Served("http://prefix-path-rules/aaa/bbb", "aaa-slash-bbb-prefix")],
            ),
            scenario(
                "prefix_path_rules_match_multiple_labels_the_longest_path_and_subpaths",
                &[Served("http://prefix-path-rules/aaa/bbb/ccc", "aaa-slash-bbb-prefix")],
            ),
            scenario(
                "prefix_path_rules_match_subpaths_of_the_shorter_path",
                &[Served("http://prefix-path-rules/aaa/ccc", "aaa-prefix")],
            ),
            scenario(
                "prefix_path_rules_match_whole_labels_and_no_string_prefix",
                &[Status("http://prefix-path-rules/aaaccc", 404)],
            ),
            scenario("mixed_path_rules_prefer_exact", &[Served("http://mixed-path-rules/foo", "foo-exact")]),
            scenario(
                "a_trailing_slash_in_a_prefix_path_rule_is_ignored",
                &[Served("http://trailing-slash-path-rules/aaa/bbb", "aaa-slash-bbb-slash-prefix")],
            ),
            scenario(
                "a_trailing_slash_in_a_prefix_path_rule_matches_a_trailing_slash",
                &[Served("http://trailing-slash-path-rules/aaa/bbb/", "aaa-slash-bbb-slash-prefix")],
            ),
            scenario(
                "a_trailing_slash_in_an_exact_path_rule_does_not_match_requests_without",
                &[Status("http://trailing-slash-path-rules/foo", 404)],
            ),
        ],
    ),
    feature(
        "default_backend",
        r#"
metadata: {name: default-backend}
spec: {defaultBackend: {service: {name: echo-service, port: {number: 8080}}}}
"#,
        &["echo-service"],
        &[
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_get",
                &[Echoed { method: "GET", host: "my-host", target: "/" }],
            ),
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_get_sub_path",
                &[Echoed { method: "GET", host: "my-host", target: "/sub-path" }],
            ),
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_post",
                &[Echoed { method: "POST", host: "some-host", target: "/" }],
            ),
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_put_to_the_address",
                &[Echoed { method: "PUT", host: "", target: "/resource" }],
            ),
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_delete",
                &[Echoed { method: "DELETE", host: "some-host", target: "/resource" }],
            ),
            scenario(
                "no_rules_send_all_requests_to_the_default_backend_patch",
                &[Echoed { method: "PATCH", host: "my-host", target: "/resource" }],
            ),
        ],
    ),
    feature(
            "load_balancing",
            r#"
metadata: {name: load-balancing}
spec: {defaultBackend: {service: {name: echo-service, port: {number: 8080}}}}
"#,
            &["echo-service"],
            &[scenario(
                "a_backend_service_with_several_replicas_uses_all_of_them",
                &[Balanced { requests: 100, pods: 10 }],
            )],
        )
        .replicas(10),
    feature(
        "ingress_class",
        r#"
metadata: {name: test-ingress-class}
spec:
  ingressClassName: some-invalid-class-name
  rules:
  - host: ingress-class
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: ingress-class-prefix, port: {number: 8080}}}}]}
"#,
        &["ingress-class-prefix"],
        &[scenario(
            "an_invalid_ingress_class_does_not_send_traffic_to_the_matching_backend_service",
            &[NotExposed("http://ingress-class/")],
        )],
    ),
    feature(
        "with_host",
        r#"
metadata: {name: with-host}
spec:
  rules:
  - host: with-host
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: echo-service, port: {number: 8080}}}}]}
"#,
        &["echo-service"],
        &[scenario(
            "an_ingress_with_a_host_answers_for_that_host_alone",
            &[Echoed { method: "GET", host: "with-host", target: "/" }, Status("http://without/", 404)],
        )],
    ),
    feature(
        "without_host",
        r#"
metadata: {name: without-host}
spec:
  rules:
  - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: echo-service, port: {number: 8080}}}}]}
"#,
        &["echo-service"],
        &[scenario(
            "an_ingress_without_a_host_answers_for_any",
            &[
                Echoed { method: "GET", host: "any-host", target: "/" },
                Echoed { method: "GET", host: "", target: "/any" },
            ],
        )],
    ),
    feature(
        "controller_watch",
        r#"
metadata: {name: watched}
spec:
  rules:
  - host: before
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: echo-service, port: {number: 8080}}}}]}
"#,
        &["echo-service"],
        &[scenario(
            "an_ingress_is_served_as_it_was_changed_last_until_it_is_removed",
            &[
                Served("http://before/", "echo-service"),
                Rename { from: "before", to: "after" },
                Served("http://after/", "echo-service"),
                Status("http://before/", 404),
                Remove,
                Status("http://after/", 404),
            ],
        )],
    ),
];

impl Feature {
    /// What became of a scenario; plays the whole feature where nobody has.
    fn outcome(&self, scenario: &str) -> Result<(), String> {
        let played = self.played.get_or_init(|| self.play().map_err(|error| format!("{error:#}")));
        let outcomes = played.as_ref().map_err(Clone::clone)?;
        outcomes.get(scenario).cloned().unwrap_or_else(|| Err("it was not played".to_owned()))
    }

    fn play(&self) -> anyhow::Result<Outcomes> {
        let world = World::for_every_host()?.namespaced(&format!("conformance-{}", self.name));
        self.prepare(&world)?;
        let _alone = every_host();
        let address = world.ringress_address()?;
        world.apply(&format!("apiVersion: networking.k8s.io/v1\nkind: Ingress{}", self.ingress))?;
        if self.is_exposed() {
            world.until("the status shows where the Ingress is exposed", || {
                Ok(world.kubectl(&["get", "ingress"])?.contains(&address))
            })?;
        }
        let outcomes = self.scenarios.iter().map(|scenario| {
            let stage = Stage { world: &world, address: &address };
            let mut steps = scenario.steps.iter();
            let outcome = steps.try_for_each(|step| stage.take(step));
            (scenario.name, outcome.map_err(|error| format!("{error:#}")))
        });
        let outcomes = outcomes.collect();
        world.kubectl(&["delete", "ingress", "--all"])?;
        for host in ["conformance-is-over", "with-host", "exact-path-rules", "foo.bar.com"] {
            until_outcome(&world, &address, (host, "/foo"), "404")?;
        }
        Ok(outcomes)
    }

    fn is_exposed(&self) -> bool {
        let mut steps = self.scenarios.iter().flat_map(|scenario| scenario.steps);
        !steps.any(|step| matches!(step, NotExposed(_)))
    }

    fn prepare(&self, world: &World) -> anyhow::Result<()> {
        let service = |name: &&str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
                 spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8080, targetPort: 8080}}]}}\n---\n"
            )
        };
        world.apply(&self.services.iter().map(service).collect::<String>())?;
        world.backends()?;
        if self.replicas > 1 {
            let replicas = format!("--replicas={}", self.replicas);
            for service in self.services {
                world.kubectl(&["scale", &format!("deployment/{service}"), &replicas])?;
                world.until_rolled_out(&format!("deployment/{service}"))?;
            }
        }
        if let Some(host) = self.secured {
            create_secret(world, tempfile::tempdir()?.path(), "conformance-tls", &[host])?;
        }
        Ok(())
    }
}

/// Where a step is taken.
struct Stage<'s> {
    world: &'s World,
    address: &'s str,
}

impl Stage<'_> {
    fn take(&self, step: &Step) -> anyhow::Result<()> {
        match step {
            Served(url, service) => self.until(url, |answer| same_request(answer, url, service)),
            Secured(url, service) => self.secured(url, service),
            Status(url, status) => self.until(url, |answer| {
                ensure!(answer.status == *status, "{url} answers {}", answer.status);
                Ok(())
            }),
            Redirected(url, location) => self.until(url, |answer| {
                let found = answer.field("location").unwrap_or_default();
                ensure!(answer.status == 308 && found == *location, "{url}: {} {found}", answer.status);
                Ok(())
            }),
            Unannotated(ingress, annotation) => {
                self.world.kubectl(&["annotate", "ingress", ingress, &format!("{annotation}-")]).map(drop)
            }
            Echoed { method, host, target } => self.echoed(Question { method, host, target }),
            Balanced { requests, pods } => self.balanced(*requests, *pods),
            NotExposed(url) => self.not_exposed(url),
            Rename { from, to } => self.rename(from, to),
            Remove => self.world.kubectl(&["delete", "ingress", "--all"]).map(drop),
        }
    }

    /// Asks until the answer is right: an object takes its time to be live, once.
    fn until(&self, url: &str, check: impl Fn(&Answer) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let (host, target) = parts(url)?;
        self.world.until(url, || {
            check(&get(self.world, self.address, host, target)?)?;
            Ok(true)
        })
    }

    fn secured(&self, url: &str, service: &str) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = authority(self.world, folder.path(), "conformance-tls")?;
        self.world.until(url, || {
            same_request(&get_tls(self.world, self.address, url, Some(&file))?, url, service)?;
            Ok(true)
        })
    }

    fn echoed(&self, question: Question<'_>) -> anyhow::Result<()> {
        // A request without a host names the address.
        let host = if question.host.is_empty() { self.address } else { question.host };
        let question = Question { host, ..question };
        self.world.until(&format!("{question:?}"), || {
            let answer = ask(self.world, self.address, question)?;
            ensure!(answer.outcome() == "echo-service", "{}", answer.outcome());
            for field in ["Content-Length", "Content-Type", "Date", "Server"] {
                ensure!(answer.field(field).is_some_and(|value| !value.is_empty()), "no {field}: {answer:?}");
            }
            ensure!(answer.protocol() == "HTTP/1.1", "{answer:?}");
            let saw = |name: &str| answer.echoed(name);
            ensure!(saw("method") == question.method && saw("path") == question.target, "{answer:?}");
            ensure!(saw("host") == host && answer.received("user-agent") == "box/1", "{answer:?}");
            Ok(true)
        })
    }

    fn balanced(&self, requests: usize, pods: usize) -> anyhow::Result<()> {
        self.world.until("it is served", || {
            Ok(get(self.world, self.address, "load-balancing", "/")?.status == 200)
        })?;
        let mut failed = Vec::new();
        self.world.until("all pods answer", || {
            let answers = (0..requests).map(|_| get(self.world, self.address, "load-balancing", "/"));
            let answers = answers.collect::<anyhow::Result<Vec<_>>>()?;
            failed.extend(answers.iter().map(|answer| answer.status).filter(|status| *status != 200));
            let seen: BTreeSet<String> = answers.iter().map(|answer| answer.echoed("pod")).collect();
            ensure!(
                seen.len() == pods || !failed.is_empty(),
                "{requests} requests reached {} pods",
                seen.len()
            );
            Ok(true)
        })?;
        ensure!(failed.is_empty(), "not every answer is 200: {failed:?}");
        Ok(())
    }

    fn not_exposed(&self, url: &str) -> anyhow::Result<()> {
        let (host, target) = parts(url)?;
        // Served in the meantime, it says that this one was seen, too.
        self.world.apply(PROBE)?;
        until_outcome(self.world, self.address, ("probe-of-classes", "/"), "ingress-class-prefix")?;
        self.world.until("the probe shows its address", || {
            Ok(self.world.kubectl(&["get", "ingress", "probe"])?.contains(self.address))
        })?;
        let status = get(self.world, self.address, host, target)?.status;
        ensure!(status == 404, "{url} answers {status}");
        let ingress = self.world.get("ingress", "test-ingress-class")?;
        ensure!(ingress["status"]["loadBalancer"].get("ingress").is_none(), "{}", ingress["status"]);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let patch = format!(
            r#"[{{"op": "test", "path": "/spec/rules/0/host", "value": "{from}"}},
                {{"op": "replace", "path": "/spec/rules/0/host", "value": "{to}"}}]"#
        );
        self.world.kubectl(&["patch", "ingress", "watched", "--type=json", "-p", &patch]).map(drop)
    }
}

const PROBE: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: probe}
spec:
  rules:
  - host: probe-of-classes
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: ingress-class-prefix, port: {number: 8080}}}}]}
"#;

/// This Service answered and saw the host and path that were asked for.
fn same_request(answer: &Answer, url: &str, service: &str) -> anyhow::Result<()> {
    let (host, target) = parts(url)?;
    ensure!(answer.outcome() == service, "{url} is answered by {}", answer.outcome());
    ensure!(answer.echoed("host") == host && answer.echoed("path") == target, "{answer:?}");
    Ok(())
}

/// Host and target of a URL.
fn parts(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.split("://").nth(1).with_context(|| format!("{url} is no URL"))?;
    match rest.find('/') {
        Some(slash) => Ok(rest.split_at(slash)),
        None => bail!("{url} has no path"),
    }
}
