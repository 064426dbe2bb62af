//! How a publisher's frames arrive at the handler: what it is told of them, as browsers
//! say nothing of what they send.
//!
//! Headers are believed: one that lies about its own frames misleads nobody but itself.
//! Memory is bounded whatever they say.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::datagram::Datagram;
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;
use darktower_wire::media_control;

use crate::path::{Lowest, micros};

/// How often a publisher is told, while something arrives.
const INTERVAL: Duration = Duration::from_millis(100);

/// The same while what arrives has waited for so long: a path that has become slow drops what its queue does not hold,
/// sound among it, until the publisher knows.
const SOON: Duration = Duration::from_millis(30);
const QUEUED_US: i64 = 80_000;

/// What is so much later than the fastest of late is not on time.
const LATE_US: i64 = 50_000;

/// After so long without anything the path was gone: what was sent before it was back has waited for that, and says
/// nothing of a queue. Sound comes each 20 ms, pictures each 33; a path that has become so slow that they do not is back
/// once, and then all that comes is late.
const GONE: Duration = Duration::from_millis(250);

/// After so long without anything it starts afresh: it says nothing of the pause.
const IDLE: Duration = Duration::from_secs(2);

/// A packet of sound counts as lost when so many later ones have come: 100 ms of sound,
/// more than any redundancy or reordering.
const SETTLED: u64 = 5;

/// How far back the smallest transit is sought, where an interval has none of its own; see `path::belief`.
const LOWEST_US: u64 = 10_000_000;

/// Orders signed numbers as unsigned ones.
const SIGN: u64 = 1 << 63;

/// A larger gap in running numbers is another publisher, or a long break: not a loss.
const LARGEST_GAP: u64 = 250;

/// Audio tracks that are followed for one publisher; sound of more is not counted.
const MOST_TRACKS: usize = 64;

/// What a publisher is told of an interval; the message of the same name in
/// `proto/media/v1/media.proto`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Feedback {
    /// How long the interval was.
    pub interval: Duration,
    /// Bytes of pictures, sound and padding that arrived in it.
    pub bytes: u64,
    /// The smallest of (arrival - capture) over its frames and the pieces of those that are not whole yet, in
    /// microseconds between two clocks that know nothing of one another; of padding alone, the smallest of late.
    pub transit_us: i64,
    /// Audio frames that arrived, each counted once.
    pub audio: u32,
    /// Audio frames missing between them that redundancy did not bring either.
    pub audio_lost: u32,
    /// Audio datagrams that arrived.
    pub datagrams: u32,
    /// Audio datagrams missing.
    pub datagrams_lost: u32,
}

impl From<Feedback> for media_control::Feedback {
    fn from(feedback: Feedback) -> Self {
        let interval_ms = feedback.interval.as_millis();
        Self {
            interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX),
            bytes: feedback.bytes,
            transit_us: feedback.transit_us,
            audio: feedback.audio,
            audio_lost: feedback.audio_lost,
            datagrams: feedback.datagrams,
            datagrams_lost: feedback.datagrams_lost,
        }
    }
}

impl From<media_control::Feedback> for Feedback {
    fn from(message: media_control::Feedback) -> Self {
        Self {
            interval: Duration::from_millis(u64::from(message.interval_ms)),
            bytes: message.bytes,
            transit_us: message.transit_us,
            audio: message.audio,
            audio_lost: message.audio_lost,
            datagrams: message.datagrams,
            datagrams_lost: message.datagrams_lost,
        }
    }
}

/// Which of a track's newest packets have come.
#[derive(Debug, Clone, Copy)]
struct Track {
    /// The largest running number.
    newest: u64,
    /// Bit n: the frame `newest - n` has come, in whatever datagram.
    frames: u64,
    /// Bit n: the datagram in which `newest - n` was new has come.
    datagrams: u64,
    /// When the last came.
    last: Duration,
}

/// One publisher's arrivals.
#[derive(Debug)]
pub struct Arrivals {
    /// When the interval began; `None` before anything came.
    began: Option<Duration>,
    last: Duration,
    /// Nothing has come in the interval yet.
    empty: bool,
    /// What came in it has waited.
    queued: bool,
    transit_us: Option<i64>,
    lowest: Lowest,
    /// When the path was last back, and whether anything was on time since.
    back: Duration,
    on_time: bool,
    sums: Feedback,
    tracks: BTreeMap<TrackId, Track>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

impl Arrivals {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self {
            began: None,
            last: Duration::ZERO,
            empty: true,
            queued: false,
            transit_us: None,
            lowest: Lowest::new(LOWEST_US),
            back: Duration::ZERO,
            on_time: false,
            sums: Feedback::default(),
            tracks: BTreeMap::new(),
        }
    }

    /// So many bytes of a stream of video have come.
    pub fn piece(&mut self, now: Duration, bytes: usize) {
        self.arrived(now, bytes);
    }

    /// A video frame has come, or as yet the beginning of it, at which its header is.
    pub fn frame(&mut self, now: Duration, header: &Header) {
        self.travelled(now, header);
    }

    /// A datagram has come: sound or padding.
    pub fn datagram(&mut self, now: Duration, datagram: &Datagram) {
        let frames = match datagram {
            Datagram::Padding(bytes) => return self.padding(now, *bytes),
            Datagram::Frame(frame) => core::slice::from_ref(frame),
            Datagram::Bundle(frames) => &frames[..],
        };
        let Some(newest) = frames.first() else { return };
        self.arrived(now, frames.iter().map(|frame| frame.bytes.len()).sum());
        self.travelled(now, &newest.header);
        let id = newest.header.track;
        if self.tracks.len() >= MOST_TRACKS && !self.tracks.contains_key(&id) {
            return;
        }
        self.sums.datagrams += 1;
        let number = newest.header.frame;
        let track = self.tracks.entry(id).or_insert(Track {
            newest: number,
            // What was before the first is not missing.
            frames: u64::MAX - 1,
            datagrams: u64::MAX,
            last: now,
        });
        if core::mem::replace(&mut track.last, now) < self.back && number > track.newest {
            // What an outage took is no loss of the kind that goes on.
            track.begin(number);
        }
        track.advance(number, &mut self.sums);
        for frame in frames.iter().filter(|frame| frame.header.track == id) {
            let behind = track.newest.saturating_sub(frame.header.frame);
            if behind < 64 && track.frames & (1 << behind) == 0 {
                track.frames |= 1 << behind;
                self.sums.audio += 1;
            }
        }
    }

    /// Padding has come, which is also a datagram.
    pub fn padding(&mut self, now: Duration, bytes: usize) {
        self.arrived(now, bytes);
    }

    /// What the publisher is to be told now.
    pub fn poll(&mut self, now: Duration) -> Option<Feedback> {
        let began = self.began.filter(|_| !self.empty)?;
        let interval = now.saturating_sub(began);
        if interval < self.interval() {
            return None;
        }
        self.began = Some(now);
        self.empty = true;
        self.queued = false;
        // Padding alone has no time of capture.
        let transit = self.transit_us.take();
        if let Some(transit) = transit {
            let ordered = transit.cast_unsigned() ^ SIGN;
            self.lowest.observe(micros(now), ordered);
        }
        Some(Feedback {
            interval,
            transit_us: transit.or(self.lowest_us()).unwrap_or(0),
            ..core::mem::take(&mut self.sums)
        })
    }

    /// When [`Arrivals::poll`] is to be asked.
    pub fn deadline(&self) -> Option<Duration> {
        let began = self.began.filter(|_| !self.empty)?;
        Some(began + self.interval())
    }

    fn interval(&self) -> Duration {
        if self.queued { SOON } else { INTERVAL }
    }

    /// The smallest transit of late, of the intervals that were told.
    fn lowest_us(&self) -> Option<i64> {
        self.lowest.get().map(|low| (low ^ SIGN).cast_signed())
    }

    fn arrived(&mut self, now: Duration, bytes: usize) {
        if self.began.is_none() || now >= self.last + IDLE {
            self.began = Some(now);
        }
        if now >= self.last + GONE && core::mem::take(&mut self.on_time) {
            self.back = now;
        }
        self.last = now;
        self.empty = false;
        self.sums.bytes += bytes as u64;
    }

    fn travelled(&mut self, now: Duration, header: &Header) {
        let arrival = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let capture = i64::try_from(header.capture_us).unwrap_or(i64::MAX);
        let transit = arrival - capture;
        let lowest = self.lowest_us();
        let waited = transit.saturating_sub(lowest.unwrap_or(transit)).max(0);
        if waited > 0 && arrival - waited < micros(self.back).cast_signed() {
            return;
        }
        self.queued |= waited > QUEUED_US;
        self.transit_us = Some(self.transit_us.map_or(transit, |least| least.min(transit)));
        self.on_time |= waited <= LATE_US;
    }
}

impl Track {
    /// This number is newer than any, and what was before it is not missing.
    fn begin(&mut self, number: u64) {
        self.newest = number;
        (self.frames, self.datagrams) = (u64::MAX - 1, u64::MAX);
    }

    /// A datagram has come in which the frame of this number was new.
    fn advance(&mut self, number: u64, sums: &mut Feedback) {
        if number <= self.newest {
            let behind = self.newest - number;
            if behind < 64 {
                self.datagrams |= 1 << behind;
            }
            return;
        }
        let steps = number - self.newest;
        if steps > LARGEST_GAP {
            return self.begin(number);
        }
        self.newest = number;
        for _ in 0..steps {
            let settled = 1 << (SETTLED - 1);
            sums.audio_lost += u32::from(self.frames & settled == 0);
            sums.datagrams_lost += u32::from(self.datagrams & settled == 0);
            self.frames <<= 1;
            self.datagrams <<= 1;
        }
        self.datagrams |= 1;
    }
}
