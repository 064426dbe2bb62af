//! Header, seal and stream entry in one piece of memory.

use darktower_wire::media::{Header, MAX_FRAME, MAX_HEADER, STREAM_GROUP};
use darktower_wire::varint;

use super::api::Dropped;
use crate::Sealer;

/// Room in front of a frame for the stream type and the frame's length.
pub(super) const FRONT: usize = 1 + 8;

/// `FRONT` free bytes, then header and sealed payload; and the length of those.
pub(super) fn sealed(
    header: &Header,
    data: &[u8],
    sealer: &mut dyn Sealer,
) -> Result<(Vec<u8>, usize), Dropped> {
    // Room for a cipher's key id, counter and tag.
    const SEAL: usize = 64;
    if data.len() > MAX_FRAME {
        return Err(Dropped::TooLarge);
    }
    let mut buffer = Vec::with_capacity(FRONT + MAX_HEADER + data.len() + SEAL);
    buffer.resize(FRONT, 0);
    header.encode(&mut buffer);
    let clear = buffer[FRONT..].to_vec();
    if !sealer.seal(&clear, data, &mut buffer) {
        return Err(Dropped::NoKey);
    }
    let len = buffer.len() - FRONT;
    if len > MAX_FRAME {
        return Err(Dropped::TooLarge);
    }
    Ok((buffer, len))
}

/// Fills the room in front of a sealed frame with what a stream needs there, and
/// says where it begins.
pub(super) fn front(buffer: &mut [u8], len: usize, opens_stream: bool) -> usize {
    let size = varint::size(len as u64);
    let at = FRONT - size;
    let mut place = &mut buffer[at..FRONT];
    varint::put(&mut place, len as u64);
    if opens_stream {
        buffer[at - 1] = STREAM_GROUP;
        return at - 1;
    }
    at
}
