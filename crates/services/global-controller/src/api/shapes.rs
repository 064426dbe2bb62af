//! What is said in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new meeting.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMeeting {
    /// What it is about, at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub(crate) title: String,
    /// How many may be in it at once; at least 2.
    #[schema(minimum = 2)]
    pub(crate) max_participants: Option<u32>,
    /// Whether the keys need the secret in the link; true where left out.
    pub(crate) key_in_link: Option<bool>,
}

/// A meeting that was created, and the creator's rights to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Created {
    pub(crate) meeting: Meeting,
    /// Gives the host's rights to whoever has it; shown this once.
    pub(crate) host_key: String,
    /// An access token with the host's rights.
    pub(crate) access_token: String,
    /// Seconds it is valid.
    pub(crate) expires_in: u64,
}

/// A meeting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Meeting {
    /// 32 hexadecimal digits.
    #[schema(value_type = String, example = "0af7651916cd43dd8448eb211c80319c")]
    pub(crate) id: String,
    /// What people read to one another.
    #[schema(example = "abc-defg-hij")]
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) max_participants: u32,
    pub(crate) key_in_link: bool,
    /// How many are in it.
    pub(crate) participants: u32,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
}

/// Everything joining takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Join {
    pub(crate) meeting: Meeting,
    /// Who the caller will be in it: 32 hexadecimal digits.
    pub(crate) participant_id: String,
    pub(crate) role: Role,
    /// Where the meeting's controller is.
    pub(crate) signal: Link,
    /// Where the media handler is.
    pub(crate) media: Link,
    pub(crate) key: Key,
}

/// A WebTransport session to open.
#[derive(Serialize, ToSchema)]
pub(crate) struct Link {
    #[schema(example = "https://127.0.0.1:4433/v1/signal")]
    pub(crate) url: String,
    /// SHA-256 of the certificates to accept, base64; empty where the web PKI vouches.
    pub(crate) certificate_sha256: Vec<String>,
    /// Goes on the URL as `?token=`; for this service, once, within five minutes.
    pub(crate) token: String,
}

/// The public state of the meeting's key group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    /// Whether a group stands; where none does, the newcomer founds it.
    pub(crate) founded: bool,
    pub(crate) epoch: u64,
    /// The MLS GroupInfo (RFC 9420 section 12.4.3), base64.
    pub(crate) group_info: String,
}

/// What the bearer may do.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Guest,
    Member,
    Host,
}

impl From<darktower_wire::token::Role> for Role {
    fn from(role: darktower_wire::token::Role) -> Self {
        match role {
            darktower_wire::token::Role::Guest => Self::Guest,
            darktower_wire::token::Role::Member => Self::Member,
            darktower_wire::token::Role::Host => Self::Host,
        }
    }
}

/// What a token is asked for with.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "grant_type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Grant {
    /// The host's rights, for the key that creating the meeting gave.
    HostKey {
        /// Code or id.
        meeting: String,
        host_key: String,
    },
    /// A guest's rights, for anybody who knows the code.
    Guest {
        /// Code or id.
        meeting: String,
    },
}

/// An access token.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    pub(crate) access_token: String,
    /// Seconds it is valid.
    pub(crate) expires_in: u64,
    pub(crate) role: Role,
}

/// How this instance is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` where new meetings or joins fail.
    pub(crate) status: &'static str,
    pub(crate) version: &'static str,
    /// Whether the database answers.
    pub(crate) database: bool,
    /// Meeting controllers in the registry.
    pub(crate) controllers: usize,
    /// Media handlers in the registry.
    pub(crate) handlers: usize,
}
