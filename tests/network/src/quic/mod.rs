//! QUIC in virtual time: quinn-proto's connections, whose clock is the world's and
//! whose packets travel over the world's links.
//!
//! The true protocol rather than a model of it: acknowledgements, loss detection,
//! pacing, flow control and stream priorities are those that ship. WebTransport's
//! few bytes of framing are left out.

mod config;
mod end;

pub(crate) use config::{Configs, Congestion};
pub(crate) use end::{End, Heard, Stream};

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// The world's time in the words of quinn-proto: only differences count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn at(self, now: Duration) -> Instant {
        self.0 + now
    }

    pub(crate) fn since(self, at: Instant) -> Duration {
        at.saturating_duration_since(self.0)
    }
}
