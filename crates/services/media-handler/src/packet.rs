//! A frame on its way through: one piece of memory for all who get it.

use bytes::{Bytes, BytesMut};
use darktower_media::forwarder::Payload;
use darktower_wire::media::{Frame, put_entry_length};

/// A frame and, right in front of it, what travels before it: its length on a stream, the session's number in a
/// datagram. So that it is written to each of its receivers as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    bytes: Bytes,
    /// Where the frame begins. A front has at most eight bytes.
    at: u8,
}

impl Packet {
    /// A frame of a stream.
    pub(crate) fn entry(frame: &Frame) -> Self {
        let mut bytes = BytesMut::with_capacity(frame.bytes.len() + 8);
        put_entry_length(&mut bytes, frame.bytes.len());
        let at = bytes.len() as u8;
        bytes.extend_from_slice(&frame.bytes);
        Self {
            bytes: bytes.freeze(),
            at,
        }
    }

    /// A datagram as it came, with a front of so many bytes.
    pub(crate) fn datagram(bytes: Bytes, front: usize) -> Self {
        let at = front as u8;
        Self { bytes, at }
    }

    /// What is to be sent by datagram behind this front.
    pub(crate) fn fronted(front: &[u8], frame: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(front.len() + frame.len());
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(frame);
        Self::datagram(bytes.freeze(), front.len())
    }

    /// Front and frame.
    pub(crate) fn whole(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn front(&self) -> &[u8] {
        &self.bytes[..usize::from(self.at)]
    }

    pub(crate) fn frame(&self) -> Bytes {
        self.bytes.slice(usize::from(self.at)..)
    }

    pub(crate) fn frame_len(&self) -> usize {
        self.bytes.len() - usize::from(self.at)
    }
}

impl Payload for Packet {
    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn bundle(frames: &[Self]) -> Self {
        let bytes: Vec<_> = frames.iter().map(Self::frame).collect();
        let front = frames.first().map_or(&[][..], Self::front);
        Self::fronted(front, &darktower_wire::datagram::bundle(&bytes))
    }
}
