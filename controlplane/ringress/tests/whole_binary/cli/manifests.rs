//! `lint` and `fmt`: what is wrong with manifests, and what their indentation was.

use super::{code, example, examples, folder, json, path, ringress, stderr, stdout};
use crate::support::manifest::{self, Ingress};
use crate::support::{Launch, Upstream, on_both_drivers};
use std::fs;

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
    assert_eq!(fmt("other.yaml").2, other, "what did not lose its indentation stays as it is");
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
