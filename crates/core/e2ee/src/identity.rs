//! Who joins, and the secret that the link brings.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_wire::ids::ParticipantId;
use hkdf::Hkdf;
use mls_rs::crypto::SignatureSecretKey;
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::BasicCredential;
use mls_rs::psk::{ExternalPskId, PreSharedKey};
use mls_rs::{CipherSuiteProvider, CryptoProvider};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::group::SUITE;

/// A participant and the signature key it speaks with, made anew for each attendance. The basic credential's identity
/// is the participant id's 16 bytes.
#[derive(Clone)]
pub struct Identity {
    pub(crate) participant: ParticipantId,
    pub(crate) signer: SignatureSecretKey,
    pub(crate) signing: SigningIdentity,
}

impl Identity {
    /// A fresh signature key (ECDSA P-256) for `participant`.
    pub fn new(participant: ParticipantId) -> Result<Self, Error> {
        let (signer, public) = suite()?
            .signature_key_generate()
            .map_err(|error| Error::Crypto(format!("{error:?}")))?;
        let credential = BasicCredential::new(participant.to_vec()).into_credential();
        Ok(Self {
            participant,
            signer,
            signing: SigningIdentity::new(credential, public),
        })
    }

    /// Who this is.
    pub fn participant(&self) -> ParticipantId {
        self.participant
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.participant).finish()
    }
}

/// The 16 bytes in the link's fragment, which no server ever sees. They go into the group's key schedule as an external
/// pre-shared key with each join.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret(Zeroizing<[u8; 16]>);

const PSK_ID: &[u8] = b"Dark Tower link 1";
const PSK_INFO: &[u8] = b"Dark Tower link PSK 1";

impl LinkSecret {
    /// A new secret, for a new meeting's link.
    pub fn generate() -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 16]);
        random(&mut *secret)?;
        Ok(Self(secret))
    }

    /// Reads the secret from a link's fragment: 22 characters of base64url without padding.
    pub fn from_fragment(fragment: &str) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 16]);
        match URL_SAFE_NO_PAD.decode_slice(fragment, &mut *secret) {
            Ok(16) => Ok(Self(secret)),
            _ => Err(Error::BadFragment),
        }
    }

    /// The secret as a link's fragment, without the `#`.
    pub fn to_fragment(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.0))
    }

    /// The pre-shared key: `HKDF-SHA-256(salt = "", ikm = secret, info = "Dark Tower link PSK 1", 32)`.
    pub(crate) fn psk(&self) -> PreSharedKey {
        let mut psk = vec![0; 32];
        let expanded = Hkdf::<Sha256>::new(None, &*self.0).expand(PSK_INFO, &mut psk);
        debug_assert!(expanded.is_ok(), "one block is never too much");
        PreSharedKey::new(psk)
    }

    pub(crate) fn psk_id() -> ExternalPskId {
        ExternalPskId::new(PSK_ID.to_vec())
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(..)")
    }
}

pub(crate) fn suite() -> Result<impl CipherSuiteProvider, Error> {
    RustCryptoProvider::with_enabled_cipher_suites(vec![SUITE])
        .cipher_suite_provider(SUITE)
        .ok_or_else(|| Error::Crypto("the cipher suite is not built in".into()))
}

pub(crate) fn random(out: &mut [u8]) -> Result<(), Error> {
    suite()?
        .random_bytes(out)
        .map_err(|error| Error::Crypto(format!("{error:?}")))
}
