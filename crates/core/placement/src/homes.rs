//! On which handlers a meeting is: what its owner changes about it.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::{MeetingId, NodeId};

use crate::{Candidate, Health, Room, keep_or_choose};

/// A handler of which participants heard nothing is left alone by their meeting for so long, while there are others. Where
/// there are only such, the one that was left first is tried again.
const AVOIDED: Duration = Duration::from_secs(60);

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
#[derive(Debug, Clone, Default)]
pub struct Homes {
    room: Room,
    /// Handlers that are as good as silent, until when.
    unheard: BTreeMap<NodeId, Duration>,
}

impl Homes {
    /// The participants who are on this handler hear nothing of it, however well it looks from here.
    pub fn unheard(&mut self, now: Duration, node: NodeId) {
        self.unheard.insert(node, now + AVOIDED);
    }

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
        self.unheard.retain(|_, until| *until > now);
        let candidates = self.as_heard(candidates);
        match seating.on {
            [] | [_] => {
                let best = self.whole(now, seating, &candidates, reported, &is_open);
                let stays = best.is_some_and(is_open);
                (!stays)
                    .then_some(Rehoming::Whole(best))
                    .into_iter()
                    .collect()
            }
            several => several
                .iter()
                .filter_map(|(from, size)| part(seating, &candidates, *from, *size, &is_open))
                .collect(),
        }
    }

    /// Those of which nobody hears anything are as good as silent; but for the one that was left first where all are such.
    fn as_heard<'a>(&self, candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
        let is_unheard = |it: &Candidate<'_>| self.unheard.contains_key(&it.id);
        let is_other = |it: &Candidate<'_>| it.standing() == Health::Sound && !is_unheard(it);
        let again = match candidates.iter().any(is_other) {
            true => None,
            false => {
                let left = candidates.iter().filter(|it| is_unheard(it));
                left.map(|it| it.id).min_by_key(|id| self.unheard[id])
            }
        };
        let heard = candidates.iter().cloned();
        let heard = heard.map(|it| match is_unheard(&it) && again != Some(it.id) {
            true => Candidate {
                health: Health::Silent,
                ..it
            },
            false => it,
        });
        heard.collect()
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
