//! The media handler of the world: one forwarder, and for each session what a
//! shell keeps of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darktower_media::Kind;
use darktower_media::egress::{self, Egress};
use darktower_media::forwarder::{self, Delivery, Forwarder, SessionId};
use darktower_meeting::meeting::MediaOrder;
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::ids::{Fence, ParticipantId};
use darktower_wire::media::{Frame, GroupDecoder, STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{
    ClientControl, KeyFrameWanted, Pong, ServerControl, client_control, server_control,
};
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

struct Session {
    egress: Egress<Bytes>,
    groups: BTreeMap<u64, GroupDecoder>,
    control: Decoder,
}

/// The handler.
pub(crate) struct Handler {
    forwarder: Forwarder<Bytes>,
    sessions: BTreeMap<SessionId, Session>,
    tickets: BTreeMap<[u8; 32], ParticipantId>,
    pub(crate) out: Vec<(SessionId, ToParticipant)>,
    /// Frames refused, by code.
    pub(crate) refused: BTreeMap<Code, u64>,
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self {
            forwarder: Forwarder::new(forwarder::Config::default()),
            sessions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            out: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(crate) fn seat_of(&self, ticket: &[u8]) -> Option<ParticipantId> {
        self.tickets
            .get(&<[u8; 32]>::from(Sha256::digest(ticket)))
            .copied()
    }

    pub(crate) fn order(&mut self, now: Duration, order: MediaOrder) {
        let command = match order {
            MediaOrder::Seat {
                seat,
                ticket_sha256,
                joined,
            } => {
                let ticket = <[u8; 32]>::try_from(&ticket_sha256[..]).ok();
                forwarder::Command::Seat {
                    seat,
                    ticket,
                    joined,
                }
            }
            MediaOrder::SeatGone { seat, code } => forwarder::Command::SeatGone { seat, code },
            MediaOrder::Track {
                track,
                seat,
                video,
                layers,
            } => forwarder::Command::Track {
                id: track,
                seat,
                kind: if video { Kind::Video } else { Kind::Audio },
                layers: u8::try_from(layers.max(1)).unwrap_or(u8::MAX),
            },
            MediaOrder::TrackGone { track } => forwarder::Command::TrackGone { id: track },
            MediaOrder::Subscription {
                seat,
                track,
                wanted,
            } => forwarder::Command::Subscription {
                seat,
                track,
                wanted,
            },
            MediaOrder::MeetingOver => forwarder::Command::Over,
        };
        self.tell(
            now,
            forwarder::Input::Command {
                fence: Fence(1),
                command,
            },
        );
    }

    pub(crate) fn opened(&mut self, now: Duration, session: SessionId, seat: ParticipantId) {
        let egress = Egress::new(egress::Config::default());
        let control = Decoder::new(MAX_MEDIA_CONTROL);
        self.sessions.insert(
            session,
            Session {
                egress,
                groups: BTreeMap::new(),
                control,
            },
        );
        self.tell(now, forwarder::Input::SessionOpened { session, seat });
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
                    let track = darktower_wire::ids::TrackId(wanted.track);
                    self.tell(now, forwarder::Input::KeyFrameWanted { session, track });
                }
                client_control::Body::Ping(ping) => {
                    let pong = server_control::Body::Pong(Pong {
                        sent_us: ping.sent_us,
                    });
                    self.say(session, pong);
                }
                client_control::Body::Hello(_) => {}
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
                    self.say(session, server_control::Body::KeyFrameWanted(wanted));
                }
                forwarder::Output::Close { session, code } => {
                    self.sessions.remove(&session);
                    self.out.push((session, ToParticipant::Closed(code)));
                }
                forwarder::Output::TicketKnown { ticket, seat } => {
                    self.tickets.insert(ticket, seat);
                }
                forwarder::Output::TicketGone { ticket } => {
                    self.tickets.remove(&ticket);
                }
                forwarder::Output::Refused { code, .. } => {
                    *self.refused.entry(code).or_default() += 1;
                }
                // The controller of the world needs no news of media sessions.
                forwarder::Output::SeatConnected { .. }
                | forwarder::Output::SeatDisconnected { .. }
                | forwarder::Output::FenceRefused { .. }
                | forwarder::Output::Over => {}
            }
        }
    }

    fn deliver(&mut self, now: Duration, delivery: Delivery<Bytes>) {
        let Some(state) = self.sessions.get_mut(&delivery.session) else {
            return;
        };
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

    fn say(&mut self, session: SessionId, body: server_control::Body) {
        let bytes = framing::encode(&ServerControl { body: Some(body) });
        self.out.push((session, ToParticipant::Control(bytes)));
    }
}
