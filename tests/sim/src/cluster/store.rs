//! The state store of the cluster: leases with fences, logs, the registry. What
//! `darktower_store::StateStore` promises, and what a store loses that fails over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_placement::Logged;
use darktower_wire::ids::{Fence, MeetingId, NodeId};

/// A node silent for this long is gone.
pub(super) const NODE_TTL: Duration = Duration::from_secs(2);
/// So far back a failover may find the store.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A node as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) draining: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Ask {
    Put(Node),
    Nodes,
    Acquire(MeetingId, NodeId, Duration),
    Lease(MeetingId),
    Release(MeetingId, NodeId, Fence),
    Snapshot(MeetingId, Fence, Bytes),
    Append(MeetingId, Fence, Bytes),
    Load(MeetingId),
    Forget(MeetingId, Fence),
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Nodes(Vec<Node>),
    Lease(Option<NodeId>, Fence),
    Written(Logged),
    Log(Log),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) snapshot: Bytes,
    pub(super) deltas: Vec<Bytes>,
    pub(super) fence: Fence,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    nodes: BTreeMap<NodeId, (Node, Duration)>,
    leases: BTreeMap<MeetingId, (NodeId, Fence, Duration)>,
    fences: BTreeMap<MeetingId, Fence>,
    logs: BTreeMap<MeetingId, Log>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    tables: Tables,
    /// What it was at times gone by.
    past: VecDeque<(Duration, Tables)>,
    pub(super) is_away: bool,
    /// Takes what an older fence writes: a bug to be found.
    pub(super) skips_fences: bool,
}

impl Store {
    /// The newest grant that holds.
    pub(super) fn lease(&self, now: Duration, meeting: MeetingId) -> Option<(NodeId, Fence)> {
        let held = self.tables.leases.get(&meeting);
        held.filter(|(_, _, until)| *until > now)
            .map(|(owner, fence, _)| (*owner, *fence))
    }

    /// The newest fence that was ever granted, as far as it remembers.
    pub(super) fn newest(&self, meeting: MeetingId) -> Fence {
        self.tables
            .fences
            .get(&meeting)
            .copied()
            .unwrap_or_default()
    }

    /// Another instance takes over that has not heard of what was acknowledged last.
    pub(super) fn lose(&mut self, now: Duration, lost: Duration) {
        let then = self.past.iter().rev().find(|(at, _)| *at + lost <= now);
        if let Some((_, tables)) = then.or(self.past.front()) {
            self.tables = tables.clone();
        }
    }

    pub(super) fn take(&mut self, now: Duration, ask: Ask) -> Answer {
        if self
            .past
            .back()
            .is_none_or(|(at, _)| now >= *at + REMEMBERED / 10)
        {
            self.past.push_back((now, self.tables.clone()));
            if self.past.len() > 11 {
                self.past.pop_front();
            }
        }
        match ask {
            Ask::Put(node) => {
                self.tables.nodes.insert(node.id, (node, now + NODE_TTL));
                Answer::Done
            }
            Ask::Nodes => {
                self.tables.nodes.retain(|_, (_, until)| *until > now);
                let nodes = self.tables.nodes.values();
                Answer::Nodes(nodes.map(|(node, _)| node.clone()).collect())
            }
            Ask::Acquire(meeting, owner, ttl) => {
                let fence = match self.lease(now, meeting) {
                    Some((other, fence)) if other != owner => {
                        return Answer::Lease(Some(other), fence);
                    }
                    Some((_, fence)) => fence,
                    None => {
                        let last = self.newest(meeting).0;
                        Fence((last + 1).max(now.as_millis() as u64 * 1024))
                    }
                };
                self.tables.fences.insert(meeting, fence);
                let held = (owner, fence, now + ttl);
                self.tables.leases.insert(meeting, held);
                Answer::Lease(Some(owner), fence)
            }
            Ask::Lease(meeting) => match self.lease(now, meeting) {
                Some((owner, fence)) => Answer::Lease(Some(owner), fence),
                None => Answer::Lease(None, Fence(0)),
            },
            Ask::Release(meeting, owner, fence) => {
                if self.lease(now, meeting) == Some((owner, fence)) {
                    self.tables.leases.remove(&meeting);
                }
                Answer::Done
            }
            Ask::Snapshot(meeting, fence, snapshot) => self.write(meeting, fence, |log| {
                *log = Log {
                    snapshot,
                    deltas: Vec::new(),
                    fence,
                };
            }),
            Ask::Append(meeting, fence, delta) => self.write(meeting, fence, |log| {
                log.deltas.push(delta);
                log.fence = fence;
            }),
            Ask::Load(meeting) => {
                Answer::Log(self.tables.logs.get(&meeting).cloned().unwrap_or_default())
            }
            Ask::Forget(meeting, fence) => self.write(meeting, fence, |log| *log = Log::default()),
        }
    }

    fn write(&mut self, meeting: MeetingId, fence: Fence, write: impl FnOnce(&mut Log)) -> Answer {
        let newest = self.newest(meeting);
        let log = self.tables.logs.entry(meeting).or_default();
        if newest.max(log.fence) > fence && !self.skips_fences {
            return Answer::Written(Logged::Fenced);
        }
        write(log);
        Answer::Written(Logged::Yes)
    }
}
