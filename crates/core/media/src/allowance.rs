//! How much one participant may send.

use core::time::Duration;

/// What each piece costs besides its bytes: about what its handling costs in bytes copied.
const PIECE: i64 = 64;

/// What may come at once, as time at the full rate: a key frame of each layer, and the catching up after a stall.
const BURST: Duration = Duration::from_secs(2);

/// A bucket of bytes that fills with time.
#[derive(Debug)]
pub struct Allowance {
    rate: i64,
    /// Less than nothing where a piece took more than there was.
    left: i64,
    at: Duration,
    /// Since when there has been nothing left.
    over: Option<Duration>,
    /// One who is over for so long does not mean to keep to it.
    patience: Duration,
}

impl Allowance {
    /// Full, for `rate` bytes a second. Who has had nothing left for longer than `patience` is
    /// [`Check::OverTooLong`].
    pub fn new(now: Duration, rate: u64, patience: Duration) -> Self {
        let rate = i64::try_from(rate.max(1)).unwrap_or(i64::MAX >> 8);
        Self {
            rate,
            left: rate * BURST.as_secs() as i64,
            at: now,
            over: None,
            patience,
        }
    }

    /// So many bytes came in one piece.
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as i64 + PIECE);
    }

    /// Whether anything is left now. Says also, once for each time, that there is nothing left.
    pub fn check(&mut self, now: Duration) -> Check {
        let since = now.saturating_sub(self.at);
        let gained = (since.as_secs_f64() * self.rate as f64) as i64;
        if gained > 0 {
            self.at = now;
            self.left = (self.left + gained).min(self.rate * BURST.as_secs() as i64);
        }
        match (self.left > 0, self.over) {
            (true, _) => {
                // Forgiven once it is half full again.
                if self.left > self.rate {
                    self.over = None;
                }
                Check::Left
            }
            (false, None) => {
                self.over = Some(now);
                Check::JustOver
            }
            (false, Some(since)) if now >= since + self.patience => Check::OverTooLong,
            (false, Some(_)) => Check::Over,
        }
    }

    /// When something is left again, enough to be worth a look.
    pub fn refilled(&self, now: Duration) -> Duration {
        now + BURST / 40
    }
}

/// What an [`Allowance`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// More may be taken in.
    Left,
    /// Nothing is left, since now.
    JustOver,
    /// Nothing is left, since a while.
    Over,
    /// Nothing has been left for longer than the patience.
    OverTooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn who_keeps_to_it_is_never_stopped() {
        let mut allowance = Allowance::new(Duration::ZERO, 1_000_000, S * 10);
        for n in 0..1000 {
            let now = S * n / 30;
            assert_eq!(allowance.check(now), Check::Left);
            allowance.spend(30_000);
        }
    }

    #[test]
    fn ten_times_as_much_is_stopped_and_in_the_end_cut_off() {
        let mut allowance = Allowance::new(Duration::ZERO, 1_000_000, S * 10);
        let (mut taken, mut over, mut cut) = (0u64, 0, None);
        for n in 0..3000 {
            let now = S * n / 100;
            match allowance.check(now) {
                Check::Left => {
                    allowance.spend(100_000);
                    taken += 100_000;
                }
                Check::JustOver => over += 1,
                Check::Over => {}
                Check::OverTooLong => {
                    cut = Some(now);
                    break;
                }
            }
        }
        let cut = cut.expect("cut off");
        assert!(cut > S * 9 && cut < S * 13, "{cut:?}");
        assert_eq!(over, 1);
        assert!(taken <= 2_000_000 + 13 * 1_000_000, "{taken}");
    }

    #[test]
    fn one_who_slows_down_is_forgiven() {
        let mut allowance = Allowance::new(Duration::ZERO, 1_000_000, S * 10);
        allowance.spend(3_000_000);
        assert_eq!(allowance.check(Duration::ZERO), Check::JustOver);
        assert_eq!(allowance.check(S * 3), Check::Left);
        allowance.spend(3_000_000);
        assert_eq!(allowance.check(S * 3), Check::JustOver);
    }
}
