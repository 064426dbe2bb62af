//! The header in front of every sealed frame, and the frames of a group stream.
//!
//! The header is in clear, so that a handler can forward by it, and it is the
//! associated data of the frame's seal, so that a handler cannot change it.
//! Normative text: `docs/protocol/media.md`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ids::TrackId;
use crate::varint::{self, DecodeError, Reader};

/// First byte of a unidirectional stream that carries one group.
pub const STREAM_GROUP: u8 = 0x01;

/// The largest frame (header and payload) that is carried, in bytes.
pub const MAX_FRAME: usize = 2 * 1024 * 1024;

/// The most bytes a header takes.
pub const MAX_HEADER: usize = 1 + 8 + 1 + 8 + 8 + 8 + 1;

/// The highest layer number.
pub const MAX_LAYER: u8 = 15;

const VERSION_SHIFT: u8 = 6;
const FLAG_KEY: u8 = 0x20;
const FLAG_LEVEL: u8 = 0x10;
const FLAG_RESERVED: u8 = 0x08;
const TEMPORAL_MASK: u8 = 0x07;

/// What everybody may know of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The track it belongs to.
    pub track: TrackId,
    /// Which decodable quality of the track, 0 the smallest.
    pub layer: u8,
    /// Droppable sub-layer, 0 the one all others need; at most 7.
    pub temporal: u8,
    /// Frames from one key frame to the next share a group; groups grow.
    pub group: u64,
    /// Place in the group for video; running number for audio.
    pub frame: u64,
    /// Can be decoded without any other frame.
    pub key: bool,
    /// When it was captured, in microseconds of the publisher's media clock
    /// (one clock for all tracks of a participant).
    pub capture_us: u64,
    /// How loud it is (audio only).
    pub level: Option<AudioLevel>,
}

/// Loudness as in RFC 6464: a level and whether a voice is thought to be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// 0 is the loudest (0 dBov), 127 silence (-127 dBov).
    pub minus_dbov: u8,
    /// Voice activity.
    pub voice: bool,
}

impl Header {
    /// Appends the header.
    pub fn encode(&self, out: &mut impl BufMut) {
        let mut first = self.temporal & TEMPORAL_MASK;
        if self.key {
            first |= FLAG_KEY;
        }
        if self.level.is_some() {
            first |= FLAG_LEVEL;
        }
        out.put_u8(first);
        varint::put(out, u64::from(self.track.0));
        out.put_u8(self.layer);
        varint::put(out, self.group);
        varint::put(out, self.frame);
        varint::put(out, self.capture_us);
        if let Some(level) = self.level {
            out.put_u8(level.minus_dbov & 0x7f | u8::from(level.voice) << 7);
        }
    }

    /// Reads a header from the front of `frame`: the header, and its length in
    /// bytes.
    pub fn decode(frame: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(frame);
        let first = reader.u8("frame flags")?;
        if first >> VERSION_SHIFT != 0 || first & FLAG_RESERVED != 0 {
            return Err(DecodeError::Invalid {
                what: "frame flags",
                at: 0,
            });
        }
        let track = reader.varint_up_to(u64::from(u32::MAX), "track")?;
        let at = reader.position();
        let layer = reader.u8("layer")?;
        if layer > MAX_LAYER {
            return Err(DecodeError::Invalid { what: "layer", at });
        }
        let group = reader.varint("group")?;
        let number = reader.varint("frame number")?;
        let capture_us = reader.varint("capture time")?;
        let level = match first & FLAG_LEVEL {
            0 => None,
            _ => {
                let byte = reader.u8("audio level")?;
                Some(AudioLevel {
                    minus_dbov: byte & 0x7f,
                    voice: byte & 0x80 != 0,
                })
            }
        };
        let header = Self {
            track: TrackId(track as u32),
            layer,
            temporal: first & TEMPORAL_MASK,
            group,
            frame: number,
            key: first & FLAG_KEY != 0,
            capture_us,
            level,
        };
        Ok((header, reader.position()))
    }
}

/// A frame as it is forwarded: header and sealed payload in one piece of
/// memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The decoded header.
    pub header: Header,
    /// Header and payload as they travel.
    pub bytes: Bytes,
    /// Where the payload starts in `bytes`.
    pub payload_at: usize,
}

impl Frame {
    /// A frame of a datagram or of one stream entry.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        let (header, payload_at) = Header::decode(&bytes)?;
        Ok(Self {
            header,
            bytes,
            payload_at,
        })
    }

    /// The authenticated header bytes.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[..self.payload_at]
    }

    /// The sealed payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }
}

/// Appends one stream entry's length; the frame's `len` bytes follow it.
pub fn put_entry_length(out: &mut impl BufMut, len: usize) {
    varint::put(out, len as u64);
}

/// Cuts a group stream into frames and refuses one that lies: about its
/// length, or by belonging to another track, layer or group than the first.
#[derive(Debug, Default)]
pub struct GroupDecoder {
    buffer: BytesMut,
    started: bool,
    first: Option<Header>,
}

impl GroupDecoder {
    /// Appends bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The header of the first frame, once it has been read.
    pub fn first(&self) -> Option<&Header> {
        self.first.as_ref()
    }

    /// Bytes of a frame that is not whole yet. Not 0 at a stream's end means
    /// that its last frame was cut off.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The header of a frame that is not whole yet, once it has been read.
    pub fn partial(&self) -> Option<Header> {
        let mut reader = Reader::new(&self.buffer);
        reader.varint("frame length").ok()?;
        let (header, _) = Header::decode(&self.buffer[reader.position()..]).ok()?;
        Some(header)
    }

    /// The next whole frame, or `None` until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        if !self.started {
            match self.buffer.first() {
                None => return Ok(None),
                Some(&STREAM_GROUP) => self.buffer.advance(1),
                Some(_) => {
                    return Err(DecodeError::Invalid {
                        what: "stream type",
                        at: 0,
                    });
                }
            }
            self.started = true;
        }
        let mut reader = Reader::new(&self.buffer);
        let len = match reader.varint("frame length") {
            Ok(len) => len,
            Err(DecodeError::Truncated { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let max = MAX_FRAME as u64;
        if len > max {
            return Err(DecodeError::TooLarge {
                what: "frame",
                len,
                max,
            });
        }
        let (start, len) = (reader.position(), len as usize);
        if self.buffer.len() < start + len {
            return Ok(None);
        }
        self.buffer.advance(start);
        let frame = Frame::parse(self.buffer.split_to(len).freeze())?;
        let header = frame.header;
        let first = self.first.get_or_insert(header);
        if (header.track, header.layer, header.group) != (first.track, first.layer, first.group) {
            return Err(DecodeError::Invalid {
                what: "track, layer or group",
                at: 1,
            });
        }
        Ok(Some(frame))
    }
}
