//! The SFrame header (RFC 9605 §4.3) and what Dark Tower puts into its key id (§5.2).

/// Bits of the epoch that a key id carries.
///
/// A receiver keeps an epoch for 10 s after the next one, so the bits only have to tell apart the epochs of that
/// window and those still on their way. Eight bits would wrap after 256 joins; with 16 it takes more than 6,500
/// membership changes a second to make two live epochs look alike, and the cost is one byte a frame.
pub const EPOCH_BITS: u32 = 16;

/// Longest header: one configuration byte, eight of key id, eight of counter.
pub const MAX_HEADER: usize = 17;

/// The header of one sealed frame: which key, and which of the frames sealed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key id (RFC 9605 "KID").
    pub kid: u64,
    /// Count of frames this sender has sealed before in this epoch (RFC 9605 "CTR").
    pub counter: u64,
}

/// The key id of `leaf` in `epoch`: `leaf << 16 | low 16 bits of the epoch`, context value 0 (RFC 9605 §5.2).
pub fn kid_of(leaf: u32, epoch: u64) -> u64 {
    (u64::from(leaf) << EPOCH_BITS) | u64::from(epoch as u16)
}

impl Header {
    /// Leaf index that the key id names; larger than any `u32` when the id cannot be ours.
    pub fn leaf(&self) -> u64 {
        self.kid >> EPOCH_BITS
    }

    /// The low 16 bits of the epoch that the key id names.
    pub fn epoch_low(&self) -> u16 {
        self.kid as u16
    }

    /// Writes the header in its shortest form and returns how many bytes of `out` it takes.
    pub fn encode(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        let mut end = 1;
        let mut field = |value: u64| -> u8 {
            if value < 8 {
                return value as u8;
            }
            let bytes = value.to_be_bytes();
            let skip = (value.leading_zeros() / 8) as usize;
            let len = bytes.len() - skip;
            out[end..end + len].copy_from_slice(&bytes[skip..]);
            end += len;
            0b1000 | (len as u8 - 1)
        };
        let config = field(self.kid) << 4 | field(self.counter);
        out[0] = config;
        end
    }

    /// Reads a header from the start of `bytes` and says how long it was; `None` when the bytes end too early or a
    /// number is not in its shortest form.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&config, rest) = bytes.split_first()?;
        let (kid, rest) = field(config >> 4, rest)?;
        let (counter, rest) = field(config & 0b1111, rest)?;
        Some((Self { kid, counter }, bytes.len() - rest.len()))
    }
}

/// One of the two numbers: below eight in the nibble itself, else as many bytes as the nibble says, plus one.
fn field(nibble: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    if nibble & 0b1000 == 0 {
        return Some((u64::from(nibble), rest));
    }
    let len = usize::from(nibble & 0b111) + 1;
    let (bytes, rest) = rest.split_at_checked(len)?;
    let value = bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    let shortest = if len == 1 { value >= 8 } else { bytes[0] != 0 };
    shortest.then_some((value, rest))
}
