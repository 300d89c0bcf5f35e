//! From the moment the API server has a change to the moment every shard answers by it.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use super::api::{self, Access};
use super::backend::{ADDRESS, Backend};
use super::bounds::{Bound, Misses, PROMISED};
use super::bystander::Bystander;
use super::controller::Controller;
use super::{Scene, inside};
use crate::client::Client;
use crate::load::{Load, load_during};

/// The Service of all routes that are added.
const SERVICE: &str = "web";
/// What a build for debugging keeps where four other threads keep two cores busy (4 and 20 ms), and no longer keeps where it
/// takes ten times as long as by itself (1 ms at the median).
const CROWDED: [Bound; 2] =
    [Bound { name: "p50", per_mille: 500, ms: 10.0 }, Bound { name: "p95", per_mille: 950, ms: 40.0 }];
/// How often each shard is asked: a fifth of what is measured is lost at most.
const EVERY: Duration = Duration::from_micros(200);
/// Answers that tell the jitter of the machine: a second of it.
const QUIET: usize = 2_000;
/// Long enough for anything but a loss.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three times sixty routes: the quickest are held to what a build for debugging keeps beside other tests.
pub(crate) fn short() -> anyhow::Result<()> {
    let mut misses = Misses::default();
    let Measured { steps, quiet } = measure(Scene::up("routes")?, 180, 60)?;
    let p50 = |propagations: &Propagations| propagations.served.quantile(500);
    let quickest = steps.iter().map(|(_, taken)| taken).min_by(|one, other| p50(one).total_cmp(&p50(other)));
    misses.propagation("the quickest step", &CROWDED, quickest.context("a step")?, &quiet);
    misses.none()
}

/// As the published benchmarks do it: three thousand, one after the other, each with a host of its own.
pub(crate) fn long() -> anyhow::Result<()> {
    let scene = Scene::measured("routes")?;
    let mut misses = Misses::default();
    let Measured { steps, quiet } = measure(scene, 3_000, 500)?;
    for (from, propagations) in &steps {
        misses.propagation(&format!("{from} routes"), &PROMISED, propagations, &quiet);
    }
    if let [(_, first), .., (_, last)] = &steps[..] {
        misses.growth("the last step beside the first", first, last, &quiet);
    }
    misses.none()
}

struct Measured {
    /// How many routes there were, and how long the next ones took.
    steps: Vec<(usize, Propagations)>,
    /// How long an answer took while nothing changed.
    quiet: Spread,
}

fn measure(scene: Scene, routes: usize, step: usize) -> anyhow::Result<Measured> {
    let Scene { world, access, plan } = scene;
    let backend = Backend::start(&world, 9001)?;
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, SERVICE, ADDRESS, &[backend.port]).await?;
        let controller = Controller::start(&plan).await?;
        let watcher = Watcher::start(controller.connection_per_shard().await?, &access)?;
        let mut steps = Vec::new();
        for from in (0..routes).step_by(step) {
            let mut taken = Vec::with_capacity(step);
            for number in from..from + step {
                taken.push(watcher.propagation(&client, number).await?);
            }
            let propagations = Propagations::of(&taken);
            println!("{from:>5} routes: {propagations}");
            steps.push((from, propagations));
        }
        let quiet = watcher.quiet("p0.example.com")?;
        println!("an answer while nothing changes: {quiet}");
        println!("resident: {}", controller.resident()?);
        Ok(Measured { steps, quiet })
    })
}

/// Asks every shard for a host until all have it, in a thread of its own, beside a bystander.
pub(crate) struct Watcher {
    bystander: Bystander,
    questions: mpsc::Sender<Question>,
    answers: mpsc::Receiver<anyhow::Result<Vec<Instant>>>,
    _thread: JoinHandle<()>,
}

enum Question {
    /// When did each shard answer 200, after nothing but 404?
    Until200(String),
    /// So many answers, one after the other.
    Repeat(String, usize),
}

impl Watcher {
    pub(crate) fn start(shards: Vec<Client>, access: &Access) -> anyhow::Result<Self> {
        let bystander = Bystander::start(access)?;
        let (questions, asked) = mpsc::channel::<Question>();
        let (answer, answers) = mpsc::channel();
        let sockets: Vec<std::net::TcpStream> =
            shards.into_iter().map(Client::into_std).collect::<anyhow::Result<_>>()?;
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async move {
                let Ok(mut shards) =
                    sockets.into_iter().map(Client::from_std).collect::<anyhow::Result<Vec<_>>>()
                else {
                    return;
                };
                while let Ok(question) = asked.recv() {
                    if answer.send(question.answered_by(&mut shards).await).is_err() {
                        return;
                    }
                }
            });
        });
        Ok(Self { bystander, questions, answers, _thread: thread })
    }

    /// Creates a route; how long after the write was acknowledged the last shard served it, and a bystander had it.
    ///
    /// # Errors
    /// A shard answered anything but 404 and then 200.
    pub(crate) async fn propagation(
        &self,
        client: &kube::Client,
        number: usize,
    ) -> anyhow::Result<Propagation> {
        let host = format!("p{number}.example.com");
        self.questions.send(Question::Until200(host.clone())).context("the watcher ended")?;
        api::create_ingress(client, api::ingress(&format!("p{number}"), &host, SERVICE)).await?;
        let acknowledged = Instant::now();
        let served = self.answers.recv().context("the watcher ended")??;
        let last = served.into_iter().max().context("a shard")?;
        let seen = self.bystander.saw(&format!("p{number}")).await?;
        Ok(Propagation {
            served: last.saturating_duration_since(acknowledged),
            seen: seen.saturating_duration_since(acknowledged),
        })
    }

    /// How long answers take while nothing changes: the jitter of the machine itself.
    pub(crate) fn quiet(&self, host: &str) -> anyhow::Result<Spread> {
        self.questions.send(Question::Repeat(host.to_owned(), QUIET)).context("the watcher ended")?;
        let times = self.answers.recv().context("the watcher ended")??;
        Ok(Spread::of(times.windows(2).map(|two| two[1] - two[0]).collect()))
    }
}

impl Question {
    async fn answered_by(self, shards: &mut [Client]) -> anyhow::Result<Vec<Instant>> {
        match self {
            Self::Until200(host) => until_200(shards, &host).await,
            Self::Repeat(host, requests) => repeat(shards, &host, requests).await,
        }
    }
}

async fn until_200(shards: &mut [Client], host: &str) -> anyhow::Result<Vec<Instant>> {
    let began = Instant::now();
    let mut served: Vec<Option<Instant>> = vec![None; shards.len()];
    loop {
        for (shard, served) in shards.iter_mut().zip(&mut served) {
            let status = shard.get(host).await?.status;
            match (status, &served) {
                (404, None) => {}
                (200, None) => *served = Some(Instant::now()),
                (200, Some(_)) => {}
                (status, before) => anyhow::bail!("{host}: {status}, served before: {}", before.is_some()),
            }
        }
        if served.iter().all(Option::is_some) {
            return Ok(served.into_iter().flatten().collect());
        }
        ensure!(began.elapsed() < PATIENCE, "{host}: not on every shard: {served:?}");
        // This thread does nothing else, and timers of the runtime are ten times as coarse.
        std::thread::sleep(EVERY);
    }
}

async fn repeat(shards: &mut [Client], host: &str, requests: usize) -> anyhow::Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(requests);
    for number in 0..requests {
        let count = shards.len();
        let status = shards[number % count].get(host).await?.status;
        ensure!(status == 200, "{host}: {status}");
        times.push(Instant::now());
        std::thread::sleep(EVERY);
    }
    Ok(times)
}

/// From a write that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Propagation {
    /// To the first 200 on the last shard.
    served: Duration,
    /// To the event at a program that only watches.
    seen: Duration,
}

/// Quantiles of propagations.
#[derive(Debug)]
pub(crate) struct Propagations {
    pub(crate) served: Spread,
    pub(crate) seen: Spread,
}

impl Propagations {
    pub(crate) fn of(taken: &[Propagation]) -> Self {
        Self {
            served: Spread::of(taken.iter().map(|one| one.served).collect()),
            seen: Spread::of(taken.iter().map(|one| one.seen).collect()),
        }
    }
}

impl std::fmt::Display for Propagations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; a bystander: {}", self.served, self.seen)
    }
}

/// Quantiles of durations.
#[derive(Debug)]
pub(crate) struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    /// In milliseconds; no number where nothing was measured.
    pub(crate) fn quantile(&self, per_mille: usize) -> f64 {
        let rank = (self.sorted.len() * per_mille).div_ceil(1000).max(1) - 1;
        self.sorted.get(rank).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p95, p99, max] = [500, 950, 990, 1000].map(|per_mille| self.quantile(per_mille));
        write!(f, "p50 {p50:.2} p95 {p95:.2} p99 {p99:.2} max {max:.2} ms of {}", self.sorted.len())
    }
}

/// An endpoint is taken out of its slice: when did it see its last request?
pub(crate) fn endpoint_gone() -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::measured("endpoint")?;
    let (stays, goes) = (Backend::start(&world, 9001)?, Backend::start(&world, 9002)?);
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, SERVICE, ADDRESS, &[stays.port, goes.port]).await?;
        api::create_ingress(&client, api::ingress("web", "web.example.com", SERVICE)).await?;
        let controller = Controller::start(&plan).await?;
        let mut taken = Vec::new();
        for _ in 0..30 {
            taken.push(one_goes(&client, &controller, &goes).await?);
        }
        let spread = Spread::of(taken);
        println!("last request after the endpoint was gone: {spread}");
        let mut misses = Misses::default();
        misses.at_most("the last request to an endpoint that is gone", spread.quantile(1000), 20.0, "ms");
        misses.none()
    })
}

async fn one_goes(
    client: &kube::Client,
    controller: &Controller,
    goes: &Backend,
) -> anyhow::Result<Duration> {
    let slice = format!("{SERVICE}-{}", goes.port);
    let there = json!([{"addresses": [ADDRESS], "conditions": {"ready": true}}]);
    api::merge::<EndpointSlice>(client, &slice, json!({"endpoints": there})).await?;
    let removed = async {
        let before = goes.asked().requests;
        let began = Instant::now();
        while goes.asked().requests < before + 20 {
            ensure!(began.elapsed() < PATIENCE, "the endpoint takes no requests");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        api::merge::<EndpointSlice>(client, &slice, json!({"endpoints": []})).await?;
        let acknowledged = Instant::now();
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(acknowledged)
    };
    let (acknowledged, seen) = load_during(Load::of(controller.http, "web.example.com", 8), removed).await?;
    seen.none_failed_of(100)?;
    let last = goes.asked().last.context("a request")?;
    Ok(last.saturating_duration_since(acknowledged))
}
