//! Protections that cannot be applied: what their objects were written for is closed, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use ringress_shared::route::{BareGet, Lookup, NoTrace, RouteTable, Rule, Scratch, normalise};
use ringress_translate::manifest::parse;
use ringress_translate::{LastGood, Memo, Objects, Settings, Translation, translate};

const NGINX: &str = "nginx.ingress.kubernetes.io";

/// An Ingress, of host `h.test` where nothing else is said, as YAML: the first ones are the oldest.
struct Object<'o> {
    name: &'o str,
    host: &'o str,
    namespace: &'o str,
    annotations: String,
    /// Paths with their types.
    paths: Vec<(String, &'o str)>,
}

impl<'o> Object<'o> {
    fn new(name: &'o str, annotations: &[(&str, &str)], paths: &[(&str, &'o str)]) -> Self {
        let annotations: Vec<_> =
            annotations.iter().map(|(key, value)| format!("{NGINX}/{key}: '{value}'")).collect();
        let paths = paths.iter().map(|(path, path_type)| ((*path).to_owned(), *path_type)).collect();
        Self { name, host: "h.test", namespace: "n", annotations: annotations.join(", "), paths }
    }

    fn yaml(&self, number: usize) -> String {
        let Self { name, host, namespace, annotations, paths } = self;
        let backend = "backend: {service: {name: web, port: {number: 80}}}";
        let path = |(path, path_type): &(String, &str)| {
            format!("      - {{path: '{path}', pathType: {path_type}, {backend}}}\n")
        };
        let paths: String = paths.iter().map(path).collect();
        format!(
            r#"---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: {namespace}
  creationTimestamp: "2026-01-{day:02}T00:00:00Z"
  annotations: {{{annotations}}}
spec:
  ingressClassName: ringress
  rules:
  - host: '{host}'
    http:
      paths:
{paths}"#,
            day = number + 1
        )
    }
}

fn world(objects: &[Object<'_>]) -> Translation {
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ringress}\n\
                 spec: {controller: ringress.dev/ingress-controller}\n";
    let ingresses = objects.iter().enumerate().map(|(number, object)| object.yaml(number));
    let text: String = std::iter::once(class.to_owned()).chain(ingresses).collect();
    let read = parse("t", &text);
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let mut objects = Objects::default();
    read.documents.into_iter().for_each(|document| assert!(objects.insert(document.object)));
    translate(&objects, &Settings::default(), &LastGood::default(), &mut Memo::default())
}

/// The rule that takes a path of `h.test`.
fn rule_of<'t>(table: &'t RouteTable, asked: &str) -> &'t Rule {
    rule_at(table, "h.test", asked)
}

fn rule_at<'t>(table: &'t RouteTable, host: &str, asked: &str) -> &'t Rule {
    let path = normalise(asked.as_bytes()).unwrap();
    match table.find(host, &path, &BareGet, &mut Scratch::default(), &mut NoTrace) {
        Lookup::Found(found) => found.rule,
        other => panic!("{host}{asked}: {other:?}"),
    }
}

/// Of whom the rules of some paths are, and whether they are closed.
fn check(table: &RouteTable, paths: &[&str], owner: &str, is_closed: bool, context: &str) {
    for asked in paths {
        let rule = rule_of(table, asked);
        let got = (&*rule.origin.object.name, rule.policies.denied.is_some());
        assert_eq!(got, (owner, is_closed), "{context}: {asked}");
    }
}

fn messages(translation: &Translation, name: &str, lint: &str) -> Vec<String> {
    let problems = translation.problems.iter();
    let of = problems.filter(|problem| &*problem.object.name == name && problem.rule == lint);
    of.map(|problem| problem.message.clone()).collect()
}

const OPEN: &[(&str, &str)] = &[
    ("/", "Prefix"),
    ("/admin/pub", "Prefix"),
    ("/admin/public/files", "Prefix"),
    ("/admin/exact", "Exact"),
];

/// Path, its type, a further annotation, what is closed, what stays with the older object.
type Row = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn paths_that_may_be_expressions_close_what_they_meant() {
    let regex = Some(("use-regex", "true"));
    let rewrite = Some(("rewrite-target", "/$2"));
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
        ("/secure", "Prefix", None, &["/secure", "/secure/x"], &["/secure2", "/SECURE"]),
        ("/secure", "Prefix", regex, &["/secure/x", "/secure2", "/SECURE"], &["/", "/insecure"]),
        ("/secure", "Exact", regex, &["/secure", "/secure2"], &["/insecure"]),
        ("/v1.0", specific, rewrite, &["/v1.0", "/v1x0/y"], &["/", "/v10"]),
        // What is specific to ingress-nginx: a text that requests begin with.
        ("/secure", specific, None, &["/secure", "/secure/x", "/secureX"], &["/SECURE", "/insecure"]),
        ("/secure/", specific, None, &["/secure/x"], &["/secureX"]),
        ("/a.b", specific, None, &["/a.b", "/a.bc"], &["/axbc"]),
        ("/admin/p", specific, None, &["/admin/px"], &["/admin/pub", "/admin/public/files"]),
        // Where nothing says that it is one, a path is a text, to ingress-nginx as well.
        ("/.*", specific, None, &["/.*"], &["/", "/x"]),
        // An older owner of the same text keeps it, and all that it means.
        ("/", "Prefix", rewrite, &[], &["/", "/x"]),
        ("/admin/pub", "Prefix", regex, &[], &["/admin/pub", "/admin/public"]),
        // Of what only backtracking engines know, or what costs too much, the literal beginning is closed.
        ("/keep/(?!public)(.*)", specific, regex, &["/keep/x", "/keep/public"], &["/kee", "/"]),
        ("/back(a)\\1", specific, regex, &["/backaa", "/back"], &["/bac"]),
        ("/dear.x*(", specific, regex, &["/dear.x*(", "/dearly"], &["/dea"]),
        // It counts as long as the text that it stands for.
        (
            "/admin/pub(?!x)(.*)",
            specific,
            regex,
            &["/admin/pub/x", "/admin/public"],
            &["/admin/public/files"],
        ),
        ("/admin/e(.*)", specific, regex, &["/admin/else"], &["/admin/exact"]),
        ("/admin/ex(/|$)?(.*)", specific, regex, &["/admin/exact", "/admin/ex"], &["/admin/e"]),
        ("/big(a{1000}){1000}", specific, regex, &["/big", "/bigger"], &["/bi"]),
    ];
    for (path, path_type, annotation, closed, open) in rows {
        let mut annotations = vec![("auth-type", "basic")];
        annotations.extend(annotation);
        let objects =
            [Object::new("open", &[], OPEN), Object::new("protected", &annotations, &[(path, path_type)])];
        let table = support::routes(&world(&objects));
        let context = format!("{path} {path_type} {annotation:?}");
        check(&table, closed, "protected", true, &context);
        check(&table, open, "open", false, &context);
        let is_open =
            |rule: &Rule| &*rule.origin.object.name == "protected" && rule.policies.denied.is_none();
        assert!(!table.rules().any(|rule| is_open(rule)), "{path}");
    }
}

#[test]
fn a_path_of_two_types_closes_what_either_means() {
    let both = [("/secure", "Prefix"), ("/secure", "ImplementationSpecific")];
    let protected = Object::new("protected", &[("auth-type", "basic")], &both);
    let table = support::routes(&world(&[Object::new("open", &[], OPEN), protected]));
    check(&table, &["/secure", "/secure/x", "/secureX"], "protected", true, "of two types");
}

#[test]
fn what_stands_in_for_a_wrong_path_yields_to_the_path_itself() {
    let wrong = |path: &str| Object {
        namespace: "other",
        paths: vec![(path.to_owned(), "Prefix")],
        ..Object::new("wrong", &[("whitelist-source-range", "192.0.2.0/24")], &[])
    };
    for path in ["relative", "/adm//in", "/sp ace"] {
        let table = support::routes(&world(&[wrong(path), Object::new("open", &[], OPEN)]));
        check(&table, &["/", "/x", "/sp", "/space", "/admin/pub"], "open", false, path);
    }
    let table = support::routes(&world(&[wrong("/sp ace"), Object::new("open", &[], OPEN)]));
    check(&table, &["/sp%20ace", "/sp%20ace/x"], "wrong", true, "what can be read of it is closed");
    let table = support::routes(&world(&[wrong("relative")]));
    check(&table, &["/", "/x"], "wrong", true, "where nobody has the path it is closed");
}

#[test]
fn plain_paths_beside_expressions_of_another_object_close_what_they_meant() {
    let regex = ("use-regex", "true");
    let rewrite = ("rewrite-target", "/$2");
    let specific = "ImplementationSpecific";
    let rows: &[Row] = &[
        ("/secure", "Prefix", Some(regex), &["/secure/x", "/secureX", "/SECURE"], &["/", "/insecure"]),
        ("/secure", "Exact", Some(regex), &["/secure", "/secure/x", "/SECURE"], &["/", "/insecure"]),
        ("/secure", specific, Some(rewrite), &["/secure2", "/Secure/x"], &["/"]),
        ("/admin(/|$)(.*)", specific, Some(regex), &["/admin", "/ADMIN/x"], &["/administrator"]),
        // What stays with its owner is the same as in an object with an expression of its own.
        ("/admin", "Prefix", Some(regex), &["/adminx", "/Admin/x"], &["/admin/pub/x", "/admin/exact"]),
        ("/", "Prefix", Some(regex), &[], &["/", "/x"]),
        ("/admin/pub", "Prefix", Some(regex), &[], &["/admin/pub", "/admin/public"]),
        // These put no host into regex mode.
        ("/secure", "Prefix", None, &["/secure/x"], &["/secureX", "/SECURE"]),
        ("/secure", "Prefix", Some(("use-regex", "false")), &["/secure/x"], &["/secureX", "/SECURE"]),
        ("/secure", "Prefix", Some(("rewrite-target", "")), &["/secure/x"], &["/secureX", "/SECURE"]),
    ];
    for (path, path_type, annotation, closed, open) in rows {
        let annotations: Vec<_> = annotation.iter().copied().collect();
        for namespace in ["n", "other"] {
            let objects = [
                Object { namespace, ..Object::new("open", &annotations, OPEN) },
                Object::new("protected", &[("auth-type", "basic")], &[(path, path_type)]),
            ];
            let table = support::routes(&world(&objects));
            let context = format!("{path} {path_type} {annotation:?} of {namespace}");
            check(&table, closed, "protected", true, &context);
            check(&table, open, "open", false, &context);
        }
    }
}

#[test]
fn a_rewrite_of_a_path_to_itself_changes_nothing() {
    let itself = [("rewrite-target", "/")];
    let protected = || Object::new("protected", &[("auth-type", "basic")], &[("/secure", "Prefix")]);
    let table = support::routes(&world(&[Object::new("open", &itself, &[("/", "Prefix")]), protected()]));
    check(&table, &["/SECURE", "/secureX"], "open", false, "to itself");
    let two = [("/", "Prefix"), ("/api", "Prefix")];
    let table = support::routes(&world(&[Object::new("open", &itself, &two), protected()]));
    check(&table, &["/SECURE", "/secureX"], "protected", true, "of another path");
}

#[test]
fn claims_and_findings_of_plain_paths_follow_the_other_object() {
    let closed = |annotations: &[(&str, &str)]| {
        let objects = [
            Object::new("open", annotations, OPEN),
            Object::new("protected", &[("auth-type", "basic")], &[("/secure", "Prefix")]),
        ];
        let translation = world(&objects);
        let claims = translation.claims.iter().filter(|claim| &*claim.origin.object.name == "protected");
        claims.map(|claim| claim.path.as_ref().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(closed(&[]), ["/secure (Prefix)"]);
    assert_eq!(closed(&[("use-regex", "true")]), ["/secure (Prefix)", "^/secure (regular expression)"]);
}

#[test]
fn too_many_expressions_are_closed_together_and_said() {
    let numbered = |number: usize| format!("/api/v1/thing-{number:03}(/|$)(.*)");
    let paths =
        |count| -> Vec<_> { (0..count).map(|number| (numbered(number), "ImplementationSpecific")).collect() };
    let objects = |count| {
        let annotations = [("auth-type", "basic"), ("use-regex", "true")];
        let open =
            [("/", "Prefix"), ("/api", "Prefix"), ("/api/v1/thing-000-that-has-a-longer-name", "Prefix")];
        let protected = Object { paths: paths(count), ..Object::new("protected", &annotations, &[]) };
        [Object::new("open", &[], &open), protected]
    };
    let translation = world(&objects(230));
    let table = support::routes(&translation);
    for number in 0..230 {
        check(&table, &[&format!("/API/v1/thing-{number:03}/x")], "protected", true, "one of many");
    }
    check(&table, &["/api/v1/thing-2xx", "/api/v1/THING-2"], "protected", true, "what begins alike");
    let open = ["/", "/other", "/api/v1", "/api/v1/thing-000-that-has-a-longer-name/x", "/api/v1/thing-1"];
    check(&table, &open, "open", false, "what does not begin alike");
    let found = messages(&translation, "protected", "expressions-closed-together");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("beyond 200 of them 30 are closed") && found[0].contains("h.test/api/v1/thing-2")
    );

    let translation = world(&objects(200));
    assert!(messages(&translation, "protected", "expressions-closed-together").is_empty());
    check(&support::routes(&translation), &["/api/v1/thing-2xx"], "open", false, "not too many");
}

/// Annotations of the guard, namespace of the others, whether these are closed, what is said of them.
type GuardRow<'r> = (&'r [(&'r str, &'r str)], &'r str, bool, &'r str);

#[test]
fn what_holds_for_a_server_guards_the_host_within_its_namespace() {
    let secret = ("auth-tls-secret", "n/ca");
    let verify = |value| ("auth-tls-verify-client", value);
    let rows: &[GuardRow] = &[
        (&[secret], "n", true, "answer 503 too"),
        (&[secret, verify("on")], "n", true, "answer 503 too"),
        (&[secret, verify("nonsense")], "n", true, "answer 503 too"),
        (&[secret, verify("off")], "n", false, ""),
        (&[secret, verify("optional")], "n", false, ""),
        (&[secret, verify("optional_no_ca")], "n", false, ""),
        (&[secret], "other", false, "are open"),
        (&[("server-snippet", "deny all;")], "n", true, "answer 503 too"),
        (&[("server-snippet", "deny all;")], "other", false, "are open"),
        (&[("configuration-snippet", "deny all;")], "n", false, ""),
        (&[("auth-tls-match-cn", "CN=x")], "n", false, ""),
        (&[("auth-type", "basic")], "n", false, ""),
    ];
    for (annotations, namespace, is_closed, said) in rows {
        let challenge = "/.well-known/acme-challenge/token";
        let translation = world(&[
            Object { namespace, ..Object::new("others", &[], &[("/", "Prefix"), ("/api", "Prefix")]) },
            Object::new("guard", annotations, &[("/admin", "Prefix")]),
            Object { namespace, ..Object::new("solver", &[], &[(challenge, "Exact")]) },
        ]);
        let table = support::routes(&translation);
        let context = format!("{annotations:?} beside {namespace}");
        check(&table, &["/", "/x", "/api"], "others", *is_closed, &context);
        check(&table, &["/admin"], "guard", true, &context);
        // Certificate authorities ask in plain text, where nobody has a certificate.
        check(&table, &[challenge], "solver", false, &context);
        let found = messages(&translation, "others", "unsupported-annotation");
        assert_eq!(found.len(), usize::from(!said.is_empty()), "{context}: {found:?}");
        assert!(found.iter().all(|message| message.contains("Ingress n/guard") && message.contains(said)));
        assert!(messages(&translation, "solver", "unsupported-annotation").is_empty(), "{context}");
    }
}

/// Annotations of the protected object beside a protection, a host, and whose it is.
type AliasRow<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str);

#[test]
fn further_names_of_protected_hosts_fall_to_nobody() {
    let alias = ("server-alias", "intern.example.com, other.example.com, *.wild.example.com, ~^re.*$");
    let www = ("from-to-www-redirect", "true");
    let rows: &[AliasRow<'_>] = &[
        (&[alias], "intern.example.com", "protected"),
        (&[alias], "a.wild.example.com", "protected"),
        (&[alias, www], "intern.example.com", "protected"),
        (&[www], "www.example.com", "protected"),
        (&[("from-to-www-redirect", "false")], "www.example.com", "open"),
        (&[], "intern.example.com", "open"),
        // Who names a host has it, also what no path of it takes.
        (&[alias], "other.example.com", "named"),
        (&[alias], "free.example.com", "open"),
    ];
    for (annotations, host, owner) in rows {
        let protected: Vec<_> = [("auth-type", "basic")].iter().chain(*annotations).copied().collect();
        let root = [("/", "Prefix")];
        let translation = world(&[
            Object { host: "example.com", ..Object::new("protected", &protected, &[("/admin", "Prefix")]) },
            Object { host: "*.example.com", ..Object::new("open", &[], &root) },
            Object { host: "other.example.com", ..Object::new("named", &[], &root) },
        ]);
        let rule = rule_at(&support::routes(&translation), host, "/x").clone();
        let got = (&*rule.origin.object.name, rule.policies.denied.is_some());
        assert_eq!(got, (*owner, *owner == "protected"), "{host} {annotations:?}");
    }
}

#[test]
fn what_becomes_of_further_names_is_said() {
    let alias = ("server-alias", "intern.example.com, ~^re.*$");
    for (annotations, said) in [
        (
            &[("auth-type", "basic"), alias][..],
            &["intern.example.com answers 503", "what ~^re.*$ stands for"][..],
        ),
        (&[("auth-type", "basic"), ("from-to-www-redirect", "true")], &["www.h.test answers 503"]),
        (&[("auth-type", "basic"), ("from-to-www-redirect", "false")], &["has no effect"]),
        (&[alias], &["has no effect"]),
    ] {
        let found = messages(
            &world(&[Object::new("named", annotations, &[("/", "Prefix")])]),
            "named",
            "unsupported-annotation",
        );
        let of_names: Vec<_> = found.iter().filter(|message| !message.contains("auth-type")).collect();
        let [message] = &of_names[..] else { panic!("{found:?}") };
        assert!(said.iter().all(|text| message.contains(text)), "{message}");
    }
}
