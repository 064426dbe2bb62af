//! A meeting of one publisher and any number of subscribers, on links we control.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darktower_link::{Conditions, Discipline, Link};
use darktower_media::egress::{self, Egress};
use darktower_media::forwarder::{self, Command, Forwarder, SessionId};
use darktower_media::publisher::{self, Encoded, Publisher};
use darktower_media::subscriber::{self, Opened, Subscriber};
use darktower_media::{Kind, Opener, Sealer, Shape};
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder, STREAM_GROUP, put_entry_length};

use crate::sealing::{ALICE, Keys};

pub(crate) const CAMERA: TrackId = TrackId(10);
pub(crate) const MICROPHONE: TrackId = TrackId(11);
pub(crate) const STEP: Duration = Duration::from_millis(1);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Fin,
    Reset,
}

/// A connection's one direction: a reliable link for each stream, so that streams do
/// not wait for one another, and one for datagrams.
pub(crate) struct Wire {
    pub(crate) conditions: Conditions,
    seed: u64,
    streams: BTreeMap<u64, Link<Piece>>,
    datagrams: Link<Bytes>,
}

impl Wire {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            seed,
            streams: BTreeMap::new(),
            datagrams: Link::new(Discipline::Datagram, conditions, seed),
        }
    }

    pub(crate) fn send(&mut self, now: Duration, stream: u64, piece: Piece) {
        let size = match &piece {
            Piece::Data(bytes) => bytes.len(),
            _ => 1,
        };
        let seed = self.seed + stream;
        let link = self.streams.entry(stream);
        let link = link.or_insert_with(|| Link::new(Discipline::Stream, self.conditions, seed));
        link.send(now, size, piece);
    }

    pub(crate) fn poll(&mut self, now: Duration) -> Option<(u64, Piece)> {
        self.streams
            .iter_mut()
            .find_map(|(&stream, link)| link.poll(now).map(|piece| (stream, piece)))
    }
}

pub(crate) struct Viewer {
    pub(crate) who: ParticipantId,
    pub(crate) session: SessionId,
    pub(crate) keys: Keys,
    pub(crate) egress: Egress<Bytes>,
    pub(crate) subscriber: Subscriber,
    pub(crate) down: Wire,
    /// False: takes nothing of what is written.
    pub(crate) reads: bool,
    pub(crate) frames: Vec<(Duration, Opened)>,
    pub(crate) closed: bool,
    opened: BTreeMap<u64, bool>,
}

pub(crate) struct Meeting {
    pub(crate) now: Duration,
    pub(crate) keys: Keys,
    pub(crate) publisher: Publisher,
    pub(crate) forwarder: Forwarder<Bytes>,
    pub(crate) up: Wire,
    pub(crate) viewers: Vec<Viewer>,
    /// Key frames that the encoder was asked for, with the time.
    pub(crate) asked: Vec<Duration>,
    pub(crate) refused: Vec<darktower_wire::Code>,
    /// Requests on their way up from the handler.
    requests: VecDeque<(Duration, TrackId, u8)>,
    decoders: BTreeMap<u64, GroupDecoder>,
    next_session: u64,
    key_wanted: bool,
    frame_number: u64,
}

impl Meeting {
    pub(crate) fn new(up: Conditions) -> Self {
        let publisher = Publisher::new(publisher::Config::default(), 1);
        let mut meeting = Self {
            now: ms(1000),
            keys: Keys::of(ALICE),
            publisher,
            forwarder: Forwarder::new(forwarder::Config::default()),
            up: Wire::new(up, 77),
            viewers: Vec::new(),
            asked: Vec::new(),
            refused: Vec::new(),
            requests: VecDeque::new(),
            decoders: BTreeMap::new(),
            next_session: 2,
            key_wanted: false,
            frame_number: 0,
        };
        meeting.say(Command::Seat {
            seat: ALICE,
            ticket: None,
            joined: true,
        });
        for (id, kind) in [(CAMERA, Kind::Video), (MICROPHONE, Kind::Audio)] {
            let (seat, shape) = (ALICE, Shape::of_layers(1));
            meeting.say(Command::Track {
                id,
                seat,
                kind,
                shape,
                via: None,
            });
        }
        let (session, seat) = (SessionId(1), ALICE);
        meeting.forward(forwarder::Input::SessionOpened { session, seat });
        let now = meeting.now;
        let publisher = &mut meeting.publisher;
        publisher.handle(now, publisher::Input::Connected { max_datagram: 1100 });
        for (handle, track, kind) in [(1, CAMERA, Kind::Video), (2, MICROPHONE, Kind::Audio)] {
            let shape = Shape::of_layers(1);
            publisher.handle(
                now,
                publisher::Input::Published {
                    handle,
                    track,
                    kind,
                    shape,
                },
            );
        }
        meeting
    }

    pub(crate) fn say(&mut self, command: Command) {
        let fence = Fence(1);
        self.forward(forwarder::Input::Command { fence, command });
    }

    pub(crate) fn forward(&mut self, input: forwarder::Input) {
        self.forwarder.handle(self.now, input);
        self.drain_forwarder();
    }

    /// Somebody joins and is told of both tracks; says which viewer that is.
    pub(crate) fn join(&mut self, who: ParticipantId, down: Conditions) -> usize {
        self.say(Command::Seat {
            seat: who,
            ticket: None,
            joined: true,
        });
        self.viewers.push(Viewer {
            who,
            session: SessionId(0),
            keys: Keys::of(who),
            egress: Egress::new(egress::Config::default()),
            subscriber: Subscriber::new(subscriber::Config::default()),
            down: Wire::new(down, 1000),
            reads: true,
            frames: Vec::new(),
            closed: false,
            opened: BTreeMap::new(),
        });
        let at = self.viewers.len() - 1;
        self.connect(at);
        for (id, kind) in [(CAMERA, Kind::Video), (MICROPHONE, Kind::Audio)] {
            let track = subscriber::Track {
                id,
                owner: ALICE,
                kind,
                muted: false,
            };
            self.tell(at, subscriber::Input::Track(track));
        }
        at
    }

    /// A viewer opens a (new) media session.
    pub(crate) fn connect(&mut self, at: usize) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let viewer = &mut self.viewers[at];
        let old = std::mem::replace(&mut viewer.session, session);
        viewer.egress = Egress::new(egress::Config::default());
        viewer.down = Wire::new(viewer.down.conditions, 1000 + session.0);
        viewer.opened.clear();
        let seat = viewer.who;
        self.tell(at, subscriber::Input::Disconnected);
        self.tell(at, subscriber::Input::Connected);
        let code = darktower_wire::Code::ConnectionLost;
        self.forward(forwarder::Input::SessionClosed { session: old, code });
        self.forward(forwarder::Input::SessionOpened { session, seat });
    }

    pub(crate) fn tell(&mut self, at: usize, input: subscriber::Input) {
        let Viewer {
            subscriber, keys, ..
        } = &mut self.viewers[at];
        subscriber.handle(self.now, input, keys as &mut dyn Opener);
        self.drain_subscriber(at);
    }

    /// Runs for `time`, with 25 pictures of 2 kB and 50 packets of sound a second.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            let at = self.now.as_millis();
            if at.is_multiple_of(40) {
                self.picture(2000);
            }
            if at.is_multiple_of(20) {
                self.sound();
            }
            self.step();
        }
    }

    pub(crate) fn picture(&mut self, size: usize) {
        self.frame_number += 1;
        let mut data = vec![0x5a; size];
        data[..8].copy_from_slice(&self.frame_number.to_be_bytes());
        let key = std::mem::take(&mut self.key_wanted);
        let (now, keys) = (self.now, &mut self.keys as &mut dyn Sealer);
        let encoded = encoded(1, key, now, &data);
        let _ = self.publisher.frame(now, encoded, keys);
        self.drain_publisher();
    }

    pub(crate) fn sound(&mut self) {
        let (now, keys) = (self.now, &mut self.keys as &mut dyn Sealer);
        let _ = self
            .publisher
            .frame(now, encoded(2, true, now, &[9; 80]), keys);
        self.drain_publisher();
    }

    fn step(&mut self) {
        let now = self.now;
        self.publisher.handle(now, publisher::Input::Tick);
        self.drain_publisher();
        while self.requests.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, track, layer)) = self.requests.pop_front() {
                self.publisher
                    .handle(now, publisher::Input::KeyFrameWanted { track, layer });
                self.drain_publisher();
            }
        }
        let mut out = Vec::new();
        while let Some((stream, piece)) = self.up.poll(now) {
            let decoder = self.decoders.entry(stream).or_default();
            let mut frames = Vec::new();
            if let Piece::Data(bytes) = piece {
                decoder.push(&bytes);
                while let Ok(Some(frame)) = decoder.next_frame() {
                    frames.push(frame);
                }
            }
            for frame in frames {
                self.ingress(Kind::Video, frame, &mut out);
            }
        }
        while let Some(bytes) = self.up.datagrams.poll(now) {
            if let Ok(frame) = Frame::parse(bytes) {
                self.ingress(Kind::Audio, frame, &mut out);
            }
        }
        for delivery in out {
            self.deliver(delivery);
        }
        self.forwarder.handle(now, forwarder::Input::Tick);
        self.drain_forwarder();
        for at in 0..self.viewers.len() {
            self.viewers[at].egress.handle(now, egress::Input::Tick);
            self.drain_egress(at);
            while let Some((stream, piece)) = self.viewers[at].down.poll(now) {
                let input = match piece {
                    Piece::Data(bytes) => subscriber::Input::StreamData {
                        stream,
                        bytes,
                        fin: false,
                    },
                    Piece::Fin => {
                        let bytes = Bytes::new();
                        subscriber::Input::StreamData {
                            stream,
                            bytes,
                            fin: true,
                        }
                    }
                    Piece::Reset => subscriber::Input::StreamReset { stream },
                };
                self.tell(at, input);
            }
            while let Some(bytes) = self.viewers[at].down.datagrams.poll(now) {
                self.tell(at, subscriber::Input::Datagram(bytes));
            }
            self.tell(at, subscriber::Input::Tick);
            let due = self.viewers[at].subscriber.deadline();
            assert!(
                due.is_none_or(|due| due > now),
                "a deadline that a tick does not settle"
            );
        }
    }

    fn ingress(&mut self, kind: Kind, frame: Frame, out: &mut Vec<forwarder::Delivery<Bytes>>) {
        let (now, from) = (self.now, SessionId(1));
        let taken = self
            .forwarder
            .on_frame(now, from, kind, &frame.header, &frame.bytes, out);
        self.refused.extend(taken.err());
    }

    fn deliver(&mut self, delivery: forwarder::Delivery<Bytes>) {
        let viewer = self
            .viewers
            .iter_mut()
            .position(|one| one.session == delivery.session);
        let at = viewer.expect("a delivery for a session that is there");
        let forwarder::Delivery {
            kind,
            header,
            payload,
            ..
        } = delivery;
        self.viewers[at]
            .egress
            .push(self.now, kind, &header, payload);
        self.drain_egress(at);
    }

    pub(crate) fn drain_publisher(&mut self) {
        while let Some(output) = self.publisher.poll() {
            match output {
                publisher::Output::OpenStream { .. } => {}
                publisher::Output::Write { stream, bytes, fin } => {
                    if !bytes.is_empty() {
                        self.up.send(self.now, stream, Piece::Data(bytes));
                    }
                    if fin {
                        self.up.send(self.now, stream, Piece::Fin);
                    }
                }
                publisher::Output::Reset { stream, .. } => {
                    self.up.send(self.now, stream, Piece::Reset);
                }
                publisher::Output::Datagram(bytes) => {
                    self.up.datagrams.send(self.now, bytes.len(), bytes);
                }
                publisher::Output::Encode { .. } => {}
                publisher::Output::KeyFrame { .. } => {
                    self.key_wanted = true;
                    self.asked.push(self.now);
                }
            }
        }
    }

    fn drain_forwarder(&mut self) {
        while let Some(output) = self.forwarder.poll() {
            match output {
                forwarder::Output::Deliver(delivery) => self.deliver(delivery),
                forwarder::Output::KeyFrameWanted { track, layer, .. } => {
                    let at = self.now + self.up.conditions.delay;
                    self.requests.push_back((at, track, layer));
                }
                forwarder::Output::Refused { code, .. } => self.refused.push(code),
                forwarder::Output::Close { session, .. } => {
                    let closed = self.viewers.iter_mut().find(|one| one.session == session);
                    if let Some(viewer) = closed {
                        viewer.closed = true;
                    }
                }
                forwarder::Output::End { session, track } => {
                    let viewer = self.viewers.iter().position(|one| one.session == session);
                    if let Some(at) = viewer {
                        let egress = &mut self.viewers[at].egress;
                        egress.handle(self.now, egress::Input::End { track });
                        self.drain_egress(at);
                    }
                }
                _ => {}
            }
        }
    }

    fn drain_egress(&mut self, at: usize) {
        let now = self.now;
        let viewer = &mut self.viewers[at];
        while let Some(output) = viewer.egress.poll() {
            match output {
                egress::Output::Open { .. } => {}
                egress::Output::Write { stream, payload } if viewer.reads => {
                    let mut bytes = BytesMut::new();
                    if viewer.opened.insert(stream, true).is_none() {
                        bytes.extend([STREAM_GROUP]);
                    }
                    put_entry_length(&mut bytes, payload.len());
                    bytes.extend_from_slice(&payload);
                    viewer.down.send(now, stream, Piece::Data(bytes.freeze()));
                    let bytes = payload.len();
                    viewer
                        .egress
                        .handle(now, egress::Input::Drained { stream, bytes });
                }
                egress::Output::Write { .. } => {}
                egress::Output::Finish { stream } => viewer.down.send(now, stream, Piece::Fin),
                egress::Output::Reset { stream, .. } => viewer.down.send(now, stream, Piece::Reset),
                egress::Output::Datagram(bytes) => {
                    viewer.down.datagrams.send(now, bytes.len(), bytes);
                }
                egress::Output::Close(_) => viewer.closed = true,
            }
        }
    }

    fn drain_subscriber(&mut self, at: usize) {
        while let Some(output) = self.viewers[at].subscriber.poll() {
            match output {
                subscriber::Output::Frame(opened) => {
                    let now = self.now;
                    self.viewers[at].frames.push((now, opened));
                }
                // A page that hangs says nothing either.
                subscriber::Output::KeyFrameWanted { .. } if !self.viewers[at].reads => {}
                subscriber::Output::KeyFrameWanted { track, .. } => {
                    let session = self.viewers[at].session;
                    self.forward(forwarder::Input::KeyFrameWanted {
                        session,
                        track,
                        layer: 0,
                    });
                }
                subscriber::Output::Stop { stream, .. } => {
                    let (now, viewer) = (self.now, &mut self.viewers[at]);
                    viewer.egress.handle(now, egress::Input::Stopped { stream });
                }
            }
        }
    }
}

impl Viewer {
    /// The pictures delivered so far: number and whether key.
    pub(crate) fn pictures(&self) -> Vec<(Duration, u64, bool)> {
        let pictures = self
            .frames
            .iter()
            .filter(|(_, one)| one.header.track == CAMERA);
        pictures
            .map(|(at, one)| {
                let number = one.data[..8].try_into().map(u64::from_be_bytes);
                (*at, number.expect("eight bytes"), one.header.key)
            })
            .collect()
    }

    pub(crate) fn sounds(&self) -> Vec<u64> {
        let sounds = self
            .frames
            .iter()
            .filter(|(_, one)| one.header.track == MICROPHONE);
        sounds.map(|(_, one)| one.header.frame).collect()
    }

    /// Asserts that a decoder that gets these pictures never lacks one: it starts
    /// with a key frame, and goes on by one or by a key frame.
    pub(crate) fn assert_decodable(&self) {
        let mut last: Option<u64> = None;
        for (_, number, key) in self.pictures() {
            assert!(key || last == Some(number - 1), "{last:?} then {number}");
            assert!(
                last.is_none_or(|last| number > last),
                "{last:?} then {number}"
            );
            last = Some(number);
        }
    }
}

pub(crate) fn encoded(handle: u32, key: bool, now: Duration, data: &[u8]) -> Encoded<'_> {
    Encoded {
        handle,
        layer: 0,
        temporal: 0,
        key,
        capture_us: now.as_micros() as u64,
        level: None,
        data,
    }
}

impl Wire {
    /// Every stream there is now gets these conditions; new ones do not.
    pub(crate) fn stall(&mut self, now: Duration, conditions: Conditions) {
        for link in self.streams.values_mut() {
            link.set(now, conditions);
        }
    }
}
