//! Where newcomers go when a meeting is too large for one handler.

use std::collections::BTreeMap;

use darktower_wire::ids::{MeetingId, NodeId};

use crate::{Candidate, Health, rank_for};

/// The handler that newcomers to a meeting go to once the one they go to, `here`, has no room for more of it, and how
/// many of the meeting are on `here` then. `on`: how many are on each handler of the meeting; `share`: the most of one
/// meeting on one handler, 0 for no such bound. Handlers that are in use already come first, for each more that is costs
/// trunks to all others; and none far away is taken, since all pictures would cross.
pub fn spare(
    meeting: MeetingId,
    candidates: &[Candidate<'_>],
    here: NodeId,
    on: &BTreeMap<NodeId, u32>,
    share: u32,
) -> Option<(u32, NodeId)> {
    let count = |id: NodeId| on.get(&id).copied().unwrap_or(0);
    let present = candidates.iter().find(|node| node.id == here)?;
    let share = if share == 0 { u32::MAX } else { share };
    let room = match present.takes() {
        0 => u32::MAX,
        capacity => capacity.saturating_sub(present.load),
    };
    let from = share.min(count(here).saturating_add(room));
    let takes = |node: &&Candidate<'_>| {
        let is_sound = !node.draining && node.health == Health::Sound;
        let is_near = node.region == present.region;
        let has_room = node.has_room_for(1) && count(node.id) < share;
        node.id != here && is_sound && is_near && has_room
    };
    let others: Vec<_> = candidates.iter().filter(takes).cloned().collect();
    let ranked = rank_for(meeting, &others, present.region, 1);
    let used = ranked.iter().find(|id| on.contains_key(id));
    let there = used.or(ranked.first())?;
    (from < u32::MAX).then_some((from, *there))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEETING: MeetingId = MeetingId([9; 16]);

    fn node(id: u8, capacity: u32, load: u32) -> Candidate<'static> {
        Candidate {
            id: NodeId([id; 16]),
            region: "here",
            capacity,
            load,
            draining: false,
            health: Health::Sound,
        }
    }

    fn on(counts: &[(u8, u32)]) -> BTreeMap<NodeId, u32> {
        let counts = counts.iter();
        counts
            .map(|(id, count)| (NodeId([*id; 16]), *count))
            .collect()
    }

    fn spare_of(
        candidates: &[Candidate<'_>],
        counts: &[(u8, u32)],
        share: u32,
    ) -> Option<(u32, u8)> {
        let found = spare(MEETING, candidates, NodeId([1; 16]), &on(counts), share);
        found.map(|(from, id)| (from, id.0[0]))
    }

    #[test]
    fn newcomers_go_elsewhere_where_the_share_or_the_room_ends() {
        let two = [node(1, 100, 60), node(2, 100, 0)];
        assert_eq!(spare_of(&two, &[(1, 10)], 0), Some((50, 2)), "40 more fit");
        assert_eq!(spare_of(&two, &[(1, 10)], 30), Some((30, 2)));
        let boundless = [node(1, 0, 60), node(2, 0, 0)];
        assert_eq!(spare_of(&boundless, &[(1, 10)], 0), None);
        assert_eq!(spare_of(&boundless, &[(1, 10)], 30), Some((30, 2)));
        let full = [node(1, 100, 120), node(2, 100, 0)];
        assert_eq!(spare_of(&full, &[(1, 10)], 0), Some((10, 2)), "at once");
    }

    #[test]
    fn those_in_use_come_first_as_long_as_they_have_room() {
        let three = [node(1, 100, 90), node(2, 100, 0), node(3, 100, 0)];
        for used in [2, 3] {
            let counts = [(1, 10), (used, 5)];
            assert_eq!(spare_of(&three, &counts, 20), Some((20, used)));
            let counts = [(1, 10), (used, 20)];
            assert_eq!(spare_of(&three, &counts, 20), Some((20, 5 - used)));
        }
    }

    #[test]
    fn none_that_is_far_ill_full_or_going_away_is_taken() {
        let far = Candidate {
            region: "there",
            ..node(2, 100, 0)
        };
        let ill = Candidate {
            health: Health::Shaky,
            ..node(2, 100, 0)
        };
        let going = Candidate {
            draining: true,
            ..node(2, 100, 0)
        };
        for other in [far, ill, going, node(2, 100, 100)] {
            assert_eq!(spare_of(&[node(1, 100, 100), other], &[(1, 10)], 0), None);
        }
    }
}
