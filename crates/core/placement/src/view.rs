//! The nodes as one of them sees them: what the registry lists, and whom it may have forgotten.

use core::time::Duration;

use darktower_wire::ids::NodeId;

/// A view of the nodes. The registry alone evicts nobody: where it failed, nodes that it
/// does not know any more stay for one time to live, and get the time to say so again.
#[derive(Debug)]
pub struct View<N> {
    ttl: Duration,
    nodes: Vec<N>,
    believed_from: Duration,
}

impl<N: Clone + PartialEq> View<N> {
    /// What the registry listed first, by id. A node silent for `ttl` is gone.
    pub fn new(now: Duration, ttl: Duration, listed: Vec<N>) -> Self {
        Self {
            ttl,
            nodes: listed,
            believed_from: now,
        }
    }

    /// The nodes, by id.
    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    /// The registry did not answer, or its connection broke: it may have forgotten nodes that are
    /// there, or a replica of it may never have heard of them.
    pub fn doubt(&mut self, now: Duration) {
        self.believed_from = now + self.ttl;
    }

    /// The registry lists these, by id. True where the view has changed.
    pub fn listed(&mut self, now: Duration, mut listed: Vec<N>, id: impl Fn(&N) -> NodeId) -> bool {
        if now < self.believed_from {
            let known = |node: &&N| listed.binary_search_by_key(&id(node), &id).is_ok();
            let missing: Vec<_> = self
                .nodes
                .iter()
                .filter(|node| !known(node))
                .cloned()
                .collect();
            listed.extend(missing);
            listed.sort_by_key(&id);
        }
        let is_new = self.nodes != listed;
        self.nodes = listed;
        is_new
    }
}
