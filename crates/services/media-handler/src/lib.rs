//! The media handler: takes sealed frames from who may send them and gives them to
//! who is subscribed. It sees headers, never pictures.
//!
//! The rules are `darktower_media`'s [`Forwarder`](darktower_media::Forwarder) (one
//! for each meeting, `meeting.rs`) and [`Egress`](darktower_media::Egress) (one for
//! each session, `egress.rs`); here are their effects: shards that own sockets,
//! sessions and meetings (`shard.rs`), the door where tokens are verified, and the
//! gRPC service by which meeting controllers say what should be. Frames of
//! participants never leave the shards' threads; doors, gRPC and the receiving ends
//! of trunks (`trunk.rs`) are on the async side.
//!
//! It must not link a cipher for frames, know a name or a role, or wait for a
//! controller: what was said last holds while nobody speaks.
//!
//! Start with [`start`].
//!
//! Invariant: a session never blocks its shard. What it does not take in time is
//! dropped at its own egress, and then it is cut off. No shard waits for another.

mod config;
mod control;
mod directory;
mod door;
mod egress;
mod ingress;
mod measure;
mod meeting;
mod packet;
mod reach;
mod say;
mod session;
mod shard;
mod timers;
mod trunk;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darktower_cluster::rpc::media_handler_server::MediaHandlerServer;
use darktower_cluster::token::{ReplayCache, Verifier};
use darktower_cluster::{Registration, Timing, Trust, grpc};
use darktower_media::door::Door;
use darktower_media::path;
use darktower_net::plane::{Inlet, Plane};
use darktower_net::wt::Serving;
use darktower_net::{BindError, Certs, Ports};
use darktower_store::{Node, Service, StateStore};
use darktower_wire::ids::{MeetingId, NodeId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use directory::Directory;
use shard::{Message, Shard};

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
    /// Whom it speaks gRPC with.
    pub trust: Trust,
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

/// What all shards and tasks of one handler share.
struct Shared {
    config: Config,
    verifier: Arc<Verifier>,
    replays: ReplayCache,
    tap: Option<Tap>,
    directory: Directory,
    /// The origin of the cores' time.
    origin: Instant,
    shards: usize,
    /// The ways into them, once they stand.
    inlets: OnceLock<Arc<[Inlet<Message>]>>,
    /// What trunks are dialled from.
    trunk_ports: Ports,
    /// For what has to be asked of others.
    runtime: Handle,
    /// Sessions, from the request until the peer was told of the end.
    sessions: watch::Sender<usize>,
    meetings: AtomicUsize,
    door: Mutex<Door>,
    /// Tell participants to go elsewhere.
    draining: CancellationToken,
    /// Close everything.
    stopping: CancellationToken,
}

impl Shared {
    fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }

    /// The way to the shard that a meeting lives on.
    fn home(&self, meeting: MeetingId) -> Option<Inlet<Message>> {
        let inlets = self.inlets.get()?;
        inlets.get(directory::home(meeting, self.shards)).cloned()
    }

    fn sessions(&self) -> usize {
        *self.sessions.borrow()
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it carries, as others are told.
    fn load(&self) -> u32 {
        self.door().load(self.origin.elapsed())
    }

    fn came(&self) {
        self.sessions.send_modify(|sessions| *sessions += 1);
    }

    fn went(&self) {
        self.sessions
            .send_modify(|sessions| *sessions = sessions.saturating_sub(1));
    }

    /// Waits until there is no session.
    async fn empty(&self) {
        // The sender is this one: it is not gone.
        let _ = self.sessions.subscribe().wait_for(|left| *left == 0).await;
    }

    fn tap(&self, direction: Direction, bytes: impl FnOnce() -> Bytes) {
        if let Some(tap) = &self.tap {
            tap(direction, &bytes());
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
    plane: Plane<Message>,
    grpc: grpc::Serving,
    registration: Arc<Registration>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a media handler.
pub async fn start(config: Config, deps: Deps) -> Result<Running, StartError> {
    let shards = config.shards();
    let shared = Arc::new(Shared {
        replays: ReplayCache::new(config.replay_capacity),
        config: config.clone(),
        verifier: deps.verifier,
        tap: deps.tap,
        directory: Directory::default(),
        origin: Instant::now(),
        shards,
        inlets: OnceLock::new(),
        trunk_ports: Ports::default(),
        runtime: Handle::current(),
        sessions: watch::Sender::new(0),
        meetings: AtomicUsize::new(0),
        door: Mutex::new(Door::new(config.capacity)),
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
    });
    let serving = Serving::new(&config.server(deps.certs.clone()))?;
    let serving = serving.with_paths(shared.origin, path::Config::default());
    let make = shared.clone();
    let plane = Plane::start("media", config.listen, shards, &serving, move |index| {
        Shard::new(make.clone(), index)
    })?;
    let addr = plane.addr();
    // Set here alone, and once.
    let inlets = shared.inlets.get_or_init(|| plane.inlets().into());
    let control = control::Control::new(shared.clone(), inlets.clone());
    let service = MediaHandlerServer::new(control);
    let routes = tonic::service::Routes::new(service);
    let listen = config.grpc_listen;
    let grpc = grpc::serve_to(&deps.trust, listen, routes).await;
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
            .unwrap_or_else(|| grpc::url_in(&deps.trust, grpc_addr)),
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
    let tasks = vec![tokio::spawn(upkeep(
        shared.clone(),
        registration.clone(),
        deps.certs,
    ))];
    tracing::info!(node_id = %deps.node, %addr, %grpc_addr, shards, "media handler started");
    Ok(Running {
        addr,
        grpc_addr,
        shared,
        plane,
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
            node.load = shared.load();
            node.certificate_sha256 = hashes(&certs);
            node.draining = shared.draining.is_cancelled();
        });
        let meetings = shared.meetings.load(Ordering::Relaxed);
        measure::sizes(shared.sessions(), meetings);
    }
}

impl Running {
    /// Media sessions connected.
    pub fn sessions(&self) -> usize {
        self.shared.sessions()
    }

    /// Tells participants to go elsewhere, waits up to `grace` for them to do so,
    /// closes what is left and gives up the ports.
    pub async fn stop(self, grace: Duration) {
        let shared = self.shared;
        shared.draining.cancel();
        self.registration.update(|node| node.draining = true);
        tell(&self.plane, || Message::Drain).await;
        if tokio::time::timeout(grace, shared.empty()).await.is_err() {
            tracing::info!(
                left = shared.sessions(),
                "closing the media sessions that are left"
            );
        }
        shared.stopping.cancel();
        tell(&self.plane, || Message::Stop).await;
        if tokio::time::timeout(CLOSE_WITHIN, shared.empty())
            .await
            .is_err()
        {
            tracing::warn!(left = shared.sessions(), "some sessions do not end");
        }
        let plane = self.plane;
        if let Err(error) = tokio::task::spawn_blocking(move || plane.stop()).await {
            tracing::error!(%error, "the shards were not waited for");
        }
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

async fn tell(plane: &Plane<Message>, message: impl Fn() -> Message) {
    for inlet in plane.inlets() {
        if inlet.send(message()).await.is_err() {
            tracing::error!("a shard is gone");
        }
    }
}
