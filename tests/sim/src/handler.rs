//! The media handler of the world: one forwarder, and for each session what a
//! shell keeps of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darktower_media::egress::{self, Egress};
use darktower_media::forwarder::{self, Delivery, Forwarder, SessionId};
use darktower_media::{Bitrate, Kind, LayerShape, Shape, allocate, demand};
use darktower_meeting::meeting::MediaOrder;
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder, STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{
    self, Allocation, ClientControl, KeyFrameWanted, LayersWanted, Pong, ServerControl, Share,
    Speakers, client_control, server_control,
};
use darktower_wire::signal;
use sha2::{Digest, Sha256};

/// What goes to a participant over its media link.
#[derive(Debug, Clone)]
pub(crate) enum ToParticipant {
    Control(Bytes),
    Stream {
        stream: u64,
        bytes: Bytes,
        fin: bool,
    },
    Reset {
        stream: u64,
    },
    Datagram(Bytes),
    Closed(Code),
}

/// What goes to another handler by a trunk that this one dialled.
pub(crate) enum ByTrunk {
    Dial(SessionId, forwarder::Trunk),
    HangUp(SessionId),
    Say(SessionId, Bytes),
}

struct Session {
    egress: Egress<Bytes>,
    groups: BTreeMap<u64, GroupDecoder>,
    control: Decoder,
}

impl Session {
    fn new(is_trunk: bool) -> Self {
        let config = egress::Config {
            layers_together: is_trunk,
            ..egress::Config::default()
        };
        Self {
            egress: Egress::new(config),
            groups: BTreeMap::new(),
            control: Decoder::new(MAX_MEDIA_CONTROL),
        }
    }
}

/// The handler.
pub(crate) struct Handler {
    forwarder: Forwarder<Bytes>,
    sessions: BTreeMap<SessionId, Session>,
    tickets: BTreeMap<[u8; 32], ParticipantId>,
    pub(crate) out: Vec<(SessionId, ToParticipant)>,
    pub(crate) by_trunk: Vec<ByTrunk>,
    /// Frames refused, by code.
    pub(crate) refused: BTreeMap<Code, u64>,
    /// Which session got a frame of which track.
    pub(crate) forwarded: Vec<(SessionId, TrackId)>,
    is_fenced: bool,
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self {
            forwarder: Forwarder::new(forwarder::Config::default()),
            sessions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            out: Vec::new(),
            by_trunk: Vec::new(),
            refused: BTreeMap::new(),
            forwarded: Vec::new(),
            is_fenced: false,
        }
    }

    pub(crate) fn seat_of(&self, ticket: &[u8]) -> Option<ParticipantId> {
        self.tickets
            .get(&<[u8; 32]>::from(Sha256::digest(ticket)))
            .copied()
    }

    pub(crate) fn order(&mut self, now: Duration, order: MediaOrder) {
        self.command(now, Fence(1), command(order));
    }

    /// What an owner with this fence says. False where a newer one has spoken.
    pub(crate) fn command(
        &mut self,
        now: Duration,
        fence: Fence,
        command: forwarder::Command,
    ) -> bool {
        self.is_fenced = false;
        self.tell(now, forwarder::Input::Command { fence, command });
        !self.is_fenced
    }

    pub(crate) fn opened(
        &mut self,
        now: Duration,
        session: SessionId,
        seat: ParticipantId,
        is_trunk: bool,
    ) {
        self.sessions.insert(session, Session::new(is_trunk));
        self.tell(now, forwarder::Input::SessionOpened { session, seat });
    }

    pub(crate) fn trunk_up(&mut self, now: Duration, session: SessionId) {
        self.sessions.insert(session, Session::new(true));
        self.tell(now, forwarder::Input::TrunkOpened { session });
    }

    pub(crate) fn trunk_down(&mut self, now: Duration, session: SessionId) {
        self.sessions.remove(&session);
        self.tell(now, forwarder::Input::TrunkClosed { session });
    }

    pub(crate) fn closed(&mut self, now: Duration, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            let code = Code::ConnectionLost;
            self.tell(now, forwarder::Input::SessionClosed { session, code });
        }
    }

    pub(crate) fn control(&mut self, now: Duration, session: SessionId, bytes: &[u8]) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        state.control.push(bytes);
        let mut asked = Vec::new();
        while let Ok(Some(message)) = state.control.next_message::<ClientControl>() {
            asked.extend(message.body);
        }
        for body in asked {
            match body {
                client_control::Body::KeyFrameWanted(wanted) => {
                    let track = TrackId(wanted.track);
                    self.tell(
                        now,
                        forwarder::Input::KeyFrameWanted {
                            session,
                            track,
                            layer: wanted.layer as u8,
                        },
                    );
                }
                client_control::Body::Ping(ping) => {
                    let pong = server_control::Body::Pong(Pong {
                        sent_us: ping.sent_us,
                    });
                    self.say(session, pong);
                }
                client_control::Body::Demand(demand) => {
                    let views = demand.views.iter().map(view).collect();
                    self.tell(now, forwarder::Input::Demand { session, views });
                }
                client_control::Body::Hello(_) => {}
                client_control::Body::LayersWanted(wanted) => {
                    let (track, layers) = (TrackId(wanted.track), wanted.layers as u16);
                    let wants = forwarder::Input::LayersWanted {
                        session,
                        track,
                        layers,
                    };
                    self.tell(now, wants);
                }
            }
        }
    }

    pub(crate) fn stream(
        &mut self,
        now: Duration,
        session: SessionId,
        stream: u64,
        bytes: &[u8],
        fin: bool,
    ) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let decoder = state.groups.entry(stream).or_default();
        decoder.push(bytes);
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = decoder.next_frame() {
            frames.push(frame);
        }
        if fin {
            state.groups.remove(&stream);
        }
        for frame in frames {
            self.frame(now, session, Kind::Video, frame);
        }
    }

    pub(crate) fn datagram(&mut self, now: Duration, session: SessionId, bytes: Bytes) {
        if let Ok(frame) = Frame::parse(bytes) {
            self.frame(now, session, Kind::Audio, frame);
        }
    }

    /// When the handler has something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.forwarder.deadline()
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.tell(now, forwarder::Input::Tick);
    }

    fn frame(&mut self, now: Duration, session: SessionId, kind: Kind, frame: Frame) {
        let mut deliveries = Vec::new();
        let (header, bytes) = (frame.header, frame.bytes);
        let result = self
            .forwarder
            .on_frame(now, session, kind, &header, &bytes, &mut deliveries);
        if let Err(code) = result {
            *self.refused.entry(code).or_default() += 1;
        }
        for delivery in deliveries {
            self.deliver(now, delivery);
        }
        self.drain(now);
    }

    fn tell(&mut self, now: Duration, input: forwarder::Input) {
        self.forwarder.handle(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Duration) {
        while let Some(output) = self.forwarder.poll() {
            match output {
                forwarder::Output::Deliver(delivery) => self.deliver(now, delivery),
                forwarder::Output::End { session, track } => {
                    if let Some(state) = self.sessions.get_mut(&session) {
                        state.egress.handle(now, egress::Input::End { track });
                    }
                    self.write(session);
                }
                forwarder::Output::KeyFrameWanted {
                    session,
                    track,
                    layer,
                } => {
                    let wanted = KeyFrameWanted {
                        track: track.0,
                        layer: u32::from(layer),
                    };
                    self.say_publisher(
                        session,
                        server_control::Body::KeyFrameWanted(wanted),
                        client_control::Body::KeyFrameWanted(wanted),
                    );
                }
                forwarder::Output::LayersWanted {
                    session,
                    track,
                    layers,
                } => {
                    let wanted = LayersWanted {
                        track: track.0,
                        layers: u32::from(layers),
                    };
                    self.say_publisher(
                        session,
                        server_control::Body::LayersWanted(wanted),
                        client_control::Body::LayersWanted(wanted),
                    );
                }
                forwarder::Output::Speakers { session, tracks } => {
                    let tracks = tracks.iter().map(|track| track.0).collect();
                    let speakers = server_control::Body::Speakers(Speakers { tracks });
                    self.say(session, speakers);
                }
                forwarder::Output::Allocation {
                    session,
                    estimate,
                    shares,
                } => {
                    let allocation = Allocation {
                        estimate_bps: estimate.bps(),
                        shares: shares.iter().map(share).collect(),
                    };
                    self.say(session, server_control::Body::Allocation(allocation));
                }
                // Nothing bounds the paths of the world.
                forwarder::Output::Probe { .. } => {}
                forwarder::Output::Close { session, code } => {
                    self.sessions.remove(&session);
                    self.out.push((session, ToParticipant::Closed(code)));
                }
                forwarder::Output::TicketKnown { ticket, seat, .. } => {
                    self.tickets.insert(ticket, seat);
                }
                forwarder::Output::TicketGone { ticket } => {
                    self.tickets.remove(&ticket);
                }
                forwarder::Output::Refused { code, .. } => {
                    *self.refused.entry(code).or_default() += 1;
                }
                forwarder::Output::Dial { session, trunk } => {
                    self.by_trunk.push(ByTrunk::Dial(session, trunk));
                }
                forwarder::Output::HangUp { session } => {
                    self.sessions.remove(&session);
                    self.by_trunk.push(ByTrunk::HangUp(session));
                }
                forwarder::Output::FenceRefused { .. } => self.is_fenced = true,
                // The controller of the world needs no news of media sessions.
                forwarder::Output::SeatConnected { .. }
                | forwarder::Output::SeatDisconnected { .. }
                | forwarder::Output::Over => {}
            }
        }
    }

    fn deliver(&mut self, now: Duration, delivery: Delivery<Bytes>) {
        let Some(state) = self.sessions.get_mut(&delivery.session) else {
            return;
        };
        let forwarded = (delivery.session, delivery.header.track);
        self.forwarded.push(forwarded);
        state
            .egress
            .push(now, delivery.kind, &delivery.header, delivery.payload);
        self.write(delivery.session);
    }

    fn write(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        // Streams that the handler opens are odd at the participant's end.
        let number = |stream: u64| 2 * stream + 1;
        while let Some(output) = state.egress.poll() {
            let to = match output {
                egress::Output::Open { stream, .. } => ToParticipant::Stream {
                    stream: number(stream),
                    bytes: Bytes::from_static(&[STREAM_GROUP]),
                    fin: false,
                },
                egress::Output::Write { stream, payload } => {
                    let len = payload.len();
                    let mut bytes = BytesMut::with_capacity(8 + len);
                    put_entry_length(&mut bytes, len);
                    bytes.extend_from_slice(&payload);
                    state.egress.handle(
                        Duration::ZERO,
                        egress::Input::Drained { stream, bytes: len },
                    );
                    let (stream, bytes) = (number(stream), bytes.freeze());
                    ToParticipant::Stream {
                        stream,
                        bytes,
                        fin: false,
                    }
                }
                egress::Output::Finish { stream } => {
                    let (stream, bytes) = (number(stream), Bytes::new());
                    ToParticipant::Stream {
                        stream,
                        bytes,
                        fin: true,
                    }
                }
                egress::Output::Reset { stream, .. } => ToParticipant::Reset {
                    stream: number(stream),
                },
                egress::Output::Datagram(bytes) => ToParticipant::Datagram(bytes),
                egress::Output::Close(code) => ToParticipant::Closed(code),
            };
            self.out.push((session, to));
        }
    }

    /// Tells a track's publisher something, or the handler that it comes from.
    fn say_publisher(
        &mut self,
        session: SessionId,
        word: server_control::Body,
        by_trunk: client_control::Body,
    ) {
        match session.is_dialled() {
            true => {
                let message = ClientControl {
                    body: Some(by_trunk),
                };
                let bytes = framing::encode(&message);
                self.by_trunk.push(ByTrunk::Say(session, bytes));
            }
            false => self.say(session, word),
        }
    }

    fn say(&mut self, session: SessionId, body: server_control::Body) {
        let bytes = framing::encode(&ServerControl { body: Some(body) });
        self.out.push((session, ToParticipant::Control(bytes)));
    }
}

/// What a controller says, as the forwarder hears it.
pub(crate) fn command(order: MediaOrder) -> forwarder::Command {
    use forwarder::Command;
    match order {
        MediaOrder::Seat {
            seat,
            ticket_sha256,
            joined,
        } => {
            let ticket = <[u8; 32]>::try_from(&ticket_sha256[..]).ok();
            Command::Seat {
                seat,
                ticket,
                joined,
            }
        }
        MediaOrder::SeatGone { seat, code } => Command::SeatGone { seat, code },
        MediaOrder::Track {
            track,
            seat,
            video,
            screen,
            layers,
            via,
        } => Command::Track {
            id: track,
            seat,
            via,
            kind: if video { Kind::Video } else { Kind::Audio },
            shape: Shape {
                screen,
                layers: layers.iter().map(layer_shape).collect(),
            },
        },
        MediaOrder::TrackGone { track } => Command::TrackGone { id: track },
        MediaOrder::Subscription {
            seat,
            track,
            wanted,
        } => Command::Subscription {
            seat,
            track,
            wanted,
        },
        MediaOrder::Trunk {
            node,
            ticket_sha256,
        } => Command::Trunk {
            node,
            ticket: <[u8; 32]>::try_from(&ticket_sha256[..]).unwrap_or_default(),
        },
        MediaOrder::Neighbour {
            node,
            url,
            certificate_sha256: _,
            ticket,
        } => {
            let ticket = <[u8; 32]>::try_from(&ticket[..]).unwrap_or_default();
            let trunk = forwarder::Trunk {
                url,
                certificate_sha256: Vec::new(),
                ticket: ticket.into(),
            };
            Command::Neighbour { node, trunk }
        }
        MediaOrder::MeetingOver => Command::Over,
    }
}

fn layer_shape(layer: &signal::Layer) -> LayerShape {
    LayerShape {
        width_px: layer.width_px,
        height_px: layer.height_px,
        max_bitrate: Bitrate::from_bps(layer.max_bitrate_bps.into()),
        temporal_layers: u8::try_from(layer.temporal_layers.max(1)).unwrap_or(u8::MAX),
    }
}

fn view(view: &media_control::View) -> demand::View {
    demand::View {
        track: TrackId(view.track),
        width_px: view.width_px,
        height_px: view.height_px,
        pinned: view.pinned,
    }
}

fn share(share: &allocate::Share) -> Share {
    Share {
        track: share.track.0,
        layer: u32::from(share.layer),
        temporal: u32::from(share.temporal),
        paused: share.paused,
    }
}
