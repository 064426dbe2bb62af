//! What a [`Session`](super::Session) is told, what it decides, what it shows.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::signal::{
    ClientMessage, Controller, KeyCommit, KeyState, MediaAssignment, Meeting, Publish, Role,
    ServerMessage,
};
use darktower_wire::{Code, Secret};

/// How patient a session is. The defaults are the product's.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Between two pings on a healthy connection.
    pub ping_every: Duration,
    /// A ping without answer for this long makes the connection suspicious.
    pub suspicious_after: Duration,
    /// Between two pings on a suspicious connection.
    pub ping_suspicious_every: Duration,
    /// Silence after which another connection is opened beside this one, in case that the peer is gone.
    pub race_after: Duration,
    /// Silence after which the connection counts as lost. Less than what a connection lives without a packet.
    pub dead_after: Duration,
    /// A ping without answer for this long (and some round trips), while other things
    /// arrive, shows that the controller is gone.
    pub peer_gone_after: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// The same where there is another controller to try.
    pub connect_timeout_choice: Duration,
    /// Waits before the attempts to connect again; the last one repeats.
    pub backoff: Vec<Duration>,
    /// How long to try where no seat is held yet.
    pub patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_millis(500),
            suspicious_after: Duration::from_millis(500),
            ping_suspicious_every: Duration::from_millis(250),
            race_after: Duration::from_secs(3),
            dead_after: Duration::from_millis(9500),
            peer_gone_after: Duration::from_millis(750),
            connect_timeout: Duration::from_secs(5),
            connect_timeout_choice: Duration::from_secs(2),
            backoff: [0, 300, 1200, 2700, 4800, 6000]
                .map(Duration::from_millis)
                .to_vec(),
            patience: Duration::from_secs(30),
        }
    }
}

/// Something happened to a session, or its owner wants something.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "messages are most of what comes")]
pub enum Input {
    /// Connect and look at the meeting without being in it.
    EnterLobby,
    /// Be in the meeting. Connects where that has not happened yet; goes out as
    /// soon as the connection stands.
    Join {
        /// 1 to 64 characters.
        name: String,
        /// Tracks to publish with the join.
        publish: Vec<Publish>,
        /// The newcomer's commit, where the group's state was known.
        key: Option<KeyCommit>,
    },
    /// Leave for good.
    Leave,
    /// Offer a track; its `handle` is the caller's and must be unused.
    Publish(Publish),
    /// Take a track back.
    Unpublish {
        /// As given with `Publish`.
        handle: u32,
    },
    /// Silence an own track, or the reverse.
    SetMuted {
        /// As given with `Publish`.
        handle: u32,
        /// What it shall be.
        muted: bool,
    },
    /// Want, or no longer want, another's track.
    Subscribe {
        /// Whose frames.
        track: TrackId,
        /// Whether they are wanted.
        wanted: bool,
    },
    /// This end decodes these codecs (codec strings). Said at once, with the join, or after the next resume.
    Decodes(Vec<String>),
    /// Remove another participant (hosts only).
    Remove(ParticipantId),
    /// End the meeting for everybody (hosts only).
    EndMeeting,
    /// The keys' owner says something to the group.
    Key(KeySaid),
    /// The connection stands; its CONNECT carried what [`Output::Connect`] asked.
    Connected,
    /// The connection is gone, or could not be made. `None` where no code is known.
    Disconnected {
        /// The close code.
        code: Option<Code>,
    },
    /// The connection beside the one that stands, stands as well.
    Beside,
    /// The API was asked again and named a controller: from now on that is the one
    /// that [`Output::Connect`] without a `to` means.
    Found,
    /// The API was asked again because the join token was spent ([`super::Session::is_spent`]) and let this end come
    /// anew, maybe as another participant: there is another token from now on.
    Admitted {
        /// Takes the place of the commit in a join that is not answered.
        key: Option<KeyCommit>,
    },
    /// A message came.
    Message(ServerMessage),
    /// Nothing comes from the media handler, though the controller answers.
    MediaSilent,
    /// The deadline passed.
    Tick,
}

/// What the owner of the keys says through the session.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySaid {
    /// A commit of its own. Only one may be under way.
    Commit(KeyCommit),
    /// The answer to [`KeyEvent::Committed`], in the order they came.
    Answer {
        /// The epoch the commit leads to.
        epoch: u64,
        /// Whether it could be processed.
        accepted: bool,
    },
    /// The group's public state that was asked for.
    GroupInfo {
        /// Its epoch.
        epoch: u64,
        /// `MLSMessage(GroupInfo)`.
        group_info: Bytes,
    },
    /// This end cannot follow the group.
    Resync,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection, after giving up any former one. Answer with
    /// [`Input::Connected`] or [`Input::Disconnected`].
    Connect {
        /// The one that stands goes on. Answer with [`Input::Beside`], or with nothing where it cannot be opened.
        beside: bool,
        /// The resume token for the CONNECT, or `None` for a join token. A join
        /// token opens one session: where it was used up, get another one.
        resume: Option<Secret<Bytes>>,
        /// The controller to connect to; `None`: the one that the API named.
        to: Option<Controller>,
    },
    /// Give up the connection beside the one that stands.
    Keep,
    /// Give up the one that stands for the one beside it, which may still be opened. Answer with [`Input::Connected`] or
    /// [`Input::Disconnected`].
    Replace,
    /// Close the connection (or stop connecting). Answer with nothing.
    Disconnect {
        /// The close code.
        code: Code,
    },
    /// None of the controllers that are known let this end in, or its join token is
    /// spent: ask the API for the meeting. Answer with [`Input::Found`] or
    /// [`Input::Admitted`], or with nothing where it names none; it is asked for again.
    LookUp,
    /// Send a message.
    Send(ClientMessage),
    /// [`super::Session::state`] differs from before.
    Changed,
    /// An own track got (or, after a long absence, changed) its id.
    Published {
        /// As given with `Publish`.
        handle: u32,
        /// Its id in the meeting.
        track: TrackId,
    },
    /// The media handler to be at, and the ticket for the next connection to it.
    /// A connection to the same URL that stands needs no change.
    MediaAssigned(MediaAssignment),
    /// For the owner of the keys.
    Keys(KeyEvent),
    /// Something asked for was refused; the session goes on.
    Refused {
        /// What.
        what: What,
        /// Why.
        code: Code,
        /// For a developer's eyes.
        detail: String,
    },
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// [`Input::EnterLobby`].
    Lobby,
    /// [`Input::Join`].
    Join,
    /// [`Input::Publish`] with this handle.
    Publish(u32),
    /// [`Input::Unpublish`] or [`Input::SetMuted`].
    Track,
    /// [`Input::Subscribe`].
    Subscribe(TrackId),
    /// [`Input::Remove`].
    Remove,
    /// [`Input::EndMeeting`].
    EndMeeting,
    /// [`Input::Key`].
    Key,
    /// [`Input::Leave`].
    Leave,
}

/// What the owner of the keys has to know.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyEvent {
    /// There is no group. In the meeting: found one. In the lobby: the join will.
    Found,
    /// The group's public state. In the lobby: what to build the join on. In the
    /// meeting: this end is not in the group (any more); join it by an external
    /// commit, which replaces the leaf that it had.
    State(KeyState),
    /// Another's commit won its epoch: process it, say [`KeySaid::Answer`].
    Committed {
        /// The epoch it leads to.
        epoch: u64,
        /// `MLSMessage(PublicMessage(Commit))`.
        commit: Bytes,
        /// Who made it.
        by: ParticipantId,
    },
    /// The own commit won: install its epoch.
    OwnAccepted {
        /// The epoch it leads to (0 where it founded the group).
        epoch: u64,
    },
    /// The own commit lost or was voided; drop what was prepared. With `resync`,
    /// drop the group and join again on `state`; else (a newcomer) build a new
    /// commit on `state`, or (a member) wait for the winner and decide anew.
    Refused {
        /// Why.
        code: Code,
        /// The group's public state now, where it was told.
        state: Option<KeyState>,
        /// Whether this end's group is worthless.
        resync: bool,
    },
    /// Remove these from the group, as far as they are in it.
    RemoveWanted(Vec<ParticipantId>),
    /// Say [`KeySaid::GroupInfo`] of the present epoch.
    GroupInfoWanted,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing was asked yet.
    #[default]
    Idle,
    /// On the way to the lobby.
    Connecting,
    /// In the lobby.
    Lobby,
    /// A join was asked for and not answered.
    Joining,
    /// In the meeting.
    Joined,
    /// In the meeting, without a connection; the seat is held.
    Reconnecting,
    /// Left on own wish.
    Left,
    /// The meeting is over.
    Ended,
    /// It cannot go on; [`State::error`] says why.
    Failed,
}

impl Phase {
    /// Whether the session is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Left | Self::Ended | Self::Failed)
    }
}

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// There is none.
    #[default]
    Down,
    /// One is being made.
    Connecting,
    /// It stands and answers.
    Up,
    /// It has not answered for a while.
    Suspicious,
}

/// Somebody on the roster.
#[derive(Debug, Clone, PartialEq)]
pub struct Attendance {
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// The seat is held, nobody is on it.
    pub away: bool,
    /// Their tracks: encoded `TrackDescription` and mute state.
    pub tracks: BTreeMap<TrackId, TrackState>,
    /// Codec strings that they decode; empty where they have not said.
    pub decodes: Vec<String>,
}

/// A track on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackState {
    /// An encoded `TrackDescription`.
    pub description: Bytes,
    /// Silenced by its owner.
    pub muted: bool,
}

/// An own track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTrack {
    /// Its id once the controller gave it one.
    pub track: Option<TrackId>,
    /// An encoded `TrackDescription`.
    pub description: Bytes,
    /// What its owner wants it to be.
    pub muted: bool,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// For a developer's eyes.
    pub detail: String,
}

/// A session as its owner may show it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Why it is over (or, in the lobby, why a join was refused).
    pub error: Option<Failure>,
    /// How the connection is.
    pub link: Link,
    /// The meeting, once known.
    pub meeting: Option<Meeting>,
    /// This participant, once known.
    pub me: Option<ParticipantId>,
    /// The own name as given with the join.
    pub name: String,
    /// Everybody with a seat, this participant included.
    pub participants: BTreeMap<ParticipantId, Attendance>,
    /// How many were in the meeting when the lobby was entered.
    pub lobby_participants: u32,
    /// Own tracks by handle.
    pub own_tracks: BTreeMap<u32, OwnTrack>,
    /// Codec strings that this end decodes; empty while nobody knows.
    pub decodes: Vec<String>,
    /// Tracks of others that are not wanted.
    pub unwanted: std::collections::BTreeSet<TrackId>,
    /// Takes the seat again, also after a reload.
    pub resume_token: Option<Secret<Bytes>>,
    /// The last round trip of a ping.
    pub rtt: Option<Duration>,
}
