//! The meeting controller: where participants signal, and meetings live.
//!
//! The rules are `darktower_meeting`'s [`Meeting`](darktower_meeting::Meeting), one
//! task for each (`shard.rs`); here are their effects: the door where tokens are
//! verified, sessions, the log and lease of each meeting in the state store, the
//! calls to media handlers and the gRPC service for global controllers.
//!
//! It must not decide anything about a meeting, hold a key of one, or serve a
//! meeting whose lease is another's.
//!
//! Start with [`start`].
//!
//! Invariant: a session never blocks its meeting. What it does not take in time cuts
//! it off, and its seat is held.

mod config;
mod control;
mod directory;
mod door;
mod elsewhere;
mod handlers;
mod measure;
mod owner;
mod probe;
mod reports;
mod session;
mod shard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use darktower_cluster::rpc::meeting_controller_server::MeetingControllerServer;
use darktower_cluster::token::{ReplayCache, Verifier};
use darktower_cluster::{Registration, Timing, Trust, Wall, grpc};
use darktower_net::{BindError, Certs, Server};
use darktower_store::{Node, Service, StateStore};
use darktower_wire::ids::NodeId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::Config;
use directory::Directory;
use handlers::Handlers;
use reports::Reports;

/// The path of signalling sessions.
pub const PATH: &str = "/v1/signal";

/// How often the node's entry in the registry is brought up to date.
const UPKEEP: Duration = Duration::from_secs(1);

/// How long the meetings may take to write their logs when the service stops.
const WIND_UP: Duration = Duration::from_secs(5);

/// How long the last reports may take when the service stops.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// What the service is given.
#[derive(Clone)]
pub struct Deps {
    /// Where nodes are registered, leases taken and meetings logged.
    pub state: Arc<dyn StateStore>,
    /// Verifies join tokens.
    pub verifier: Arc<Verifier>,
    /// What it shows to participants. Whoever made them keeps them fresh.
    pub certs: Certs,
    /// This instance.
    pub node: NodeId,
    /// Whom it speaks gRPC with.
    pub trust: Trust,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The participants' side.
    #[error("signalling sessions: {0}")]
    Net(#[from] BindError),
    /// The global controllers' side.
    #[error("gRPC on {addr}: {source}")]
    Grpc {
        /// Where it should listen.
        addr: SocketAddr,
        /// Why it does not.
        source: std::io::Error,
    },
    /// The registry of nodes.
    #[error("cannot register the node: {0}")]
    Register(#[from] darktower_store::Error),
}

/// What all tasks of one controller share.
struct Shared {
    config: Config,
    verifier: Arc<Verifier>,
    trust: Trust,
    replays: ReplayCache,
    directory: Directory,
    handlers: Handlers,
    reports: Reports,
    nodes: watch::Receiver<Arc<Vec<Node>>>,
    /// The origin of the cores' time.
    origin: Instant,
    /// What is written in a meeting's log is read by others: by a clock that they share.
    wall: Wall,
    next_session: AtomicU64,
    sessions: TaskTracker,
    shards: TaskTracker,
    links: TaskTracker,
    /// Tell participants to go elsewhere.
    draining: CancellationToken,
    /// Close everything.
    stopping: CancellationToken,
}

impl Shared {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A running meeting controller.
pub struct Running {
    /// Where participants connect, by UDP.
    pub addr: SocketAddr,
    /// Where global controllers call.
    pub grpc_addr: SocketAddr,
    shared: Arc<Shared>,
    server: Arc<Server>,
    grpc: grpc::Serving,
    registration: Arc<Registration>,
    tasks: Vec<JoinHandle<()>>,
    reporting: JoinHandle<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addr", &self.addr)
            .field("grpc_addr", &self.grpc_addr)
            .finish_non_exhaustive()
    }
}

/// Starts a meeting controller.
pub async fn start(config: Config, deps: Deps) -> Result<Running, StartError> {
    let server = Arc::new(Server::bind(config.server(deps.certs.clone()))?);
    let addr = server.local_addr();
    let service = control::Control::default();
    let late = service.shared();
    let routes = tonic::service::Routes::new(MeetingControllerServer::new(service));
    let listen = config.grpc_listen;
    let grpc = grpc::serve_to(&deps.trust, listen, routes).await;
    let grpc = grpc.map_err(|source| StartError::Grpc {
        addr: listen,
        source,
    })?;
    let grpc_addr = grpc.addr();
    let mut node = Node::new(
        deps.node,
        Service::Meeting,
        config
            .grpc_url
            .clone()
            .unwrap_or_else(|| grpc::url_in(&deps.trust, grpc_addr)),
        config
            .public_url
            .clone()
            .unwrap_or_else(|| format!("https://{addr}{PATH}")),
    );
    node.region.clone_from(&config.region);
    node.certificate_sha256 = deps.certs.hashes().iter().map(|hash| hash.0).collect();
    node.capacity = config.capacity;
    node.version = env!("CARGO_PKG_VERSION").to_owned();
    let state = deps.state.clone();
    let registration = Registration::start(deps.state, node, Timing::default()).await?;
    let registration = Arc::new(registration);
    let (reports, messenger) = reports::channel(registration.nodes(), &config, &deps.trust);
    let shared = Arc::new_cyclic(|shared| Shared {
        replays: ReplayCache::new(config.replay_capacity),
        directory: Directory::new(deps.node, state, config.lease_ttl, shared.clone()),
        config,
        verifier: deps.verifier,
        trust: deps.trust,
        handlers: Handlers::default(),
        reports,
        nodes: registration.nodes(),
        origin: Instant::now(),
        wall: registration.wall(),
        next_session: AtomicU64::new(1),
        sessions: TaskTracker::new(),
        shards: TaskTracker::new(),
        links: TaskTracker::new(),
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
    });
    late.get_or_init(|| shared.clone());
    let tasks = vec![
        tokio::spawn(door::run(shared.clone(), server.clone())),
        tokio::spawn(probe::run(shared.clone())),
        tokio::spawn(upkeep(shared.clone(), registration.clone(), deps.certs)),
    ];
    let reporting = tokio::spawn(messenger.run());
    tracing::info!(node_id = %deps.node, %addr, %grpc_addr, "meeting controller started");
    Ok(Running {
        addr,
        grpc_addr,
        shared,
        server,
        grpc,
        registration,
        tasks,
        reporting,
    })
}

async fn upkeep(shared: Arc<Shared>, registration: Arc<Registration>, certs: Certs) {
    let mut every = tokio::time::interval(UPKEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = every.tick() => {}
        }
        registration.update(|node| {
            node.load = u32::try_from(shared.sessions.len()).unwrap_or(u32::MAX);
            node.certificate_sha256 = certs.hashes().iter().map(|hash| hash.0).collect();
            node.draining = shared.draining.is_cancelled();
        });
        measure::sizes(shared.sessions.len(), shared.directory.len());
    }
}

impl Running {
    /// Signalling sessions connected.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Meetings that live here.
    pub fn meetings(&self) -> usize {
        self.shared.directory.len()
    }

    /// Takes nobody new, waits up to `grace` for participants to leave, gives up the
    /// meetings with their logs whole, closes what is left and gives up the ports.
    pub async fn stop(mut self, grace: Duration) {
        let shared = self.shared;
        shared.draining.cancel();
        self.registration.update(|node| node.draining = true);
        shared.sessions.close();
        let gone = tokio::time::timeout(grace, shared.sessions.wait()).await;
        if gone.is_err() {
            tracing::info!(
                left = shared.sessions.len(),
                "closing the sessions that are left"
            );
        }
        shared.stopping.cancel();
        shared.shards.close();
        shared.links.close();
        let wound_up = async {
            shared.shards.wait().await;
            shared.links.wait().await;
        };
        if tokio::time::timeout(WIND_UP, wound_up).await.is_err() {
            tracing::warn!("meetings could not be given up in time; their leases will expire");
        }
        shared.reports.close();
        let reported = tokio::time::timeout(LAST_REPORTS, &mut self.reporting).await;
        if reported.is_err() {
            tracing::warn!("what happened in meetings could not be reported in time");
            self.reporting.abort();
        }
        self.server.stop(Duration::from_secs(1)).await;
        self.grpc.stop(Duration::from_secs(1)).await;
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the meeting controller failed");
            }
        }
        if let Some(registration) = Arc::into_inner(self.registration) {
            registration.stop().await;
        }
    }
}
