//! The state store of the cluster: leases with fences, logs, the registry. What
//! `darktower_store::StateStore` promises, and what a store loses that fails over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_placement::{Held, Logged};
use darktower_wire::ids::{Fence, MeetingId, NodeId};

/// A node silent for this long is gone.
pub(super) const NODE_TTL: Duration = Duration::from_millis(1600);
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
    Time,
    Acquire(MeetingId, NodeId, Duration),
    Lease(MeetingId),
    Release(MeetingId, NodeId, Fence),
    Snapshot(MeetingId, Fence, u64, Bytes),
    Append(MeetingId, Fence, u64, Bytes),
    Load(MeetingId),
    Forget(MeetingId, Fence),
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Nodes(Vec<Node>),
    /// Unix milliseconds.
    Time(u64),
    Lease(Held),
    Written(Logged),
    Log(Log),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) snapshot: Bytes,
    pub(super) deltas: Vec<Bytes>,
    pub(super) fence: Fence,
    pub(super) number: u64,
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
    /// Takes a change to whatever log: another one.
    pub(super) skips_numbers: bool,
}

impl Ask {
    /// A write, and the fence that it is made with.
    pub(super) fn fenced(&self) -> Option<(MeetingId, Fence)> {
        match self {
            Self::Snapshot(meeting, fence, ..)
            | Self::Append(meeting, fence, ..)
            | Self::Forget(meeting, fence) => Some((*meeting, *fence)),
            _ => None,
        }
    }
}

impl Store {
    /// What is written of a meeting.
    pub(super) fn log(&self, meeting: MeetingId) -> Option<&Log> {
        self.tables.logs.get(&meeting)
    }

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

    /// Another instance takes over that has not heard of what was acknowledged last. The meetings whose log is another
    /// by it, and who had written there last.
    pub(super) fn lose(&mut self, now: Duration, lost: Duration) -> Vec<(MeetingId, Fence)> {
        let then = self.past.iter().rev().find(|(at, _)| *at + lost <= now);
        let Some((_, then)) = then.or(self.past.front()) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut self.tables, then.clone());
        let changed = before.logs.into_iter();
        let changed = changed.filter(|(meeting, log)| self.tables.logs.get(meeting) != Some(log));
        changed.map(|(meeting, log)| (meeting, log.fence)).collect()
    }

    fn held(&self, meeting: MeetingId, owner: Option<NodeId>, fence: Fence) -> Answer {
        let written = self.tables.logs.get(&meeting).map_or(0, |log| log.number);
        Answer::Lease(Held {
            owner,
            fence,
            written,
        })
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
            Ask::Time => Answer::Time(super::WALL + now.as_millis() as u64),
            Ask::Acquire(meeting, owner, ttl) => {
                let fence = match self.lease(now, meeting) {
                    Some((other, fence)) if other != owner => {
                        return self.held(meeting, Some(other), fence);
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
                self.held(meeting, Some(owner), fence)
            }
            Ask::Lease(meeting) => match self.lease(now, meeting) {
                Some((owner, fence)) => self.held(meeting, Some(owner), fence),
                None => self.held(meeting, None, Fence(0)),
            },
            Ask::Release(meeting, owner, fence) => {
                if self.lease(now, meeting) == Some((owner, fence)) {
                    self.tables.leases.remove(&meeting);
                }
                Answer::Done
            }
            Ask::Snapshot(meeting, fence, number, snapshot) => self.write(meeting, fence, |log| {
                if log.fence == fence && log.number > number {
                    return Logged::OutOfTurn;
                }
                *log = Log {
                    snapshot,
                    deltas: Vec::new(),
                    fence,
                    number,
                };
                Logged::Yes
            }),
            Ask::Append(meeting, fence, number, delta) => {
                let skips = self.skips_numbers;
                self.write(meeting, fence, |log| {
                    if log.number + 1 != number && !skips {
                        return Logged::OutOfTurn;
                    }
                    log.deltas.push(delta);
                    (log.fence, log.number) = (fence, number);
                    Logged::Yes
                })
            }
            Ask::Load(meeting) => {
                Answer::Log(self.tables.logs.get(&meeting).cloned().unwrap_or_default())
            }
            Ask::Forget(meeting, fence) => self.write(meeting, fence, |log| {
                *log = Log::default();
                Logged::Yes
            }),
        }
    }

    fn write(
        &mut self,
        meeting: MeetingId,
        fence: Fence,
        write: impl FnOnce(&mut Log) -> Logged,
    ) -> Answer {
        let newest = self.newest(meeting);
        let log = self.tables.logs.entry(meeting).or_default();
        if newest.max(log.fence) > fence && !self.skips_fences {
            return Answer::Written(Logged::Fenced);
        }
        Answer::Written(write(log))
    }
}
