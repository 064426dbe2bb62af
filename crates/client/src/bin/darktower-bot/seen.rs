//! What arrives of each track, and whether it is right.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_client::file::{Clip, codec};
use darktower_client::synthetic::{CODEC, Mark, clock};
use darktower_client::{Frame, TrackId};
use serde_json::{Value, json};

/// The chunks of the files that the others publish, and their places in them.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    video: HashMap<Bytes, usize>,
    audio: HashMap<Bytes, usize>,
}

impl Expected {
    pub(crate) fn new(clips: &[Arc<Clip>]) -> Self {
        let mut this = Self::default();
        let mut place = 0;
        for clip in clips {
            let known = if clip.is_video() {
                &mut this.video
            } else {
                &mut this.audio
            };
            for chunk in &clip.chunks {
                known.insert(chunk.bytes.clone(), place);
                place += 1;
            }
            // Two files do not follow one another.
            place += 1;
        }
        this
    }

    fn of(&self, video: bool) -> &HashMap<Bytes, usize> {
        if video { &self.video } else { &self.audio }
    }

    /// Kinds that are expected at all.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = bool> {
        let kinds = [true, false].into_iter();
        kinds.filter(|video| !self.of(*video).is_empty())
    }
}

/// One track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) video: bool,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) keys: u64,
    /// Times at which capture went on by more than one frame's length.
    pub(crate) gaps: u64,
    /// Pictures that no decoder could show: the one they build on was not there.
    pub(crate) undecodable: u64,
    /// Chunks that are no frame of their codec.
    pub(crate) malformed: u64,
    /// Chunks of none of the expected files.
    pub(crate) unmatched: u64,
    first_key: bool,
    frame_us: Option<u64>,
    last_capture_us: u64,
    /// When the last frame was opened, and the longest time between two since that was last told.
    last_at: Option<Duration>,
    longest_gap: Duration,
    last_place: Option<usize>,
    is_synthetic: bool,
    marked: Option<Marked>,
}

/// What marks say of a synthetic track.
#[derive(Debug, Clone, Default)]
struct Marked {
    layer: u8,
    layer_changes: u64,
    /// Gaps above 200 ms between pictures, and all of them together.
    freezes: u64,
    frozen: Duration,
    last_at: Duration,
    /// Packets of sound between others that never came.
    missing: u64,
    next: u64,
    /// From capture to opening, of the newest.
    delays: VecDeque<Duration>,
}

/// A gap that somebody notices.
const FREEZE: Duration = Duration::from_millis(200);
/// Delays that are kept: of about a minute.
const DELAYS: usize = 3000;

impl Marked {
    fn frame(&mut self, frame: &Frame, mark: Mark) {
        let gap = frame.at.saturating_sub(self.last_at);
        let first = self.last_at.is_zero();
        if frame.video && !first {
            self.layer_changes += u64::from(frame.layer != self.layer);
            if gap > FREEZE {
                self.freezes += 1;
                self.frozen += gap;
            }
        }
        if !frame.video {
            if !first {
                self.missing += mark.counter.saturating_sub(self.next);
            }
            self.next = mark.counter + 1;
        }
        (self.layer, self.last_at) = (frame.layer, frame.at);
        if self.delays.len() == DELAYS {
            self.delays.pop_front();
        }
        self.delays.push_back(clock().saturating_sub(mark.captured));
    }

    fn show(&self) -> Value {
        let mut sorted: Vec<_> = self.delays.iter().copied().collect();
        sorted.sort_unstable();
        let ms = |share: usize| {
            let place = (sorted.len() * share).div_ceil(100).max(1) - 1;
            sorted.get(place).map(Duration::as_millis)
        };
        json!({
            "layer": self.layer,
            "layer_changes": self.layer_changes,
            "freezes": self.freezes,
            "frozen_ms": self.frozen.as_millis(),
            "missing": self.missing,
            "delay_p50_ms": ms(50),
            "delay_p99_ms": ms(99),
        })
    }
}

/// All tracks of the others.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    seen: BTreeMap<u32, Seen>,
}

impl Tracks {
    /// Checks a frame; whether it is the first of its track.
    pub(crate) fn check(&mut self, frame: &Frame, codec: Option<&str>, known: &Expected) -> bool {
        let seen = self.seen.entry(frame.track.0).or_default();
        let first = seen.frames == 0;
        if first {
            seen.video = frame.video;
            seen.first_key = frame.key;
            seen.is_synthetic = codec == Some(CODEC);
        }
        seen.frame(frame, codec, known.of(frame.video));
        first
    }

    pub(crate) fn of(&self, track: TrackId) -> Option<&Seen> {
        self.seen.get(&track.0)
    }

    pub(crate) fn with_frames(&self) -> usize {
        self.seen.len()
    }

    /// Nothing was wrong with any frame, and each expected kind has come.
    pub(crate) fn is_well(&self, known: &Expected) -> bool {
        let each = self.seen.values().all(Seen::is_well);
        let mut kinds = known.kinds();
        each && kinds.all(|video| self.seen.values().any(|it| it.video == video))
    }

    /// All of it at `now`, `over` so long; gaps are those since it was last asked for.
    pub(crate) fn show(&mut self, now: Duration, over: Duration) -> Value {
        let show = |(track, seen): (&u32, &mut Seen)| seen.show(*track, now, over);
        self.seen.iter_mut().map(show).collect()
    }
}

impl Seen {
    fn frame(&mut self, frame: &Frame, codec: Option<&str>, known: &HashMap<Bytes, usize>) {
        if self.frames > 0 {
            let step = frame.capture_us.saturating_sub(self.last_capture_us);
            let usual = self.frame_us.map_or(step, |it| it.min(step));
            self.gaps += u64::from(step > usual + usual / 2);
            self.frame_us = Some(usual.max(1));
        }
        self.longest_gap = self.gap_until(frame.at);
        self.last_at = Some(frame.at);
        self.frames += 1;
        self.bytes += frame.bytes.len() as u64;
        self.keys += u64::from(frame.key);
        self.last_capture_us = frame.capture_us;
        if self.is_synthetic
            && let Some(mark) = Mark::of(&frame.bytes)
        {
            self.marked.get_or_insert_default().frame(frame, mark);
        }
        if let Some(codec) = codec.filter(|codec| *codec != CODEC) {
            let key = codec::check(codec, &frame.bytes);
            self.malformed += u64::from(key != Some(frame.key));
        }
        if known.is_empty() {
            return;
        }
        let place = known.get(&frame.bytes).copied();
        self.unmatched += u64::from(place.is_none());
        let follows = self.last_place.map(|it| it + 1) == place;
        self.undecodable += u64::from(!frame.key && !follows);
        self.last_place = place;
    }

    fn gap_until(&self, now: Duration) -> Duration {
        let lasting = self.last_at.map(|last| now.saturating_sub(last));
        self.longest_gap.max(lasting.unwrap_or_default())
    }

    fn is_well(&self) -> bool {
        self.first_key && self.undecodable == 0 && self.malformed == 0 && self.unmatched == 0
    }

    fn show(&mut self, track: u32, now: Duration, over: Duration) -> Value {
        let longest_gap = self.gap_until(now);
        self.longest_gap = Duration::ZERO;
        json!({
            "track": track,
            "kind": if self.video { "video" } else { "audio" },
            "frames": self.frames,
            "bytes": self.bytes,
            "keys": self.keys,
            "gaps": self.gaps,
            "longest_gap_ms": longest_gap.as_millis(),
            "first_is_key": self.first_key,
            "undecodable": self.undecodable,
            "malformed": self.malformed,
            "unmatched": self.unmatched,
            "marked": self.marked.as_ref().map(Marked::show),
            "fps": (self.frames as f64 / over.as_secs_f64().max(0.001) * 10.0).round() / 10.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(at: u64) -> Frame {
        Frame {
            track: TrackId(1),
            owner: None,
            video: false,
            layer: 0,
            key: true,
            capture_us: at * 1000,
            level: None,
            bytes: Bytes::from_static(b"sound"),
            at: Duration::from_millis(at),
        }
    }

    #[test]
    fn a_gap_is_told_whole_once_it_ends_and_so_far_while_it_lasts() {
        let (mut tracks, nothing) = (Tracks::default(), Expected::default());
        let mut longest = |frames: &[u64], now| {
            for at in frames {
                tracks.check(&sound(*at), None, &nothing);
            }
            let told = tracks.show(Duration::from_millis(now), Duration::from_secs(1));
            told[0]["longest_gap_ms"].clone()
        };
        assert_eq!(longest(&[100, 120, 300, 320], 325), 180);
        assert_eq!(longest(&[340], 350), 20);
        assert_eq!(longest(&[], 450), 110);
        assert_eq!(longest(&[500, 520], 530), 160);
    }
}
