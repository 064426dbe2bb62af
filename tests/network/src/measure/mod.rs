//! What a record says, in numbers.

mod pictures;
mod queue;
mod sound;

use std::time::Duration;

pub use pictures::{
    Freezes, decodable_fps, delays, freezes, holds_from, layer_changes, next_picture, reaches,
    steps_down,
};
pub use queue::{share, waited};
pub use sound::{Listening, listen, longest_silence};

/// A span of a run, from its first moment up to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
}

impl Span {
    /// Of these seconds.
    pub fn seconds(from: f64, to: f64) -> Self {
        Self {
            from: Duration::from_secs_f64(from),
            to: Duration::from_secs_f64(to),
        }
    }

    fn holds(&self, at: Duration) -> bool {
        (self.from..self.to).contains(&at)
    }

    fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// The value that `share` (0 to 1) of the values do not exceed; `None` of nothing.
pub fn quantile(mut values: Vec<Duration>, share: f64) -> Option<Duration> {
    values.sort_unstable();
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

/// In milliseconds, to a tenth.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests;
