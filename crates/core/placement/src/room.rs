//! When a meeting leaves a handler that refuses some of its participants: others have room.

use core::time::Duration;

use darktower_wire::ids::{MeetingId, NodeId};

use crate::{Candidate, Health, rank_for, score};

/// A handler is crowded for so long before a meeting goes: reports are up to two seconds old.
const FOR: Duration = Duration::from_secs(3);
/// The meetings of a crowded handler go one after the other, spread over so many milliseconds: each sees in the reports
/// what those before it have changed, and the first few make room for the others. Some go in the same moment all the
/// same, and may not fit together where they went: each time a meeting has to go again its turn is spread over twice as
/// long, or all would go round where room is scarce.
const SPREAD_MS: u64 = 8000;
/// It becomes no longer than 32 times as long.
const MOST_TIMES: u32 = 5;
/// So long after a meeting went that is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// What one meeting's owner knows of the room for it. A full handler refuses whoever comes (`overloaded`), who tries
/// again: as soon as the whole meeting fits elsewhere it goes there, and they get in. Nowhere else does it go for room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    crowded: Option<Duration>,
    went: Option<Duration>,
    times: u32,
}

impl Room {
    /// Where a meeting of so many participants goes from `here`, a handler as it reports itself, if it goes; the others
    /// with what was placed on them lately. To be asked each second at least.
    pub fn look(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        here: &Candidate<'_>,
        others: &[Candidate<'_>],
        region: &str,
        size: u32,
    ) -> Option<NodeId> {
        let Some(there) = there(meeting, here, others, region, size) else {
            self.crowded = None;
            return None;
        };
        if self.went.is_some_and(|went| now >= went + FORGOTTEN) {
            self.times = 0;
        }
        let since = *self.crowded.get_or_insert(now);
        let spread = SPREAD_MS << self.times;
        let turn = Duration::from_millis(score(meeting, here.id) % spread);
        if now < since + FOR + turn {
            return None;
        }
        *self = Self {
            crowded: None,
            went: Some(now),
            times: (self.times + 1).min(MOST_TIMES),
        };
        Some(there)
    }
}

fn there(
    meeting: MeetingId,
    here: &Candidate<'_>,
    others: &[Candidate<'_>],
    region: &str,
    size: u32,
) -> Option<NodeId> {
    if !here.is_crowded() {
        return None;
    }
    let fits = |other: &&Candidate<'_>| {
        let is_sound = !other.draining && other.health == Health::Sound;
        other.id != here.id && is_sound && other.has_room_for(size)
    };
    let others: Vec<_> = others.iter().filter(fits).cloned().collect();
    rank_for(meeting, &others, region, size).into_iter().next()
}
