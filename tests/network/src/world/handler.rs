//! The media handler: the forwarder of one meeting, and a session for each
//! participant, as the service wires them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use darktower_media::arrivals::Arrivals;
use darktower_media::demand::View;
use darktower_media::egress::{self, Egress};
use darktower_media::forwarder::{self, Command, Delivery, Forwarder, SessionId};
use darktower_media::path::Upkeep;
use darktower_media::{Bitrate, Kind, path};
use darktower_net::wt::{Paths, SharedPath};
use darktower_wire::datagram::{self, Datagram};
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder, STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{
    self as say, ClientControl, KeyFrameWanted, Pong, ServerControl, Welcome, client_control,
    server_control,
};

use crate::quic::{End, Heard, Stream};

pub(crate) struct Session {
    pub(crate) end: End,
    seat: ParticipantId,
    id: SessionId,
    paths: Arc<Paths>,
    /// Once there is a connection.
    path: Option<SharedPath>,
    upkeep: Upkeep,
    arrivals: Arrivals,
    egress: Egress<Bytes>,
    groups: BTreeMap<Stream, GroupDecoder>,
    control: Decoder,
    is_open: bool,
    begun: BTreeMap<Stream, bool>,
}

pub(crate) struct Handler {
    forwarder: Forwarder<Bytes>,
    pub(crate) sessions: Vec<Session>,
    deliveries: Vec<Delivery<Bytes>>,
    /// When forwarder and egresses want to be called.
    due: Option<Duration>,
}

impl Session {
    pub(crate) fn new(end: End, paths: Arc<Paths>, seat: ParticipantId, number: u64) -> Self {
        Self {
            end,
            seat,
            id: SessionId(number),
            paths,
            path: None,
            upkeep: Upkeep::new(Duration::ZERO),
            arrivals: Arrivals::new(),
            egress: Egress::new(egress::Config::default()),
            groups: BTreeMap::new(),
            control: Decoder::new(MAX_MEDIA_CONTROL),
            is_open: false,
            begun: BTreeMap::new(),
        }
    }

    fn say(&mut self, body: server_control::Body) {
        let bytes = framing::encode(&ServerControl { body: Some(body) });
        self.end.write(Stream::CONTROL, bytes, 0);
    }

    /// Lets the path be tested; what the meeting is to be told of it.
    fn attend_path(&mut self, now: Duration) -> Option<(Bitrate, path::Loss)> {
        let path = self.path.as_ref().filter(|_| self.is_open)?;
        let chores = self.upkeep.attend(now, &mut path.get())?;
        self.end.set_send_window(chores.hold);
        if chores.padding > 0 {
            self.end.datagram(datagram::padding(chores.padding));
        }
        self.end.touch();
        let (estimate, loss) = chores.belief?;
        self.egress.estimate(estimate);
        self.egress.redundancy(path::redundancy(loss));
        chores.is_news.then_some((estimate, loss))
    }

    fn deadline(&self) -> Option<Duration> {
        let path = self.is_open.then(|| self.upkeep.deadline()).flatten();
        let all = [self.egress.deadline(), self.arrivals.deadline(), path];
        all.into_iter().flatten().min()
    }

    /// What the egress decided.
    fn drain(&mut self) {
        while let Some(output) = self.egress.poll() {
            match output {
                egress::Output::Open { stream, priority } => {
                    self.begun.insert(Stream(stream), false);
                    self.end.open(Stream(stream), priority);
                }
                egress::Output::Write { stream, payload } => {
                    let mut entry = BytesMut::with_capacity(payload.len() + 9);
                    let begun = self.begun.entry(Stream(stream)).or_default();
                    if !std::mem::replace(begun, true) {
                        entry.extend_from_slice(&[STREAM_GROUP]);
                    }
                    put_entry_length(&mut entry, payload.len());
                    entry.extend_from_slice(&payload);
                    self.end
                        .write(Stream(stream), entry.freeze(), payload.len());
                }
                egress::Output::Finish { stream } => self.end.finish(Stream(stream)),
                egress::Output::Reset { stream, code } => {
                    self.begun.remove(&Stream(stream));
                    self.end.reset(Stream(stream), code.number());
                }
                egress::Output::Datagram(bytes) => self.end.datagram(bytes),
                egress::Output::Close(_) => self.is_open = false,
            }
        }
    }
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self {
            forwarder: Forwarder::new(forwarder::Config::default()),
            sessions: Vec::new(),
            deliveries: Vec::new(),
            due: None,
        }
    }

    /// What the meeting's controller says.
    pub(crate) fn command(&mut self, now: Duration, command: Command) -> anyhow::Result<()> {
        let fence = Fence(1);
        self.tell(now, forwarder::Input::Command { fence, command })
    }

    fn tell(&mut self, now: Duration, input: forwarder::Input) -> anyhow::Result<()> {
        self.forwarder.handle(now, input);
        self.drain(now)
    }

    fn at(&self, session: SessionId) -> Option<usize> {
        self.sessions.iter().position(|it| it.id == session)
    }

    fn drain(&mut self, now: Duration) -> anyhow::Result<()> {
        while let Some(output) = self.forwarder.poll() {
            match output {
                forwarder::Output::Deliver(delivery) => self.deliver(now, delivery),
                forwarder::Output::End { session, track } => {
                    if let Some(at) = self.at(session) {
                        let session = &mut self.sessions[at];
                        session.egress.handle(now, egress::Input::End { track });
                        session.drain();
                    }
                }
                forwarder::Output::KeyFrameWanted {
                    session,
                    track,
                    layer,
                } => {
                    let (track, layer) = (track.0, u32::from(layer));
                    let wanted = KeyFrameWanted { track, layer };
                    self.say(session, server_control::Body::KeyFrameWanted(wanted));
                }
                forwarder::Output::Close { session, code } => {
                    anyhow::bail!("session {} closed with {}", session.0, code.name());
                }
                forwarder::Output::LayersWanted {
                    session,
                    track,
                    layers,
                } => {
                    let (track, layers) = (track.0, u32::from(layers));
                    let wanted = say::LayersWanted { track, layers };
                    self.say(session, server_control::Body::LayersWanted(wanted));
                }
                forwarder::Output::Speakers { session, tracks } => {
                    let tracks = tracks.iter().map(|track| track.0).collect();
                    let speakers = say::Speakers { tracks };
                    self.say(session, server_control::Body::Speakers(speakers));
                }
                forwarder::Output::Allocation {
                    session,
                    estimate,
                    shares,
                } => {
                    let shares = shares.iter().map(|share| say::Share {
                        track: share.track.0,
                        layer: share.layer.into(),
                        temporal: share.temporal.into(),
                        paused: share.paused,
                    });
                    let allocation = say::Allocation {
                        estimate_bps: estimate.bps(),
                        shares: shares.collect(),
                    };
                    self.say(session, server_control::Body::Allocation(allocation));
                }
                forwarder::Output::Probe { session, to } => {
                    if let Some(at) = self.at(session) {
                        self.sessions[at].upkeep.probe(to);
                        self.attended(now, at)?;
                    }
                }
                // Refusals are counted by the service and answered by nobody.
                forwarder::Output::Refused { .. } => {}
                forwarder::Output::Dial { .. } | forwarder::Output::HangUp { .. } => {
                    anyhow::bail!("this world has one handler")
                }
                forwarder::Output::FenceRefused { .. } => anyhow::bail!("fence refused"),
                forwarder::Output::TicketKnown { .. }
                | forwarder::Output::TicketGone { .. }
                | forwarder::Output::SeatConnected { .. }
                | forwarder::Output::SeatDisconnected { .. }
                | forwarder::Output::Over => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, session: SessionId, body: server_control::Body) {
        if let Some(at) = self.at(session) {
            self.sessions[at].say(body);
        }
    }

    fn deliver(&mut self, now: Duration, delivery: Delivery<Bytes>) {
        if let Some(at) = self.at(delivery.session) {
            let Delivery {
                kind,
                header,
                payload,
                ..
            } = delivery;
            let session = &mut self.sessions[at];
            session.egress.push(now, kind, &header, payload);
            session.drain();
        }
    }

    /// Takes in what every session's connection has heard, and what time has brought.
    pub(crate) fn step(&mut self, now: Duration) -> anyhow::Result<()> {
        if self.deadline().is_none_or(|due| due > now) {
            return Ok(());
        }
        for at in 0..self.sessions.len() {
            self.sessions[at].end.settle(now);
            while let Some(heard) = self.sessions[at].end.heard() {
                self.hear(now, at, heard)?;
            }
        }
        if self.forwarder.deadline().is_some_and(|due| due <= now) {
            self.tell(now, forwarder::Input::Tick)?;
        }
        for at in 0..self.sessions.len() {
            self.tick(now, at)?;
        }
        let sessions = self.sessions.iter().filter_map(Session::deadline);
        self.due = sessions.chain(self.forwarder.deadline()).min();
        Ok(())
    }

    fn tick(&mut self, now: Duration, at: usize) -> anyhow::Result<()> {
        let session = &mut self.sessions[at];
        if session.egress.deadline().is_some_and(|due| due <= now) {
            session.egress.handle(now, egress::Input::Tick);
            session.drain();
        }
        if let Some(feedback) = session.arrivals.poll(now) {
            session.say(server_control::Body::Feedback(feedback.into()));
        }
        self.attended(now, at)
    }

    /// Looks after the path of a session to which something has happened.
    fn attended(&mut self, now: Duration, at: usize) -> anyhow::Result<()> {
        let session = &mut self.sessions[at];
        let Some((estimate, loss)) = session.attend_path(now) else {
            return Ok(());
        };
        let session = session.id;
        let input = forwarder::Input::Path {
            session,
            estimate,
            loss,
        };
        self.tell(now, input)
    }

    fn hear(&mut self, now: Duration, at: usize, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Connected { .. } => {
                let session = &mut self.sessions[at];
                session.is_open = true;
                session.path = session.paths.take();
                let (session, seat) = (session.id, session.seat);
                self.tell(now, forwarder::Input::SessionOpened { session, seat })?;
                self.attended(now, at)
            }
            Heard::Data {
                stream: Stream::CONTROL,
                bytes,
                ..
            } => self.control(now, at, &bytes),
            Heard::Data { stream, bytes, fin } => {
                let Session {
                    groups, arrivals, ..
                } = &mut self.sessions[at];
                let decoder = groups.entry(stream).or_default();
                arrivals.piece(now, bytes.len());
                decoder.push(&bytes);
                let mut frames = Vec::new();
                while let Some(frame) = decoder.next_frame()? {
                    arrivals.frame(now, &frame.header);
                    frames.push(frame);
                }
                if let Some(header) = decoder.partial() {
                    arrivals.frame(now, &header);
                }
                if fin {
                    groups.remove(&stream);
                }
                for frame in frames {
                    self.frame(now, at, Kind::Video, &frame);
                }
                Ok(())
            }
            Heard::Reset { stream } => {
                self.sessions[at].groups.remove(&stream);
                Ok(())
            }
            Heard::Datagram(bytes) => {
                let datagram = Datagram::parse(bytes)?;
                self.sessions[at].arrivals.datagram(now, &datagram);
                for frame in datagram.into_frames() {
                    self.frame(now, at, Kind::Audio, &frame);
                }
                Ok(())
            }
            Heard::Drained {
                stream: Stream(stream),
                bytes,
            } => {
                let input = egress::Input::Drained { stream, bytes };
                let session = &mut self.sessions[at];
                session.egress.handle(now, input);
                session.drain();
                Ok(())
            }
            Heard::Stopped {
                stream: Stream(stream),
            } => {
                let session = &mut self.sessions[at];
                let input = egress::Input::Stopped { stream };
                session.egress.handle(now, input);
                session.drain();
                Ok(())
            }
            Heard::Lost => {
                let session = &mut self.sessions[at];
                session.is_open = false;
                let session = session.id;
                let code = darktower_wire::Code::ConnectionLost;
                self.tell(now, forwarder::Input::SessionClosed { session, code })
            }
        }
    }

    fn frame(&mut self, now: Duration, at: usize, kind: Kind, frame: &Frame) {
        let from = self.sessions[at].id;
        let mut out = std::mem::take(&mut self.deliveries);
        let (header, bytes) = (&frame.header, &frame.bytes);
        // A refused frame goes nowhere: repeats of a bundle are refused all the time.
        let _ = self
            .forwarder
            .on_frame(now, from, kind, header, bytes, &mut out);
        for delivery in out.drain(..) {
            self.deliver(now, delivery);
        }
        self.deliveries = out;
    }

    fn control(&mut self, now: Duration, at: usize, bytes: &[u8]) -> anyhow::Result<()> {
        self.sessions[at].control.push(bytes);
        while let Some(message) = self.sessions[at].control.next_message::<ClientControl>()? {
            let session = self.sessions[at].id;
            match message.body.context("an empty message")? {
                client_control::Body::Hello(_) => {
                    self.sessions[at].say(server_control::Body::Welcome(Welcome {}));
                }
                client_control::Body::Ping(ping) => {
                    let sent_us = ping.sent_us;
                    self.sessions[at].say(server_control::Body::Pong(Pong { sent_us }));
                }
                client_control::Body::KeyFrameWanted(wanted) => {
                    let track = TrackId(wanted.track);
                    self.tell(
                        now,
                        forwarder::Input::KeyFrameWanted {
                            session,
                            track,
                            layer: 0,
                        },
                    )?;
                }
                client_control::Body::Demand(demand) => {
                    let views = demand.views.iter().map(|view| View {
                        track: TrackId(view.track),
                        width_px: view.width_px,
                        height_px: view.height_px,
                        pinned: view.pinned,
                    });
                    let views = views.collect();
                    self.tell(now, forwarder::Input::Demand { session, views })?;
                }
                client_control::Body::LayersWanted(_) => {
                    anyhow::bail!("a participant speaks as a trunk")
                }
            }
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let ends = self.sessions.iter().filter_map(|it| it.end.deadline());
        ends.chain(self.due).min()
    }

    /// What the handler believes of the path to a participant, in bits a second.
    pub(crate) fn belief(&self, person: usize) -> u64 {
        let path = self.sessions[person].path.as_ref();
        path.map_or(0, |path| path.get().estimate().bps())
    }
}
