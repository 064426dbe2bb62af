//! Which handlers a meeting is on: the effects of the real shell's `shard/place.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_media::forwarder::Command;
use darktower_meeting::meeting::{self, Input, Spare};
use darktower_placement::{Candidate, Rehoming, Seating, spare};
use darktower_wire::ids::NodeId;
use darktower_wire::signal;

use super::controller::{Controller, candidate};
use super::messages::{Out, Place};
use super::shard::Event;

impl Controller {
    pub(super) fn place(&mut self, now: Duration, at: u64) {
        let handlers = self.nodes().iter();
        let handlers = handlers.filter(|node| matches!(Place::of(node.id), Place::Handler(_)));
        let candidates: Vec<_> = handlers
            .map(|node| candidate(node, self.links.health(node.id)))
            .collect();
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        let used = shard.meeting.handler_nodes().into_iter();
        let on: Vec<_> = used
            .map(|node| (node, shard.meeting.on_handler(node) as u32))
            .collect();
        let seating = Seating {
            meeting: shard.id,
            region: "",
            size: shard.meeting.description().participants as u32,
            on: &on,
        };
        let reported = |id| candidates.iter().find(|it| it.id == id).cloned();
        let handlers = &shard.handlers;
        let is_open = |id| handlers.contains(&id);
        let changes = shard
            .homes
            .look(now, &seating, &candidates, reported, is_open);
        for change in changes {
            match change {
                Rehoming::Whole(to) => self.place_whole(now, at, to),
                Rehoming::Part { from, to } => self.place_part(now, at, from, to),
            }
        }
        self.look_for_spare(now, at, &candidates);
    }

    fn place_whole(&mut self, now: Duration, at: u64, to: Option<NodeId>) {
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        let id = shard.id;
        for former in std::mem::take(&mut shard.handlers) {
            self.links.leave(former, id, at);
        }
        let handler = to.and_then(|node| self.open(now, at, node));
        if let Some(shard) = self.shards.get_mut(&at) {
            shard.meeting.handle(now, Input::Handler(handler));
        }
    }

    fn place_part(&mut self, now: Duration, at: u64, from: NodeId, to: NodeId) {
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        if to != from && shard.handlers.remove(&from) {
            self.links.leave(from, shard.id, at);
        }
        if let Some(to) = self.open(now, at, to)
            && let Some(shard) = self.shards.get_mut(&at)
        {
            shard.meeting.handle(now, Input::Rehomed { from, to });
        }
    }

    fn look_for_spare(&mut self, now: Duration, at: u64, candidates: &[Candidate<'_>]) {
        let secret = std::array::from_fn(|_| self.random.next_u64() as u8);
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        let used = shard.meeting.handler_nodes();
        let on = used
            .iter()
            .map(|node| (*node, shard.meeting.on_handler(*node) as u32));
        let on: BTreeMap<_, _> = on.collect();
        let found = used
            .first()
            .and_then(|here| spare(shard.id, candidates, *here, &on, self.share));
        let found = found.map(|(from, node)| Spare {
            from: from as usize,
            handler: handler(node, secret),
        });
        shard.meeting.handle(now, Input::Spare(found));
    }

    fn open(&mut self, now: Duration, at: u64, node: NodeId) -> Option<meeting::Handler> {
        let secret = std::array::from_fn(|_| self.random.next_u64() as u8);
        let shard = self.shards.get_mut(&at)?;
        self.links.enter(now, node, shard.id, at);
        shard.push(Event::Sync(node));
        shard.handlers.insert(node);
        Some(handler(node, secret))
    }

    pub(super) fn use_handler(&mut self, now: Duration, at: u64, node: NodeId, out: &mut Out) {
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        let (id, used) = (shard.id, shard.meeting.handler_nodes());
        let left = shard.handlers.iter().filter(|node| !used.contains(node));
        for former in left.copied().collect::<Vec<_>>() {
            shard.handlers.remove(&former);
            self.links.leave(former, id, at);
        }
        if !used.contains(&node) {
            return;
        }
        if shard.handlers.contains(&node) {
            return self.sync(at, node, out);
        }
        if self.nodes().iter().any(|it| it.id == node) {
            self.open(now, at, node);
        }
    }

    pub(super) fn sync(&mut self, at: u64, node: NodeId, out: &mut Out) {
        let Some(shard) = self.shards.get(&at) else {
            return;
        };
        if !shard.handlers.contains(&node) {
            return;
        }
        let orders = shard.meeting.media_orders(node);
        let orders = orders.into_iter().map(crate::handler::command);
        let all = std::iter::once(Command::SyncBegin).chain(orders);
        let all: Vec<_> = all.chain([Command::SyncEnd]).collect();
        self.links
            .say(node, shard.id, shard.tenure.fence(), all, out);
    }
}

fn handler(node: NodeId, secret: [u8; 32]) -> meeting::Handler {
    let url = Place::of(node).url();
    meeting::Handler {
        node,
        trunk_url: url.clone(),
        assignment: signal::MediaAssignment {
            url,
            ..Default::default()
        },
        trunk_secret: secret.into(),
    }
}
