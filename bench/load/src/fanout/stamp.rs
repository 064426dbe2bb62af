//! What a publisher writes into a frame, so that a subscriber can tell that it came whole, once, and when it left.

use bytes::{BufMut as _, Bytes, BytesMut};
use darktower_wire::ids::TrackId;
use darktower_wire::media::{Frame, Header};

/// Everything that is needed to count a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The measuring period in which it was sent.
    pub period: u32,
    /// Running number of the track's frames.
    pub sequence: u64,
    /// When it was sent, in microseconds since the bench's origin.
    pub sent_us: u64,
}

/// period, sequence, sent, group, number.
const FRONT: usize = 4 + 8 + 8 + 8 + 8;
const TAIL: usize = 8;
/// A frame that was cut short and filled up again does not end on this.
const SEAL: u64 = 0x5eed_f00d_cafe_d00d;

/// The smallest frame that has room for header and stamp, in bytes.
pub const SMALLEST: usize = 96;

/// Why a frame does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not as many bytes as were sent.
    #[error("the frame has another length")]
    Length,
    /// Header and stamp belong to different frames.
    #[error("header and payload do not belong together")]
    Header,
    /// The last bytes are not those that were sent.
    #[error("the end of the frame is not what was sent")]
    Tail,
}

/// A frame of `size` bytes in all. The payload stands for sealed bytes: a handler cannot tell.
pub fn write(header: &Header, stamp: &Stamp, size: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(size.max(SMALLEST));
    header.encode(&mut out);
    out.put_u32(stamp.period);
    for word in [stamp.sequence, stamp.sent_us, header.group, header.frame] {
        out.put_u64(word);
    }
    let filled = size.saturating_sub(TAIL).max(out.len());
    out.resize(filled, stamp.sequence as u8);
    out.put_u64(tail(header.track, stamp));
    out.freeze()
}

/// Reads a frame of `size` bytes back and checks all of it that says something.
pub fn read(frame: &Frame, size: usize) -> Result<Stamp, Broken> {
    if frame.bytes.len() != size || frame.payload().len() < FRONT + TAIL {
        return Err(Broken::Length);
    }
    let payload = frame.payload();
    let mut period = [0; 4];
    period.copy_from_slice(&payload[..4]);
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&payload[at..at + 8]);
        u64::from_be_bytes(word)
    };
    let stamp = Stamp {
        period: u32::from_be_bytes(period),
        sequence: word(4),
        sent_us: word(12),
    };
    if (word(20), word(28)) != (frame.header.group, frame.header.frame) {
        return Err(Broken::Header);
    }
    if word(payload.len() - TAIL) != tail(frame.header.track, &stamp) {
        return Err(Broken::Tail);
    }
    Ok(stamp)
}

fn tail(track: TrackId, stamp: &Stamp) -> u64 {
    SEAL ^ stamp.sequence.rotate_left(32) ^ stamp.sent_us ^ u64::from(track.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        period: 2,
        sequence: 77,
        sent_us: 123_456,
    };

    fn header() -> Header {
        Header {
            track: TrackId(300),
            group: 281_000_000,
            frame: 12,
            capture_us: 99_000_000_000,
            ..Header::default()
        }
    }

    fn frame(bytes: Bytes) -> Frame {
        Frame::parse(bytes).expect("a header")
    }

    #[test]
    fn a_frame_has_the_size_that_was_asked_for_and_reads_back() {
        for size in [SMALLEST, 120, 1250, 6250] {
            let bytes = write(&header(), &STAMP, size);
            assert_eq!(bytes.len(), size);
            assert_eq!(read(&frame(bytes), size), Ok(STAMP));
        }
    }

    #[test]
    fn what_was_cut_mixed_or_spoilt_does_not_count() {
        let bytes = write(&header(), &STAMP, 1250);
        let cut = frame(bytes.slice(..1249));
        assert_eq!(read(&cut, 1250), Err(Broken::Length));
        let other = Header {
            frame: 13,
            ..header()
        };
        let mut mixed = BytesMut::new();
        other.encode(&mut mixed);
        mixed.extend_from_slice(frame(bytes.clone()).payload());
        assert_eq!(read(&frame(mixed.freeze()), 1250), Err(Broken::Header));
        let mut spoilt = BytesMut::from(&bytes[..]);
        spoilt[1249] ^= 1;
        assert_eq!(read(&frame(spoilt.freeze()), 1250), Err(Broken::Tail));
    }
}
