//! How long what is to be sent waits for more to the same peer.
//!
//! A packet, a call of the kernel and the acknowledgement cost most of what a frame costs, and frames that leave together
//! share them: ten cameras that tick at times of their own cost half as much when what comes within some
//! milliseconds leaves at once. So a shard with time to spare sends at once, and a busy one waits, the longer the busier
//! it is, as network cards moderate their interrupts.

use std::time::{Duration, Instant};

/// How long a stretch is over which the load is taken.
const STRETCH: Duration = Duration::from_millis(20);
/// Up to this share of a core nothing waits.
const IDLE: f64 = 0.4;
/// How much longer it is with all of a core.
const LONGEST: Duration = Duration::from_millis(8);
/// How much of each stretch is believed.
const FOLLOW: f64 = 0.25;

/// The load of one shard, and what follows from it.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    slept: Duration,
    asleep_since: Option<Instant>,
    /// Share of a core, 0 to 1.
    load: f64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            slept: Duration::ZERO,
            asleep_since: None,
            load: 0.0,
        }
    }

    /// There is nothing to do.
    pub(super) fn sleeps(&mut self, now: Instant) {
        self.asleep_since = Some(now);
    }

    /// There is something to do, perhaps without having slept.
    pub(super) fn wakes(&mut self, now: Instant) {
        if let Some(since) = self.asleep_since.take() {
            self.slept += now.saturating_duration_since(since);
        }
        let stretch = now.saturating_duration_since(self.began);
        if stretch < STRETCH {
            return;
        }
        let load = 1.0 - self.slept.as_secs_f64() / stretch.as_secs_f64();
        // A long sleep is many stretches of it.
        let stretches = stretch.as_secs_f64() / STRETCH.as_secs_f64();
        let kept = (1.0 - FOLLOW).powf(stretches);
        self.load = self.load * kept + load * (1.0 - kept);
        self.began = now;
        self.slept = Duration::ZERO;
    }

    /// How long what is to be sent waits now.
    pub(super) fn hold(&self) -> Duration {
        LONGEST.mul_f64(((self.load - IDLE) / (1.0 - IDLE)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Busy for so many of each ten milliseconds.
    fn run(pace: &mut Pace, from: Instant, busy: u32, turns: u32) -> Instant {
        let mut now = from;
        for _ in 0..turns {
            pace.sleeps(now + MS * busy);
            now += MS * 10;
            pace.wakes(now);
        }
        now
    }

    #[test]
    fn the_busier_a_shard_is_the_longer_it_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.hold(), Duration::ZERO);
        let now = run(&mut pace, start, 3, 100);
        assert_eq!(pace.hold(), Duration::ZERO);
        let now = run(&mut pace, now, 7, 100);
        let half = pace.hold();
        assert!(half > MS * 3 && half < MS * 5, "{half:?}");
        run(&mut pace, now, 10, 100);
        assert!(pace.hold() > MS * 7 && pace.hold() <= LONGEST);
    }

    #[test]
    fn a_long_sleep_ends_the_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let now = run(&mut pace, start, 10, 100);
        pace.sleeps(now);
        pace.wakes(now + MS * 500);
        assert_eq!(pace.hold(), Duration::ZERO);
    }
}
