//! What a token claims. Tokens are signed JWTs (RFC 7519); signing and
//! verifying is IO's work, this is only what is said in them.

use serde::{Deserialize, Serialize};

use crate::ids::{MeetingId, ParticipantId};

/// How long a token may be used, in seconds.
pub const LIFETIME_S: u64 = 5 * 60;

/// The issuer of every token.
pub const ISSUER: &str = "darktower";

/// The service a token is for; a token for one opens no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// The HTTP API of a global controller.
    Api,
    /// Signalling at a meeting controller.
    Meeting,
    /// Media at a media handler.
    Media,
}

impl Audience {
    /// The text in the `aud` claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Meeting => "meeting",
            Self::Media => "media",
        }
    }
}

/// What the bearer may do in a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Came by the link.
    Guest,
    /// Has an account.
    Member,
    /// May remove others and end the meeting.
    Host,
}

/// The claims of every token; all are required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// The one service it is for.
    pub aud: Audience,
    /// The participant.
    pub sub: ParticipantId,
    /// The meeting.
    pub meeting: MeetingId,
    /// The bearer's role in it.
    pub role: Role,
    /// Unique to this token: each may be used once for a session.
    pub jti: String,
    /// Issued at, unix seconds.
    pub iat: u64,
    /// Not before, unix seconds.
    pub nbf: u64,
    /// Expires, unix seconds.
    pub exp: u64,
}
