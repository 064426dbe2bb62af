//! Token keys and the document that publishes their public halves.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The bytes are no P-256 private key, or none could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 private key in PKCS #8")]
pub struct BadKey;

/// A private key for tokens; never prints itself.
#[derive(Clone)]
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    jwk: Jwk,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, BadKey> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| BadKey)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// The key in a PKCS #8 document (DER).
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| BadKey)?;
        // Uncompressed point: 04, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) = point.get(1..).ok_or(BadKey)?.split_at(32);
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            jwk: Jwk::new(URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)),
        })
    }

    /// The key's PKCS #8 document, for the file it is kept in.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// Its public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}

/// A public key (RFC 7517 section 4, RFC 7518 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// `ES256`.
    #[serde(default)]
    pub alg: String,
    /// `sig`.
    #[serde(default, rename = "use")]
    pub usage: String,
    /// The key's SHA-256 thumbprint (RFC 7638).
    pub kid: String,
    /// The point's first coordinate, base64url.
    pub x: String,
    /// The point's second coordinate, base64url.
    pub y: String,
}

impl Jwk {
    fn new(x: String, y: String) -> Self {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        let text = str::to_owned;
        Self {
            kty: text("EC"),
            crv: text("P-256"),
            alg: text("ES256"),
            usage: text("sig"),
            kid,
            x,
            y,
        }
    }
}

/// The document of public keys, as `/.well-known/jwks.json` serves it (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// The document as text.
    pub fn to_json(&self) -> String {
        // Strings in a list in an object: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
