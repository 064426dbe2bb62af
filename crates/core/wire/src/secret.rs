//! What opens a door is carried and compared, and never printed: neither by a
//! log line nor by a failed assertion.

use core::fmt;
use core::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::signal::{Joined, MediaAssignment};

/// A token, a ticket, or a text that holds one. Its `Debug` says only that there
/// is one. Equality takes time that depends on the bytes: what a server judges,
/// it compares by hash.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

// All but the resume token.
impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("meeting", &self.meeting)
            .field("participant_id", &self.participant_id)
            .field("seat_ttl_s", &self.seat_ttl_s)
            .field("participants", &self.participants)
            .field("media", &self.media)
            .field("key", &self.key)
            .field("resumed", &self.resumed)
            .finish_non_exhaustive()
    }
}

// All but the ticket.
impl fmt::Debug for MediaAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaAssignment")
            .field("url", &self.url)
            .field("certificate_sha256", &self.certificate_sha256)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::signal::{ServerMessage, server_message::Body};

    #[test]
    fn messages_with_secrets_print_the_rest() {
        let joined = Joined {
            resume_token: Bytes::from_static(b"resume-me"),
            seat_ttl_s: 77,
            media: Some(MediaAssignment {
                url: "https://handler".to_owned(),
                ticket: Bytes::from_static(b"let-me-in"),
                ..Default::default()
            }),
            ..Default::default()
        };
        let message = ServerMessage {
            body: Some(Body::Joined(joined)),
            ..Default::default()
        };
        let text = format!("{message:?} {:?}", Secret("hush"));
        for shown in ["seat_ttl_s: 77", "https://handler", "Secret(..)"] {
            assert!(text.contains(shown), "{text}");
        }
        for hidden in ["resume-me", "let-me-in", "hush"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}
