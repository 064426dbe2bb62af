//! Which handler a meeting is on.

use bytes::Bytes;
use darktower_cluster::candidate;
use darktower_meeting::meeting::{Handler, Input};
use darktower_placement::{Health, keep_or_choose};
use darktower_store::Node;
use darktower_wire::signal;

use super::Shard;
use crate::elsewhere;

impl Shard {
    /// Keeps the meeting on a handler that is there and has room.
    pub(super) fn place(&mut self, nodes: &[Node]) {
        let now = self.shared.now();
        let candidates = self.shared.handlers.candidates(now, nodes);
        let region = &self.shared.config.region;
        let present = self.handler.as_ref().map(|(id, _)| *id);
        // A meeting that was taken over stays where its frames flow.
        let current = present.or(self.meeting.handler_node());
        let size = self.meeting.description().participants;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let best = keep_or_choose(self.id, &candidates, region, current, size);
        let here = nodes.iter().find(|node| Some(node.id) == best);
        // What was placed there a moment ago is no reason to leave: its own report is.
        let there = here.filter(|_| best == present).and_then(|here| {
            let here = candidate(here, Health::Sound);
            self.room
                .look(now, self.id, &here, &candidates, region, size)
        });
        let best = there.or(best);
        if best.is_some() && best == present {
            return;
        }
        let chosen = best.and_then(|id| nodes.iter().find(|node| node.id == id));
        let Some(events) = self.events.upgrade() else {
            return;
        };
        if let Some((_, former)) = self.handler.take() {
            former.leave(self.id);
        }
        let assignment = chosen.map(|node| {
            tracing::info!(handler = %node.id, "meeting placed");
            self.shared.handlers.placed(now, node.id, size);
            let link = self.shared.handlers.link(&self.shared, node);
            link.enter(self.id, events);
            self.handler = Some((node.id, link));
            let door = elsewhere::of(node);
            let assignment = signal::MediaAssignment {
                url: door.url,
                certificate_sha256: door.certificate_sha256,
                ticket: Bytes::new(),
            };
            let node = node.id;
            Handler { node, assignment }
        });
        self.meeting.handle(now, Input::Handler(assignment));
    }
}
