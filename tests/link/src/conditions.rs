//! What one direction of a link is like.

use std::time::Duration;

/// Everything one direction of a link does to its packets. The default is a perfect link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Time from leaving the queue to arriving.
    pub delay: Duration,
    /// Up to this much more delay, drawn uniformly for each packet. It never reorders: a packet that
    /// drew little waits for the one before it.
    pub jitter: Duration,
    /// Which packets vanish.
    pub loss: Loss,
    /// Bits of payload per second; `None` is no limit, zero counts as one.
    pub rate_bps: Option<u64>,
    /// How much may wait for the rate; what comes on top is dropped (drop-tail).
    pub queue: Queue,
    /// A packet that would wait longer than this is marked, or dropped where its sender does not understand marks
    /// ([`Link::with_marks`](crate::Link::with_marks)); `None`: the queue marks nothing.
    pub mark_above: Option<Duration>,
    /// Chance (0 to 1) that a packet arrives twice.
    pub duplicate: f64,
    /// Chance (0 to 1) that a packet is held back by [`Self::reorder_by`] while later ones overtake it.
    pub reorder: f64,
    /// How long a packet drawn by [`Self::reorder`] is held back.
    pub reorder_by: Duration,
    /// Nothing passes: what is on the way and what is sent meanwhile is gone (a stream keeps it).
    pub blackout: bool,
}

impl Conditions {
    /// A link with this delay and nothing else.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Loss::None,
            rate_bps: None,
            queue: Queue::Time(Duration::from_millis(200)),
            mark_above: None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(10),
            blackout: false,
        }
    }
}

/// Which packets vanish. Chances are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// None does.
    None,
    /// Each with the same chance, independently.
    Random(f64),
    /// Gilbert–Elliott: a good and a bad state, each with its own chance of loss; the state may change
    /// with every packet.
    Burst {
        /// Chance to go from the good state to the bad one.
        enter: f64,
        /// Chance to go back; the bad state lasts `1 / leave` packets on average.
        leave: f64,
        /// Chance of loss in the good state.
        in_good: f64,
        /// Chance of loss in the bad state.
        in_bad: f64,
    },
}

impl Loss {
    /// Losses in bursts of `length` packets on average (at least one) that make up `mean` of all
    /// packets (0 to 1). A mean of one or more loses everything.
    #[must_use]
    pub fn bursty(mean: f64, length: f64) -> Self {
        if mean >= 1.0 {
            return Self::Random(1.0);
        }
        let leave = 1.0 / length.max(1.0);
        // In balance the bad state holds enter / (enter + leave) of the packets.
        let enter = (leave * mean / (1.0 - mean)).min(1.0);
        Self::Burst {
            enter,
            leave,
            in_good: 0.0,
            in_bad: 1.0,
        }
    }
}

/// How much may wait for a limited rate. A packet that finds nobody waiting always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// A packet is dropped when it would make the waiting bytes more than this.
    Bytes(u64),
    /// A packet is dropped when it would wait longer than this.
    Time(Duration),
}

/// Why a quantity could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It does not begin with a number that is finite and not negative.
    Number,
    /// The unit is missing or unknown; the units that are known.
    Unit(&'static str),
    /// The number is larger than what can be meant.
    Range,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number => f.write_str("expected a number that is not negative"),
            Self::Unit(known) => write!(f, "expected a unit: {known}"),
            Self::Range => f.write_str("out of range"),
        }
    }
}

impl std::error::Error for ParseError {}

fn split(text: &str) -> Result<(f64, &str), ParseError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| ParseError::Number)?;
    Ok((number, unit.trim()))
}

/// Reads `20ms`, `1.5s`, `300us` or `0`.
///
/// # Errors
/// Another unit or none (save for zero), not a number, or more than an hour.
pub fn parse_duration(text: &str) -> Result<Duration, ParseError> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => number,
        "ms" => number / 1e3,
        "us" | "µs" => number / 1e6,
        "" if number == 0.0 => 0.0,
        _ => return Err(ParseError::Unit("s, ms, us")),
    };
    if seconds > 3600.0 {
        return Err(ParseError::Range);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| ParseError::Range)
}

/// Reads `1Mbps`, `500kbps`, `64000bps` as bits per second.
///
/// # Errors
/// Another unit or none, not a number, less than one or more than 100 Gbit/s.
pub fn parse_rate(text: &str) -> Result<u64, ParseError> {
    let (number, unit) = split(text)?;
    let bits = match unit {
        "bps" => number,
        "kbps" => number * 1e3,
        "Mbps" => number * 1e6,
        "Gbps" => number * 1e9,
        _ => return Err(ParseError::Unit("bps, kbps, Mbps, Gbps")),
    };
    if !(1.0..=1e11).contains(&bits) {
        return Err(ParseError::Range);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, checked above
    let bits = bits.round() as u64;
    Ok(bits)
}

/// Reads `1%` or `0.01` as a chance from 0 to 1.
///
/// # Errors
/// Not a number, another unit, or more than one.
pub fn parse_chance(text: &str) -> Result<f64, ParseError> {
    let (number, unit) = split(text)?;
    let chance = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(ParseError::Unit("% or none")),
    };
    if chance > 1.0 {
        Err(ParseError::Range)
    } else {
        Ok(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!(parse_duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("300 us"), Ok(Duration::from_micros(300)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_rate("1Mbps"), Ok(1_000_000));
        assert_eq!(parse_rate("2.5Mbps"), Ok(2_500_000));
        assert_eq!(parse_rate("64000bps"), Ok(64_000));
        assert_eq!(parse_chance("1%"), Ok(0.01));
        assert_eq!(parse_chance("0.25"), Ok(0.25));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "ms",
            "-1ms",
            "20",
            "20 parsecs",
            "1e9s",
            "9999999s",
            "1.2.3s",
            "NaNms",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        for text in ["", "0bps", "1", "1mbps", "-5kbps", "9999Gbps"] {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
        for text in ["", "101%", "1.5", "-1%", "half"] {
            assert!(parse_chance(text).is_err(), "{text:?}");
        }
    }
}
