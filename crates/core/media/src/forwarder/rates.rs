//! What a layer takes, measured as it arrives.

use core::time::Duration;

use crate::Bitrate;

/// The window and its parts: long enough that one key frame sways the rate by a
/// twentieth only.
const PARTS: usize = 8;
const PART_MS: u64 = 250;

/// A rate stands on its own after the whole window; a part of it will do where nothing
/// else is known.
const LEAST: Duration = Duration::from_millis(500);

/// A rate that has fallen is forgotten by a fortieth each tenth of a second, half of it
/// in three seconds: a person that sits still moves again.
const FORGET: u64 = 40;

const TEMPORAL: usize = 8;

/// Bytes that a datagram takes beside its frame: header and seal of a QUIC packet, and
/// the session's id. For sound that is a third of it all.
const DATAGRAM: usize = 32;

/// Bytes of one layer by temporal layer, over the last two seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    parts: [[u32; TEMPORAL]; PARTS],
    /// The part being filled, counted from the origin of time.
    at: u64,
    since: Option<Duration>,
    /// Bits a second up to each temporal layer, at least as much as lately.
    lately: [u64; TEMPORAL],
}

impl Rates {
    pub(super) fn add(&mut self, now: Duration, temporal: u8, bytes: usize) {
        self.turn(now);
        self.since.get_or_insert(now);
        let part = &mut self.parts[(self.at % PARTS as u64) as usize];
        let sum = &mut part[usize::from(temporal) % TEMPORAL];
        *sum = sum.saturating_add(bytes as u32);
    }

    /// A frame that leaves in a datagram of its own. What it brings along is counted
    /// as a temporal layer above it.
    pub(super) fn add_sound(&mut self, now: Duration, bytes: usize) {
        self.add(now, 0, bytes);
        self.add(now, 1, DATAGRAM);
    }

    /// Nothing was measured, as before the first frame.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// To be called each tenth of a second while frames come.
    pub(super) fn refresh(&mut self, now: Duration) {
        self.turn(now);
        let Some(time) = self.time(now).filter(|time| *time >= LEAST) else {
            return;
        };
        let mut bytes = 0;
        for temporal in 0..TEMPORAL {
            let of = self.parts.iter().map(|part| u64::from(part[temporal]));
            bytes += of.sum::<u64>();
            let rate = Bitrate::of(bytes, time).bps();
            let before = self.lately[temporal];
            self.lately[temporal] = rate.max(before - before / FORGET);
        }
    }

    /// What it takes up to a temporal layer, as of the last refresh; `None` where that
    /// was not measured for long enough. Less time is enough where nothing else `is_said`.
    pub(super) fn up_to(&self, now: Duration, temporal: u8, is_said: bool) -> Option<Bitrate> {
        let least = match is_said {
            true => window(),
            false => LEAST,
        };
        self.since.filter(|since| now >= *since + least)?;
        let temporal = usize::from(temporal) % TEMPORAL;
        Some(Bitrate::from_bps(self.lately[temporal]))
    }

    /// What sound takes: each frame in a datagram of its own, and each once more beside
    /// another.
    pub(super) fn sound(&self) -> (Bitrate, Bitrate) {
        let (frames, whole) = (self.lately[0], self.lately[TEMPORAL - 1]);
        (Bitrate::from_bps(whole), Bitrate::from_bps(frames))
    }

    /// The time that the parts stand for.
    fn time(&self, now: Duration) -> Option<Duration> {
        let begun = Duration::from_millis(now.as_millis() as u64 % PART_MS);
        let full = window() - Duration::from_millis(PART_MS) + begun;
        self.since.map(|since| now.saturating_sub(since).min(full))
    }

    /// Empties the parts that are over.
    fn turn(&mut self, now: Duration) {
        let at = now.as_millis() as u64 / PART_MS;
        if at <= self.at {
            return;
        }
        let over = (at - self.at).min(PARTS as u64);
        for part in at + 1 - over..=at {
            self.parts[(part % PARTS as u64) as usize] = [0; TEMPORAL];
        }
        self.at = at;
    }
}

fn window() -> Duration {
    Duration::from_millis(PARTS as u64 * PART_MS)
}
