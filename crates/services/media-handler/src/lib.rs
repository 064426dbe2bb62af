//! The media handler: takes sealed frames from who may send them and gives them to
//! who is subscribed. It sees headers, never pictures.
//!
//! The rules are `darktower_media`'s [`Forwarder`](darktower_media::Forwarder) (one
//! task for each meeting, `shard.rs`) and [`Egress`](darktower_media::Egress) (one
//! for each session, `egress.rs`); here are their effects: the door where tokens are
//! verified, sessions, streams and datagrams, and the gRPC service by which meeting
//! controllers say what should be.
//!
//! It must not link a cipher for frames, know a name or a role, or wait for a
//! controller: what was said last holds while nobody speaks.
//!
//! Start with [`start`].
//!
//! Invariant: a session never blocks its meeting's shard. What it does not take in
//! time is dropped at its own egress, and then it is cut off.

mod config;
mod control;
mod directory;
mod door;
mod egress;
mod measure;
mod session;
mod shard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::rpc::media_handler_server::MediaHandlerServer;
use darktower_cluster::token::{ReplayCache, Verifier};
use darktower_cluster::{Registration, Timing, grpc};
use darktower_net::{BindError, Certs, Server};
use darktower_store::{Node, Service, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::NodeId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::Config;
use directory::Directory;

/// The path of media sessions.
pub const PATH: &str = "/v1/media";

/// How often the node's entry in the registry is brought up to date.
const UPKEEP: Duration = Duration::from_secs(1);

/// How long sessions get to end once they must.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Which way tapped bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a participant.
    Ingress,
    /// To a participant.
    Egress,
}

/// Sees every byte of streams and datagrams that carry frames.
pub type Tap = Arc<dyn Fn(Direction, &Bytes) + Send + Sync>;

/// What the service is given.
#[derive(Clone)]
pub struct Deps {
    /// Where nodes are registered.
    pub state: Arc<dyn StateStore>,
    /// Verifies media tokens.
    pub verifier: Arc<Verifier>,
    /// What it shows to participants. Whoever made them keeps them fresh.
    pub certs: Certs,
    /// This instance.
    pub node: NodeId,
    /// For tests that look for plaintext.
    pub tap: Option<Tap>,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The participants' side.
    #[error("media sessions: {0}")]
    Net(#[from] BindError),
    /// The controllers' side.
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

/// What all tasks of one handler share.
struct Shared {
    config: Config,
    verifier: Arc<Verifier>,
    replays: ReplayCache,
    tap: Option<Tap>,
    directory: Directory,
    /// The origin of the cores' time.
    origin: Instant,
    next_session: AtomicU64,
    sessions: TaskTracker,
    shards: TaskTracker,
    /// Tell participants to go elsewhere.
    draining: CancellationToken,
    /// Close everything.
    stopping: CancellationToken,
}

impl Shared {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What a session ends with whose meeting has no shard any more.
    fn orphaned(&self) -> Code {
        match self.stopping.is_cancelled() {
            true => Code::Draining,
            false => Code::MeetingEnded,
        }
    }

    fn tap(&self, direction: Direction, bytes: &Bytes) {
        if let Some(tap) = &self.tap {
            tap(direction, bytes);
        }
    }
}

/// A running media handler.
pub struct Running {
    /// Where participants connect, by UDP.
    pub addr: SocketAddr,
    /// Where meeting controllers call.
    pub grpc_addr: SocketAddr,
    shared: Arc<Shared>,
    server: Arc<Server>,
    grpc: grpc::Serving,
    registration: Arc<Registration>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a media handler.
pub async fn start(config: Config, deps: Deps) -> Result<Running, StartError> {
    let server = Arc::new(Server::bind(config.server(deps.certs.clone()))?);
    let addr = server.local_addr();
    let shared = Arc::new(Shared {
        replays: ReplayCache::new(config.replay_capacity),
        config: config.clone(),
        verifier: deps.verifier,
        tap: deps.tap,
        directory: Directory::default(),
        origin: Instant::now(),
        next_session: AtomicU64::new(1),
        sessions: TaskTracker::new(),
        shards: TaskTracker::new(),
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
    });
    let service = MediaHandlerServer::new(control::Control::new(shared.clone()));
    let routes = tonic::service::Routes::new(service);
    let listen = config.grpc_listen;
    let grpc = grpc::serve(listen, routes).await;
    let grpc = grpc.map_err(|source| StartError::Grpc {
        addr: listen,
        source,
    })?;
    let grpc_addr = grpc.addr();
    let mut node = Node::new(
        deps.node,
        Service::Media,
        config
            .grpc_url
            .clone()
            .unwrap_or_else(|| grpc::url(grpc_addr)),
        config
            .public_url
            .clone()
            .unwrap_or_else(|| format!("https://{addr}{PATH}")),
    );
    node.region.clone_from(&config.region);
    node.certificate_sha256 = hashes(&deps.certs);
    node.capacity = config.capacity;
    node.version = env!("CARGO_PKG_VERSION").to_owned();
    let timing = Timing::default();
    let registration = Arc::new(Registration::start(deps.state, node, timing).await?);
    let tasks = vec![
        tokio::spawn(door::run(shared.clone(), server.clone())),
        tokio::spawn(upkeep(shared.clone(), registration.clone(), deps.certs)),
    ];
    tracing::info!(node_id = %deps.node, %addr, %grpc_addr, "media handler started");
    Ok(Running {
        addr,
        grpc_addr,
        shared,
        server,
        grpc,
        registration,
        tasks,
    })
}

fn hashes(certs: &Certs) -> Vec<[u8; 32]> {
    certs.hashes().into_iter().map(|hash| hash.0).collect()
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
            node.certificate_sha256 = hashes(&certs);
            node.draining = shared.draining.is_cancelled();
        });
        measure::sizes(shared.sessions.len(), shared.shards.len());
    }
}

impl Running {
    /// Media sessions connected.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Tells participants to go elsewhere, waits up to `grace` for them to do so,
    /// closes what is left and gives up the ports.
    pub async fn stop(self, grace: Duration) {
        let shared = self.shared;
        shared.draining.cancel();
        self.registration.update(|node| node.draining = true);
        shared.sessions.close();
        if tokio::time::timeout(grace, shared.sessions.wait())
            .await
            .is_err()
        {
            tracing::info!(
                left = shared.sessions.len(),
                "closing the media sessions that are left"
            );
        }
        shared.stopping.cancel();
        if tokio::time::timeout(CLOSE_WITHIN, shared.sessions.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = shared.sessions.len(), "some sessions do not end");
        }
        self.server.stop(Duration::from_secs(1)).await;
        self.grpc.stop(Duration::from_secs(1)).await;
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the media handler failed");
            }
        }
        if let Some(registration) = Arc::into_inner(self.registration) {
            registration.stop().await;
        }
    }
}
