//! What participants can decode, as they say it once they know: with the join or after it.

use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::signal::{self, server_message::Body};

use super::record::Change;
use super::{From, Meeting};

/// A browser has five or so; everybody is told of all of them.
const MAX_CODECS: usize = 32;

/// The longest codec string, in bytes.
const MAX_CODEC: usize = 64;

/// Whether a list may be told to everybody.
pub(super) fn judge(decodes: &[String]) -> Result<(), Code> {
    let is_short = |codec: &String| codec.len() <= MAX_CODEC;
    match decodes.len() <= MAX_CODECS && decodes.iter().all(is_short) {
        true => Ok(()),
        false => Err(Code::BadDescription),
    }
}

impl Meeting {
    pub(super) fn set_decodes(&mut self, from: From, set: signal::SetDecodes) {
        let decodes = set.decodes;
        if let Err(code) = judge(&decodes) {
            return self.refuse(from, code, "a list of codecs is too long");
        }
        let Some(mut seat) = self.records.seat(from.participant).cloned() else {
            return self.refuse(from, Code::NotJoined, "");
        };
        if decodes.is_empty() || seat.decodes == decodes {
            return self.done(from);
        }
        seat.decodes = decodes;
        self.change(Change::Seat(seat));
        self.done(from);
        self.tell_decodes(from.participant);
    }

    /// Tells the others what somebody decodes.
    pub(super) fn tell_decodes(&mut self, id: ParticipantId) {
        let Some(seat) = self.records.seat(id) else {
            return;
        };
        let changed = signal::ParticipantChanged {
            participant_id: seat.id.clone(),
            away: seat.away_until_ms != 0,
            decodes: seat.decodes.clone(),
        };
        self.broadcast(Some(id), &Body::ParticipantChanged(changed));
    }
}
