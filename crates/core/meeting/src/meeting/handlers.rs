//! Which media handlers the meeting is on, who is on which, and what each of them is told.
//!
//! Mostly it is one. Where that takes no more, newcomers go to a spare one, and the handlers open trunks to one another:
//! each is told of all tracks, and of the seats that are on it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use darktower_wire::ids::{NodeId, ParticipantId};
use darktower_wire::signal::{self, server_message::Body};

use super::api::{Handler, MediaOrder, Output, SessionId, Spare};
use super::record::{Change, Moved, Seat};
use super::{Meeting, Session, Stage, seats, tracks};
use crate::fingerprint::sha256;

/// Makes tickets for trunks, and nothing else.
const TRUNK: &[u8] = b"darktower trunk";

/// The handlers that are in use, as far as they are known here.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    open: BTreeMap<NodeId, Handler>,
    spare: Option<Spare>,
}

/// What one handler shows another one to open a trunk there.
fn trunk_ticket(at: &Handler, dials: NodeId) -> Bytes {
    let secret = &at.trunk_secret;
    sha256(&[TRUNK, &secret[..], &dials.0].concat())
}

impl Meeting {
    /// The media handlers it was on last, the one that newcomers go to first.
    pub fn handler_nodes(&self) -> Vec<NodeId> {
        let current = self.current();
        let others = self.homes().filter(|home| Some(*home) != current);
        let others: BTreeSet<_> = others.collect();
        current.into_iter().chain(others).collect()
    }

    /// How many are on a handler, those in its lobby among them.
    pub fn on_handler(&self, node: NodeId) -> usize {
        self.homes().filter(|home| *home == node).count()
    }

    /// Where this participant's media goes, or a newcomer's.
    pub fn handler_for(&self, participant: Option<ParticipantId>) -> Option<NodeId> {
        let seat = participant.and_then(|id| self.records.seat(id));
        match seat {
            Some(seat) => self.home(seat),
            None => self.next_home(),
        }
    }

    /// Where newcomers go while there is room.
    fn current(&self) -> Option<NodeId> {
        NodeId::from_slice(&self.records.handler).ok()
    }

    fn home(&self, seat: &Seat) -> Option<NodeId> {
        NodeId::from_slice(&seat.handler).ok().or(self.current())
    }

    /// The handler of a session that said something.
    pub(super) fn home_of(&self, entry: &Session) -> Option<NodeId> {
        match self.records.seat(entry.participant) {
            Some(seat) => self.home(seat),
            None => entry.home.or(self.current()),
        }
    }

    /// Whoever waits in the lobby and has no seat.
    fn waiting(&self) -> impl Iterator<Item = &Session> {
        let waiting = self.sessions.values();
        let waiting = waiting.filter(|entry| entry.stage == Stage::Lobby);
        waiting.filter(|entry| self.records.seat(entry.participant).is_none())
    }

    /// Of each seat, and of each who waits.
    fn homes(&self) -> impl Iterator<Item = NodeId> {
        let seats = self.records.seats.iter().map(|seat| self.home(seat));
        let waiting = self.waiting().map(|entry| self.home_of(entry));
        seats.chain(waiting).flatten()
    }

    fn spare(&self) -> Option<&Spare> {
        let on = self.current().map_or(0, |node| self.on_handler(node));
        let spare = self.handlers.spare.as_ref();
        spare.filter(|spare| on >= spare.from)
    }

    fn next_home(&self) -> Option<NodeId> {
        let spare = self.spare().map(|spare| spare.handler.node);
        spare.or(self.current())
    }

    /// Somebody comes who has no place yet: the spare handler is opened where the others are full.
    pub(super) fn make_room(&mut self) {
        let Some(spare) = self.spare() else { return };
        let handler = spare.handler.clone();
        self.handlers.spare = None;
        let former = self.current();
        for entry in self.sessions.values_mut() {
            if entry.stage == Stage::Lobby {
                entry.home = entry.home.or(former);
            }
        }
        let node = handler.node;
        self.handlers.open.insert(node, handler);
        self.change(Change::Spread(node.to_vec().into()));
        self.sync_all();
    }

    fn sync_all(&mut self) {
        for &node in self.handlers.open.keys() {
            self.outputs.push_back(Output::Sync { node });
        }
    }

    /// All of the meeting is on this handler now, or on none that is known.
    pub(super) fn handler(&mut self, handler: Option<Handler>) {
        let Some(handler) = handler else {
            return self.handlers.open.clear();
        };
        let node = handler.node;
        let is_known = self.handlers.open.get(&node) == Some(&handler);
        if is_known && self.handlers.open.len() == 1 {
            return;
        }
        let nodes = self.handler_nodes();
        if nodes != [node] {
            self.change(Change::Handler(node.to_vec().into()));
        }
        for entry in self.sessions.values_mut() {
            entry.home = None;
        }
        let same = |open: &Handler| open.assignment == handler.assignment;
        let stays = self.handlers.open.get(&node).is_some_and(same) && nodes == [node];
        let was_spread = self.handlers.open.len() > 1;
        self.handlers.open = [(node, handler)].into();
        if !stays {
            self.tell_assigned(node);
        }
        if was_spread {
            self.sync_all();
        }
    }

    /// Those on one of its handlers are on this one now.
    pub(super) fn rehomed(&mut self, from: NodeId, handler: Handler) {
        let to = handler.node;
        let known = self.handlers.open.get(&to);
        let same = known.is_some_and(|open| open.assignment == handler.assignment);
        if from == to && same {
            return;
        }
        if from != to {
            self.handlers.open.remove(&from);
            for entry in self.sessions.values_mut() {
                if entry.home == Some(from) {
                    entry.home = Some(to);
                }
            }
            self.change(Change::Moved(Moved {
                from: from.to_vec().into(),
                to: to.to_vec().into(),
            }));
        }
        self.handlers.open.insert(to, handler);
        self.tell_assigned(to);
        self.sync_all();
    }

    /// Where newcomers go once so many are on the present one.
    pub(super) fn spare_is(&mut self, spare: Option<Spare>) {
        self.handlers.spare = spare;
    }

    /// Handlers that nobody is on any more are left; the one that newcomers go to stays.
    pub(super) fn leave_empty_handlers(&mut self) {
        if self.handlers.open.len() < 2 {
            return;
        }
        let used: BTreeSet<_> = self.homes().chain(self.current()).collect();
        let before = self.handlers.open.len();
        self.handlers.open.retain(|node, _| used.contains(node));
        if self.handlers.open.len() < before {
            self.sync_all();
        }
    }

    fn tell_assigned(&mut self, node: NodeId) {
        self.unheard.sent(self.now);
        let told = self.sessions.iter();
        let told = told.filter(|(_, entry)| entry.stage != Stage::Opened);
        let told = told.filter(|(_, entry)| self.home_of(entry) == Some(node));
        let told: Vec<_> = told.map(|(session, _)| *session).collect();
        for session in told {
            if let Some(assignment) = self.assignment(session) {
                self.send(session, 0, 0, Body::Media(assignment));
            }
        }
    }

    pub(super) fn assignment(&self, session: SessionId) -> Option<signal::MediaAssignment> {
        let entry = self.sessions.get(&session)?;
        let handler = self.handlers.open.get(&self.home_of(entry)?)?;
        Some(signal::MediaAssignment {
            ticket: Bytes::copy_from_slice(&entry.entropy.ticket),
            ..handler.assignment.clone()
        })
    }

    /// All that should be at a media handler, to be said after a reconnect.
    pub fn media_orders(&self, node: NodeId) -> Vec<MediaOrder> {
        let mut orders = Vec::new();
        let Some(here) = self.handlers.open.get(&node) else {
            return orders;
        };
        for other in self.handlers.open.values().filter(|it| it.node != node) {
            orders.push(MediaOrder::Trunk {
                node: other.node,
                ticket_sha256: sha256(&trunk_ticket(here, other.node)),
            });
            orders.push(MediaOrder::Neighbour {
                node: other.node,
                url: other.trunk_url.clone(),
                certificate_sha256: other.assignment.certificate_sha256.clone(),
                ticket: trunk_ticket(other, node).into(),
            });
        }
        let is_here = |seat: &&Seat| self.home(seat) == Some(node);
        let seats = &self.records.seats;
        orders.extend(seats.iter().filter(is_here).map(seats::media_seat));
        for seat in seats {
            let tracks = seat.tracks.iter();
            orders
                .extend(tracks.map(|track| tracks::media_track(seat, track, self.via(seat, node))));
        }
        let unwanted = seats.iter().filter(is_here);
        orders.extend(unwanted.flat_map(tracks::media_unwanted));
        let waiting = self.waiting();
        let waiting = waiting.filter(|entry| self.home_of(entry) == Some(node));
        orders.extend(waiting.map(seats::media_lobby));
        orders
    }

    /// By which other handler the tracks of a seat come to this one.
    fn via(&self, seat: &Seat, node: NodeId) -> Option<NodeId> {
        self.home(seat).filter(|home| *home != node)
    }

    /// Tells the handler that somebody is on.
    pub(super) fn media_at(&mut self, home: Option<NodeId>, order: MediaOrder) {
        if let Some(to) = home {
            self.outputs.push_back(Output::Media { to, order });
        }
    }

    /// The handler of somebody with a seat or in the lobby.
    pub(super) fn home_by_id(&self, participant: ParticipantId) -> Option<NodeId> {
        if let Some(seat) = self.records.seat(participant) {
            return self.home(seat);
        }
        let mut waiting = self.waiting();
        let entry = waiting.find(|entry| entry.participant == participant);
        entry.and_then(|entry| self.home_of(entry))
    }

    /// Tells all handlers.
    pub(super) fn media_everywhere(&mut self, order: &MediaOrder) {
        let nodes: Vec<_> = self.handlers.open.keys().copied().collect();
        for node in nodes {
            self.media_at(Some(node), order.clone());
        }
    }

    /// Tells all handlers of a track.
    pub(super) fn media_track(&mut self, seat: &Seat, track: &super::record::Track) {
        let nodes: Vec<_> = self.handlers.open.keys().copied().collect();
        for node in nodes {
            let order = tracks::media_track(seat, track, self.via(seat, node));
            self.media_at(Some(node), order);
        }
    }
}
