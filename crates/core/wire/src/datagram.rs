//! What a datagram of a media session holds, told by the two highest bits of its
//! first byte: a frame as it is, a bundle of frames, or padding.
//!
//! A bundle repeats audio frames that were sent before, each sealed for itself, so
//! that whoever forwards may add or leave out repetitions without opening any (the
//! thought of RFC 2198). Normative text: `docs/protocol/media.md`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::media::Frame;
use crate::varint::{self, DecodeError, Reader};

/// First byte of a bundle.
pub const BUNDLE: u8 = 0x40;

/// First byte of padding.
pub const PADDING: u8 = 0x80;

/// The most frames a bundle holds: the newest, and three before it.
pub const MAX_BUNDLE: usize = 4;

const FORM_MASK: u8 = 0xc0;

/// One datagram, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// A frame.
    Frame(Frame),
    /// 1 to [`MAX_BUNDLE`] frames, the newest first.
    Bundle(Vec<Frame>),
    /// Nothing; it only takes up room on the path. So many bytes.
    Padding(usize),
}

impl Datagram {
    /// Reads a datagram; frames share its memory.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        match bytes.first().map(|first| first & FORM_MASK) {
            Some(BUNDLE) => bundled(&bytes).map(Self::Bundle),
            Some(PADDING) => Ok(Self::Padding(bytes.len())),
            _ => Frame::parse(bytes).map(Self::Frame),
        }
    }

    /// Its frames, the newest first.
    pub fn into_frames(self) -> impl Iterator<Item = Frame> {
        let (one, many) = match self {
            Self::Frame(frame) => (Some(frame), Vec::new()),
            Self::Bundle(frames) => (None, frames),
            Self::Padding(_) => (None, Vec::new()),
        };
        one.into_iter().chain(many)
    }
}

fn bundled(bytes: &Bytes) -> Result<Vec<Frame>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.u8("bundle")?;
    let mut frames = Vec::with_capacity(MAX_BUNDLE);
    loop {
        let at = reader.position();
        if frames.len() == MAX_BUNDLE {
            return Err(DecodeError::Invalid { what: "bundle", at });
        }
        let len = reader.varint_up_to(bytes.len() as u64, "frame length")? as usize;
        let start = reader.position();
        reader.take(len, "frame")?;
        frames.push(Frame::parse(bytes.slice(start..start + len))?);
        if reader.rest().is_empty() {
            return Ok(frames);
        }
    }
}

/// Bytes that [`bundle`] takes for these frames.
pub fn bundle_size<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> usize {
    let each = frames.into_iter().map(Bytes::len);
    each.fold(1, |sum, len| sum + varint::size(len as u64) + len)
}

/// A bundle of frames as they travel (header and payload), the newest first; at
/// most [`MAX_BUNDLE`] of them.
pub fn bundle(frames: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(bundle_size(frames));
    out.put_u8(BUNDLE);
    for frame in frames.iter().take(MAX_BUNDLE) {
        varint::put(&mut out, frame.len() as u64);
        out.put_slice(frame);
    }
    out.freeze()
}

/// A padding datagram of `len` bytes, at least one.
pub fn padding(len: usize) -> Bytes {
    let mut out = BytesMut::zeroed(len.max(1));
    out[0] = PADDING;
    out.freeze()
}
