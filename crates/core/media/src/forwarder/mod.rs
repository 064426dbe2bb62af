//! The handler's end, one for each meeting: who may send on which track, and which
//! session gets which frame.
//!
//! What a meeting controller says ([`Command`]) is a statement of what should be;
//! saying it twice changes nothing. It needs no controller to go on: while nobody
//! speaks, what was said last holds.

mod layer;
mod seats;
mod tracks;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::Header;

use crate::Kind;
use layer::{Layer, Taken};
use seats::Seat;

/// A media session, numbered by the shell and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// SHA-256 of the ticket that opens a session; the ticket itself is kept nowhere.
pub type TicketHash = [u8; 32];

/// What is forwarded: header and sealed payload as they came, or in a simulation
/// anything that knows its size.
pub trait Payload: Clone {
    /// Bytes it keeps occupied.
    fn size(&self) -> usize;
}

impl Payload for Bytes {
    fn size(&self) -> usize {
        self.len()
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
    /// the newcomer: the word may have come after the key frame it caused.
    pub join_grace: Duration,
    /// How long a session may wait for the controller to speak of its seat.
    pub unseated_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_per_layer: 4 * 1024 * 1024,
            cache_total: 64 * 1024 * 1024,
            key_frame_gap: Duration::from_millis(100),
            request_gap: Duration::from_millis(250),
            join_grace: Duration::from_millis(500),
            unseated_ttl: Duration::from_secs(300),
        }
    }
}

/// What the meeting's controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A place that may connect; if `joined`, also send and receive.
    Seat {
        /// The seat, named as its participant.
        seat: ParticipantId,
        /// SHA-256 of a ticket that opens a session on it. The newest two count.
        ticket: Option<TicketHash>,
        /// False: may connect and wait (lobby).
        joined: bool,
    },
    /// The seat is given up.
    SeatGone {
        /// The seat.
        seat: ParticipantId,
        /// What its session is closed with.
        code: Code,
    },
    /// A track that may be sent on.
    Track {
        /// Its id.
        id: TrackId,
        /// The seat that may send on it.
        seat: ParticipantId,
        /// What it carries.
        kind: Kind,
        /// How many layers it has, at least 1.
        layers: u8,
    },
    /// The track is published no more.
    TrackGone {
        /// The track.
        id: TrackId,
    },
    /// Every joined seat is subscribed to every track of the others; this says
    /// otherwise for one.
    Subscription {
        /// The subscriber.
        seat: ParticipantId,
        /// The track.
        track: TrackId,
        /// Whether it is subscribed.
        wanted: bool,
    },
    /// The meeting has ended.
    Over,
    /// What follows up to `SyncEnd` is the whole truth of this meeting.
    SyncBegin,
    /// What was not said since `SyncBegin` is no more.
    SyncEnd,
}

/// Facts for a [`Forwarder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The controller spoke.
    Command {
        /// Its right to speak.
        fence: Fence,
        /// What it said.
        command: Command,
    },
    /// Somebody who proved to be this seat has opened a session.
    SessionOpened {
        /// The session.
        session: SessionId,
        /// The seat.
        seat: ParticipantId,
    },
    /// A session is gone.
    SessionClosed {
        /// The session.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// A subscriber cannot decode a track any more.
    KeyFrameWanted {
        /// Its session.
        session: SessionId,
        /// The track.
        track: TrackId,
    },
    /// Time has passed.
    Tick,
}

/// One frame for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<P> {
    /// To whom.
    pub session: SessionId,
    /// By stream or by datagram.
    pub kind: Kind,
    /// Its header.
    pub header: Header,
    /// The frame.
    pub payload: P,
}

/// Decisions of a [`Forwarder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<P> {
    /// Send a frame out of the cache.
    Deliver(Delivery<P>),
    /// No more of this track goes to this session.
    End {
        /// The session.
        session: SessionId,
        /// The track.
        track: TrackId,
    },
    /// Ask a publisher to begin a new group.
    KeyFrameWanted {
        /// The publisher's session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// The layer.
        layer: u8,
    },
    /// Close a session. No `SessionClosed` is needed for it.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// A session asked for what it may not; it goes on.
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// Sessions with this ticket are this seat's from now on.
    TicketKnown {
        /// The ticket's hash.
        ticket: TicketHash,
        /// The seat.
        seat: ParticipantId,
    },
    /// The ticket opens nothing any more.
    TicketGone {
        /// The ticket's hash.
        ticket: TicketHash,
    },
    /// Tell the controller: the seat has a session.
    SeatConnected {
        /// The seat.
        seat: ParticipantId,
    },
    /// Tell the controller: the seat has none any more.
    SeatDisconnected {
        /// The seat.
        seat: ParticipantId,
        /// Why.
        code: Code,
    },
    /// Tell the controller: a newer owner has spoken.
    FenceRefused {
        /// The newest fence.
        newest: Fence,
    },
    /// The meeting is over: drop this forwarder.
    Over,
}

#[derive(Debug)]
struct Track<P> {
    seat: ParticipantId,
    kind: Kind,
    layers: Vec<Layer<P>>,
    targets: Vec<Target>,
    said: bool,
}

/// A session that gets a track.
#[derive(Debug, Clone, Copy)]
struct Target {
    session: SessionId,
    layer: u8,
    /// False until a group begins that it can decode from its first frame on.
    flowing: bool,
}

#[derive(Debug)]
struct Session {
    seat: ParticipantId,
    opened: Duration,
    /// When it last asked for a key frame of which track.
    asked: BTreeMap<TrackId, Duration>,
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
    missed: BTreeSet<(SessionId, TrackId)>,
    cached: usize,
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
            missed: BTreeSet::new(),
            cached: 0,
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
                    && self.seats.contains_key(&gone.seat)
                {
                    let seat = gone.seat;
                    self.outputs
                        .push_back(Output::SeatDisconnected { seat, code });
                }
            }
            Input::KeyFrameWanted { session, track } => {
                if let Err(code) = self.key_frame_wanted(now, session, track) {
                    self.outputs.push_back(Output::Refused { session, code });
                }
            }
            Input::Tick => self.tick(now),
        }
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output<P>> {
        self.outputs.pop_front()
    }

    /// Call [`Forwarder::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let gap = self.config.key_frame_gap;
        let layers = self.tracks.values().flat_map(|track| &track.layers);
        let asks = layers.filter_map(|layer| layer.ask.deadline(gap));
        let sessions = self.sessions.values();
        let unseated = sessions
            .filter(|session| !self.seats.contains_key(&session.seat))
            .map(|session| session.opened + self.config.unseated_ttl);
        asks.chain(unseated).min()
    }

    /// Nobody is connected and no seat is held: there is nothing to forget.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.seats.is_empty()
    }

    /// Sessions connected, tracks known, bytes cached.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.sessions.len(), self.tracks.len(), self.cached)
    }

    /// Forwards one frame that came from `session` by stream (video) or by datagram
    /// (audio): appends a delivery for each session that gets it. A refused frame
    /// goes nowhere and harms nobody.
    pub fn on_frame(
        &mut self,
        now: Duration,
        session: SessionId,
        kind: Kind,
        header: &Header,
        payload: &P,
        out: &mut Vec<Delivery<P>>,
    ) -> Result<(), Code> {
        let from = self.sessions.get(&session).ok_or(Code::NotJoined)?;
        let Some(track) = self.tracks.get_mut(&header.track) else {
            if self.missed.len() < MAX_MISSED {
                self.missed.insert((session, header.track));
            }
            return Err(Code::TrackUnknown);
        };
        if track.seat != from.seat {
            return Err(Code::NotYourTrack);
        }
        let joined = self
            .seats
            .get(&from.seat)
            .is_some_and(|seat| seat.joined.is_some());
        if !joined {
            if self.missed.len() < MAX_MISSED {
                self.missed.insert((session, header.track));
            }
            return Err(Code::NotJoined);
        }
        if track.kind != kind {
            return Err(Code::BadFrameHeader);
        }
        let layer = track.layers.get_mut(usize::from(header.layer));
        let layer = layer.ok_or(Code::BadFrameHeader)?;
        let begins = match kind {
            Kind::Audio => true,
            Kind::Video => {
                let room = self.config.cache_per_layer;
                let room = room.min((self.config.cache_total + layer.cached()) - self.cached);
                let before = layer.cached();
                let taken = layer.take(now, header, payload, room);
                self.cached = self.cached + layer.cached() - before;
                match taken {
                    Taken::Begins => true,
                    Taken::Continues => false,
                    Taken::Refused(code) => return Err(code),
                }
            }
        };
        for target in &mut track.targets {
            if target.layer != header.layer {
                continue;
            }
            target.flowing |= begins;
            if target.flowing {
                out.push(Delivery {
                    session: target.session,
                    kind,
                    header: *header,
                    payload: payload.clone(),
                });
            }
        }
        Ok(())
    }

    fn key_frame_wanted(
        &mut self,
        now: Duration,
        session: SessionId,
        id: TrackId,
    ) -> Result<(), Code> {
        let from = self.sessions.get_mut(&session).ok_or(Code::NotJoined)?;
        let track = self.tracks.get(&id).ok_or(Code::TrackUnknown)?;
        if track.seat == from.seat {
            return Err(Code::OwnTrack);
        }
        if track.kind != Kind::Video {
            return Err(Code::BadDescription);
        }
        let target = track.targets.iter().find(|one| one.session == session);
        let layer = target.ok_or(Code::Forbidden)?.layer;
        let gap = self.config.request_gap;
        if from.asked.get(&id).is_some_and(|last| now < *last + gap) {
            return Err(Code::RateLimited);
        }
        from.asked.insert(id, now);
        self.want(now, id, layer);
        Ok(())
    }

    fn tick(&mut self, now: Duration) {
        let gap = self.config.key_frame_gap;
        for (&id, track) in &mut self.tracks {
            let Some(&session) = self.by_seat.get(&track.seat) else {
                track
                    .layers
                    .iter_mut()
                    .for_each(|layer| layer.ask.answered());
                continue;
            };
            for (layer, state) in (0..).zip(&mut track.layers) {
                if state.ask.due(now, gap) {
                    let track = id;
                    self.outputs.push_back(Output::KeyFrameWanted {
                        session,
                        track,
                        layer,
                    });
                }
            }
        }
        let (ttl, seats) = (self.config.unseated_ttl, &self.seats);
        let late = self.sessions.iter();
        let late = late.filter(|(_, s)| !seats.contains_key(&s.seat) && now >= s.opened + ttl);
        let late: Vec<_> = late.map(|(&session, _)| session).collect();
        for session in late {
            self.close(session, Code::NotJoined);
        }
    }

    /// Asks a track's publisher for a key frame, where it is there.
    fn want(&mut self, now: Duration, id: TrackId, layer: u8) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(&session) = self.by_seat.get(&track.seat) else {
            return;
        };
        if let Some(state) = track.layers.get_mut(usize::from(layer))
            && track.kind == Kind::Video
            && state.ask.wanted(now, self.config.key_frame_gap)
        {
            let track = id;
            self.outputs.push_back(Output::KeyFrameWanted {
                session,
                track,
                layer,
            });
        }
    }
}
