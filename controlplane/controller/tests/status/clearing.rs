//! What is left of addresses and Leases when replicas end, and what takes it away.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringress_controller::source::kube::{Access, Scope};
use ringress_controller::status::{self, ClearError, Cleared, Clearing, Election};
use serde_json::{Value, json};

use crate::support::api_server::{ApiServer, Call, Fault, Request};
use crate::support::eventually;
use crate::{
    Flags, addresses, clearing, cluster, events, holder, ingress, run, run_with, two, until_led_by,
    until_shown,
};

#[tokio::test]
async fn a_leader_that_ends_hands_over_at_once_and_the_last_one_clears_up() {
    let server = cluster().await;
    let (one, two) = two(&server).await;
    one.end().await;
    assert!(
        server.object("leases", "ringress", "ringress-replica-ringress-0").is_none(),
        "it counts no more"
    );
    let begun = Instant::now();
    until_led_by(&server, "ringress-1").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(addresses(&server, "web").is_array(), "there is somebody left");
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert!(!said[0].1.contains("confirmed"), "it is alone: {said:?}");
    two.end().await;
    assert_eq!(holder(&server), "");
    assert_eq!(addresses(&server, "web"), Value::Null);
    assert_eq!(addresses(&server, "late"), Value::Null);
    assert!(server.object("leases", "ringress", "ringress-replica-ringress-1").is_none());
}

#[tokio::test]
async fn replicas_that_end_together_clear_up_as_well() {
    let server = cluster().await;
    let (one, two) = two(&server).await;
    tokio::join!(one.end(), two.end());
    assert_eq!((holder(&server), addresses(&server, "web")), (String::new(), Value::Null));
}

#[tokio::test]
async fn the_last_replica_of_an_election_leaves_the_addresses_to_another_one_that_publishes_them() {
    let server = cluster().await;
    let before = run_with(&server, Flags { pod: "before-0", election_id: "before", ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    let after = run(&server);
    until_shown(&server, 1).await;
    until_led_by(&server, "ringress-0").await;
    before.end().await;
    let is_clearing = |request: &Request| {
        request.path.ends_with("/web/status") && request.body.to_string().contains("null")
    };
    assert!(!server.requests().iter().any(is_clearing), "who asks for the address finds none for a while");
    assert!(addresses(&server, "web").is_array());
    assert!(server.object("leases", "ringress", "before").is_none(), "nobody will ask for it again");
    after.end().await;
    assert_eq!(addresses(&server, "web"), Value::Null);
    assert_eq!(server.objects("leases").len(), 0);
}

#[tokio::test]
async fn another_election_that_publishes_elsewhere_keeps_no_address() {
    let server = cluster().await;
    let beside = Flags { pod: "beside-0", election_id: "beside", ..Flags::default() };
    let watched: BTreeSet<String> = ["stock".to_owned()].into();
    let scope = Scope { namespaces: watched.clone(), ..Scope::default() };
    let _beside = run_with(&server, Flags { watched, scope, ..beside });
    let is_shown = async || server.object("leases", "ringress", "ringress-replica-beside-0").is_some();
    eventually(is_shown, |shown| *shown).await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    running.end().await;
    assert_eq!(addresses(&server, "web"), Value::Null);
}

#[tokio::test]
async fn addresses_stay_where_the_flag_says_so() {
    let server = cluster().await;
    let running = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    running.end().await;
    assert_eq!((holder(&server), addresses(&server, "web")), (String::new(), json!([{"ip": "192.0.2.7"}])));
}

#[tokio::test]
async fn what_ringress_left_in_statuses_is_told_by_who_wrote_it() {
    let server = cluster().await;
    // The same address, written by somebody else.
    let mut theirs = ingress("theirs", "other", "b.test", "web");
    theirs["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    server.put("ingresses", theirs);
    let running = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    until_shown(&server, 1).await;
    let held = status::clear(&clearing(&server)).await.unwrap_err();
    assert!(matches!(&held, ClearError::Held { holder, .. } if holder.starts_with("ringress-0_")), "{held}");
    assert!(addresses(&server, "web").is_array(), "a leader that runs would not notice");
    running.end().await;
    // Neither can be asked any more.
    server.delete("ingressclasses", "", "ringress");
    let cleared = status::clear(&clearing(&server)).await.unwrap();
    assert_eq!(cleared, Cleared { ingresses: 1, ..nothing() });
    assert_eq!(addresses(&server, "web"), Value::Null);
    assert_eq!(addresses(&server, "theirs"), json!([{"ip": "192.0.2.7"}]));
    assert_eq!(server.objects("leases").len(), 0);
    assert_eq!(status::clear(&clearing(&server)).await.unwrap(), nothing(), "nothing is left");
}

fn nothing() -> Cleared {
    Cleared { namespace: "ringress".to_owned(), ..Cleared::default() }
}

#[tokio::test]
async fn without_a_namespace_it_is_that_of_the_context_and_what_others_wrote_is_named() {
    let server = cluster().await;
    let running = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    running.end().await;
    let of_context = |namespace: &str| {
        let access = Access { kubeconfig: Some(in_namespace(&server, namespace)), context: None };
        Clearing { access, namespace: None, ..clearing(&server) }
    };
    let elsewhere = status::clear(&of_context("edge")).await.unwrap();
    let left = Election { namespace: "ringress".to_owned(), lease: "ringress-leader".to_owned() };
    assert_eq!((&*elsewhere.namespace, elsewhere.ingresses), ("edge", 0));
    assert_eq!(elsewhere.others, [(left, 1)].into());
    assert!(addresses(&server, "web").is_array(), "it is not theirs");
    let cleared = status::clear(&of_context("ringress")).await.unwrap();
    assert_eq!(cleared, Cleared { ingresses: 1, ..nothing() });
    let after = status::clear(&of_context("edge")).await.unwrap();
    assert_eq!(after.others, [].into(), "whoever took them out shows none");
}

/// The kubeconfig of the server, with a namespace in its context.
fn in_namespace(server: &ApiServer, namespace: &str) -> PathBuf {
    let kubeconfig = server.kubeconfig("http");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&kubeconfig).unwrap()).unwrap();
    config["contexts"][0]["context"]["namespace"] = json!(namespace);
    let own = kubeconfig.with_extension(namespace);
    std::fs::write(&own, config.to_string()).unwrap();
    own
}

#[tokio::test]
async fn a_lease_that_is_held_by_nobody_with_rights_is_no_obstacle_to_who_insists() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    let forced = Clearing { is_forced: true, ..clearing(&server) };
    server.fail("ingresses", Call::Write, Fault::Refuse(403, None), Some(1));
    let refused = status::clear(&forced).await.unwrap_err().to_string();
    assert!(refused.contains("patch ingresses/status"), "{refused}");
    // Changed in between: looked at again.
    server.fail("ingresses", Call::Write, Fault::Refuse(409, None), Some(1));
    assert_eq!(status::clear(&forced).await.unwrap().ingresses, 1);
    assert_eq!(addresses(&server, "web"), Value::Null);
    drop(running);
}

#[tokio::test]
async fn a_namespace_that_is_served_no_more_is_cleared_beside_a_ringress_that_runs() {
    let server = cluster().await;
    let mut stock = ingress("web", "ringress", "b.test", "web");
    stock["metadata"]["namespace"] = json!("stock");
    server.put("ingresses", stock);
    let stock =
        || server.object("ingresses", "stock", "web").unwrap()["status"]["loadBalancer"]["ingress"].clone();
    let _running = run(&server);
    eventually(
        async || (addresses(&server, "web"), stock()),
        |(web, stock)| web.is_array() && stock.is_array(),
    )
    .await;
    until_shown(&server, 1).await;
    let leases = server.objects("leases").len();
    for watched in [&[][..], &["shop", "stock"]] {
        let watched = watched.iter().map(|name| (*name).to_owned()).collect();
        let except = Clearing { watched, served: ["shop".to_owned()].into(), ..clearing(&server) };
        status::clear(&except).await.unwrap();
        assert_eq!((stock(), addresses(&server, "web").is_array()), (Value::Null, true));
    }
    assert_eq!(server.objects("leases").len(), leases, "it goes on to lead");
}

#[tokio::test]
async fn what_a_ringress_that_runs_goes_on_to_show_is_not_taken_out_by_another_name() {
    let server = cluster().await;
    let before = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    before.end().await;
    // The addresses are right as they stand, so they keep the name of the election before.
    let _renamed =
        run_with(&server, Flags { election_id: "b-leader", pod: "ringress-1", ..Flags::default() });
    eventually(async || server.objects("leases").len(), |count| *count == 2).await;
    for election_id in ["ringress-leader", "b-leader", "misspelt"] {
        let clearing = Clearing { election_id: election_id.to_owned(), ..clearing(&server) };
        let held = status::clear(&clearing).await.unwrap_err();
        assert!(
            matches!(&held, ClearError::Held { holder, .. } if holder.starts_with("ringress-1")),
            "{held}"
        );
    }
    let forced = Clearing { election_id: "misspelt".to_owned(), is_forced: true, ..clearing(&server) };
    let cleared = status::clear(&forced).await.unwrap();
    assert_eq!((cleared.ingresses, cleared.others.len()), (0, 1), "{cleared:?}");
    assert!(addresses(&server, "web").is_array());
}

#[tokio::test]
async fn leases_are_taken_away_alone_where_addresses_are_none_of_our_business() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    until_shown(&server, 1).await;
    let leases = Clearing { keeps_addresses: true, is_forced: true, ..clearing(&server) };
    running.writer.abort();
    let _ = running.writer.await;
    server.fail("ingresses", Call::Any, Fault::Refuse(403, None), None);
    assert_eq!(status::clear(&leases).await.unwrap(), Cleared { leases: 2, ..nothing() });
    assert!(addresses(&server, "web").is_array() && server.objects("leases").is_empty());
}
