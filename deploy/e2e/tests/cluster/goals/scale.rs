//! Five thousand Ingresses, each with a Service and a pod of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;
use serde_json::json;

use super::api;
use super::backend::{ADDRESS, Backend};
use super::bounds::{Bound, Misses, PROMISED};
use super::controller::Controller;
use super::propagation::{Propagations, Watcher};
use super::{OwnBox, Scene, inside};
use crate::client::Client;

const ROUTES: usize = 5_000;
const CERTIFICATES: usize = 2_500;
/// The host of the first route that a measurement adds.
const FIRST_ADDED: &str = "p0.example.com";
/// Services with an endpoint that comes and goes.
const CHURNING: usize = 50;
/// How long the controllers may take to make the endpoints of all.
const PATIENCE: Duration = Duration::from_secs(600);
const CHURN: Duration = Duration::from_secs(60);
/// A machine that does other things than this does not calm down.
const CALM_WITHIN: Duration = Duration::from_secs(60);

const SECOND_UP_S_MAX: f64 = 15.0;
const READY_S_MAX: f64 = 3.0;
const RESIDENT_MIB_MAX: f64 = 80.0;
const CHANGE: [Bound; 1] = [Bound { name: "max", per_mille: 1000, ms: 20.0 }];
const CHURN_PERCENT_MAX: f64 = 3.0;
const CERTIFICATES_MIB_MAX: f64 = 60.0;

/// Start, memory, one change, and the processor time of steady churn.
pub(crate) fn five_thousand() -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::measured("scale")?;
    let backend = Backend::start(&world, 9001)?;
    inside(&world, move || async move {
        let client = access.client().await?;
        prepare(&client, &backend).await?;
        populate(&client, &backend).await?;
        let mut misses = Misses::default();
        for start in 1..=3 {
            let controller = Controller::start(&plan).await?;
            let (after, resident) = (controller.ready_after.as_secs_f64(), controller.resident()?);
            println!("start {start}: ready after {after:.2} s, resident {resident}");
            misses.at_most(&format!("start {start}, ready after"), after, READY_S_MAX, "s");
            misses.at_most(&format!("start {start}, resident"), resident.mib(), RESIDENT_MIB_MAX, "MiB");
        }
        let controller = Controller::start(&plan).await?;
        ensure_served(&controller).await?;
        settle(&client).await?;
        println!("all statuses written: resident {}", controller.resident()?);
        let watcher = Watcher::start(controller.connection_per_shard().await?, &access)?;
        let more = added(&client, &watcher, 0..200).await?;
        println!("a route more: {more}");
        let quiet = watcher.quiet(FIRST_ADDED)?;
        println!("an answer while nothing changes: {quiet}");
        misses.propagation("a route more", &CHANGE, &more, &quiet);
        let before = controller.processor_time()?;
        let churned = churn(&client, CHURN).await?;
        let used = controller.processor_time()? - before;
        let percent = used.as_secs_f64() / CHURN.as_secs_f64() * 100.0;
        println!("{churned} changes in {} s: {percent:.2} % of a core", CHURN.as_secs());
        misses.at_most("steady churn", percent, CHURN_PERCENT_MAX, "% of a core");
        let resident = controller.resident()?;
        println!("resident after all that: {resident}");
        misses.at_most("resident after all that", resident.mib(), RESIDENT_MIB_MAX, "MiB");
        misses.none()
    })
}

/// Routes are added while others change.
pub(crate) fn propagation_beside_churn() -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::measured("churn")?;
    let backend = Backend::start(&world, 9001)?;
    inside(&world, move || async move {
        let client = access.client().await?;
        prepare(&client, &backend).await?;
        let alone = Controller::start(&plan).await?;
        let watcher = Watcher::start(alone.connection_per_shard().await?, &access)?;
        let few = added(&client, &watcher, 0..300).await?;
        println!("none beside them: {few}");
        drop((watcher, alone));
        populate(&client, &backend).await?;
        let controller = Controller::start(&plan).await?;
        settle(&client).await?;
        calm().await?;
        let watcher = Watcher::start(controller.connection_per_shard().await?, &access)?;
        let quiet = watcher.quiet(FIRST_ADDED)?;
        println!("an answer while nothing changes: {quiet}");
        let still = added(&client, &watcher, 300..600).await?;
        println!("{ROUTES} that do not change: {still}");
        let churning = async {
            churn(&client, Duration::MAX).await?;
            bail!("the churn ended")
        };
        let beside: Propagations = tokio::select! {
            churned = churning => churned,
            beside = added(&client, &watcher, 600..1_200) => beside,
        }?;
        println!("{ROUTES} churn: {beside}");
        let mut misses = Misses::default();
        misses.propagation("none beside them", &PROMISED, &few, &quiet);
        for (what, found) in [("that do not change", &still), ("churn", &beside)] {
            misses.propagation(&format!("{ROUTES} {what}"), &PROMISED, found, &quiet);
            misses.growth(&format!("{ROUTES} {what}, beside none"), &few, found, &quiet);
        }
        misses.none()
    })
}

/// How long `up` takes when everything is built: Kubernetes, ringress from its chart, and the example.
pub(crate) fn second_up() -> anyhow::Result<()> {
    drop(OwnBox::installed("first")?);
    let began = Instant::now();
    let second = OwnBox::installed("second")?;
    let took = began.elapsed().as_secs_f64();
    drop(second);
    println!("the second up took {took:.1} s");
    let mut misses = Misses::default();
    misses.at_most("the second up", took, SECOND_UP_S_MAX, "s");
    misses.none()
}

/// What 2,500 certificates cost in memory.
pub(crate) fn certificates() -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::measured("certificates")?;
    let backend = Backend::start(&world, 9001)?;
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, "web", ADDRESS, &[backend.port]).await?;
        let plain =
            (0..CERTIFICATES).map(|number| api::object(api::ingress(&name(number), &host(number), "web")));
        api::create_many::<Ingress>(&client, plain).await?;
        let before = Controller::start(&plan).await?.resident()?.mib();
        let secrets = (0..CERTIFICATES).map(|number| {
            let pair = rcgen::generate_simple_self_signed([host(number)])?;
            api::tls_secret(&name(number), &pair.cert.pem(), &pair.signing_key.serialize_pem())
        });
        api::create_many::<Secret>(&client, secrets).await?;
        for number in 0..CERTIFICATES {
            let tls = api::ingress_with_tls(&name(number), &host(number), "web", &name(number));
            api::merge::<Ingress>(&client, &name(number), tls).await?;
        }
        let controller = Controller::start(&plan).await?;
        let more = controller.resident()?.mib() - before;
        println!("{CERTIFICATES} certificates: {more:.1} MiB more");
        println!("ready after {:.2} s", controller.ready_after.as_secs_f64());
        let mut misses = Misses::default();
        misses.at_most(&format!("{CERTIFICATES} certificates"), more, CERTIFICATES_MIB_MAX, "MiB");
        misses.none()
    })
}

fn name(number: usize) -> String {
    format!("route-{number}")
}

fn slice(number: usize) -> String {
    format!("churn-{number}")
}

fn host(number: usize) -> String {
    format!("route-{number}.example.com")
}

/// The class, and the Service that routes of the measurement lead to.
async fn prepare(client: &kube::Client, backend: &Backend) -> anyhow::Result<()> {
    api::create_class(client).await?;
    api::create_service(client, "web", ADDRESS, &[backend.port]).await
}

/// Everything beside that, and slices that the measurement may change. Those are nobody else's: the controllers would undo each
/// change of their own slices, which makes two of one.
async fn populate(client: &kube::Client, backend: &Backend) -> anyhow::Result<()> {
    let began = Instant::now();
    let pods = (0..ROUTES).map(|number| Ok(api::fake_pod(&name(number))?.0));
    api::create_many::<Pod>(client, pods).await?;
    let services = (0..ROUTES).map(|number| Ok(api::fake_pod(&name(number))?.1));
    api::create_many::<Service>(client, services).await?;
    let ingresses =
        (0..ROUTES).map(|number| api::object(api::ingress(&name(number), &host(number), &name(number))));
    api::create_many::<Ingress>(client, ingresses).await?;
    let slices = (0..CHURNING)
        .map(|number| api::object(api::slice(&slice(number), &name(number), ADDRESS, backend.port)));
    api::create_many::<EndpointSlice>(client, slices).await?;
    while ready_endpoints(client).await? < ROUTES {
        ensure!(began.elapsed() < PATIENCE, "{} endpoints of {ROUTES}", ready_endpoints(client).await?);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    println!("{ROUTES} Ingresses, Services and pods after {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Waits until the leader has written every status: a start is no steady state.
async fn settle(client: &kube::Client) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let left = without_address(client).await?;
        if left == 0 {
            println!("every status is written after {:.0} s", began.elapsed().as_secs_f64());
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{left} Ingresses without an address");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Waits until the cores idle: an API server is busy for a while after so many writes, and would be what is measured.
async fn calm() -> anyhow::Result<()> {
    let began = Instant::now();
    let (mut before, mut seconds) = (Cores::now()?, 0);
    while seconds < 3 && began.elapsed() < CALM_WITHIN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Cores::now()?;
        let is_calm = (now.idle - before.idle) * 10 >= (now.all - before.all) * 8;
        seconds = if is_calm { seconds + 1 } else { 0 };
        before = now;
    }
    let found = if seconds < 3 { "the machine is not calm" } else { "the machine is calm" };
    println!("{found} after {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Time of all cores together, in hundredths of a second.
struct Cores {
    all: u64,
    idle: u64,
}

impl Cores {
    fn now() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user (proc(5)).
        let times: Vec<u64> =
            line.split_whitespace().skip(1).take(8).map_while(|time| time.parse().ok()).collect();
        let idle = times.get(3..5).context("/proc/stat")?.iter().sum();
        Ok(Self { all: times.iter().sum(), idle })
    }
}

async fn without_address(client: &kube::Client) -> anyhow::Result<usize> {
    let ingresses = api::all::<Ingress>(client).list(&ListParams::default()).await?;
    let has_address = |ingress: &&Ingress| {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some_and(|entries| !entries.is_empty())
    };
    Ok(ingresses.items.len() - ingresses.iter().filter(has_address).count())
}

async fn ready_endpoints(client: &kube::Client) -> anyhow::Result<usize> {
    let slices = api::all::<EndpointSlice>(client).list(&ListParams::default()).await?;
    let ready = slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| {
        endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
    });
    Ok(ready.count())
}

async fn ensure_served(controller: &Controller) -> anyhow::Result<()> {
    let hosts: Vec<String> = (0..ROUTES).step_by(50).map(host).collect();
    let answers = futures_util::stream::iter(hosts).map(|host| async move {
        let answer = Client::to(controller.http).get(&host).await.with_context(|| host.clone())?;
        ensure!(answer.status == 200, "{host}: {answer:?}");
        Ok(())
    });
    answers.buffer_unordered(8).try_collect().await
}

async fn added(
    client: &kube::Client,
    watcher: &Watcher,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Propagations> {
    let mut taken = Vec::with_capacity(numbers.len());
    for number in numbers {
        taken.push(watcher.propagation(client, number).await?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Propagations::of(&taken))
}

/// A route changes every second, and an endpoint twice as often; says how many changes that were.
async fn churn(client: &kube::Client, length: Duration) -> anyhow::Result<usize> {
    let began = Instant::now();
    let mut changes = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    while began.elapsed() < length {
        tick.tick().await;
        let flip = json!({"endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": changes / CHURNING % 2 == 1}}]});
        api::merge::<EndpointSlice>(client, &slice(changes % CHURNING), flip).await?;
        changes += 1;
        if changes % 2 == 0 {
            let path = format!("/v{changes}");
            let paths = json!([{"path": path, "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]);
            let name = name(changes % ROUTES);
            let rules = json!([{"host": format!("{name}.example.com"), "http": {"paths": paths}}]);
            api::merge::<Ingress>(client, &name, json!({"spec": {"rules": rules}})).await?;
        }
    }
    Ok(changes + changes / 2)
}
