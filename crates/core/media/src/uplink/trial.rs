//! Testing whether more fits on an uplink: padding for a moment, judged by what the
//! handler says of that moment.

use crate::path::{Belief, Micros, bps};

/// How long a test sends: three reports.
const LENGTH_US: u64 = 300_000;

/// After its end: the reports of it are on their way.
const HEAR_US: u64 = 250_000;

/// After a test that failed: until the next, doubled up to the longest. See `path::probe`.
const FIRST_WAIT_US: u64 = 1_000_000;
const LONGEST_WAIT_US: u64 = 4_000_000;

/// How far a test goes: two and a half times; after one that failed a quarter and this.
const NEAR_BPS: u64 = 250_000;

/// Padding goes in datagrams of at most this size, which fit every path.
const PIECE: u64 = 1_100;
const SMALLEST: u64 = 100;

/// Between two turns: timers of browsers are no finer.
const STEP_US: u64 = 10_000;

/// A test is a success with less queue than this, and half of the jitter.
const CLEAR_US: u64 = 20_000;

/// Of what was sent so much (hundredths) has to arrive: reports begin and end beside the test.
const FLOWED_PERCENT: u64 = 80;

#[derive(Debug, Clone, Copy)]
struct Test {
    to: u64,
    began: Micros,
    sent: u64,
    step: Micros,
    /// Reports of the moment: bytes and time, and the longest queue.
    arrived: u64,
    span_us: u64,
    queue_us: u64,
}

/// At most one test at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    test: Option<Test>,
    failures: u32,
    not_before: Micros,
}

impl Trial {
    pub(super) fn begin(&mut self, now: Micros, to: u64, belief: &Belief) {
        let far = match self.failures {
            0 => belief.bps() / 2 * 5,
            _ => belief.bps() / 4 * 5 + NEAR_BPS,
        };
        let to = to.min(far);
        let free = self.test.is_none() && now >= self.not_before && belief.is_calm(now);
        if free && to > belief.bps() / 100 * 103 {
            self.test = Some(Test {
                to,
                began: now,
                sent: 0,
                step: now,
                arrived: 0,
                span_us: 0,
                queue_us: 0,
            });
        }
    }

    pub(super) fn sent(&mut self, now: Micros, bytes: u64) {
        if let Some(test) = &mut self.test
            && now < test.began + LENGTH_US
        {
            test.sent += bytes;
        }
    }

    /// The size of a datagram of padding to send now; again until there is none.
    pub(super) fn padding(&mut self, now: Micros) -> Option<usize> {
        let test = self.test.as_mut()?;
        let since = now.saturating_sub(test.began);
        if since >= LENGTH_US {
            return None;
        }
        let due = test.to / 8 * (since + STEP_US) / 1_000_000;
        let lack = due.saturating_sub(test.sent).min(PIECE);
        if lack < SMALLEST {
            test.step = now + STEP_US;
            return None;
        }
        test.sent += lack;
        Some(lack as usize)
    }

    /// A report, after which `belief` stands as it does.
    pub(super) fn heard(&mut self, now: Micros, bytes: u64, span_us: u64, belief: &mut Belief) {
        let Some(test) = &mut self.test else { return };
        // A report that lies before the test, but for its beginning, is not of it.
        if now >= test.began + span_us {
            test.arrived += bytes;
            test.span_us += span_us;
            test.queue_us = test.queue_us.max(belief.queue_us());
        }
        if !belief.is_calm(now) {
            self.failed(now);
        } else if now >= test.began + LENGTH_US + HEAR_US {
            self.judge(now, belief);
        }
    }

    /// No report has come for a while: where padding is all that is sent they end with it.
    pub(super) fn unheard(&mut self, now: Micros, belief: &mut Belief) {
        let Some(test) = &self.test else { return };
        if now <= test.began + LENGTH_US + 2 * HEAR_US {
            return;
        }
        match test.span_us {
            // Of one that nothing was ever heard of nothing is known.
            0 => self.test = None,
            _ => self.judge(now, belief),
        }
    }

    fn judge(&mut self, now: Micros, belief: &mut Belief) {
        let Some(test) = self.test else { return };
        let clear = test.queue_us < CLEAR_US + belief.jitter_us() / 2;
        // More time was heard of than it took; what else came then was less.
        let arrived = bps(test.arrived, LENGTH_US);
        let sent = bps(test.sent, LENGTH_US);
        let kept = 1000 - belief.inherent_loss();
        if clear && arrived / FLOWED_PERCENT * 100 >= sent / 1000 * kept {
            self.test = None;
            self.failures = 0;
            belief.raise(test.to.min(sent));
        } else {
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Micros) {
        self.test = None;
        let wait = FIRST_WAIT_US << self.failures.min(8);
        self.not_before = now + wait.min(LONGEST_WAIT_US);
        self.failures += 1;
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        let test = self.test.as_ref()?;
        (test.step < test.began + LENGTH_US).then_some(test.step)
    }
}
