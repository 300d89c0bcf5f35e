//! What the doctor makes of facts, one row for each thing that may be wrong.

use serde_json::{Value, json};

use super::facts::{Asked, Door, Facts, InCluster, Says};
use super::*;
use crate::ask::Watched;

const CLASS: &str = "ringress.dev/ingress-controller";

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Two replicas with everything as it should be.
fn healthy() -> Facts {
    let class = json!({"metadata": {"name": "ringress"}, "spec": {"controller": CLASS}});
    let cluster = InCluster {
        classes: vec![from(class)],
        ingresses: vec![ingress("web", json!({}))],
        services: vec![from(service("ringress", "ringress", json!([{"ip": "192.0.2.1"}])))],
        ..InCluster::default()
    };
    let door =
        Door { address: "192.0.2.1:80".parse().unwrap(), host: Some("web.test".into()), outcome: Ok(200) };
    let replicas = vec![replica("a"), replica("b")];
    Facts { replicas, cluster: Some(cluster), doors: vec![door], ..Facts::default() }
}

fn replica(name: &str) -> Asked {
    let shard = json!({
        "shard": 0, "core": 0, "driver": "io_uring", "rung": "io_uring", "reason": "", "generation": 3, "accepting": true,
        "connections": 0, "requests": 1, "failures": 0, "silent_s": 0.0,
    });
    let watch = json!({"watch": "ingresses", "assumed": false, "doubted": false, "failing": null});
    Asked {
        name: format!("ringress/{name}"),
        node: Some(format!("node-{name}")),
        labels: [("app.kubernetes.io/name", "ringress"), ("app.kubernetes.io/instance", "edge")]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        says: Some(Says {
            shards: from(json!({"version": "1", "generation": 3, "unbound": [], "shards": [shard]})),
            watches: vec![from(watch)],
            unwritten: Vec::new(),
            flags: vec![from(json!({"flag": "controller-class", "value": CLASS}))],
            certificates: Some(from(json!({"certificates": [certificate(100)], "missing": []}))),
            troubled: Vec::new(),
            routes: 2,
            dead: Vec::new(),
            reasons: Vec::new(),
        }),
        ..Asked::default()
    }
}

fn certificate(days: i64) -> Value {
    json!({
        "host": "web.test", "namespace": "shop", "secret": "tls", "names": ["web.test"], "issuer": "", "not_before": "",
        "not_after": "then", "not_after_s": days * 24 * 3600, "shown_since": null, "fingerprint": "",
    })
}

fn ingress(name: &str, change: Value) -> k8s_openapi::api::networking::v1::Ingress {
    let mut ingress = json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"ingressClassName": "ringress", "rules": [{"host": "web.test"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    change.as_object().unwrap().iter().for_each(|(key, value)| ingress[key] = value.clone());
    from(ingress)
}

fn watched(flag: &str, value: &str) -> Watched {
    Watched::of(|asked| Some(value).filter(|_| asked == flag))
}

fn service(namespace: &str, name: &str, addresses: Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app.kubernetes.io/name": name}},
        "status": {"loadBalancer": {"ingress": addresses}},
    })
}

fn other(name: &str, container: Value) -> k8s_openapi::api::core::v1::Pod {
    let metadata = json!({"namespace": name, "name": "x", "labels": {"app.kubernetes.io/name": name}});
    from(json!({"metadata": metadata, "spec": {"containers": [container]}}))
}

fn says(facts: &mut Facts) -> &mut Says {
    facts.replicas[0].says.as_mut().unwrap()
}

fn cluster(facts: &mut Facts) -> &mut InCluster {
    facts.cluster.as_mut().unwrap()
}

/// What is not well after a change to healthy facts.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Line> {
    let mut facts = healthy();
    change(&mut facts);
    judge(&facts).into_iter().filter(|line| line.state != State::Ok).collect()
}

#[track_caller]
fn check(state: State, parts: &[&str], change: impl FnOnce(&mut Facts)) {
    let found = found(change);
    let [line] = &found[..] else { panic!("one line is expected: {found:#?}") };
    assert_eq!(line.state, state, "{line:?}");
    assert!(
        parts.iter().all(|part| line.what.contains(part) || line.next.contains(part)),
        "{parts:?}: {line:?}"
    );
    assert!(!line.next.is_empty(), "{line:?} has no next step");
}

#[test]
fn paths_that_answer_503_are_counted_and_named() {
    let route = |host: &str, policies: Value, backends: Value| {
        let rule = json!({"namespace": "shop", "name": "web"});
        let route =
            json!({"host": host, "path": "/", "rule": rule, "policies": policies, "backends": backends});
        from::<super::facts::Route>(route).dead()
    };
    let to = |endpoints: Value| json!([{"upstream": {"service": "cart", "endpoints": endpoints}}]);
    assert_eq!(route("a", json!([]), to(json!(["10.0.0.1:80"]))), None);
    let denied = json!([{"body_limit": {"body_bytes_max": 1}}, {"denied": {"because": "auth-url"}}]);
    let dead = [
        route("b", denied, to(json!(["10.0.0.1:80"]))).unwrap(),
        route("c", json!([]), to(json!([]))).unwrap(),
        route("d", json!([]), json!([{"status": 503}])).unwrap(),
    ];
    assert_eq!((&*dead[0].url, &*dead[0].why), ("b/", "auth-url"));
    check(
        State::Warning,
        &["1 of 2 paths in 1 object", "shop/web c/ (no endpoint behind Service cart", "ringress lint"],
        |facts| {
            says(facts).dead = vec![dead[1].clone()];
        },
    );
    check(State::Problem, &["2 of 2 paths", "c/", "d/"], |facts| says(facts).dead = dead[1..].to_vec());
}

#[test]
fn each_release_is_judged_by_its_own_flags() {
    let of = |release: &str, controller: &str| {
        let mut facts = Facts { release: Some(release.to_owned()), ..healthy() };
        facts.replicas.iter_mut().for_each(|replica| {
            let flag = json!({"flag": "controller-class", "value": controller});
            replica.says.as_mut().unwrap().flags = vec![from(flag)];
        });
        facts
    };
    let lines = judge_all(&[of("ng/ng", "k8s.io/ingress-nginx"), of("ringress/ringress", CLASS)]);
    let wrong: Vec<_> = lines.iter().filter(|line| line.state == State::Problem).collect();
    assert!(
        !wrong.is_empty() && wrong.iter().all(|line| line.release.as_deref() == Some("ng/ng")),
        "{wrong:?}"
    );
    let shown = by_release(&lines, Style::plain());
    assert!(
        shown.starts_with("release ng/ng\n") && shown.contains("\nrelease ringress/ringress\n"),
        "{shown}"
    );
    let alone = judge_all(&[of("ringress/ringress", CLASS)]);
    assert!(!by_release(&alone, Style::plain()).contains("release"), "one alone needs no heading");
}

#[test]
fn nothing_is_wrong_where_nothing_is() {
    assert_eq!(found(|_| {}), []);
    let shown = text(&judge(&healthy()), Style::plain());
    assert!(shown.contains("ok       controller    2 replicas ready: ringress/a, ringress/b\n"), "{shown}");
    assert!(shown.contains("node-a, node-b: io_uring") && shown.ends_with("nothing is wrong\n"), "{shown}");
}

#[test]
fn replicas_that_do_not_run_or_serve() {
    check(State::Problem, &["no controller runs", "helm install"], |facts| {
        facts.replicas.clear();
        facts.doors.clear();
    });
    check(State::Warning, &["1 of 2 replicas", "ringress/a (secrets are not listed yet)"], |facts| {
        facts.replicas[0].unready = Some("the pod is not ready".into());
        says(facts).reasons = vec!["secrets are not listed yet".into()];
    });
    check(State::Warning, &["several versions", "1, 2"], |facts| says(facts).shards.version = "2".into());
    check(State::Problem, &["ringress/a: 80 is taken"], |facts| {
        says(facts).shards.unbound = vec!["80 is taken".into()]
    });
    check(State::Problem, &["shard 0 does not accept"], |facts| {
        says(facts).shards.shards[0].accepting = false
    });
    check(State::Warning, &["cannot ask"], |facts| {
        facts.replicas[0].says = None;
        facts.replicas[0].silent = Some("cannot ask ringress/a".into());
    });
}

#[test]
fn a_class_that_is_assumed_need_not_exist() {
    let assumed = |facts: &mut Facts| {
        for replica in &mut facts.replicas {
            let watch =
                json!({"watch": "ingressclasses", "assumed": true, "doubted": false, "failing": null});
            replica.says.as_mut().unwrap().watches.push(from(watch));
        }
        cluster(facts).classes.clear();
    };
    assert_eq!(found(assumed), []);
    check(State::Warning, &["class other does not exist"], |facts| {
        assumed(facts);
        cluster(facts).ingresses[0].spec.as_mut().unwrap().ingress_class_name = Some("other".into());
    });
}

#[test]
fn what_cannot_be_written_is_named_with_the_right_that_it_takes() {
    let unwritten = |refused: bool| {
        json!({"what": "write Events", "why": "403: no", "refused": refused, "needs": "create and patch events",
            "failing_s": 1.0})
    };
    check(
        State::Problem,
        &["ringress/a, ringress/b cannot write Events: 403", "grant", "patch events"],
        |facts| {
            for replica in &mut facts.replicas {
                replica.says.as_mut().unwrap().unwritten = vec![from(unwritten(true))];
            }
        },
    );
    check(State::Problem, &["ringress/a cannot write Events", "tried again"], |facts| {
        says(facts).unwritten = vec![from(unwritten(false))];
    });
}

#[test]
fn rights_are_those_that_the_controller_misses() {
    check(State::Problem, &["ingresses", "ringress/a, ringress/b", "grant"], |facts| {
        for replica in &mut facts.replicas {
            let watches = &mut replica.says.as_mut().unwrap().watches;
            watches[0].failing = Some("the API server refuses: no".into());
        }
    });
    check(State::Problem, &["does not answer"], |facts| {
        says(facts).watches[0].failing = Some("no route".into())
    });
    check(State::Warning, &["second list"], |facts| says(facts).watches[0].doubted = true);
}

#[test]
fn a_node_that_refuses_io_uring_has_three_ways_out() {
    let epoll = |facts: &mut Facts| {
        let shard = &mut says(facts).shards.shards[0];
        (shard.driver, shard.reason) = ("epoll".into(), "io_uring is refused".into());
    };
    check(
        State::Warning,
        &["node-a: epoll, because io_uring is refused", "1.", "2.", "3.", "seccomp"],
        epoll,
    );
    check(State::Warning, &["epoll", "Cannot allocate memory", "LimitMEMLOCK", "fewer shards"], |facts| {
        epoll(facts);
        says(facts).shards.shards[0].reason = "4096 entries: Cannot allocate memory (os error 12)".into();
    });
    let chosen = found(|facts| {
        epoll(facts);
        says(facts).flags.push(from(json!({"flag": "io-driver", "value": "epoll"})));
    });
    assert_eq!(chosen, [], "who chose it knows");
}

#[test]
fn a_last_good_says_on_how_many_replicas() {
    let troubled = |reason: &str| {
        from(json!({"kind": "Ingress", "namespace": "shop", "name": "web", "problems": [{"reason": reason}]}))
    };
    check(State::Warning, &["Ingress shop/web (on 1 of 2 replicas)"], |facts| {
        says(facts).troubled = vec![troubled("Quarantined")];
    });
    assert_eq!(found(|facts| says(facts).troubled = vec![troubled("Shadowed")]), []);
}

#[test]
fn classes_and_those_who_serve_them() {
    let foreign = |name: &str, controller: &str, is_default: &str| {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": is_default});
        from(
            json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}}),
        )
    };
    check(State::Problem, &["no IngressClass has spec.controller"], |facts| {
        cluster(facts).classes = vec![foreign("nginx", "k8s.io/ingress-nginx", "false")];
        cluster(facts).ingresses.clear();
    });
    check(State::Warning, &["several classes are the default", "one, two"], |facts| {
        cluster(facts).classes.extend([foreign("one", CLASS, "true"), foreign("two", "x/y", "true")]);
    });
    check(State::Warning, &["1 Ingress without a class", "shop/bare"], |facts| {
        cluster(facts).ingresses.push(ingress("bare", json!({"spec": {}})));
    });
    check(State::Warning, &["class gone does not exist", "shop/lost"], |facts| {
        cluster(facts).ingresses.push(ingress("lost", json!({"spec": {"ingressClassName": "gone"}})));
    });
    check(State::Warning, &["Ingresses cannot be looked at: no"], |facts| {
        cluster(facts).unread = vec![("Ingresses", "no".into())];
    });
}

#[test]
fn other_controllers_on_the_same_class_or_ports() {
    check(State::Warning, &["ingress-nginx runs and serves k8s.io/ingress-nginx, too"], |facts| {
        let controller = "k8s.io/ingress-nginx";
        facts
            .replicas
            .iter_mut()
            .for_each(|replica| replica.says.as_mut().unwrap().flags[0].value = controller.into());
        cluster(facts).classes =
            vec![from(json!({"metadata": {"name": "ringress"}, "spec": {"controller": controller}}))];
        cluster(facts).others = vec![other("ingress-nginx", json!({"name": "c"}))];
    });
    check(State::Warning, &["minikube addons disable ingress"], |facts| {
        let port = json!({"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]});
        cluster(facts).others = vec![other("ingress-nginx", port)];
    });
    check(State::Warning, &["k3s runs Traefik", "--disable=traefik"], |facts| {
        cluster(facts).services.push(from(service("kube-system", "traefik", json!([]))));
    });
}

#[test]
fn addresses_that_are_missing_or_do_not_answer() {
    let bare = json!({"status": {}});
    check(State::Problem, &["no Ingress of our class has an address"], |facts| {
        cluster(facts).ingresses = vec![ingress("web", bare.clone())];
    });
    check(State::Warning, &["1 of 2 Ingresses", "shop/new"], |facts| {
        cluster(facts).ingresses.push(ingress("new", bare.clone()));
    });
    // What it does not watch needs no address of it.
    for (watched, flag) in [
        (watched("watch-namespace", "shop"), "--watch-namespace=shop"),
        (
            watched("watch-namespace-selector", "team=a").selected(&["shop"]),
            "--watch-namespace-selector=team=a",
        ),
    ] {
        check(State::Warning, &["1 Ingress of our class not watched: far/new", flag], |facts| {
            let metadata = json!({"namespace": "far", "name": "new"});
            cluster(facts).ingresses.push(ingress("new", json!({"metadata": metadata, "status": {}})));
            facts.watched = watched;
        });
    }
    let left_to_others = found(|facts| {
        cluster(facts).ingresses = vec![ingress("web", bare.clone())];
        says(facts).flags.push(from(json!({"flag": "update-status", "value": "false"})));
    });
    assert_eq!(left_to_others, []);
    check(State::Warning, &["Service ringress/ringress", "has no address", "MetalLB"], |facts| {
        cluster(facts).services = vec![from(service("ringress", "ringress", json!([])))];
    });
    // Under a nameOverride, and beside a Service of something else.
    check(State::Warning, &["Service ringress/proxy", "has no address"], |facts| {
        let label =
            |replica: &mut Asked| replica.labels.insert("app.kubernetes.io/name".into(), "proxy".into());
        facts.replicas.iter_mut().for_each(|replica| drop(label(replica)));
        cluster(facts).services = vec![from(service("ringress", "proxy", json!([])))];
    });
    let foreign = |namespace: &str, name: &str| from(service(namespace, name, json!([])));
    assert_eq!(
        found(|facts| cluster(facts).services =
            vec![foreign("ringress", "other"), foreign("other", "ringress")]),
        []
    );
    check(State::Warning, &["192.0.2.1:80 is not reachable from here: refused", "a hint"], |facts| {
        facts.doors[0].outcome = Err("refused".into());
    });
}

#[test]
fn certificates_that_end_or_are_missing() {
    let shown = |facts: &mut Facts, page: Value| says(facts).certificates = Some(from(page));
    check(State::Warning, &["web.test of shop/tls ends then, in 13 days"], |facts| {
        shown(facts, json!({"certificates": [certificate(13)], "missing": []}));
    });
    check(State::Problem, &["ended then"], |facts| {
        shown(facts, json!({"certificates": [certificate(-1)], "missing": []}));
    });
    check(State::Problem, &["Ingress shop/web: SecretNotFound: gone"], |facts| {
        let missing = json!({
            "kind": "Ingress", "namespace": "shop", "name": "web", "field": "", "hosts": [], "reason": "SecretNotFound",
            "message": "gone",
        });
        shown(facts, json!({"certificates": [], "missing": [missing]}));
    });
}

#[test]
fn a_process_is_judged_without_a_cluster() {
    let facts = Facts { replicas: vec![replica("a")], ..Facts::default() };
    let lines = judge(&facts);
    assert!(lines.iter().all(|line| line.state == State::Ok && line.check != "class"), "{lines:#?}");
}
