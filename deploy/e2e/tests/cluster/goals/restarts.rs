//! ringress itself is restarted: replica by replica, by force, and while the API server is away.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::ListParams;

use super::api::{self, Access};
use super::backend::{ADDRESS, Backend};
use super::controller::{self, Controller};
use super::{OwnBox, Scene, inside};
use crate::audit::{self, Death};
use crate::client::Client;
use crate::lease::{self, Held};
use crate::load::{End, Failure, Load, PAUSE, Seen, load_during};
use crate::release::{route, until_address};
use crate::support::{PATIENCE, World};

/// A host of the beginner example.
const EXAMPLE: &str = "web.local";
const CLIENTS: usize = 8;

/// Two replicas from the chart, replaced twice while clients that honour `Connection: close` ask.
pub(crate) fn rolled() -> anyhow::Result<()> {
    let world = OwnBox::installed("rolled")?;
    let address = example_address(&world)?;
    let inner = (*world).clone();
    let seen = inside(&world, move || async move {
        let work = blocking(move || {
            for _ in 0..2 {
                inner.other_namespace("ringress").roll("deployment/ringress-controller")?;
            }
            Ok(())
        });
        Ok(load_during(Load::of(address, EXAMPLE, CLIENTS), work).await?.1)
    })?;
    println!("{} of {} requests failed in 2 rollouts of ringress", seen.failures.len(), seen.asked);
    seen.none_failed_of(1_000)
}

/// The leader is killed with -9. Nothing fails at the other replica. At the address of both this much may be lost, and no more:
///
/// * the connections that the killed one held: one of each client at most;
/// * new ones that are led to it although nobody listens there any more, until its endpoint has gone and new rules are in force.
///   That takes the kubelet, the controller of the endpoints and the rules of the node; nothing that ringress does is part of it.
pub(crate) fn killed() -> anyhow::Result<()> {
    let world = OwnBox::installed("killed")?;
    let both = example_address(&world)?;
    let beside = world.other_namespace("ringress");
    let first = lease::leader(&beside, LEASE)?;
    let survivor = other_replica(&beside, first.pod())?;
    let access = Access::of(&world)?;
    let (inner, leader) = ((*world).clone(), first.clone());
    let ((kill, second, gone), survivor, both) = inside(&world, move || async move {
        let client = access.client().await?;
        let (killing, victim) = (inner.clone(), leader.pod().to_owned());
        let work = async {
            let kill = blocking(move || kill(&killing, &victim)).await?;
            let pod = kill.pod.clone();
            let followed = blocking(move || followed(&inner, &leader));
            let (second, gone) = tokio::try_join!(followed, until_nobody_is_led_to(&client, &pod))?;
            anyhow::Ok((kill, second, gone))
        };
        let beside = load_during(Load::of(survivor, EXAMPLE, CLIENTS), work);
        let ((led, survivor), both) = load_during(Load::of(both, EXAMPLE, CLIENTS), beside).await?;
        anyhow::Ok((led, survivor, both))
    })?;
    println!("the other replica: {} of {} requests failed", survivor.failures.len(), survivor.asked);
    survivor.none_failed_of(1_000)?;
    ensure_bounded(&both, kill.began, gone)?;
    let after = second.since.duration_since(kill.over);
    println!("another process led after {:.1} s", after.as_secs_f64());
    ensure!(after < SignedDuration::from_secs(20), "nobody followed {first:?} before {second:?}");
    let requests = audit::requests(&beside, "ringress")?;
    audit::ensure_one_writer(&requests, LEASE, Some(&Death { pod: &kill.pod, at: kill.over }))
}

/// The Lease of the ringress that `up` installs.
const LEASE: &str = "ringress-leader";

/// A kill, and the moments between which it happened.
struct Kill {
    pod: String,
    began: Instant,
    over: Timestamp,
}

fn kill(world: &World, pod: &str) -> anyhow::Result<Kill> {
    let began = Instant::now();
    world.fault("kill", &format!("ringress/{pod}"))?;
    Ok(Kill { pod: pod.to_owned(), began, over: Timestamp::now() })
}

/// Changes Ingresses until another process leads and has shown the address of one.
fn followed(world: &World, first: &Held) -> anyhow::Result<Held> {
    let mut number = 0;
    let second = lease::successor(&world.other_namespace("ringress"), LEASE, first, || {
        number += 1;
        route(world, &format!("during-{number}"), "ringress", &format!("during-{number}.local"))
    })?;
    until_address(world, &format!("during-{number}"), &world.ringress_address()?)?;
    Ok(second)
}

/// When the API server had it that a killed pod is not ready, or is so again because its next process answers.
async fn until_nobody_is_led_to(client: &kube::Client, pod: &str) -> anyhow::Result<Instant> {
    let pods = Api::<Pod>::namespaced(client.clone(), "ringress");
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "ringress");
    let began = Instant::now();
    loop {
        let status = pods.get(pod).await?.status.unwrap_or_default();
        let came_back =
            status.container_statuses.iter().flatten().any(|one| one.restart_count > 0 && one.ready);
        let slices = slices.list(&ListParams::default()).await?;
        let mut endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
        let is_ready = endpoints.any(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            endpoint.addresses.first() == status.pod_ip.as_ref()
                && conditions.is_some_and(|conditions| conditions.ready == Some(true))
        });
        if came_back || !is_ready {
            return Ok(Instant::now());
        }
        ensure!(began.elapsed() < PATIENCE, "the endpoint of a killed process stays ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long the rules of a node may take to follow an endpoint: a busy machine's patience, not a promise of ringress.
const RULES: Duration = Duration::from_secs(2);

fn ensure_bounded(seen: &Seen, began: Instant, gone: Instant) -> anyhow::Result<()> {
    let ended = |end| seen.failures.iter().filter(|failure| failure.end == end).collect::<Vec<&Failure>>();
    let [refused, held, answered] = [End::Refused, End::Lost, End::Answered].map(ended);
    println!(
        "the address of both: of {} requests {} failed on connections that the killed one held, {} found nobody before \
         its endpoint went after {:?}",
        seen.asked,
        held.len(),
        refused.len(),
        gone.duration_since(began)
    );
    ensure!(answered.is_empty(), "{} wrong answers: {answered:?}", answered.len());
    ensure!(held.len() <= CLIENTS, "{} connections of {CLIENTS} clients: {held:?}", held.len());
    let refused_max = refused_max(gone + RULES - began);
    ensure!(refused.len() <= refused_max, "{} found nobody, more than {refused_max}", refused.len());
    let window = began..gone + RULES;
    let beyond = seen.failures.iter().find(|failure| !window.contains(&failure.at));
    ensure!(
        beyond.is_none(),
        "a failure {:?} after the kill: {beyond:?}",
        beyond.map(|failure| failure.at - began)
    );
    Ok(())
}

/// Of the clients that take a new connection each time every other one is led to nobody; the rest keep the first connection that
/// leads to somebody, for which one of them may have to try a few times.
fn refused_max(open: Duration) -> usize {
    let asked = open.as_millis() / PAUSE.as_millis();
    CLIENTS / 4 * asked as usize / 2 + CLIENTS * 8
}

fn other_replica(ringress: &World, leader: &str) -> anyhow::Result<SocketAddr> {
    let pods = ringress.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"])?;
    let other = pods.split_whitespace().find(|pod| *pod != leader).context("another replica")?;
    let pod = ringress.get("pod", other)?;
    let address = pod["status"]["podIP"].as_str().context("its address")?;
    Ok(SocketAddr::new(address.parse()?, 80))
}

fn example_address(world: &World) -> anyhow::Result<SocketAddr> {
    let address = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    let address = world.kubectl(&["get", "ingress", "beginner", "-o", address])?;
    Ok(SocketAddr::new(address.parse().context("the address of the example")?, 80))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// The API server is away when ringress starts: the cache of the process before is served, with certificates where there is
/// a key, and replaced once the API server is back.
pub(crate) fn from_the_cache() -> anyhow::Result<()> {
    let Scene { world, access, plan: plain } = Scene::up("cache")?;
    let backend = Backend::start(&world, 9001)?;
    let folder = world.cluster().folder().to_owned();
    let cache = format!("--cache-dir={}", folder.join("cache").display());
    let key = format!("--cache-key-file={}", key_file(&folder)?.display());
    let plain = plain.with(&[&cache, "--cache-after=1s"]);
    let with_key = plain.clone().with(&[&key]);
    let inner = (*world).clone();
    inside(&world, move || async move {
        let client = access.client().await?;
        populate(&client, &backend).await?;
        let before = Controller::start(&with_key).await?;
        until("the cache is written", written).await?;
        drop(before);

        let fault = inner.clone();
        blocking(move || fault.fault("stop", "kube-apiserver")).await?;
        for (plan, tls) in [(&with_key, true), (&plain, false)] {
            let controller = Controller::start(plan).await?;
            ensure!(controller::metric("ringress_cache_serving").await? == 1.0, "it does not say so");
            let readyz = controller::readyz().await?;
            let is_said =
                readyz.body.lines().any(|line| line.starts_with("degraded: ") && line.contains("cache"));
            ensure!(readyz.status == 200 && is_said, "{readyz:?}");
            let answer = Client::to(controller.http).get("plain.local").await?;
            ensure!(answer.status == 200, "{answer:?}");
            let asking = inner.clone();
            let shaken = blocking(move || Ok(shakes_hands(&asking, "secure.local"))).await?;
            ensure!(shaken == tls, "TLS of a host with a certificate: {shaken}, with a key: {tls}");
        }

        let controller = Controller::start(&plain).await?;
        blocking(move || inner.fault("start", "kube-apiserver")).await?;
        until("the cache is replaced", || async {
            let is_served = controller::metric("ringress_cache_serving").await? == 1.0;
            Ok(!is_served && !controller::readyz().await?.body.contains("degraded: "))
        })
        .await?;
        until("changes are heard", || async {
            let name = "afterwards";
            let _ = api::create_ingress(&client, api::ingress(name, "afterwards.local", "web")).await;
            Ok(Client::to(controller.http).get("afterwards.local").await?.status == 200)
        })
        .await
    })
}

async fn populate(client: &kube::Client, backend: &Backend) -> anyhow::Result<()> {
    api::create_class(client).await?;
    api::create_service(client, "web", ADDRESS, &[backend.port]).await?;
    let pair = rcgen::generate_simple_self_signed(["secure.local".to_owned()])?;
    let secret = api::tls_secret("secure", &pair.cert.pem(), &pair.signing_key.serialize_pem());
    api::create_many::<Secret>(client, [secret]).await?;
    let ingresses = [
        api::ingress("plain", "plain.local", "web"),
        api::ingress_with_tls("secure", "secure.local", "web", "secure"),
    ];
    api::create_many::<Ingress>(client, ingresses.map(api::object)).await
}

async fn written() -> anyhow::Result<bool> {
    Ok(controller::metric("ringress_cache_writes_total").await? > 0.0)
}

async fn until<F>(what: &str, mut holds: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let began = Instant::now();
    loop {
        // An error may be a moment's, too.
        let held = holds().await;
        if matches!(held, Ok(true)) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{what}: not in {} s ({held:?})", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn key_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("cache-key");
    std::fs::write(&path, "0123456789abcdef".repeat(4))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

/// Whether TLS with that name leads to an answer; curl says why not.
fn shakes_hands(world: &World, host: &str) -> bool {
    let resolve = format!("{host}:8443:{ADDRESS}");
    let url = format!("https://{host}:8443/");
    world.exec(&["curl", "-sSk", "-m", "5", "--fail", "--resolve", &resolve, &url]).is_ok()
}
