//! The number that people read to one another to know that nobody sits between them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Thirty decimal digits that all members of a group in the same epoch see, and nobody else.
///
/// Made from MLS's epoch authenticator (RFC 9420 §8.7), which is the same for two members only if they agree on every
/// member, every key and the whole history of the group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerificationCode([u8; 30]);

const LABEL: &[u8] = b"Dark Tower verification code 1";
const GROUPS: usize = 6;
const GROUP_BYTES: usize = 5;

impl VerificationCode {
    /// The code of an epoch: `HKDF-Expand(SHA-256, authenticator, "Dark Tower verification code 1", 30)` read as six
    /// 40-bit big-endian numbers, each modulo 100,000 and written as five digits.
    ///
    /// `None` when the authenticator is shorter than a hash (32 bytes).
    pub fn from_authenticator(authenticator: &[u8]) -> Option<Self> {
        let hkdf = Hkdf::<Sha256>::from_prk(authenticator).ok()?;
        let mut okm = Zeroizing::new([0; GROUPS * GROUP_BYTES]);
        hkdf.expand(LABEL, &mut *okm).ok()?;
        let mut digits = [0; 30];
        for (chunk, group) in okm
            .chunks_exact(GROUP_BYTES)
            .zip(digits.chunks_exact_mut(5))
        {
            // The largest of 2^40 is so far above 100,000 that the bias is 1 in 10 million.
            let mut rest = chunk
                .iter()
                .fold(0u64, |value, &byte| value << 8 | u64::from(byte))
                % 100_000;
            for digit in group.iter_mut().rev() {
                *digit = (rest % 10) as u8;
                rest /= 10;
            }
        }
        Some(Self(digits))
    }

    /// The digits, each 0 to 9.
    pub fn digits(&self) -> &[u8; 30] {
        &self.0
    }
}

/// Six groups of five digits, parted by spaces.
impl fmt::Display for VerificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, digit) in self.0.iter().enumerate() {
            if i > 0 && i % 5 == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VerificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationCode({self})")
    }
}
