//! One spending of a budget.

use core::cmp::Reverse;

use darktower_wire::ids::TrackId;

use super::{Allocation, Class, Config, Rung, Share};
use crate::Bitrate;

/// A track that is shown, and what it gets.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) track: TrackId,
    pub(super) class: Class,
    pub(super) pixels: u64,
    /// The steps that its tile has any use for; at least one.
    pub(super) rungs: &'a [Rung],
    /// The step it stands on.
    pub(super) current: Option<usize>,
    /// It was not shown before.
    pub(super) is_new: bool,
    /// It may go above that step.
    pub(super) may_rise: bool,
    pub(super) given: Option<usize>,
}

impl Entry<'_> {
    fn rate(&self, at: Option<usize>) -> u64 {
        at.map_or(0, |at| self.rungs[at].rate.bps())
    }

    fn next(&self) -> Option<usize> {
        let next = self.given.map_or(0, |at| at + 1);
        (next < self.rungs.len()).then_some(next)
    }

    /// The next step is one that it stands on, or below.
    fn has_next(&self) -> bool {
        self.next().is_some_and(|next| self.current >= Some(next))
    }
}

pub(super) struct Plan<'a> {
    /// In the order in which they are served.
    entries: Vec<Entry<'a>>,
    budget: u64,
    /// Of the budget, what must stay free after a step up.
    spare: u64,
    /// Of the budget, what the smallest pictures of later classes may count on.
    reserve: u64,
    left: u64,
    /// Beyond the budget, what only the smallest picture of who goes first may use.
    headroom: u64,
    audio: u64,
}

/// A picture that was given up comes back before its time where this part of the budget stays free: the belief was too low
/// for a moment.
const PLENTY_PART: u64 = 3;

/// More than anything takes: there is no bound.
const UNBOUNDED: u64 = u64::MAX / 4;

impl<'a> Plan<'a> {
    pub(super) fn new(
        config: &Config,
        estimate: Option<Bitrate>,
        is_fresh: bool,
        audio: Bitrate,
        mut entries: Vec<Entry<'a>>,
    ) -> Self {
        entries.sort_by_key(|one| (one.class, Reverse(one.pixels), one.track));
        let estimate = estimate.map_or(UNBOUNDED, |one| one.bps().min(UNBOUNDED));
        let budget = Bitrate::from_bps(estimate).percent(config.spend).bps();
        let budget = if estimate == UNBOUNDED {
            UNBOUNDED
        } else {
            budget
        };
        let share = |percent: u64| Bitrate::from_bps(budget).percent(percent).bps();
        let audio = audio.bps();
        let guess = if is_fresh { estimate } else { 0 };
        Self {
            entries,
            budget,
            spare: share(config.spare),
            reserve: share(config.reserve),
            // Audio is never refused: a budget that it exceeds leaves no picture.
            left: budget.saturating_sub(audio),
            headroom: estimate.saturating_sub(budget.max(audio)) + guess,
            audio,
        }
    }

    pub(super) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Class by class: the smallest picture for each, then more for each in turn. What the
    /// later classes have not taken of their reserve is given out last. What somebody has
    /// is kept before anybody gets more of the same room, else two would take it from one
    /// another in turns.
    pub(super) fn spend(&mut self) {
        let classes = self.classes();
        for &(first, end) in &classes {
            for at in first..end {
                if !self.raise(at, 0) {
                    self.set_aside(at);
                }
            }
            let smallest = self.entries[end..].iter().map(|one| one.rate(Some(0)));
            let keep = smallest.fold(0, u64::saturating_add).min(self.reserve);
            self.raise_in_turn(first, end, keep, |one| one.has_next());
            self.raise_in_turn(first, end, keep, |_| true);
        }
        for &(first, end) in &classes {
            self.raise_in_turn(first, end, 0, |one| one.has_next());
        }
        for &(first, end) in &classes {
            self.raise_in_turn(first, end, 0, |_| true);
        }
    }

    /// Where each class begins and ends.
    fn classes(&self) -> Vec<(usize, usize)> {
        let mut first = 0;
        let each = self.entries.chunk_by(|a, b| a.class == b.class).map(|of| {
            let begins = first;
            first += of.len();
            (begins, first)
        });
        each.collect()
    }

    fn raise_in_turn(&mut self, first: usize, end: usize, keep: u64, who: fn(&Entry<'_>) -> bool) {
        let mut raised = true;
        while core::mem::take(&mut raised) {
            for at in first..end {
                raised |= who(&self.entries[at]) && self.raise(at, keep);
            }
        }
    }

    /// Who has to wait for its smallest picture shall find room for it when it need not any
    /// more: those after it would take it in turns else.
    fn set_aside(&mut self, at: usize) {
        let entry = &self.entries[at];
        if entry.given.is_none() && (entry.current.is_some() || !entry.may_rise) {
            let price = entry.rate(Some(0)).saturating_add(self.spare);
            self.left = self.left.saturating_sub(price);
        }
    }

    /// Takes one more step for an entry, if `keep` stays free. False where it may
    /// not.
    fn raise(&mut self, at: usize, keep: u64) -> bool {
        let entry = &self.entries[at];
        let Some(next) = entry.next() else {
            return false;
        };
        let price = entry.rate(Some(next));
        let room = self.left.saturating_add(entry.rate(entry.given));
        if at == 0 && next == 0 {
            // The last picture is worth more than room to spare, and is not given up for a
            // belief that is too low for a moment.
            let headroom = match entry.current {
                Some(_) => self.headroom.saturating_add(self.spare * 2),
                None => self.headroom,
            };
            if price > room.saturating_add(headroom) {
                return false;
            }
            self.left = room.saturating_sub(price);
            self.entries[at].given = Some(next);
            return true;
        }
        let is_first = entry.is_new && next == 0;
        let mut needed = price.saturating_add(keep);
        if entry.current.is_none_or(|current| next > current) && !is_first {
            let free = match entry.may_rise {
                true => self.spare,
                false if next == 0 => self.budget / PLENTY_PART,
                false => return false,
            };
            needed = needed.saturating_add(free);
        }
        if needed > room {
            return false;
        }
        self.left = room - price;
        self.entries[at].given = Some(next);
        true
    }

    pub(super) fn allocation(&self, config: &Config) -> Allocation {
        let share = |one: &Entry<'_>| {
            let rung = one.rungs[one.given.unwrap_or(0)];
            Share {
                track: one.track,
                layer: rung.layer,
                temporal: rung.temporal,
                paused: one.given.is_none(),
            }
        };
        let mut shares: Vec<_> = self.entries.iter().map(share).collect();
        shares.sort_unstable();
        let pictures = self.entries.iter().map(|one| one.rate(one.given));
        let spent = pictures.fold(self.audio, u64::saturating_add);
        Allocation {
            shares,
            spent: Bitrate::from_bps(spent),
            limited: self.entries.iter().any(|one| one.next().is_some()),
            next: self.next(config, spent),
        }
    }

    /// The estimate at which the first that may would take a step more.
    fn next(&self, config: &Config, spent: u64) -> Option<Bitrate> {
        if self.budget >= UNBOUNDED {
            return None;
        }
        let entry = self
            .entries
            .iter()
            .find(|one| one.may_rise && one.next().is_some())?;
        let more = entry
            .rate(entry.next())
            .saturating_sub(entry.rate(entry.given));
        let whole = u128::from(spent.saturating_add(more)) * 100 * 100;
        let of = u128::from(config.spend * (100 - config.spare.min(99))).max(1);
        let next = u64::try_from(whole.div_ceil(of)).unwrap_or(u64::MAX);
        Some(Bitrate::from_bps(next))
    }
}
