//! Seats and sessions: who is connected, and what the controller says of them.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};

use super::tracks::Track;
use super::{Command, Forwarder, Output, Payload, Session, SessionId, TicketHash, earliest};

/// Tickets of one seat that count: a participant may hold one from the lobby and
/// one from joining.
const MAX_TICKETS: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Since when it may send and receive; `None` in the lobby.
    pub(super) joined: Option<Duration>,
    /// It is another handler.
    pub(super) is_trunk: bool,
    /// Whether a session of it has received before.
    received: bool,
    /// What opens a session on it, oldest first.
    tickets: VecDeque<TicketHash>,
    /// Tracks it is not subscribed to.
    pub(super) unwanted: BTreeSet<TrackId>,
    said: bool,
    said_unwanted: BTreeSet<TrackId>,
}

impl<P: Payload> Forwarder<P> {
    pub(super) fn command(&mut self, now: Duration, command: Command) {
        match command {
            Command::Seat {
                seat,
                ticket,
                joined,
            } => {
                self.seat(now, seat, joined);
                if let Some(ticket) = ticket {
                    self.ticket(seat, ticket);
                }
            }
            Command::SeatGone { seat, code } => self.seat_gone(now, seat, code),
            Command::Track {
                id,
                seat,
                kind,
                shape,
                via,
            } => self.track(now, id, seat, kind, shape, via),
            Command::TrackGone { id } => {
                self.track_gone(now, id);
                for seat in self.seats.values_mut() {
                    seat.unwanted.remove(&id);
                }
            }
            Command::Subscription {
                seat,
                track,
                wanted,
            } => self.subscription(now, seat, track, wanted),
            Command::Trunk { node, ticket } => self.trunk(now, node, ticket),
            Command::Neighbour { node, trunk } => self.neighbour(now, node, trunk),
            Command::Over => {
                let sessions: Vec<_> = self.sessions.keys().copied().collect();
                for session in sessions {
                    self.close(session, Code::MeetingEnded);
                }
                let seats: Vec<_> = self.seats.keys().copied().collect();
                for seat in seats {
                    self.seat_gone(now, seat, Code::MeetingEnded);
                }
                let neighbours: Vec<_> = self.neighbours.keys().copied().collect();
                for node in neighbours {
                    self.neighbour_gone(node);
                }
                self.tracks.clear();
                self.cached = 0;
                self.outputs.push_back(Output::Over);
            }
            Command::SyncBegin => {
                self.syncing = true;
                for seat in self.seats.values_mut() {
                    seat.said = false;
                    seat.said_unwanted.clear();
                }
                for track in self.tracks.values_mut() {
                    track.said = false;
                }
                for neighbour in self.neighbours.values_mut() {
                    neighbour.said = false;
                }
            }
            Command::SyncEnd => self.sync_end(now),
        }
    }

    fn sync_end(&mut self, now: Duration) {
        if !core::mem::take(&mut self.syncing) {
            return;
        }
        let tracks = self.tracks.iter().filter(|(_, track)| !track.said);
        let tracks: Vec<_> = tracks.map(|(&id, _)| id).collect();
        for id in tracks {
            self.track_gone(now, id);
        }
        let seats = self.seats.iter().filter(|(_, seat)| !seat.said);
        let seats: Vec<_> = seats.map(|(&seat, _)| seat).collect();
        for seat in seats {
            self.seat_gone(now, seat, Code::ParticipantUnknown);
        }
        let neighbours = self.neighbours.iter().filter(|(_, place)| !place.said);
        let neighbours: Vec<_> = neighbours.map(|(&node, _)| node).collect();
        for node in neighbours {
            self.neighbour_gone(node);
        }
        let again = self.seats.iter().flat_map(|(&seat, state)| {
            let unsaid = state.unwanted.difference(&state.said_unwanted);
            unsaid.map(move |&track| (seat, track))
        });
        let again: Vec<_> = again.collect();
        for (seat, track) in again {
            self.subscription(now, seat, track, true);
        }
        // A new controller has yet to learn who is here.
        for &seat in self.by_seat.keys() {
            if self.seats.contains_key(&seat) {
                self.outputs.push_back(Output::SeatConnected { seat });
            }
        }
    }

    pub(super) fn seat(&mut self, now: Duration, seat: ParticipantId, joined: bool) {
        let session = self.by_seat.get(&seat).copied();
        let is_new = !self.seats.contains_key(&seat);
        let state = self.seats.entry(seat).or_default();
        state.said = true;
        let was_joined = state.joined.is_some();
        match (was_joined, joined) {
            (false, true) => state.joined = Some(now),
            (true, false) => state.joined = None,
            _ => {}
        }
        if let (true, Some(_)) = (is_new, session) {
            self.outputs.push_back(Output::SeatConnected { seat });
        }
        if joined != was_joined {
            self.arrivals = true;
            self.route(seat);
        }
        if let Some(session) = session
            && joined != was_joined
        {
            if joined {
                self.start(now, seat, session);
                let own = self.tracks.iter().filter(|(_, track)| track.seat == seat);
                let own: Vec<_> = own.map(|(&id, _)| id).collect();
                for id in own {
                    self.ask_for_missed(now, seat, id);
                }
            } else {
                self.unsubscribe_all(session);
            }
        }
    }

    pub(super) fn ticket(&mut self, seat: ParticipantId, ticket: TicketHash) {
        let Some(state) = self.seats.get_mut(&seat) else {
            return;
        };
        if state.tickets.contains(&ticket) {
            return;
        }
        state.tickets.push_back(ticket);
        if state.tickets.len() > MAX_TICKETS
            && let Some(ticket) = state.tickets.pop_front()
        {
            self.outputs.push_back(Output::TicketGone { ticket });
        }
        let is_trunk = state.is_trunk;
        self.outputs.push_back(Output::TicketKnown {
            ticket,
            seat,
            is_trunk,
        });
    }

    fn seat_gone(&mut self, now: Duration, seat: ParticipantId, code: Code) {
        let Some(state) = self.seats.remove(&seat) else {
            return;
        };
        for ticket in state.tickets {
            self.outputs.push_back(Output::TicketGone { ticket });
        }
        // Those of one who has only gone to another handler come from there.
        let is_own = |track: &Track<P>| track.seat == seat && track.via.is_none();
        let tracks = self.tracks.iter().filter(|(_, track)| is_own(track));
        let tracks: Vec<_> = tracks.map(|(&id, _)| id).collect();
        for id in tracks {
            self.track_gone(now, id);
        }
        if let Some(&session) = self.by_seat.get(&seat) {
            self.close(session, code);
        }
    }

    fn subscription(&mut self, now: Duration, seat: ParticipantId, track: TrackId, wanted: bool) {
        let Some(state) = self.seats.get_mut(&seat) else {
            return;
        };
        if wanted {
            state.said_unwanted.remove(&track);
            let was_unwanted = state.unwanted.remove(&track);
            if let (true, Some(&session)) = (was_unwanted, self.by_seat.get(&seat)) {
                self.subscribe(now, seat, session, track);
            }
        } else {
            state.said_unwanted.insert(track);
            state.unwanted.insert(track);
            if let Some(&session) = self.by_seat.get(&seat) {
                self.unsubscribe(session, track);
            }
        }
    }

    pub(super) fn session_opened(
        &mut self,
        now: Duration,
        session: SessionId,
        seat: ParticipantId,
    ) {
        if let Some(&old) = self.by_seat.get(&seat) {
            self.close(old, Code::SeatTaken);
        }
        self.by_seat.insert(seat, session);
        let state = Session::new(now, seat, self.config.allocate);
        self.sessions.insert(session, state);
        self.arrivals = true;
        if self.seats.contains_key(&seat) {
            self.outputs.push_back(Output::SeatConnected { seat });
            self.route(seat);
            self.start(now, seat, session);
        } else {
            let until = now + self.config.unseated_ttl;
            self.unseated_due = earliest(self.unseated_due, Some(until));
        }
    }

    /// Closes sessions of whose seat no controller has spoken.
    pub(super) fn close_unseated(&mut self, now: Duration) {
        let ttl = self.config.unseated_ttl;
        let unseated = self.sessions.iter();
        let unseated = unseated.filter(|(_, one)| !self.seats.contains_key(&one.seat));
        let unseated: Vec<_> = unseated.map(|(&id, one)| (id, one.opened + ttl)).collect();
        self.unseated_due = None;
        for (session, until) in unseated {
            if now >= until {
                self.close(session, Code::NotJoined);
            } else {
                self.unseated_due = earliest(self.unseated_due, Some(until));
            }
        }
    }

    /// Lets everything flow to a session, where its seat has joined.
    fn start(&mut self, now: Duration, seat: ParticipantId, session: SessionId) {
        let Some(state) = self.seats.get_mut(&seat) else {
            return;
        };
        if state.joined.is_none() {
            return;
        }
        // Nobody makes a key frame for a trunk that comes.
        let first = !core::mem::replace(&mut state.received, true) && !state.is_trunk;
        if let (true, Some(state)) = (first, self.sessions.get_mut(&session)) {
            state.began = Some(now);
            state.allocator.begins(now);
        }
        let tracks: Vec<_> = self.tracks.keys().copied().collect();
        for id in tracks {
            self.subscribe(now, seat, session, id);
        }
    }

    fn unsubscribe_all(&mut self, session: SessionId) {
        let tracks: Vec<_> = self.tracks.keys().copied().collect();
        for id in tracks {
            self.unsubscribe(session, id);
        }
    }

    pub(super) fn close(&mut self, session: SessionId, code: Code) {
        if self.remove_session(session).is_some() {
            self.outputs.push_back(Output::Close { session, code });
        }
    }

    /// Forgets a session; says whose it was.
    pub(super) fn remove_session(&mut self, session: SessionId) -> Option<ParticipantId> {
        let gone = self.sessions.remove(&session)?;
        self.arrivals = true;
        for (&id, track) in &mut self.tracks {
            let before = track.targets.len();
            track.targets.retain(|target| target.session != session);
            if track.targets.len() < before {
                self.touched.insert(id);
            }
        }
        self.missed.retain(|(from, _)| *from != session);
        if self.by_seat.get(&gone.seat) == Some(&session) {
            self.by_seat.remove(&gone.seat);
            self.route(gone.seat);
        }
        Some(gone.seat)
    }
}
