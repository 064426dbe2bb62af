//! How long packets are kept before they are played.

use std::collections::VecDeque;

/// Arrivals that count: ten seconds of packets of 20 ms.
const WINDOW: usize = 500;
/// What making up 1 % of the sound is worth in delay: 40 ms. So much waiting is bought
/// to play what would otherwise come too late, and no more: one packet in a thousand
/// that comes 200 ms late is concealed.
const PRICE_US: i64 = 4_000_000;
/// With few arrivals known, each counts as one of so many.
const FEWEST: i64 = 100;
/// The audio thread asks every 3 ms, and the speed is left alone within a few more.
const MARGIN_US: i64 = 10_000;
const MIN_US: i64 = 20_000;
/// The picture waits for the sound a little longer at most (`MAX_WAIT_MS` in `clock.ts`).
const MAX_US: i64 = 250_000;
/// Until [`SETTLED`] packets have come nobody knows the path.
const START_US: i64 = 40_000;
const SETTLED: usize = 25;
/// The target is computed anew after so many arrivals, or at once where one is late.
const EVERY: u32 = 5;
/// So many packets in a row, all later than can be waited for: the path, or a clock, is
/// another one now.
const ANOTHER_PATH: u32 = 25;

/// Lateness of a track's packets against the fastest of them, and the delay that it
/// asks for. Drift between the clocks moves the fastest with it.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// Arrival minus capture, in µs, of the last packets. Capture has another origin.
    delays: VecDeque<i64>,
    sorted: Vec<i64>,
    fastest_us: i64,
    target_us: i64,
    since: u32,
    beyond: u32,
}

impl Delay {
    /// A packet captured at `capture_us` came at `now_us`.
    pub(super) fn arrived(&mut self, now_us: i64, capture_us: i64) {
        let delay = now_us - capture_us;
        if !self.delays.is_empty() && delay - self.fastest_us > MAX_US {
            self.beyond += 1;
            if self.beyond >= ANOTHER_PATH {
                self.clear();
            }
        } else {
            self.beyond = 0;
        }
        if self.delays.len() == WINDOW {
            self.delays.pop_front();
        }
        self.delays.push_back(delay);
        self.since += 1;
        let first = self.delays.len() == 1;
        let surprise = delay < self.fastest_us || delay > self.fastest_us + self.target_us;
        if first || surprise || self.since >= EVERY {
            self.since = 0;
            self.judge();
        }
    }

    /// Forgets the path: the next packet is the first one.
    pub(super) fn clear(&mut self) {
        self.delays.clear();
        self.beyond = 0;
    }

    /// How late, against the fastest, each packet is to be played, in µs.
    pub(super) fn target_us(&self) -> i64 {
        self.target_us
    }

    /// How late it is to play at `now_us` what was captured at `capture_us`, in µs.
    pub(super) fn lateness_us(&self, now_us: i64, capture_us: i64) -> i64 {
        now_us - capture_us - self.fastest_us
    }

    /// Weighs waiting against concealing: the cheapest of all delays that play one of
    /// the known packets just in time.
    fn judge(&mut self) {
        self.sorted.clear();
        self.sorted.extend(&self.delays);
        self.sorted.sort_unstable();
        let count = self.sorted.len();
        self.fastest_us = self.sorted.first().copied().unwrap_or_default();
        let each_us = PRICE_US / FEWEST.max(count as i64);
        let costs = self.sorted.iter().enumerate().map(|(at, delay)| {
            let lateness = delay - self.fastest_us;
            (lateness + each_us * (count - 1 - at) as i64, lateness)
        });
        let cheapest = costs.min().map_or(0, |(_, lateness)| lateness);
        let least = if count < SETTLED { START_US } else { MIN_US };
        self.target_us = (cheapest + MARGIN_US).clamp(least, MAX_US);
    }
}
