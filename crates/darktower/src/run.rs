//! The life of a process: what starts in which order, when it is ready, how
//! it stops.

use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use darktower_net::Certs;
use darktower_telemetry::{MetricsListener, Telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::database;
use crate::services::{Given, Services};
use crate::settings::{Certificate, Settings};
use crate::{state, trust};

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Global,
    Meeting,
    Media,
}

impl Role {
    /// The name in logs, spans and directories.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "darktower",
            Self::Global => "global-controller",
            Self::Meeting => "meeting-controller",
            Self::Media => "media-handler",
        }
    }

    pub(crate) fn has_global(self) -> bool {
        matches!(self, Self::All | Self::Global)
    }

    pub(crate) fn has_meeting(self) -> bool {
        matches!(self, Self::All | Self::Meeting)
    }

    pub(crate) fn has_media(self) -> bool {
        matches!(self, Self::All | Self::Media)
    }
}

/// Where a process listens, for the line that says it is ready.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// Plain HTTP for the page under development.
    pub(crate) http: Option<SocketAddr>,
    /// HTTP over TLS, TCP and UDP.
    pub(crate) https: Option<SocketAddr>,
    /// WebTransport for signalling, UDP.
    pub(crate) signal: Option<SocketAddr>,
    /// WebTransport for media, UDP.
    pub(crate) media: Option<SocketAddr>,
    /// The state store offered to other processes.
    pub(crate) state: Option<SocketAddr>,
    /// `/metrics` of a process without the HTTP API.
    pub(crate) metrics: Option<SocketAddr>,
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime")
}

/// Runs until a signal asks to stop.
pub(crate) fn run(role: Role, settings: Settings) -> anyhow::Result<()> {
    runtime()?.block_on(live(role, settings))
}

/// Brings the database's schema up to date; says what was done.
pub(crate) fn migrate(settings: &Settings) -> anyhow::Result<String> {
    let data_dir = &settings.node.data_dir;
    runtime()?.block_on(database::migrate(&settings.database, data_dir))
}

async fn live(role: Role, settings: Settings) -> anyhow::Result<()> {
    let began = Instant::now();
    // Before anything else: a signal during the start is a signal, too.
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let telemetry = Telemetry::install(&settings.telemetry, role.name())?;
    let trust = trust::of(role, &settings)?;
    let state = state::open(role, &settings.state, &trust).await?;
    let certs = certs(role, &settings.certificate, &settings.node.data_dir)?;
    let fresh = tokio::spawn(certs.clone().keep_fresh());
    let given = Given {
        role,
        store: state.store.clone(),
        certs,
        prometheus: telemetry.prometheus(),
        trust,
        data_dir: settings.node.data_dir.clone(),
    };
    let mut addresses = Addresses {
        state: state.offered.as_ref().map(|serving| serving.addr()),
        ..Addresses::default()
    };
    let metrics = if role.has_global() {
        None
    } else {
        Some(MetricsListener::start(&settings.telemetry, telemetry.prometheus()).await?)
    };
    addresses.metrics = metrics.as_ref().map(MetricsListener::address);

    let stop_within = settings.node.stop_within;
    let starting = Services::start(given, settings, &mut addresses);
    let services = tokio::select! {
        services = starting => services?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    tell_ready(role, &addresses, began)?;

    let by = tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    tracing::info!(by, grace_ms = millis(stop_within), "stopping");
    let stop = async {
        services.stop(stop_within).await;
        if let Some(metrics) = metrics {
            metrics.stop(LAST_WORDS).await;
        }
        if let Some(offered) = state.offered {
            offered.stop(LAST_WORDS).await;
        }
        fresh.abort();
    };
    tokio::select! {
        () = stop => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::info!("stopped at once, as asked again"),
    }
    tokio::task::spawn_blocking(move || telemetry.shutdown())
        .await
        .context("the last spans")
}

/// How long listeners without meetings may take to end their last request.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(500);

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The certificate from files, or a self-signed one. Processes apart keep one
/// each: their registry entries say which, and none writes another's file.
fn certs(role: Role, settings: &Certificate, data_dir: &Path) -> anyhow::Result<Certs> {
    let files = (&settings.chain_file, &settings.key_file);
    if !files.0.as_os_str().is_empty() || !files.1.as_os_str().is_empty() {
        return Certs::from_files(files.0, files.1).context("certificate.chain_file and key_file");
    }
    let directory = match role {
        Role::All => data_dir.to_owned(),
        apart => data_dir.join(apart.name()),
    };
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("node.data_dir {}", directory.display()))?;
    Certs::development(&settings.names, Some(&directory), SystemTime::now())
        .context("the self-signed certificate")
}

/// One line for programs, and one for people.
fn tell_ready(role: Role, addresses: &Addresses, began: Instant) -> anyhow::Result<()> {
    use std::io::Write as _;
    tracing::info!(
        event = "ready",
        role = role.name(),
        version = env!("CARGO_PKG_VERSION"),
        http = addresses.http.map(display),
        https = addresses.https.map(display),
        signal = addresses.signal.map(display),
        media = addresses.media.map(display),
        state = addresses.state.map(display),
        metrics = addresses.metrics.map(display),
        took_ms = millis(began.elapsed()),
        "ready"
    );
    if let Some(http) = addresses.http {
        let mut out = std::io::stdout().lock();
        writeln!(out, "open http://localhost:{}", http.port())
            .and_then(|()| out.flush())
            .context("standard output")?;
    }
    Ok(())
}
