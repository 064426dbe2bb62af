//! What a screen shows: one plain picture of everything, made anew whenever
//! something changes.

use darktower_wire::Secret;
use serde::Serialize;

use crate::command::TrackSource;

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct State {
    /// How far this participant has come.
    pub phase: Phase,
    /// Why it did not come further, or is no longer there.
    pub error: Option<Problem>,
    /// The meeting.
    pub meeting: Option<MeetingState>,
    /// This participant.
    pub me: Option<Me>,
    /// Everybody with a seat, by id.
    pub participants: Vec<ParticipantState>,
    /// Families of codecs ("vp8", "vp09") that all the others decode; `None` where anything will do.
    pub decodable: Option<Vec<String>>,
    /// How many are in the meeting, as told in the lobby.
    pub lobby_participants: u32,
    /// The two connections.
    pub links: Links,
    /// End-to-end encryption.
    pub e2ee: KeysState,
    /// What the paths of the media link are believed to carry.
    pub estimates: Estimates,
    /// Audio tracks that are forwarded to this end, the active speaker's first.
    pub speakers: Vec<u32>,
    /// Own publications.
    pub tracks: Vec<OwnTrack>,
    /// What takes the seat again after a reload; keep it in the tab.
    pub resume: Option<Secret<String>>,
    /// Counts since the start.
    pub counters: Counters,
}

/// How far the participant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing asked yet.
    #[default]
    Idle,
    /// The signalling link is being opened.
    Connecting,
    /// In the lobby.
    Lobby,
    /// Join asked, not answered.
    Joining,
    /// In the meeting.
    Joined,
    /// The seat is held, the link is being reopened.
    Reconnecting,
    /// Left by will.
    Left,
    /// The meeting is over for everybody, or for this participant.
    Ended,
    /// Could not get in.
    Failed,
}

/// An error of the code table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its name.
    pub code: &'static str,
    /// Its number.
    pub number: u32,
    /// The same may work later.
    pub retryable: bool,
    /// One sentence for a developer.
    pub detail: String,
}

/// The meeting as a screen shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeetingState {
    /// Hexadecimal id.
    pub id: String,
    /// `abc-defg-hij`.
    pub code: String,
    /// May be empty.
    pub title: String,
    /// The most participants it takes.
    pub max_participants: u32,
    /// The keys need the secret of the link.
    pub key_in_link: bool,
}

/// This participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Me {
    /// Hexadecimal id.
    pub id: String,
    /// As joined.
    pub name: String,
    /// "guest", "member" or "host".
    pub role: &'static str,
}

/// Somebody with a seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParticipantState {
    /// Hexadecimal id.
    pub id: String,
    /// Name.
    pub name: String,
    /// "guest", "member" or "host".
    pub role: &'static str,
    /// It is this participant.
    pub me: bool,
    /// The seat is held, nobody is on it.
    pub away: bool,
    /// What it publishes.
    pub tracks: Vec<TrackState>,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackState {
    /// The track's number in the meeting.
    pub id: u32,
    /// Where it comes from; `None` where this version has no word for it.
    pub source: Option<TrackSource>,
    /// "audio" or "video".
    pub kind: &'static str,
    /// WebCodecs codec string.
    pub codec: String,
    /// Device or window.
    pub label: String,
    /// Silent or dark by will.
    pub muted: bool,
    /// Width of the largest layer in pixels.
    pub width: u32,
    /// Height of the largest layer in pixels.
    pub height: u32,
    /// How many layers it has.
    pub layers: usize,
    /// The track whose place it takes; 0: none.
    pub replaces: u32,
    /// The layer that this end gets; `None` where nothing was said of it.
    pub layer: Option<u32>,
    /// The highest temporal layer that this end gets.
    pub temporal: Option<u32>,
    /// Shown here, but the path does not carry it: nothing comes.
    pub paused: bool,
}

/// What the paths of the media link are believed to carry; `None` while unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Estimates {
    /// Bits per second from the handler to this end.
    pub down_bps: Option<u64>,
    /// Bits per second from this end to the handler.
    pub up_bps: Option<u64>,
    /// Thousandths of this end's audio datagrams that were lost on the way to
    /// the handler, of the last seconds.
    pub up_loss: Option<u32>,
}

/// An own publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnTrack {
    /// The publisher's own name.
    pub handle: u32,
    /// The meeting's name, once given.
    pub track: Option<u32>,
}

/// The two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Links {
    /// To the meeting controller.
    pub signal: LinkState,
    /// To the media handler.
    pub media: LinkState,
    /// The name of the code with which the handler refused this end, while it does: who waits because it is
    /// `overloaded` gets in without doing anything.
    pub media_refused: Option<&'static str>,
}

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Not there.
    #[default]
    Down,
    /// Being opened.
    Connecting,
    /// Open.
    Up,
}

/// End-to-end encryption as a screen shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct KeysState {
    /// Frames can be sealed and opened.
    pub ready: bool,
    /// The epoch.
    pub epoch: u64,
    /// Thirty digits in six groups, the same on every screen; empty until ready.
    pub code: String,
    /// Members of the key group.
    pub members: usize,
}

/// Counts of what happened to frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Counters {
    /// Frames sealed and sent.
    pub sealed: u64,
    /// Frames not sent because there was no key, track or room yet.
    pub unsent: u64,
    /// Frames opened.
    pub opened: u64,
    /// Refused: the tag or the frame's form was wrong.
    pub refused_bad_tag: u64,
    /// Refused: this frame had been there before.
    pub refused_replay: u64,
    /// Refused: sealed by another than the track's owner.
    pub refused_sender: u64,
    /// Refused: header or stream malformed.
    pub refused_header: u64,
    /// Kept for a moment because their epoch was still to come.
    pub held: u64,
    /// Passed over: too late, or from before this end joined.
    pub dropped: u64,
}

impl Problem {
    /// `code` with a sentence about this case of it.
    pub(crate) fn of(code: darktower_wire::Code, detail: impl Into<String>) -> Self {
        Self {
            code: code.name(),
            number: code.number(),
            retryable: code.is_retryable(),
            detail: detail.into(),
        }
    }
}
