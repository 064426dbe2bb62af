//! Encoded files as sources: VP8 and VP9 in IVF, Opus in Ogg.
//!
//! Readers are total: any bytes give a clip or a [`ClipError`]. [`Playback`] is pure: it says what is due when.

pub mod codec;
mod ivf;
mod ogg;
mod playback;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use darktower_participant::{LayerOffer, TrackOffer, TrackSource};

pub use playback::Playback;

/// The largest file taken, in bytes: clips are held whole.
const MAX_FILE: u64 = 256 << 20;

/// An encoded file in memory.
#[derive(Debug, Clone)]
pub struct Clip {
    /// WebCodecs codec string.
    pub codec: String,
    /// What it shows, or how it sounds.
    pub format: Format,
    /// In order of time; never empty.
    pub chunks: Vec<ClipChunk>,
    /// From the first chunk's begin to the last one's end.
    pub length: Duration,
}

/// What a clip's chunks decode to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pictures.
    Video {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Sound.
    Audio {
        /// Samples per second.
        sample_rate: u32,
        /// How many.
        channels: u32,
    },
}

/// One picture or packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipChunk {
    /// As the encoder made it.
    pub bytes: Bytes,
    /// Decodable on its own.
    pub key: bool,
    /// Since the clip's begin.
    pub at: Duration,
}

/// Why a file is no clip.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// It could not be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It is larger than a clip may be.
    #[error("the file has {0} bytes, more than a clip may have")]
    TooLarge(u64),
    /// Neither IVF nor Ogg.
    #[error("neither IVF nor Ogg")]
    UnknownContainer,
    /// A codec that is not published.
    #[error("codec {0:?} is none of VP8, VP9 and Opus")]
    UnknownCodec(String),
    /// It ends early or contradicts itself.
    #[error("malformed at byte {at}: {what}")]
    Malformed {
        /// Where.
        at: usize,
        /// What.
        what: &'static str,
    },
    /// There is nothing in it, or it does not begin with a key frame.
    #[error("holds nothing that can be played")]
    Nothing,
}

impl Clip {
    /// Reads a whole file. Blocks.
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let len = std::fs::metadata(path)?.len();
        if len > MAX_FILE {
            return Err(ClipError::TooLarge(len));
        }
        Self::read(Bytes::from(std::fs::read(path)?))
    }

    /// Reads a file's bytes.
    pub fn read(file: Bytes) -> Result<Self, ClipError> {
        let clip = if file.starts_with(b"DKIF") {
            ivf::read(file)?
        } else if file.starts_with(b"OggS") {
            ogg::read(file)?
        } else {
            return Err(ClipError::UnknownContainer);
        };
        match clip.chunks.first() {
            Some(first) if first.key && clip.length > Duration::ZERO => Ok(clip),
            _ => Err(ClipError::Nothing),
        }
    }

    /// Whether it is seen rather than heard.
    pub fn is_video(&self) -> bool {
        matches!(self.format, Format::Video { .. })
    }

    /// A camera or a microphone that would make this clip.
    pub fn offer(&self, label: &str) -> TrackOffer {
        let bytes: usize = self.chunks.iter().map(|it| it.bytes.len()).sum();
        let bitrate = bytes as f64 * 8.0 / self.length.as_secs_f64();
        let offer = TrackOffer {
            handle: 0,
            source: TrackSource::Microphone,
            codec: self.codec.clone(),
            muted: false,
            label: label.to_owned(),
            layers: Vec::new(),
            replaces: None,
            sample_rate: 0,
            channels: 0,
        };
        match self.format {
            Format::Video { width, height } => TrackOffer {
                source: TrackSource::Camera,
                layers: vec![LayerOffer {
                    width,
                    height,
                    bitrate: bitrate as u32,
                    temporal_layers: 1,
                }],
                ..offer
            },
            Format::Audio {
                sample_rate,
                channels,
            } => TrackOffer {
                sample_rate,
                channels,
                ..offer
            },
        }
    }
}

/// Little-endian fields of a file, never past its end.
struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<Bytes, ClipError> {
        let at = self.at;
        let end = at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ClipError::Malformed { at, what })?;
        self.at = end;
        Ok(self.bytes.slice(at..end))
    }

    /// An unsigned number of `len` (at most 8) bytes.
    fn number(&mut self, len: usize, what: &'static str) -> Result<u64, ClipError> {
        let bytes = self.take(len, what)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests;
