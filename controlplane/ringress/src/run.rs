//! `ringress run`: serves a cluster, or a folder of manifests, and every change to it.

use std::process::ExitCode;
use std::sync::Arc;

use ringress_controller::source::kube::KubeSource;
use ringress_controller::{Config, Source, status};

use crate::args::{Cluster, Origin, Run, Told};
use crate::boot::{self, Boot};
use crate::explain;
use crate::files::{Manifests, Texts};
use crate::logging::{self, Lines};

/// Serves until SIGTERM.
///
/// # Errors
/// What keeps it from serving.
pub(crate) fn run(run: Run, told: Vec<Told>) -> anyhow::Result<ExitCode> {
    let lines = Lines::to_stdout()?;
    logging::log_to(&lines, run.process.log_level.as_deref().unwrap_or("info"));
    for (flag, why) in run.ignored {
        tracing::warn!(flag, why, "a flag of ingress-nginx is ignored");
    }
    let (source, manifests, writer) = match run.origin {
        Origin::Folder(folder) => (Source::Folder(folder.clone()), Manifests::Folder(folder), None),
        Origin::Cluster(cluster) => {
            let Cluster { scope, patience, cache, status } = *cluster;
            let source = KubeSource::new(status.access.clone(), scope, patience);
            let writer = status::writer(status, source.progress());
            let source = match cache {
                Some(cache) => source.with_cache(cache),
                None => source,
            };
            // Objects of a cluster stand in no file.
            (Source::Cluster(Box::new(source)), Manifests::Texts(Texts::new()), Some(writer))
        }
    };
    let (writer, feed) = writer.unzip();
    let config = Config {
        source,
        settings: run.settings,
        admin_address: Some(run.admin_address),
        health_address: run.health_address,
        drain_timeout: run.drain_timeout,
        shutdown_grace_period: run.shutdown_grace_period,
        overlay: None,
        explain: explain::for_admin(manifests),
        // The controller logs every generation itself.
        on_generation: match feed {
            Some(mut feed) => Box::new(move |report| feed.tell(report)),
            None => Box::new(|_| {}),
        },
    };
    let boot = Boot { process: run.process, lines: lines.clone(), admin: Arc::default(), told };
    let ended = boot::serve(boot, writer, |_, _| Ok(config));
    lines.flush();
    ended
}
