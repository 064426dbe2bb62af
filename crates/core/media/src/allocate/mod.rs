//! Who gets what of a subscriber's budget: for each track it shows, a layer and the
//! highest temporal layer of it, or nothing.
//!
//! Audio is paid first, whatever is left goes to pictures in the order of [`Class`].
//! A small picture for each comes before a large one for some, and what fits the tile
//! is the most that anybody gets. Less is taken at once, more only with room to spare
//! and after a while, so that no picture goes up and down.
//!
//! Start with [`Allocator::run`]. It is one subscriber's, and knows no track but those
//! it is told of.

mod ladder;
mod plan;

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::TrackId;

use crate::Bitrate;
pub use ladder::{Rung, ladder, top};
use plan::{Entry, Plan};

/// What somebody has goes before what others might have, so a plan that gave something may
/// lead to another one. It is planned until that changes nothing, which is nearly always
/// at once, and so often at most.
const ROUNDS: usize = 4;

/// How long who has just come may be given its first picture beyond the estimate. By then
/// the picture itself has shown whether it fits.
const FRESH: Duration = Duration::from_secs(1);

/// Rules of an [`Allocator`] that have a number.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Hundredths of the estimate that are spent. The rest is for headers of packets
    /// (five of them), for frames that come in bursts, and for a belief that is too high.
    /// The smallest picture of who goes first may take the rest, too.
    pub spend: u64,
    /// Hundredths of the budget that must stay free after a step up: rates sway by as
    /// much without a reason to step down again.
    pub spare: u64,
    /// Hundredths of the budget that classes above leave to the smallest pictures of
    /// those below, so that nothing starves.
    pub reserve: u64,
    /// No step up sooner after a step up: rates of the new layer are known by then.
    pub after_up: Duration,
    /// No step up sooner after a step down. A queue has drained by then and the
    /// estimate has settled.
    pub after_down: Duration,
    /// The longest pause after steps down that followed steps up: each doubles it. A path
    /// that has recovered must be used again within six seconds, of which tests take two.
    pub after_down_max: Duration,
    /// A step down so soon after a step up shows that the step up was wrong.
    pub regret: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spend: 87,
            spare: 8,
            reserve: 30,
            after_up: Duration::from_millis(500),
            after_down: Duration::from_secs(2),
            after_down_max: Duration::from_secs(4),
            regret: Duration::from_secs(5),
        }
    }
}

/// What goes before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A shared screen.
    Screen,
    /// Pinned by the person.
    Pinned,
    /// The active speaker's.
    Active,
    /// On the screen, the largest first.
    Visible,
    /// About to be shown.
    Rest,
}

/// One track that is shown.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The track.
    pub track: TrackId,
    /// What goes before it.
    pub class: Class,
    /// The tile's width in pixels; 0 where it has none.
    pub width_px: u32,
    /// The tile's height in pixels.
    pub height_px: u32,
    /// What can be had of it, from [`ladder`].
    pub rungs: &'a [Rung],
}

/// What one track gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The track.
    pub track: TrackId,
    /// The layer that is to be forwarded.
    pub layer: u8,
    /// The highest temporal layer of it.
    pub temporal: u8,
    /// The budget does not reach for it: nothing is forwarded.
    pub paused: bool,
}

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Of each track that is shown, by track.
    pub shares: Vec<Share>,
    /// What they and the audio take.
    pub spent: Bitrate,
    /// Something gets less than its tile could show.
    pub limited: bool,
    /// The estimate at which something would go up; `None` where nothing would.
    pub next: Option<Bitrate>,
}

/// What is remembered of a track: the step taken last.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Layer and temporal layer; `None` while paused.
    at: Option<(u8, u8)>,
    /// When it last went up.
    up: Option<Duration>,
    /// It may not go up before.
    until: Duration,
    /// How long it waits after the next step down.
    pause: Duration,
}

/// The allocation of one subscriber.
#[derive(Debug)]
pub struct Allocator {
    config: Config,
    steps: BTreeMap<TrackId, Step>,
    /// Until then the estimate is a guess.
    fresh_until: Duration,
}

impl Allocator {
    /// An allocator that has given nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            steps: BTreeMap::new(),
            fresh_until: Duration::ZERO,
        }
    }

    /// The subscriber comes now and its estimate is a guess: for a moment the smallest
    /// picture of who goes first may take twice as much.
    pub fn begins(&mut self, now: Duration) {
        self.fresh_until = now + FRESH;
    }

    /// Spends `estimate` (`None`: there is no bound) on `audio` and what is wanted.
    pub fn run(
        &mut self,
        now: Duration,
        estimate: Option<Bitrate>,
        audio: Bitrate,
        wanted: &[Wanted<'_>],
    ) -> Allocation {
        let wanted: Vec<_> = wanted.iter().filter(|one| !one.rungs.is_empty()).collect();
        let mut allocation = self.plan(now, estimate, audio, &wanted);
        for _ in 0..ROUNDS {
            if !allocation.limited {
                break;
            }
            let again = self.plan(now, estimate, audio, &wanted);
            let is_settled = again.shares == allocation.shares;
            allocation = again;
            if is_settled {
                break;
            }
        }
        allocation
    }

    fn plan(
        &mut self,
        now: Duration,
        estimate: Option<Bitrate>,
        audio: Bitrate,
        wanted: &[&Wanted<'_>],
    ) -> Allocation {
        let entries = wanted.iter().map(|one| self.entry(now, one)).collect();
        let is_fresh = now < self.fresh_until;
        let mut plan = Plan::new(&self.config, estimate, is_fresh, audio, entries);
        plan.spend();
        let allocation = plan.allocation(&self.config);
        self.remember(now, &plan);
        allocation
    }

    fn entry<'a>(&self, now: Duration, wanted: &Wanted<'a>) -> Entry<'a> {
        let step = self.steps.get(&wanted.track);
        let at = step.and_then(|step| step.at);
        let top = top(wanted, at.map(|(layer, _)| layer));
        let place = |rung: &Rung| Some((rung.layer, rung.temporal)) <= at;
        let current = at.and_then(|_| wanted.rungs[..=top].iter().rposition(place));
        Entry {
            track: wanted.track,
            class: wanted.class,
            pixels: u64::from(wanted.width_px) * u64::from(wanted.height_px),
            rungs: &wanted.rungs[..=top],
            current,
            is_new: step.is_none(),
            may_rise: step.is_none_or(|step| now >= step.until),
            given: None,
        }
    }

    fn remember(&mut self, now: Duration, plan: &Plan<'_>) {
        let config = &self.config;
        let before = core::mem::take(&mut self.steps);
        for entry in plan.entries() {
            let mut step = before.get(&entry.track).copied().unwrap_or(Step {
                at: None,
                up: None,
                until: now,
                pause: config.after_down,
            });
            let given = entry.given.map(|at| entry.rungs[at]);
            let given = given.map(|rung| (rung.layer, rung.temporal));
            if entry.given > entry.current {
                // What it begins with is no step that could be regretted.
                step.up = (!entry.is_new).then_some(now);
                step.until = now + config.after_up;
            } else if entry.given < entry.current || (given.is_none() && step.at.is_some()) {
                let regretted = step.up.is_some_and(|up| now < up + config.regret);
                step.pause = match regretted {
                    true => (step.pause * 2).min(config.after_down_max),
                    false => config.after_down,
                };
                step.until = now + step.pause;
            }
            step.at = given;
            self.steps.insert(entry.track, step);
        }
    }
}
