//! The controller: what the binary decides goes in, the loop turns until the process must end.

mod turn;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ringress_shared::command::{Event, ShardPort};
use ringress_translate::Settings;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::acknowledge::GenerationReport;
use crate::admin::{self, Admin, Explain, FlagTold};
use crate::default_certificate;
use crate::error::Error;
use crate::live::Live;
use crate::readiness::Readiness;
use crate::reconcile::Overlay;
use crate::shutdown::{self, Ended};
use crate::source::Source;
use crate::supervise::supervise;
use crate::tickets::TicketKeys;
use turn::Loop;

/// What the binary decides.
pub struct Config {
    /// Where objects come from.
    pub source: Source,
    /// What the flags say; without a fallback certificate one is made.
    pub settings: Settings,
    /// Serves everything of the admin; `None`: nowhere.
    pub admin_address: Option<SocketAddr>,
    /// Serves health and metrics only; `None`: nowhere.
    pub health_address: Option<SocketAddr>,
    /// How long connections may take to end after draining began.
    pub drain_timeout: Duration,
    /// How long the process goes on accepting after it was asked to stop.
    pub shutdown_grace_period: Duration,
    /// Changes the objects before they are translated.
    pub overlay: Option<Overlay>,
    /// Answers `POST /explain`.
    pub explain: Explain,
    /// Hears of every generation that is live on all shards, and of changes that only made problems come or go.
    pub on_generation: Box<dyn FnMut(GenerationReport) + Send>,
}

/// The control plane of one process.
pub struct Controller {
    source: Source,
    settings: Arc<Settings>,
    drain_timeout: Duration,
    shutdown_grace_period: Duration,
    overlay: Option<Overlay>,
    explain: Explain,
    flags: Arc<[FlagTold]>,
    on_generation: Box<dyn FnMut(GenerationReport) + Send>,
    events: mpsc::UnboundedReceiver<Event>,
    live: Arc<Live>,
    tickets: Arc<TicketKeys>,
    admin: Option<TcpListener>,
    health: Option<TcpListener>,
}

impl Controller {
    /// Prepares everything that can fail before traffic is touched, and takes the admin addresses.
    ///
    /// # Errors
    /// An admin address is taken; the machine gives no randomness.
    pub fn new(
        mut config: Config,
        ports: Vec<Arc<dyn ShardPort>>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Result<Self, Error> {
        let admin =
            config.admin_address.map(|address| admin_listener(address, "--admin-address")).transpose()?;
        let health =
            config.health_address.map(|address| admin_listener(address, "--health-address")).transpose()?;
        if config.settings.fallback_certificate.is_none() {
            config.settings.fallback_certificate = Some(Arc::new(default_certificate::self_signed()?));
        }
        let cluster = match &config.source {
            Source::Cluster(source) => Some(&**source),
            Source::Folder(_) | Source::Texts(_) => None,
        };
        let live = Live::new(ports, cluster);
        Ok(Self {
            source: config.source,
            settings: Arc::new(config.settings),
            drain_timeout: config.drain_timeout,
            shutdown_grace_period: config.shutdown_grace_period,
            overlay: config.overlay,
            explain: config.explain,
            flags: Arc::default(),
            on_generation: config.on_generation,
            events,
            live,
            tickets: TicketKeys::new().map_err(|_| Error::NoRandomness)?,
            admin,
            health,
        })
    }

    /// What `GET /dump` shows as the flags of the process.
    pub fn with_flags(self, flags: impl Into<Arc<[FlagTold]>>) -> Self {
        Self { flags: flags.into(), ..self }
    }

    /// Where the admin listens; tells the number where port 0 was asked for.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where health and metrics listen; tells the number where port 0 was asked for.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Whether requests should come here, now and later.
    pub fn readiness(&self) -> Readiness {
        Readiness::new(&self.live)
    }

    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.
    ///
    /// # Errors
    /// A configured port cannot be listened on, the folder cannot be read, or a shard died.
    pub async fn run(self) -> Result<Ended, Error> {
        let stop = shutdown::signals().map_err(Error::Signals)?;
        self.run_until(stop).await
    }

    /// As [`run`](Self::run), with messages instead of signals: the first stops, the second ends at once.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until(self, stop: mpsc::Receiver<()>) -> Result<Ended, Error> {
        let live = Arc::clone(&self.live);
        let ended = self.serve_until(stop).await;
        live.stopping.send_replace(true);
        ended
    }

    async fn serve_until(mut self, mut stop: mpsc::Receiver<()>) -> Result<Ended, Error> {
        // Dropped when this future ends, and with it what runs beside the loop.
        let mut beside = JoinSet::new();
        for (listener, pages) in
            [(self.admin.take(), admin::Pages::All), (self.health.take(), admin::Pages::Health)]
        {
            if let Some(listener) = listener {
                let (live, explain) = (Arc::clone(&self.live), Arc::clone(&self.explain));
                let admin = Admin { live, explain, flags: Arc::clone(&self.flags) };
                let router = admin::router(pages, admin);
                let listener = Arc::new(listener);
                let serve = move || admin::serve(Arc::clone(&listener), router.clone());
                beside.spawn(supervise("admin", serve));
            }
        }
        // An API server that does not answer may keep us here for ever, and nothing is served yet that could drain.
        let may_wait = matches!(self.source, Source::Cluster(_));
        let (change, changes) = tokio::select! {
            biased;
            opened = self.source.clone().open() => opened?,
            Some(()) = stop.recv(), if may_wait => return Ok(Ended::Drained { cut: 0 }),
        };
        let mut control = Loop::new(self, changes, stop);
        control.first(change).await?;
        beside.spawn(control.resolver());
        control.turn().await
    }
}

fn admin_listener(address: SocketAddr, flag: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| Error::Admin { address, flag, source })
}
