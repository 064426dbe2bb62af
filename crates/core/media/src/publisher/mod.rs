//! The sending end: a participant's encoded frames become groups, streams and
//! datagrams.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::datagram;
use darktower_wire::ids::TrackId;
use darktower_wire::media::{Header, MAX_LAYER};
use darktower_wire::varint;

mod api;
mod packing;
mod rates;

pub use api::{Config, Counters, Dropped, Encoded, Input, Output, first_group};
use packing::{FRONT, front, sealed};
use rates::Setting;

use crate::ask::Ask;
use crate::path::Loss;
use crate::repeat::{Level, Recent};
use crate::uplink::Uplink;
use crate::{Bitrate, Kind, Sealer, Shape};

#[derive(Debug)]
struct Group {
    stream: u64,
    number: u64,
    next_frame: u64,
    began: Duration,
}

#[derive(Debug)]
struct Layer {
    group: Option<Group>,
    next_group: u64,
    ask: Ask,
    setting: Setting,
    /// Frames of this temporal layer and above need one that was left out.
    skipped_from: Option<u8>,
}

impl Layer {
    /// Whether a frame that others can do without is left out, because what was sent
    /// before it has not left yet, or because it needs one that was.
    fn skips(&mut self, temporal: u8, late: bool) -> bool {
        let needs = self.skipped_from.is_some_and(|from| temporal >= from);
        if needs || (late && temporal > 0) {
            let from = self.skipped_from.unwrap_or(temporal);
            self.skipped_from = Some(from.min(temporal));
            return true;
        }
        // What comes next can stand on this one.
        self.skipped_from = None;
        false
    }
}

#[derive(Debug)]
struct Track {
    id: TrackId,
    kind: Kind,
    shape: Shape,
    layers: Vec<Layer>,
    /// The running number of audio.
    next_frame: u64,
    /// Audio frames that may be sent again.
    recent: Recent<Bytes>,
}

/// Smaller layers go first, for they are what is left when not all fits. Of one layer the
/// newer group does: streams are numbered in order of time.
fn priority(layer: u8, stream: u64) -> i32 {
    const TIME_BITS: u32 = 26;
    let smaller = i32::from(MAX_LAYER - layer.min(MAX_LAYER));
    smaller << TIME_BITS | (stream & ((1 << TIME_BITS) - 1)) as i32
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
    uplink: Uplink,
    repeats: Level,
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
            uplink: Uplink::new(config.uplink),
            repeats: Level::default(),
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
                self.uplink.connected(now);
                self.all_layers_wanted();
                self.retarget(now);
                self.want_all(now);
            }
            Input::Disconnected => {
                self.forget_streams();
                self.uplink.disconnected();
                self.max_datagram = None;
            }
            Input::Published {
                handle,
                track,
                kind,
                shape,
            } => self.published(now, handle, track, kind, shape),
            Input::Unpublished { handle } => {
                self.unpublished(handle);
                self.retarget(now);
            }
            Input::Feedback(feedback) => self.feedback(now, feedback),
            Input::LayersWanted { track, layers } => self.layers_wanted(now, track, layers),
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
                if self.max_datagram.is_some() && self.uplink.watch(now) {
                    self.retarget(now);
                }
                self.ask_again(now);
                self.pad(now);
            }
        }
    }

    fn ask_again(&mut self, now: Duration) {
        let gap = self.config.key_frame_gap;
        for (&handle, track) in &mut self.tracks {
            for (layer, state) in (0..).zip(&mut track.layers) {
                if state.ask.due(now, gap) {
                    self.outputs.push_back(Output::KeyFrame { handle, layer });
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
        let asks = layers.filter_map(|layer| layer.ask.deadline(gap));
        // Without a connection nothing is heard of the uplink, and nothing is tried.
        let uplink = self.max_datagram.and_then(|_| self.uplink.deadline());
        asks.chain(uplink).min()
    }

    /// What the uplink is believed to carry.
    pub fn estimate(&self) -> Bitrate {
        self.uplink.estimate()
    }

    /// The share of audio datagrams that the handler misses.
    pub fn loss(&self) -> Loss {
        self.uplink.loss()
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
        let capture_us = encoded.capture_us;
        let sent = self.send(now, encoded, sealer);
        match sent {
            Ok(()) => self.uplink.captured(now, capture_us),
            Err(_) => self.counters.dropped += 1,
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
        let track = self.tracks.get(&encoded.handle);
        let kind = track.ok_or(Dropped::NotPublished)?.kind;
        if self.uplink.watch(now) {
            self.retarget(now);
        }
        match kind {
            Kind::Audio => self.send_audio(now, max_datagram, encoded, sealer),
            Kind::Video => self.send_video(now, encoded, sealer),
        }
    }

    fn send_audio(
        &mut self,
        now: Duration,
        max_datagram: usize,
        encoded: Encoded<'_>,
        sealer: &mut dyn Sealer,
    ) -> Result<(), Dropped> {
        let track = self.tracks.get_mut(&encoded.handle);
        let track = track.ok_or(Dropped::NotPublished)?;
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
        let frame = Bytes::from(buffer).slice(FRONT..);
        if frame.len() > max_datagram {
            return Err(Dropped::TooLarge);
        }
        track.next_frame += 1;
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        let repeats = self.repeats.at(now);
        let fits = |frames: &[Bytes]| datagram::bundle_size(frames) <= max_datagram;
        let frames = track.recent.beside(now, repeats, frame, fits);
        let datagram = match &frames[..] {
            [alone] => alone.clone(),
            bundled => datagram::bundle(bundled),
        };
        self.counters.repeated += frames.len() as u64 - 1;
        self.uplink.sent_audio(now, datagram.len() as u64);
        self.outputs.push_back(Output::Datagram(datagram));
        Ok(())
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
        if state.setting.paused() {
            return Err(Dropped::Paused);
        }
        if !encoded.key {
            let group = state.group.as_ref();
            let lag = group.and_then(|group| self.backlog.get(&group.stream));
            let lag = lag.copied().unwrap_or(0);
            // What has not left is so much of pictures: how old they are.
            let rate = state.setting.rate();
            let most = rate.bytes_in(self.config.stale) as usize;
            if lag > most.clamp(self.config.min_backlog, self.config.max_backlog)
                && let Some(group) = state.group.take()
            {
                self.uplink.lagged();
                self.reset(group.stream);
                self.want(now, handle, layer);
                return Err(Dropped::WaitingForKey);
            }
            let late = lag as u64 > rate.bytes_in(self.config.late);
            if late {
                self.uplink.lagged();
            }
            if state.skips(encoded.temporal, late) {
                return Err(Dropped::Late);
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
            state.skipped_from = None;
            state.ask.answered();
            let group = Group {
                stream,
                number,
                next_frame: 1,
                began: now,
            };
            if let Some(old) = state.group.replace(group) {
                match self.uplink.is_silent(now) {
                    // It was sent into the silence: once the path is back nobody needs it.
                    true => self.reset(old.stream),
                    false => self.end(old.stream),
                }
            }
            let priority = priority(layer, stream);
            self.outputs
                .push_back(Output::OpenStream { stream, priority });
            self.write(now, stream, bytes);
        } else if let Some(group) = &mut state.group {
            group.next_frame += 1;
            let (stream, age) = (group.stream, now.saturating_sub(group.began));
            self.write(now, stream, bytes);
            if age >= self.config.group_max_age {
                self.want(now, handle, layer);
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Duration, stream: u64, bytes: Bytes) {
        self.uplink.sent_video(now, bytes.len() as u64);
        self.counters.frames += 1;
        self.counters.bytes += bytes.len() as u64;
        let fin = false;
        self.outputs.push_back(Output::Write { stream, bytes, fin });
    }

    /// Padding that a test of the uplink wants now.
    fn pad(&mut self, now: Duration) {
        let Some(max) = self.max_datagram else { return };
        while let Some(size) = self.uplink.padding(now) {
            let padding = datagram::padding(size.min(max));
            self.counters.padding += padding.len() as u64;
            self.outputs.push_back(Output::Datagram(padding));
        }
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
            && !state.setting.paused()
            && state.ask.wanted(now, gap)
        {
            self.outputs.push_back(Output::KeyFrame { handle, layer });
        }
    }

    /// Newcomers can open nothing that was sealed before, a key frame of a moment ago no more than others.
    fn want_all(&mut self, now: Duration) {
        let gap = self.config.key_frame_gap;
        for (&handle, track) in &mut self.tracks {
            for (layer, state) in (0..).zip(&mut track.layers) {
                if !state.setting.paused() && state.ask.urgently_wanted(now, gap) {
                    self.outputs.push_back(Output::KeyFrame { handle, layer });
                }
            }
        }
    }

    fn published(&mut self, now: Duration, handle: u32, id: TrackId, kind: Kind, shape: Shape) {
        let same = |track: &Track| (track.id, track.kind, &track.shape) == (id, kind, &shape);
        if self.tracks.get(&handle).is_some_and(same) {
            return;
        }
        self.unpublished(handle);
        let count = match kind {
            Kind::Audio => 0,
            Kind::Video => shape.count(),
        };
        let layers = (0..count).map(|at| Layer {
            group: None,
            next_group: self.first_group,
            ask: Ask::default(),
            setting: Setting::new(&shape, at),
            skipped_from: None,
        });
        let track = Track {
            id,
            kind,
            layers: layers.collect(),
            shape,
            next_frame: 0,
            recent: Recent::default(),
        };
        self.tracks.insert(handle, track);
        self.retarget(now);
        for layer in (0..=MAX_LAYER).take(count) {
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
