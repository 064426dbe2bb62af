//! A media handler: a forwarder for each meeting, the calls of controllers, the sessions of
//! participants. Beside each forwarder stands a plain model of who may get what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use darktower_media::forwarder::{Command, SessionId};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, ParticipantId, TrackId};

use super::Plant;
use super::messages::{Calls, Conn, Fact, MediaCredential, Message, Out, Place};
use super::store::{Ask, Node};
use super::trunks::Trunks;
use crate::handler::{Handler, ToParticipant};

const BEAT: Duration = Duration::from_millis(500);
/// A ticket may come before the word of it.
const TICKET_PATIENCE: Duration = Duration::from_secs(2);

struct Hosted {
    handler: Handler,
    fence: Fence,
    may: May,
}

/// Who may get what, by what was said with the newest fence.
#[derive(Debug, Default)]
struct May {
    joined: BTreeMap<ParticipantId, bool>,
    owners: BTreeMap<TrackId, ParticipantId>,
    unwanted: BTreeSet<(ParticipantId, TrackId)>,
    /// Handlers that may have a trunk here, as seats, and tracks that come by one.
    trunks: BTreeSet<ParticipantId>,
    comes_by: BTreeSet<TrackId>,
    /// What is said between the beginning and the end of a sync.
    said: Option<Box<May>>,
}

impl May {
    fn apply(&mut self, command: &Command) {
        match command {
            Command::SyncBegin => self.said = Some(Box::default()),
            Command::SyncEnd => {
                if let Some(said) = self.said.take() {
                    *self = *said;
                }
            }
            other => {
                if let Some(said) = &mut self.said {
                    said.note(other);
                }
                self.note(other);
            }
        }
    }

    fn note(&mut self, command: &Command) {
        match command {
            Command::Seat { seat, joined, .. } => {
                self.joined.insert(*seat, *joined);
            }
            Command::SeatGone { seat, .. } => {
                self.joined.remove(seat);
                let comes_by = &self.comes_by;
                let stays = |track: &TrackId| comes_by.contains(track);
                self.owners
                    .retain(|track, owner| owner != seat || stays(track));
                self.unwanted.retain(|(one, _)| one != seat);
            }
            Command::Track { id, seat, via, .. } => {
                self.owners.insert(*id, *seat);
                match via {
                    Some(_) => self.comes_by.insert(*id),
                    None => self.comes_by.remove(id),
                };
            }
            Command::TrackGone { id } => {
                self.owners.remove(id);
                self.unwanted.retain(|(_, track)| track != id);
            }
            Command::Subscription {
                seat,
                track,
                wanted,
            } => {
                match wanted {
                    true => self.unwanted.remove(&(*seat, *track)),
                    false => self.unwanted.insert((*seat, *track)),
                };
            }
            Command::Over => *self = Self::default(),
            Command::Trunk { node, .. } => {
                let seat = ParticipantId(node.0);
                self.trunks.insert(seat);
                self.joined.insert(seat, true);
            }
            Command::Neighbour { .. } => {}
            Command::SyncBegin | Command::SyncEnd => {}
        }
    }

    /// Why this seat is not to get this track.
    fn why_not(&self, seat: ParticipantId, track: TrackId) -> Option<&'static str> {
        match (self.joined.get(&seat), self.owners.get(&track)) {
            (None, _) => Some("has no seat"),
            (Some(false), _) => Some("is in the lobby"),
            (_, None) => Some("gets a track that is gone"),
            _ if self.trunks.contains(&seat) && self.comes_by.contains(&track) => {
                Some("gets by a trunk what came by one")
            }
            (_, Some(owner)) if *owner == seat => Some("gets its own track"),
            _ if self.unwanted.contains(&(seat, track)) => Some("is not subscribed"),
            _ => None,
        }
    }
}

pub(super) struct Media {
    place: Place,
    calls: Calls<()>,
    beat_at: Duration,
    meetings: BTreeMap<MeetingId, Hosted>,
    /// Controllers that have called.
    callers: BTreeMap<u64, Place>,
    sessions: BTreeMap<Conn, (Place, MeetingId, ParticipantId)>,
    /// Those whose ticket is not known yet, and until when it may come.
    waiting: Vec<(Duration, Conn, Place, Vec<u8>)>,
    trunks: Trunks,
    pub(super) is_draining: bool,
    plant: Plant,
}

impl Media {
    pub(super) fn new(now: Duration, place: Place, plant: Plant) -> Self {
        Self {
            place,
            calls: Calls::new(0),
            beat_at: now,
            meetings: BTreeMap::new(),
            callers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            waiting: Vec::new(),
            trunks: Trunks::new(place),
            is_draining: false,
            plant,
        }
    }

    /// Whom to tell when it dies.
    pub(super) fn callers(&self) -> impl Iterator<Item = (u64, Place)> {
        self.callers.iter().map(|(call, place)| (*call, *place))
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let meetings = self.meetings.values();
        let meetings = meetings.filter_map(|hosted| hosted.handler.deadline());
        let waiting = self.waiting.iter().map(|(until, ..)| *until);
        let trunks = self.trunks.deadline();
        meetings
            .chain(waiting)
            .chain(trunks)
            .chain([self.beat_at])
            .min()
    }

    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) {
        if now >= self.beat_at {
            self.beat_at = now + BEAT;
            let node = Node {
                id: self.place.node(),
                draining: self.is_draining,
            };
            let id = self.calls.begin((), now);
            self.calls.end(id);
            out.send(Place::Store, Message::Store(id, Ask::Put(node)));
        }
        for (until, conn, place, ticket) in std::mem::take(&mut self.waiting) {
            match now >= until {
                true => out.send(place, Message::Closed(conn, Code::TicketUnknown)),
                false => self.waiting.push((until, conn, place, ticket)),
            }
        }
        for (meeting, session) in self.trunks.wake(now, out) {
            if let Some(hosted) = self.meetings.get_mut(&meeting) {
                hosted.handler.trunk_down(now, session);
            }
            self.drain(now, meeting, out);
        }
        let due: Vec<_> = self
            .meetings
            .iter()
            .filter(|(_, hosted)| hosted.handler.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for meeting in due {
            if let Some(hosted) = self.meetings.get_mut(&meeting) {
                hosted.handler.tick(now);
            }
            self.drain(now, meeting, out);
        }
    }

    pub(super) fn take(&mut self, now: Duration, from: Place, message: Message, out: &mut Out) {
        match message {
            Message::Call(call) => {
                self.callers.insert(call, from);
                out.send(from, Message::Taken(call));
            }
            Message::Beat(call) if self.callers.contains_key(&call) => {
                out.send(from, Message::BeatBack(call));
            }
            Message::Ended(call) => {
                self.callers.remove(&call);
            }
            Message::Order(call, meeting, fence, command) if self.callers.contains_key(&call) => {
                self.order(now, from, call, meeting, fence, command, out);
            }
            Message::OpenMedia(conn, credential) => self.open(now, from, conn, credential, out),
            Message::ToHandler(conn, stream, bytes, fin) => {
                let session = SessionId(conn);
                if let Some((meeting, hosted)) = self.hosted(conn) {
                    match stream {
                        0 => hosted.handler.control(now, session, &bytes),
                        _ => hosted.handler.stream(now, session, stream, &bytes, fin),
                    }
                    self.drain(now, meeting, out);
                }
            }
            Message::DatagramToHandler(conn, bytes) => {
                if let Some((meeting, hosted)) = self.hosted(conn) {
                    hosted.handler.datagram(now, SessionId(conn), bytes);
                    self.drain(now, meeting, out);
                }
            }
            Message::Up(conn) | Message::Closed(conn, _) | Message::ToPerson(conn, _) => {
                self.by_trunk(now, conn, message, out);
            }
            Message::Hangup(conn) => {
                if let Some((meeting, hosted)) = self.hosted(conn) {
                    hosted.handler.closed(now, SessionId(conn));
                    self.sessions.remove(&conn);
                    self.drain(now, meeting, out);
                }
            }
            _ => {}
        }
    }

    /// The other end of a trunk that was dialled here.
    fn by_trunk(&mut self, now: Duration, conn: Conn, message: Message, out: &mut Out) {
        // One that was refused never stood.
        let up = !matches!(message, Message::ToPerson(..));
        let Some((meeting, session)) = self.trunks.heard(now, conn, up) else {
            return;
        };
        let Some(hosted) = self.meetings.get_mut(&meeting) else {
            return;
        };
        match message {
            Message::Up(_) => hosted.handler.trunk_up(now, session),
            Message::ToPerson(_, ToParticipant::Stream { stream, bytes, fin }) => {
                hosted.handler.stream(now, session, stream, &bytes, fin);
            }
            Message::ToPerson(_, ToParticipant::Datagram(bytes)) => {
                hosted.handler.datagram(now, session, bytes);
            }
            Message::ToPerson(..) => {}
            _ => {
                self.trunks.gone(conn);
                hosted.handler.trunk_down(now, session);
            }
        }
        self.drain(now, meeting, out);
    }

    fn hosted(&mut self, conn: Conn) -> Option<(MeetingId, &mut Hosted)> {
        let (_, meeting, _) = self.sessions.get(&conn)?;
        Some((*meeting, self.meetings.get_mut(meeting)?))
    }

    #[expect(clippy::too_many_arguments, reason = "an order and its way back")]
    fn order(
        &mut self,
        now: Duration,
        from: Place,
        call: u64,
        meeting: MeetingId,
        fence: Fence,
        command: Command,
        out: &mut Out,
    ) {
        let hosted = self.meetings.entry(meeting).or_insert_with(new_meeting);
        let is_newest = fence >= hosted.fence;
        if is_newest {
            hosted.fence = fence;
            hosted.may.apply(&command);
        }
        let said_with = match self.plant {
            Plant::SkipFence => fence.max(hosted.fence),
            _ => fence,
        };
        if !hosted.handler.command(now, said_with, command) {
            out.send(from, Message::FenceRefused(call, meeting));
        }
        for (until, conn, place, ticket) in std::mem::take(&mut self.waiting) {
            let credential = MediaCredential::Ticket(ticket);
            self.admit(now, until, place, conn, credential, out);
        }
        self.drain(now, meeting, out);
    }

    fn open(
        &mut self,
        now: Duration,
        from: Place,
        conn: Conn,
        credential: MediaCredential,
        out: &mut Out,
    ) {
        if self.is_draining {
            return out.send(from, Message::Closed(conn, Code::Draining));
        }
        self.admit(now, now + TICKET_PATIENCE, from, conn, credential, out);
    }

    fn admit(
        &mut self,
        now: Duration,
        until: Duration,
        place: Place,
        conn: Conn,
        credential: MediaCredential,
        out: &mut Out,
    ) {
        let found = match &credential {
            MediaCredential::Token(meeting, seat) => Some((*meeting, *seat)),
            MediaCredential::Ticket(ticket) => self
                .meetings
                .iter()
                .find_map(|(id, hosted)| Some((*id, hosted.handler.seat_of(ticket)?))),
        };
        match (found, credential) {
            (Some((meeting, seat)), _) => {
                self.sessions.insert(conn, (place, meeting, seat));
                out.send(place, Message::Up(conn));
                let hosted = self.meetings.entry(meeting).or_insert_with(new_meeting);
                let is_trunk = hosted.may.trunks.contains(&seat);
                hosted.handler.opened(now, SessionId(conn), seat, is_trunk);
                self.drain(now, meeting, out);
            }
            (None, MediaCredential::Ticket(ticket)) => {
                self.waiting.push((until, conn, place, ticket));
            }
            (None, MediaCredential::Token(..)) => {}
        }
    }

    /// What the forwarder decided goes out, and is judged.
    fn drain(&mut self, now: Duration, meeting: MeetingId, out: &mut Out) {
        let Some(hosted) = self.meetings.get_mut(&meeting) else {
            return;
        };
        for (session, track) in std::mem::take(&mut hosted.handler.forwarded) {
            let Some((_, _, seat)) = self.sessions.get(&session.0) else {
                continue;
            };
            if let Some(why) = hosted.may.why_not(*seat, track) {
                let misled = format!("{:?} forwards track {track} to one who {why}", self.place);
                out.facts.push(Fact::Broken(misled));
            }
        }
        for what in std::mem::take(&mut hosted.handler.by_trunk) {
            self.trunks.perform(now, meeting, what, out);
        }
        for (session, what) in std::mem::take(&mut hosted.handler.out) {
            let Some((place, ..)) = self.sessions.get(&session.0) else {
                continue;
            };
            let place = *place;
            match what {
                ToParticipant::Closed(code) => {
                    self.sessions.remove(&session.0);
                    out.send(place, Message::Closed(session.0, code));
                }
                what => out.send(place, Message::ToPerson(session.0, what)),
            }
        }
    }
}

fn new_meeting() -> Hosted {
    Hosted {
        handler: Handler::new(),
        fence: Fence(0),
        may: May::default(),
    }
}
