//! The API server fails; requests do not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::networking::v1::Ingress;

use super::api;
use super::backend::{ADDRESS, Backend};
use super::controller::{self, Controller};
use super::interposer::{self, Fault, Interposer};
use super::{Scene, inside};
use crate::client::Client;
use crate::load::{Load, load_during};
use crate::support::World;

const HOST: &str = "web.local";
const CLIENTS: usize = 4;
/// How soon everything is as it should be once the API server is back (reliability goal R9).
const CONVERGED: Duration = Duration::from_secs(5);

pub(crate) fn short() -> anyhow::Result<()> {
    outages(Duration::from_secs(3), Duration::from_secs(12))
}

pub(crate) fn long() -> anyhow::Result<()> {
    outages(Duration::from_secs(60), Duration::from_secs(60))
}

fn outages(each: Duration, empty: Duration) -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::up("outages")?;
    let backend = Backend::start(&world, 9001)?;
    let plan = plan.through(&kubeconfig(&world)?);
    let pki = world.cluster().folder().join("pki");
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, "web", ADDRESS, &[backend.port]).await?;
        api::create_ingress(&client, api::ingress("web", HOST, "web")).await?;
        let interposer = Interposer::start(pki).await?;
        let controller = Controller::start(&plan).await?;
        for (number, fault) in Fault::OUTAGES.into_iter().enumerate() {
            let converged = outage(&client, &controller, &interposer, (number, fault), each).await?;
            println!("{fault:?}: nothing failed, converged {:.1} s after", converged.as_secs_f64());
        }
        empty_lists(&client, &controller, &interposer, empty).await
    })
}

/// One fault under load, with a change that is made meanwhile.
async fn outage(
    client: &kube::Client,
    controller: &Controller,
    interposer: &Interposer,
    (number, fault): (usize, Fault),
    length: Duration,
) -> anyhow::Result<Duration> {
    let name = format!("meanwhile-{number}");
    let host = format!("{name}.local");
    let work = async {
        interposer.set(fault);
        let began = Instant::now();
        api::create_ingress(client, api::ingress(&name, &host, "web")).await?;
        while began.elapsed() < length {
            ensure!(controller::is_ready().await, "{fault:?}: not ready after {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut asking = Client::to(controller.http);
        ensure!(asking.get(&host).await?.status == 404, "{fault:?} did not keep the change away");
        interposer.set(Fault::None);
        let back = Instant::now();
        while asking.get(&host).await?.status != 200 {
            ensure!(
                back.elapsed() < CONVERGED,
                "{fault:?}: the change is not served {:?} after",
                back.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(back.elapsed())
    };
    let (converged, seen) = load_during(Load::of(controller.http, HOST, CLIENTS), work).await?;
    seen.none_failed_of(100).with_context(|| format!("{fault:?}"))?;
    Ok(converged)
}

/// A list without items is doubted: everything is served on, and an alarm says so.
async fn empty_lists(
    client: &kube::Client,
    controller: &Controller,
    interposer: &Interposer,
    length: Duration,
) -> anyhow::Result<()> {
    let work = async {
        interposer.set(Fault::EmptyLists);
        let began = Instant::now();
        while controller::metric("ringress_watch_empty_list_doubted").await? == 0.0 {
            ensure!(began.elapsed() < Duration::from_secs(30), "nobody doubts an empty list");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        interposer.set(Fault::None);
        tokio::time::sleep(length).await;
        ensure!(controller::is_ready().await, "not ready after an empty list");
        // Nobody looks at the right moment: what the alarm goes by outlives the doubt.
        let [doubts, doubted] =
            ["ringress_watch_empty_list_doubted", "ringress_watch_empty_lists_doubted_total"]
                .map(controller::metric);
        let (doubts, doubted) = tokio::try_join!(doubts, doubted)?;
        ensure!(doubts == 0.0 && doubted > 0.0, "doubted: {doubts}, so far: {doubted}");
        // It follows what happens from now on: a route that goes, goes.
        api::delete::<Ingress>(client, "meanwhile-0").await?;
        let mut asking = Client::to(controller.http);
        let gone = Instant::now();
        while asking.get("meanwhile-0.local").await?.status != 404 {
            ensure!(gone.elapsed() < CONVERGED, "a deleted route is served {:?} after", gone.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let ((), seen) = load_during(Load::of(controller.http, HOST, CLIENTS), work).await?;
    seen.none_failed_of(100).context("an empty list")
}

/// Leads through the interposer, with a token: its TLS ends there.
fn kubeconfig(world: &World) -> anyhow::Result<PathBuf> {
    world.kubectl(&["create", "serviceaccount", "beside"])?;
    world.kubectl(&[
        "create",
        "clusterrolebinding",
        "beside",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:beside",
    ])?;
    let token = world.kubectl(&["create", "token", "beside", "--duration=24h"])?;
    let folder = world.cluster().folder();
    let path = folder.join("kubeconfig-interposed");
    std::fs::write(&path, text(token.trim(), &folder.join("pki/ca.crt")))?;
    Ok(path)
}

fn text(token: &str, authority: &Path) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}", interposer::ADDRESS), "certificate-authority": authority,
        }}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}
