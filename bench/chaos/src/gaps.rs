//! How long nothing new came, for each sender and receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use darktower_client::{Frame, ParticipantId};
use tokio::time::Instant;

/// The longest times without a new frame at one receiver, by sender; pictures and sound apart.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    flows: BTreeMap<(ParticipantId, bool), Flow>,
    /// The pictures of those who do not count among the others, by their hexadecimal ids.
    apart: BTreeMap<String, Option<Flow>>,
    /// Those who have left, by their hexadecimal ids: what they sent last may come after the word that they have.
    gone: BTreeSet<String>,
}

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
        let begun = Flow {
            last: at,
            longest: Duration::ZERO,
            newest_us: 0,
        };
        let id = owner.to_string();
        if self.gone.contains(&id) {
            return;
        }
        let flow = match self.apart.get_mut(&id) {
            Some(flow) if frame.video => flow.get_or_insert(begun),
            Some(_) => return,
            None => self.flows.entry((owner, frame.video)).or_insert(begun),
        };
        if frame.capture_us > flow.newest_us {
            flow.newest_us = frame.capture_us;
            flow.longest = flow.longest.max(at.saturating_duration_since(flow.last));
            flow.last = at;
        }
    }

    /// This sender, by its hexadecimal id, does not count among the others from now on.
    pub(crate) fn set_apart(&mut self, owner: &str) {
        self.flows.retain(|(it, _), _| it.to_string() != owner);
        self.apart.insert(owner.to_owned(), None);
    }

    /// The longest gap of pictures of one who is set apart.
    pub(crate) fn longest_apart(&self, owner: &str, now: Instant) -> Option<Duration> {
        let flow = self.apart.get(owner)?;
        flow.as_ref().map(|flow| flow.longest_until(now))
    }

    /// How long the flow that stands still for longest has done so.
    pub(crate) fn lasting(&self, now: Instant) -> Duration {
        let lasting = self.flows.values();
        let lasting = lasting.map(|flow| now.saturating_duration_since(flow.last));
        lasting.max().unwrap_or_default()
    }

    /// Whether something new came of every sender after `then`.
    pub(crate) fn all_since(&self, then: Instant) -> bool {
        self.flows.values().all(|flow| flow.last > then)
    }

    /// Whether something new came of this sender, by its hexadecimal id, after `then`.
    pub(crate) fn any_since(&self, owner: &str, then: Instant) -> bool {
        let of = |((it, _), flow): (&(ParticipantId, bool), _)| {
            (it.to_string() == owner).then_some(flow)
        };
        let apart = self.apart.get(owner).and_then(Option::as_ref);
        let mut flows = self.flows.iter().filter_map(of).chain(apart);
        flows.any(|flow: &Flow| flow.last > then)
    }

    /// Nothing comes of this sender any more, by its hexadecimal id.
    pub(crate) fn left(&mut self, owner: &str) {
        self.flows.retain(|(it, _), _| it.to_string() != owner);
        self.apart.remove(owner);
        self.gone.insert(owner.to_owned());
    }

    /// Forgets what was; a gap that lasts goes on.
    pub(crate) fn reset(&mut self) {
        let apart = self.apart.values_mut().flatten();
        for flow in self.flows.values_mut().chain(apart) {
            flow.longest = Duration::ZERO;
        }
    }

    /// The longest gap of each sender as of now, one that lasts included.
    pub(crate) fn longest(&self, now: Instant) -> BTreeMap<(ParticipantId, bool), Duration> {
        let flows = self.flows.iter();
        flows
            .map(|(of, flow)| (*of, flow.longest_until(now)))
            .collect()
    }
}

impl Flow {
    /// Its longest gap, one that lasts included.
    fn longest_until(&self, now: Instant) -> Duration {
        self.longest.max(now.saturating_duration_since(self.last))
    }
}
