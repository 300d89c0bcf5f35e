//! Addresses that others wrote, and those that are left when ringress ends.

use std::time::Duration;

use ringress_controller::status::{self, Cleared, Clearing};
use serde_json::{Value, json};

use crate::support::api_server::{ApiServer, Call, Fault};
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
    assert_eq!(cleared, Cleared { ingresses: 1, leases: 0 });
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
