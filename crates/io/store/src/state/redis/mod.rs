//! The state store of many processes: one Redis, or a cluster of them.
//!
//! Everything of a meeting is under one hash tag, so a cluster keeps it on one server and a script sees it whole. A write
//! that was sent twice, because its answer was lost, is done once, and none is done after a later one.

mod link;
mod open;
mod record;
mod scripts;
mod wakes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use darktower_wire::Secret;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use tokio::sync::mpsc::error::TrySendError;

use super::{
    ID_TAKEN, LOG_TTL, Lease, MAX_DELTAS, MeetingLog, Node, Service, StateStore, Topic, Wakes,
    Written, check_key, check_note, check_size,
};
use crate::Error;
use link::{Link, Patience};
use scripts::{Script, Scripts};
use wakes::Waiting;

/// How long the last fence of a meeting is remembered: longer than any log or handler that knows it. Beyond that the
/// clock alone lets fences grow.
const FENCE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The largest number, and so the largest fence, that scripts compare exactly.
const LARGEST: u64 = 1 << 53;

/// Where the servers are and what they ask for.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://host:port`, `rediss://…` with TLS, `redis-cluster://a:1,b:2`, `rediss-cluster://…`; may name a user,
    /// a password and (not in a cluster) the number of a database.
    pub url: Secret<String>,
    /// What all keys begin with, so that several installations share a server.
    pub namespace: String,
    /// The password, where the URL does not hold it.
    pub password: Option<Secret<String>>,
    /// Certificates, PEM, of the authorities that are trusted instead of the system's.
    pub authorities: Option<Vec<u8>>,
}

/// Live state in Redis, shared by all who use the same servers and namespace.
#[derive(Clone)]
pub struct RedisState(Arc<Inner>);

struct Inner {
    link: Link,
    scripts: Scripts,
    waiting: Waiting,
    namespace: String,
}

impl fmt::Debug for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisState")
            .field("namespace", &self.0.namespace)
            .finish_non_exhaustive()
    }
}

/// The keys and the channel of a meeting.
struct Keys {
    lease: String,
    fence: String,
    log: String,
    deltas: String,
    wakes: String,
}

fn millis(duration: Duration) -> Vec<u8> {
    // At least one: a key that expires at once would not be there.
    duration
        .as_nanos()
        .div_ceil(1_000_000)
        .max(1)
        .to_string()
        .into()
}

fn digits(number: u64) -> Result<Vec<u8>, Error> {
    if number > LARGEST {
        return Err(Error::Corrupt(format!("{number} is none of our numbers")));
    }
    Ok(number.to_string().into())
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Corrupt("a fence or a number".to_owned()))
}

fn lease(
    (owner, fence, remaining_ms, written): (Vec<u8>, String, i64, String),
) -> Result<Lease, Error> {
    if owner.is_empty() {
        return Ok(Lease::default());
    }
    Ok(Lease {
        owner: Some(NodeId::from_slice(&owner).map_err(|error| Error::Corrupt(error.to_string()))?),
        fence: Fence(number(&fence)?),
        // Negative where it has expired since, or where somebody took its expiry away.
        remaining: Duration::from_millis(u64::try_from(remaining_ms).unwrap_or(0)),
        written: number(&written)?,
    })
}

fn written(outcome: i64) -> Result<Written, Error> {
    match outcome {
        1 => Ok(Written::Yes),
        0 => Ok(Written::Fenced),
        -1 => Err(Error::TooMuch("the meeting's log needs a new snapshot")),
        -2 => Ok(Written::OutOfTurn),
        other => Err(Error::Corrupt(format!("a script answers {other}"))),
    }
}

impl RedisState {
    fn over(link: Link, waiting: Waiting, namespace: &str) -> Self {
        Self(Arc::new(Inner {
            link,
            scripts: Scripts::new(),
            waiting,
            namespace: namespace.to_owned(),
        }))
    }

    fn keys(&self, meeting: MeetingId) -> Keys {
        let of = |what: &str| format!("{}:{{m:{meeting}}}:{what}", self.0.namespace);
        Keys {
            lease: of("lease"),
            fence: of("fence"),
            log: of("log"),
            deltas: of("deltas"),
            wakes: of("wakes"),
        }
    }

    /// A write to a meeting's log, or an end to it.
    async fn write(
        &self,
        script: &Script,
        meeting: MeetingId,
        arguments: &[&[u8]],
    ) -> Result<Written, Error> {
        let keys = self.keys(meeting);
        let keys = [keys.fence.as_str(), &keys.log, &keys.deltas];
        let link = &self.0.link;
        written(link.run(script, &keys, arguments, Patience::Usual).await?)
    }

    fn nodes(&self) -> String {
        format!("{}:{{nodes}}", self.0.namespace)
    }

    fn note(&self, key: &str) -> String {
        format!("{}:note:{key}", self.0.namespace)
    }

    fn channel(&self, topic: Topic) -> String {
        match topic {
            Topic::Nodes => format!("{}:wakes", self.nodes()),
            Topic::Meeting(meeting) => self.keys(meeting).wakes,
        }
    }
}

impl Inner {
    /// Hands what is heard on `channel` to `sender` until either end has gone, and leaves the channel then.
    async fn attend(
        self: Arc<Self>,
        channel: String,
        mut heard: tokio::sync::watch::Receiver<()>,
        sender: tokio::sync::mpsc::Sender<()>,
    ) {
        loop {
            let more = tokio::select! {
                more = heard.changed() => more.is_ok(),
                () = sender.closed() => false,
            };
            // A full channel holds a wake-up already.
            if !more || matches!(sender.try_send(()), Err(TrySendError::Closed(()))) {
                break;
            }
        }
        drop((heard, sender));
        self.leave(&channel).await;
    }

    async fn leave(&self, channel: &str) {
        if !self.waiting.forget(channel) {
            return;
        }
        let left = self
            .link
            .ask::<()>(redis::cmd("SUNSUBSCRIBE").arg(channel))
            .await;
        if let Err(error) = left {
            tracing::debug!(%error, channel, "a channel was not left: it wakes nobody");
        }
    }
}

#[async_trait]
impl StateStore for RedisState {
    async fn put_node(&self, node: Node, ttl: Duration) -> Result<(), Error> {
        let (id, url) = (node.id, node.grpc_url.clone());
        let record = record::write(node)?;
        let (ttl, channel) = (millis(ttl), self.channel(Topic::Nodes));
        let arguments: [&[u8]; 5] = [&id.0, &record, &ttl, channel.as_bytes(), url.as_bytes()];
        let (link, script) = (&self.0.link, &self.0.scripts.put_node);
        let is_put: bool = link
            .run(script, &[&self.nodes()], &arguments, Patience::Usual)
            .await?;
        is_put.then_some(()).ok_or(ID_TAKEN)
    }

    async fn remove_node(&self, id: NodeId) -> Result<(), Error> {
        let channel = self.channel(Topic::Nodes);
        let arguments: [&[u8]; 2] = [&id.0, channel.as_bytes()];
        let (link, script) = (&self.0.link, &self.0.scripts.remove_node);
        link.run(script, &[&self.nodes()], &arguments, Patience::Usual)
            .await
    }

    async fn list_nodes(&self, service: Option<Service>) -> Result<Vec<Node>, Error> {
        let (link, script) = (&self.0.link, &self.0.scripts.list_nodes);
        let records: Vec<Vec<u8>> = link
            .run(script, &[&self.nodes()], &[], Patience::Usual)
            .await?;
        let mut nodes = Vec::with_capacity(records.len());
        for record in records {
            match record::read(&record) {
                Ok(node) => nodes.push(node),
                // One that cannot be read harms no other; it expires unless its writer lives and goes on.
                Err(error) => tracing::debug!(%error, "a node is passed over"),
            }
        }
        nodes.retain(|node| service.is_none_or(|service| service == node.service));
        nodes.sort_by_key(|node| node.id);
        Ok(nodes)
    }

    async fn acquire_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        let keys = self.keys(meeting);
        let (ttl, fence_ttl) = (millis(ttl), millis(FENCE_TTL));
        let arguments: [&[u8]; 4] = [&owner.0, &ttl, &fence_ttl, keys.wakes.as_bytes()];
        let (link, script) = (&self.0.link, &self.0.scripts.acquire);
        let keys = [keys.lease.as_str(), &keys.fence, &keys.log];
        lease(link.run(script, &keys, &arguments, Patience::Usual).await?)
    }

    async fn read_lease(&self, meeting: MeetingId) -> Result<Lease, Error> {
        let (link, script) = (&self.0.link, &self.0.scripts.read_lease);
        let keys = self.keys(meeting);
        let keys = [keys.lease.as_str(), &keys.log];
        lease(link.run(script, &keys, &[], Patience::Usual).await?)
    }

    async fn release_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        fence: Fence,
    ) -> Result<(), Error> {
        let keys = self.keys(meeting);
        let fence = digits(fence.0)?;
        let arguments: [&[u8]; 3] = [&owner.0, &fence, keys.wakes.as_bytes()];
        let (link, script) = (&self.0.link, &self.0.scripts.release);
        link.run(script, &[&keys.lease], &arguments, Patience::Usual)
            .await
    }

    async fn write_snapshot(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        snapshot: Bytes,
    ) -> Result<Written, Error> {
        check_size(&snapshot)?;
        let (fence, ttl, number) = (digits(fence.0)?, millis(LOG_TTL), digits(number)?);
        let arguments: [&[u8]; 4] = [&fence, &ttl, &number, &snapshot];
        self.write(&self.0.scripts.snapshot, meeting, &arguments)
            .await
    }

    async fn append_delta(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        delta: Bytes,
    ) -> Result<Written, Error> {
        check_size(&delta)?;
        let (fence, ttl, number) = (digits(fence.0)?, millis(LOG_TTL), digits(number)?);
        let most = MAX_DELTAS.to_string();
        let arguments: [&[u8]; 5] = [&fence, &ttl, &number, &delta, most.as_bytes()];
        self.write(&self.0.scripts.append, meeting, &arguments)
            .await
    }

    async fn load_meeting(&self, meeting: MeetingId) -> Result<MeetingLog, Error> {
        let keys = self.keys(meeting);
        let (link, script) = (&self.0.link, &self.0.scripts.load);
        let keys = [keys.log.as_str(), &keys.deltas];
        let (snapshot, fence, last, deltas): (Vec<u8>, String, String, Vec<Vec<u8>>) =
            link.run(script, &keys, &[], Patience::Load).await?;
        Ok(MeetingLog {
            snapshot: snapshot.into(),
            deltas: deltas.into_iter().map(Bytes::from).collect(),
            fence: Fence(number(&fence)?),
            number: number(&last)?,
        })
    }

    async fn forget_meeting(&self, meeting: MeetingId, fence: Fence) -> Result<Written, Error> {
        let fence = digits(fence.0)?;
        self.write(&self.0.scripts.forget, meeting, &[&fence]).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, Error> {
        check_key(key)?;
        let key = format!("{}:count:{key}", self.0.namespace);
        let (link, script) = (&self.0.link, &self.0.scripts.count);
        link.run(script, &[&key], &[&millis(window)], Patience::Usual)
            .await
    }

    async fn put_note(&self, key: &str, note: Bytes, ttl: Duration) -> Result<(), Error> {
        check_note(key, &note)?;
        let mut put = redis::cmd("SET");
        put.arg(self.note(key)).arg(&note[..]);
        self.0.link.ask(put.arg("PX").arg(millis(ttl))).await
    }

    async fn read_note(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let mut read = redis::cmd("GET");
        let note: Option<Vec<u8>> = self.0.link.ask(read.arg(self.note(key))).await?;
        Ok(note.map(Bytes::from))
    }

    async fn wall_ms(&self) -> Result<Option<u64>, Error> {
        let (seconds, micros): (u64, u64) = self.0.link.ask(&redis::cmd("TIME")).await?;
        Ok(Some(
            seconds.saturating_mul(1000).saturating_add(micros / 1000),
        ))
    }

    async fn wake(&self, topic: Topic) -> Result<(), Error> {
        let channel = self.channel(topic);
        self.0
            .link
            .ask(redis::cmd("SPUBLISH").arg(channel).arg(""))
            .await
    }

    async fn subscribe(&self, topic: Topic) -> Result<Wakes, Error> {
        let channel = self.channel(topic);
        let heard = self.0.waiting.wait(&channel);
        let subscribed = self
            .0
            .link
            .ask::<()>(redis::cmd("SSUBSCRIBE").arg(&channel))
            .await;
        if let Err(error) = subscribed {
            drop(heard);
            self.0.waiting.forget(&channel);
            return Err(error);
        }
        let (sender, wakes) = Wakes::channel();
        tokio::spawn(self.0.clone().attend(channel, heard, sender));
        Ok(wakes)
    }
}
