//! A forwarder with cameras in front of it that do as they are told, and subscribers
//! behind it that check what they get: a stage for scripted conditions.

use std::collections::{BTreeMap, VecDeque};

use darktower_media::demand::View;
use darktower_media::forwarder::{Command, Config, Forwarder, Input, Output, SessionId};
use darktower_media::path::Loss;
use darktower_media::{Bitrate, Kind, Shape};
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::{AudioLevel, Header};

use crate::forwarding::{Sized, opened, say, seat, session, tell};
use crate::pair::ms;

/// From the handler to a publisher.
const DELAY: u64 = 40;
/// Between pictures: thirty a second.
const PICTURE: u64 = 33;

/// What a publisher sends of one camera: bytes of a picture, by layer.
struct Camera {
    owner: ParticipantId,
    sizes: Vec<usize>,
    on: u16,
    /// Layers that its uplink carries.
    carries: u16,
    key: u16,
    /// Group and next frame, by layer.
    places: Vec<(u64, u64)>,
}

/// One frame that a subscriber got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Got {
    pub(crate) at: u64,
    pub(crate) header: Header,
    pub(crate) size: usize,
}

pub(crate) struct Stage {
    pub(crate) forwarder: Forwarder<Sized>,
    pub(crate) at: u64,
    cameras: BTreeMap<TrackId, Camera>,
    /// Microphones and how loud they are; 0: silent.
    pub(crate) sounds: BTreeMap<TrackId, (ParticipantId, u8)>,
    sound: u64,
    pub(crate) got: BTreeMap<SessionId, Vec<Got>>,
    pub(crate) said: Vec<(u64, Output<Sized>)>,
    requests: VecDeque<(u64, Output<Sized>)>,
}

impl Stage {
    pub(crate) fn new(who: &[ParticipantId]) -> Self {
        let mut stage = Self {
            forwarder: Forwarder::new(Config::default()),
            at: 1000,
            cameras: BTreeMap::new(),
            sounds: BTreeMap::new(),
            sound: 0,
            got: BTreeMap::new(),
            said: Vec::new(),
            requests: VecDeque::new(),
        };
        for &who in who {
            stage.join(who);
        }
        stage
    }

    pub(crate) fn join(&mut self, who: ParticipantId) {
        self.tell(opened(who));
        self.command(seat(who, true));
    }

    /// A camera whose pictures take what its shape says.
    pub(crate) fn camera(&mut self, id: u32, owner: ParticipantId, shape: Shape) {
        let id = TrackId(id);
        let size = |bps: u64| (bps * PICTURE / 8000) as usize;
        let sizes: Vec<_> = shape
            .layers
            .iter()
            .map(|one| size(one.max_bitrate.bps()))
            .collect();
        let camera = Camera {
            owner,
            on: u16::MAX,
            carries: u16::MAX,
            key: u16::MAX,
            places: vec![(0, 0); sizes.len()],
            sizes,
        };
        self.cameras.insert(id, camera);
        let (seat, kind) = (owner, Kind::Video);
        self.command(Command::Track {
            id,
            seat,
            kind,
            shape,
            via: None,
        });
    }

    /// The uplink of a camera's publisher has room for these layers alone.
    pub(crate) fn uplink(&mut self, id: u32, carries: u16) {
        if let Some(camera) = self.cameras.get_mut(&TrackId(id)) {
            // What was left out begins anew.
            camera.key |= carries & !camera.carries;
            camera.carries = carries;
        }
    }

    pub(crate) fn microphone(&mut self, id: u32, owner: ParticipantId, loud: u8) {
        let (id, seat, kind) = (TrackId(id), owner, Kind::Audio);
        self.sounds.insert(id, (owner, loud));
        let shape = Shape::default();
        self.command(Command::Track {
            id,
            seat,
            kind,
            shape,
            via: None,
        });
    }

    pub(crate) fn demand(&mut self, who: ParticipantId, views: &[(u32, u32, u32)]) {
        let views = views.iter().map(|&(track, width_px, height_px)| View {
            track: TrackId(track),
            width_px,
            height_px,
            pinned: false,
        });
        let (session, views) = (session(who), views.collect());
        self.tell(Input::Demand { session, views });
    }

    pub(crate) fn path(&mut self, who: ParticipantId, kbps: u64) {
        self.lossy_path(who, kbps, Loss::NONE);
    }

    pub(crate) fn lossy_path(&mut self, who: ParticipantId, kbps: u64, loss: Loss) {
        let (session, estimate) = (session(who), Bitrate::from_kbps(kbps));
        self.tell(Input::Path {
            session,
            estimate,
            loss,
        });
    }

    pub(crate) fn command(&mut self, command: Command) {
        let outputs = say(&mut self.forwarder, self.at, command);
        self.take(outputs);
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let outputs = tell(&mut self.forwarder, self.at, input);
        self.take(outputs);
    }

    pub(crate) fn run(&mut self, time: u64) {
        let end = self.at + time;
        while self.at < end {
            self.at += 1;
            if self
                .forwarder
                .deadline()
                .is_some_and(|due| due <= ms(self.at))
            {
                self.tell(Input::Tick);
            }
            while self
                .requests
                .front()
                .is_some_and(|(due, _)| *due <= self.at)
            {
                if let Some((_, request)) = self.requests.pop_front() {
                    self.obey(request);
                }
            }
            if self.at.is_multiple_of(PICTURE) {
                let ids: Vec<_> = self.cameras.keys().copied().collect();
                for id in ids {
                    self.picture(id);
                }
            }
            if self.at.is_multiple_of(20) {
                self.packets();
            }
        }
    }

    fn obey(&mut self, request: Output<Sized>) {
        match request {
            Output::KeyFrameWanted { track, layer, .. } => {
                if let Some(camera) = self.cameras.get_mut(&track) {
                    camera.key |= 1 << layer;
                }
            }
            Output::LayersWanted { track, layers, .. } => {
                if let Some(camera) = self.cameras.get_mut(&track) {
                    camera.key |= layers & !camera.on;
                    camera.on = layers;
                }
            }
            _ => {}
        }
    }

    /// One captured picture: a frame of each layer that is on, the smallest first.
    fn picture(&mut self, id: TrackId) {
        let Some(camera) = self.cameras.get_mut(&id) else {
            return;
        };
        let mut frames = Vec::new();
        for (layer, size) in camera.sizes.iter().enumerate() {
            let bit = 1 << layer;
            if camera.on & camera.carries & bit == 0 {
                continue;
            }
            let (group, next) = &mut camera.places[layer];
            // Four seconds are a group.
            let key = camera.key & bit != 0 || *next >= 120;
            if key {
                (*group, *next) = (*group + 1, 0);
                camera.key &= !bit;
            }
            let header = Header {
                track: id,
                layer: layer as u8,
                temporal: [0, 2, 1, 2][(*next % 4) as usize],
                group: *group,
                frame: *next,
                key,
                capture_us: self.at * 1000,
                level: None,
            };
            *next += 1;
            frames.push((header, Sized(size * if key { 4 } else { 1 })));
        }
        let from = session(camera.owner);
        for (header, size) in frames {
            let mut out = Vec::new();
            let now = ms(self.at);
            let taken = self
                .forwarder
                .on_frame(now, from, Kind::Video, &header, &size, &mut out);
            assert_eq!(taken, Ok(()), "{header:?}");
            for one in out {
                self.deliver(one.session, one.header, one.payload);
            }
        }
    }

    fn packets(&mut self) {
        self.sound += 1;
        for (&track, &(owner, loud)) in &self.sounds.clone() {
            let level = AudioLevel {
                minus_dbov: 127 - loud,
                voice: loud > 0,
            };
            let header = Header {
                track,
                group: 1,
                frame: self.sound,
                key: true,
                capture_us: self.at * 1000,
                level: Some(level),
                ..Header::default()
            };
            let (now, from) = (ms(self.at), session(owner));
            let mut out = Vec::new();
            let taken =
                self.forwarder
                    .on_frame(now, from, Kind::Audio, &header, &Sized(80), &mut out);
            assert_eq!(taken, Ok(()));
            for one in out {
                self.deliver(one.session, one.header, one.payload);
            }
        }
    }

    fn take(&mut self, outputs: Vec<Output<Sized>>) {
        for output in outputs {
            match &output {
                Output::Deliver(one) => self.deliver(one.session, one.header, one.payload),
                Output::KeyFrameWanted { .. } | Output::LayersWanted { .. } => {
                    self.requests.push_back((self.at + DELAY, output.clone()));
                }
                _ => {}
            }
            self.said.push((self.at, output));
        }
    }

    fn deliver(&mut self, session: SessionId, header: Header, payload: Sized) {
        let (at, size) = (self.at, payload.0);
        let got = self.got.entry(session).or_default();
        got.push(Got { at, header, size });
    }

    /// What somebody got of a track since then.
    pub(crate) fn frames(&self, who: ParticipantId, track: u32, since: u64) -> Vec<Got> {
        let all = self.got.get(&session(who)).into_iter().flatten();
        let of = all.filter(|one| one.header.track == TrackId(track) && one.at > since);
        of.copied().collect()
    }

    /// Layer and highest temporal layer of what somebody got in the last 300 ms.
    pub(crate) fn layer(&self, who: ParticipantId, track: u32) -> Option<(u8, u8)> {
        let frames = self.frames(who, track, self.at - 300);
        let layer = frames.last()?.header.layer;
        let of = frames.iter().filter(|one| one.header.layer == layer);
        let temporal = of.map(|one| one.header.temporal).max()?;
        Some((layer, temporal))
    }

    /// What somebody got in all in the last second, in kbit/s.
    pub(crate) fn kbps(&self, who: ParticipantId) -> u64 {
        let all = self.got.get(&session(who)).into_iter().flatten();
        let last = all.filter(|one| one.at + 1000 > self.at);
        last.map(|one| one.size as u64 * 8).sum::<u64>() / 1000
    }

    /// Asserts that what somebody got of a track can be decoded whole, and that no
    /// picture newer than any before came twice; says the longest time between two
    /// such pictures.
    pub(crate) fn assert_decodable(&self, who: ParticipantId, track: u32, since: u64) -> u64 {
        let (mut last, mut shown, mut longest) = (None::<Header>, None::<u64>, 0);
        let mut had: Vec<u64> = Vec::new();
        for got in self.frames(who, track, since) {
            let header = got.header;
            let goes_on = last.is_some_and(|last| {
                (last.layer, last.group) == (header.layer, header.group)
                    && last.frame < header.frame
            });
            if !goes_on {
                assert!(header.key, "{last:?} then {header:?}");
                had.clear();
            }
            let needs = match header.frame % 4 {
                _ if header.key => None,
                0 => header.frame.checked_sub(4),
                1 | 3 => header.frame.checked_sub(1),
                _ => header.frame.checked_sub(2),
            };
            assert!(needs.is_none_or(|needs| had.contains(&needs)), "{header:?}");
            had.push(header.frame);
            if shown.is_none_or(|shown| header.capture_us > shown) {
                let gap = shown.map_or(0, |shown| header.capture_us - shown);
                longest = longest.max(gap / 1000);
                shown = Some(header.capture_us);
            }
            last = Some(header);
        }
        longest
    }

    /// Times at which something was said.
    pub(crate) fn times(&self, is: impl Fn(&Output<Sized>) -> bool) -> Vec<u64> {
        let said = self.said.iter().filter(|(_, one)| is(one));
        said.map(|(at, _)| *at).collect()
    }
}
