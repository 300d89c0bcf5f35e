//! Addresses in statuses: where they come from, what others wrote, what is left when ringress ends.

use std::time::{Duration, Instant};

use ringress_controller::source::kube::Scope;
use ringress_controller::status::{self, Clearing, Publish};
use serde_json::{Value, json};

use crate::support::api_server::{ApiServer, Call, Fault, Request};
use crate::support::eventually;
use crate::{Flags, addresses, clearing, cluster, ingress, run, run_with};

fn ours() -> Value {
    json!([{"ip": "192.0.2.7"}])
}

/// An Ingress of another class that shows our address, written by this manager.
fn signed(name: &str, manager: &str) -> Value {
    let mut object = ingress(name, "other", "b.test", "web");
    object["status"] = json!({"loadBalancer": {"ingress": ours()}});
    let fields = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
    object["metadata"]["managedFields"] =
        json!([{"manager": manager, "subresource": "status", "fieldsV1": fields}]);
    object
}

/// A Lease that is renewed in this moment.
fn held(name: &str) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now();
    json!({
        "metadata": {"namespace": "ringress", "name": name},
        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 15, "renewTime": format!("{now:.6}")},
    })
}

#[tokio::test]
async fn the_same_address_of_another_controller_costs_no_call_of_its_own() {
    let server = cluster().await;
    server.put("ingresses", signed("theirs", "nginx-ingress-controller"));
    let _running = run_with(&server, Flags { read_again: Duration::from_millis(100), ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    let readings = || {
        let requests = server
            .requests()
            .into_iter()
            .filter(|request| request.method == "GET" && !request.query.contains_key("watch"));
        requests.filter(|request| request.path.ends_with("/ingresses")).count()
    };
    let before = readings();
    eventually(async || readings(), |readings| *readings > before + 3).await;
    let asked =
        server.requests().iter().filter(|request| request.path.ends_with("/ingresses/theirs")).count();
    assert_eq!((asked, addresses(&server, "theirs")), (0, ours()));
}

#[tokio::test]
async fn statuses_are_read_in_one_list_unless_single_namespaces_are_watched() {
    for (watched, expected) in [
        (&[][..], "/apis/networking.k8s.io/v1/ingresses"),
        (&["shop"], "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"),
    ] {
        let server = cluster().await;
        for namespace in ["stock", "yard"] {
            let mut object = ingress("web", "ringress", "b.test", "web");
            object["metadata"]["namespace"] = json!(namespace);
            server.put("ingresses", object);
        }
        let watched = watched.iter().map(|name| (*name).to_owned()).collect();
        let _running = run_with(&server, Flags { watched, ..Flags::default() });
        eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
        let lists = server.requests().into_iter().filter(|request| {
            request.method == "GET"
                && request.path.ends_with("/ingresses")
                && !request.query.contains_key("watch")
        });
        let mut paths: Vec<String> = lists.map(|request| request.path).collect();
        // The first is that of the source, which watches everything here.
        paths.remove(0);
        assert_eq!(paths, [expected]);
    }
}

#[tokio::test]
async fn what_an_election_that_is_over_wrote_is_taken_out_as_our_own() {
    let server = cluster().await;
    let before = Flags { election_id: "before", clear_on_shutdown: false, ..Flags::default() };
    let running = run_with(&server, before);
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    running.end().await;
    server.put("ingresses", signed("beside", "ringress/ringress/beside"));
    server.put("leases", held("beside"));
    let running = run(&server);
    crate::until_shown(&server, 1).await;
    running.end().await;
    assert_eq!(addresses(&server, "web"), Value::Null, "the election before left it");
    assert_eq!(addresses(&server, "beside"), ours(), "another release of the namespace leads");
}

#[tokio::test]
async fn what_an_election_that_is_over_wrote_is_cleared_by_hand_as_well() {
    let server = cluster().await;
    server.put("ingresses", signed("before", "ringress/ringress/before"));
    server.put("ingresses", signed("beside", "ringress/ringress/beside"));
    server.put("ingresses", signed("elsewhere", "ringress/another/ringress-leader"));
    server.put("leases", held("beside"));
    let cleared = status::clear(&clearing(&server)).await.unwrap();
    assert_eq!((cleared.ingresses, cleared.leases), (1, 0));
    let others: Vec<_> =
        cleared.others.iter().map(|(by, count)| (&*by.namespace, &*by.lease, *count)).collect();
    assert_eq!(others, [("another", "ringress-leader", 1), ("ringress", "beside", 1)]);
    assert_eq!(addresses(&server, "before"), Value::Null);
    for name in ["beside", "elsewhere"] {
        assert_eq!(addresses(&server, name), ours(), "{name}");
    }
    // Where Leases may not be read, nothing of others is taken for ours.
    server.delete("leases", "ringress", "beside");
    server.fail("leases", Call::List, Fault::Refuse(403, None), Some(1));
    let forced = Clearing { is_forced: true, ..clearing(&server) };
    status::clear(&forced).await.unwrap();
    assert_eq!(addresses(&server, "beside"), ours());
}

#[tokio::test]
async fn what_changes_while_the_last_replica_ends_is_cleared_all_the_same() {
    let server: ApiServer = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    server.fail("ingresses", Call::Write, Fault::Refuse(409, None), Some(2));
    running.end().await;
    assert_eq!(addresses(&server, "web"), Value::Null);
}

#[tokio::test]
async fn an_ingress_gets_the_address_and_loses_it_with_its_class() {
    let server = cluster().await;
    server.put("ingresses", ingress("foreign", "other", "b.test", "web"));
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": "192.0.2.7"}])).await;
    assert_eq!(addresses(&server, "foreign"), Value::Null);
    // As the API server does it: a change of the spec leaves the status, and who wrote it.
    let mut moved = ingress("web", "other", "a.test", "web");
    let known = server.object("ingresses", "shop", "web").unwrap();
    moved["status"] = known["status"].clone();
    moved["metadata"]["managedFields"] = known["metadata"]["managedFields"].clone();
    server.put("ingresses", moved);
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
    let writes = server.requests().into_iter().filter(|request| request.path.ends_with("/status")).count();
    assert_eq!(writes, 2, "one to set, one to clear");
    drop(running);
}

#[tokio::test]
async fn what_somebody_else_writes_into_a_status_is_put_right() {
    let server = cluster().await;
    server.put("ingresses", ingress("foreign", "other", "b.test", "web"));
    let running = run_with(&server, Flags { read_again: Duration::from_millis(200), ..Flags::default() });
    let ours = json!([{"ip": "192.0.2.7"}]);
    eventually(async || addresses(&server, "web"), |found| *found == ours).await;
    for name in ["web", "foreign"] {
        let mut object = server.object("ingresses", "shop", name).unwrap();
        object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}});
        server.put("ingresses", object);
    }
    eventually(async || addresses(&server, "web"), |found| *found == ours).await;
    assert_eq!(addresses(&server, "foreign"), json!([{"ip": "198.51.100.9"}]), "another controller's");
    drop(running);
}

#[tokio::test]
async fn the_address_follows_the_service() {
    let server = cluster().await;
    let service = |addresses: &[&str]| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        json!({
            "metadata": {"namespace": "ringress", "name": "edge"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": addresses}},
        })
    };
    server.put("services", service(&[]));
    let publish = Publish::Service(ringress_translate::Key::new("ringress", "edge"));
    let _running = run_with(&server, Flags { publish, ..Flags::default() });
    eventually(async || server.watches("services"), |found| *found >= 2).await;
    assert_eq!(addresses(&server, "web"), Value::Null, "there is none yet");
    for ip in ["192.0.2.1", "192.0.2.2"] {
        let begun = Instant::now();
        server.put("services", service(&[ip]));
        eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": ip}])).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let own = |request: &Request| request.path == "/api/v1/namespaces/ringress/services";
    let asked: Vec<_> = server.requests().into_iter().filter(own).collect();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.query["fieldSelector"], "metadata.name=edge", "a role that names it suffices");
    }
}

#[tokio::test]
async fn that_clients_reach_us_nowhere_is_believed_when_it_lasts() {
    let server = cluster().await;
    let service = |addresses: Value| {
        json!({
            "metadata": {"namespace": "ringress", "name": "edge"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": addresses}},
        })
    };
    server.put("services", service(ours()));
    let publish = Publish::Service(ringress_translate::Key::new("ringress", "edge"));
    let (read_again, confirm) = (Duration::from_millis(100), Duration::from_millis(1_500));
    let _running = run_with(&server, Flags { publish, read_again, confirm, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    let own =
        |request: &Request| request.path == "/api/v1/namespaces/ringress/services" && !request.is_watch();
    let lists = || server.requests().into_iter().filter(own).count();
    for fault in [Fault::Empty, Fault::Senseless] {
        let before = lists();
        server.fail("services@ringress", Call::Watch, Fault::Expire, Some(1));
        server.fail("services@ringress", Call::List, fault, Some(1));
        server.end_watches();
        eventually(async || lists(), |found| *found >= before + 2).await;
        assert_eq!(addresses(&server, "web"), ours(), "a list that is wrong once");
    }
    let begun = Instant::now();
    server.put("services", service(json!([])));
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
    assert!(begun.elapsed() >= confirm, "{:?}", begun.elapsed());
    let before = lists();
    tokio::time::sleep(confirm + Duration::from_millis(500)).await;
    assert_eq!(lists(), before, "what is believed is asked no more");
}

#[tokio::test]
async fn a_node_is_shown_by_its_external_address_where_nodes_may_be_read() {
    let cases = [(true, false, "192.0.2.11"), (false, false, "10.0.0.11"), (true, true, "10.0.0.11")];
    for (may_read, internal, expected) in cases {
        let server = cluster().await;
        server.put(
            "pods",
            json!({
                "metadata": {"namespace": "ringress", "name": "ringress-0", "labels": {"app": "ringress"}},
                "spec": {"nodeName": "node-1"}, "status": {"phase": "Running", "hostIP": "10.0.0.11"},
            }),
        );
        server.put("nodes", json!({"metadata": {"name": "node-1"}, "status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.11"}, {"type": "ExternalIP", "address": "192.0.2.11"},
        ]}}));
        if !may_read {
            server.fail("nodes", Call::Any, Fault::Refuse(403, None), None);
        }
        let _running = run_with(&server, Flags { publish: Publish::Nodes, internal, ..Flags::default() });
        eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": expected}])).await;
    }
}

#[tokio::test]
async fn an_ingress_whose_namespace_is_not_selected_any_more_loses_our_address() {
    let server = cluster().await;
    let namespace = json!({"metadata": {"name": "shop", "labels": {"team": "a"}}});
    server.put("namespaces", namespace.clone());
    let flags = || {
        let scope = Scope { namespace_selector: Some("team=a".to_owned()), ..Scope::default() };
        Flags { scope, clear_on_shutdown: false, ..Flags::default() }
    };
    let running = run_with(&server, flags());
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    server.delete("namespaces", "", "shop");
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
    server.put("namespaces", namespace);
    eventually(async || addresses(&server, "web"), |found| *found == ours()).await;
    // And where nobody of us saw the label go.
    running.end().await;
    server.delete("namespaces", "", "shop");
    let _running = run_with(&server, flags());
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
}
