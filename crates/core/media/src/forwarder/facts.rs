//! What a [`Forwarder`](super::Forwarder) is told, and what it decides.

use darktower_wire::Code;
use darktower_wire::ids::{Fence, NodeId, ParticipantId, TrackId};
use darktower_wire::media::Header;

use super::trunks::Trunk;
use crate::allocate::Share;
use crate::demand::View;
use crate::path::Loss;
use crate::{Bitrate, Kind, Shape};

/// A media session, numbered by the shell and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// SHA-256 of the ticket that opens a session; the ticket itself is kept nowhere.
pub type TicketHash = [u8; 32];

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
        /// Its layers and what it shows.
        shape: Shape,
        /// The handler that its publisher is on; `None`: this one.
        via: Option<NodeId>,
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
    /// Another handler that the meeting is on may open a trunk here.
    Trunk {
        /// The handler.
        node: NodeId,
        /// SHA-256 of a ticket that opens it. The newest two count.
        ticket: TicketHash,
    },
    /// Another handler that the meeting is on: what comes of the participants there comes by a trunk to it.
    Neighbour {
        /// The handler.
        node: NodeId,
        /// The way there.
        trunk: Trunk,
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
        /// The layer that a trunk lacks; others get but one.
        layer: u8,
    },
    /// Which layers of a track somebody gets at the other end of a trunk that was opened here.
    LayersWanted {
        /// The trunk.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// Bit n stands for layer n.
        layers: u16,
    },
    /// A trunk that was dialled stands.
    TrunkOpened {
        /// Its number, as in [`Output::Dial`].
        session: SessionId,
    },
    /// A trunk that was dialled is gone, or could not be opened.
    TrunkClosed {
        /// Its number.
        session: SessionId,
    },
    /// All that a subscriber shows, in place of what it said before.
    Demand {
        /// Its session.
        session: SessionId,
        /// The tracks, and their tiles.
        views: Vec<View>,
    },
    /// What the path to a subscriber is believed to carry. To be said before its seat
    /// has joined, and when it changes; until then there is no bound.
    Path {
        /// Its session.
        session: SessionId,
        /// The belief.
        estimate: Bitrate,
        /// How much of what is sent there is lost; sound is repeated for it.
        loss: Loss,
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
    /// Open a trunk, and say how that went.
    Dial {
        /// Its number: frames that come by it are of this session.
        session: SessionId,
        /// Where to.
        trunk: Trunk,
    },
    /// Close a trunk that was dialled, or give up dialling. No `TrunkClosed` is needed for it.
    HangUp {
        /// Its number.
        session: SessionId,
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
    /// Tell a publisher which layers of its track somebody gets; it may pause others.
    LayersWanted {
        /// The publisher's session.
        session: SessionId,
        /// The track.
        track: TrackId,
        /// Bit n stands for layer n.
        layers: u16,
    },
    /// Tell a subscriber which audio tracks it gets.
    Speakers {
        /// Its session.
        session: SessionId,
        /// The tracks, the active speaker's first.
        tracks: Vec<TrackId>,
    },
    /// Tell a subscriber what it gets of what it shows.
    Allocation {
        /// Its session.
        session: SessionId,
        /// What its path is believed to carry; zero where nothing is known of it.
        estimate: Bitrate,
        /// Of each video track that is shown, by track.
        shares: Vec<Share>,
    },
    /// Find out whether the path to a subscriber would carry so much.
    Probe {
        /// Its session.
        session: SessionId,
        /// At this estimate it would get more.
        to: Bitrate,
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
        /// Whether they are trunks of another handler.
        is_trunk: bool,
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
