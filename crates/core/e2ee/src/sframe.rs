//! SFrame's key derivation and cipher (RFC 9605 §4.4), suite `AES_128_GCM_SHA256_128` and no other.

use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of a base key in bytes.
pub(crate) const BASE_KEY: usize = 16;
/// Length of the authentication tag in bytes.
pub(crate) const TAG: usize = 16;
/// IANA's number of `AES_128_GCM_SHA256_128`.
const SUITE: u16 = 0x0004;
const NONCE: usize = 12;

/// The AEAD refused: a wrong key or tag, or a frame beyond its limits.
#[derive(Debug)]
pub(crate) struct Refused;

/// Key and salt of one sender in one epoch.
pub(crate) struct FrameKey {
    cipher: Aes128Gcm,
    salt: Zeroizing<[u8; NONCE]>,
}

impl FrameKey {
    /// `derive_key_salt` of RFC 9605 §4.4.2.
    pub(crate) fn derive(kid: u64, base_key: &[u8; BASE_KEY]) -> Self {
        let (key, salt) = derive_key_salt(kid, base_key);
        Self {
            cipher: Aes128Gcm::new((&*key).into()),
            salt,
        }
    }

    fn nonce(&self, counter: u64) -> Nonce<Aes128Gcm> {
        let mut nonce = *self.salt;
        for (byte, count) in nonce[NONCE - 8..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        nonce.into()
    }

    pub(crate) fn seal(
        &self,
        counter: u64,
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], Refused> {
        let tag = self
            .cipher
            .encrypt_inout_detached(&self.nonce(counter), aad, buffer.into());
        tag.map(Into::into).map_err(|_| Refused)
    }

    /// Checks the tag before a byte is decrypted, so a refused buffer is left as it was.
    pub(crate) fn open(
        &self,
        counter: u64,
        aad: &[u8],
        buffer: &mut [u8],
        tag: [u8; TAG],
    ) -> Result<(), Refused> {
        let tag = Tag::<Aes128Gcm>::from(tag);
        let opened =
            self.cipher
                .decrypt_inout_detached(&self.nonce(counter), aad, buffer.into(), &tag);
        opened.map_err(|_| Refused)
    }
}

/// The key and salt of `kid` under `base_key`.
pub(crate) fn derive_key_salt(
    kid: u64,
    base_key: &[u8; BASE_KEY],
) -> (Zeroizing<[u8; BASE_KEY]>, Zeroizing<[u8; NONCE]>) {
    let hkdf = Hkdf::<Sha256>::new(None, base_key);
    let mut key = Zeroizing::new([0; BASE_KEY]);
    let mut salt = Zeroizing::new([0; NONCE]);
    for (label, out) in [
        (&b"SFrame 1.0 Secret key "[..], &mut key[..]),
        (&b"SFrame 1.0 Secret salt "[..], &mut salt[..]),
    ] {
        let info = [label, &kid.to_be_bytes(), &SUITE.to_be_bytes()];
        // HKDF refuses only more than 255 hashes of output; these are less than one.
        let expanded = hkdf.expand_multi_info(&info, out);
        debug_assert!(expanded.is_ok(), "one block is never too much");
    }
    (key, salt)
}
