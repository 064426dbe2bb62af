//! Bits in a second.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A rate in bits a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From bits a second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From thousands of bits a second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1000))
    }

    /// Of so many bytes in so much time; zero where there was no time.
    pub fn of(bytes: u64, time: Duration) -> Self {
        let us = time.as_micros();
        if us == 0 {
            return Self::ZERO;
        }
        let bps = u128::from(bytes) * 8_000_000 / us;
        Self(u64::try_from(bps).unwrap_or(u64::MAX))
    }

    /// In bits a second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Bytes that flow at this rate in so much time.
    pub fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_micros() / 8_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// How long so many bytes take at this rate; a day where it is nothing.
    pub fn time_for(self, bytes: u64) -> Duration {
        const DAY_US: u128 = 86_400_000_000;
        let us = u128::from(bytes) * 8_000_000 / u128::from(self.0.max(1));
        Duration::from_micros(us.min(DAY_US) as u64)
    }

    /// A share of it, in hundredths; more than 100 makes it larger.
    pub const fn percent(self, percent: u64) -> Self {
        Self(((self.0 as u128 * percent as u128) / 100) as u64)
    }
}

impl Add for Bitrate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Never below zero.
impl Sub for Bitrate {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl core::iter::Sum for Bitrate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.0 / 1000)
    }
}
