//! Counting frames: whole, once, and how late.

use darktower_media::Kind;

/// How often each delay occurred, to 1.6 %.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    buckets: Vec<u64>,
    count: u64,
}

/// Values up to twice this have a bucket each.
const FINE: u64 = 64;

fn bucket(us: u64) -> usize {
    let shift = (us / FINE).checked_ilog2().unwrap_or(0);
    (u64::from(shift) * FINE + (us >> shift)) as usize
}

/// The largest value that falls into a bucket.
fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    ((bucket - shift * FINE + 1) << shift) - 1
}

impl Delays {
    /// Counts one.
    pub fn add(&mut self, us: u64) {
        let at = bucket(us);
        if self.buckets.len() <= at {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += 1;
        self.count += 1;
    }

    /// Counts what another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// The value in milliseconds that `share` of the delays do not exceed; `None` of nothing.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(value(at) as f64 / 1000.0);
            }
        }
        None
    }
}

/// What was counted of one kind of track.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// Frames that publishers sent.
    pub sent: u64,
    /// Frames that subscribers should have got of them.
    pub expected: u64,
    /// Of those, the ones that came whole, each once.
    pub got: u64,
    /// From the publisher's call to the subscriber's.
    pub delays: Delays,
}

/// What was counted of the frames that were sent in one period.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of video.
    pub video: Count,
    /// Of audio.
    pub audio: Count,
}

impl Tally {
    /// Of this kind.
    pub fn of(&mut self, kind: Kind) -> &mut Count {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }

    /// Counts what another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.video, &other.video),
            (&mut self.audio, &other.audio),
        ] {
            mine.sent += theirs.sent;
            mine.expected += theirs.expected;
            mine.got += theirs.got;
            mine.delays.merge(&theirs.delays);
        }
    }

    /// Frames that should have come and did not.
    pub fn missing(&self) -> u64 {
        let missing = |count: &Count| count.expected.saturating_sub(count.got);
        missing(&self.video) + missing(&self.audio)
    }

    /// Share of the expected frames that came; `None` where none was expected.
    pub fn delivered(&self) -> Option<f64> {
        let expected = self.video.expected + self.audio.expected;
        let got = self.video.got + self.audio.got;
        (expected > 0).then(|| got as f64 / expected as f64)
    }
}

/// What is not as it should be, and is never counted as delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Frames that came a second time.
    pub repeated: u64,
    /// Frames whose bytes are not those that were sent.
    pub broken: u64,
    /// Frames on a stream that do not follow the one before.
    pub gaps: u64,
    /// Groups that the handler reset.
    pub resets: u64,
    /// Sessions that ended.
    pub ended: u64,
    /// Times that the load thread was too late to send all it should have.
    pub unsent: u64,
}

impl Faults {
    /// Counts what another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        self.repeated += other.repeated;
        self.broken += other.broken;
        self.gaps += other.gaps;
        self.resets += other.resets;
        self.ended += other.ended;
        self.unsent += other.unsent;
    }
}

/// Which frames of a track have come, as far back as one may still be under way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// One more than the newest.
    next: u64,
    /// The newest and those before it, newest lowest.
    bits: u128,
}

impl Seen {
    /// Notes a frame; false if it has been seen, or is so old that nobody can tell.
    pub fn take(&mut self, sequence: u64) -> bool {
        if sequence >= self.next {
            let by = sequence + 1 - self.next;
            self.bits = match u32::try_from(by) {
                Ok(by) if by < u128::BITS => self.bits << by,
                _ => 0,
            };
            self.bits |= 1;
            self.next = sequence + 1;
            return true;
        }
        let back = self.next - 1 - sequence;
        if back >= u64::from(u128::BITS) {
            return false;
        }
        let bit = 1 << back;
        let is_new = self.bits & bit == 0;
        self.bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_the_next_one_is_larger() {
        let mut before = None;
        for us in (0..300).chain([1000, 9_999, 10_000, 1_000_000, 77_000_000]) {
            let at = bucket(us);
            assert!(value(at) >= us, "{us} is in {at}");
            assert!(value(at) as f64 <= us as f64 * 1.016 + 1.0, "{us} in {at}");
            assert!(before <= Some(at));
            before = Some(at);
        }
    }

    #[test]
    fn quantiles_of_delays_are_nearest_ranks() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantile_ms(0.5), None);
        for us in 1..=100 {
            delays.add(us);
        }
        assert_eq!(delays.quantile_ms(0.5), Some(0.05));
        assert_eq!(delays.quantile_ms(0.99), Some(0.099));
        let mut both = Delays::default();
        both.add(10_000_000);
        both.merge(&delays);
        assert_eq!(both.quantile_ms(0.5), Some(0.051));
        assert!(both.quantile_ms(1.0).is_some_and(|ms| ms >= 10_000.0));
    }

    #[test]
    fn a_frame_counts_once_in_any_order() {
        let mut seen = Seen::default();
        for sequence in [5, 7, 6, 200, 199] {
            assert!(seen.take(sequence), "{sequence}");
        }
        for sequence in [200, 199, 6] {
            assert!(!seen.take(sequence), "{sequence}");
        }
        assert!(seen.take(1_000_000));
        assert!(!seen.take(200), "too old to tell");
    }

    #[test]
    fn what_did_not_come_is_missing_and_lowers_the_share() {
        let mut tally = Tally::default();
        assert_eq!(tally.delivered(), None);
        tally.of(Kind::Video).expected = 90;
        tally.of(Kind::Video).got = 88;
        tally.of(Kind::Audio).expected = 10;
        tally.of(Kind::Audio).got = 10;
        let mut sum = Tally::default();
        sum.merge(&tally);
        sum.merge(&tally);
        assert_eq!((sum.missing(), sum.delivered()), (4, Some(0.98)));
    }
}
