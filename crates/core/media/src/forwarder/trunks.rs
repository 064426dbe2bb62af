//! A meeting on several handlers: each takes in the participants that are on it, and gets from every other one, by a
//! session of its own, a trunk, what these need of the tracks there.
//!
//! To the handler that dials a trunk the other end is the publisher of all tracks that come by it: which layers it
//! sends and where a group begins is asked of it as of any publisher. To the handler that is dialled it is a subscriber
//! to which several layers of a track may go. So a layer crosses once, however many want it, and none does that nobody
//! wants. What came by a trunk goes into no other: all handlers of a meeting have trunks to one another.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::ids::{NodeId, ParticipantId, TrackId};

use super::targets::Target;
use super::{Forwarder, Output, Payload, SessionId, earliest};
use crate::Kind;

/// Trunks that this end dialled are numbered from here, where no session of a participant is.
const DIALLED: u64 = 1 << 63;

/// Waits before the next attempt; the last one repeats. The others' pictures stand still meanwhile.
const BACKOFF_MS: [u64; 5] = [0, 100, 300, 700, 1_500];

/// Tracks of which one trunk may want layers: more than a meeting has.
const MAX_TRACKS: usize = 65_536;

/// Where another handler takes trunks, and what opens one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its URL for media sessions.
    pub url: String,
    /// SHA-256 of the certificates it may show.
    pub certificate_sha256: Vec<[u8; 32]>,
    /// Opens a session there. Not to be printed.
    pub ticket: darktower_wire::Secret<[u8; 32]>,
}

/// Another handler of the meeting.
#[derive(Debug)]
pub(super) struct Neighbour {
    trunk: Trunk,
    /// Being dialled, or up.
    session: Option<SessionId>,
    is_up: bool,
    failures: usize,
    again: Duration,
    pub(super) said: bool,
}

impl SessionId {
    /// Whether it is a trunk that this end has dialled.
    pub fn is_dialled(self) -> bool {
        self.0 >= DIALLED
    }
}

impl<P: Payload> Forwarder<P> {
    /// The seat of a handler that may open a trunk.
    fn trunk_seat(node: NodeId) -> ParticipantId {
        ParticipantId(node.0)
    }

    pub(super) fn trunk(&mut self, now: Duration, node: NodeId, ticket: super::TicketHash) {
        let seat = Self::trunk_seat(node);
        self.seat(now, seat, true);
        if let Some(state) = self.seats.get_mut(&seat) {
            state.is_trunk = true;
        }
        self.ticket(seat, ticket);
    }

    pub(super) fn neighbour(&mut self, now: Duration, node: NodeId, trunk: Trunk) {
        let place = self.neighbours.entry(node).or_insert_with(|| Neighbour {
            trunk: trunk.clone(),
            session: None,
            is_up: false,
            failures: 0,
            again: now,
            said: true,
        });
        place.said = true;
        let moved = place.trunk.url != trunk.url;
        place.trunk = trunk;
        if moved {
            self.hang_up(node);
        }
        self.redial(now);
    }

    pub(super) fn neighbour_gone(&mut self, node: NodeId) {
        self.hang_up(node);
        self.neighbours.remove(&node);
    }

    fn hang_up(&mut self, node: NodeId) {
        let Some(place) = self.neighbours.get_mut(&node) else {
            return;
        };
        place.is_up = false;
        place.failures = 0;
        if let Some(session) = place.session.take() {
            self.outputs.push_back(Output::HangUp { session });
        }
        self.route_by(node);
    }

    /// Dials what is needed and due, and hangs up where nobody is here to receive.
    pub(super) fn redial(&mut self, now: Duration) {
        self.dial_due = None;
        let is_needed = self.seats.iter().any(|(id, seat)| {
            !seat.is_trunk && seat.joined.is_some() && self.by_seat.contains_key(id)
        });
        let nodes: Vec<_> = self.neighbours.keys().copied().collect();
        for node in nodes {
            let Some(place) = self.neighbours.get_mut(&node) else {
                continue;
            };
            match (is_needed, place.session) {
                (false, Some(_)) => self.hang_up(node),
                (true, None) if now >= place.again => {
                    let session = SessionId(DIALLED | self.next_trunk);
                    self.next_trunk += 1;
                    place.session = Some(session);
                    let trunk = place.trunk.clone();
                    self.outputs.push_back(Output::Dial { session, trunk });
                }
                (true, None) => self.dial_due = earliest(self.dial_due, Some(place.again)),
                _ => {}
            }
        }
    }

    fn node_of(&self, session: SessionId) -> Option<NodeId> {
        let mut neighbours = self.neighbours.iter();
        let found = neighbours.find(|(_, place)| place.session == Some(session));
        found.map(|(&node, _)| node)
    }

    pub(super) fn trunk_opened(&mut self, session: SessionId) {
        let Some(node) = self.node_of(session) else {
            return self.outputs.push_back(Output::HangUp { session });
        };
        if let Some(place) = self.neighbours.get_mut(&node) {
            place.is_up = true;
            place.failures = 0;
        }
        self.route_by(node);
    }

    pub(super) fn trunk_closed(&mut self, now: Duration, session: SessionId) {
        let Some(node) = self.node_of(session) else {
            return;
        };
        if let Some(place) = self.neighbours.get_mut(&node) {
            let wait = BACKOFF_MS[place.failures.min(BACKOFF_MS.len() - 1)];
            place.session = None;
            place.is_up = false;
            place.failures += 1;
            place.again = now + Duration::from_millis(wait);
        }
        self.route_by(node);
        self.redial(now);
    }

    /// The session by which a neighbour's tracks come.
    pub(super) fn trunk_to(&self, node: NodeId) -> Option<SessionId> {
        let place = self.neighbours.get(&node).filter(|place| place.is_up);
        place.and_then(|place| place.session)
    }

    fn route_by(&mut self, node: NodeId) {
        let tracks = self.tracks.iter();
        let tracks = tracks.filter(|(_, track)| track.via == Some(node));
        let tracks: Vec<_> = tracks.map(|(&id, _)| id).collect();
        for id in tracks {
            self.route_track(id);
        }
    }

    pub(super) fn is_trunk(&self, session: SessionId) -> bool {
        let seat = self.sessions.get(&session).map(|session| session.seat);
        let place = seat.and_then(|seat| self.seats.get(&seat));
        place.is_some_and(|place| place.is_trunk)
    }

    /// A trunk says which layers of a track somebody gets at its other end.
    pub(super) fn trunk_wants(
        &mut self,
        now: Duration,
        session: SessionId,
        id: TrackId,
        layers: u16,
    ) -> Result<(), Code> {
        if !self.is_trunk(session) {
            return Err(Code::Forbidden);
        }
        let from = self.sessions.get_mut(&session).ok_or(Code::NotJoined)?;
        if from.wants.len() >= MAX_TRACKS && !from.wants.contains_key(&id) {
            return Err(Code::TooLarge);
        }
        // It may have heard of the track before this end does.
        from.wants.insert(id, layers);
        self.feed_trunk(now, session, id);
        Ok(())
    }

    /// Lets a trunk have the layers of a track that it wants, and no others.
    pub(super) fn feed_trunk(&mut self, now: Duration, session: SessionId, id: TrackId) {
        let from = self.sessions.get(&session);
        let layers = from.and_then(|from| from.wants.get(&id)).copied();
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if track.kind != Kind::Video || track.via.is_some() {
            return;
        }
        let layers = layers.unwrap_or(0);
        let is_wanted = |layer: u8| layers & 1 << layer != 0;
        let before = track.targets.len();
        track
            .targets
            .retain(|one| one.session != session || is_wanted(one.wanted));
        let mut is_other = track.targets.len() < before;
        let mut begin = Vec::new();
        let count = u8::try_from(track.layers.len()).unwrap_or(u8::MAX);
        for layer in (0..count).filter(|layer| is_wanted(*layer)) {
            let mut targets = track.targets.iter();
            if !targets.any(|one| (one.session, one.wanted) == (session, layer)) {
                track.targets.push(Target::of_layer(session, layer, now));
                begin.push(track.targets.len() - 1);
                is_other = true;
            }
        }
        if is_other {
            self.touched.insert(id);
        }
        for at in begin {
            self.begin(now, id, at);
        }
    }
}
