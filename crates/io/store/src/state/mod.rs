//! Live state: who is there, who owns what, and the log from which a meeting is recovered.

mod memory;
mod redis;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use tokio::sync::mpsc;

pub use memory::MemoryState;
pub use redis::{RedisOptions, RedisState};

use crate::Error;

/// Deltas a meeting's log takes on top of one snapshot; more are refused until
/// the owner writes a new snapshot.
pub const MAX_DELTAS: usize = 4096;

/// Bytes of one snapshot or delta.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// How long a meeting's log is kept after its last write.
pub const LOG_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of one note.
pub const MAX_NOTE_BYTES: usize = 4096;

const LONGEST_KEY: usize = 256;

fn check_size(record: &Bytes) -> Result<(), Error> {
    if record.len() > MAX_RECORD_BYTES {
        return Err(Error::TooMuch("a meeting's record is larger than 1 MiB"));
    }
    Ok(())
}

const ID_TAKEN: Error = Error::Taken("the node's id");

fn check_key(key: &str) -> Result<(), Error> {
    if key.len() > LONGEST_KEY {
        return Err(Error::TooMuch("a key is longer than 256 bytes"));
    }
    Ok(())
}

fn check_note(key: &str, note: &Bytes) -> Result<(), Error> {
    check_key(key)?;
    if note.len() > MAX_NOTE_BYTES {
        return Err(Error::TooMuch("a note is larger than 4 KiB"));
    }
    Ok(())
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Global controller.
    Global,
    /// Meeting controller.
    Meeting,
    /// Media handler.
    Media,
}

impl Service {
    /// The name in logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Meeting => "meeting",
            Self::Media => "media",
        }
    }
}

/// A running service instance as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Chosen at random when the instance starts.
    pub id: NodeId,
    /// What it does.
    pub service: Service,
    /// Where it stands.
    pub region: String,
    /// Its gRPC address (`http://127.0.0.1:7001`).
    pub grpc_url: String,
    /// Its WebTransport URL for participants; empty for global controllers.
    pub public_url: String,
    /// SHA-256 of the certificates it shows now and next; empty where the web PKI vouches for it.
    pub certificate_sha256: Vec<[u8; 32]>,
    /// How much it takes, in the service's own unit of load.
    pub capacity: u32,
    /// How much it carries.
    pub load: u32,
    /// Whether it is going away and takes nothing new.
    pub draining: bool,
    /// Version of its program.
    pub version: String,
    /// Public token keys as a JWKS document; global controllers only.
    pub jwks: String,
}

impl Node {
    /// A node with nothing but its id, service and addresses.
    pub fn new(id: NodeId, service: Service, grpc_url: String, public_url: String) -> Self {
        Self {
            id,
            service,
            region: String::new(),
            grpc_url,
            public_url,
            certificate_sha256: Vec::new(),
            capacity: 0,
            load: 0,
            draining: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            jwks: String::new(),
        }
    }
}

/// Who owns a meeting, until when, and with which fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Nobody, where it is free.
    pub owner: Option<NodeId>,
    /// The owner's fence; zero where the lease is free.
    pub fence: Fence,
    /// How long it still holds.
    pub remaining: Duration,
    /// Number of the last write that the meeting's log holds; zero where there is none, or where the lease is free.
    pub written: u64,
}

/// Whether a fenced write was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It stands.
    Yes,
    /// A newer fence exists: the writer is no longer the owner and must step down.
    Fenced,
    /// The log does not end with the write before this one: something that was acknowledged is lost, or a later write
    /// came first. A snapshot makes it whole.
    OutOfTurn,
}

/// What is needed to bring a meeting back to life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeetingLog {
    /// The newest snapshot; empty where there is none.
    pub snapshot: Bytes,
    /// The changes since, oldest first.
    pub deltas: Vec<Bytes>,
    /// The fence of the newest writer; zero where nothing was written.
    pub fence: Fence,
    /// Number of the last write; zero where nothing was written.
    pub number: u64,
}

/// What one may be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A node came, went or changed.
    Nodes,
    /// Something about this meeting changed.
    Meeting(MeetingId),
}

/// Wake-ups on one topic. They only wake: several may melt into one and one
/// may be lost, so whoever waits also looks from time to time.
#[derive(Debug)]
pub struct Wakes(mpsc::Receiver<()>);

impl Wakes {
    /// Wake-ups and the end that gives them.
    pub fn channel() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }

    /// The next wake-up; `None` when there will be no more and the caller has
    /// to subscribe anew.
    pub async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

/// The live state that all nodes share.
///
/// Every call either takes effect as a whole or not at all, except that after
/// [`Error::Unavailable`] and [`Error::TimedOut`] nobody knows which.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Says that `node` is there, for `ttl` from now. Replaces what was said before; [`Error::Taken`] where one that is
    /// there has its id and another gRPC address, which is another node: each owns leases by its id.
    async fn put_node(&self, node: Node, ttl: Duration) -> Result<(), Error>;

    /// Says that a node has gone. Not knowing it is fine.
    async fn remove_node(&self, id: NodeId) -> Result<(), Error>;

    /// The nodes that are there, of one service or all, ordered by id.
    async fn list_nodes(&self, service: Option<Service>) -> Result<Vec<Node>, Error>;

    /// Takes the meeting's lease where it is free or expired, renews it where
    /// `owner` holds it (the fence stays), else tells who does. An owner sees by [`Lease::written`] what the store has
    /// lost, however short it was away.
    async fn acquire_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        ttl: Duration,
    ) -> Result<Lease, Error>;

    /// Who holds the meeting's lease.
    async fn read_lease(&self, meeting: MeetingId) -> Result<Lease, Error>;

    /// Gives the lease back where `owner` still holds it with this fence.
    async fn release_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        fence: Fence,
    ) -> Result<(), Error>;

    /// Replaces the meeting's log by one snapshot.
    ///
    /// The owner numbers its tries to write, on from the number that the log had when it took it over. One that comes
    /// twice is done once; one that comes after a later one of the same fence is not done any more.
    async fn write_snapshot(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        snapshot: Bytes,
    ) -> Result<Written, Error>;

    /// Adds one change to the meeting's log, where that ends with the write before this `number`.
    async fn append_delta(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        delta: Bytes,
    ) -> Result<Written, Error>;

    /// The meeting's log; empty where there is none.
    async fn load_meeting(&self, meeting: MeetingId) -> Result<MeetingLog, Error>;

    /// Drops the meeting's log.
    async fn forget_meeting(&self, meeting: MeetingId, fence: Fence) -> Result<Written, Error>;

    /// Counts one more `key` and tells how many there were in the present
    /// window, which begins with the first.
    async fn count(&self, key: &str, window: Duration) -> Result<u64, Error>;

    /// Keeps a note under `key`, in place of what was there, for `ttl` from now.
    async fn put_note(&self, key: &str, note: Bytes, ttl: Duration) -> Result<(), Error>;

    /// The note under `key`, where there is one whose time is not over.
    async fn read_note(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// Unix time in milliseconds by the store's clock, which all nodes share; `None` where it has none but the caller's.
    async fn wall_ms(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Wakes whoever waits for `topic`.
    async fn wake(&self, topic: Topic) -> Result<(), Error>;

    /// Wake-ups for `topic` from now on.
    async fn subscribe(&self, topic: Topic) -> Result<Wakes, Error>;
}
