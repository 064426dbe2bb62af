//! The receiving end: streams and datagrams become decodable frames, each track's
//! in order.

mod audio;
mod facts;
mod video;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::datagram::Datagram;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder};

use crate::{Kind, OpenError, Opener};
use audio::Audio;
pub use facts::{Counters, Input, Opened, Output, Track};
use video::Video;

/// Bounds of a [`Subscriber`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long audio waits for a packet that others have overtaken.
    pub reorder: Duration,
    /// How long a newer group waits for the tail of the one before it.
    pub group_patience: Duration,
    /// How long a frame may be kept that cannot be opened or placed yet.
    pub hold: Duration,
    /// The most bytes kept so.
    pub hold_bytes: usize,
    /// No decodable frame of a video track for so long after subscribing, or half a
    /// frame and then nothing for so long: ask for a key frame.
    pub first_ask: Duration,
    /// Ask again after this.
    pub ask_again: Duration,
    /// A video track that is not muted and says nothing for so long is asked for a
    /// key frame.
    pub silence: Duration,
    /// The most bytes of frames that are not whole yet.
    pub partial_bytes: usize,
    /// The most streams open at once.
    pub streams: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reorder: Duration::from_millis(60),
            group_patience: Duration::from_millis(20),
            hold: Duration::from_secs(2),
            hold_bytes: 1024 * 1024,
            first_ask: Duration::from_millis(500),
            ask_again: Duration::from_secs(1),
            silence: Duration::from_secs(2),
            partial_bytes: 8 * 1024 * 1024,
            streams: 256,
        }
    }
}

/// One stream that is still being read.
#[derive(Debug)]
struct Incoming {
    decoder: GroupDecoder,
    group: Option<(TrackId, u8, u64)>,
    last_data: Duration,
}

#[derive(Debug, Default)]
struct State {
    info: Option<Track>,
    /// No frames are to come.
    hidden: bool,
    /// When the first frame of a track not yet known came.
    since: Duration,
    video: Video,
    audio: Audio,
}

/// What the parts of a track work with.
struct Context<'a> {
    now: Duration,
    config: &'a Config,
    opener: &'a mut dyn Opener,
    outputs: &'a mut VecDeque<Output>,
    counters: &'a mut Counters,
    /// Streams to forget, because their group was given up.
    stopped: Vec<u64>,
}

impl Context<'_> {
    fn open(&mut self, owner: ParticipantId, frame: &Frame) -> Result<Opened, OpenError> {
        let mut data = Vec::with_capacity(frame.payload().len());
        let (header, payload) = (frame.header_bytes(), frame.payload());
        match self.opener.open(owner, header, payload, &mut data) {
            Ok(()) => Ok(Opened {
                header: frame.header,
                data: data.into(),
                behind: false,
            }),
            Err(error) => {
                match error {
                    OpenError::EpochAhead => {}
                    OpenError::EpochGone => self.counters.epoch_gone += 1,
                    OpenError::WrongSender => self.counters.refused_sender += 1,
                    OpenError::BadTag => self.counters.refused_bad_tag += 1,
                    OpenError::Malformed => self.counters.refused_malformed += 1,
                }
                Err(error)
            }
        }
    }

    fn deliver(&mut self, opened: Opened) {
        self.counters.opened += 1;
        self.outputs.push_back(Output::Frame(opened));
    }
}

/// The receiving end of all tracks that a participant is subscribed to.
#[derive(Debug)]
pub struct Subscriber {
    config: Config,
    connected: bool,
    streams: BTreeMap<u64, Incoming>,
    /// Streams given up here of which bytes may still be under way.
    stopped: BTreeSet<u64>,
    partial: usize,
    tracks: BTreeMap<TrackId, State>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Subscriber {
    /// A subscriber without tracks.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            connected: false,
            streams: BTreeMap::new(),
            stopped: BTreeSet::new(),
            partial: 0,
            tracks: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A fact arrived. Frames are opened by `opener`.
    pub fn handle(&mut self, now: Duration, input: Input, opener: &mut dyn Opener) {
        match input {
            Input::Connected => {
                self.connected = true;
                for state in self.tracks.values_mut() {
                    state.video.expect(now + self.config.first_ask);
                }
            }
            Input::Disconnected => {
                self.connected = false;
                self.streams.clear();
                self.stopped.clear();
                self.partial = 0;
                for state in self.tracks.values_mut() {
                    state.video.streams_gone();
                }
            }
            Input::Track(track) => {
                let state = self.tracks.entry(track.id).or_default();
                if state
                    .info
                    .is_some_and(|old| old.owner != track.owner || old.kind != track.kind)
                {
                    *state = State::default();
                }
                if state.info.is_none_or(|old| old.muted && !track.muted) {
                    state.video.expect(now + self.config.first_ask);
                }
                state.info = Some(track);
                match track.kind {
                    Kind::Audio => state.video = Video::default(),
                    Kind::Video => state.audio = Audio::default(),
                }
                self.advance(now, track.id, opener);
            }
            Input::Shown { track, shown } => {
                if let Some(state) = self.tracks.get_mut(&track)
                    && core::mem::replace(&mut state.hidden, !shown) == shown
                    && shown
                {
                    state.video.expect(now + self.config.first_ask);
                }
            }
            Input::TrackGone(id) => {
                if let Some(state) = self.tracks.remove(&id) {
                    for stream in state.video.streams() {
                        self.stop(stream, Code::TrackUnknown);
                    }
                }
            }
            Input::StreamData { stream, bytes, fin } => {
                self.stream_data(now, stream, &bytes, fin, opener);
            }
            Input::StreamReset { stream } => {
                if let Some(id) = self.stream_over(stream) {
                    self.advance(now, id, opener);
                }
            }
            Input::Datagram(bytes) => self.datagram(now, bytes, opener),
            Input::DecoderFailed(id) => {
                self.with_video(now, id, opener, |video, cx| video.fail(cx));
            }
            Input::EpochInstalled | Input::Tick => self.advance_all(now, opener),
        }
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Call [`Subscriber::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let config = &self.config;
        let tracks = self.tracks.values().flat_map(|state| {
            let place = match state.info.map(|info| info.kind) {
                None => Some(state.since + config.hold),
                Some(Kind::Audio) => state.audio.deadline(config),
                Some(Kind::Video) => state.video.deadline(config),
            };
            [place, state.ask_due(config, self.connected)]
        });
        let halves = self
            .streams
            .values()
            .filter_map(|stream| stream.stalls_at(config));
        tracks.flatten().chain(halves).min()
    }

    /// What has been seen so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes of frames kept: not whole, held or waiting for their turn.
    pub fn kept_bytes(&self) -> usize {
        let tracks = self.tracks.values();
        let held: usize = tracks
            .map(|s| s.video.held_bytes() + s.audio.held_bytes())
            .sum();
        held + self.partial
    }

    fn stream_data(
        &mut self,
        now: Duration,
        stream: u64,
        bytes: &[u8],
        fin: bool,
        opener: &mut dyn Opener,
    ) {
        if self.stopped.contains(&stream) {
            return;
        }
        let incoming = self.streams.entry(stream).or_insert_with(|| Incoming {
            decoder: GroupDecoder::default(),
            group: None,
            last_data: now,
        });
        incoming.last_data = now;
        let before = incoming.decoder.pending();
        incoming.decoder.push(bytes);
        let mut touched = None;
        let refused = loop {
            match incoming.decoder.next_frame() {
                Ok(None) => break false,
                Ok(Some(frame)) => {
                    let header = frame.header;
                    incoming.group = Some((header.track, header.layer, header.group));
                    touched = Some(header.track);
                    let state = self.tracks.entry(header.track).or_insert_with(|| State {
                        since: now,
                        ..State::default()
                    });
                    if state.info.is_some_and(|info| info.kind != Kind::Video) {
                        break true;
                    }
                    state.video.push(now, stream, frame, &mut self.counters);
                }
                Err(_) => break true,
            }
        };
        self.partial = self.partial + incoming.decoder.pending() - before;
        if refused {
            self.counters.refused_malformed += 1;
            self.stop(stream, Code::BadFrameHeader);
        }
        if refused || fin {
            touched = self.stream_over(stream).or(touched);
        }
        self.bound_streams();
        if let Some(id) = touched {
            self.advance(now, id, opener);
        }
    }

    /// Nothing more comes on this stream.
    fn stream_over(&mut self, stream: u64) -> Option<TrackId> {
        let incoming = self.streams.remove(&stream)?;
        self.partial -= incoming.decoder.pending();
        let (id, ..) = incoming.group?;
        self.tracks.get_mut(&id)?.video.stream_over(stream);
        Some(id)
    }

    fn stop(&mut self, stream: u64, code: Code) {
        if self.streams.contains_key(&stream) {
            self.stream_over(stream);
            self.stopped.insert(stream);
            // What was under way to the oldest has long arrived.
            if self.stopped.len() > self.config.streams {
                self.stopped.pop_first();
            }
            self.outputs.push_back(Output::Stop { stream, code });
        }
    }

    /// Gives up the streams that a handler should not have opened or left half.
    fn bound_streams(&mut self) {
        while self.streams.len() > self.config.streams || self.partial > self.config.partial_bytes {
            let idle = self.streams.iter().min_by_key(|(_, one)| one.last_data);
            let Some((&stream, _)) = idle else { return };
            self.counters.dropped += 1;
            self.stop(stream, Code::TooManyStreams);
        }
    }

    fn datagram(&mut self, now: Duration, bytes: Bytes, opener: &mut dyn Opener) {
        let Ok(datagram) = Datagram::parse(bytes) else {
            self.counters.refused_malformed += 1;
            return;
        };
        let mut touched = BTreeSet::new();
        for (at, frame) in datagram.into_frames().enumerate() {
            let id = frame.header.track;
            let state = self.tracks.entry(id).or_insert_with(|| State {
                since: now,
                ..State::default()
            });
            if state.info.is_some_and(|info| info.kind != Kind::Audio) {
                self.counters.refused_malformed += 1;
                continue;
            }
            // What a bundle repeats has mostly come before; that is no replay.
            match at > 0 && state.audio.has_seen(&frame) {
                true => self.counters.repeated += 1,
                false => state.audio.push(now, frame, &mut self.counters),
            }
            touched.insert(id);
        }
        for id in touched {
            self.advance(now, id, opener);
        }
    }

    fn with_video(
        &mut self,
        now: Duration,
        id: TrackId,
        opener: &mut dyn Opener,
        work: impl FnOnce(&mut Video, &mut Context<'_>),
    ) {
        let mut context = Context {
            now,
            config: &self.config,
            opener,
            outputs: &mut self.outputs,
            counters: &mut self.counters,
            stopped: Vec::new(),
        };
        if let Some(state) = self.tracks.get_mut(&id) {
            work(&mut state.video, &mut context);
        }
        let stopped = context.stopped;
        for stream in stopped {
            self.stop(stream, Code::StaleGroup);
        }
        self.ask(now, id);
    }

    /// Delivers what can be delivered of a track.
    fn advance(&mut self, now: Duration, id: TrackId, opener: &mut dyn Opener) {
        let Some(state) = self.tracks.get_mut(&id) else {
            return;
        };
        let mut context = Context {
            now,
            config: &self.config,
            opener,
            outputs: &mut self.outputs,
            counters: &mut self.counters,
            stopped: Vec::new(),
        };
        match state.info {
            Some(info) if info.kind == Kind::Audio => state.audio.advance(&mut context, info.owner),
            Some(info) => state.video.advance(&mut context, info.owner),
            None => {}
        }
        let stopped = context.stopped;
        for stream in stopped {
            self.stop(stream, Code::StaleGroup);
        }
        self.bound_held();
        self.ask(now, id);
    }

    fn advance_all(&mut self, now: Duration, opener: &mut dyn Opener) {
        let halves = self.streams.iter();
        let halves =
            halves.filter(|(_, one)| one.stalls_at(&self.config).is_some_and(|at| now >= at));
        let halves: Vec<_> = halves.map(|(&stream, one)| (stream, one.group)).collect();
        for (stream, group) in halves {
            self.counters.dropped += 1;
            self.stop(stream, Code::StaleGroup);
            if let Some((id, layer, number)) = group {
                self.with_video(now, id, opener, |video, cx| {
                    video.cut_off(cx, layer, number)
                });
            }
        }
        let hold = self.config.hold;
        let unknown = self.tracks.iter();
        let unknown = unknown.filter(|(_, s)| s.info.is_none() && now >= s.since + hold);
        let unknown: Vec<_> = unknown.map(|(&id, _)| id).collect();
        for id in unknown {
            self.forget(id);
        }
        let ids: Vec<_> = self.tracks.keys().copied().collect();
        for id in ids {
            self.advance(now, id, opener);
        }
    }

    /// Drops the frames of a track that nobody has told of.
    fn forget(&mut self, id: TrackId) {
        let Some(state) = self.tracks.remove(&id) else {
            return;
        };
        self.counters.dropped += (state.video.held_frames() + state.audio.held_frames()) as u64;
        for stream in state.video.streams() {
            self.stop(stream, Code::TrackUnknown);
        }
    }

    /// Keeps what is held within its bound: unknown tracks go first, then whoever
    /// holds most.
    fn bound_held(&mut self) {
        loop {
            let sizes = self.tracks.iter().map(|(&id, s)| {
                (
                    s.info.is_none(),
                    s.video.held_bytes() + s.audio.held_bytes(),
                    id,
                )
            });
            let sizes: Vec<_> = sizes.filter(|(_, bytes, _)| *bytes > 0).collect();
            let total: usize = sizes.iter().map(|(_, bytes, _)| bytes).sum();
            let Some(&(unknown, _, id)) = sizes.iter().max() else {
                return;
            };
            if total <= self.config.hold_bytes {
                return;
            }
            if unknown {
                self.forget(id);
            } else if let Some(state) = self.tracks.get_mut(&id) {
                let mut stopped = Vec::new();
                let dropped = state.video.drop_held(&mut stopped) + state.audio.drop_held();
                self.counters.dropped += dropped as u64;
                for stream in stopped {
                    self.stop(stream, Code::StaleGroup);
                }
            }
        }
    }

    fn ask(&mut self, now: Duration, id: TrackId) {
        let Some(state) = self.tracks.get_mut(&id) else {
            return;
        };
        if state
            .ask_due(&self.config, self.connected)
            .is_some_and(|due| now >= due)
        {
            state.video.asked(now, now + self.config.ask_again);
            self.counters.key_frames_wanted += 1;
            let (track, layer) = (id, state.video.layer());
            self.outputs
                .push_back(Output::KeyFrameWanted { track, layer });
        }
    }
}

impl State {
    fn ask_due(&self, config: &Config, connected: bool) -> Option<Duration> {
        let info = self.info?;
        let wants = connected && info.kind == Kind::Video && !info.muted && !self.hidden;
        wants.then(|| self.video.ask_due(config)).flatten()
    }
}

impl Incoming {
    /// When half a frame counts as stalled.
    fn stalls_at(&self, config: &Config) -> Option<Duration> {
        let half = self.decoder.pending() > 0 || self.group.is_none();
        half.then(|| self.last_data + config.first_ask)
    }
}
