//! Verifying tokens offline, with keys learnt from the registry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use darktower_store::{Service, StateStore};
use darktower_wire::token::{Audience, Claims, ISSUER, LIFETIME_S};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Jwks, LEEWAY_S, MAX_TOKEN_BYTES, TokenError, crypto};

/// An unknown key id makes us look again at most this often.
pub(super) const REFRESH_EVERY: Duration = Duration::from_millis(500);

/// A key that nobody publishes any more is trusted for this long: its global
/// controller may have died a moment after it signed.
const KEEP_UNLISTED: Duration = Duration::from_secs(LIFETIME_S + 60);

/// Keys known at once; what a registry lists beyond them is not taken.
const MOST_KEYS: usize = 256;

/// Between two warnings of clocks that are apart.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Verifies tokens.
pub struct Verifier {
    keys: RwLock<BTreeMap<String, Known>>,
    registry: Option<Arc<dyn StateStore>>,
    /// When the registry was asked last, and whether it answered.
    refreshed: Mutex<Option<(Instant, bool)>>,
    /// When somebody was told of clocks that are apart.
    warned: std::sync::Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Known {
    key: DecodingKey,
    listed: Instant,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that knows these keys and no others.
    pub fn of_keys(jwks: &Jwks) -> Self {
        let verifier = Self::new(None);
        verifier.learn(std::slice::from_ref(jwks));
        verifier
    }

    /// A verifier that learns its keys from the global controllers in the
    /// registry: when it first needs them, and when a token names an unknown one.
    pub fn of_registry(registry: Arc<dyn StateStore>) -> Self {
        Self::new(Some(registry))
    }

    fn new(registry: Option<Arc<dyn StateStore>>) -> Self {
        crypto::install();
        Self {
            keys: RwLock::default(),
            registry,
            refreshed: Mutex::new(None),
            warned: Default::default(),
        }
    }

    /// What the token claims, if it is ours, for `audience`, and valid at
    /// `now_s`. Asks nobody; a key not known yet is [`TokenError::UnknownKey`].
    pub fn verify(
        &self,
        token: &str,
        audience: Audience,
        now_s: u64,
    ) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let key = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            let known = keys.get(&kid).ok_or(TokenError::UnknownKey)?;
            known.key.clone()
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience.as_str()]);
        // The library reads the clock itself; ours is the argument, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        let in_time = check_time(&claims, now_s);
        if let Err(error @ TokenError::Early(_)) = in_time {
            self.warn(error);
        }
        in_time.map(|()| claims)
    }

    /// Tells of clocks that are apart, which whoever runs this can mend and whoever is refused cannot; not for each token.
    fn warn(&self, error: TokenError) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(%error, "tokens of the future are refused");
        }
    }

    /// As [`Self::verify`], but looks for an unknown key in the registry first.
    pub async fn verify_learning(
        &self,
        token: &str,
        audience: Audience,
        now_s: u64,
    ) -> Result<Claims, TokenError> {
        match self.verify(token, audience, now_s) {
            Err(TokenError::UnknownKey) => {
                let is_fresh = self.refresh().await;
                match self.verify(token, audience, now_s) {
                    Err(TokenError::UnknownKey) if !is_fresh => Err(TokenError::KeysUnavailable),
                    outcome => outcome,
                }
            }
            outcome => outcome,
        }
    }

    /// Reads the registry's keys, unless that was done a moment ago; whether
    /// they could be read. What is known stays where the registry does not answer.
    pub async fn refresh(&self) -> bool {
        let Some(registry) = &self.registry else {
            return true;
        };
        // Whoever waits here finds the keys that the one before has read.
        let mut refreshed = self.refreshed.lock().await;
        if let Some((at, answered)) = *refreshed
            && at.elapsed() < REFRESH_EVERY
        {
            return answered;
        }
        let asked = Instant::now();
        let answered = match registry.list_nodes(Some(Service::Global)).await {
            Ok(nodes) => {
                let documents: Vec<_> = nodes
                    .iter()
                    .filter_map(|node| {
                        serde_json::from_str(&node.jwks)
                            .inspect_err(|error| {
                                tracing::warn!(node = %node.id, %error, "a node's token keys are unreadable");
                            })
                            .ok()
                    })
                    .collect();
                self.learn(&documents);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "token keys could not be read from the registry");
                false
            }
        };
        *refreshed = Some((asked, answered));
        answered
    }

    /// Adds the keys in `documents` to the known ones.
    pub fn learn(&self, documents: &[Jwks]) {
        let now = Instant::now();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, known| now - known.listed < KEEP_UNLISTED);
        for jwk in documents.iter().flat_map(|jwks| &jwks.keys) {
            if (jwk.kty.as_str(), jwk.crv.as_str()) != ("EC", "P-256") {
                continue;
            }
            if keys.len() >= MOST_KEYS && !keys.contains_key(&jwk.kid) {
                tracing::warn!(kid = jwk.kid, "too many token keys; this one is not taken");
                continue;
            }
            match DecodingKey::from_ec_components(&jwk.x, &jwk.y) {
                Ok(key) => {
                    keys.insert(jwk.kid.clone(), Known { key, listed: now });
                }
                Err(error) => tracing::warn!(kid = jwk.kid, %error, "a token key is unreadable"),
            }
        }
    }
}

fn check_time(claims: &Claims, now_s: u64) -> Result<(), TokenError> {
    if now_s >= claims.exp {
        return Err(TokenError::Expired);
    }
    let early_s = claims.nbf.max(claims.iat).saturating_sub(now_s);
    if early_s > LEEWAY_S {
        return Err(TokenError::Early(early_s));
    }
    if claims.exp.saturating_sub(claims.iat) > LIFETIME_S {
        return Err(TokenError::TooLong);
    }
    Ok(())
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        _ => TokenError::Malformed,
    }
}
