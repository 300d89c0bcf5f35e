//! `ringress dev`: the real data plane on this machine, from a folder or from an embedded example.
//!
//! What `run` serves, `dev` serves too, with three additions that need no cluster: an echo backend behind every Service
//! without endpoints, a certificate of this run for every host, and a screen that says what to try. No file is written.

mod authority;
mod backends;
mod classes;
mod example;
mod listening;
mod routes;
mod screen;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringress_controller::{Config, Source};
use ringress_shared::command::ShardPort;
use ringress_translate::{Key, Objects};
use tokio::runtime::Runtime;

use crate::args::{self, Dev, Told};
use crate::boot::{self, Boot};
use crate::explain;
use crate::files::Manifests;
use crate::logging::{self, Lines};
use crate::terminal::Style;
use authority::Authority;
use backends::Backends;
use classes::Undefined;
use listening::Listening;
use screen::Screen;

/// Serves until Ctrl-C.
///
/// # Errors
/// What keeps it from serving.
pub(crate) fn run(dev: Dev, told: Vec<Told>) -> anyhow::Result<ExitCode> {
    let lines = Lines::to_stdout()?;
    logging::log_to_stderr(dev.process.log_level.as_deref().unwrap_or(LOG_LEVEL));
    let boot = Boot { process: dev.process.clone(), lines: lines.clone(), admin: Arc::default(), told };
    let admin = Arc::clone(&boot.admin);
    let ended =
        boot::serve(boot, None, |runtime, ports| configure(dev, runtime, ports, (lines.clone(), admin)));
    lines.flush();
    ended
}

/// The screen tells what is wrong with objects; the log is for what it does not expect.
const LOG_LEVEL: &str = "warn,ringress_controller::problems=off";

fn configure(
    dev: Dev,
    runtime: &Runtime,
    ports: &[Arc<dyn ShardPort>],
    (lines, admin): (Lines, Arc<OnceLock<std::net::SocketAddr>>),
) -> anyhow::Result<Config> {
    let mut settings = dev.settings;
    let authority = match settings.default_ssl_certificate {
        // Somebody brought a certificate for everything.
        Some(_) => None,
        None => Some(Authority::new()?),
    };
    let mut certificate_of_authority = None;
    if let Some(authority) = &authority {
        settings.default_ssl_certificate = Some(Key::of(&authority::secret()));
        certificate_of_authority = Some(authority.publish(runtime.handle())?);
    }
    let (source, manifests) = match &dev.manifests {
        Some(folder) => (Source::Folder(folder.clone()), Manifests::Folder(folder.clone())),
        None => (Source::Texts(example::texts()), Manifests::Texts(example::texts())),
    };
    let mut screen = Screen {
        style: Style::of_stdout(),
        program: args::program(),
        folder: dev.manifests.map(|folder| folder.display().to_string()),
        listening: Listening::new(settings.http, settings.https),
        drivers: screen::drivers(ports),
        admin,
        certificate_of_authority,
        manifests: manifests.clone(),
        shown: Vec::new(),
        undefined: Undefined::new(),
    };
    Ok(Config {
        source,
        settings,
        admin_address: Some(dev.admin_address),
        health_address: None,
        // Nobody waits long for a trial to end.
        drain_timeout: Duration::from_secs(1),
        shutdown_grace_period: Duration::ZERO,
        overlay: Some(overlay(Backends::new(runtime.handle().clone()), authority)),
        explain: explain::for_admin(manifests),
        on_generation: Box::new(move |report| lines.send(screen.tell(&report).into_bytes())),
    })
}

/// What `dev` adds to what was read.
fn overlay(mut backends: Backends, mut authority: Option<Authority>) -> Box<dyn FnMut(&mut Objects) + Send> {
    Box::new(move |objects| {
        backends.stand_in(objects);
        if let Some(authority) = &mut authority {
            authority.certify(objects);
        }
    })
}
