//! The sending end: a participant's encoded frames become groups, streams and
//! datagrams.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::{AudioLevel, Header, MAX_FRAME, MAX_HEADER, MAX_LAYER, STREAM_GROUP};
use darktower_wire::varint;

use crate::ask::Ask;
use crate::{Kind, Sealer};

/// Bounds of a [`Publisher`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// A group older than this is ended by a key frame, so that caches stay small
    /// and a lost stream freezes nobody for longer.
    pub group_max_age: Duration,
    /// Key frames for joining participants and for requests are at least this far
    /// apart; all reasons in between share one.
    pub key_frame_gap: Duration,
    /// Unsent bytes of one group at which the rest of it is given up.
    pub max_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group_max_age: Duration::from_secs(4),
            key_frame_gap: Duration::from_millis(100),
            max_backlog: 1024 * 1024,
        }
    }
}

/// Facts for a [`Publisher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The media session is up. Groups start anew on it.
    Connected {
        /// The most bytes a datagram may hold.
        max_datagram: usize,
    },
    /// The media session is gone, and all its streams with it.
    Disconnected,
    /// The controller has given a published track its id. Saying it again (after a
    /// resume) changes nothing where the id is the same.
    Published {
        /// The publisher's own name for the track.
        handle: u32,
        /// The id in the meeting.
        track: TrackId,
        /// What it carries.
        kind: Kind,
        /// How many layers it has, 1 to 16.
        layers: u8,
    },
    /// The track is published no more.
    Unpublished {
        /// The publisher's own name for the track.
        handle: u32,
    },
    /// The handler asks for a new group of a layer.
    KeyFrameWanted {
        /// The track.
        track: TrackId,
        /// The layer.
        layer: u8,
    },
    /// This end now seals in an epoch with members who could not open the frames
    /// sealed before: they need a key frame.
    MembersAdded,
    /// So many bytes that were given for a stream have not left yet.
    Backlog {
        /// The stream, as in [`Output::OpenStream`].
        stream: u64,
        /// Bytes accepted and unsent.
        bytes: usize,
    },
    /// Time has passed.
    Tick,
}

/// Decisions of a [`Publisher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a unidirectional stream.
    OpenStream {
        /// Its number, chosen by the publisher, never used twice.
        stream: u64,
        /// Larger goes first. Newer groups have larger ones.
        priority: i32,
    },
    /// Write to a stream.
    Write {
        /// The stream.
        stream: u64,
        /// What to write; may be empty where `fin`.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// Reset a stream: what it still holds is stale.
    Reset {
        /// The stream.
        stream: u64,
        /// Why.
        code: Code,
    },
    /// Send a datagram.
    Datagram(Bytes),
    /// The encoder's next frame of this layer must be a key frame.
    KeyFrame {
        /// The publisher's own name for the track.
        handle: u32,
        /// The layer.
        layer: u8,
    },
}

/// One encoded chunk as it comes from the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// The publisher's own name for the track.
    pub handle: u32,
    /// The layer, 0 the smallest.
    pub layer: u8,
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// Decodable without any other frame. Audio always is.
    pub key: bool,
    /// Capture time in microseconds of the participant's media clock.
    pub capture_us: u64,
    /// Loudness, for audio.
    pub level: Option<AudioLevel>,
    /// The chunk.
    pub data: &'a [u8],
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// There is no media session.
    #[error("no media session")]
    NotConnected,
    /// The track has no id yet, or no such layer.
    #[error("not a published track and layer")]
    NotPublished,
    /// The group has been given up or not begun: only a key frame can follow.
    #[error("waiting for a key frame")]
    WaitingForKey,
    /// There is no key to seal with yet.
    #[error("no key to seal with")]
    NoKey,
    /// Larger than a frame (or, for audio, a datagram) may be.
    #[error("too large")]
    TooLarge,
}

/// What a [`Publisher`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the session.
    pub frames: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Frames not sent, for whatever reason in [`Dropped`].
    pub dropped: u64,
    /// Groups whose stream was reset because it lagged.
    pub groups_reset: u64,
}

/// The first group number for a publisher that starts at `wall_ms` (unix
/// milliseconds). Grows by ten a second, as fast as key frames may follow one
/// another, so that a publisher that lost its memory (a page reload) still
/// continues above the groups that it has used.
pub fn first_group(wall_ms: u64) -> u64 {
    const YEAR_2026_MS: u64 = 1_767_225_600_000;
    wall_ms.saturating_sub(YEAR_2026_MS) / 100
}

#[derive(Debug)]
struct Group {
    stream: u64,
    number: u64,
    next_frame: u64,
    began: Duration,
}

#[derive(Debug, Default)]
struct Layer {
    group: Option<Group>,
    next_group: u64,
    ask: Ask,
}

#[derive(Debug)]
struct Track {
    id: TrackId,
    kind: Kind,
    layers: Vec<Layer>,
    /// The running number of audio.
    next_frame: u64,
}

/// The sending end of a participant's tracks.
#[derive(Debug)]
pub struct Publisher {
    config: Config,
    first_group: u64,
    max_datagram: Option<usize>,
    tracks: BTreeMap<u32, Track>,
    backlog: BTreeMap<u64, usize>,
    next_stream: u64,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Publisher {
    /// A publisher without tracks. `first_group` comes from [`first_group`].
    pub fn new(config: Config, first_group: u64) -> Self {
        Self {
            config,
            first_group,
            max_datagram: None,
            tracks: BTreeMap::new(),
            backlog: BTreeMap::new(),
            next_stream: 0,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A fact arrived.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Connected { max_datagram } => {
                self.forget_streams();
                self.max_datagram = Some(max_datagram);
                self.want_all(now);
            }
            Input::Disconnected => {
                self.forget_streams();
                self.max_datagram = None;
            }
            Input::Published {
                handle,
                track,
                kind,
                layers,
            } => self.published(now, handle, track, kind, layers),
            Input::Unpublished { handle } => self.unpublished(handle),
            Input::KeyFrameWanted { track, layer } => {
                let handle = self.tracks.iter().find(|(_, one)| one.id == track);
                if let Some((&handle, _)) = handle {
                    self.want(now, handle, layer);
                }
            }
            Input::MembersAdded => self.want_all(now),
            Input::Backlog { stream, bytes } => match bytes {
                0 => {
                    self.backlog.remove(&stream);
                }
                _ if stream < self.next_stream => {
                    self.backlog.insert(stream, bytes);
                }
                _ => {}
            },
            Input::Tick => {
                let gap = self.config.key_frame_gap;
                for (&handle, track) in &mut self.tracks {
                    for (layer, state) in (0..).zip(&mut track.layers) {
                        if state.ask.due(now, gap) {
                            self.outputs.push_back(Output::KeyFrame { handle, layer });
                        }
                    }
                }
            }
        }
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Call [`Publisher::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let gap = self.config.key_frame_gap;
        let layers = self.tracks.values().flat_map(|track| &track.layers);
        layers.filter_map(|layer| layer.ask.deadline(gap)).min()
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Seals and sends one encoded chunk; its stream writes or datagram come out
    /// of [`Publisher::poll`].
    pub fn frame(
        &mut self,
        now: Duration,
        encoded: Encoded<'_>,
        sealer: &mut dyn Sealer,
    ) -> Result<(), Dropped> {
        let sent = self.send(now, encoded, sealer);
        if sent.is_err() {
            self.counters.dropped += 1;
        }
        sent
    }

    fn send(
        &mut self,
        now: Duration,
        encoded: Encoded<'_>,
        sealer: &mut dyn Sealer,
    ) -> Result<(), Dropped> {
        let max_datagram = self.max_datagram.ok_or(Dropped::NotConnected)?;
        let track = self.tracks.get_mut(&encoded.handle);
        let track = track.ok_or(Dropped::NotPublished)?;
        match track.kind {
            Kind::Audio => {
                let header = Header {
                    track: track.id,
                    layer: 0,
                    temporal: 0,
                    group: self.first_group,
                    frame: track.next_frame,
                    key: true,
                    capture_us: encoded.capture_us.min(varint::MAX),
                    level: encoded.level,
                };
                let (buffer, _) = sealed(&header, encoded.data, sealer)?;
                let datagram = Bytes::from(buffer).slice(FRONT..);
                if datagram.len() > max_datagram {
                    return Err(Dropped::TooLarge);
                }
                track.next_frame += 1;
                self.counters.frames += 1;
                self.counters.bytes += datagram.len() as u64;
                self.outputs.push_back(Output::Datagram(datagram));
                Ok(())
            }
            Kind::Video => self.send_video(now, encoded, sealer),
        }
    }

    fn send_video(
        &mut self,
        now: Duration,
        encoded: Encoded<'_>,
        sealer: &mut dyn Sealer,
    ) -> Result<(), Dropped> {
        let Encoded { handle, layer, .. } = encoded;
        let track = self.tracks.get_mut(&handle).ok_or(Dropped::NotPublished)?;
        let id = track.id;
        let state = track.layers.get_mut(usize::from(layer));
        let state = state.ok_or(Dropped::NotPublished)?;
        if !encoded.key {
            let lag = state
                .group
                .as_ref()
                .and_then(|g| self.backlog.get(&g.stream));
            if lag.is_some_and(|bytes| *bytes > self.config.max_backlog)
                && let Some(group) = state.group.take()
            {
                self.reset(group.stream);
                self.want(now, handle, layer);
                return Err(Dropped::WaitingForKey);
            }
        }
        let (number, frame) = match &state.group {
            _ if encoded.key => (state.next_group, 0),
            Some(group) => (group.number, group.next_frame),
            None => {
                self.want(now, handle, layer);
                return Err(Dropped::WaitingForKey);
            }
        };
        let header = Header {
            track: id,
            layer,
            temporal: encoded.temporal,
            group: number,
            frame,
            key: encoded.key,
            capture_us: encoded.capture_us.min(varint::MAX),
            level: None,
        };
        let (mut buffer, len) = match sealed(&header, encoded.data, sealer) {
            Ok(sealed) => sealed,
            Err(refused) => {
                // What follows in the group would need this frame.
                if let Some(group) = state.group.take() {
                    self.reset(group.stream);
                }
                if refused == Dropped::NoKey
                    && let Some(state) = self.layer(handle, layer)
                {
                    // The first frame after the key has come shall be a key frame,
                    // so requests that led to nothing do not delay the next.
                    state.ask = Ask::default();
                }
                self.want(now, handle, layer);
                return Err(refused);
            }
        };
        let start = front(&mut buffer, len, encoded.key);
        let bytes = Bytes::from(buffer).slice(start..);
        if encoded.key {
            let stream = self.next_stream;
            self.next_stream += 1;
            state.next_group += 1;
            state.ask.answered();
            let group = Group {
                stream,
                number,
                next_frame: 1,
                began: now,
            };
            if let Some(old) = state.group.replace(group) {
                self.end(old.stream);
            }
            // Streams are numbered in order of time, so newer goes first.
            let priority = (stream & 0x3fff_ffff) as i32;
            self.outputs
                .push_back(Output::OpenStream { stream, priority });
            self.write(stream, bytes);
        } else if let Some(group) = &mut state.group {
            group.next_frame += 1;
            let (stream, age) = (group.stream, now.saturating_sub(group.began));
            self.write(stream, bytes);
            if age >= self.config.group_max_age {
                self.want(now, handle, layer);
            }
        }
        Ok(())
    }

    fn write(&mut self, stream: u64, bytes: Bytes) {
        self.counters.frames += 1;
        self.counters.bytes += bytes.len() as u64;
        let fin = false;
        self.outputs.push_back(Output::Write { stream, bytes, fin });
    }

    /// Ends a group's stream: in order where all of it has left, else by a reset.
    fn end(&mut self, stream: u64) {
        if self.backlog.contains_key(&stream) {
            self.reset(stream);
        } else {
            let (bytes, fin) = (Bytes::new(), true);
            self.outputs.push_back(Output::Write { stream, bytes, fin });
        }
    }

    fn reset(&mut self, stream: u64) {
        self.backlog.remove(&stream);
        self.counters.groups_reset += 1;
        let code = Code::StaleGroup;
        self.outputs.push_back(Output::Reset { stream, code });
    }

    fn layer(&mut self, handle: u32, layer: u8) -> Option<&mut Layer> {
        let track = self.tracks.get_mut(&handle)?;
        track.layers.get_mut(usize::from(layer))
    }

    fn want(&mut self, now: Duration, handle: u32, layer: u8) {
        let gap = self.config.key_frame_gap;
        if let Some(state) = self.layer(handle, layer)
            && state.ask.wanted(now, gap)
        {
            self.outputs.push_back(Output::KeyFrame { handle, layer });
        }
    }

    fn want_all(&mut self, now: Duration) {
        let layers = self.tracks.iter();
        let layers: Vec<_> = layers
            .map(|(&handle, t)| (handle, t.layers.len()))
            .collect();
        for (handle, count) in layers {
            for layer in (0..=MAX_LAYER).take(count) {
                self.want(now, handle, layer);
            }
        }
    }

    fn published(&mut self, now: Duration, handle: u32, id: TrackId, kind: Kind, layers: u8) {
        let count = match kind {
            Kind::Audio => 0,
            Kind::Video => layers.clamp(1, MAX_LAYER + 1),
        };
        let same = |track: &Track| {
            track.id == id && track.kind == kind && track.layers.len() == usize::from(count)
        };
        if self.tracks.get(&handle).is_some_and(same) {
            return;
        }
        self.unpublished(handle);
        let new_layer = || Layer {
            next_group: self.first_group,
            ..Layer::default()
        };
        let track = Track {
            id,
            kind,
            layers: (0..count).map(|_| new_layer()).collect(),
            next_frame: 0,
        };
        self.tracks.insert(handle, track);
        for layer in 0..count {
            self.want(now, handle, layer);
        }
    }

    fn unpublished(&mut self, handle: u32) {
        let Some(track) = self.tracks.remove(&handle) else {
            return;
        };
        for group in track.layers.into_iter().filter_map(|layer| layer.group) {
            self.end(group.stream);
        }
    }

    /// The session's streams are gone with it: nothing to reset, groups start anew.
    fn forget_streams(&mut self) {
        self.backlog.clear();
        let layers = self.tracks.values_mut().flat_map(|track| &mut track.layers);
        for layer in layers {
            layer.group = None;
            layer.ask = Ask::default();
        }
    }
}

/// Room in front of a frame for the stream type and the frame's length.
const FRONT: usize = 1 + 8;

/// `FRONT` free bytes, then header and sealed payload; and the length of those.
fn sealed(
    header: &Header,
    data: &[u8],
    sealer: &mut dyn Sealer,
) -> Result<(Vec<u8>, usize), Dropped> {
    // Room for a cipher's key id, counter and tag.
    const SEAL: usize = 64;
    if data.len() > MAX_FRAME {
        return Err(Dropped::TooLarge);
    }
    let mut buffer = Vec::with_capacity(FRONT + MAX_HEADER + data.len() + SEAL);
    buffer.resize(FRONT, 0);
    header.encode(&mut buffer);
    let clear = buffer[FRONT..].to_vec();
    if !sealer.seal(&clear, data, &mut buffer) {
        return Err(Dropped::NoKey);
    }
    let len = buffer.len() - FRONT;
    if len > MAX_FRAME {
        return Err(Dropped::TooLarge);
    }
    Ok((buffer, len))
}

/// Fills the room in front of a sealed frame with what a stream needs there, and
/// says where it begins.
fn front(buffer: &mut [u8], len: usize, opens_stream: bool) -> usize {
    let size = varint::size(len as u64);
    let at = FRONT - size;
    let mut place = &mut buffer[at..FRONT];
    varint::put(&mut place, len as u64);
    if opens_stream {
        buffer[at - 1] = STREAM_GROUP;
        return at - 1;
    }
    at
}
