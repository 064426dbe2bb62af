//! The handler's end, one for each meeting: who may send on which track, and which
//! session gets which frame.
//!
//! What a meeting controller says ([`Command`]) is a statement of what should be;
//! saying it twice changes nothing. It needs no controller to go on: while nobody
//! speaks, what was said last holds.

mod asks;
mod facts;
mod frames;
mod lacking;
mod layer;
mod rates;
mod receivers;
mod repeats;
mod seats;
mod targets;
mod tracks;
mod trunks;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use darktower_wire::ids::{Fence, NodeId, ParticipantId, TrackId};

use crate::allocate;
use crate::path::redundancy;
use crate::speakers::{self, Speakers};
pub use facts::{Command, Delivery, Input, Output, SessionId, TicketHash};
use receivers::Session;
use seats::Seat;
use tracks::Track;
use trunks::Neighbour;
pub use trunks::Trunk;

/// What is forwarded: header and sealed payload as they came, or in a simulation
/// anything that knows its size.
pub trait Payload: Clone {
    /// Bytes it keeps occupied.
    fn size(&self) -> usize;

    /// One datagram of several, the newest first (`wire::datagram::bundle`).
    fn bundle(frames: &[Self]) -> Self;
}

impl Payload for Bytes {
    fn size(&self) -> usize {
        self.len()
    }

    fn bundle(frames: &[Self]) -> Self {
        darktower_wire::datagram::bundle(frames)
    }
}

/// Bounds of a [`Forwarder`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The most bytes of one layer's newest group that are kept.
    pub cache_per_layer: usize,
    /// The most bytes kept for the whole meeting.
    pub cache_total: usize,
    /// Requests to a publisher for key frames of one layer are so far apart.
    pub key_frame_gap: Duration,
    /// One subscriber's requests for one track are heard no more often than this.
    pub request_gap: Duration,
    /// A group that began so long before its seat was authorised is still given to
    /// the newcomer: the word may have come after the key frame it caused. Groups of
    /// before are sealed for others, and would take what a new path carries at once.
    pub join_grace: Duration,
    /// How long a session may wait for the controller to speak of its seat.
    pub unseated_ttl: Duration,
    /// How a subscriber's budget is spent.
    pub allocate: allocate::Config,
    /// Which audio tracks are forwarded.
    pub speakers: speakers::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_per_layer: 4 * 1024 * 1024,
            cache_total: 64 * 1024 * 1024,
            key_frame_gap: Duration::from_millis(100),
            request_gap: Duration::from_millis(250),
            join_grace: Duration::from_millis(30),
            unseated_ttl: Duration::from_secs(300),
            allocate: allocate::Config::default(),
            speakers: speakers::Config::default(),
        }
    }
}

/// Tracks whose frames came before the word that allows them, so that their
/// publishers are asked for a key frame once it has come. More than a participant
/// may publish.
const MAX_MISSED: usize = 256;

/// The forwarding of one meeting.
#[derive(Debug)]
pub struct Forwarder<P> {
    config: Config,
    fence: Fence,
    syncing: bool,
    sessions: BTreeMap<SessionId, Session>,
    by_seat: BTreeMap<ParticipantId, SessionId>,
    seats: BTreeMap<ParticipantId, Seat>,
    tracks: BTreeMap<TrackId, Track<P>>,
    neighbours: BTreeMap<NodeId, Neighbour>,
    next_trunk: u64,
    /// When a trunk is to be dialled, or earlier.
    dial_due: Option<Duration>,
    speakers: Speakers,
    missed: BTreeSet<(SessionId, TrackId)>,
    cached: usize,
    /// Tracks of which other layers may be wanted than was said.
    touched: BTreeSet<TrackId>,
    /// Which audio tracks go where may have changed.
    speakers_due: bool,
    /// Sessions that need a new allocation now.
    dirty: BTreeSet<SessionId>,
    /// Sessions or seats have come or gone.
    arrivals: bool,
    /// Somebody is about to join.
    is_warm: bool,
    /// Frames have come since the last beat.
    flows: bool,
    /// When what is done by the beat is done next; never where nothing happens.
    beat: Option<Duration>,
    /// When a folded request for a key frame is to be made, or earlier.
    asks_due: Option<Duration>,
    /// When a session has waited for its seat for too long, or earlier.
    unseated_due: Option<Duration>,
    outputs: VecDeque<Output<P>>,
}

impl<P: Payload> Forwarder<P> {
    /// A meeting of which nothing has been said yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            fence: Fence::default(),
            syncing: false,
            sessions: BTreeMap::new(),
            by_seat: BTreeMap::new(),
            seats: BTreeMap::new(),
            tracks: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            next_trunk: 0,
            dial_due: None,
            speakers: Speakers::new(config.speakers),
            missed: BTreeSet::new(),
            cached: 0,
            touched: BTreeSet::new(),
            speakers_due: false,
            dirty: BTreeSet::new(),
            arrivals: false,
            is_warm: false,
            flows: false,
            beat: None,
            asks_due: None,
            unseated_due: None,
            outputs: VecDeque::new(),
        }
    }

    /// A fact arrived.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Command { fence, .. } if fence < self.fence => {
                let newest = self.fence;
                self.outputs.push_back(Output::FenceRefused { newest });
            }
            Input::Command { fence, command } => {
                self.fence = fence;
                self.command(now, command);
            }
            Input::SessionOpened { session, seat } => self.session_opened(now, session, seat),
            Input::SessionClosed { session, code } => {
                if let Some(gone) = self.remove_session(session)
                    && self.seats.contains_key(&gone)
                {
                    let seat = gone;
                    self.outputs
                        .push_back(Output::SeatDisconnected { seat, code });
                }
            }
            Input::KeyFrameWanted {
                session,
                track,
                layer,
            } => {
                if let Err(code) = self.key_frame_wanted(now, session, track, layer) {
                    self.outputs.push_back(Output::Refused { session, code });
                }
            }
            Input::LayersWanted {
                session,
                track,
                layers,
            } => {
                if let Err(code) = self.trunk_wants(now, session, track, layers) {
                    self.outputs.push_back(Output::Refused { session, code });
                }
            }
            Input::TrunkOpened { session } => self.trunk_opened(session),
            Input::TrunkClosed { session } => self.trunk_closed(now, session),
            Input::Demand { session, views } => self.demand(now, session, views),
            Input::Path {
                session,
                estimate,
                loss,
            } => self.path(now, session, estimate, redundancy(loss)),
            Input::Tick => self.tick(now),
        }
        self.settle(now);
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output<P>> {
        self.outputs.pop_front()
    }

    /// Call [`Forwarder::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let due = earliest(self.beat, self.asks_due);
        earliest(earliest(due, self.unseated_due), self.dial_due)
    }

    /// Nobody is connected and no seat is held: there is nothing to forget.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.seats.values().all(|seat| seat.is_trunk)
    }

    /// Sessions connected, tracks known, bytes cached.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.sessions.len(), self.tracks.len(), self.cached)
    }

    fn tick(&mut self, now: Duration) {
        self.ask_due(now);
        if self.beat.is_some_and(|due| now >= due) {
            self.on_beat(now);
        }
        if self.unseated_due.is_some_and(|due| now >= due) {
            self.close_unseated(now);
        }
        if self.dial_due.is_some_and(|due| now >= due) {
            self.redial(now);
        }
    }
}

/// The earlier of two times, where there are any.
fn earliest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
