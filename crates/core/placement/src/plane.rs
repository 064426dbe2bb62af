//! Whether media comes through a handler, by what comes back of what was sent through it.

use core::time::Duration;
use std::collections::VecDeque;

/// Between two probes.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe that has not come back by then, nor any later one, means that nothing comes through: with a probe every
/// second a handler is out of rotation 2.5 s after its last packet at the latest. One lost datagram is no sign.
const LATE: Duration = Duration::from_millis(1500);
/// Whoever looks so much later than it meant to has been asleep itself: what came meanwhile is still to be heard.
const ASLEEP: Duration = Duration::from_millis(250);
/// So much time is left for that.
const TO_HEAR: Duration = Duration::from_millis(250);
/// So many probes must come back one after the other until it is in rotation again.
const GOOD: u32 = 5;
/// Whoever fails again so soon after it came back has to come back for twice as long as before ...
const RELAPSE: Duration = Duration::from_secs(60);
/// ... up to this many probes.
const MOST_GOOD: u32 = 40;
/// Probes that are remembered: more are never out before it counts as deaf.
const MOST_OUT: usize = 8;

/// By which way a part of a probe came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As sound does.
    Datagram,
    /// As pictures do.
    Stream,
}

/// One handler's media plane as one prober sees it. A process that answers its calls and forwards nothing is of no use,
/// so nothing but forwarded bytes counts.
#[derive(Debug, Clone)]
pub struct Plane {
    out: VecDeque<(u64, Duration)>,
    heard: [u64; 2],
    deaf: bool,
    good: u32,
    wanted: u32,
    healed: Option<Duration>,
}

impl Default for Plane {
    fn default() -> Self {
        Self {
            out: VecDeque::new(),
            heard: [0; 2],
            deaf: false,
            good: 0,
            wanted: GOOD,
            healed: None,
        }
    }
}

impl Plane {
    /// A probe with this number, growing and above 0, goes out by both ways. Also said where it could not be sent.
    pub fn sent(&mut self, now: Duration, number: u64) {
        self.review(now);
        if self.deaf {
            // The last one did not come back, so the row of good ones begins anew.
            self.good = if self.out.is_empty() { self.good } else { 0 };
            self.out.clear();
        }
        if self.out.len() == MOST_OUT {
            self.out.pop_back();
        }
        self.out.push_back((number, now));
    }

    /// A part of the probe with this number came back.
    pub fn heard(&mut self, now: Duration, way: Way, number: u64) {
        self.review(now);
        let at = match way {
            Way::Datagram => 0,
            Way::Stream => 1,
        };
        self.heard[at] = self.heard[at].max(number);
        let both = self.heard[0].min(self.heard[1]);
        let before = self.out.len();
        self.out.retain(|(number, _)| *number > both);
        if self.deaf && self.out.len() < before {
            self.good += 1;
            if self.good >= self.wanted {
                self.deaf = false;
                self.healed = Some(now);
            }
        }
    }

    /// Looks at the clock.
    pub fn review(&mut self, now: Duration) {
        let Some(until) = self.deadline().filter(|until| now >= *until) else {
            return;
        };
        if now > until + ASLEEP {
            let missed = now + TO_HEAR - until;
            self.out.iter_mut().for_each(|(_, sent)| *sent += missed);
            return;
        }
        let relapse = self.healed.is_some_and(|healed| now < healed + RELAPSE);
        self.wanted = match relapse {
            true => (self.wanted * 2).min(MOST_GOOD),
            false => GOOD,
        };
        self.deaf = true;
        self.good = 0;
    }

    /// When [`Self::review`] would find something new.
    pub fn deadline(&self) -> Option<Duration> {
        let oldest = self.out.front().filter(|_| !self.deaf);
        oldest.map(|(_, sent)| *sent + LATE)
    }

    /// Nothing comes through it, or not reliably again yet.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }
}
