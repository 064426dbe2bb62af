//! A participant and what its shell does: connections, a camera, a microphone, and coming
//! again where it was told that it is out.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use darktower_meeting::meeting::{Credential, Description};
use darktower_participant::{Command, Encoded, Event, Input, Link, Output, Participant, Phase};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::token::Role;

use super::WALL;
use super::messages::{Conn, MediaCredential, Message, Out, Place};
use crate::handler::ToParticipant;

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";
const FRAME_EVERY: Duration = Duration::from_millis(500);
const VIDEO: u32 = 1;
const AUDIO: u32 = 2;
/// How long a page waits for the answer to its lookup.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
const LOOKUP_AGAIN: Duration = Duration::from_millis(500);
/// Who sees for so long that it does not come back loads the page again, while things go wrong. In the quiet nobody does:
/// a participant comes back by itself.
const RELOADED_AFTER: Duration = Duration::from_secs(12);

pub(super) struct Person {
    pub(super) place: Place,
    pub(super) meeting: MeetingId,
    pub(super) core: Participant,
    /// Its id in this attendance, and those of attendances before.
    pub(super) id: ParticipantId,
    pub(super) is_host: bool,
    /// Whether it wants to be in the meeting.
    pub(super) wants: bool,
    pub(super) half_trip: Duration,
    pub(super) pictures: BTreeMap<u32, u64>,
    pub(super) phase: Phase,
    /// It wishes not to be heard.
    pub(super) is_muted: bool,
    /// Takes its seat again, after the page was loaded anew.
    resume: Option<String>,
    /// What it shows may be another picture than when that was looked at last.
    pub(super) has_news: bool,
    /// Nobody reloads pages any more.
    pub(super) is_quiet: bool,
    conns: [Option<(Conn, Place)>; 2],
    /// Those that are being opened beside silent ones.
    besides: [Option<(Conn, Place)>; 2],
    beside_stands: [bool; 2],
    /// It was closed since: heard of once it has taken the other one's place.
    beside_closed: [Option<Code>; 2],
    next_conn: Conn,
    lookup_at: Option<Duration>,
    lookup: u64,
    /// The lookup is for the way alone: where it is, it goes on.
    asks_the_way: bool,
    /// Since when it tries to come back.
    away_since: Option<Duration>,
    frame_at: Duration,
    key_wanted: bool,
    frames: u64,
    attendances: u8,
}

impl Person {
    pub(super) fn new(n: u8, meeting: MeetingId, is_host: bool, half_trip: Duration) -> Self {
        Self {
            place: Place::Person(n),
            meeting,
            core: Participant::new(),
            id: ParticipantId::default(),
            is_host,
            wants: false,
            half_trip,
            pictures: BTreeMap::new(),
            phase: Phase::Idle,
            is_muted: false,
            resume: None,
            has_news: false,
            is_quiet: false,
            conns: [None; 2],
            besides: [None; 2],
            beside_stands: [false; 2],
            beside_closed: [None; 2],
            next_conn: u64::from(n) << 32,
            lookup_at: None,
            lookup: 0,
            asks_the_way: false,
            away_since: None,
            frame_at: Duration::ZERO,
            key_wanted: true,
            frames: 0,
            attendances: 0,
        }
    }

    /// Goes to the meeting's page, as somebody new.
    pub(super) fn come(&mut self, now: Duration) {
        let Place::Person(n) = self.place else {
            return;
        };
        self.attendances += 1;
        self.wants = true;
        self.id = ParticipantId([
            n + 1,
            self.attendances,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
        ]);
        self.pictures.clear();
        self.is_muted = false;
        self.resume = None;
        self.lookup_at = Some(now);
        self.asks_the_way = false;
    }

    /// The page is loaded anew: of what it knew there is the resume token, and what it wishes. Whoever has none has not
    /// been in.
    pub(super) fn reload(&mut self, now: Duration, out: &mut Out) {
        if let Some(resume) = self.core.state().resume {
            self.resume = Some(resume.0);
        }
        if self.resume.is_none() {
            return;
        }
        for link in [Link::Signal, Link::Media] {
            self.keep(link, out);
            self.hang_up(link, out);
        }
        self.core = Participant::new();
        self.phase = Phase::Reconnecting;
        self.away_since = Some(now);
        self.key_wanted = true;
        self.lookup_at.get_or_insert(now);
        self.asks_the_way = false;
    }

    pub(super) fn mute(&mut self, now: Duration, muted: bool, out: &mut Out) {
        self.is_muted = muted;
        let mute = serde_json::json!({"do": "mute", "handle": AUDIO, "muted": muted});
        self.command(now, mute, out);
    }

    pub(super) fn go(&mut self, now: Duration, out: &mut Out) {
        self.wants = false;
        self.lookup_at = None;
        self.command(now, serde_json::json!({"do": "leave"}), out);
    }

    pub(super) fn command(&mut self, now: Duration, json: serde_json::Value, out: &mut Out) {
        match serde_json::from_value::<Command>(json) {
            Ok(command) => self.input(now, Input::Command(command), out),
            Err(error) => unreachable!("the cluster speaks well: {error}"),
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let frame = (self.phase == Phase::Joined).then_some(self.frame_at);
        let reload = self.reloads_at();
        [self.core.deadline(), self.lookup_at, frame, reload]
            .into_iter()
            .flatten()
            .min()
    }

    fn reloads_at(&self) -> Option<Duration> {
        let since = self.away_since.filter(|_| !self.is_quiet);
        since.map(|since| since + RELOADED_AFTER)
    }

    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) {
        if self.lookup_at.is_some_and(|at| at <= now) {
            self.lookup += 1;
            self.lookup_at = Some(now + LOOKUP_WITHIN);
            out.send(Place::Global, Message::Lookup(self.lookup, self.meeting));
        }
        if self.reloads_at().is_some_and(|at| at <= now) {
            self.away_since = Some(now);
            self.reload(now, out);
            return;
        }
        if self.phase == Phase::Joined && self.frame_at <= now {
            self.frame_at = now + FRAME_EVERY;
            self.capture(now, out);
        }
        if self.core.deadline().is_some_and(|at| at <= now) {
            self.input(now, Input::Tick, out);
        }
    }

    fn capture(&mut self, now: Duration, out: &mut Out) {
        let capture_us = now.as_micros() as u64;
        let key = std::mem::take(&mut self.key_wanted);
        self.frames += 1;
        for (handle, key, chunk) in [(VIDEO, key, [5; 200]), (AUDIO, true, [7; 200])] {
            let encoded = Encoded {
                handle,
                layer: 0,
                temporal: 0,
                key,
                capture_us,
                level: None,
                chunk: &chunk,
            };
            self.core.encoded(now, encoded);
        }
        self.drain(now, out);
    }

    pub(super) fn take(&mut self, now: Duration, message: Message, out: &mut Out) {
        match message {
            Message::Found(id, found) if id == self.lookup && self.lookup_at.is_some() => {
                match found {
                    Ok((description, controller, handler)) => {
                        self.lookup_at = None;
                        let access = self.access(&description, controller, handler);
                        if std::mem::take(&mut self.asks_the_way) {
                            let found = serde_json::json!({ "do": "found", "access": access });
                            return self.command(now, found, out);
                        }
                        self.enter(now, &access, out);
                    }
                    Err(_) => self.lookup_at = Some(now + LOOKUP_AGAIN),
                }
            }
            Message::Up(conn) => {
                let is_it = |link: &Link| matches!(self.besides[index(*link)], Some((beside, _)) if beside == conn);
                if let Some(link) = [Link::Signal, Link::Media].into_iter().find(is_it) {
                    self.beside_stands[index(link)] = true;
                    return self.input(now, Input::Beside(link), out);
                }
                if let Some(link) = self.link_of(conn) {
                    let max_datagram = 1200;
                    self.input(now, Input::LinkUp { link, max_datagram }, out);
                }
            }
            Message::Closed(conn, code) => {
                if let Some(link) = self.link_of(conn) {
                    self.conns[index(link)] = None;
                    return self.input(now, Input::LinkDown { link, code }, out);
                }
                self.closed_beside(conn, code);
            }
            Message::Said(conn, bytes) => {
                if let Some(link) = self.link_of(conn) {
                    let (stream, fin) = (0, false);
                    let input = Input::StreamData {
                        link,
                        stream,
                        bytes,
                        fin,
                    };
                    self.input(now, input, out);
                }
            }
            Message::ToPerson(conn, what) => {
                let Some(link) = self.link_of(conn) else {
                    return;
                };
                let input = match what {
                    ToParticipant::Control(bytes) => Input::StreamData {
                        link,
                        stream: 0,
                        bytes,
                        fin: false,
                    },
                    ToParticipant::Stream { stream, bytes, fin } => Input::StreamData {
                        link,
                        stream,
                        bytes,
                        fin,
                    },
                    ToParticipant::Reset { stream } => Input::StreamReset { link, stream },
                    ToParticipant::Datagram(bytes) => Input::Datagram(bytes),
                    ToParticipant::Closed(code) => Input::LinkDown { link, code },
                };
                self.input(now, input, out);
            }
            _ => {}
        }
    }

    fn closed_beside(&mut self, conn: Conn, code: Code) {
        for at in 0..self.besides.len() {
            match self.besides[at] {
                Some((beside, _)) if beside != conn => {}
                Some(_) if self.beside_stands[at] => self.beside_closed[at] = Some(code),
                _ => self.besides[at] = None,
            }
        }
    }

    /// The connection beside the silent one takes its place, with all that became of it.
    fn replace(&mut self, now: Duration, link: Link, out: &mut Out) {
        self.hang_up(link, out);
        let at = index(link);
        let closed = self.beside_closed[at].take();
        let (beside, stands) = (self.besides[at].take(), self.beside_stands[at]);
        self.conns[at] = beside;
        if beside.is_some() && stands {
            let max_datagram = 1200;
            self.input(now, Input::LinkUp { link, max_datagram }, out);
        }
        let closed = match beside {
            None => Some(Code::ConnectFailed),
            // Unless it went on to another one meanwhile.
            Some(_) => closed.filter(|_| self.conns[at] == beside),
        };
        if let Some(code) = closed {
            self.conns[at] = None;
            self.input(now, Input::LinkDown { link, code }, out);
        }
    }

    /// What the API's answer says.
    fn access(&self, keys: &Description, controller: Place, handler: Place) -> serde_json::Value {
        let role = if self.is_host { "host" } else { "guest" };
        let door = |place: Place| {
            let token = format!("{}.{}", self.meeting, self.id);
            serde_json::json!({ "url": place.url(), "token": token })
        };
        let info = keys.keys.as_ref().map(|(_, info)| STANDARD.encode(info));
        serde_json::json!({
            "meeting": {
                "id": self.meeting, "code": "abc-defg-hij", "title": "Simulated",
                "max_participants": 100, "key_in_link": true,
            },
            "participant_id": self.id,
            "role": role,
            "signal": door(controller),
            "media": door(handler),
            "key": {
                "founded": keys.keys.is_some(),
                "epoch": keys.keys.as_ref().map_or(0, |(epoch, _)| *epoch),
                "group_info": info,
            },
        })
    }

    fn enter(&mut self, now: Duration, access: &serde_json::Value, out: &mut Out) {
        if let Some(resume) = self.resume.take() {
            let resume = serde_json::json!({
                "do": "resume", "access": access, "resume": resume, "link_secret": SECRET,
            });
            self.command(now, resume, out);
            return self.offer(now, out);
        }
        let enter = serde_json::json!({ "do": "enter", "access": access, "link_secret": SECRET });
        self.command(now, enter, out);
        let name = format!("{:?}", self.place);
        let tracks = self.offers();
        let join = serde_json::json!({ "do": "join", "name": name, "tracks": tracks });
        self.command(now, join, out);
    }

    /// After a reload, camera and microphone are offered again, as they are wished to be.
    fn offer(&mut self, now: Duration, out: &mut Out) {
        for track in self.offers() {
            let publish = serde_json::json!({ "do": "publish", "track": track });
            self.command(now, publish, out);
        }
    }

    fn offers(&self) -> [serde_json::Value; 2] {
        [
            serde_json::json!({"handle": VIDEO, "source": "camera", "codec": "vp8", "width": 640, "height": 360}),
            serde_json::json!({"handle": AUDIO, "source": "microphone", "codec": "opus", "muted": self.is_muted}),
        ]
    }

    fn link_of(&self, conn: Conn) -> Option<Link> {
        let is_it =
            |link: &Link| matches!(self.conns[index(*link)], Some((mine, _)) if mine == conn);
        [Link::Signal, Link::Media].into_iter().find(is_it)
    }

    fn input(&mut self, now: Duration, input: Input, out: &mut Out) {
        let wall = WALL + now.as_millis() as u64;
        self.core.handle(now, wall, input);
        self.drain(now, out);
    }

    fn drain(&mut self, now: Duration, out: &mut Out) {
        while let Some(output) = self.core.poll() {
            self.perform(now, output, out);
        }
    }

    fn perform(&mut self, now: Duration, output: Output, out: &mut Out) {
        match output {
            Output::Connect {
                link, beside, url, ..
            } => {
                self.keep(link, out);
                if !beside {
                    self.hang_up(link, out);
                }
                let Some((place, name, value)) = Place::reached_by(&url.0) else {
                    return;
                };
                self.next_conn += 1;
                let conn = self.next_conn;
                self.beside_stands[index(link)] = false;
                self.beside_closed[index(link)] = None;
                let conns = match beside {
                    true => &mut self.besides,
                    false => &mut self.conns,
                };
                conns[index(link)] = Some((conn, place));
                let message = match link {
                    Link::Signal => Message::Open(conn, self.meeting, self.credential(name, value)),
                    Link::Media => Message::OpenMedia(
                        conn,
                        media_credential(self.meeting, self.id, name, value),
                    ),
                };
                // The handshake costs a round trip more than one message.
                out.sends.push((self.half_trip * 2, place, message));
            }
            Output::Keep { link } => self.keep(link, out),
            Output::Replace { link } => self.replace(now, link, out),
            Output::Close { link, .. } => {
                self.keep(link, out);
                self.hang_up(link, out);
            }
            Output::Write {
                link,
                stream,
                bytes,
                fin,
            } => {
                if let Some((conn, place)) = self.conns[index(link)] {
                    let message = match link {
                        Link::Signal => Message::Say(conn, bytes),
                        Link::Media => Message::ToHandler(conn, stream, bytes, fin),
                    };
                    out.send(place, message);
                }
            }
            Output::Datagram(bytes) => {
                if let Some((conn, place)) = self.conns[1] {
                    out.send(place, Message::DatagramToHandler(conn, bytes));
                }
            }
            Output::Video { track, .. } => *self.pictures.entry(track.0).or_default() += 1,
            Output::KeyFrame { .. } => self.key_wanted = true,
            Output::Event(Event::LookUp) if self.lookup_at.is_none() => {
                self.lookup_at = Some(now);
                self.asks_the_way = true;
            }
            Output::Changed => {
                self.has_news = true;
                let phase = self.core.state().phase;
                if phase == Phase::Joined && self.phase != phase {
                    self.frame_at = now;
                }
                self.away_since = match phase {
                    Phase::Reconnecting => self.away_since.or(Some(now)),
                    _ => None,
                };
                self.phase = phase;
            }
            _ => {}
        }
    }

    fn keep(&mut self, link: Link, out: &mut Out) {
        if let Some((conn, place)) = self.besides[index(link)].take() {
            out.send(place, Message::Hangup(conn));
        }
    }

    fn hang_up(&mut self, link: Link, out: &mut Out) {
        if let Some((conn, place)) = self.conns[index(link)].take() {
            out.send(place, Message::Hangup(conn));
        }
    }

    fn credential(&self, name: &str, value: &str) -> Credential {
        let role = match self.is_host {
            true => Role::Host,
            false => Role::Guest,
        };
        match name {
            "token" => Credential::Token {
                participant: self.id,
                role,
            },
            _ => Credential::Resume(URL_SAFE_NO_PAD.decode(value).unwrap_or_default().into()),
        }
    }

    /// The code it is out with, where it is.
    pub(super) fn failure(&self) -> Option<Code> {
        if self.lookup_at.is_some() && !self.asks_the_way {
            // What it shows is of the attendance before.
            return None;
        }
        let state = self.core.state();
        let code = state
            .error
            .and_then(|problem| Code::from_number(problem.number));
        match state.phase {
            Phase::Failed => Some(code.unwrap_or(Code::Internal)),
            Phase::Ended => Some(Code::MeetingEnded),
            // The keys locked it out.
            Phase::Left if self.wants => Some(code.unwrap_or(Code::CommitRefused)),
            _ => None,
        }
    }
}

fn media_credential(
    meeting: MeetingId,
    id: ParticipantId,
    name: &str,
    value: &str,
) -> MediaCredential {
    match name {
        "token" => MediaCredential::Token(meeting, id),
        _ => MediaCredential::Ticket(URL_SAFE_NO_PAD.decode(value).unwrap_or_default()),
    }
}

fn index(link: Link) -> usize {
    match link {
        Link::Signal => 0,
        Link::Media => 1,
    }
}
