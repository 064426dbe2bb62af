//! Which handlers a meeting is on.

use std::collections::BTreeMap;

use bytes::Bytes;
use darktower_cluster::{candidate, random_bytes};
use darktower_meeting::meeting::{Handler, Input, Spare};
use darktower_net::Url;
use darktower_placement::{Candidate, Health, Rehoming, Seating, spare};
use darktower_store::Node;
use darktower_wire::Secret;
use darktower_wire::ids::NodeId;
use darktower_wire::signal;

use super::Shard;
use crate::{elsewhere, measure};

impl Shard {
    /// Keeps everybody on a handler that is there and has room.
    pub(super) fn place(&mut self, nodes: &[Node]) {
        let now = self.shared.now();
        let candidates = self.shared.handlers.candidates(now, nodes);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let used = self.meeting.handler_nodes().into_iter();
        let on: Vec<_> = used
            .map(|node| (node, count(self.meeting.on_handler(node))))
            .collect();
        let seating = Seating {
            meeting: self.id,
            region: &self.shared.config.region,
            size: count(self.meeting.description().participants),
            on: &on,
        };
        let reported = |id| {
            let node = nodes.iter().find(|node| node.id == id)?;
            Some(candidate(node, Health::Sound))
        };
        let handlers = &self.handlers;
        let is_open = |id| handlers.contains_key(&id);
        let changes = self
            .homes
            .look(now, &seating, &candidates, reported, is_open);
        let size = seating.size;
        for change in changes {
            match change {
                Rehoming::Whole(to) => self.place_whole(nodes, to, size),
                Rehoming::Part { from, to } => self.place_part(nodes, from, to),
            }
        }
        self.look_for_spare(nodes, &candidates);
    }

    /// Participants hear nothing of a handler that looks well from here.
    pub(super) fn leave_unheard(&mut self, node: NodeId) {
        tracing::warn!(handler = %node, "participants hear nothing of the media handler: their meeting leaves it");
        measure::unheard();
        self.homes.unheard(self.shared.now(), node);
        let nodes = self.shared.nodes.borrow().clone();
        self.place(&nodes);
    }

    fn place_whole(&mut self, nodes: &[Node], to: Option<NodeId>, size: u32) {
        for (_, former) in std::mem::take(&mut self.handlers) {
            former.leave(self.id);
        }
        let chosen = to.and_then(|id| nodes.iter().find(|node| node.id == id));
        let handler = chosen.and_then(|node| self.open(node, size));
        let now = self.shared.now();
        self.meeting.handle(now, Input::Handler(handler));
    }

    fn place_part(&mut self, nodes: &[Node], from: NodeId, to: NodeId) {
        let Some(node) = nodes.iter().find(|node| node.id == to) else {
            return;
        };
        if to != from
            && let Some(former) = self.handlers.remove(&from)
        {
            former.leave(self.id);
        }
        let size = u32::try_from(self.meeting.on_handler(from)).unwrap_or(u32::MAX);
        if let Some(to) = self.open(node, size) {
            let now = self.shared.now();
            self.meeting.handle(now, Input::Rehomed { from, to });
        }
    }

    /// Says where newcomers go when the handler that they go to has no room for more.
    fn look_for_spare(&mut self, nodes: &[Node], candidates: &[Candidate<'_>]) {
        let used = self.meeting.handler_nodes();
        let on = used
            .iter()
            .map(|node| (*node, self.meeting.on_handler(*node)));
        let on: BTreeMap<_, _> = on
            .map(|(node, count)| (node, u32::try_from(count).unwrap_or(u32::MAX)))
            .collect();
        let share = self.shared.config.handler_share;
        let found = used
            .first()
            .and_then(|here| spare(self.id, candidates, *here, &on, share));
        let found = found.and_then(|(from, id)| {
            let node = nodes.iter().find(|node| node.id == id)?;
            let handler = handler(node)?;
            let from = from as usize;
            Some(Spare { from, handler })
        });
        let now = self.shared.now();
        self.meeting.handle(now, Input::Spare(found));
    }

    pub(super) fn is_used(&self, node: NodeId) -> bool {
        self.handlers.contains_key(&node)
    }

    /// The meeting is on this handler, too; so many go there now.
    fn open(&mut self, node: &Node, size: u32) -> Option<Handler> {
        let events = self.events.upgrade()?;
        let handler = handler(node)?;
        tracing::info!(handler = %node.id, "meeting placed");
        let now = self.shared.now();
        self.shared.handlers.placed(now, node.id, size);
        let link = self.shared.handlers.link(&self.shared, node);
        link.enter(self.id, events);
        self.handlers.insert(node.id, link);
        Some(handler)
    }

    /// What is where has changed: says everything to a handler, opens it where it is new, and leaves those that nobody is
    /// on any more.
    pub(super) async fn use_handler(&mut self, id: NodeId) {
        let used = self.meeting.handler_nodes();
        let left: Vec<_> = self.handlers.keys().copied().collect();
        for node in left.into_iter().filter(|node| !used.contains(node)) {
            if let Some(former) = self.handlers.remove(&node) {
                former.leave(self.id);
            }
        }
        if !used.contains(&id) {
            return;
        }
        if self.is_used(id) {
            return self.sync(id).await;
        }
        let nodes = self.shared.nodes.borrow().clone();
        // Where it has just gone, the next look finds another.
        if let Some(node) = nodes.iter().find(|node| node.id == id) {
            self.open(node, 0);
        }
    }
}

/// A handler as the meeting knows it. `None` where there is no randomness.
fn handler(node: &Node) -> Option<Handler> {
    let door = elsewhere::of(node);
    let Ok(secret) = random_bytes() else {
        tracing::error!("no randomness: no handler can be used");
        return None;
    };
    // Other handlers reach it where controllers do.
    let grpc = Url::parse(&node.grpc_url).ok();
    let host = grpc.as_ref().and_then(Url::host_str).unwrap_or_default();
    Some(Handler {
        node: node.id,
        trunk_url: elsewhere::reachable(&door.url, host),
        assignment: signal::MediaAssignment {
            url: door.url,
            certificate_sha256: door.certificate_sha256,
            ticket: Bytes::new(),
        },
        trunk_secret: Secret(secret),
    })
}
