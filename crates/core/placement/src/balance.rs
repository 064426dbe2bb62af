//! When a meeting leaves a controller that carries much more than others do: one of them has just come, or was away.

use core::time::Duration;

use darktower_wire::ids::{MeetingId, NodeId};

use crate::{Candidate, others};

/// A controller carries too much for so long before a meeting goes: reports are up to two seconds old.
const FOR: Duration = Duration::from_secs(5);
/// Meetings go one after the other, spread over so many milliseconds: each sees in the reports what those before it have
/// changed.
const SPREAD_MS: u64 = 10_000;
/// More than so many percent of its share of the load are too much. New meetings go elsewhere from 125 on, so between the
/// two things even out by themselves.
const MUCH_PERCENT: u128 = 150;
/// Below so many percent of what it takes, a controller serves a meeting as well as an idle one would.
const BUSY_PERCENT: u64 = 25;

/// What one meeting's owner knows of how even the load is. A meeting goes only to a controller that has no more than its
/// share with it, which is far from too much: it stays there. Only where several go to one in the same moment one of them
/// may have to go again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Balance {
    uneven: Option<Duration>,
}

impl Balance {
    /// Where a meeting of so many participants goes from `own`, if it goes: the first of [`others`]. The controllers are
    /// as they report themselves. To be asked every few seconds at least.
    pub fn look(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        controllers: &[Candidate<'_>],
        own: NodeId,
        region: &str,
        size: u32,
    ) -> Option<NodeId> {
        let Some(there) = there(meeting, controllers, own, region, size) else {
            self.uneven = None;
            return None;
        };
        let since = *self.uneven.get_or_insert(now);
        let turn = Duration::from_millis(crate::score(meeting, own) % SPREAD_MS);
        (now >= since + FOR + turn).then_some(there)
    }
}

fn there(
    meeting: MeetingId,
    controllers: &[Candidate<'_>],
    own: NodeId,
    region: &str,
    size: u32,
) -> Option<NodeId> {
    let here = controllers.iter().find(|node| node.id == own)?;
    let is_busy = u64::from(here.load) * 100 >= BUSY_PERCENT * u64::from(here.takes());
    if here.takes() == 0 || here.draining || here.region != region || !is_busy {
        return None;
    }
    let takes_part = |node: &&Candidate<'_>| !node.draining && node.region == region;
    let near: Vec<_> = controllers.iter().filter(takes_part).collect();
    let capacity: u128 = near.iter().map(|node| u128::from(node.takes())).sum();
    let carried = near.iter().map(|node| node.load.min(node.takes()));
    let load: u128 = carried.map(u128::from).sum();
    // Percent of a node's share of the load, without division: of load * capacity / all capacity.
    let exceeds = |node: &Candidate<'_>, load_there: u32, percent: u128| {
        u128::from(load_there) * 100 * capacity > percent * load * u128::from(node.takes())
    };
    if !exceeds(here, here.load, MUCH_PERCENT) {
        return None;
    }
    let first = others(meeting, controllers, own, region, true)
        .into_iter()
        .next()?;
    let first = near.into_iter().find(|node| node.id == first)?;
    let with_it = first.load.saturating_add(size);
    (!exceeds(first, with_it, 100)).then_some(first.id)
}
