//! A meeting as a note in the state store.
//!
//! It holds what a lookup answers with and what a token is given for, and no secret: of the host key its hash, as in the
//! database. A meeting that nobody has entered yet is noted, too, when it is created.

use std::time::Duration;

use bytes::Bytes;
use darktower_store::database::Meeting;
use darktower_store::{Error, StateStore};
use darktower_wire::ids::{MeetingCode, MeetingId};
use serde::{Deserialize, Serialize};

use super::Name;

/// How long after it was created, or last read from the database, a meeting is answered for without it: people make
/// appointments within a week.
const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is written, as JSON. A newer program's further fields are passed over.
#[derive(Serialize, Deserialize)]
struct Note {
    id: MeetingId,
    code: String,
    title: String,
    max_participants: u32,
    key_in_link: bool,
    host_key_sha256: [u8; 32],
    created_ms: u64,
    ended_ms: Option<u64>,
}

fn by_id(id: MeetingId) -> String {
    format!("meeting:{id}")
}

/// Holds the id, which never changes: what does is written once.
fn by_code(code: MeetingCode) -> String {
    format!("code:{code}")
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("a note of a meeting: {error}"))
}

pub(super) async fn write(state: &dyn StateStore, meeting: &Meeting) -> Result<(), Error> {
    let note = Note {
        id: meeting.id,
        code: meeting.code.to_string(),
        title: meeting.title.clone(),
        max_participants: meeting.max_participants,
        key_in_link: meeting.key_in_link,
        host_key_sha256: meeting.host_key_sha256,
        created_ms: meeting.created_ms,
        ended_ms: meeting.ended_ms,
    };
    let note = serde_json::to_vec(&note).map_err(unreadable)?;
    let id = Bytes::copy_from_slice(&meeting.id.0);
    let (by_id, by_code) = (by_id(meeting.id), by_code(meeting.code));
    let (note, code) = tokio::join!(
        state.put_note(&by_id, note.into(), TTL),
        state.put_note(&by_code, id, TTL)
    );
    note.and(code)
}

pub(super) async fn read(state: &dyn StateStore, name: Name) -> Result<Option<Meeting>, Error> {
    let id = match name {
        Name::Id(id) => id,
        Name::Code(code) => match state.read_note(&by_code(code)).await? {
            Some(id) => MeetingId::from_slice(&id).map_err(unreadable)?,
            None => return Ok(None),
        },
    };
    let Some(bytes) = state.read_note(&by_id(id)).await? else {
        return Ok(None);
    };
    let note: Note = serde_json::from_slice(&bytes).map_err(unreadable)?;
    Ok(Some(Meeting {
        id: note.id,
        code: note.code.parse().map_err(unreadable)?,
        title: note.title,
        max_participants: note.max_participants,
        key_in_link: note.key_in_link,
        host_key_sha256: note.host_key_sha256,
        created_ms: note.created_ms,
        ended_ms: note.ended_ms,
    }))
}
