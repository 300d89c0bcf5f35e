//! Protections that cannot be applied: what their objects were written for is closed, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use ringress_shared::route::{Lookup, NoTrace, RequestView, Rule, Scratch, normalise};
use ringress_translate::manifest::parse;
use ringress_translate::{LastGood, Memo, Objects, Settings, Translation, translate};

struct Get;

impl RequestView for Get {
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn header(&self, _name: &str) -> Option<&[u8]> {
        None
    }
    fn query(&self) -> Option<&[u8]> {
        None
    }
}

/// An older object has `/` and some longer paths of a host; a younger one, which asks for basic authentication, one more.
fn world(path: &str, path_type: &str, annotation: &str) -> Translation {
    let backend = "backend: {service: {name: web, port: {number: 80}}}";
    let text = format!(
        r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: ringress}}
spec: {{controller: ringress.dev/ingress-controller}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: open, namespace: n, creationTimestamp: "2026-01-01T00:00:00Z"}}
spec:
  ingressClassName: ringress
  rules:
  - host: h.test
    http:
      paths:
      - {{path: /, pathType: Prefix, {backend}}}
      - {{path: /admin/pub, pathType: Prefix, {backend}}}
      - {{path: /admin/public/files, pathType: Prefix, {backend}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: protected
  namespace: n
  creationTimestamp: "2026-02-01T00:00:00Z"
  annotations: {{nginx.ingress.kubernetes.io/auth-type: basic{annotation}}}
spec:
  ingressClassName: ringress
  rules:
  - host: h.test
    http: {{paths: [{{path: '{path}', pathType: {path_type}, {backend}}}]}}
"#
    );
    let read = parse("t", &text);
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let mut objects = Objects::default();
    read.documents.into_iter().for_each(|document| assert!(objects.insert(document.object)));
    translate(&objects, &Settings::default(), &LastGood::default(), &mut Memo::default())
}

/// Path, its type, a further annotation, what is closed, what stays with the older object.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

#[test]
fn paths_that_may_be_expressions_close_what_they_meant() {
    let regex = ", nginx.ingress.kubernetes.io/use-regex: \"true\"";
    let rewrite = ", nginx.ingress.kubernetes.io/rewrite-target: /$2";
    let specific = "ImplementationSpecific";
    let rows: &[Row] = &[
        ("/admin(/|$)(.*)", specific, regex, &["/admin", "/admin/x", "/ADMIN/x"], &["/", "/administrator"]),
        // Of prefixes, those with as long a text stay with their owner.
        (
            "/admin(/|$)(.*)",
            specific,
            regex,
            &["/admin/pub/x"],
            &["/admin/public/files", "/admin/public/files/x"],
        ),
        ("/admin.*", specific, regex, &["/admin", "/adminx", "/admin/x"], &["/", "/admin/pub", "/x"]),
        ("/admin$", "Prefix", regex, &["/admin", "/admin$"], &["/admin/x", "/adminx"]),
        ("/(admin|root)/.*", "Prefix", regex, &["/admin/x", "/root/x"], &["/", "/other/x", "/admin"]),
        ("/a{2}/b", specific, regex, &["/aa/b"], &["/a/b"]),
        ("/colou?r", specific, regex, &["/color", "/colour/x"], &["/", "/x"]),
        ("^/rooted", specific, regex, &["/rooted", "/rootedx"], &["/x"]),
        ("/secure", "Prefix", "", &["/secure", "/secure/x"], &["/secure2", "/SECURE"]),
        ("/secure", "Prefix", regex, &["/secure/x", "/secure2", "/SECURE"], &["/", "/insecure"]),
        ("/secure", "Exact", regex, &["/secure", "/secure2"], &["/insecure"]),
        ("/v1.0", specific, rewrite, &["/v1.0", "/v1x0/y"], &["/", "/v10"]),
        // Where nothing says that it is one, a path is a text, to ingress-nginx as well.
        ("/.*", specific, "", &["/.*"], &["/", "/x"]),
        // An older owner of the same text keeps it, and all that it means.
        ("/", "Prefix", rewrite, &[], &["/", "/x"]),
        ("/admin/pub", "Prefix", regex, &[], &["/admin/pub", "/admin/public"]),
        // Of what only backtracking engines know, or what costs too much, the literal beginning is closed.
        ("/keep/(?!public)(.*)", specific, regex, &["/keep/x", "/keep/public"], &["/kee", "/"]),
        ("/back(a)\\1", specific, regex, &["/backaa", "/back"], &["/bac"]),
        ("/dear.x*(", specific, regex, &["/dear.x*("], &["/dearly"]),
        ("/big(a{1000}){1000}", specific, regex, &["/big", "/bigger"], &["/bi"]),
    ];
    for (path, path_type, annotation, closed, open) in rows {
        let translation = world(path, path_type, annotation);
        let table = support::routes(&translation);
        let owner = |asked: &str| {
            let asked = normalise(asked.as_bytes()).unwrap();
            match table.find("h.test", &asked, &Get, &mut Scratch::default(), &mut NoTrace) {
                Lookup::Found(found) => found.rule.origin.object.name.to_string(),
                other => panic!("{other:?}"),
            }
        };
        for (asked, expected) in
            closed.iter().map(|asked| (asked, "protected")).chain(open.iter().map(|asked| (asked, "open")))
        {
            assert_eq!(owner(asked), expected, "{path} {path_type}{annotation}: {asked}");
        }
        let is_open =
            |rule: &Rule| &*rule.origin.object.name == "protected" && rule.policies.denied.is_none();
        assert!(!table.rules().any(|rule| is_open(rule)), "{path}");
    }
}
