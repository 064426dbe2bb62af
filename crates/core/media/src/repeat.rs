//! Audio frames sent once more beside newer ones (the thought of RFC 2198).

use core::time::Duration;
use std::collections::VecDeque;

use darktower_wire::datagram::MAX_BUNDLE;

use crate::Bitrate;

/// The most earlier frames beside a new one.
pub(crate) const MOST: usize = MAX_BUNDLE - 1;

/// A frame older than this is not sent again: who has waited for it has concealed it.
/// Three packets of 20 ms, and one that the encoder was late with.
const YOUNG: Duration = Duration::from_millis(100);

/// How long the loss must have asked for less until less is repeated, at most: bursts come
/// again, and a repeated packet of sound is cheap. What was asked for a moment is done a
/// moment longer.
const CALM: Duration = Duration::from_secs(5);

/// How many frames are repeated: up at once, down one by one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Level {
    wanted: usize,
    now: usize,
    /// When so many were first wanted.
    since: Duration,
    /// Since when less is wanted than is done.
    calm: Option<Duration>,
}

impl Level {
    pub(crate) fn want(&mut self, repeats: usize) {
        self.wanted = repeats.min(MOST);
    }

    pub(crate) fn at(&mut self, now: Duration) -> usize {
        if self.wanted >= self.now {
            if self.wanted > self.now {
                self.since = now;
            }
            (self.now, self.calm) = (self.wanted, None);
            return self.now;
        }
        let calm = *self.calm.get_or_insert(now);
        let lasted = calm.saturating_sub(self.since);
        if now >= calm + lasted.min(CALM) {
            (self.now, self.since, self.calm) = (self.now - 1, calm, Some(now));
        }
        self.now
    }
}

/// Sound with its repetitions takes no more than this part of what a path carries: what is
/// lost because the path is full would only become more.
const PART: u64 = 3;

/// What sound may take together with its repetitions. Without any it may take more.
pub(crate) fn ceiling(estimate: Bitrate) -> Bitrate {
    Bitrate::from_bps(estimate.bps() / PART)
}

/// A datagram costs so much beside its frames: headers of QUIC, UDP and IP, and the tag.
const OVERHEAD: u64 = 60;

/// Over how long the rate of sound is taken.
const SPAN: Duration = Duration::from_millis(500);

/// What sound takes when nothing of it is repeated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sound {
    began: Duration,
    datagrams: u64,
    bytes: u64,
    once: Bitrate,
    on_the_way: Bitrate,
}

impl Sound {
    pub(crate) fn sent(&mut self, now: Duration, frame_bytes: u64) {
        self.datagrams += 1;
        self.bytes += frame_bytes;
        let span = now.saturating_sub(self.began);
        if span >= SPAN {
            let all = self.bytes + self.datagrams * OVERHEAD;
            self.once = Bitrate::of(self.bytes, span);
            self.on_the_way = Bitrate::of(all, span);
            (self.began, self.datagrams, self.bytes) = (now, 0, 0);
        }
    }

    /// How many repetitions a path affords that carries so much.
    pub(crate) fn affordable(&self, estimate: Bitrate) -> usize {
        let left = ceiling(estimate) - self.on_the_way;
        let repeats = left.bps().checked_div(self.once.bps());
        repeats.map_or(MOST, |repeats| repeats.min(MOST as u64) as usize)
    }
}

/// The newest frames of one track, the newest first.
#[derive(Debug)]
pub(crate) struct Recent<P>(VecDeque<(Duration, P)>);

impl<P> Default for Recent<P> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<P: Clone> Recent<P> {
    /// The new frame and those of the `repeats` before it that are young and for whose
    /// size `fits` says yes; then the new one is kept as well.
    pub(crate) fn beside(
        &mut self,
        now: Duration,
        repeats: usize,
        new: P,
        fits: impl Fn(&[P]) -> bool,
    ) -> Vec<P> {
        let old = |(sent, _): &(Duration, P)| now > *sent + YOUNG;
        while self.0.back().is_some_and(old) {
            self.0.pop_back();
        }
        let mut frames = vec![new.clone()];
        for (_, earlier) in self.0.iter().take(repeats) {
            frames.push(earlier.clone());
            if !fits(&frames) {
                frames.pop();
                break;
            }
        }
        self.0.push_front((now, new));
        self.0.truncate(MOST);
        frames
    }
}
