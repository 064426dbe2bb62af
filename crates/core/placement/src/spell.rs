//! Out at once, back with hysteresis.

use core::time::Duration;

/// So many seconds must be good one after the other until it is over.
const GOOD: u32 = 5;
/// Whoever fails again so soon after it came back has to come back for twice as long as before ...
const RELAPSE: Duration = Duration::from_secs(60);
/// ... up to so many seconds.
const MOST_GOOD: u32 = 40;

/// A time in which something is not well, and what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell {
    pub(crate) lasts: bool,
    good: u32,
    wanted: u32,
    healed: Option<Duration>,
}

impl Default for Spell {
    fn default() -> Self {
        Self {
            lasts: false,
            good: 0,
            wanted: GOOD,
            healed: None,
        }
    }
}

impl Spell {
    pub(crate) fn begin(&mut self, now: Duration) {
        if self.lasts {
            return;
        }
        let relapse = self.healed.is_some_and(|healed| now < healed + RELAPSE);
        self.wanted = match relapse {
            true => (self.wanted * 2).min(MOST_GOOD),
            false => GOOD,
        };
        self.lasts = true;
        self.good = 0;
    }

    /// A second was good, or was not.
    pub(crate) fn beat(&mut self, now: Duration, is_good: bool) {
        if !self.lasts {
            return;
        }
        self.good = if is_good { self.good + 1 } else { 0 };
        if self.good >= self.wanted {
            self.lasts = false;
            self.healed = Some(now);
        }
    }
}
