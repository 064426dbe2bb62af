//! On which handlers a meeting is: what its owner changes about it.

use core::time::Duration;

use darktower_wire::ids::{MeetingId, NodeId};

use crate::{Candidate, Room, keep_or_choose};

/// A meeting as its owner sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seating<'a> {
    /// Which.
    pub meeting: MeetingId,
    /// Where it is to be.
    pub region: &'a str,
    /// How many participants it has.
    pub size: u32,
    /// The handlers that it is on, and how many are on each.
    pub on: &'a [(NodeId, u32)],
}

/// A change of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehoming {
    /// All of the meeting goes to this handler; where there is none, it waits for one.
    Whole(Option<NodeId>),
    /// Those on one of several handlers go to this one, which may be the same: opened anew.
    Part {
        /// Where they are.
        from: NodeId,
        /// Where they go.
        to: NodeId,
    },
}

/// What one meeting's owner knows of where it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Homes {
    room: Room,
}

impl Homes {
    /// What to change now. `candidates` are the handlers with what was placed on them lately, `reported` is one as it
    /// reports itself, and `is_open` says whether the owner uses one for this meeting already. To be asked each second at
    /// least.
    pub fn look<'a>(
        &mut self,
        now: Duration,
        seating: &Seating<'_>,
        candidates: &[Candidate<'a>],
        reported: impl Fn(NodeId) -> Option<Candidate<'a>>,
        is_open: impl Fn(NodeId) -> bool,
    ) -> Vec<Rehoming> {
        match seating.on {
            [] | [_] => {
                let best = self.whole(now, seating, candidates, reported, &is_open);
                let stays = best.is_some_and(is_open);
                (!stays)
                    .then_some(Rehoming::Whole(best))
                    .into_iter()
                    .collect()
            }
            several => several
                .iter()
                .filter_map(|(from, size)| part(seating, candidates, *from, *size, &is_open))
                .collect(),
        }
    }

    fn whole<'a>(
        &mut self,
        now: Duration,
        seating: &Seating<'_>,
        candidates: &[Candidate<'a>],
        reported: impl Fn(NodeId) -> Option<Candidate<'a>>,
        is_open: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let Seating {
            meeting,
            region,
            size,
            on,
        } = *seating;
        // A meeting that was taken over stays where its frames flow.
        let current = on.first().map(|(node, _)| *node);
        let best = keep_or_choose(meeting, candidates, region, current, size);
        // What was placed there a moment ago is no reason to leave: its own report is.
        let here = best.filter(|best| is_open(*best)).and_then(reported);
        let there = here.and_then(|here| {
            self.room
                .look(now, meeting, &here, candidates, region, size)
        });
        there.or(best)
    }
}

fn part(
    seating: &Seating<'_>,
    candidates: &[Candidate<'_>],
    from: NodeId,
    size: u32,
    is_open: impl Fn(NodeId) -> bool,
) -> Option<Rehoming> {
    let Seating {
        meeting, region, ..
    } = *seating;
    let to = keep_or_choose(meeting, candidates, region, Some(from), size)?;
    (to != from || !is_open(from)).then_some(Rehoming::Part { from, to })
}
