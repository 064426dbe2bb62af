//! What the API and the tokens say in this world.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use darktower_meeting::meeting::Credential;
use darktower_wire::ids::ParticipantId;
use darktower_wire::token::Role;

use super::World;

impl World {
    /// What the API would answer.
    pub(super) fn access(&self, id: ParticipantId) -> serde_json::Value {
        let keys = self.meeting.description().keys;
        let door = |service: &str| serde_json::json!({ "url": format!("https://{service}/v1/{service}"), "token": id });
        serde_json::json!({
            "meeting": {
                "id": self.meeting.id(), "code": "abc-defg-hij", "title": "Simulated",
                "max_participants": 100, "key_in_link": self.key_in_link,
            },
            "participant_id": id,
            "role": "guest",
            "signal": door("signal"),
            "media": door("media"),
            "key": {
                "founded": keys.is_some(),
                "epoch": keys.as_ref().map_or(0, |(epoch, _)| *epoch),
                "group_info": keys.map(|(_, info)| STANDARD.encode(info)),
            },
        })
    }

    /// Tokens of this world are the participant's id.
    pub(super) fn credential(&self, url: &str) -> Credential {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        match query.split_once('=') {
            Some(("token", id)) => {
                let participant = id.parse().unwrap_or_default();
                let role = match self.host == Some(participant) {
                    true => Role::Host,
                    false => Role::Guest,
                };
                Credential::Token { participant, role }
            }
            Some((_, token)) => {
                Credential::Resume(URL_SAFE_NO_PAD.decode(token).unwrap_or_default().into())
            }
            None => Credential::Resume(Bytes::new()),
        }
    }

    pub(super) fn media_seat(&self, url: &str) -> Option<ParticipantId> {
        let (_, query) = url.split_once('?')?;
        match query.split('&').next()?.split_once('=')? {
            ("token", id) => id.parse().ok(),
            ("ticket", ticket) => self.handler.seat_of(&URL_SAFE_NO_PAD.decode(ticket).ok()?),
            _ => None,
        }
    }
}
