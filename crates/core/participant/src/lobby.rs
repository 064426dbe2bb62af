//! The keys' part of waiting in the lobby: the group's state as last told, and
//! the entry that is made ahead on it, so that the click has nothing to compute.
//!
//! An entry is good for exactly one state of the group and is used once. When
//! the state moves it is thrown away and made anew, ever more rarely the
//! shorter it lives: a crowd that goes in must not keep the processors of all
//! who still wait busy. Whoever clicks between gets one made at the click.

use std::time::Duration;

use darktower_e2ee::Error;
use darktower_wire::signal::KeyState;

use crate::entry::{Entrant, Entry};

/// How long the state has to stand before an entry is made on it, at first.
/// The controller tells waiting ends of a new one each 100 ms at most.
const SETTLE: Duration = Duration::from_millis(100);
/// The wait doubles with each entry thrown away, up to 12.8 s: an entry of
/// 100 ms of work (a hundred members) then takes less than 1 % of the time.
const MAX_DOUBLINGS: u32 = 7;
/// An entry that lived this long ends the doubling: the crowd is inside.
const CALM: Duration = Duration::from_secs(15);
/// Older entries are made anew. They hold the secrets of an epoch that may come
/// and were judged by the clock of their making; neither is kept for hours.
const KEEP: Duration = Duration::from_secs(600);

/// An entry made ahead.
struct Ahead {
    entry: Entry,
    made: Duration,
    wall: u64,
}

impl Ahead {
    /// By wall time: a sleeping machine stops the other clock. One that was set
    /// back says nothing of the age.
    fn holds(&self, wall: u64) -> bool {
        let age = wall.checked_sub(self.wall);
        age.is_some_and(|age| Duration::from_millis(age) <= KEEP)
    }
}

/// The group as told in the lobby.
pub(crate) struct Lobby {
    /// `None` where nobody has founded one.
    state: Option<KeyState>,
    waiting: bool,
    ahead: Option<Ahead>,
    /// An entry is to be made then.
    due: Option<Duration>,
    /// Entries thrown away since one last stood for long.
    wasted: u32,
}

impl Lobby {
    pub(crate) fn new(state: Option<KeyState>) -> Self {
        Self {
            state: state.filter(|state| state.founded),
            waiting: false,
            ahead: None,
            due: None,
            wasted: 0,
        }
    }

    /// Somebody waits who may click any moment. The entry is made at the next
    /// tick and not here: what was decided before is to be under way by then.
    pub(crate) fn wait(&mut self, now: Duration) {
        self.waiting = true;
        self.due = Some(now);
    }

    /// Nobody waits any more.
    pub(crate) fn leave(&mut self) {
        self.waiting = false;
        self.ahead = None;
        self.due = None;
    }

    /// The group's state as it is now.
    pub(crate) fn told(&mut self, now: Duration, state: Option<KeyState>) {
        let state = state.filter(|state| state.founded);
        // An epoch can come twice, after a voided commit: the bytes decide.
        let same = match (&self.state, &state) {
            (Some(known), Some(told)) => {
                (known.epoch, &known.group_info) == (told.epoch, &told.group_info)
            }
            (known, told) => known.is_none() && told.is_none(),
        };
        self.state = state;
        if same {
            return;
        }
        if let Some(thrown_away) = self.ahead.take() {
            match now.saturating_sub(thrown_away.made) >= CALM {
                true => self.wasted = 0,
                false => self.waste(),
            }
            self.due = None;
        }
        if self.waiting {
            self.due.get_or_insert(now + SETTLE * (1 << self.wasted));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// Makes the entry, where it is time.
    pub(crate) fn tick(&mut self, now: Duration, wall: u64, entrant: &Entrant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        match entrant.entry(self.state.as_ref(), wall) {
            Ok(entry) => {
                self.due = Some(now + KEEP);
                self.ahead = Some(Ahead {
                    entry,
                    made: now,
                    wall,
                });
            }
            // What nothing can be built on is told at the click.
            Err(_) => self.waste(),
        }
    }

    /// The commit that waits, if one does.
    #[cfg(test)]
    pub(crate) fn made_ahead(&self) -> Option<darktower_wire::signal::KeyCommit> {
        self.ahead.as_ref().map(|ahead| ahead.entry.commit.clone())
    }

    fn waste(&mut self) {
        self.wasted = (self.wasted + 1).min(MAX_DOUBLINGS);
    }

    /// The click: the entry made ahead where it still holds, else one made now.
    pub(crate) fn enter(&mut self, wall: u64, entrant: &Entrant) -> Result<Entry, Error> {
        let ahead = self.ahead.take();
        self.leave();
        match ahead {
            Some(ahead) if ahead.holds(wall) => Ok(ahead.entry),
            _ => entrant.entry(self.state.as_ref(), wall),
        }
    }
}

#[cfg(test)]
mod tests;
