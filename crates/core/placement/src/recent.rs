//! What was sent where and does not show in anybody's load yet.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use darktower_wire::ids::NodeId;

use crate::Candidate;

/// From a join to its place in the load that the node reports: two beats of the registry, and a second in which the
/// node counts.
const UNREPORTED: Duration = Duration::from_secs(2);
/// A meeting that was placed a moment ago is about to fill: whoever asks next must not see an idle node.
const FILLING: Duration = Duration::from_secs(10);
/// Participants that a meeting is taken to bring, until it has brought them.
const EXPECTED: u32 = 4;

/// Assignments of the last seconds, by one who makes them. Nodes report their load once in a while, so many who come at
/// once would all see the same idle node and go there; what was assigned counts as load until it is in the report.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Until when, and as how much, in the order of coming.
    joins: BTreeMap<NodeId, VecDeque<Duration>>,
    meetings: BTreeMap<NodeId, VecDeque<Duration>>,
}

impl Recent {
    /// Somebody was sent to this node.
    pub fn join(&mut self, now: Duration, node: NodeId) {
        self.forget(now);
        let until = self.joins.entry(node).or_default();
        until.push_back(now + UNREPORTED);
    }

    /// A meeting was placed on this node, and nobody is in it yet.
    pub fn meeting(&mut self, now: Duration, node: NodeId) {
        self.forget(now);
        let until = self.meetings.entry(node).or_default();
        until.push_back(now + FILLING);
    }

    /// Adds to what candidates say of themselves what they cannot know yet.
    pub fn count_in(&mut self, now: Duration, candidates: &mut [Candidate<'_>]) {
        self.forget(now);
        for candidate in candidates {
            let count = |of: &BTreeMap<NodeId, VecDeque<Duration>>| {
                let count = of.get(&candidate.id).map_or(0, VecDeque::len);
                u32::try_from(count).unwrap_or(u32::MAX)
            };
            let coming = count(&self.meetings).saturating_mul(EXPECTED);
            let coming = coming.saturating_add(count(&self.joins));
            candidate.load = candidate.load.saturating_add(coming);
        }
    }

    fn forget(&mut self, now: Duration) {
        for of in [&mut self.joins, &mut self.meetings] {
            of.retain(|_, times| {
                while times.front().is_some_and(|until| *until <= now) {
                    times.pop_front();
                }
                !times.is_empty()
            });
        }
    }
}
