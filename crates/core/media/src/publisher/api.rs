//! What a publisher is told, what it decides, and what it counts.

use core::time::Duration;

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::AudioLevel;

use crate::arrivals::Feedback;
use crate::{Bitrate, Kind, Shape, uplink};

/// Bounds of a [`Publisher`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// A group older than this is ended by a key frame, so that caches stay small
    /// and a lost stream freezes nobody for longer.
    pub group_max_age: Duration,
    /// Key frames for joining participants and for requests are at least this far
    /// apart; all reasons in between share one.
    pub key_frame_gap: Duration,
    /// The rest of a group is given up when what is unsent of it is pictures of a longer
    /// time than this: nobody would see them in time.
    pub stale: Duration,
    /// But no fewer bytes than a small key frame may take, and no more than these.
    pub min_backlog: usize,
    /// See [`Config::min_backlog`].
    pub max_backlog: usize,
    /// While what is unsent of a group is pictures of a longer time than this, frames that
    /// others can do without (of upper temporal layers) are left out. A key frame counts as
    /// about five pictures, and is no reason.
    pub late: Duration,
    /// Belief of what the uplink carries.
    pub uplink: uplink::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group_max_age: Duration::from_secs(10),
            key_frame_gap: Duration::from_millis(100),
            stale: Duration::from_millis(1_000),
            min_backlog: 16 * 1024,
            max_backlog: 1024 * 1024,
            late: Duration::from_millis(250),
            uplink: uplink::Config::default(),
        }
    }
}

/// Facts for a [`Publisher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The media session is up. Groups start anew on it.
    Connected {
        /// The most bytes a datagram may hold.
        max_datagram: usize,
    },
    /// The media session is gone, and all its streams with it.
    Disconnected,
    /// The controller has given a published track its id. Saying it again (after a
    /// resume) changes nothing where the id is the same.
    Published {
        /// The publisher's own name for the track.
        handle: u32,
        /// The id in the meeting.
        track: TrackId,
        /// What it carries.
        kind: Kind,
        /// Its layers.
        shape: Shape,
    },
    /// The track is published no more.
    Unpublished {
        /// The publisher's own name for the track.
        handle: u32,
    },
    /// The handler asks for a new group of a layer.
    KeyFrameWanted {
        /// The track.
        track: TrackId,
        /// The layer.
        layer: u8,
    },
    /// The handler says how this end's frames arrive.
    Feedback(Feedback),
    /// The handler says which layers of a track somebody gets.
    LayersWanted {
        /// The track.
        track: TrackId,
        /// Bit n stands for layer n.
        layers: u16,
    },
    /// This end now seals in an epoch with members who could not open the frames
    /// sealed before: they need a key frame.
    MembersAdded,
    /// So many bytes that were given for a stream have not left yet.
    Backlog {
        /// The stream, as in [`Output::OpenStream`].
        stream: u64,
        /// Bytes accepted and unsent.
        bytes: usize,
    },
    /// Time has passed.
    Tick,
}

/// Decisions of a [`Publisher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a unidirectional stream.
    OpenStream {
        /// Its number, chosen by the publisher, never used twice.
        stream: u64,
        /// Larger goes first. Newer groups have larger ones.
        priority: i32,
    },
    /// Write to a stream.
    Write {
        /// The stream.
        stream: u64,
        /// What to write; may be empty where `fin`.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// Reset a stream: what it still holds is stale.
    Reset {
        /// The stream.
        stream: u64,
        /// Why.
        code: Code,
    },
    /// Send a datagram.
    Datagram(Bytes),
    /// The encoder's next frame of this layer must be a key frame.
    KeyFrame {
        /// The publisher's own name for the track.
        handle: u32,
        /// The layer.
        layer: u8,
    },
    /// The setting of a layer's encoder from now on.
    Encode {
        /// The publisher's own name for the track.
        handle: u32,
        /// The layer.
        layer: u8,
        /// What it may make; `None`: nothing, until said otherwise.
        target: Option<Bitrate>,
    },
}

/// One encoded chunk as it comes from the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// The publisher's own name for the track.
    pub handle: u32,
    /// The layer, 0 the smallest.
    pub layer: u8,
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// Decodable without any other frame. Audio always is.
    pub key: bool,
    /// Capture time in microseconds of the participant's media clock.
    pub capture_us: u64,
    /// Loudness, for audio.
    pub level: Option<AudioLevel>,
    /// The chunk.
    pub data: &'a [u8],
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// There is no media session.
    #[error("no media session")]
    NotConnected,
    /// The track has no id yet, or no such layer.
    #[error("not a published track and layer")]
    NotPublished,
    /// The group has been given up or not begun: only a key frame can follow.
    #[error("waiting for a key frame")]
    WaitingForKey,
    /// The layer is paused: see [`Output::Encode`].
    #[error("the layer is paused")]
    Paused,
    /// The uplink lags, and others can do without this one.
    #[error("the uplink lags behind")]
    Late,
    /// There is no key to seal with yet.
    #[error("no key to seal with")]
    NoKey,
    /// Larger than a frame (or, for audio, a datagram) may be.
    #[error("too large")]
    TooLarge,
}

/// What a [`Publisher`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the session.
    pub frames: u64,
    /// Their bytes, headers included, each frame once.
    pub bytes: u64,
    /// Audio frames sent again beside newer ones.
    pub repeated: u64,
    /// Bytes of padding.
    pub padding: u64,
    /// Frames not sent, for whatever reason in [`Dropped`].
    pub dropped: u64,
    /// Groups whose stream was reset because it lagged.
    pub groups_reset: u64,
}

/// The first group number for a publisher that starts at `wall_ms` (unix
/// milliseconds). Grows by ten a second, as fast as key frames may follow one
/// another, so that a publisher that lost its memory (a page reload) still
/// continues above the groups that it has used.
pub fn first_group(wall_ms: u64) -> u64 {
    const YEAR_2026_MS: u64 = 1_767_225_600_000;
    wall_ms.saturating_sub(YEAR_2026_MS) / 100
}
