//! One question and one answer at a time; that all of them agree is a law of its own (`laws`).

use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Memo, Settings, Translation, translate};

use super::super::explanation::{Checked, State};
use super::*;

const WEB: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web-abc}}]
ports: [{name: http, port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {ports: [{port: 80}]}
";

/// An Ingress `main` with one path for each `(host, path, service, port)`, and what stands under `spec.tls`.
fn ingress(paths: &[(&str, &str, &str, u16)], tls: &str) -> String {
    let rule = |(host, path, service, port): &(&str, &str, &str, u16)| {
        format!(
            "  - host: {host}\n    http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: {port}}}}}}}}}]}}\n"
        )
    };
    let rules: String = paths.iter().map(rule).collect();
    format!(
        "{WEB}---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: main}}\nspec:\n  tls: {tls}\n  rules:\n{rules}"
    )
}

fn translated(text: &str, last_good: &LastGood) -> Translation {
    let settings =
        Settings { watch_ingress_without_class: true, allow_loopback_endpoints: true, ..Settings::default() };
    let loaded = Folder::new().update([("a.yaml".to_owned(), text.into())].into());
    translate(&loaded.objects, &settings, last_good, &mut Memo::default())
}

fn ask_of(translation: &Translation, url: &str, headers: &[(&str, &str)]) -> Explanation {
    let world = World {
        parts: &translation.parts,
        claims: &translation.claims,
        problems: &translation.problems.iter().cloned().collect::<Vec<_>>(),
        endpoints_known: true,
        generation: None,
        place: &|_| Place::default(),
    };
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let whole = Question { url: url.to_owned(), method: "GET".to_owned(), headers, is_brief: false };
    let explanation = explain(&world, &whole).unwrap();
    let (checklist, losers, problems) = (Vec::new(), Vec::new(), Vec::new());
    let expected = Explanation { checklist, losers, problems, ..explanation.clone() };
    let brief = explain(&world, &Question { is_brief: true, ..whole }).unwrap();
    assert_eq!(brief, expected, "the same, without the reasons");
    explanation
}

fn ask(text: &str, url: &str) -> Explanation {
    ask_of(&translated(text, &LastGood::default()), url, &[])
}

fn failed(explanation: &Explanation) -> Option<Checked> {
    let mut failed = explanation.checklist.iter().filter(|check| check.state == State::Failed);
    failed.next().map(|check| check.check)
}

#[test]
fn a_routed_request_names_its_endpoint_and_what_it_receives() {
    let text = ingress(&[("a.test", "/x", "web", 80)], "[]");
    let explanation = ask(&text, "http://A.test:8080/x/y?z=1");
    assert!(explanation.routed);
    assert_eq!((&*explanation.host, &*explanation.path), ("a.test", "/x/y"));
    let endpoint = &explanation.backends[0].endpoints[0];
    assert_eq!((&*endpoint.address, endpoint.target.as_deref()), ("127.0.0.1:9000", Some("web-abc")));
    let request = explanation.upstream_request.unwrap();
    assert!(request.starts_with("GET /x/y?z=1 HTTP/1.1\r\nHost: A.test:8080\r\n"), "{request}");
    assert!(request.contains("X-Forwarded-Proto: http\r\n"), "{request}");
}

#[test]
fn a_host_under_tls_is_explained_by_the_rules_that_it_borrows() {
    let text = ingress(&[("''", "/x", "web", 80), ("''", "/x/long", "web", 80)], "[{hosts: [a.test]}]");
    let explanation = ask(&text, "http://a.test/x/long");
    assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), Some(308));
    let winner = explanation.winner.as_ref().unwrap();
    assert_eq!((&*winner.host, &*winner.field), ("*", "spec.rules[1].http.paths[0]"));
    assert_eq!(explanation.losers[0].check, Checked::Precedence, "{:?}", explanation.losers);
    assert_eq!(failed(&ask(&text, "http://a.test/y")), Some(Checked::Path));
    assert_eq!(ask(&text, "http://b.test/x").answer, None);
}

#[test]
fn the_first_check_that_fails_is_the_reason() {
    let text = ingress(
        &[
            ("a.test", "/web", "web", 80),
            ("a.test", "/gone", "gone", 80),
            ("a.test", "/port", "web", 81),
            ("a.test", "/empty", "empty", 80),
        ],
        "[]",
    );
    for (url, status, check) in [
        ("http://b.test/", 404, Checked::Host),
        ("http://a.test/other", 404, Checked::Path),
        ("http://a.test/gone", 503, Checked::Service),
        ("http://a.test/port", 503, Checked::Port),
        ("http://a.test/empty", 503, Checked::Endpoints),
    ] {
        let explanation = ask(&text, url);
        assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), Some(status), "{url}");
        assert_eq!(failed(&explanation), Some(check), "{url}");
        assert!(!explanation.routed, "{url}");
        assert_eq!(explanation.upstream_request, None, "{url}");
    }
}

#[test]
fn a_policy_that_answers_is_the_reason_before_a_backend_that_is_missing() {
    let text = ingress(&[("a.test", "/gone", "gone", 80)], "[]").replace(
        "metadata: {name: main}",
        "metadata: {name: main, annotations: {nginx.ingress.kubernetes.io/auth-url: http://auth/}}",
    );
    let explanation = ask(&text, "http://a.test/gone");
    let answer = explanation.answer.as_ref().unwrap();
    assert_eq!((answer.status, answer.policy.as_deref()), (503, Some("denied")));
    assert_eq!(failed(&explanation), Some(Checked::Service), "that is wrong, too");
    let shown = super::super::text::render(&explanation, crate::terminal::Style::plain());
    assert!(shown.contains(&format!("verdict  503: {}\n", answer.message)), "{shown}");
    let unprotected = ask(&ingress(&[("a.test", "/gone", "gone", 80)], "[]"), "http://a.test/gone");
    assert_eq!(unprotected.answer.unwrap().policy, None);
}

#[test]
fn a_class_of_others_is_the_reason_for_a_404() {
    let text = ingress(&[("a.test", "/", "web", 80)], "[]")
        .replace("spec:\n  tls", "spec:\n  ingressClassName: nginx\n  tls");
    let explanation = ask(&text, "http://a.test/");
    assert_eq!(failed(&explanation), Some(Checked::Class));
    assert_eq!(explanation.losers[0].check, Checked::Class);
    assert!(explanation.losers[0].why.contains("nginx"), "{:?}", explanation.losers);
}

#[test]
fn a_redirect_counts_as_routed_and_says_where_to() {
    let text = ingress(&[("a.test", "/", "web", 80)], "[{hosts: [a.test]}]");
    let explanation = ask(&text, "http://a.test/x?y");
    let answer = explanation.answer.as_ref().unwrap();
    assert_eq!((answer.status, answer.location.as_deref()), (308, Some("https://a.test/x?y")));
    assert!(explanation.routed);
    assert_eq!(explanation.policies[0].policy, "https-redirect");
    assert_eq!(explanation.upstream_request, None);
}

#[test]
fn what_a_shard_refuses_is_refused_with_its_words() {
    let text = ingress(&[("a.test", "/", "web", 80), ("a.test", "/admin", "web", 80)], "[]");
    let translation = translated(&text, &LastGood::default());
    for (url, headers, status) in [
        ("http://a.test/%00", &[][..], 400),
        ("http://a.test/..", &[], 400),
        ("http://a.test/admin%2fx", &[], 400),
        ("http://a_b.test\u{e9}/", &[], 400),
        ("http://a.test/", &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")], 400),
        ("http://a.test/", &[("Transfer-Encoding", "gzip, chunked")], 501),
    ] {
        let explanation = ask_of(&translation, url, headers);
        assert_eq!(explanation.answer.map(|answer| answer.status), Some(status), "{url} {headers:?}");
        assert!(!explanation.routed, "{url}");
    }
}

#[test]
fn an_ambiguous_slash_fails_at_the_path() {
    let text = ingress(&[("a.test", "/", "web", 80), ("a.test", "/admin", "web", 80)], "[]");
    let explanation = ask(&text, "http://a.test/admin%2fx");
    assert_eq!(failed(&explanation), Some(Checked::Path));
    let [host, path, ..] = &explanation.checklist[..] else { panic!("{:?}", explanation.checklist) };
    assert_eq!((host.state, &*path.says), (State::Ok, AMBIGUOUS));
    assert!(explanation.losers.iter().all(|loser| loser.why != "another rule comes first"));
}

#[test]
fn empty_elements_that_lead_to_a_closed_rule_are_said() {
    let protected = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: protected, annotations: \
                     {nginx.ingress.kubernetes.io/auth-url: http://auth/}}\nspec: {rules: [{host: a.test, http: {paths: \
                     [{path: /admin, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n";
    let translation =
        translated(&(ingress(&[("a.test", "/", "web", 80)], "[]") + protected), &LastGood::default());
    for (path, winner, status) in
        [("//admin/x", "protected", Some(503)), ("/%2fadmin", "protected", Some(503)), ("//x", "main", None)]
    {
        let explanation = ask_of(&translation, &format!("http://a.test{path}"), &[]);
        assert_eq!(explanation.winner.as_ref().unwrap().object.name, winner, "{path}");
        assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), status, "{path}");
        let says = &explanation.checklist[1].says;
        assert_eq!(says.contains("whoever merges slashes"), status.is_some(), "{says}");
    }
}

#[test]
fn a_rule_of_the_last_good_version_wins_and_the_wrong_version_says_so() {
    let good = ingress(&[("a.test", "/", "web", 80)], "[]");
    let before = translated(&good, &LastGood::default());
    let after = translated(&good.replace("pathType: Prefix", "pathType: Wrong"), &before.last_good);
    let explanation = ask_of(&after, "http://a.test/", &[]);
    assert!(explanation.routed, "{explanation:?}");
    let loser = &explanation.losers[0];
    assert!(loser.why.contains("Wrong"), "{loser:?}");
}

#[test]
fn nothing_listens_where_a_port_is_off() {
    let settings = Settings { https: None, ..Settings::default() };
    let translation = translate(&Default::default(), &settings, &LastGood::default(), &mut Memo::default());
    let explanation = ask_of(&translation, "https://a.test/", &[]);
    assert_eq!(explanation.answer.unwrap().message, "nothing listens for https");
}
