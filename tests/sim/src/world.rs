//! One meeting, its controller, its handler and everybody in it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use darktower_link::Random;
use darktower_media::forwarder::SessionId as MediaSession;
use darktower_meeting::Meeting;
use darktower_meeting::meeting::{self, Credential, Entropy, SessionId};
use darktower_participant::{Command, Encoded, Input, Link, Output, Participant, State};
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_SIGNAL};
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal::{self, ClientMessage};
use darktower_wire::token::Role;

use crate::handler::{Handler, ToParticipant};
use crate::network::Queue;

const WALL: u64 = 1_790_000_000_000;
const FRAME_EVERY: Duration = Duration::from_millis(33);
const PACKET_EVERY: Duration = Duration::from_millis(20);
const VIDEO: u32 = 1;
const AUDIO: u32 = 2;

/// A participant as the world sees it.
pub struct End {
    /// The core.
    pub participant: Participant,
    /// Pictures opened, by track.
    pub pictures: BTreeMap<u32, u64>,
    /// Audio packets opened, by track.
    pub packets: BTreeMap<u32, u64>,
    /// When the join was clicked, and when the first picture was opened.
    pub clicked: Option<Duration>,
    /// First picture of anybody.
    pub first_picture: Option<Duration>,
    round_trip: Duration,
    signal: Option<SessionId>,
    media: Option<MediaSession>,
    /// Grows with each connection, so that news of an older one are dropped.
    connection: [u64; 2],
    sending: bool,
    key_wanted: bool,
    frames: u64,
    next_frame: Duration,
    next_packet: Duration,
}

impl End {
    /// Camera and microphone go on from `now`; what they missed is not made up for.
    pub fn start_at(&mut self, now: Duration) {
        self.next_frame = now;
        self.next_packet = now;
    }
}

enum Event {
    SignalOpened {
        end: usize,
        connection: u64,
        credential: Credential,
    },
    MediaOpened {
        end: usize,
        connection: u64,
        url: String,
    },
    Up {
        end: usize,
        link: Link,
        connection: u64,
    },
    Down {
        end: usize,
        link: Link,
        connection: u64,
        code: Code,
    },
    ToController {
        session: SessionId,
        bytes: Bytes,
    },
    ToHandler {
        session: MediaSession,
        stream: u64,
        bytes: Bytes,
        fin: bool,
    },
    DatagramToHandler {
        session: MediaSession,
        bytes: Bytes,
    },
    SignalGone {
        session: SessionId,
    },
    MediaGone {
        session: MediaSession,
    },
    Signalled {
        end: usize,
        connection: u64,
        bytes: Bytes,
    },
    Media {
        end: usize,
        connection: u64,
        what: ToParticipant,
    },
}

/// A meeting in virtual time.
pub struct World {
    /// Since the beginning.
    pub now: Duration,
    /// Everybody who was ever there, in order of coming.
    pub ends: Vec<End>,
    /// The controller's end.
    pub meeting: Meeting,
    handler: Handler,
    queue: Queue<Event>,
    random: Random,
    decoders: BTreeMap<SessionId, Decoder>,
    signals: BTreeMap<SessionId, usize>,
    medias: BTreeMap<MediaSession, usize>,
    next_session: u64,
    key_in_link: bool,
    /// Somebody's picture of it all may differ.
    changed: bool,
    /// Whether cameras and microphones run.
    pub capturing: bool,
    /// Flips a bit of what the handler sends to participants, one in so many.
    pub tamper_one_in: Option<u64>,
}

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";

impl World {
    /// An empty meeting whose dice fall as `seed` says.
    pub fn new(seed: u64) -> Self {
        let record = signal::Meeting {
            id: MeetingId([9; 16]).to_vec().into(),
            code: "abc-defg-hij".to_owned(),
            title: "Simulated".to_owned(),
            max_participants: 100,
            key_in_link: true,
        };
        let meeting = Meeting::new(meeting::Config::default(), record, Duration::ZERO, WALL)
            .unwrap_or_else(|error| unreachable!("the id has 16 bytes: {error}"));
        let mut world = Self {
            now: Duration::ZERO,
            ends: Vec::new(),
            meeting,
            handler: Handler::new(),
            queue: Queue::default(),
            random: Random::new(seed, 0),
            decoders: BTreeMap::new(),
            signals: BTreeMap::new(),
            medias: BTreeMap::new(),
            next_session: 1,
            key_in_link: true,
            changed: true,
            capturing: true,
            tamper_one_in: None,
        };
        let assignment = signal::MediaAssignment {
            url: "https://media/v1/media".into(),
            ..Default::default()
        };
        world
            .meeting
            .handle(world.now, meeting::Input::Handler(Some(assignment)));
        world.drain_meeting();
        world
    }

    fn wall(&self) -> u64 {
        WALL + self.now.as_millis() as u64
    }

    fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.random.next_u64() as u8)
    }

    /// Somebody opens the link `round_trip` away; cold, they join at once.
    pub fn enter(&mut self, round_trip: Duration) -> usize {
        let id = ParticipantId(self.random_bytes());
        let access = self.access(id);
        let end = self.ends.len();
        self.ends.push(End {
            participant: Participant::new(),
            pictures: BTreeMap::new(),
            packets: BTreeMap::new(),
            clicked: None,
            first_picture: None,
            round_trip,
            signal: None,
            media: None,
            connection: [0; 2],
            sending: false,
            key_wanted: true,
            frames: 0,
            next_frame: self.now,
            next_packet: self.now,
        });
        let command = serde_json::json!({
            "do": "enter", "access": access, "link_secret": SECRET,
        });
        self.command(end, command);
        end
    }

    /// Joins under a name, with a camera and a microphone.
    pub fn join(&mut self, end: usize) {
        self.ends[end].clicked = Some(self.now);
        self.ends[end].sending = true;
        let now = self.now;
        self.ends[end].start_at(now);
        let offers = serde_json::json!([
            {"handle": VIDEO, "source": "camera", "codec": "vp8", "width": 640, "height": 360},
            {"handle": AUDIO, "source": "microphone", "codec": "opus"},
        ]);
        let command = serde_json::json!({
            "do": "join", "name": format!("Participant {end}"), "tracks": offers,
        });
        self.command(end, command);
    }

    /// Any wish in JSON.
    pub fn command(&mut self, end: usize, json: serde_json::Value) {
        match serde_json::from_value::<Command>(json) {
            Ok(command) => self.input(end, Input::Command(command)),
            Err(error) => unreachable!("the world speaks well: {error}"),
        }
    }

    /// Everything of this participant's network is gone without a word; the
    /// servers notice after a while, the participant when it next listens.
    pub fn cut(&mut self, end: usize) {
        for link in [Link::Signal, Link::Media] {
            self.hang_up(end, link);
            let connection = self.ends[end].connection[index(link)];
            let code = Code::ConnectionLost;
            self.queue.send(
                self.now,
                Event::Down {
                    end,
                    link,
                    connection,
                    code,
                },
            );
        }
    }

    /// Somebody's picture of it all.
    pub fn state(&self, end: usize) -> State {
        self.ends[end].participant.state()
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.step();
        }
        self.now = until;
    }

    /// Lets time pass until something is true of what participants show; false where `limit` passed first.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        self.changed = true;
        loop {
            if std::mem::take(&mut self.changed) && done(self) {
                return true;
            }
            let Some(at) = self.next_at().filter(|at| *at <= until) else {
                return false;
            };
            self.now = at.max(self.now);
            self.step();
        }
    }

    fn next_at(&self) -> Option<Duration> {
        let ends = self.ends.iter().flat_map(|end| {
            let sending =
                (end.sending && self.capturing).then(|| end.next_frame.min(end.next_packet));
            [end.participant.deadline(), sending]
        });
        let others = [
            self.queue.next_at(),
            self.meeting.deadline(),
            self.handler.deadline(),
        ];
        ends.chain(others).flatten().min()
    }

    fn step(&mut self) {
        while let Some(event) = self.queue.take(self.now) {
            self.happen(event);
        }
        if self.meeting.deadline().is_some_and(|at| at <= self.now) {
            self.meeting.handle(self.now, meeting::Input::Tick);
            self.drain_meeting();
        }
        if self.handler.deadline().is_some_and(|at| at <= self.now) {
            self.handler.tick(self.now);
            self.drain_handler();
        }
        for end in 0..self.ends.len() {
            self.capture(end);
            if self.ends[end]
                .participant
                .deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.input(end, Input::Tick);
            }
        }
    }

    /// What camera and microphone do.
    fn capture(&mut self, at: usize) {
        let now = self.now;
        let end = &mut self.ends[at];
        if !end.sending || !self.capturing {
            return;
        }
        let capture_us = now.as_micros() as u64;
        if end.next_frame <= now {
            end.next_frame += FRAME_EVERY;
            let key = std::mem::take(&mut end.key_wanted);
            let chunk = vec![end.frames as u8; if key { 3000 } else { 700 }];
            end.frames += 1;
            let encoded = Encoded {
                handle: VIDEO,
                layer: 0,
                temporal: 0,
                key,
                capture_us,
                level: None,
                chunk: &chunk,
            };
            end.participant.encoded(now, encoded);
        }
        if end.next_packet <= now {
            end.next_packet += PACKET_EVERY;
            let encoded = Encoded {
                handle: AUDIO,
                layer: 0,
                temporal: 0,
                key: true,
                capture_us,
                level: None,
                chunk: &[7; 80],
            };
            end.participant.encoded(now, encoded);
        }
        self.drain_end(at);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::SignalOpened {
                end,
                connection,
                credential,
            } => {
                if self.ends[end].connection[0] != connection {
                    return;
                }
                let session = SessionId(self.next_session);
                self.next_session += 1;
                self.decoders.insert(session, Decoder::new(MAX_SIGNAL));
                self.signals.insert(session, end);
                self.ends[end].signal = Some(session);
                let (resume, ticket) = (self.random_bytes(), self.random_bytes());
                let entropy = Entropy { resume, ticket };
                let opened = meeting::Input::Opened {
                    session,
                    credential,
                    entropy,
                };
                self.meeting.handle(self.now, opened);
                self.drain_meeting();
            }
            Event::MediaOpened {
                end,
                connection,
                url,
            } => {
                if self.ends[end].connection[1] != connection {
                    return;
                }
                let session = MediaSession(self.next_session);
                self.next_session += 1;
                match self.media_seat(&url) {
                    Some(seat) => {
                        self.medias.insert(session, end);
                        self.ends[end].media = Some(session);
                        self.handler.opened(self.now, session, seat);
                        self.drain_handler();
                    }
                    None => {
                        let (link, code) = (Link::Media, Code::TicketUnknown);
                        self.queue.send(
                            self.now,
                            Event::Down {
                                end,
                                link,
                                connection,
                                code,
                            },
                        );
                    }
                }
            }
            Event::Up {
                end,
                link,
                connection,
            } => {
                if self.ends[end].connection[index(link)] == connection {
                    self.input(
                        end,
                        Input::LinkUp {
                            link,
                            max_datagram: 1200,
                        },
                    );
                }
            }
            Event::Down {
                end,
                link,
                connection,
                code,
            } => {
                if self.ends[end].connection[index(link)] == connection {
                    self.input(end, Input::LinkDown { link, code });
                }
            }
            Event::ToController { session, bytes } => self.signalled(session, &bytes),
            Event::ToHandler {
                session,
                stream: 0,
                bytes,
                ..
            } => {
                self.handler.control(self.now, session, &bytes);
                self.drain_handler();
            }
            Event::ToHandler {
                session,
                stream,
                bytes,
                fin,
            } => {
                self.handler.stream(self.now, session, stream, &bytes, fin);
                self.drain_handler();
            }
            Event::DatagramToHandler { session, bytes } => {
                self.handler.datagram(self.now, session, bytes);
                self.drain_handler();
            }
            Event::SignalGone { session } => {
                if self.signals.remove(&session).is_some() {
                    self.decoders.remove(&session);
                    self.meeting
                        .handle(self.now, meeting::Input::Closed { session });
                    self.drain_meeting();
                }
            }
            Event::MediaGone { session } => {
                self.medias.remove(&session);
                self.handler.closed(self.now, session);
                self.drain_handler();
            }
            Event::Signalled {
                end,
                connection,
                bytes,
            } => {
                if self.ends[end].connection[0] == connection {
                    let (link, stream) = (Link::Signal, 0);
                    self.input(
                        end,
                        Input::StreamData {
                            link,
                            stream,
                            bytes,
                            fin: false,
                        },
                    );
                }
            }
            Event::Media {
                end,
                connection,
                what,
            } => {
                if self.ends[end].connection[1] == connection {
                    self.media_came(end, what);
                }
            }
        }
    }

    fn media_came(&mut self, end: usize, what: ToParticipant) {
        let link = Link::Media;
        let input = match what {
            ToParticipant::Control(bytes) => Input::StreamData {
                link,
                stream: 0,
                bytes,
                fin: false,
            },
            ToParticipant::Stream { stream, bytes, fin } => {
                let bytes = self.tampered(bytes);
                Input::StreamData {
                    link,
                    stream,
                    bytes,
                    fin,
                }
            }
            ToParticipant::Reset { stream } => Input::StreamReset { link, stream },
            ToParticipant::Datagram(bytes) => Input::Datagram(self.tampered(bytes)),
            ToParticipant::Closed(code) => Input::LinkDown { link, code },
        };
        self.input(end, input);
    }

    fn tampered(&mut self, bytes: Bytes) -> Bytes {
        let hit = self
            .tamper_one_in
            .is_some_and(|one_in| self.random.next_u64().is_multiple_of(one_in));
        if !hit || bytes.len() < 40 {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        // In the payload: what the seal is for.
        let at = bytes.len() - 1 - (self.random.next_u64() % 16) as usize;
        bytes[at] ^= 1;
        bytes.into()
    }

    fn signalled(&mut self, session: SessionId, bytes: &[u8]) {
        let Some(decoder) = self.decoders.get_mut(&session) else {
            return;
        };
        decoder.push(bytes);
        let mut messages = Vec::new();
        while let Ok(Some(message)) = decoder.next_message::<ClientMessage>() {
            messages.push(message);
        }
        for message in messages {
            self.meeting
                .handle(self.now, meeting::Input::Message { session, message });
            self.drain_meeting();
        }
    }

    fn input(&mut self, end: usize, input: Input) {
        let (now, wall) = (self.now, self.wall());
        self.ends[end].participant.handle(now, wall, input);
        self.drain_end(end);
    }

    fn drain_end(&mut self, at: usize) {
        while let Some(output) = self.ends[at].participant.poll() {
            self.perform(at, output);
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let now = self.now;
        let half = self.ends[at].round_trip / 2;
        match output {
            Output::Connect { link, url, .. } => {
                self.hang_up(at, link);
                let connection = self.ends[at].connection[index(link)];
                // Two round trips to `ready`; the server knows half of one before.
                let opened = now + half * 3;
                match link {
                    Link::Signal => {
                        let credential = self.credential(&url);
                        let opening = Event::SignalOpened {
                            end: at,
                            connection,
                            credential,
                        };
                        self.queue.send(opened, opening);
                    }
                    Link::Media => {
                        self.queue.send(
                            opened,
                            Event::MediaOpened {
                                end: at,
                                connection,
                                url,
                            },
                        );
                    }
                }
                self.queue.send(
                    now + half * 4,
                    Event::Up {
                        end: at,
                        link,
                        connection,
                    },
                );
            }
            Output::Close { link, .. } => self.hang_up(at, link),
            Output::Write {
                link: Link::Signal,
                bytes,
                ..
            } => {
                if let Some(session) = self.ends[at].signal {
                    self.queue
                        .send(now + half, Event::ToController { session, bytes });
                }
            }
            Output::Write {
                link: Link::Media,
                stream,
                bytes,
                fin,
            } => {
                if let Some(session) = self.ends[at].media {
                    let event = Event::ToHandler {
                        session,
                        stream,
                        bytes,
                        fin,
                    };
                    self.queue.send(now + half, event);
                }
            }
            Output::Datagram(bytes) => {
                if let Some(session) = self.ends[at].media {
                    self.queue
                        .send(now + half, Event::DatagramToHandler { session, bytes });
                }
            }
            Output::Video { track, .. } => {
                let end = &mut self.ends[at];
                *end.pictures.entry(track.0).or_default() += 1;
                if end.first_picture.is_none() {
                    end.first_picture = Some(now);
                    self.changed = true;
                }
            }
            Output::Audio { track, .. } => {
                *self.ends[at].packets.entry(track.0).or_default() += 1;
            }
            Output::KeyFrame { .. } => self.ends[at].key_wanted = true,
            Output::OpenUni { .. }
            | Output::OpenBi { .. }
            | Output::Reset { .. }
            | Output::Stop { .. }
            | Output::Event(_) => {}
            Output::Changed => self.changed = true,
        }
    }

    /// This end's connection is over; the server hears of it half a round trip
    /// later.
    fn hang_up(&mut self, at: usize, link: Link) {
        let end = &mut self.ends[at];
        end.connection[index(link)] += 1;
        let later = self.now + end.round_trip / 2;
        let (signal, media) = match link {
            Link::Signal => (end.signal.take(), None),
            Link::Media => (None, end.media.take()),
        };
        if let Some(session) = signal {
            self.queue.send(later, Event::SignalGone { session });
        }
        if let Some(session) = media {
            self.queue.send(later, Event::MediaGone { session });
        }
    }

    fn drain_meeting(&mut self) {
        while let Some(output) = self.meeting.poll() {
            match output {
                meeting::Output::Send { session, message } => {
                    if let Some(&end) = self.signals.get(&session) {
                        let connection = self.ends[end].connection[0];
                        let bytes = framing::encode(&message);
                        let at = self.now + self.ends[end].round_trip / 2;
                        self.queue.send(
                            at,
                            Event::Signalled {
                                end,
                                connection,
                                bytes,
                            },
                        );
                    }
                }
                meeting::Output::Close { session, code } => {
                    if let Some(end) = self.signals.remove(&session) {
                        let connection = self.ends[end].connection[0];
                        let at = self.now + self.ends[end].round_trip / 2;
                        let link = Link::Signal;
                        self.queue.send(
                            at,
                            Event::Down {
                                end,
                                link,
                                connection,
                                code,
                            },
                        );
                    }
                }
                meeting::Output::Media(order) => {
                    self.handler.order(self.now, order);
                    self.drain_handler();
                }
                meeting::Output::Persist(_) | meeting::Output::Over { .. } => {}
            }
        }
    }

    fn drain_handler(&mut self) {
        for (session, what) in std::mem::take(&mut self.handler.out) {
            let Some(&end) = self.medias.get(&session) else {
                continue;
            };
            let connection = self.ends[end].connection[1];
            let at = self.now + self.ends[end].round_trip / 2;
            self.queue.send(
                at,
                Event::Media {
                    end,
                    connection,
                    what,
                },
            );
        }
    }

    /// What the API would answer.
    fn access(&self, id: ParticipantId) -> serde_json::Value {
        let keys = self.meeting.description().keys;
        let door = |service: &str| serde_json::json!({ "url": format!("https://{service}/v1/{service}"), "token": id });
        serde_json::json!({
            "meeting": {
                "id": self.meeting.id(), "code": "abc-defg-hij", "title": "Simulated",
                "max_participants": 100, "key_in_link": self.key_in_link,
            },
            "participant_id": id,
            "role": "guest",
            "signal": door("signal"),
            "media": door("media"),
            "key": {
                "founded": keys.is_some(),
                "epoch": keys.as_ref().map_or(0, |(epoch, _)| *epoch),
                "group_info": keys.map(|(_, info)| STANDARD.encode(info)),
            },
        })
    }

    /// Tokens of this world are the participant's id.
    fn credential(&self, url: &str) -> Credential {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        match query.split_once('=') {
            Some(("token", id)) => Credential::Token {
                participant: id.parse().unwrap_or_default(),
                role: Role::Guest,
            },
            Some((_, token)) => {
                Credential::Resume(URL_SAFE_NO_PAD.decode(token).unwrap_or_default().into())
            }
            None => Credential::Resume(Bytes::new()),
        }
    }

    fn media_seat(&self, url: &str) -> Option<ParticipantId> {
        let (_, query) = url.split_once('?')?;
        match query.split_once('=')? {
            ("token", id) => id.parse().ok(),
            ("ticket", ticket) => self.handler.seat_of(&URL_SAFE_NO_PAD.decode(ticket).ok()?),
            _ => None,
        }
    }
}

fn index(link: Link) -> usize {
    match link {
        Link::Signal => 0,
        Link::Media => 1,
    }
}
