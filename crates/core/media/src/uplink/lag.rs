//! How long the sender itself took with frames, from their capture until they were sent: encoders, and processors that
//! have other things to do. A handler tells delays since the capture, and this part of them is no queue of the path.

use crate::path::{Lowest, Micros};

/// Over how long the least is taken: a report's interval.
const WINDOW_US: u64 = 100_000;

/// A report is of what was sent in one of so many windows: the path and the report's way back lie between.
const WINDOWS: usize = 4;

/// How far back the usual is sought, which is in every delay; see `path::belief`.
const USUAL_US: u64 = 10_000_000;

#[derive(Debug)]
pub(super) struct Lag {
    began: Micros,
    /// Of each of the last windows, the newest first.
    least: [Option<u64>; WINDOWS],
    usual: Lowest,
}

impl Lag {
    pub(super) fn new() -> Self {
        Self {
            began: 0,
            least: [None; WINDOWS],
            usual: Lowest::new(USUAL_US),
        }
    }

    /// A frame is sent that was captured so long ago.
    pub(super) fn sent(&mut self, now: Micros, took_us: u64) {
        if now >= self.began + WINDOW_US {
            self.least.rotate_right(1);
            (self.began, self.least[0]) = (now, None);
        }
        let least = self.least[0].unwrap_or(took_us);
        self.least[0] = Some(least.min(took_us));
        self.usual.observe(now, took_us);
    }

    /// A delay of which a report tells, without what is more than usual. Which of the windows it is of is not known, so it may have
    /// been less: what is left is no less than `base`, the shortest delay of late, where the delay was not.
    pub(super) fn taken_off(&self, delay_us: u64, base_us: Option<u64>) -> u64 {
        let most = self.least.iter().flatten().max();
        let own = most.copied().unwrap_or(0);
        let rest = delay_us.saturating_sub(own.saturating_sub(self.usual.get().unwrap_or(0)));
        rest.max(base_us.unwrap_or(delay_us).min(delay_us))
    }
}
