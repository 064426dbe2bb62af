//! The way to the servers: bounded in calls and in time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::Slot;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::scripts::Script;
use super::wakes::Waiting;
use crate::Error;

/// Calls that may be under way: far more than a server that keeps up ever has, and what a store that is slow may hold
/// of our memory.
const UNDER_WAY: usize = 1024;

/// A server that does not answer by then is taken for gone.
const SINGLE_WITHIN: Duration = Duration::from_millis(500);

/// In a cluster a call is tried again while a replica takes over, so it gets longer.
const CLUSTER_WITHIN: Duration = Duration::from_millis(900);

/// A whole log may be large.
const LOAD_WITHIN: Duration = Duration::from_secs(3);

/// One server that has said nothing for so long, while it was asked, gets a new connection: the old may be dead at the
/// other end, and what was asked on it takes memory.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// A cluster whose node is silent is asked anew who has its slots so often, until another node has.
const SEEK_EVERY: Duration = Duration::from_secs(1);

/// What a first connection may take, name lookup and TLS included.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What a call is given.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Usual,
    /// For a meeting's whole log.
    Load,
}

/// One server, or many that share the keys.
#[derive(Clone)]
enum Servers {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

/// The calls to them.
pub(super) struct Link {
    servers: Arc<Mutex<Servers>>,
    again: Again,
    free: Semaphore,
    silence: Mutex<Silence>,
}

/// How connections are made anew.
enum Again {
    One(Box<dyn Fn() -> Result<ConnectionManager, RedisError> + Send + Sync>),
    /// Its client finds a node again, and looks who has a slot where it is told of another: by a node that stands still it
    /// is told nothing.
    Cluster(Box<ClusterClient>, Waiting),
}

/// What has not been answered.
#[derive(Debug)]
struct Silence {
    /// When something was last heard of the one server, or the last new connection made.
    since: Instant,
    /// The slots of a cluster whose last call was not answered.
    slots: HashSet<Slot>,
}

impl Link {
    pub(super) fn to_cluster(
        connected: ClusterConnection,
        client: Box<ClusterClient>,
        waiting: Waiting,
    ) -> Self {
        Self::new(Servers::Cluster(connected), Again::Cluster(client, waiting))
    }

    pub(super) fn to_one(
        connect: impl Fn() -> Result<ConnectionManager, RedisError> + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        let server = Servers::Single(connect()?);
        Ok(Self::new(server, Again::One(Box::new(connect))))
    }

    fn new(servers: Servers, again: Again) -> Self {
        Self {
            servers: Arc::new(Mutex::new(servers)),
            again,
            free: Semaphore::new(UNDER_WAY),
            silence: Mutex::new(Silence {
                since: Instant::now(),
                slots: HashSet::new(),
            }),
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        locked(&self.servers)
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        // Nothing below panics while it is held.
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has been answered.
    fn heard(&self, slot: Option<Slot>) {
        let mut silence = self.silence();
        match self.again {
            Again::One(_) => silence.since = Instant::now(),
            Again::Cluster(..) => {
                if let Some(slot) = slot {
                    silence.slots.remove(&slot);
                }
            }
        }
    }

    /// A call has not been answered.
    fn suspect(&self, slot: Option<Slot>) {
        let mut silence = self.silence();
        let now = Instant::now();
        let silent = now - silence.since;
        match &self.again {
            Again::One(connect) if silent >= SILENT_FOR => {
                silence.since = now;
                match connect() {
                    Ok(server) => *self.servers() = Servers::Single(server),
                    Err(error) => tracing::debug!(%error, "no new connection to the state store"),
                }
            }
            Again::Cluster(client, waiting) => {
                let is_first = slot.is_none_or(|slot| silence.slots.insert(slot));
                if !is_first && silent >= SEEK_EVERY {
                    silence.since = now;
                    let (client, waiting) = (client.clone(), waiting.clone());
                    tokio::spawn(connect_again(client, waiting, Arc::clone(&self.servers)));
                }
            }
            Again::One(_) => {}
        }
    }

    fn within(&self, patience: Patience) -> Duration {
        match (patience, &*self.servers()) {
            (Patience::Load, _) => LOAD_WITHIN,
            (Patience::Usual, Servers::Single(_)) => SINGLE_WITHIN,
            (Patience::Usual, Servers::Cluster(_)) => CLUSTER_WITHIN,
        }
    }

    /// Calls the script, by name where the server knows it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
        patience: Patience,
    ) -> Result<T, Error> {
        let until = Instant::now() + self.within(patience);
        let slot = keys.first().map(Slot::for_key);
        let known = script.known(keys, arguments);
        match self.send(&known, slot, until).await {
            Err(Failure::Redis(error)) if is_unknown(&error) => {
                let whole = script.whole(keys, arguments);
                Ok(self.send(&whole, slot, until).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Calls a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let until = Instant::now() + self.within(Patience::Usual);
        Ok(self.send(command, None, until).await?)
    }

    async fn send<T: FromRedisValue>(
        &self,
        command: &Cmd,
        slot: Option<Slot>,
        until: Instant,
    ) -> Result<T, Failure> {
        let free = timeout_at(until, self.free.acquire()).await;
        let (Ok(Ok(_mine)), true) = (free, Instant::now() < until) else {
            return Err(Failure::Crowded);
        };
        let mut servers = self.servers().clone();
        let answer = async {
            match &mut servers {
                Servers::Single(server) => command.query_async(server).await,
                Servers::Cluster(servers) => command.query_async(servers).await,
            }
        };
        match timeout_at(until, answer).await {
            Ok(answer) => {
                self.heard(slot);
                answer.map_err(Failure::Redis)
            }
            Err(_) => {
                self.suspect(slot);
                Err(Failure::TimedOut)
            }
        }
    }
}

fn locked(servers: &Mutex<Servers>) -> MutexGuard<'_, Servers> {
    // Nothing here panics while it is held.
    servers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the nodes of a cluster that answer who has which slots, on connections of its own that are used from then on.
async fn connect_again(client: Box<ClusterClient>, waiting: Waiting, servers: Arc<Mutex<Servers>>) {
    match timeout(CONNECT_WITHIN, client.get_async_connection()).await {
        Ok(Ok(connected)) => {
            *locked(&servers) = Servers::Cluster(connected);
            waiting.end();
        }
        Ok(Err(error)) => tracing::debug!(%error, "no node of the state store's cluster answers"),
        Err(_) => tracing::debug!("no node of the state store's cluster answers in time"),
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

enum Failure {
    Crowded,
    TimedOut,
    Redis(RedisError),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Crowded => Self::TooMuch("too many calls to the state store are under way"),
            Failure::TimedOut => Self::TimedOut,
            Failure::Redis(error) if error.is_timeout() => Self::TimedOut,
            Failure::Redis(error) => match error.kind() {
                ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                    Self::Corrupt(error.to_string())
                }
                _ => Self::Unavailable(error.to_string()),
            },
        }
    }
}
