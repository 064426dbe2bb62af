//! The serving process: `darktower media`, alone, with nothing but this bench around it.
//!
//! A media handler needs a registry to be found by and a global controller's public key to verify tokens with. The bench
//! is both: it offers a state store in its memory by gRPC, as a global controller does, and is listed there with the key
//! that it signs tokens with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use darktower_cluster::token::{Jwks, Signer, SigningKey};
use darktower_cluster::{StateService, grpc, random_bytes};
use darktower_store::{MemoryState, Node, Service, StateStore, Topic};
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use darktower_wire::token::{Audience, Role};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::quota::Quota;

/// From the start of the process to its entry in the registry.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The bench's own entry outlives every row.
const LISTED_FOR: Duration = Duration::from_secs(24 * 3600);

/// A running media handler and what is needed to use it.
pub struct Handler {
    /// Its process id.
    pub pid: u32,
    /// Where participants connect.
    pub addr: SocketAddr,
    /// SHA-256 of the certificates it shows.
    pub certificates: Vec<[u8; 32]>,
    /// Where meeting controllers call.
    pub grpc_url: String,
    signer: Signer,
    process: Child,
    /// Goes after the process.
    _quota: Option<Quota>,
    _registry: grpc::Serving,
    dir: TempDir,
}

/// How the handler is run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Threads that forward; `None`: as many as it takes by itself.
    pub shards: Option<usize>,
    /// Cores that it gets at most.
    pub cores: Option<f64>,
}

impl Handler {
    /// Starts the program at `darktower` as a media handler.
    pub async fn start(darktower: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let signer = Signer::new(SigningKey::generate()?);
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let routes = tonic::service::Routes::new(StateService::server(state.clone()));
        let registry = grpc::serve(any, routes).await.context("the registry")?;
        let url = grpc::url(registry.addr());
        let mut listed = Node::new(NodeId(random_bytes()?), Service::Global, url, String::new());
        let keys = vec![signer.key().jwk().clone()];
        listed.jwks = Jwks { keys }.to_json();
        state.put_node(listed, LISTED_FOR).await?;

        // It runs in a directory of its own.
        let darktower = std::fs::canonicalize(darktower)
            .with_context(|| format!("there is no {}", darktower.display()))?;
        let dir = tempfile::tempdir()?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(&darktower);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("DARKTOWER_") {
                command.env_remove(variable);
            }
        }
        if let Some(shards) = settings.shards {
            command.env("DARKTOWER_MEDIA__SHARDS", shards.to_string());
        }
        let process = command
            .arg("media")
            .current_dir(dir.path())
            .env(
                "DARKTOWER_STATE__URL",
                format!("grpc://{}", registry.addr()),
            )
            .env("DARKTOWER_MEDIA__LISTEN", any.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", darktower.display()))?;
        let pid = process.id().context("it has ended")?;
        let quota = settings.cores.map(|cores| Quota::of(cores, pid));
        let quota = quota.transpose()?;
        let listed = timeout(READY_WITHIN, first_handler(&*state)).await;
        let node = match listed {
            Ok(node) => node?,
            Err(_) => {
                let log = std::fs::read_to_string(dir.path().join("log"))?;
                anyhow::bail!("the media handler was not ready in time; it said: {log}")
            }
        };
        let addr = node.public_url.strip_prefix("https://");
        let addr = addr.and_then(|rest| rest.split('/').next());
        let addr = addr.context("a media handler without URL")?.parse()?;
        Ok(Self {
            pid,
            addr,
            certificates: node.certificate_sha256,
            grpc_url: node.grpc_url,
            signer,
            process,
            _quota: quota,
            _registry: registry,
            dir,
        })
    }

    /// A token that opens one session.
    pub fn token(&self, meeting: MeetingId, seat: ParticipantId) -> anyhow::Result<String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (audience, role) = (Audience::Media, Role::Guest);
        Ok(self.signer.issue(audience, seat, meeting, role, now_s)?)
    }

    /// Ends the process, at once; fails if it had ended before, with what it said last.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(self.dir.path().join("log"))?;
            let last: Vec<_> = log.lines().rev().take(5).collect();
            anyhow::bail!("the media handler ended by itself ({status}): {last:?}");
        }
        self.process.kill().await.context("cannot stop it")
    }
}

async fn first_handler(state: &dyn StateStore) -> anyhow::Result<Node> {
    let mut changes = state.subscribe(Topic::Nodes).await?;
    loop {
        let listed = state.list_nodes(Some(Service::Media)).await?;
        if let Some(node) = listed.into_iter().next() {
            return Ok(node);
        }
        changes.next().await.context("the registry has ended")?;
    }
}
