//! Length-prefixed messages on a byte stream: a varint length, then as many
//! bytes of Protocol Buffers.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::varint::{self, DecodeError, Reader};

/// The largest signalling message: a group's public state at several hundred
/// members (35 kB at 100) with room to spare.
pub const MAX_SIGNAL: usize = 256 * 1024;

/// The largest message on a media session's control stream.
pub const MAX_MEDIA_CONTROL: usize = 4 * 1024;

/// `message` with its length in front.
pub fn encode(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(varint::size(len as u64) + len);
    varint::put(&mut out, len as u64);
    // Writing into a growing buffer cannot run out of room.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// Why a stream of messages cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The length in front of a message is malformed or too large.
    #[error(transparent)]
    Length(#[from] DecodeError),
    /// The bytes are not the message that belongs here.
    #[error("malformed message: {0}")]
    Message(String),
}

/// Cuts a byte stream into messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max: usize,
}

impl Decoder {
    /// Refuses messages over `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max,
        }
    }

    /// Appends bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message's bytes, or `None` until more arrive.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let mut reader = Reader::new(&self.buffer);
        let len = match reader.varint("message length") {
            Ok(len) => len,
            Err(DecodeError::Truncated { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let max = self.max as u64;
        if len > max {
            return Err(DecodeError::TooLarge {
                what: "message",
                len,
                max,
            });
        }
        let (start, len) = (reader.position(), len as usize);
        if self.buffer.len() < start + len {
            return Ok(None);
        }
        self.buffer.advance(start);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    /// The next whole message, or `None` until more bytes arrive.
    pub fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, FramingError> {
        let Some(bytes) = self.next_bytes()? else {
            return Ok(None);
        };
        M::decode(bytes)
            .map(Some)
            .map_err(|error| FramingError::Message(error.to_string()))
    }
}
