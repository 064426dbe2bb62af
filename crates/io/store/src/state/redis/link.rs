//! The way to the servers: bounded in calls and in time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::scripts::Script;
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
    servers: Mutex<Servers>,
    /// The one server's connection, made anew; nothing in a cluster, whose client does that by node.
    again: Option<Again>,
    free: Semaphore,
    /// When something was last heard, or the connection made.
    heard: Mutex<Instant>,
}

type Again = Box<dyn Fn() -> Result<ConnectionManager, RedisError> + Send + Sync>;

impl Link {
    pub(super) fn to_cluster(cluster: ClusterConnection) -> Self {
        Self::new(Servers::Cluster(cluster), None)
    }

    pub(super) fn to_one(
        connect: impl Fn() -> Result<ConnectionManager, RedisError> + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        let server = Servers::Single(connect()?);
        Ok(Self::new(server, Some(Box::new(connect))))
    }

    fn new(servers: Servers, again: Option<Again>) -> Self {
        Self {
            servers: Mutex::new(servers),
            again,
            free: Semaphore::new(UNDER_WAY),
            heard: Mutex::new(Instant::now()),
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        // Nothing below panics while it is held.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has not been answered.
    fn suspect(&self) {
        let Some(again) = &self.again else { return };
        let now = Instant::now();
        let mut heard = self.heard();
        if now - *heard < SILENT_FOR {
            return;
        }
        *heard = now;
        drop(heard);
        match again() {
            Ok(server) => *self.servers() = Servers::Single(server),
            Err(error) => tracing::debug!(%error, "no new connection to the state store"),
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
        match self.send(&script.known(keys, arguments), until).await {
            Err(Failure::Redis(error)) if is_unknown(&error) => {
                let whole = script.whole(keys, arguments);
                Ok(self.send(&whole, until).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Calls a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let until = Instant::now() + self.within(Patience::Usual);
        Ok(self.send(command, until).await?)
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd, until: Instant) -> Result<T, Failure> {
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
                *self.heard() = Instant::now();
                answer.map_err(Failure::Redis)
            }
            Err(_) => {
                self.suspect();
                Err(Failure::TimedOut)
            }
        }
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
