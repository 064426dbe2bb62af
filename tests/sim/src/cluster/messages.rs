//! Who there is, and what they say to one another.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use darktower_media::forwarder::Command;
use darktower_meeting::meeting::{Credential, Description};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParticipantId};

use super::store::{Answer, Ask};
use crate::handler::ToParticipant;

/// Somewhere that something runs. A process that is started again is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Store,
    Global,
    Controller(u8),
    Handler(u8),
    Person(u8),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Global => f.write_str("global"),
            Self::Controller(n) => write!(f, "controller-{n}"),
            Self::Handler(n) => write!(f, "handler-{n}"),
            Self::Person(n) => write!(f, "person-{n}"),
        }
    }
}

impl Place {
    /// The id that a node registers with.
    pub(super) fn node(self) -> NodeId {
        let (kind, n) = match self {
            Self::Handler(n) => (2, n),
            Self::Controller(n) => (1, n),
            _ => (0, 0),
        };
        NodeId([kind, n, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
    }

    pub(super) fn of(node: NodeId) -> Self {
        match node.0 {
            [2, n, ..] => Self::Handler(n),
            [_, n, ..] => Self::Controller(n),
        }
    }

    pub(super) fn url(self) -> String {
        match self {
            Self::Handler(n) => format!("https://h{n}/v1/media"),
            Self::Controller(n) => format!("https://c{n}/v1/signal"),
            _ => String::new(),
        }
    }

    /// The place that a URL leads to, and its query.
    pub(super) fn reached_by(url: &str) -> Option<(Self, &str, &str)> {
        let (kind, rest) = url.strip_prefix("https://")?.split_at_checked(1)?;
        let n = rest.split_once('/')?.0.parse().ok()?;
        let (_, query) = url.split_once('?')?;
        let (name, value) = query.split('&').next()?.split_once('=')?;
        let place = match kind {
            "h" => Self::Handler(n),
            _ => Self::Controller(n),
        };
        Some((place, name, value))
    }
}

/// One connection of a participant.
pub(super) type Conn = u64;

#[derive(Debug, Clone)]
pub(super) enum Message {
    Store(u64, Ask),
    /// A write that a path which was cut kept back; nobody waits for what becomes of it. An end that comes late the store
    /// does not do for a living fence.
    StoreLate(Ask),
    Stored(u64, Answer),
    Hold(u64, MeetingId),
    Held(u64, NodeId, bool),
    /// Nobody listens there.
    Nobody(u64),
    Describe(u64, MeetingId),
    Described(u64, Result<(Description, NodeId), Code>),
    Lookup(u64, MeetingId),
    Found(u64, Result<(Description, Place, Place), Code>),
    Open(Conn, MeetingId, Credential),
    OpenMedia(Conn, MediaCredential),
    Up(Conn),
    Say(Conn, Bytes),
    Said(Conn, Bytes),
    Hangup(Conn),
    Closed(Conn, Code),
    ToHandler(Conn, u64, Bytes, bool),
    DatagramToHandler(Conn, Bytes),
    ToPerson(Conn, ToParticipant),
    Call(u64),
    Taken(u64),
    Ended(u64),
    Order(u64, MeetingId, Fence, Command),
    Beat(u64),
    BeatBack(u64),
    FenceRefused(u64, MeetingId),
}

#[derive(Debug, Clone)]
pub(super) enum MediaCredential {
    Token(MeetingId, ParticipantId),
    Ticket(Vec<u8>),
}

impl Message {
    /// What comes of it where the path is cut, once it is not any more: connections send again what single packets lose.
    pub(super) fn kept_back(self) -> Option<Self> {
        match self {
            Self::Store(_, ask) if ask.fenced().is_some() => Some(Self::StoreLate(ask)),
            other => other.is_sent_again().then_some(other),
        }
    }

    fn is_sent_again(&self) -> bool {
        matches!(
            self,
            Self::Say(..)
                | Self::Said(..)
                | Self::Hangup(..)
                | Self::Closed(..)
                | Self::ToHandler(..)
                | Self::ToPerson(..)
                | Self::Order(..)
                | Self::Ended(..)
        )
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Store(id, ask) => format!("{id} {}", first_word(ask)),
            Self::StoreLate(ask) => format!("late {}", first_word(ask)),
            Self::Stored(id, Answer::Lease(held)) => {
                let owner = held.owner.map(Place::of);
                format!(
                    "{id} lease {owner:?} {}, log {}",
                    held.fence.0, held.written
                )
            }
            Self::Stored(id, Answer::Written(logged)) => format!("{id} written {logged:?}"),
            Self::Stored(id, answer) => format!("{id} {}", first_word(answer)),
            Self::Order(call, _, fence, command) => {
                format!("call {call} fence {} {command:?}", fence.0)
            }
            Self::Say(conn, bytes) => format!("{conn:x} {}", said_to_controller(bytes)),
            Self::Said(conn, bytes) => format!("{conn:x} {}", said_to_person(bytes)),
            Self::Described(id, Ok(_)) => format!("{id} described"),
            Self::Found(id, Ok((_, controller, handler))) => {
                format!("{id} found at {controller:?}, {handler:?}")
            }
            Self::ToPerson(conn, what) => format!("{conn:x} {}", first_word(what)),
            Self::ToHandler(conn, stream, bytes, _) => {
                format!("{conn:x} stream {stream}, {} bytes", bytes.len())
            }
            Self::DatagramToHandler(conn, _) => format!("{conn:x} datagram"),
            Self::Open(conn, ..) => format!("{conn:x} open signalling"),
            Self::OpenMedia(conn, ..) => format!("{conn:x} open media"),
            other => format!("{other:?}"),
        }
    }
}

fn first_word(what: &impl fmt::Debug) -> String {
    let text = format!("{what:?}");
    text.split(['(', ' ', '{'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn said_to_controller(bytes: &[u8]) -> String {
    use darktower_wire::framing::{Decoder, MAX_SIGNAL};
    let mut decoder = Decoder::new(MAX_SIGNAL);
    decoder.push(bytes);
    let message = decoder.next_message::<darktower_wire::signal::ClientMessage>();
    message
        .ok()
        .flatten()
        .and_then(|it| it.body)
        .map_or_else(String::new, |body| first_word(&body))
}

fn said_to_person(bytes: &[u8]) -> String {
    use darktower_wire::framing::{Decoder, MAX_SIGNAL};
    let mut decoder = Decoder::new(MAX_SIGNAL);
    decoder.push(bytes);
    let message = decoder.next_message::<darktower_wire::signal::ServerMessage>();
    message
        .ok()
        .flatten()
        .and_then(|it| it.body)
        .map_or_else(String::new, |body| first_word(&body))
}

/// What a place decided: sent at once, or after a while.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) sends: Vec<(Duration, Place, Message)>,
    pub(super) facts: Vec<Fact>,
}

impl Out {
    pub(super) fn send(&mut self, to: Place, message: Message) {
        self.sends.push((Duration::ZERO, to, message));
    }
}

/// What the rules are judged by.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// A join or a resume is about to be acknowledged.
    Acked(MeetingId, ParticipantId, Fence),
    /// The owner could not write, or does not know whether it did.
    LogFailed(MeetingId),
    /// The whole meeting was written.
    LogWhole(MeetingId, Fence),
    /// A commit went out to members.
    Committed(MeetingId, Fence, u64, Bytes),
    /// Something that may not be.
    Broken(String),
}

/// Requests that wait for an answer, and why.
#[derive(Debug)]
pub(super) struct Calls<P> {
    next: u64,
    waiting: std::collections::BTreeMap<u64, (P, Duration)>,
}

impl<P> Calls<P> {
    /// Numbers from `first` on, so that answers to somebody before are not taken for one's own.
    pub(super) fn new(first: u64) -> Self {
        Self {
            next: first,
            waiting: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, purpose: P, until: Duration) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, (purpose, until));
        self.next
    }

    pub(super) fn end(&mut self, id: u64) -> Option<P> {
        self.waiting.remove(&id).map(|(purpose, _)| purpose)
    }

    pub(super) fn expired(&mut self, now: Duration) -> Vec<P> {
        let due: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().filter_map(|id| self.end(id)).collect()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.waiting.values().map(|(_, until)| *until).min()
    }
}
