//! One meeting on two handlers, joined by trunks over wires that take no time.

use std::collections::BTreeMap;

use darktower_media::demand::View;
use darktower_media::forwarder::{Command, Config, Forwarder, Input, Output, SessionId, Trunk};
use darktower_media::{Kind, LayerShape, Shape};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, NodeId, ParticipantId, TrackId};
use darktower_wire::media::{AudioLevel, Header};

use crate::forwarding::{Sized, opened, seat, session};
use crate::pair::ms;
use crate::sealing::{ALICE, BOB, CAROL};

pub(crate) const CAMERA: TrackId = TrackId(1);
pub(crate) const MICROPHONE: TrackId = TrackId(2);
pub(crate) const HERE: usize = 0;
pub(crate) const THERE: usize = 1;

pub(crate) fn node(at: usize) -> NodeId {
    NodeId([0xa0 + at as u8; 16])
}

/// The session that the other handler's trunk is at this one.
pub(crate) fn trunk_at(at: usize) -> SessionId {
    SessionId(1000 + at as u64)
}

pub(crate) fn shape() -> Shape {
    let layers = (0..3).map(|_| LayerShape {
        temporal_layers: 1,
        ..LayerShape::default()
    });
    let mut layers: Vec<_> = layers.collect();
    for (layer, (width, height, kbps)) in
        layers
            .iter_mut()
            .zip([(320, 180, 150), (640, 360, 500), (1280, 720, 1500)])
    {
        (layer.width_px, layer.height_px) = (width, height);
        layer.max_bitrate = darktower_media::Bitrate::from_kbps(kbps);
    }
    Shape {
        screen: false,
        layers,
    }
}

pub(crate) const DAVE: ParticipantId = ParticipantId([4; 16]);

/// Alice is here and sends; Bob is here as well, Carol and Dave are there.
pub(crate) struct Two {
    pub(crate) now: u64,
    pub(crate) ends: [Forwarder<Sized>; 2],
    /// Of each end: the trunk that it dialled.
    pub(crate) dialled: [Option<SessionId>; 2],
    pub(crate) dials: usize,
    /// Frames that came to somebody, by session.
    pub(crate) got: BTreeMap<SessionId, Vec<Header>>,
    /// Frames that crossed.
    pub(crate) crossed: Vec<Header>,
    /// What Alice is asked for: key frames, and the layers that are wanted.
    pub(crate) keys: Vec<u8>,
    pub(crate) wanted: Option<u16>,
    pub(crate) refused: Vec<Code>,
    pub(crate) places: [(u64, u64); 3],
}

impl Two {
    pub(crate) fn new() -> Self {
        let forwarder = || Forwarder::new(Config::default());
        let mut two = Self {
            now: 0,
            ends: [forwarder(), forwarder()],
            dialled: [None, None],
            dials: 0,
            got: BTreeMap::new(),
            crossed: Vec::new(),
            keys: Vec::new(),
            wanted: None,
            refused: Vec::new(),
            places: [(0, 0); 3],
        };
        for (at, people) in [(HERE, [ALICE, BOB]), (THERE, [CAROL, DAVE])] {
            let other = 1 - at;
            two.say(
                at,
                Command::Trunk {
                    node: node(other),
                    ticket: [other as u8; 32],
                },
            );
            two.say(at, two.neighbour(other));
            for who in people {
                two.say(at, seat(who, true));
                two.tell(at, opened(who));
            }
            two.say(at, two.track(at, CAMERA, Kind::Video));
            two.say(at, two.track(at, MICROPHONE, Kind::Audio));
        }
        two
    }

    pub(crate) fn neighbour(&self, at: usize) -> Command {
        let trunk = Trunk {
            url: format!("https://{at}/v1/media"),
            certificate_sha256: Vec::new(),
            ticket: [at as u8; 32].into(),
        };
        Command::Neighbour {
            node: node(at),
            trunk,
        }
    }

    pub(crate) fn track(&self, at: usize, id: TrackId, kind: Kind) -> Command {
        let shape = match kind {
            Kind::Video => shape(),
            Kind::Audio => Shape::default(),
        };
        let via = (at != HERE).then_some(node(HERE));
        Command::Track {
            id,
            seat: ALICE,
            kind,
            shape,
            via,
        }
    }

    pub(crate) fn say(&mut self, at: usize, command: Command) {
        let fence = Fence(1);
        self.tell(at, Input::Command { fence, command });
    }

    pub(crate) fn tell(&mut self, at: usize, input: Input) {
        self.ends[at].handle(ms(self.now), input);
        self.drain(at);
    }

    pub(crate) fn drain(&mut self, at: usize) {
        let other = 1 - at;
        while let Some(output) = self.ends[at].poll() {
            match output {
                Output::Dial { session, .. } => {
                    self.dials += 1;
                    self.dialled[at] = Some(session);
                    let seat = ParticipantId(node(at).0);
                    let opened = Input::SessionOpened {
                        session: trunk_at(other),
                        seat,
                    };
                    self.tell(other, opened);
                    self.tell(at, Input::TrunkOpened { session });
                }
                Output::HangUp { session } => {
                    assert_eq!(self.dialled[at].take(), Some(session));
                    let (session, code) = (trunk_at(other), Code::Left);
                    self.tell(other, Input::SessionClosed { session, code });
                }
                Output::KeyFrameWanted {
                    session,
                    track,
                    layer,
                } if session.is_dialled() => {
                    let session = trunk_at(other);
                    self.tell(
                        other,
                        Input::KeyFrameWanted {
                            session,
                            track,
                            layer,
                        },
                    );
                }
                Output::LayersWanted {
                    session,
                    track,
                    layers,
                } if session.is_dialled() => {
                    let session = trunk_at(other);
                    self.tell(
                        other,
                        Input::LayersWanted {
                            session,
                            track,
                            layers,
                        },
                    );
                }
                Output::KeyFrameWanted { layer, .. } => {
                    self.keys.push(layer);
                    self.places[usize::from(layer)] = (self.places[usize::from(layer)].0 + 1, 0);
                }
                Output::LayersWanted { layers, .. } => {
                    for at in 0..3 {
                        if layers & 1 << at != 0
                            && self.wanted.is_some_and(|was| was & 1 << at == 0)
                        {
                            // It begins anew.
                            self.places[at] = (self.places[at].0 + 1, 0);
                        }
                    }
                    self.wanted = Some(layers);
                }
                Output::Deliver(one) => self.deliver(at, one.session, one.kind, one.header),
                Output::Refused { code, .. } => self.refused.push(code),
                _ => {}
            }
        }
    }

    pub(crate) fn deliver(&mut self, at: usize, to: SessionId, kind: Kind, header: Header) {
        if to != trunk_at(at) {
            return self.got.entry(to).or_default().push(header);
        }
        self.crossed.push(header);
        if let Some(trunk) = self.dialled[1 - at] {
            self.frame(1 - at, trunk, kind, header);
        }
    }

    pub(crate) fn frame(&mut self, at: usize, from: SessionId, kind: Kind, header: Header) {
        let (mut out, now) = (Vec::new(), ms(self.now));
        let size = if kind == Kind::Video { 1000 } else { 80 };
        let taken = self.ends[at].on_frame(now, from, kind, &header, &Sized(size), &mut out);
        if let Err(code) = taken {
            self.refused.push(code);
        }
        for one in out {
            self.deliver(at, one.session, one.kind, one.header);
        }
        self.drain(at);
    }

    /// Alice films and speaks, and time passes.
    pub(crate) fn run(&mut self, ms_long: u64) {
        let alice = session(ALICE);
        for _ in 0..ms_long / 20 {
            self.now += 20;
            let sound = Header {
                track: MICROPHONE,
                frame: self.now / 20,
                key: true,
                capture_us: self.now * 1000,
                level: Some(AudioLevel {
                    voice: true,
                    minus_dbov: 20,
                }),
                ..Header::default()
            };
            self.frame(HERE, alice, Kind::Audio, sound);
            for layer in 0..3u8 {
                let at = usize::from(layer);
                if self.wanted.is_some_and(|wanted| wanted & 1 << at == 0) {
                    continue;
                }
                let (group, frame) = self.places[at];
                self.places[at].1 += 1;
                let header = Header {
                    track: CAMERA,
                    layer,
                    group: group + 1,
                    frame,
                    key: frame == 0,
                    capture_us: self.now * 1000,
                    ..Header::default()
                };
                self.frame(HERE, alice, Kind::Video, header);
            }
            for at in [HERE, THERE] {
                if self.ends[at]
                    .deadline()
                    .is_some_and(|due| due <= ms(self.now))
                {
                    self.tell(at, Input::Tick);
                }
            }
        }
    }

    /// Alice films at this handler for a second: one group of the middle layer.
    pub(crate) fn films_at(&mut self, at: usize) {
        for frame in 0..50 {
            self.now += 20;
            let header = Header {
                track: CAMERA,
                layer: 1,
                group: 900,
                frame,
                key: frame == 0,
                ..Header::default()
            };
            self.frame(at, session(ALICE), Kind::Video, header);
            for at in [HERE, THERE] {
                self.tell(at, Input::Tick);
            }
        }
    }

    pub(crate) fn show(&mut self, at: usize, who: ParticipantId, width_px: u32, height_px: u32) {
        let pinned = false;
        let view = View {
            track: CAMERA,
            width_px,
            height_px,
            pinned,
        };
        let views = if width_px == 0 {
            Vec::new()
        } else {
            vec![view]
        };
        let session = session(who);
        self.tell(at, Input::Demand { session, views });
    }

    /// How many frames of a layer (or of sound) came to somebody since this was last asked.
    pub(crate) fn take(&mut self, who: ParticipantId) -> BTreeMap<(TrackId, u8), usize> {
        let got = self.got.remove(&session(who));
        let mut counts = BTreeMap::new();
        for header in got.unwrap_or_default() {
            *counts.entry((header.track, header.layer)).or_default() += 1;
        }
        counts
    }

    pub(crate) fn crossed(&mut self) -> BTreeMap<(TrackId, u8), usize> {
        let mut counts = BTreeMap::new();
        for header in self.crossed.drain(..) {
            *counts.entry((header.track, header.layer)).or_default() += 1;
        }
        counts
    }
}
