//! `lint` and `fmt`: what is wrong with manifests, and what their indentation was.

use super::{code, example, examples, folder, json, path, ringress, stderr, stdout};
use crate::support::manifest::{self, Ingress};
use crate::support::{Launch, Upstream, on_both_drivers};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
fn every_example_has_its_services_and_its_endpoints() {
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.filter(|name| !["README.md", "answers.txt"].contains(&&**name)).collect()
    };
    let with_endpoints = examples().join("with-endpoints");
    let mut alone = names(&examples());
    assert!(alone.remove("flattened") && alone.remove("with-endpoints"), "{alone:?}");
    assert_eq!(names(&with_endpoints), alone, "each example is there without endpoints and with them");
    for name in alone {
        let (plain, whole) = (examples().join(&name), with_endpoints.join(&name));
        for file in names(&plain) {
            let text = |folder: &Path| fs::read_to_string(folder.join(&file)).unwrap_or_default();
            assert_eq!(text(&whole), text(&plain), "{name}/{file} differs in with-endpoints");
        }
        let added: Vec<_> = names(&whole).difference(&names(&plain)).cloned().collect();
        assert!(
            added.iter().all(|file| ["endpoints.yaml", "class.yaml"].contains(&&**file)),
            "{name}: {added:?}"
        );
        let findings = json(&ringress(&["lint", whole.to_str().unwrap(), "-o", "json"]));
        let missing: Vec<_> = findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| {
                ["BackendNotFound", "PortNotFound", "NoReadyEndpoints"]
                    .contains(&finding["reason"].as_str().unwrap())
            })
            .collect();
        assert!(missing.is_empty(), "{name}: {missing:#?}");
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
        // What is said of all manifests stands in none of them.
        let placed = finding["file"].as_str().is_some_and(|file| std::path::Path::new(file).is_file())
            && finding["line"].as_u64().is_some_and(|line| line > 0);
        assert_eq!(placed, finding["object"]["kind"] != "Manifests", "{finding}");
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
fn lint_judges_an_ingress_without_a_class_as_if_it_were_ours() {
    let ingress = Ingress::simple("classless", "e.test", "nowhere").class(None).tls("e.test", Some("gone"));
    let files = folder(&[("all.yaml", &manifest::file(&[manifest::CLASS.to_owned(), ingress.yaml()]))]);
    let output = ringress(&["lint", path(&files), "-o", "json"]);
    assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    assert_eq!(rules(&json(&output)), ["no-class", "secret-missing", "service-missing"]);
}

/// A document that an API server refuses or that means something else than it seems to: rule, level, field, part of the
/// next step.
const WRONG: [(&str, &str, &str, &str, &str); 9] = [
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\n",
        "nothing-to-serve",
        "error",
        "spec",
        "spec.rules",
    ),
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\nspec: {}\n",
        "nothing-to-serve",
        "error",
        "spec.rules",
        "write",
    ),
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\nrules: []\n",
        "misplaced-field",
        "error",
        "rules",
        "below spec",
    ),
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\ntls: []\nspec: {rules: [{}]}\n",
        "misplaced-field",
        "error",
        "tls",
        "below spec",
    ),
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\nspec: {rules: [{hosts: [a.test]}]}\n",
        "undecodable",
        "error",
        "spec.rules[0].hosts",
        "it has host and http",
    ),
    (
        "kind: Ingres\napiVersion: networking.k8s.io/v1\nmetadata: {name: x}\n",
        "unknown-kind",
        "error",
        "kind",
        "did you mean Ingress",
    ),
    (
        "kind: secret\napiVersion: v1\nmetadata: {name: x}\n",
        "unknown-kind",
        "error",
        "kind",
        "did you mean Secret",
    ),
    (
        "kind: Ingress\napiVersion: extensions/v1beta1\nmetadata: {name: x}\n",
        "unknown-kind",
        "error",
        "apiVersion",
        "to networking.k8s.io/v1, give every path a pathType",
    ),
    (
        "kind: Ingress\napiVersion: networking.k8s.io/v1beta1\nmetadata: {name: x}\n",
        "unknown-kind",
        "error",
        "apiVersion",
        "to networking.k8s.io/v1, give every path a pathType",
    ),
];

#[test]
fn lint_refuses_what_an_api_server_refuses() {
    for (text, rule, level, field, part) in WRONG {
        let files = folder(&[("a.yaml", text)]);
        let output = ringress(&["lint", path(&files), "-o", "json", "--watch-ingress-without-class"]);
        assert_eq!(code(&output), Some(if level == "error" { 1 } else { 0 }), "{text}");
        let findings = json(&output);
        let found = findings.as_array().unwrap().iter().find(|finding| finding["rule"] == rule);
        let finding = found.unwrap_or_else(|| panic!("{text}: {findings:#}"));
        assert_eq!((&finding["level"], &finding["path"]), (&level.into(), &field.into()), "{text}");
        assert!(finding["message"].as_str().unwrap().contains(part), "{finding}");
    }
}

#[test]
fn lint_says_once_that_nothing_defines_endpoints() {
    let ingress = |name: &str| Ingress::simple(name, &format!("{name}.test"), name).yaml();
    let mut documents = vec![manifest::CLASS.to_owned()];
    documents.extend(["a", "b", "c"].map(ingress));
    documents.extend(["a", "b", "c"].map(manifest::service));
    let lint = |documents: &[String]| {
        let files = folder(&[("all.yaml", &manifest::file(documents))]);
        let output = ringress(&["lint", path(&files), "-o", "json"]);
        assert_eq!(code(&output), Some(0), "{}", stdout(&output));
        let findings = json(&output);
        let said = findings.as_array().unwrap().iter().map(|finding| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&finding["rule"]), text(&finding["level"]), text(&finding["object"]["name"]))
        });
        said.collect::<Vec<_>>()
    };
    let finding =
        |level: &str, name: &str| ("no-ready-endpoints".to_owned(), level.to_owned(), name.to_owned());
    assert_eq!(lint(&documents), [finding("info", "all")]);
    documents.push(manifest::endpoints("b", &["10.0.0.1:80".parse().unwrap()]));
    assert_eq!(lint(&documents), [finding("warning", "a"), finding("warning", "c")]);
}

#[test]
fn lint_reads_the_other_files_where_one_cannot_be_read() {
    let missing =
        manifest::file(&[manifest::CLASS.to_owned(), Ingress::simple("a", "a.test", "nowhere").yaml()]);
    let files = folder(&[("good.yaml", &missing)]);
    let at = |name: &str| files.path().join(name);
    fs::write(at("latin.yaml"), b"# caf\xe9\n").unwrap();
    fs::create_dir(at("folder.yaml")).unwrap();
    symlink("nowhere", at("link.yaml")).unwrap();
    let output = ringress(&["lint", path(&files), "-o", "json"]);
    assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    let findings = json(&output);
    let said = findings.as_array().unwrap().iter().map(|finding| {
        let file = finding["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (file, finding["level"].as_str().unwrap(), finding["rule"].as_str().unwrap())
    });
    let expected = [
        ("folder.yaml", "error", "undecodable"),
        ("good.yaml", "error", "service-missing"),
        ("latin.yaml", "error", "undecodable"),
        ("link.yaml", "error", "undecodable"),
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected.map(|(file, level, rule)| (file.to_owned(), level, rule)));
    assert!(findings.to_string().contains("UTF-8"), "{findings:#}");
}

#[test]
fn lint_and_fmt_take_at_most_16_mib_from_stdin() {
    let large = vec![b'#'; 17 * 1024 * 1024];
    for verb in ["lint", "fmt"] {
        let refused = piped(&[verb, "-"], &large);
        assert_eq!(code(&refused), Some(2), "{verb}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("16 MiB") && stdout(&refused).is_empty(), "{}", stderr(&refused));
        assert_eq!(code(&piped(&[verb, "-"], &large[..1024])), Some(0), "{verb}");
    }
}

#[test]
fn lint_says_what_decided_between_two_that_claim_the_same() {
    let claims = |first: Ingress, second: Ingress| {
        let files = folder(&[(
            "all.yaml",
            &manifest::file(&[manifest::CLASS.to_owned(), first.yaml(), second.yaml()]),
        )]);
        stdout(&ringress(&["lint", path(&files)]))
    };
    let ingress = |name: &str| Ingress::simple(name, "a.test", "web");
    let (old, young) = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let by_age = claims(ingress("a").created(young), ingress("b").created(old));
    assert!(by_age.contains("Ingress default/b spec.rules[0].http.paths[0]: it is older"), "{by_age}");
    for (a, b) in
        [(ingress("a").created(old), ingress("b").created(old)), (ingress("a").created(young), ingress("b"))]
    {
        let by_name = claims(a, b);
        assert!(
            by_name.contains("Ingress default/a spec.rules[0].http.paths[0]: its name comes first"),
            "{by_name}"
        );
        assert!(!by_name.contains("is older)") || by_name.contains("neither is older"), "{by_name}");
    }
}

#[test]
fn lint_counts_verified_endpoints_and_forced_redirects_among_the_protections() {
    let prefix = "nginx.ingress.kubernetes.io";
    for (key, value, tls, expected) in [
        ("proxy-ssl-verify", "on", false, "error"),
        ("proxy-ssl-verify", "off", false, "info"),
        ("force-ssl-redirect", "true", false, "error"),
        ("force-ssl-redirect", "true", true, "info"),
        ("force-ssl-redirect", "false", false, "info"),
    ] {
        let ingress = Ingress::simple("a", "a.test", "web").annotation(&format!("{prefix}/{key}"), value);
        let ingress = if tls { ingress.tls("a.test", None) } else { ingress };
        let documents = [manifest::CLASS.to_owned(), ingress.yaml(), manifest::service("web")];
        let files = folder(&[("all.yaml", &manifest::file(&documents))]);
        let output = ringress(&["lint", path(&files), "-o", "json"]);
        let findings = json(&output);
        let found =
            findings.as_array().unwrap().iter().find(|finding| finding["rule"] == "unsupported-annotation");
        assert_eq!(found.unwrap()["level"], expected, "{key}: {value}: {findings:#}");
        assert_eq!(code(&output), Some(i32::from(expected == "error")));
    }
}

fn rules(findings: &Value) -> Vec<&str> {
    let mut rules: Vec<_> =
        findings.as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect();
    rules.sort_unstable();
    rules
}

/// Runs a verb to its end with that on stdin.
fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that has read enough closes its end.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
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

#[test]
fn fmt_writes_in_place_and_refuses_what_it_does_not_understand() {
    let flattened = fs::read_to_string(examples().join("flattened/000-app-ingress.yaml")).unwrap();
    let page =
        format!("{flattened}This means requests for example.com should be sent to web-service on port 80.\n");
    let other = "kind: Ingress\n  metadata: [";
    let files = folder(&[("a.yaml", &flattened), ("page.yaml", &page), ("other.yaml", other)]);
    let fmt = |name: &str| {
        let file = files.path().join(name);
        let output = ringress(&["fmt", "-w", file.to_str().unwrap()]);
        (code(&output), stderr(&output), fs::read_to_string(&file).unwrap())
    };
    let (good, _, restored) = fmt("a.yaml");
    assert_eq!(good, Some(0));
    assert!(restored.contains("  name: app-ingress\n"));
    let (refused, told, untouched) = fmt("page.yaml");
    assert_eq!((refused, untouched), (Some(1), page.clone()), "what fits nowhere is not guessed");
    assert!(told.contains("page.yaml") && told.contains(&format!("line {}", page.lines().count())), "{told}");
    let (refused, told, untouched) = fmt("other.yaml");
    assert_eq!((refused, &*untouched), (Some(1), other), "what is no YAML is not made any");
    assert!(told.contains("other.yaml: line 2: "), "{told}");
}

#[test]
fn fmt_takes_a_margin_away() {
    let flattened = fs::read_to_string(examples().join("flattened/000-app-ingress.yaml")).unwrap();
    let restored = stdout(&ringress(&["fmt", &example("flattened/000-app-ingress.yaml")]));
    let margined = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let two = format!("{restored}---\n{}", restored.replace("app-ingress", "other"));
    for (text, expected) in [
        (margined(&flattened), &restored),
        (margined(&flattened).trim_start().to_owned(), &restored),
        (margined(&restored).trim_start().to_owned(), &restored),
        (margined(&two), &two),
    ] {
        let files = folder(&[("a.yaml", &text)]);
        let findings = json(&ringress(&["lint", path(&files), "-o", "json"]));
        assert_eq!(rules(&findings), ["flattened-yaml"], "{text}");
        assert!(findings[0]["message"].as_str().unwrap().contains("run ringress fmt"), "{findings:#}");
        let output = piped(&["fmt", "-"], text.as_bytes());
        assert_eq!((code(&output), &stdout(&output)), (Some(0), expected), "{text}{}", stderr(&output));
    }
}

#[test]
fn fmt_prints_nothing_where_it_cannot_repair() {
    let good = "kind: Service\nmetadata:\n  name: a\n";
    for (text, line) in [
        ("kind: Ingress\nmetadata: [\n", "line "),
        ("kind: Service\nmetadata:\n\tname: a\n", "line 3: "),
        ("kind: Service\nmetadata: {name: a}\nmetadata: {name: b}\n", "line 3: "),
        ("kind: Service\nmetadata:\nname: a\nThis is a Service.\n", "line 4: "),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\nname: a\n", "line 4: "),
        ("kind: Service\nmetadata:\nname: a\nspec:\n  ports:\n", "line 3: "),
    ] {
        let files = folder(&[("broken.yaml", text), ("good.yaml", good)]);
        let name = |name: &str| files.path().join(name).display().to_string();
        for arguments in
            [vec!["fmt", &name("broken.yaml")], vec!["fmt", &name("good.yaml"), &name("broken.yaml")]]
        {
            let output = ringress(&arguments);
            assert_eq!((code(&output), &*stdout(&output)), (Some(1), ""), "{text}");
            let told = stderr(&output);
            assert!(told.contains(&format!("broken.yaml: {line}")), "{text}: {told}");
        }
        let output = ringress(&["fmt", "-w", &name("broken.yaml"), &name("good.yaml")]);
        assert_eq!(code(&output), Some(1), "{text}");
        assert_eq!(fs::read_to_string(name("broken.yaml")).unwrap(), text);
    }
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
