//! How long nothing new came, for each sender and receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_client::{Frame, ParticipantId};
use tokio::time::Instant;

/// The longest times without a new frame at one receiver, by sender; pictures and sound apart.
#[derive(Debug, Default)]
pub(crate) struct Gaps(BTreeMap<(ParticipantId, bool), Flow>);

#[derive(Debug)]
struct Flow {
    last: Instant,
    longest: Duration,
    newest_us: u64,
}

impl Gaps {
    /// A frame was opened. One captured before another that came already is not new.
    pub(crate) fn came(&mut self, frame: &Frame, at: Instant) {
        let Some(owner) = frame.owner else { return };
        let flow = self.0.entry((owner, frame.video)).or_insert(Flow {
            last: at,
            longest: Duration::ZERO,
            newest_us: 0,
        });
        if frame.capture_us > flow.newest_us {
            flow.newest_us = frame.capture_us;
            flow.longest = flow.longest.max(at.saturating_duration_since(flow.last));
            flow.last = at;
        }
    }

    /// How long the flow that stands still for longest has done so.
    pub(crate) fn lasting(&self, now: Instant) -> Duration {
        let lasting = self.0.values();
        let lasting = lasting.map(|flow| now.saturating_duration_since(flow.last));
        lasting.max().unwrap_or_default()
    }

    /// Whether something new came of every sender after `then`.
    pub(crate) fn all_since(&self, then: Instant) -> bool {
        self.0.values().all(|flow| flow.last > then)
    }

    /// Whether something new came of this sender, by its hexadecimal id, after `then`.
    pub(crate) fn any_since(&self, owner: &str, then: Instant) -> bool {
        let mut flows = self.0.iter();
        flows.any(|((it, _), flow)| it.to_string() == owner && flow.last > then)
    }

    /// Nothing comes of this sender any more, by its hexadecimal id.
    pub(crate) fn left(&mut self, owner: &str) {
        self.0.retain(|(it, _), _| it.to_string() != owner);
    }

    /// Forgets what was; a gap that lasts goes on.
    pub(crate) fn reset(&mut self) {
        for flow in self.0.values_mut() {
            flow.longest = Duration::ZERO;
        }
    }

    /// The longest gap of each sender as of now, one that lasts included.
    pub(crate) fn longest(&self, now: Instant) -> BTreeMap<(ParticipantId, bool), Duration> {
        let flows = self.0.iter();
        flows
            .map(|(of, flow)| {
                let lasting = now.saturating_duration_since(flow.last);
                (*of, flow.longest.max(lasting))
            })
            .collect()
    }
}
