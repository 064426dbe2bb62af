//! The sending end: frames go in, sealed frames come out.

use std::fmt;

use darktower_wire::ids::Epoch;

use crate::header::{Header, MAX_HEADER};
use crate::keys::SealingKey;
use crate::sframe::TAG;

/// Most bytes that sealing adds to a frame: the longest header and the tag. Usual are 18 to 24.
pub const MAX_OVERHEAD: usize = MAX_HEADER + TAG;

/// Seals the frames of all of one participant's tracks. There is one per group membership, because the counter that
/// makes each nonce unique runs over all tracks.
pub struct Sealer {
    key: SealingKey,
    counter: u64,
    aad: Vec<u8>,
}

/// Why a frame was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The counter of this epoch is used up, or the frame is beyond the cipher's limit (64 GiB).
    #[error("the epoch's key is used up")]
    Exhausted,
}

impl Sealer {
    /// A sealer in the epoch of `key`.
    pub fn new(key: SealingKey) -> Self {
        Self {
            key,
            counter: 0,
            aad: Vec::new(),
        }
    }

    /// Seals in the epoch of `key` from now on; the former key is wiped. An older key than the present one is dropped,
    /// so that news overtaking one another cannot turn a sender back.
    pub fn switch(&mut self, key: SealingKey) {
        if key.epoch > self.key.epoch {
            self.key = key;
            self.counter = 0;
        }
    }

    /// Seals in the epoch of `key` even if its number is not larger: after a resync into a group that started anew.
    pub fn restart(&mut self, key: SealingKey) {
        self.key = key;
        self.counter = 0;
    }

    /// The epoch this sealer seals in.
    pub fn epoch(&self) -> Epoch {
        self.key.epoch
    }

    /// Appends the sealed form of `plaintext` to `out`: SFrame header, ciphertext, tag (RFC 9605 §4.4.3). `aad`, the
    /// media header, is authenticated with it and not written.
    pub fn seal(
        &mut self,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let counter = self.counter;
        let next = counter.checked_add(1).ok_or(SealError::Exhausted)?;
        let mut header = [0; MAX_HEADER];
        let header_len = Header {
            kid: self.key.kid,
            counter,
        }
        .encode(&mut header);
        let header = &header[..header_len];
        self.aad.clear();
        self.aad.extend_from_slice(header);
        self.aad.extend_from_slice(aad);

        let start = out.len();
        out.reserve(header_len + plaintext.len() + TAG);
        out.extend_from_slice(header);
        out.extend_from_slice(plaintext);
        // Spent even when sealing fails: a nonce is never tried twice.
        self.counter = next;
        match self
            .key
            .key
            .seal(counter, &self.aad, &mut out[start + header_len..])
        {
            Ok(tag) => {
                out.extend_from_slice(&tag);
                Ok(())
            }
            Err(_) => {
                out.truncate(start);
                Err(SealError::Exhausted)
            }
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("epoch", &self.key.epoch.0)
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}
