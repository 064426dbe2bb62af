//! What a [`Subscriber`](super::Subscriber) is told, and what it decides.

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::Header;

use crate::Kind;

/// A track as the signalling tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// The participant whose key its frames must be sealed with.
    pub owner: ParticipantId,
    /// What it carries.
    pub kind: Kind,
    /// Its owner sends nothing on it.
    pub muted: bool,
}

/// Facts for a [`Subscriber`].
#[derive(Debug, Clone)]
pub enum Input {
    /// The media session is up.
    Connected,
    /// The media session is gone, and all its streams with it.
    Disconnected,
    /// The track is there and subscribed to, or it has changed.
    Track(Track),
    /// The track is gone or not subscribed to any more.
    TrackGone(TrackId),
    /// Whether frames of a track that was told of are to come: not while it is hidden,
    /// or paused because the path carries no more.
    Shown {
        /// The track.
        track: TrackId,
        /// They are to come.
        shown: bool,
    },
    /// Keys of another epoch are there: what is held may be opened now.
    EpochInstalled,
    /// Bytes of an incoming unidirectional stream, in order.
    StreamData {
        /// The stream's number, chosen by the shell, never used twice in a session.
        stream: u64,
        /// The bytes.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// The handler reset the stream.
    StreamReset {
        /// The stream.
        stream: u64,
    },
    /// A datagram.
    Datagram(Bytes),
    /// The decoder failed: deliver nothing of this video track until a key frame.
    DecoderFailed(TrackId),
    /// Time has passed.
    Tick,
}

/// Decisions of a [`Subscriber`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Give this frame to the track's decoder.
    Frame(Opened),
    /// Tell the handler that this track cannot be decoded without a key frame.
    KeyFrameWanted {
        /// The track.
        track: TrackId,
        /// The layer last seen.
        layer: u8,
    },
    /// Read no more of this stream.
    Stop {
        /// The stream.
        stream: u64,
        /// Why.
        code: Code,
    },
}

/// An opened frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its authenticated header, which names the track.
    pub header: Header,
    /// The encoded chunk.
    pub data: Bytes,
    /// A picture no newer than one delivered before, as where another layer begins: to
    /// be decoded, for what follows needs it, and not to be shown.
    pub behind: bool,
}

/// What a [`Subscriber`] has seen so far. Each frame is counted once, under its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Opened and delivered.
    pub opened: u64,
    /// Refused: changed on the way.
    pub refused_bad_tag: u64,
    /// Refused: seen before, or older than what was delivered.
    pub refused_replay: u64,
    /// Passed over: repeated in a bundle, and not needed.
    pub repeated: u64,
    /// Refused: sealed by another than the track's owner.
    pub refused_sender: u64,
    /// Refused: header or seal that cannot be read.
    pub refused_malformed: u64,
    /// Sealed before this end joined, or in an epoch whose keys are wiped.
    pub epoch_gone: u64,
    /// Had to be held for an epoch or a track still to come (counted when held).
    pub held: u64,
    /// Given up: of an abandoned group, held too long, or late.
    pub dropped: u64,
    /// Key frames asked for.
    pub key_frames_wanted: u64,
}
