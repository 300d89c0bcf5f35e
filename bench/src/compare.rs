//! The verb `compare`: all peers at once, measured in turn.
//!
//! The machine drifts between faster and slower phases of minutes, so peers take turns within a round (A B A B)
//! and only figures of one run are compared. A peer that waits costs nothing measurable.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Verdict,
    args::{CompareArgs, PeerKind},
    certificate::Certificate,
    load::{self, Plan},
    machine::Machine,
    origin,
    peer::{self, Peer, Task},
    report::{Figures, ScenarioReport},
    runtime,
    scenario::{self, Scenario, Transport},
};

/// Runs what was asked for, prints the tables and writes the JSON.
pub(crate) fn run(mut args: CompareArgs) -> Result<Verdict> {
    let machine = Machine::read();
    ensure!(
        args.proxy_core != args.load_core,
        "--proxy-core and --load-core are both {}: proxy and generator would take each other's time",
        args.proxy_core
    );
    for scenario in &args.scenarios {
        load::ensure_descriptors(scenario)?;
    }
    if args.peers.contains(&PeerKind::Ringress) {
        // Before pinning, so that a build may use every core.
        args.ringress = Some(peer::find_ringress(args.ringress.as_deref())?);
    }
    eprintln!("{} × {}, Linux {}", machine.processors, machine.processor, machine.kernel);
    for warning in machine.warnings() {
        eprintln!("warning: {warning}");
    }
    runtime::pin(args.load_core)?;
    runtime::block_on(async move || compare(&args, &machine).await)
}

async fn compare(args: &CompareArgs, machine: &Machine) -> Result<Verdict> {
    let folder = tempfile::tempdir().context("no folder for the configurations")?;
    let certificate = Certificate::generate()?;
    let task = Task {
        folder: folder.path(),
        origin: origin::spawn()?,
        certificate: &certificate,
        proxy_core: args.proxy_core,
        load_core: args.load_core,
    };
    // A worker that drops its privileges still has to reach its temporary files.
    make_searchable(folder.path())?;
    let mut peers = Vec::new();
    for &kind in &args.peers {
        peers.push(Peer::start(kind, args, &task)?);
    }
    for peer in &mut peers {
        greet(peer, args, &certificate).await?;
    }
    let mut reports = Vec::new();
    for scenario in &args.scenarios {
        let report = measure(scenario, &mut peers, args, &certificate).await?;
        println!("{report}");
        reports.push(report);
    }
    if let Some(file) = &args.out {
        let document = document(args, machine, &peers, &reports);
        fs::write(file, format!("{document:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("written to {}", file.display());
    }
    let errors = reports.iter().map(ScenarioReport::error_count).sum();
    if errors > 0 {
        eprintln!("{errors} exchanges failed: these figures must not be used");
    }
    Ok(Verdict::from_errors(errors))
}

/// Waits until a peer answers on both ports and checks where it runs.
async fn greet(peer: &mut Peer, args: &CompareArgs, certificate: &Certificate) -> Result<()> {
    for name in ["a", "c"] {
        let scenario = scenario::parse(name).map_err(anyhow::Error::msg)?;
        let served = load::wait_until_served(plan(scenario, peer, args, certificate)?, GREETING_LIMIT).await;
        served.with_context(|| format!("{}; its last words:\n{}", peer.name, peer.last_words()))?;
    }
    peer.ensure_pinned(args.proxy_core)?;
    eprintln!("{}: {}", peer.name, peer.version);
    Ok(())
}

async fn measure(
    scenario: &'static Scenario,
    peers: &mut [Peer],
    args: &CompareArgs,
    certificate: &Certificate,
) -> Result<ScenarioReport> {
    let mut report = ScenarioReport {
        scenario,
        peers: peers.iter().map(|peer| (peer.name, Vec::new())).collect(),
        errors: BTreeMap::new(),
    };
    for round in 1..=args.rounds {
        for (peer, (_, rounds)) in peers.iter_mut().zip(&mut report.peers) {
            let plan = plan(scenario, peer, args, certificate)?;
            let outcome = load::drive(plan, Some(peer.processes()?)).await;
            let outcome =
                outcome.with_context(|| format!("{}; its last words:\n{}", peer.name, peer.last_words()))?;
            let figures = Figures::of(&outcome);
            eprintln!("{} round {round}/{} {}: {figures}", scenario.name, args.rounds, peer.name);
            for (error, count) in outcome.errors {
                *report.errors.entry(format!("{}: {error}", peer.name)).or_default() += count;
            }
            rounds.push(figures);
        }
    }
    Ok(report)
}

fn plan(scenario: &Scenario, peer: &Peer, args: &CompareArgs, certificate: &Certificate) -> Result<Plan> {
    Ok(Plan {
        scenario: *scenario,
        address: peer.address(scenario.transport),
        tls: match scenario.transport {
            Transport::Plain => None,
            Transport::Tls => Some(certificate.client_config()?),
        },
        warm_up: Duration::from_secs_f64(args.warm_up),
        window: Duration::from_secs_f64(args.seconds),
    })
}

fn document(args: &CompareArgs, machine: &Machine, peers: &[Peer], reports: &[ScenarioReport]) -> Value {
    let peers: Vec<_> = peers
        .iter()
        .map(|peer| json!({ "name": peer.name, "version": peer.version, "command": peer.command, "log": peer.last_words() }))
        .collect();
    json!({
        "machine": machine.to_json(),
        "settings": {
            "rounds": args.rounds,
            "window_seconds": args.seconds,
            "warm_up_seconds": args.warm_up,
            "proxy_core": args.proxy_core,
            "load_core": args.load_core,
            "tls": "TLS 1.3, ECDSA P-256, X25519, AES-128-GCM, no resumption",
        },
        "peers": peers,
        "scenarios": reports.iter().map(ScenarioReport::to_json).collect::<Vec<_>>(),
    })
}

fn make_searchable(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}

const GREETING_LIMIT: Duration = Duration::from_secs(10);
