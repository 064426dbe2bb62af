//! The API's answer to "may I join?": all a participant needs to open both
//! links (`GET /api/v1/meetings/{code}`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal;
use darktower_wire::token::Role;
use serde::{Deserialize, Deserializer};

/// The join answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Access {
    /// The meeting's public facts.
    pub meeting: MeetingFacts,
    /// The id this participant will have.
    pub participant_id: ParticipantId,
    /// What it may do.
    pub role: Role,
    /// The way to the meeting controller.
    pub signal: Door,
    /// The way to the media handler that is likely to serve the meeting.
    pub media: Door,
    /// The key group as of now.
    pub key: KeyFacts,
}

/// What everybody who knows the code may know of a meeting.
#[derive(Debug, Clone, Deserialize)]
pub struct MeetingFacts {
    /// Its id.
    pub id: MeetingId,
    /// Its code, `abc-defg-hij`.
    pub code: String,
    /// What its creator called it; may be empty.
    pub title: String,
    /// The most participants it takes.
    pub max_participants: u32,
    /// The key group demands the secret of the invitation link.
    pub key_in_link: bool,
    /// How many are in it.
    #[serde(default)]
    pub participants: u32,
}

/// Where one service is reached and what it wants to see.
#[derive(Clone, Deserialize)]
pub struct Door {
    /// WebTransport URL without query.
    pub url: String,
    /// SHA-256 of certificates that may answer; empty: public roots decide.
    #[serde(default, deserialize_with = "decoded_hashes")]
    pub certificate_sha256: Vec<[u8; 32]>,
    /// Join token for this service alone.
    pub token: String,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The certificate hashes that a controller names, as far as they are any.
pub(crate) fn hashes(said: &[Bytes]) -> Vec<[u8; 32]> {
    let hashes = said.iter().map(|hash| <[u8; 32]>::try_from(&hash[..]).ok());
    hashes.flatten().collect()
}

/// Public state of the key group.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyFacts {
    /// Somebody has founded a group.
    pub founded: bool,
    /// Its epoch.
    #[serde(default)]
    pub epoch: u64,
    /// `MLSMessage(GroupInfo)` of that epoch.
    #[serde(default, deserialize_with = "bytes")]
    pub group_info: Vec<u8>,
}

impl KeyFacts {
    /// The same as the controller says it.
    pub(crate) fn to_state(&self) -> signal::KeyState {
        signal::KeyState {
            founded: self.founded,
            epoch: self.epoch,
            group_info: self.group_info.clone().into(),
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = <Option<String>>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn decoded_hashes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[u8; 32]>, D::Error> {
    let texts = <Vec<String>>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| {
            let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
            <[u8; 32]>::try_from(bytes)
                .map_err(|_| serde::de::Error::custom("a certificate hash has 32 bytes"))
        })
        .collect()
}
