//! Cameras and microphones without anything before them: for bots, load and scenarios.
//!
//! Devices are pure: time comes in as an argument, and the same seed makes the same frames. What a chunk says of itself
//! ([`Mark`]) is sealed like any picture, so only those who may open it can read it.

mod camera;
mod dice;
mod microphone;
mod perform;

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

pub use camera::{Camera, Picture, camera_shape};
pub use microphone::{Microphone, SOUND_EVERY};
pub use perform::{CODEC, camera_offer, clock, microphone_offer};

/// The mark in front of every chunk: its counter and its time of capture.
const MARK: usize = 16;

/// What a synthetic chunk says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The how manieth of its layer or microphone.
    pub counter: u64,
    /// When it was captured, on the publisher's clock.
    pub captured: Duration,
}

impl Mark {
    /// A chunk of `len` bytes, or as many as the mark needs.
    pub fn chunk(self, len: usize) -> Bytes {
        let mut out = BytesMut::with_capacity(len.max(MARK));
        out.put_u64(self.counter);
        out.put_u64(u64::try_from(self.captured.as_micros()).unwrap_or(u64::MAX));
        out.resize(len.max(MARK), 0x5a);
        out.freeze()
    }

    /// Reads a chunk's mark; `None` where the chunk is not one of ours.
    pub fn of(chunk: &[u8]) -> Option<Self> {
        let (counter, rest) = chunk.split_first_chunk::<8>()?;
        let (micros, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            counter: u64::from_be_bytes(*counter),
            captured: Duration::from_micros(u64::from_be_bytes(*micros)),
        })
    }
}

#[cfg(test)]
mod tests;
