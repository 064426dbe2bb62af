//! Variable-length integers of QUIC (RFC 9000, section 16): 1, 2, 4 or 8 bytes,
//! the two top bits of the first byte telling which.

use bytes::BufMut;

/// The largest value a varint holds: 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Why bytes could not be decoded, and at which offset of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a field.
    #[error("{what} is cut off at byte {at}")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Offset of the missing byte.
        at: usize,
    },
    /// A field holds a value that it must not hold.
    #[error("{what} at byte {at} is not allowed")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Offset of the field.
        at: usize,
    },
    /// A length is larger than its bound.
    #[error("{what} is {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// The field.
        what: &'static str,
        /// The length claimed, in bytes.
        len: u64,
        /// The bound, in bytes.
        max: u64,
    },
}

/// Appends `value`.
///
/// Values above [`MAX`] cannot be expressed; they are our own misuse and are
/// written as `MAX`.
pub fn put(out: &mut impl BufMut, value: u64) {
    debug_assert!(value <= MAX, "varint overflow");
    let value = value.min(MAX);
    if value < 1 << 6 {
        out.put_u8(value as u8);
    } else if value < 1 << 14 {
        out.put_u16(value as u16 | 0x4000);
    } else if value < 1 << 30 {
        out.put_u32(value as u32 | 0x8000_0000);
    } else {
        out.put_u64(value | 0xc000_0000_0000_0000);
    }
}

/// Bytes that [`put`] writes for `value`.
pub fn size(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// A position in a byte slice that is being decoded.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.at..]
    }

    /// The next `len` bytes, named `what` in an error.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..len).ok_or(DecodeError::Truncated {
            what,
            at: self.input.len(),
        })?;
        self.at += len;
        Ok(taken)
    }

    /// The next byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(1, what)?[0])
    }

    /// The next varint.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let first = self.u8(what)?;
        let more = (1usize << (first >> 6)) - 1;
        let mut value = u64::from(first & 0x3f);
        for byte in self.take(more, what)? {
            value = value << 8 | u64::from(*byte);
        }
        Ok(value)
    }

    /// The next varint, at most `max`.
    pub fn varint_up_to(&mut self, max: u64, what: &'static str) -> Result<u64, DecodeError> {
        let at = self.at;
        let value = self.varint(what)?;
        if value > max {
            return Err(DecodeError::Invalid { what, at });
        }
        Ok(value)
    }
}
