//! The service as a whole: started, running, stopped.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use darktower_cluster::grpc::{self, Channels};
use darktower_cluster::rpc::global_controller_server::GlobalControllerServer;
use darktower_cluster::token::{KeyFilesError, Verifier};
use darktower_cluster::{NoRandomness, Registration, Timing, Trust, random_bytes};
use darktower_net::{BindError, Certs, http};
use darktower_store::{Database, Error as StoreError, Node, Service, StateStore};
use darktower_wire::ids::NodeId;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::api;
use crate::clock::now_s;
use crate::config::Config;
use crate::controllers::Controllers;
use crate::journal::Journal;
use crate::keys::Keys;
use crate::known::Known;
use crate::limits::Limits;
use crate::reports::Reports;

const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Renders the process's metrics in Prometheus' text format.
type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What a global controller stands on.
pub struct Deps {
    /// The durable store.
    pub database: Arc<dyn Database>,
    /// The live state shared with the other nodes.
    pub state: Arc<dyn StateStore>,
    /// What it shows on TLS; needed where [`Config::https`] is set.
    pub certs: Option<Certs>,
    /// What `/metrics` answers; `None` where metrics are served elsewhere.
    pub metrics: Option<RenderMetrics>,
    /// How this node keeps its place in the registry.
    pub timing: Timing,
    /// Whom it speaks gRPC with.
    pub trust: Trust,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").finish_non_exhaustive()
    }
}

/// Why a global controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// HTTPS is asked for without a certificate.
    #[error("https is set but there is no certificate to show")]
    NoCertificate,
    /// There is nothing to serve.
    #[error("neither http nor https is set: there is nothing to serve")]
    NothingToServe,
    /// The keys that sign tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFilesError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The meeting controllers' side.
    #[error("gRPC on {addr}: {source}")]
    Grpc {
        /// Where it should listen.
        addr: SocketAddr,
        /// Why it does not.
        source: std::io::Error,
    },
    /// The registry cannot be reached.
    #[error("the node could not be registered: {0}")]
    Register(#[from] StoreError),
    /// No id could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// What every request sees.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) database: Arc<dyn Database>,
    pub(crate) controllers: Controllers,
    pub(crate) keys: Arc<Keys>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) limits: Limits,
    pub(crate) known: Known,
    pub(crate) journal: Journal,
    pub(crate) metrics: Option<RenderMetrics>,
    pub(crate) openapi: String,
}

pub(crate) type Shared = Arc<Inner>;

/// A global controller that runs until it is stopped.
pub struct Running {
    registration: Registration,
    servers: Vec<http::Server>,
    grpc: grpc::Serving,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    keys: Arc<Keys>,
    verifier: Arc<Verifier>,
    journal: JoinHandle<()>,
    sweep: JoinHandle<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.id())
            .field("http", &self.http)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}

/// Starts a global controller: it serves and is registered when this returns.
pub async fn start(config: Config, deps: Deps) -> Result<Running, StartError> {
    if config.http.is_none() && config.https.is_none() {
        return Err(StartError::NothingToServe);
    }
    let keys = Arc::new(Keys::open(&config.token_keys, now_s())?);
    let verifier = Arc::new(Verifier::of_registry(deps.state.clone()));
    verifier.learn(&[keys.jwks()]);
    let id = NodeId(random_bytes()?);
    // Where it listens is part of its registration, which the rest needs.
    let late = Arc::new(OnceLock::new());
    let grpc = serve_grpc(&config, &deps.trust, Reports::new(late.clone())).await?;
    let grpc_url = match config.grpc_url.is_empty() {
        true => grpc::url_in(&deps.trust, grpc.addr()),
        false => config.grpc_url.clone(),
    };
    let node = Node {
        region: config.region.clone(),
        jwks: keys.jwks().to_json(),
        ..Node::new(id, Service::Global, grpc_url, String::new())
    };
    let registration = Registration::start(deps.state.clone(), node, deps.timing).await?;
    let (journal, writing) = Journal::start(deps.database.clone());
    let (plain, secure) = (config.http, config.https);
    let shared = Arc::new(Inner {
        limits: Limits::new(&config, deps.state.clone()),
        known: Known::new(deps.state.clone()),
        controllers: Controllers {
            state: deps.state,
            nodes: registration.nodes(),
            channels: Channels::new(deps.trust),
            timeout: config.describe_timeout,
            region: config.region.clone(),
            sent: Default::default(),
        },
        config,
        database: deps.database,
        keys: keys.clone(),
        verifier: verifier.clone(),
        journal,
        metrics: deps.metrics,
        openapi: api::openapi(),
    });
    let sweeping = Arc::downgrade(&shared);
    late.get_or_init(|| sweeping.clone());
    let sweep = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        loop {
            tick.tick().await;
            match sweeping.upgrade() {
                Some(shared) => shared.limits.sweep(),
                None => return,
            }
        }
    });
    let router = api::router(shared);
    let mut running = Running {
        registration,
        servers: Vec::new(),
        grpc,
        http: None,
        https: None,
        keys,
        verifier,
        journal: writing,
        sweep,
    };
    let bind = |addr, transport| {
        let limits = http::Limits::default();
        let config = http::Config {
            addr,
            transport,
            limits,
        };
        http::Server::bind(config, router.clone())
    };
    if let Some(addr) = plain {
        let server = bind(addr, http::Transport::Plain)?;
        running.http = Some(server.local_addr());
        running.servers.push(server);
    }
    if let Some(addr) = secure {
        let certs = deps.certs.ok_or(StartError::NoCertificate)?;
        let server = bind(addr, http::Transport::TlsAndHttp3(certs))?;
        running.https = Some(server.local_addr());
        running.servers.push(server);
    }
    tracing::info!(node = %id, http = ?running.http, https = ?running.https, "global controller started");
    Ok(running)
}

async fn serve_grpc(
    config: &Config,
    trust: &Trust,
    reports: Reports,
) -> Result<grpc::Serving, StartError> {
    let addr = config.grpc_listen;
    let routes = Routes::new(GlobalControllerServer::new(reports));
    let serving = grpc::serve_to(trust, addr, routes).await;
    serving.map_err(|source| StartError::Grpc { addr, source })
}

impl Running {
    /// This node.
    pub fn id(&self) -> NodeId {
        self.registration.id()
    }

    /// Where plain HTTP is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where HTTPS and HTTP/3 are served.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Where meeting controllers call.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// Replaces the key that signs tokens. The new one is published first and
    /// signs after that; the old one stays published until its tokens have expired.
    pub fn rotate_token_key(&self) -> Result<(), KeyFilesError> {
        self.keys.rotate(now_s())?;
        let jwks = self.keys.jwks();
        self.verifier.learn(std::slice::from_ref(&jwks));
        self.registration.update(|node| node.jwks = jwks.to_json());
        self.keys.sign_with_newest()
    }

    /// Leaves the registry, answers what was asked, within `grace`, and stops.
    pub async fn stop(mut self, grace: Duration) {
        self.registration.update(|node| node.draining = true);
        for server in self.servers.drain(..) {
            server.stop(grace).await;
        }
        self.grpc.stop(grace).await;
        self.registration.stop().await;
        self.sweep.abort();
        // Its ends went with the servers; what it holds is written before this returns.
        if tokio::time::timeout(grace, &mut self.journal)
            .await
            .is_err()
        {
            self.journal.abort();
        }
    }
}
