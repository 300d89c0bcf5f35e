//! ringress itself is restarted: replica by replica, by force, and while the API server is away.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;

use super::api::{self, Access};
use super::backend::{ADDRESS, Backend};
use super::client::{Client, Load, Seen, load_during};
use super::controller::{self, Controller, Plan};
use super::{OwnBox, inside};
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
                ringress(&inner, &["rollout", "restart", "deployment/ringress-controller"])?;
                ringress(&inner, &["rollout", "status", "deployment/ringress-controller", "--timeout=180s"])?;
            }
            Ok(())
        });
        Ok(load_during(Load::of(address, EXAMPLE, CLIENTS), work).await?.1)
    })?;
    println!("{} of {} requests failed in 2 rollouts of ringress", seen.failures.len(), seen.asked);
    seen.none_failed_of(1_000)
}

/// The leader is killed with -9: nothing fails at the other replica, and what is lost at the address of both are the
/// connections that the killed one held, and those that come before its endpoint goes.
pub(crate) fn killed() -> anyhow::Result<()> {
    let world = OwnBox::installed("killed")?;
    let both = example_address(&world)?;
    let first = holder(&world)?;
    let killed = pod_of(&world, &first)?;
    let survivor = other_replica(&world, &killed)?;
    let inner = (*world).clone();
    let (took, survivor, both) = inside(&world, move || async move {
        let work = blocking(move || {
            inner.fault("kill", &format!("ringress/{killed}"))?;
            let began = Instant::now();
            inner.until("another process leads", || Ok(holder(&inner)? != first))?;
            Ok(began.elapsed())
        });
        let beside = load_during(Load::of(survivor, EXAMPLE, CLIENTS), work);
        let ((took, survivor), both) = load_during(Load::of(both, EXAMPLE, CLIENTS), beside).await?;
        anyhow::Ok((took, survivor, both))
    })?;
    report("the other replica", &survivor);
    report("the address of both", &both);
    println!("another process led after {:.1} s", took.as_secs_f64());
    ensure!(took < Duration::from_secs(20), "another process led only after {took:?}");
    survivor.none_failed_of(1_000)
}

fn report(whom: &str, seen: &Seen) {
    println!("{whom}: {} of {} requests failed {:?}", seen.failures.len(), seen.asked, seen.failures.first());
}

/// The process that holds the Lease: a killed one comes back in its pod under another identity, and may lead again.
fn holder(world: &World) -> anyhow::Result<String> {
    ringress(world, &["get", "lease", "ringress-leader", "-o", "jsonpath={.spec.holderIdentity}"])
}

/// The pod of a process: its name begins the identity.
fn pod_of(world: &World, holder: &str) -> anyhow::Result<String> {
    let pods = ringress(world, &["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"])?;
    let pod = pods.split_whitespace().find(|pod| holder.starts_with(pod));
    Ok(pod.with_context(|| format!("the holder {holder:?} is none of {pods}"))?.to_owned())
}

fn other_replica(world: &World, leader: &str) -> anyhow::Result<SocketAddr> {
    let columns = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}";
    let pods = ringress(world, &["get", "pods", "-o", columns])?;
    let other = pods.lines().find(|line| !line.starts_with(leader)).context("another replica")?;
    let address = other.split(' ').nth(1).context("its address")?;
    Ok(SocketAddr::new(address.parse()?, 80))
}

fn ringress(world: &World, arguments: &[&str]) -> anyhow::Result<String> {
    world.exec(&[&["kubectl", "--namespace", "ringress"], arguments].concat())
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
    let world = OwnBox::up("cached")?;
    let backend = Backend::start(&world, 9001)?;
    let folder = world.cluster().folder().to_owned();
    let cache = format!("--cache-dir={}", folder.join("cache").display());
    let key = format!("--cache-key-file={}", key_file(&folder)?.display());
    let (access, plain) = (Access::of(&world)?, Plan::of(&world).with(&[&cache, "--cache-after=1s"]));
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
            let answer = Client::to(controller.http).get("plain.local").await?;
            ensure!(answer.status == 200, "{answer:?}");
            let asking = inner.clone();
            let shaken = blocking(move || Ok(shakes_hands(&asking, "secure.local"))).await?;
            ensure!(shaken == tls, "TLS of a host with a certificate: {shaken}, with a key: {tls}");
        }

        let controller = Controller::start(&plain).await?;
        blocking(move || inner.fault("start", "kube-apiserver")).await?;
        until("the cache is replaced", || async {
            Ok(controller::metric("ringress_cache_serving").await? == 0.0)
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
    while !holds().await? {
        ensure!(began.elapsed() < PATIENCE, "{what}: not in {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
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
