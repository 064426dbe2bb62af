//! How much of what is sent is lost, and what sound does about it.

use core::time::Duration;

/// A share of what was sent that did not arrive, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss(u16);

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self(0);

    /// So many thousandths, at most a thousand.
    pub const fn from_thousandths(thousandths: u16) -> Self {
        Self(if thousandths > 1000 {
            1000
        } else {
            thousandths
        })
    }

    /// `lost` of `all`; none where there was nothing.
    pub fn of(lost: u64, all: u64) -> Self {
        let share = lost.min(all).saturating_mul(1000).checked_div(all);
        Self(share.unwrap_or(0) as u16)
    }

    /// In thousandths.
    pub const fn thousandths(self) -> u16 {
        self.0
    }
}

/// Earlier audio frames that each datagram repeats: 0 to 3.
///
/// With independent losses of share p, n repetitions leave p to the power of n + 1
/// concealed: 1 % becomes 0.01 %, 5 % 0.013 %, 20 % 0.16 %. Losses come in bursts, though:
/// where those are two packets long on average, 5 % becomes 1.3 %, and 2.5 % with one less.
pub fn redundancy(loss: Loss) -> usize {
    match loss.0 {
        0..3 => 0,
        3..30 => 1,
        30..100 => 2,
        _ => 3,
    }
}

/// Counts over the last seconds: long enough to see 1 % among the fifty packets a second
/// of sound alone, short enough to follow a link that changes.
const SLICE: Duration = Duration::from_secs(1);
const SLICES: usize = 4;

/// Loss over a sliding window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    slices: [(u64, u64); SLICES],
    began: Duration,
    at: usize,
}

impl Meter {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            began: now,
            ..Self::default()
        }
    }

    pub(crate) fn count(&mut self, now: Duration, arrived: u64, lost: u64) {
        for _ in 0..SLICES {
            if now < self.began + SLICE {
                break;
            }
            self.began += SLICE;
            self.at = (self.at + 1) % SLICES;
            self.slices[self.at] = (0, 0);
        }
        if now >= self.began + SLICE {
            self.began = now;
        }
        let slice = &mut self.slices[self.at];
        slice.0 += arrived;
        slice.1 += lost;
    }

    pub(crate) fn loss(&self) -> Loss {
        let (arrived, lost) = self
            .slices
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Loss::of(lost, arrived + lost)
    }
}
