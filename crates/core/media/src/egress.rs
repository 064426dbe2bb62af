//! What of a subscriber's frames may still be written, one for each session.
//!
//! A slow subscriber costs bounded memory and nobody else anything: an old group is
//! reset when a newer one begins, and who takes nothing at all is cut off.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;

use crate::forwarder::Payload;
use crate::repeat::{Level, Recent, Sound};
use crate::{Bitrate, Kind};

/// Bounds of an [`Egress`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The most bytes that wait to be written to one session. A frame that would
    /// exceed it ends its group there.
    pub max_queued: usize,
    /// How long the tail of a group may still be written once a newer one has begun, at
    /// least. Frames that came in one burst are then not lost where a group ends.
    pub tail: Duration,
    /// At most, on a path that is too slow to take what waits in [`Config::tail`].
    pub longest_tail: Duration,
    /// What has waited for so long is stale, and its group with it: by then a subscriber
    /// shows a picture that stands still, and a key frame serves it better.
    pub stale: Duration,
    /// Nothing at all has been taken for so long, though something waited: cut off.
    pub patience: Duration,
    /// Several layers of a track go out beside one another, as by a trunk. Else one does, and the group of another ends
    /// where that of the next begins.
    pub layers_together: bool,
    /// The most bytes of frames in a datagram that repeats some. QUIC's smallest packet
    /// (1200 bytes) leaves room for this much beside its own and WebTransport's headers.
    pub max_bundle: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_queued: 4 * 1024 * 1024,
            tail: Duration::from_millis(50),
            longest_tail: Duration::from_millis(200),
            stale: Duration::from_millis(1500),
            patience: Duration::from_secs(5),
            layers_together: false,
            max_bundle: 1100,
        }
    }
}

/// Facts for an [`Egress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// So many bytes of a stream have been taken.
    Drained {
        /// The stream.
        stream: u64,
        /// Bytes, of those given by [`Output::Write`].
        bytes: usize,
    },
    /// The subscriber wants no more of this stream.
    Stopped {
        /// The stream.
        stream: u64,
    },
    /// No more of this track is forwarded.
    End {
        /// The track.
        track: TrackId,
    },
    /// Time has passed.
    Tick,
}

/// Decisions of an [`Egress`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<P> {
    /// Open a unidirectional stream for a group.
    Open {
        /// Its number, never used twice.
        stream: u64,
        /// Larger goes first. Newer groups have larger ones.
        priority: i32,
    },
    /// Write a frame, as one entry, to a stream.
    Write {
        /// The stream.
        stream: u64,
        /// The frame.
        payload: P,
    },
    /// Finish a stream behind what was written to it. It may still be reset.
    Finish {
        /// The stream.
        stream: u64,
    },
    /// Reset a stream; what still waits for it is stale.
    Reset {
        /// The stream.
        stream: u64,
        /// Why.
        code: Code,
    },
    /// Send a datagram.
    Datagram(P),
    /// Close the session.
    Close(Code),
}

/// What an [`Egress`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given out for writing.
    pub frames: u64,
    /// Their bytes, each frame once.
    pub bytes: u64,
    /// Audio frames given out again beside newer ones.
    pub repeated: u64,
    /// Groups reset because they lagged.
    pub groups_reset: u64,
    /// Frames not given out: of a group that was given up.
    pub dropped: u64,
}

#[derive(Debug)]
struct Open {
    group: u64,
    stream: u64,
    /// False: nothing more of this group goes out.
    alive: bool,
}

/// What waits to be taken from a stream.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// Of these, so many have waited since then; the others for less.
    oldest: usize,
    since: Duration,
}

/// The writing side of one subscriber's session.
#[derive(Debug)]
pub struct Egress<P> {
    config: Config,
    /// The newest group of each layer.
    open: BTreeMap<(TrackId, u8), Open>,
    /// What waits on each stream; finished ones until they are empty.
    queued: BTreeMap<u64, Waiting>,
    /// Streams of older groups with something left to write, and until when.
    ending: BTreeMap<u64, Duration>,
    total: usize,
    next_stream: u64,
    /// Since when something waits and nothing has been taken.
    blocked: Option<Duration>,
    closed: bool,
    /// What the path is believed to carry.
    estimate: Option<Bitrate>,
    repeats: Level,
    sound: Sound,
    /// Of the tracks that are repeated.
    recent: BTreeMap<TrackId, Recent<P>>,
    outputs: VecDeque<Output<P>>,
    counters: Counters,
}

impl<P: Payload> Egress<P> {
    /// An egress with nothing to write.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            open: BTreeMap::new(),
            queued: BTreeMap::new(),
            ending: BTreeMap::new(),
            total: 0,
            next_stream: 0,
            blocked: None,
            closed: false,
            estimate: None,
            repeats: Level::default(),
            sound: Sound::default(),
            recent: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A frame for this session.
    pub fn push(&mut self, now: Duration, kind: Kind, header: &Header, payload: P) {
        if self.closed {
            return;
        }
        let size = payload.size();
        if kind == Kind::Audio {
            self.counters.frames += 1;
            self.counters.bytes += size as u64;
            let datagram = self.beside(now, header.track, payload);
            self.outputs.push_back(Output::Datagram(datagram));
            return;
        }
        let key = (header.track, header.layer);
        match self.open.get(&key) {
            Some(open) if header.group < open.group => {
                self.counters.dropped += 1;
                return;
            }
            Some(open) if header.group == open.group => {}
            _ => {
                match self.config.layers_together {
                    true => self.end(now, key),
                    false => self.end_track(now, header.track),
                }
                let stream = self.next_stream;
                self.next_stream += 1;
                let (group, alive) = (header.group, true);
                self.open.insert(
                    key,
                    Open {
                        group,
                        stream,
                        alive,
                    },
                );
                let priority = (stream & 0x3fff_ffff) as i32;
                self.outputs.push_back(Output::Open { stream, priority });
            }
        }
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let stream = open.stream;
        if !open.alive {
            self.counters.dropped += 1;
            // It would wait too, had its group not been given up.
            if self
                .blocked
                .is_some_and(|since| now >= since + self.config.patience)
            {
                self.cut_off();
            }
            return;
        }
        if self.total + size > self.config.max_queued {
            open.alive = false;
            self.counters.dropped += 1;
            self.reset(stream);
            return;
        }
        let waiting = self.queued.entry(stream).or_insert(Waiting {
            bytes: 0,
            oldest: size,
            since: now,
        });
        waiting.bytes += size;
        self.total += size;
        self.blocked.get_or_insert(now);
        self.counters.frames += 1;
        self.counters.bytes += size as u64;
        self.outputs.push_back(Output::Write { stream, payload });
    }

    /// What the path is believed to carry: how long a tail may take depends on it, and
    /// how much of it sound may take by being repeated.
    pub fn estimate(&mut self, estimate: Bitrate) {
        self.estimate = Some(estimate);
    }

    /// From now on datagrams repeat this many earlier frames of their track, at most
    /// three, where they fit; see [`crate::path::redundancy`]. Less than before takes
    /// effect only after a while.
    pub fn redundancy(&mut self, repeats: usize) {
        self.repeats.want(repeats);
    }

    /// The frame, or a bundle of it and of what is to be repeated.
    fn beside(&mut self, now: Duration, track: TrackId, payload: P) -> P {
        self.sound.sent(now, payload.size() as u64);
        let affordable = self.estimate.map(|path| self.sound.affordable(path));
        let repeats = self.repeats.at(now).min(affordable.unwrap_or(usize::MAX));
        if repeats == 0 {
            self.recent.clear();
            return payload;
        }
        let max = self.config.max_bundle;
        // Each frame has its length in front, and the bundle one byte.
        let size = |frames: &[P]| frames.iter().map(|one| one.size() + 2).sum::<usize>() + 1;
        let recent = self.recent.entry(track).or_default();
        let frames = recent.beside(now, repeats, payload, |frames| size(frames) <= max);
        match &frames[..] {
            [alone] => alone.clone(),
            frames => {
                self.counters.repeated += frames.len() as u64 - 1;
                P::bundle(frames)
            }
        }
    }

    /// A fact arrived.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Drained { stream, bytes } => {
                let Some(waiting) = self.queued.get_mut(&stream) else {
                    return;
                };
                let bytes = bytes.min(waiting.bytes);
                waiting.bytes -= bytes;
                waiting.oldest = waiting.oldest.saturating_sub(bytes);
                if waiting.oldest == 0 {
                    (waiting.oldest, waiting.since) = (waiting.bytes, now);
                }
                self.total -= bytes;
                if waiting.bytes == 0 {
                    self.queued.remove(&stream);
                    self.ending.remove(&stream);
                }
                if bytes > 0 {
                    self.blocked = (self.total > 0).then_some(now);
                }
            }
            Input::Stopped { stream } => {
                self.forget(stream);
                self.settle();
                for open in self.open.values_mut().filter(|open| open.stream == stream) {
                    open.alive = false;
                }
            }
            Input::End { track } => {
                self.recent.remove(&track);
                self.end_track(now, track);
                self.settle();
            }
            Input::Tick => {
                let late = self.ending.iter().filter(|(_, until)| now >= **until);
                let stale = self.queued.iter();
                let stale = stale.filter(|(_, one)| now >= one.since + self.config.stale);
                let late = late.map(|(&stream, _)| stream);
                let late: BTreeSet<_> = late.chain(stale.map(|(&stream, _)| stream)).collect();
                for stream in late {
                    self.give_up(stream);
                }
                if self.cut_off_at().is_some_and(|at| now >= at) {
                    self.cut_off();
                }
            }
        }
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output<P>> {
        self.outputs.pop_front()
    }

    /// Call [`Egress::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let ending = self.ending.values().copied();
        let waiting = self.queued.values();
        let stale = waiting.map(|one| one.since + self.config.stale);
        ending.chain(stale).chain(self.cut_off_at()).min()
    }

    fn cut_off_at(&self) -> Option<Duration> {
        let blocked = self.blocked.filter(|_| !self.closed && self.total > 0);
        blocked.map(|since| since + self.config.patience)
    }

    fn cut_off(&mut self) {
        self.closed = true;
        self.outputs.push_back(Output::Close(Code::SlowReader));
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.total
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn end_track(&mut self, now: Duration, track: TrackId) {
        let keys = self.open.range((track, 0)..=(track, u8::MAX));
        let keys: Vec<_> = keys.map(|(&key, _)| key).collect();
        for key in keys {
            self.end(now, key);
        }
    }

    /// Ends the newest group of a layer. What is left of it may be written for a moment
    /// longer, after the newer group, which has the larger priority.
    fn end(&mut self, now: Duration, key: (TrackId, u8)) {
        let Some(old) = self.open.remove(&key).filter(|old| old.alive) else {
            return;
        };
        let stream = old.stream;
        if self.queued.contains_key(&stream) {
            self.ending.insert(stream, now + self.tail());
        }
        self.outputs.push_back(Output::Finish { stream });
    }

    /// What waits now gets the time that the path takes for it.
    fn tail(&self) -> Duration {
        let takes = self.estimate.map(|path| path.time_for(self.total as u64));
        let longest = self.config.longest_tail.max(self.config.tail);
        takes.unwrap_or_default().clamp(self.config.tail, longest)
    }

    /// Nothing waits, and nothing follows that would show whether it is taken.
    fn settle(&mut self) {
        if self.total == 0 {
            self.blocked = None;
        }
    }

    /// Resets a stream; where its group is the newest, no more of it goes out.
    fn give_up(&mut self, stream: u64) {
        for open in self.open.values_mut().filter(|open| open.stream == stream) {
            open.alive = false;
        }
        self.reset(stream);
    }

    fn reset(&mut self, stream: u64) {
        self.forget(stream);
        self.counters.groups_reset += 1;
        let code = Code::StaleGroup;
        self.outputs.push_back(Output::Reset { stream, code });
    }

    fn forget(&mut self, stream: u64) {
        self.ending.remove(&stream);
        self.total -= self.queued.remove(&stream).map_or(0, |one| one.bytes);
    }
}
