//! Testing whether more fits: padding at a rate for a moment, and what became of it.

use super::belief::Belief;
use super::stretch::{Micros, bps};

/// How long a test sends. At one and a half times what the path carries it makes
/// a queue of half as long.
const LENGTH_US: u64 = 200_000;

/// Answers later than a round trip and this are not waited for.
const PATIENCE_US: u64 = 150_000;

/// After a test that failed: until the next, doubled each time. The longest wait keeps a
/// path that has recovered from being left alone for long.
const FIRST_WAIT_US: u64 = 750_000;
const LONGEST_WAIT_US: u64 = 3_000_000;

/// A test goes no further than so much of what is believed; less far after one that
/// failed, so that it costs little, and small flows further than large ones.
const FAR_PERCENT: u64 = 250;
const NEAR_PERCENT: u64 = 125;
const NEAR_BPS: u64 = 60_000;

/// A test goes at least so much further than what is believed, however little is missing:
/// a wish for a hair more would else never be tested, nor granted.
const LEAST_PERCENT: u64 = 105;

/// A queue shorter than this, and half of the jitter, at its end makes a test a success: one
/// of a quarter too much has made 30 ms by then.
const CLEAR_US: u64 = 12_000;

/// With a queue longer than this and the jitter a test is broken off, so that it costs no more.
const HOPELESS_US: u64 = 30_000;

/// Padding is asked for in pieces of one packet.
const PIECE: u64 = 1_100;

/// The smallest padding worth a packet.
const SMALLEST: u64 = 100;

/// How soon the next piece is due at the latest.
pub(crate) const STEP_US: u64 = 5_000;

#[derive(Debug, Clone, Copy, Default)]
struct Test {
    to: u64,
    began: Micros,
    /// Bytes sent since, of all kinds; and padding asked for and not sent yet.
    sent: u64,
    asked: u64,
    /// Bytes that arrived of what was sent during the test; those of the first
    /// acknowledgement apart, as they were on the way before its clock began.
    first: Option<Micros>,
    last: Micros,
    last_sent: Micros,
    arrived: u64,
    all_arrived: u64,
    /// The smallest delay in the last third of it.
    tail_us: Option<u64>,
}

/// At most one test at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prober {
    test: Option<Test>,
    failures: u32,
    not_before: Micros,
}

impl Prober {
    /// Begins a test of `to`, as far as it may go now.
    pub(crate) fn begin(&mut self, now: Micros, to: u64, belief: &Belief) {
        let far = match self.failures {
            0 => belief.bps() / 100 * FAR_PERCENT,
            _ => belief.bps() / 100 * NEAR_PERCENT + NEAR_BPS,
        };
        let is_more = to > belief.bps();
        let to = to.min(far).max(belief.bps() / 100 * LEAST_PERCENT);
        let free = self.test.is_none() && now >= self.not_before && belief.is_calm(now);
        if free && is_more {
            self.test = Some(Test {
                to,
                began: now,
                ..Test::default()
            });
        }
    }

    /// The rate that is being sent for a test.
    pub(crate) fn rate(&self, now: Micros) -> Option<u64> {
        let test = self
            .test
            .as_ref()
            .filter(|test| now < test.began + LENGTH_US);
        test.map(|test| test.to)
    }

    pub(crate) fn is_testing(&self) -> bool {
        self.test.is_some()
    }

    pub(crate) fn sent(&mut self, now: Micros, bytes: u64) {
        if let Some(test) = &mut self.test
            && now < test.began + LENGTH_US
        {
            test.sent += bytes;
            test.asked = test.asked.saturating_sub(bytes);
        }
    }

    /// Bytes of padding to send now.
    pub(crate) fn padding(&mut self, now: Micros) -> u64 {
        let Some(test) = self.test.as_mut() else {
            return 0;
        };
        let since = now.saturating_sub(test.began);
        if since >= LENGTH_US {
            return 0;
        }
        let due = test.to / 8 * (since + STEP_US) / 1_000_000;
        let lack = due.saturating_sub(test.sent + test.asked).min(PIECE);
        if lack < SMALLEST {
            return 0;
        }
        test.asked += lack;
        lack
    }

    /// Something that was sent at `sent` has arrived; `delay_us` after.
    pub(crate) fn arrived(&mut self, now: Micros, sent: Micros, bytes: u64, delay_us: u64) {
        let Some(test) = &mut self.test else { return };
        if sent < test.began || sent > test.began + LENGTH_US {
            return;
        }
        test.all_arrived += bytes;
        match test.first {
            None => test.first = Some(now),
            Some(first) if first == now => {}
            Some(_) => {
                test.arrived += bytes;
                test.last = now;
            }
        }
        test.last_sent = test.last_sent.max(sent);
        if sent >= test.began + LENGTH_US * 2 / 3 {
            let tail = test.tail_us.unwrap_or(u64::MAX);
            test.tail_us = Some(tail.min(delay_us));
        }
    }

    /// So long a queue before its end that it cannot succeed any more.
    pub(crate) fn is_hopeless(&self, belief: &Belief) -> bool {
        self.test.is_some() && belief.queue_us() > HOPELESS_US + belief.jitter_us()
    }

    /// A queue stands: the test has failed.
    pub(crate) fn abort(&mut self, now: Micros) {
        if self.test.take().is_some() {
            self.failed(now);
        }
    }

    /// Nothing of the past counts any more.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn deadline(&self, rtt_us: u64) -> Option<Micros> {
        let test = self.test.as_ref()?;
        Some(test.began + LENGTH_US + rtt_us + PATIENCE_US)
    }

    /// Judges a test of which all has been heard, or that has been waited for enough.
    pub(crate) fn judge(&mut self, now: Micros, rtt_us: u64, belief: &mut Belief) {
        let Some(test) = self.test else { return };
        let heard = test.last_sent + 2 * STEP_US >= test.began + LENGTH_US;
        if !heard && self.deadline(rtt_us).is_some_and(|at| now < at) {
            return;
        }
        self.test = None;
        let span = test.last.saturating_sub(test.first.unwrap_or(now));
        let arrival = bps(test.arrived, span.max(LENGTH_US / 2));
        let base = belief.base_us().unwrap_or(0);
        let queue = test.tail_us.map(|tail| tail.saturating_sub(base));
        let limit = CLEAR_US + belief.jitter_us() / 2;
        let clear = queue.is_some_and(|queue| queue < limit);
        let sent = bps(test.sent, LENGTH_US);
        // What the path loses anyway is no sign; a good deal more is.
        let kept = 1000 - belief.inherent_loss();
        let whole = test.all_arrived * 1000 >= test.sent * kept.saturating_sub(150);
        let flowed = arrival / 9 * 10 >= sent / 1000 * kept;
        if clear && whole {
            // Without a queue and a loss it is no sign of the path if little flowed: only so
            // much is shown, and more may be tested at once.
            let shown = if flowed { sent } else { arrival / 100 * 90 };
            self.failures = 0;
            belief.raise(test.to.min(shown));
        } else {
            if span >= LENGTH_US / 2 {
                // It came as fast as the path is, or as it was sent.
                belief.raise((arrival / 100 * 90).min(test.to));
            }
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Micros) {
        let wait = FIRST_WAIT_US << self.failures.min(8);
        self.not_before = now + wait.min(LONGEST_WAIT_US);
        self.failures += 1;
    }
}
