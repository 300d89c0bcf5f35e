//! From a change to a generation on every shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringress_controller::{Controller, Ended, GenerationReport, Source};
use tokio::sync::mpsc;

use crate::support::{eventually, get, ports, shards};
use crate::{Running, config, first_report, manifest};

#[tokio::test]
async fn a_change_that_changes_no_object_makes_no_generation() {
    let running = Running::new().await;
    running.write("web.yaml", &format!("# a comment\n{}", manifest("web", "/")));
    running.write("api.yaml", &manifest("api", "/api"));
    let report = running.report(2).await;
    assert_eq!(report.generation, 2, "the second change made the second generation");
    assert_eq!(report.view.objects.ingresses.len(), 2);
}

#[tokio::test]
async fn problems_of_a_generation_that_is_on_its_way_are_reported_when_it_is_live() {
    let running = Running::new().await;
    running.report(1).await;
    running.shards[0].obedient.store(false, Ordering::SeqCst);
    running.write("api.yaml", &manifest("api", "/api"));
    eventually(async || running.shards[0].told(), |told| told.iter().any(|told| told == "Apply(2)")).await;
    running.write("broken.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web\n");
    let problems = async || get(running.admin, "/problems").await.body;
    eventually(problems, |body| body.contains("broken.yaml")).await;
    assert_eq!(running.reports.lock().unwrap().len(), 1, "generation 2 is not live on shard 0");
    running.shards[0].obey();
    let report = running.report(2).await;
    assert_eq!((report.generation, report.fresh), (2, true));
    let is_broken = |problem: &ringress_translate::Problem| &*problem.object.name == "broken.yaml";
    assert!(report.problems.iter().any(is_broken) && report.appeared.iter().any(is_broken));
    assert!(report.view.problems.iter().any(is_broken), "{:?}", report.view.problems);
}

#[tokio::test]
async fn an_object_that_changes_makes_a_generation_even_where_the_result_is_equal() {
    let running = Running::new().await;
    let annotated = manifest("web", "/").replacen("  name: web", "  name: web\n  annotations: {a: b}", 1);
    running.write("web.yaml", &annotated);
    let (first, second) = (running.report(1).await, running.report(2).await);
    assert_eq!(second.generation, 2);
    assert!(Arc::ptr_eq(&first.view.snapshot.server_configs, &second.view.snapshot.server_configs));
}

#[tokio::test]
async fn a_document_that_does_not_parse_is_reported_without_a_generation() {
    let running = Running::new().await;
    running.write("web.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web\n");
    let report = running.report(2).await;
    assert_eq!((report.generation, report.fresh), (1, false));
    assert!(!report.appeared.is_empty());
    assert_eq!(report.view.objects.ingresses.len(), 1, "the object stays as it was");
    let metrics = get(running.admin, "/metrics").await.body;
    let errors = report.problems.iter().filter(|problem| problem.level.as_str() == "error").count();
    assert!(metrics.contains(&format!("ringress_problems{{level=\"error\"}} {errors}\n")), "{metrics}");
    running.write("web.yaml", &manifest("web", "/"));
    let report = running.report(3).await;
    assert_eq!((report.generation, report.fresh, report.appeared.len()), (1, false, 0));
    let recovered: Vec<_> = report.recovered.iter().map(ToString::to_string).collect();
    assert!(recovered.contains(&"Ingress shop/web".to_owned()), "{recovered:?}");
}

#[tokio::test]
async fn a_shard_that_skips_a_generation_acknowledges_it_with_the_next() {
    let running = Running::new().await;
    for shard in &running.shards {
        shard.obedient.store(false, Ordering::SeqCst);
    }
    running.write("b.yaml", &manifest("b", "/b"));
    let published = |generation: u64| {
        let admin = running.admin;
        eventually(
            async move || get(admin, "/generation").await.json(),
            move |page| page["generation"] == generation,
        )
    };
    published(2).await;
    running.write("c.yaml", &manifest("c", "/c"));
    published(3).await;
    assert_eq!(running.reports.lock().unwrap().len(), 1);
    running.shards.iter().for_each(|shard| shard.obey());
    assert_eq!(running.report(2).await.generation, 2);
    assert_eq!(running.report(3).await.generation, 3);
}

#[tokio::test]
async fn a_storm_of_changes_is_coalesced_and_ends_in_the_last_state() {
    let running = Running::new().await;
    for number in 0..300 {
        running.write("api.yaml", &manifest("api", &format!("/{number}")));
    }
    let path = |report: &GenerationReport| {
        let objects = &report.view.objects;
        objects.ingresses.values().find_map(|stored| {
            let rule = &stored.object.spec.as_ref()?.rules.as_ref()?[0];
            rule.http.as_ref()?.paths[0].path.clone().filter(|path| path != "/")
        })
    };
    let last = async || running.reports.lock().unwrap().last().and_then(path);
    eventually(last, |path| path.as_deref() == Some("/299")).await;
    let generations = running.reports.lock().unwrap().len();
    assert!(generations < 150, "{generations} generations for 300 changes");
}

#[tokio::test]
async fn the_overlay_changes_objects_before_they_are_translated() {
    let (shards, events) = shards(1);
    let reports = Arc::default();
    let texts = [("web.yaml".to_owned(), manifest("web", "/").into())].into();
    let mut config = config(Source::Texts(texts), &reports);
    config.overlay = Some(Box::new(|objects| objects.services.clear()));
    let controller = Controller::new(config, ports(&shards), events).unwrap();
    let (stop, stopped) = mpsc::channel(1);
    let ended = tokio::spawn(controller.run_until(stopped));
    eventually(async || reports.lock().unwrap().len(), |reports| *reports == 1).await;
    let view = Arc::clone(&reports.lock().unwrap()[0].view);
    assert_eq!((view.objects.ingresses.len(), view.objects.services.len()), (1, 0));
    stop.send(()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("does not end");
    assert_eq!(ended.unwrap().unwrap(), Ended::Drained { cut: 0 });
}

#[tokio::test]
async fn external_names_have_their_addresses_in_generation_one() {
    let Some((address, name)) = name_of_this_machine() else {
        eprintln!("skipped: /etc/hosts has no name but localhost, and no other resolver is asked");
        return;
    };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
         spec: {{type: ExternalName, externalName: {name}, ports: [{{port: 80}}]}}\n"
    );
    let ingress = manifest("web", "/").split("---").next().unwrap().to_owned();
    let (report, ..) = first_report(&format!("{ingress}---\n{service}"), |_| {}).await;
    assert_eq!(report.generation, 1);
    assert!(
        report.view.objects.resolved[&name].contains(&address),
        "{name}: {:?}",
        report.view.objects.resolved
    );
}

/// A name that the system's resolver knows without asking anybody.
fn name_of_this_machine() -> Option<(std::net::IpAddr, String)> {
    let hosts = std::fs::read_to_string("/etc/hosts").ok()?;
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok().filter(std::net::IpAddr::is_ipv4)?;
        let name = words.find(|name| !name.contains("localhost"))?;
        Some((address, name.to_ascii_lowercase()))
    })
}
