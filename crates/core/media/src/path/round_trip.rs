//! How long an answer takes, without what a silence adds to it.

use super::Micros;

/// A shorter round trip is taken for this where packets are spread over one: no timer is fine enough for more.
const LEAST_US: Micros = 10_000;

/// The smoothed round trip.
///
/// After an outage the first answer is often one to what was sent before it, and a transport takes all of the outage
/// into its estimate (RFC 9002 §5.3 knows no exception). It spreads a window over what it takes for a round trip (§7.7),
/// so that for a second or more next to nothing leaves. Here only answers that broke no silence count, where they say
/// less.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoundTrip {
    /// As the transport has it.
    told: Micros,
    /// As it was seen here; 0 before the first answer.
    seen: Micros,
    /// Answers to what was sent before say nothing.
    counts_from: Micros,
}

impl RoundTrip {
    /// Before anything was heard.
    pub(super) fn new(guess: Micros) -> Self {
        Self {
            told: guess,
            ..Self::default()
        }
    }

    /// An answer has broken a silence.
    pub(super) fn resumes(&mut self, now: Micros) {
        self.counts_from = now;
    }

    /// An answer to what was sent at `sent`; what the transport takes the round trip to be by now.
    pub(super) fn answered(&mut self, now: Micros, sent: Micros, told: Micros) {
        self.told = told;
        if sent < self.counts_from {
            return;
        }
        let took = now.saturating_sub(sent);
        self.seen = match self.seen {
            0 => took,
            seen => (seen * 7 + took) / 8,
        };
    }

    pub(super) fn get(&self) -> Micros {
        match self.seen {
            0 => self.told,
            seen => seen.min(self.told),
        }
    }

    /// The window that a transport has to be told so that it spreads `window` over the round trip that is.
    pub(super) fn spread(&self, window: u64) -> u64 {
        let real = self.get().max(LEAST_US);
        match self.told > real {
            true => window.saturating_mul(self.told) / real,
            false => window,
        }
    }

    /// The window that a transport has to be told so that it lets so much leave in time; 0 where it does by itself.
    pub(super) fn carry(&self, bps: u64) -> u64 {
        match self.told > self.get().max(LEAST_US) {
            true => (bps / 8).saturating_mul(self.told) / 1_000_000,
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_round_trip() {
        let mut trip = RoundTrip::new(100_000);
        for at in 1..=40 {
            trip.answered(at * 20_000, at * 20_000 - 20_000, 20_000);
        }
        assert_eq!((trip.get(), trip.spread(8000)), (20_000, 8000));
        // Eight seconds later an answer comes to the last of them.
        trip.resumes(9_000_000);
        trip.answered(9_000_000, 800_000, 1_000_000);
        assert_eq!(trip.get(), 20_000);
        assert_eq!(trip.spread(8000), 400_000);
        assert_eq!(
            trip.carry(800_000),
            100_000,
            "what 0.8 Mbit/s takes a second"
        );
        trip.answered(9_030_000, 9_000_000, 800_000);
        assert!((20_000..25_000).contains(&trip.get()), "{}", trip.get());
    }

    #[test]
    fn a_path_that_became_longer_is_believed() {
        let mut trip = RoundTrip::new(100_000);
        trip.answered(20_000, 0, 20_000);
        let mut told = 20_000;
        for at in 1..=40 {
            told = (told * 7 + 400_000) / 8;
            trip.answered(at * 1_000_000, at * 1_000_000 - 400_000, told);
        }
        assert!(trip.get() > 380_000);
        assert_eq!((trip.spread(8000), trip.carry(800_000)), (8000, 0));
    }
}
