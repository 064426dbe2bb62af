//! The pure part: issue, when to rotate, text form. Time comes in as an argument.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::{Fingerprint, certified, fingerprint};
use crate::error::CertError;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// A day below what browsers allow.
const VALIDITY: u64 = 13 * DAY;
/// For clients whose clock is behind.
const BACKDATE: u64 = HOUR;
/// Rotation comes this long before expiry, for clients whose clock is ahead and servers that were asleep.
const MARGIN: u64 = 2 * DAY;

/// A certificate, its key and its validity in seconds since 1970.
struct Issued {
    der: CertificateDer<'static>,
    key: Vec<u8>,
    not_before: u64,
    not_after: u64,
}

/// The certificate in use and the one that follows it.
pub(super) struct Pair {
    names: Vec<String>,
    current: Issued,
    next: Issued,
}

/// The names certified: loopback, then what was configured, once each.
pub(super) fn names(configured: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    for name in configured {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

impl Pair {
    pub(super) fn issue(names: &[String], now: SystemTime) -> Result<Self, CertError> {
        let current = Issued::new(names, unix(now).saturating_sub(BACKDATE))?;
        let next = current.successor(names)?;
        Ok(Self {
            names: names.to_vec(),
            current,
            next,
        })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn hashes(&self) -> Vec<Fingerprint> {
        vec![fingerprint(&self.current.der), fingerprint(&self.next.der)]
    }

    pub(super) fn due_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.current.due_at())
    }

    /// Time to rotate, or the clock says the certificate is not valid yet.
    pub(super) fn due(&self, now: SystemTime) -> bool {
        self.current.due(unix(now))
    }

    /// The next one moves up, unless it is stale too: then both are new.
    pub(super) fn rotated(&self, now: SystemTime) -> Result<Self, CertError> {
        if self.next.due(unix(now)) {
            return Self::issue(&self.names, now);
        }
        Ok(Self {
            names: self.names.clone(),
            next: self.next.successor(&self.names)?,
            current: self.next.clone(),
        })
    }

    pub(super) fn shown(&self) -> Result<Arc<CertifiedKey>, CertError> {
        let key = PrivatePkcs8KeyDer::from(self.current.key.clone());
        certified(vec![self.current.der.clone()], PrivateKeyDer::Pkcs8(key))
    }

    pub(super) fn encode(&self) -> String {
        let mut text = format!("names {}\n", self.names.join(" "));
        for issued in [&self.current, &self.next] {
            text += &format!("valid {} {}\n", issued.not_before, issued.not_after);
            text += &pem("CERTIFICATE", &issued.der);
            text += &pem("PRIVATE KEY", &issued.key);
        }
        text
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let (names, rest) = text.strip_prefix("names ")?.split_once('\n')?;
        let mut parts = rest.split("valid ").skip(1).map(Issued::decode);
        let (current, next) = (parts.next()??, parts.next()??);
        let pair = Self {
            names: names.split(' ').map(String::from).collect(),
            current,
            next,
        };
        pair.shown().ok().map(|_| pair)
    }
}

impl Issued {
    fn new(names: &[String], not_before: u64) -> Result<Self, CertError> {
        let issue = |e: rcgen::Error| CertError::Issue(e.to_string());
        let not_after = not_before.saturating_add(VALIDITY);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue)?;
        let mut params = CertificateParams::new(names).map_err(issue)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Dark Tower development");
        params.not_before = date(not_before)?;
        params.not_after = date(not_after)?;
        let cert = params.self_signed(&key).map_err(issue)?;
        Ok(Self {
            der: cert.der().clone(),
            key: key.serialize_der(),
            not_before,
            not_after,
        })
    }

    /// Valid from the moment this one is rotated away.
    fn successor(&self, names: &[String]) -> Result<Self, CertError> {
        Self::new(names, self.due_at().saturating_sub(BACKDATE))
    }

    fn due_at(&self) -> u64 {
        self.not_after.saturating_sub(MARGIN)
    }

    fn due(&self, now: u64) -> bool {
        now < self.not_before || now >= self.due_at()
    }

    fn decode(text: &str) -> Option<Self> {
        let (valid, pem) = text.split_once('\n')?;
        let (not_before, not_after) = valid.split_once(' ')?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(Self {
            der: CertificateDer::from_pem_slice(pem.as_bytes()).ok()?,
            key: key.secret_pkcs8_der().to_vec(),
            not_before: not_before.parse().ok()?,
            not_after: not_after.parse().ok()?,
        })
    }
}

impl Clone for Issued {
    fn clone(&self) -> Self {
        Self {
            der: self.der.clone(),
            key: self.key.clone(),
            ..*self
        }
    }
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn date(seconds: u64) -> Result<OffsetDateTime, CertError> {
    let seconds = i64::try_from(seconds).map_err(|e| CertError::Issue(e.to_string()))?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| CertError::Issue(e.to_string()))
}

/// RFC 7468 text of a DER object.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests;
