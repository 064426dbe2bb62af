//! What the shell has to do, in order.

use bytes::Bytes;
use darktower_wire::ids::TrackId;
use darktower_wire::media::AudioLevel;
use darktower_wire::{Code, Secret};
use serde::Serialize;

/// One of the two connections of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// To the meeting controller.
    Signal,
    /// To the media handler.
    Media,
}

/// A stream of a link: even where this end opened it, odd where the shell
/// numbered one that the other end opened.
pub type StreamId = u64;

/// An effect for the shell to perform.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open the link; answer by `LinkUp` or `LinkDown`. An earlier connection
    /// of the same link is over: nothing of it may be reported any more.
    Connect {
        /// Which.
        link: Link,
        /// The earlier connection goes on; answer by `Beside` once this one stands, and by nothing where it cannot be
        /// opened. Another one beside it is given up.
        beside: bool,
        /// Complete URL; its query opens the door.
        url: Secret<String>,
        /// Certificates that may answer; empty: public roots decide.
        certificate_sha256: Vec<[u8; 32]>,
    },
    /// Give up the connection beside the one that stands.
    Keep {
        /// Of which link.
        link: Link,
    },
    /// Give up the connection that stands for the one beside it, which may still be opened; answer by `LinkUp` or
    /// `LinkDown`.
    Replace {
        /// Of which link.
        link: Link,
    },
    /// Close the link; no `LinkDown` follows.
    Close {
        /// Which.
        link: Link,
        /// Why.
        code: Code,
    },
    /// Open a unidirectional stream under this number.
    OpenUni {
        /// On which link.
        link: Link,
        /// Its number.
        stream: StreamId,
        /// Higher goes first.
        priority: i32,
    },
    /// Open a bidirectional stream under this number.
    OpenBi {
        /// On which link.
        link: Link,
        /// Its number.
        stream: StreamId,
    },
    /// Write to a stream.
    Write {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
        /// What; may be empty where only `fin` is meant.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// Give up a stream that this end writes.
    Reset {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: Code,
    },
    /// Ask the other end to give up a stream that this end reads.
    Stop {
        /// On which link.
        link: Link,
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: Code,
    },
    /// Send a datagram on the media link.
    Datagram(Bytes),
    /// Decode and show a picture.
    Video {
        /// Its track.
        track: TrackId,
        /// Its layer.
        layer: u8,
        /// Decodable on its own.
        key: bool,
        /// No newer than one before it: to be decoded, for others need it, and not
        /// to be shown.
        behind: bool,
        /// When it was captured, in microseconds of its sender's clock.
        capture_us: u64,
        /// The chunk as the sender's encoder made it.
        chunk: Bytes,
    },
    /// Decode and play an audio packet.
    Audio {
        /// Its track.
        track: TrackId,
        /// Its running number: one more for each packet of the track.
        number: u64,
        /// When it was captured, in microseconds of its sender's clock.
        capture_us: u64,
        /// How loud it is.
        level: Option<AudioLevel>,
        /// The chunk as the sender's encoder made it.
        chunk: Bytes,
    },
    /// The next picture of this own track has to be a key frame.
    KeyFrame {
        /// The publisher's own name of the track.
        handle: u32,
        /// Its layer.
        layer: u8,
    },
    /// How much the encoder of this own layer may make from now on.
    Encode {
        /// The publisher's own name of the track.
        handle: u32,
        /// Its layer.
        layer: u8,
        /// Bits per second; 0: nobody gets the layer, or the path does not
        /// carry it, so it is not encoded.
        target_bps: u32,
    },
    /// [`Participant::state`](crate::Participant::state) differs from before.
    Changed,
    /// Something to tell the person once.
    Event(Event),
}

/// Something to tell the program, or the person, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A wish was not granted.
    Refused {
        /// A code's name.
        code: &'static str,
        /// Its number.
        number: u32,
    },
    /// Somebody is new in the meeting.
    Joined {
        /// Name.
        name: String,
    },
    /// Somebody left.
    Left {
        /// Name.
        name: String,
    },
    /// No controller that is known lets this end in, or back to its seat, or its token is spent: ask the API for
    /// the meeting again, as the first time, and say its answer by
    /// [`Command::Found`](crate::Command::Found). Where it names none there is
    /// nothing to say; this comes again.
    LookUp,
    /// The key group went on to another epoch.
    Epoch {
        /// Which.
        epoch: u64,
    },
}
