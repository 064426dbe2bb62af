//! What a [`Meeting`](super::Meeting) is told and what it decides.

use core::time::Duration;

use bytes::Bytes;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId, TrackId};
use darktower_wire::signal::{self, ClientMessage, Controller, Layer, ServerMessage};
use darktower_wire::token::Role;
use darktower_wire::{Code, Secret};

/// What a meeting permits. The defaults are the product's.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long a seat is held after its participant was last heard.
    pub seat_ttl: Duration,
    /// A participant that says nothing for this long is shown as away; its session goes on.
    pub away_after: Duration,
    /// A session that says nothing for this long is lost.
    pub silent_after: Duration,
    /// An empty meeting is given up after this long.
    pub empty_for: Duration,
    /// The most tracks a participant may publish at once.
    pub max_tracks: usize,
    /// The longest encoded track description, in bytes.
    pub max_description: usize,
    /// Between two messages of a session on average, at the least.
    pub message_every: Duration,
    /// How many messages a session may be ahead of that.
    pub message_burst: u32,
    /// The epoch's moves are told to lobbies at most this often.
    pub lobby_every: Duration,
    /// How long the one asked to remove somebody has, before the next is asked.
    pub remove_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seat_ttl: Duration::from_secs(5 * 60),
            away_after: Duration::from_secs(5),
            silent_after: Duration::from_secs(15),
            empty_for: Duration::from_secs(60),
            max_tracks: 16,
            max_description: 4096,
            message_every: Duration::from_millis(5),
            message_burst: 1000,
            lobby_every: Duration::from_millis(100),
            remove_within: Duration::from_secs(1),
        }
    }
}

/// One live signalling connection, named by the shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// With what right a session was opened.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A join token, verified by the shell.
    Token {
        /// Whom it names.
        participant: ParticipantId,
        /// What they may do.
        role: Role,
    },
    /// A resume token as presented; the meeting judges it.
    Resume(Bytes),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token { participant, role } => write!(f, "Token({participant}, {role:?})"),
            Self::Resume(_) => f.write_str("Resume(..)"),
        }
    }
}

/// Fresh random bytes for one session.
#[derive(Clone, PartialEq, Eq)]
pub struct Entropy {
    /// Becomes the secret in a resume token.
    pub resume: [u8; 32],
    /// Becomes the media ticket.
    pub ticket: [u8; 32],
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// A fact that reached the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A connection was authenticated (or presents a resume token).
    Opened {
        /// Its name from now on.
        session: SessionId,
        /// Its right.
        credential: Credential,
        /// Bytes for its secrets.
        entropy: Entropy,
    },
    /// A message came.
    Message {
        /// From whom.
        session: SessionId,
        /// What.
        message: ClientMessage,
    },
    /// Bytes came that are no message.
    Malformed {
        /// From whom.
        session: SessionId,
        /// What is wrong with them.
        code: Code,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// All of the meeting is on this media handler now, or on none.
    Handler(Option<Handler>),
    /// Those who were on one of the meeting's handlers are on this one now, or still.
    Rehomed {
        /// The handler that they were on.
        from: NodeId,
        /// The one that they are on.
        to: Handler,
    },
    /// Where newcomers go when the handler that they go to has no room for more of this meeting.
    Spare(Option<Spare>),
    /// These controllers would take the meeting where this one is gone, the best first.
    Elsewhere(Vec<Controller>),
    /// The meeting is given up here: another controller has it, or may have it. What
    /// is in the log is the truth from here on; nothing is persisted any more.
    Moved {
        /// Where it is to be found, the best first; empty where nobody knows.
        to: Vec<Controller>,
        /// What the sessions are closed with.
        code: Code,
    },
    /// Somebody with the right to do so ends the meeting.
    End,
    /// The meeting was restored here: nobody is connected yet.
    TakenOver,
    /// The deadline passed.
    Tick,
}

/// A media handler that a meeting is on.
#[derive(Debug, Clone, PartialEq)]
pub struct Handler {
    /// Which.
    pub node: NodeId,
    /// How it is reached; the ticket is empty.
    pub assignment: signal::MediaAssignment,
    /// How other handlers reach it.
    pub trunk_url: String,
    /// Random; tickets for trunks to it are made of it. Another each time that it comes.
    pub trunk_secret: Secret<[u8; 32]>,
}

/// A handler that is not in use, or not by newcomers.
#[derive(Debug, Clone, PartialEq)]
pub struct Spare {
    /// It is, once so many are on the one that newcomers go to.
    pub from: usize,
    /// Which.
    pub handler: Handler,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "messages are most of what goes")]
pub enum Output {
    /// Append to the recoverable log, before anything that follows.
    Persist(Bytes),
    /// Tell a media handler.
    Media {
        /// Which.
        to: NodeId,
        /// What.
        order: MediaOrder,
    },
    /// Say everything to a media handler ([`Meeting::media_orders`](super::Meeting::media_orders)), which may be new, for
    /// what is where has changed. Handlers that are not named by
    /// [`Meeting::handler_nodes`](super::Meeting::handler_nodes) any more are left.
    Sync {
        /// Which.
        node: NodeId,
    },
    /// Half of those on this media handler, or more, hear nothing of it: the meeting should leave it.
    Unheard {
        /// Which.
        node: NodeId,
    },
    /// Send a message.
    Send {
        /// To whom.
        session: SessionId,
        /// What.
        message: ServerMessage,
    },
    /// Close a connection after what was sent to it; nothing more is said of it.
    Close {
        /// Which.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// The meeting is over here: nobody is left, or it was ended. Said once.
    Over {
        /// It was ended, and must not be opened again.
        ended: bool,
    },
}

/// Something that is to be known when the meeting is long over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When it happened, in unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: Happened,
}

/// What happened in a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Somebody's seat was given up, for whatever reason.
    Left {
        /// Whose.
        participant: ParticipantId,
        /// What it might do.
        role: Role,
        /// When it came, in unix milliseconds; 0 where nobody knows any more.
        joined_ms: u64,
    },
    /// A host removed somebody, who has left before.
    Removed {
        /// Whom.
        participant: ParticipantId,
        /// The host.
        by: ParticipantId,
    },
    /// It was ended for everybody.
    Ended {
        /// By this participant; `None` where it was none.
        by: Option<ParticipantId>,
    },
}

/// What should be at the media handler. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaOrder {
    /// A place that may open a media session.
    Seat {
        /// Its participant.
        seat: ParticipantId,
        /// SHA-256 of the ticket that opens it.
        ticket_sha256: Bytes,
        /// False: may connect and wait, nothing is forwarded.
        joined: bool,
    },
    /// It may no longer.
    SeatGone {
        /// Its participant.
        seat: ParticipantId,
        /// Why.
        code: Code,
    },
    /// A track and who may send on it.
    Track {
        /// Which.
        track: TrackId,
        /// Its publisher.
        seat: ParticipantId,
        /// A video track, else an audio track.
        video: bool,
        /// It shows a screen.
        screen: bool,
        /// Its layers, the smallest first; of video at least one.
        layers: Vec<Layer>,
        /// The handler that its publisher is on, where that is another.
        via: Option<NodeId>,
    },
    /// Another handler of the meeting, which may open a trunk here.
    Trunk {
        /// Which.
        node: NodeId,
        /// SHA-256 of the ticket that opens it.
        ticket_sha256: Bytes,
    },
    /// Another handler of the meeting, to which a trunk is opened.
    Neighbour {
        /// Which.
        node: NodeId,
        /// How it is reached.
        url: String,
        /// SHA-256 of the certificates it may show.
        certificate_sha256: Vec<Bytes>,
        /// Opens the trunk.
        ticket: Secret<Bytes>,
    },
    /// The track is no more.
    TrackGone {
        /// Which.
        track: TrackId,
    },
    /// An exception from "all tracks of the others".
    Subscription {
        /// Whose.
        seat: ParticipantId,
        /// Which.
        track: TrackId,
        /// Whether it is wanted.
        wanted: bool,
    },
    /// Everybody out.
    MeetingOver,
}

/// What a newcomer needs to know before it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How many have a seat.
    pub participants: usize,
    /// Whether another may join.
    pub full: bool,
    /// The key group's newest epoch and public state, where there is a group.
    pub keys: Option<(u64, Bytes)>,
}

/// Why a snapshot or a delta cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Bytes that are no record.
    #[error("a stored record of the meeting is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The snapshot does not say which meeting it is of.
    #[error("the stored snapshot names no meeting")]
    Nameless,
}

/// The meeting that a resume token belongs to, for the shell to route by.
/// Whether the token is any good, the meeting judges.
pub fn resume_token_meeting(token: &[u8]) -> Option<MeetingId> {
    (token.len() == RESUME_TOKEN)
        .then(|| MeetingId::from_slice(&token[..16]).ok())
        .flatten()
}

/// Whom a resume token names, for the log; nobody's id where it is none.
pub fn resume_token_participant(token: &[u8]) -> ParticipantId {
    resume_token_seat(token).unwrap_or_default()
}

/// Meeting id, participant id, secret.
pub(super) const RESUME_TOKEN: usize = 16 + 16 + 32;

pub(super) fn resume_token(meeting: &[u8], seat: ParticipantId, secret: &[u8; 32]) -> Bytes {
    [meeting, &seat.0, secret].concat().into()
}

pub(super) fn resume_token_seat(token: &[u8]) -> Option<ParticipantId> {
    (token.len() == RESUME_TOKEN)
        .then(|| ParticipantId::from_slice(&token[16..32]).ok())
        .flatten()
}
