//! Which tokens have been used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use darktower_wire::token::Claims;

use super::TokenError;

/// Remembers each token until it expires, so that it opens one session.
///
/// Bounded: when full it refuses rather than forgets, for what is forgotten
/// could be used again. Only tokens with a good signature come here.
#[derive(Debug)]
pub struct ReplayCache {
    capacity: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    ids: BTreeSet<String>,
    /// Ids by the second they expire in.
    expiry: BTreeMap<u64, Vec<String>>,
}

impl ReplayCache {
    /// A cache of at most `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            used: Mutex::default(),
        }
    }

    /// Notes the first use of a verified token; the second is refused.
    pub fn first_use(&self, claims: &Claims, now_s: u64) -> Result<(), TokenError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = used.expiry.first_entry() {
            if *entry.key() > now_s {
                break;
            }
            for id in entry.remove() {
                used.ids.remove(&id);
            }
        }
        if used.ids.contains(&claims.jti) {
            return Err(TokenError::Replayed);
        }
        if used.ids.len() >= self.capacity {
            return Err(TokenError::Full);
        }
        used.ids.insert(claims.jti.clone());
        let expiring = used.expiry.entry(claims.exp).or_default();
        expiring.push(claims.jti.clone());
        Ok(())
    }
}
