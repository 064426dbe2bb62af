//! The state store of one process.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use tokio::sync::mpsc;

use super::{
    ID_TAKEN, LOG_TTL, Lease, MAX_DELTAS, MeetingLog, Node, Service, StateStore, Topic, Wakes,
    Written, check_key, check_note, check_size,
};
use crate::Error;

/// Notes kept at once, some hundred bytes each: whoever makes one can make many, and this memory is all there is.
const MOST_NOTES: usize = 50_000;

/// Live state in this process's memory; gone with it.
#[derive(Debug)]
pub struct MemoryState {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    nodes: BTreeMap<NodeId, (Node, Instant)>,
    leases: BTreeMap<MeetingId, Held>,
    logs: BTreeMap<MeetingId, (MeetingLog, Instant)>,
    counters: BTreeMap<String, (u64, Instant)>,
    notes: BTreeMap<String, (Bytes, Instant)>,
    waiting: Vec<(Topic, mpsc::Sender<()>)>,
    last_fence: u64,
    /// Number of entries at which expired ones are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Held {
    owner: NodeId,
    fence: Fence,
    until: Instant,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryState {
    /// An empty store.
    ///
    /// Fences begin at the wall clock (2^10 a millisecond), so that they go on
    /// growing when the process that holds the store is started again while
    /// media handlers remember the old ones.
    pub fn new() -> Self {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        Self {
            tables: Mutex::new(Tables {
                nodes: BTreeMap::new(),
                leases: BTreeMap::new(),
                logs: BTreeMap::new(),
                counters: BTreeMap::new(),
                notes: BTreeMap::new(),
                waiting: Vec::new(),
                last_fence: unix_ms << 10,
                sweep_at: 1024,
            }),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change below is complete before anything can panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn lease(&self, meeting: MeetingId, now: Instant) -> Lease {
        match self.leases.get(&meeting) {
            Some(held) if held.until > now => Lease {
                owner: Some(held.owner),
                fence: held.fence,
                remaining: held.until - now,
                written: self.written(meeting),
            },
            _ => Lease::default(),
        }
    }

    /// Whether somebody newer than `fence` has owned or written the meeting.
    fn is_fenced(&self, meeting: MeetingId, fence: Fence) -> bool {
        let granted = self.leases.get(&meeting).map(|held| held.fence);
        let written = self.logs.get(&meeting).map(|(log, _)| log.fence);
        granted.max(written).is_some_and(|newest| newest > fence)
    }

    fn written(&self, meeting: MeetingId) -> u64 {
        self.logs.get(&meeting).map_or(0, |(log, _)| log.number)
    }

    /// What a write comes to that changes nothing; `None` where it is to be done.
    fn refusal(&self, meeting: MeetingId, fence: Fence, number: u64) -> Option<Written> {
        if self.is_fenced(meeting, fence) {
            return Some(Written::Fenced);
        }
        let (log, _) = self.logs.get(&meeting)?;
        match log.number.cmp(&number) {
            _ if log.fence != fence => None,
            Ordering::Less => None,
            Ordering::Equal => Some(Written::Yes),
            Ordering::Greater => Some(Written::OutOfTurn),
        }
    }

    fn wake(&mut self, topic: Topic) {
        self.waiting.retain(|(waits_for, sender)| {
            // A full channel holds a wake-up that was not taken yet: the same.
            *waits_for != topic
                || !matches!(
                    sender.try_send(()),
                    Err(mpsc::error::TrySendError::Closed(()))
                )
        });
    }

    fn sweep(&mut self, now: Instant) {
        let size = |tables: &Self| {
            let kept = tables.leases.len() + tables.logs.len() + tables.nodes.len();
            kept + tables.counters.len() + tables.notes.len()
        };
        if size(self) < self.sweep_at {
            return;
        }
        self.nodes.retain(|_, (_, until)| *until > now);
        self.leases.retain(|_, held| held.until > now);
        self.logs.retain(|_, (_, until)| *until > now);
        self.counters.retain(|_, (_, until)| *until > now);
        self.notes.retain(|_, (_, until)| *until > now);
        self.sweep_at = 1024 + 2 * size(self);
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn put_node(&self, node: Node, ttl: Duration) -> Result<(), Error> {
        let now = Instant::now();
        let mut tables = self.tables();
        tables.sweep(now);
        let before = tables.nodes.get(&node.id);
        let before = before.filter(|(_, until)| *until > now);
        if before.is_some_and(|(before, _)| before.grpc_url != node.grpc_url) {
            return Err(ID_TAKEN);
        }
        let is_new = before.is_none_or(|(before, _)| *before != node);
        tables.nodes.insert(node.id, (node, now + ttl));
        if is_new {
            tables.wake(Topic::Nodes);
        }
        Ok(())
    }

    async fn remove_node(&self, id: NodeId) -> Result<(), Error> {
        let mut tables = self.tables();
        if tables.nodes.remove(&id).is_some() {
            tables.wake(Topic::Nodes);
        }
        Ok(())
    }

    async fn list_nodes(&self, service: Option<Service>) -> Result<Vec<Node>, Error> {
        let now = Instant::now();
        let tables = self.tables();
        let there = tables.nodes.values().filter(|(node, until)| {
            *until > now && service.is_none_or(|service| service == node.service)
        });
        Ok(there.map(|(node, _)| node.clone()).collect())
    }

    async fn acquire_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        let now = Instant::now();
        let mut tables = self.tables();
        tables.sweep(now);
        let present = tables.lease(meeting, now);
        let fence = match present.owner {
            Some(other) if other != owner => return Ok(present),
            Some(_) => present.fence,
            None => {
                tables.last_fence += 1;
                Fence(tables.last_fence)
            }
        };
        let until = now + ttl;
        tables.leases.insert(
            meeting,
            Held {
                owner,
                fence,
                until,
            },
        );
        if present.owner.is_none() {
            tables.wake(Topic::Meeting(meeting));
        }
        Ok(Lease {
            owner: Some(owner),
            fence,
            remaining: ttl,
            written: tables.written(meeting),
        })
    }

    async fn read_lease(&self, meeting: MeetingId) -> Result<Lease, Error> {
        Ok(self.tables().lease(meeting, Instant::now()))
    }

    async fn release_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        fence: Fence,
    ) -> Result<(), Error> {
        let mut tables = self.tables();
        let is_held = tables
            .leases
            .get(&meeting)
            .is_some_and(|held| held.owner == owner && held.fence == fence);
        if is_held {
            tables.leases.remove(&meeting);
            tables.wake(Topic::Meeting(meeting));
        }
        Ok(())
    }

    async fn write_snapshot(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        snapshot: Bytes,
    ) -> Result<Written, Error> {
        check_size(&snapshot)?;
        let now = Instant::now();
        let mut tables = self.tables();
        tables.sweep(now);
        if let Some(refusal) = tables.refusal(meeting, fence, number) {
            return Ok(refusal);
        }
        let log = MeetingLog {
            snapshot,
            deltas: Vec::new(),
            fence,
            number,
        };
        tables.logs.insert(meeting, (log, now + LOG_TTL));
        Ok(Written::Yes)
    }

    async fn append_delta(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        delta: Bytes,
    ) -> Result<Written, Error> {
        check_size(&delta)?;
        let now = Instant::now();
        let mut tables = self.tables();
        if let Some(refusal) = tables.refusal(meeting, fence, number) {
            return Ok(refusal);
        }
        if number.checked_sub(1) != Some(tables.written(meeting)) {
            return Ok(Written::OutOfTurn);
        }
        let (log, until) = tables
            .logs
            .entry(meeting)
            .or_insert_with(|| (MeetingLog::default(), now));
        if log.deltas.len() >= MAX_DELTAS {
            return Err(Error::TooMuch("the meeting's log needs a new snapshot"));
        }
        log.deltas.push(delta);
        (log.fence, log.number) = (fence, number);
        *until = now + LOG_TTL;
        Ok(Written::Yes)
    }

    async fn load_meeting(&self, meeting: MeetingId) -> Result<MeetingLog, Error> {
        let tables = self.tables();
        let log = tables.logs.get(&meeting);
        Ok(log.map(|(log, _)| log.clone()).unwrap_or_default())
    }

    async fn forget_meeting(&self, meeting: MeetingId, fence: Fence) -> Result<Written, Error> {
        let mut tables = self.tables();
        if tables.is_fenced(meeting, fence) {
            return Ok(Written::Fenced);
        }
        tables.logs.remove(&meeting);
        Ok(Written::Yes)
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, Error> {
        check_key(key)?;
        let now = Instant::now();
        let mut tables = self.tables();
        tables.sweep(now);
        let (count, until) = tables
            .counters
            .entry(key.to_owned())
            .or_insert((0, now + window));
        if *until <= now {
            (*count, *until) = (0, now + window);
        }
        *count += 1;
        Ok(*count)
    }

    async fn put_note(&self, key: &str, note: Bytes, ttl: Duration) -> Result<(), Error> {
        check_note(key, &note)?;
        let now = Instant::now();
        let mut tables = self.tables();
        tables.sweep(now);
        if tables.notes.len() >= MOST_NOTES && !tables.notes.contains_key(key) {
            return Err(Error::TooMuch("no more notes are kept"));
        }
        tables.notes.insert(key.to_owned(), (note, now + ttl));
        Ok(())
    }

    async fn read_note(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let now = Instant::now();
        let tables = self.tables();
        let kept = tables.notes.get(key).filter(|(_, until)| *until > now);
        Ok(kept.map(|(note, _)| note.clone()))
    }

    async fn wake(&self, topic: Topic) -> Result<(), Error> {
        self.tables().wake(topic);
        Ok(())
    }

    async fn subscribe(&self, topic: Topic) -> Result<Wakes, Error> {
        let (sender, wakes) = Wakes::channel();
        let mut tables = self.tables();
        tables.waiting.retain(|(_, sender)| !sender.is_closed());
        tables.waiting.push((topic, sender));
        Ok(wakes)
    }
}
