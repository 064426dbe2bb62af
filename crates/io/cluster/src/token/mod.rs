//! Signing and verifying tokens: JWTs (RFC 7519) under ES256 (RFC 7518 section 3.4), with a key id and a published
//! key set (RFC 7517).
//!
//! Every claim of [`Claims`] is required, one audience each, and no other algorithm is ever accepted. Time comes in as
//! an argument, unix seconds.

mod crypto;
mod files;
mod key;
mod replay;
mod verifier;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::token::{Audience, Claims, ISSUER, LIFETIME_S, Role};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

pub use files::{KeyFiles, KeyFilesError};
pub use key::{BadKey, Jwk, Jwks, SigningKey};
pub use replay::ReplayCache;
pub use verifier::Verifier;

use crate::random_bytes;

/// How far a token's beginning may lie ahead of our clock, in seconds.
pub const LEEWAY_S: u64 = 5;

/// Bytes of the longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("no token was given")]
    Missing,
    /// Not a token of ours in form, algorithm or claims.
    #[error("the token is malformed or lacks a claim")]
    Malformed,
    /// Signed with a key that no global controller publishes.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Signed with a key that is not known here while the registry, which may know it, does not answer.
    #[error("the token's key is not known, and the registry cannot be asked")]
    KeysUnavailable,
    /// Changed after it was signed, or signed by somebody else.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Issued by somebody else.
    #[error("the token's issuer is wrong")]
    WrongIssuer,
    /// For another service.
    #[error("the token is for another service")]
    WrongAudience,
    /// Not valid yet, for so many seconds. It was signed by one of ours, who signs nothing for later: clocks are apart.
    #[error(
        "the token is valid in {0} s only: the clocks of this machine and of the global controller that signed it are \
         apart; let both follow a time server"
    )]
    Early(u64),
    /// Not valid any more.
    #[error("the token has expired")]
    Expired,
    /// Lives longer than any token of ours.
    #[error("the token's lifetime is too long")]
    TooLong,
    /// Was used before.
    #[error("the token has been used before")]
    Replayed,
    /// More tokens are in use than can be remembered.
    #[error("too many tokens are in use")]
    Full,
    /// Could not be signed.
    #[error("the token could not be signed")]
    Signing,
}

impl TokenError {
    /// The code it is reported with.
    pub fn code(self) -> Code {
        match self {
            Self::Missing => Code::Unauthenticated,
            Self::KeysUnavailable => Code::Unavailable,
            Self::Malformed
            | Self::UnknownKey
            | Self::BadSignature
            | Self::WrongIssuer
            | Self::Early(_)
            | Self::TooLong => Code::TokenInvalid,
            Self::WrongAudience => Code::WrongAudience,
            Self::Expired => Code::TokenExpired,
            Self::Replayed => Code::TokenReplayed,
            Self::Full => Code::Overloaded,
            Self::Signing => Code::Internal,
        }
    }
}

/// Issues tokens with one key.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    encoding: EncodingKey,
}

impl Signer {
    /// A signer with `key`.
    pub fn new(key: SigningKey) -> Self {
        crypto::install();
        let encoding = EncodingKey::from_ec_der(key.pkcs8());
        Self { key, encoding }
    }

    /// The key it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A token for one participant of one meeting at one service, valid for
    /// [`LIFETIME_S`] from `now_s`.
    pub fn issue(
        &self,
        audience: Audience,
        participant: ParticipantId,
        meeting: MeetingId,
        role: Role,
        now_s: u64,
    ) -> Result<String, TokenError> {
        let jti: [u8; 16] = random_bytes().map_err(|_| TokenError::Signing)?;
        self.sign(&Claims {
            iss: ISSUER.to_owned(),
            aud: audience,
            sub: participant,
            meeting,
            role,
            jti: URL_SAFE_NO_PAD.encode(jti),
            iat: now_s,
            nbf: now_s,
            exp: now_s + LIFETIME_S,
        })
    }

    /// The token that claims exactly this.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key.kid().to_owned());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|_| TokenError::Signing)
    }
}

#[cfg(test)]
mod tests;
