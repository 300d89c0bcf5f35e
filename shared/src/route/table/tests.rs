//! Tables by hand: hosts, paths, expressions, default backends.

use super::super::{BareGet, RuleTimeouts, normalise};
use super::*;
use crate::id::RuleId;
use crate::origin::{ObjectRef, Origin};
use crate::policy::{Denied, PolicySet};

fn rule(name: &str) -> Arc<Rule> {
    Arc::new(Rule {
        id: RuleId::of(&[name]),
        origin: Origin { object: ObjectRef::new("Ingress", "default", name), field: "".into() },
        policies: Arc::new(PolicySet::default()),
        backends: Box::new([]),
        timeouts: RuleTimeouts::default(),
    })
}

/// A rule with a protection that is not applied.
fn closed(name: &str) -> Arc<Rule> {
    let denied = Some(Denied { because: "auth-url is not applied".into() });
    let policies = Arc::new(PolicySet { denied, ..PolicySet::default() });
    Arc::new(Rule { policies, ..(*rule(name)).clone() })
}

fn add(builder: &mut RouteTableBuilder, host: &str, path: PathMatch, name: &str) {
    let host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
    builder.candidate(host, Candidate { path, predicates: Predicates::default(), rule: rule(name) });
}

fn check(table: &RouteTable, host: &str, path: &str, expected: &str) {
    let path_bytes = normalise(path.as_bytes()).unwrap();
    let lookup = table.find(host, &path_bytes, &BareGet, &mut Scratch::default(), &mut NoTrace);
    let got = match &lookup {
        Lookup::Found(found) => found.rule.origin.object.name.to_string(),
        Lookup::NoHost => "no host".into(),
        Lookup::NoPath => "no path".into(),
        Lookup::Ambiguous => "ambiguous".into(),
    };
    assert_eq!(got, expected, "{host}{path}");
}

#[test]
fn the_most_specific_host_decides_alone() {
    let mut builder = RouteTableBuilder::new();
    add(&mut builder, "a.example.com", PathMatch::prefix("/x"), "exact");
    add(&mut builder, "*.example.com", PathMatch::prefix("/"), "wildcard");
    add(&mut builder, "", PathMatch::prefix("/any"), "any");
    let table = builder.build();
    check(&table, "a.example.com", "/x", "exact");
    check(&table, "a.example.com", "/y", "no path");
    check(&table, "b.example.com", "/y", "wildcard");
    check(&table, "a.b.example.com", "/any", "any");
    check(&table, "a.b.example.com", "/y", "no path");
    check(&table, "", "/any", "any");
}

#[test]
fn a_changed_table_leaves_the_one_before_as_it_was() {
    let hosts = ["a.example.com", "*.example.com", ""];
    let built = |name: &str| {
        let mut builder = RouteTableBuilder::new();
        hosts.iter().for_each(|host| add(&mut builder, host, PathMatch::prefix("/"), name));
        builder.build()
    };
    let (before, other) = (built("before"), built("now"));
    let mut now = before.clone();
    for host in hosts {
        let key = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
        let entry =
            other.hosts().into_iter().find(|(name, _)| name == if host.is_empty() { "*" } else { host });
        now.put(key.as_ref(), entry.map(|(_, entry)| Arc::clone(entry)));
    }
    for host in ["a.example.com", "b.example.com", "other"] {
        check(&now, host, "/", "now");
        check(&before, host, "/", "before");
    }
    now.put(Some(&HostPattern::parse("a.example.com").unwrap()), None);
    now.put(None, None);
    now.put_default_rule(Some(rule("default")));
    check(&now, "a.example.com", "/", "now");
    now.put(Some(&HostPattern::parse("*.example.com").unwrap()), None);
    check(&now, "a.example.com", "/", "default");
    check(&now, "other", "/", "default");
}

#[test]
fn a_wildcard_that_spans_labels_now_takes_the_place_of_one_that_did_not() {
    let wildcard = HostPattern::parse("*.example.com").unwrap();
    let built = |dialect| {
        let mut builder = RouteTableBuilder::new();
        builder.host(Some(wildcard.clone()), dialect);
        add(&mut builder, "*.example.com", PathMatch::prefix("/"), "wildcard");
        builder.build()
    };
    let mut table = built(Dialect::Strict);
    check(&table, "a.b.example.com", "/", "no host");
    for (dialect, expected) in [(Dialect::GatewayApi, "wildcard"), (Dialect::Strict, "no host")] {
        let other = built(dialect);
        table.put(Some(&wildcard), other.hosts().first().map(|(_, entry)| Arc::clone(entry)));
        check(&table, "a.b.example.com", "/", expected);
        assert_eq!(table.hosts().len(), 1);
    }
}

#[test]
fn exact_beats_prefix_and_longer_beats_shorter() {
    for extra in [0, 20] {
        let mut builder = RouteTableBuilder::new();
        add(&mut builder, "h", PathMatch::prefix("/"), "root");
        add(&mut builder, "h", PathMatch::prefix("/foo"), "foo");
        add(&mut builder, "h", PathMatch::prefix("/foo/bar"), "bar");
        add(&mut builder, "h", PathMatch::Exact("/foo".into()), "exact");
        for number in 0..extra {
            add(&mut builder, "h", PathMatch::prefix(&format!("/other/{number}")), "other");
        }
        let table = builder.build();
        check(&table, "h", "/foo", "exact");
        check(&table, "h", "/foo/", "foo");
        check(&table, "h", "/foo/bar/x", "bar");
        check(&table, "h", "/foo/barx", "foo");
        check(&table, "h", "/", "root");
        check(&table, "h", "//", "root");
        check(&table, "h", "/food", "root");
    }
}

#[test]
fn an_encoded_slash_that_would_choose_another_rule_is_ambiguous() {
    let mut builder = RouteTableBuilder::new();
    add(&mut builder, "h", PathMatch::prefix("/"), "root");
    add(&mut builder, "h", PathMatch::prefix("/admin"), "admin");
    let table = builder.build();
    check(&table, "h", "/files/a%2fb", "root");
    check(&table, "h", "/admin%2fx", "ambiguous");
    check(&table, "h", "/x/..%2fadmin", "ambiguous");
}

#[test]
fn merged_slashes_reach_closed_rules_and_no_others() {
    let mut builder = RouteTableBuilder::new();
    for path in ["/", "/files", "/admin%2Fx"] {
        add(&mut builder, "h", PathMatch::prefix(path), path);
    }
    let host = HostPattern::parse("h").ok();
    let regex = PathMatch::Regex(PathRegex::compile("^/secure(/|$)(.*)", true).unwrap());
    for (path, name) in [
        (PathMatch::prefix("/admin"), "admin"),
        (PathMatch::Exact("/a/exact".into()), "exact"),
        (regex, "expression"),
    ] {
        let rule = closed(name);
        builder.candidate(host.clone(), Candidate { path, predicates: Predicates::default(), rule });
    }
    let table = builder.build();
    for (path, expected) in [
        ("//admin", "admin"),
        ("//admin/x", "admin"),
        ("///admin//x", "admin"),
        ("/x/..//admin", "admin"),
        ("/x//../admin", "admin"),
        ("/%2fadmin", "admin"),
        ("/%2Fadmin%2fx", "admin"),
        ("/x/%2f../admin", "admin"),
        ("/a//exact", "exact"),
        ("//a//exact", "exact"),
        ("//SECURE/x", "expression"),
        // Its own rule is closed already.
        ("/admin//x", "admin"),
        // What is open stays where it was.
        ("//", "/"),
        ("//x", "/"),
        ("//files", "/"),
        ("/files//x", "/files"),
        ("//administrator", "/"),
        ("/a//exact/x", "/"),
        ("//admin/../x", "/"),
        // Decoding alone chooses another rule.
        ("/admin%2fx", "ambiguous"),
    ] {
        check(&table, "h", path, expected);
    }
}

#[test]
fn expressions_are_tried_in_order_and_give_captures() {
    let regex = |source: &str| PathMatch::Regex(PathRegex::compile(source, true).unwrap());
    let mut builder = RouteTableBuilder::new();
    builder.host(Some(HostPattern::parse("h").unwrap()), Dialect::IngressNginx);
    add(&mut builder, "h", regex("^/api/v1(/|$)(.*)"), "long");
    add(&mut builder, "h", regex("^/api"), "short");
    let table = builder.build();
    check(&table, "h", "/API/v1/users", "long");
    check(&table, "h", "/apifoo", "short");
    let mut scratch = Scratch::default();
    let path = normalise(b"/api/v1/users").unwrap();
    table.find("h", &path, &BareGet, &mut scratch, &mut NoTrace);
    let captures = scratch.captures().unwrap();
    assert_eq!(&path.bytes[captures.get_group(2).unwrap().range()], b"users");
}

#[test]
fn strictly_an_expression_takes_nothing_from_a_path_with_as_long_a_text() {
    let mut builder = RouteTableBuilder::new();
    for source in ["^/admin(/|$)(.*)", "^/secure", "^/"] {
        let path = PathMatch::Regex(PathRegex::compile(source, true).unwrap());
        add(&mut builder, "h", path, "expression");
    }
    let stands_for_more = PathRegex::compile("^/wide", true).unwrap().in_place_of("/wide/number/one".len());
    add(&mut builder, "h", PathMatch::Regex(stands_for_more), "expression");
    for prefix in ["/", "/admin/pub", "/admin/public/files", "/secure", "/wide/number", "/wide/number/two"] {
        add(&mut builder, "h", PathMatch::prefix(prefix), prefix);
    }
    for exact in ["/admin/x", "/admin/exact/files"] {
        add(&mut builder, "h", PathMatch::Exact(exact.into()), exact);
    }
    let table = builder.build();
    for (path, expected) in [
        ("/", "/"),
        ("/x", "/"),
        ("/admin", "expression"),
        ("/ADMIN/x", "expression"),
        ("/administrator", "/"),
        ("/admin/pub", "expression"),
        ("/admin/public/files/x", "/admin/public/files"),
        ("/secure/x", "/secure"),
        ("/secure2", "expression"),
        ("/admin/x", "expression"),
        ("/admin/exact/files", "/admin/exact/files"),
        ("/wide/number/x", "expression"),
        ("/wide/number/two/x", "/wide/number/two"),
    ] {
        check(&table, "h", path, expected);
    }
}

#[test]
fn gateway_hosts_fall_through_and_their_wildcards_span_labels() {
    let mut builder = RouteTableBuilder::new();
    builder.host(Some(HostPattern::parse("a.b.example.com").unwrap()), Dialect::GatewayApi);
    builder.host(Some(HostPattern::parse("*.example.com").unwrap()), Dialect::GatewayApi);
    add(&mut builder, "a.b.example.com", PathMatch::prefix("/x"), "exact");
    add(&mut builder, "*.example.com", PathMatch::prefix("/"), "wildcard");
    let table = builder.build();
    check(&table, "a.b.example.com", "/x", "exact");
    check(&table, "a.b.example.com", "/y", "wildcard");
    check(&table, "example.com", "/y", "no host");
}

#[test]
fn default_backends_take_what_nothing_matches() {
    let mut builder = RouteTableBuilder::new();
    add(&mut builder, "h", PathMatch::Exact("/x".into()), "x");
    builder.fallback(Some(HostPattern::parse("h").unwrap()), rule("host default"));
    builder.default_rule(rule("default"));
    let table = builder.build();
    check(&table, "h", "/y", "host default");
    check(&table, "other", "/y", "default");
}
