//! Messages: bytes to fields as the files write them, and back to the same bytes.
//!
//! Fields that hold their default are left out, bytes are hexadecimal text, enumerations are numbers, the one body of
//! an envelope is a field of the body's name.

use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::framing::Decoder;
use crate::{media_control, signal};

use super::case::{Case, from_hex, same, same_bytes, to_hex};

pub(super) fn client(case: Case<'_>) -> Result<(), String> {
    message::<signal::ClientMessage>(case)
}

pub(super) fn server(case: Case<'_>) -> Result<(), String> {
    message::<signal::ServerMessage>(case)
}

pub(super) fn client_control(case: Case<'_>) -> Result<(), String> {
    message::<media_control::ClientControl>(case)
}

pub(super) fn server_control(case: Case<'_>) -> Result<(), String> {
    message::<media_control::ServerControl>(case)
}

pub(super) fn track_description(case: Case<'_>) -> Result<(), String> {
    message::<signal::TrackDescription>(case)
}

/// A case has `fields`, or is `malformed`; one with `tolerated` bytes is read but would be written otherwise.
fn message<M: Message + Default + Plain>(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    let message = match (M::decode(&bytes[..]), case.0.get("malformed").is_some()) {
        (Ok(message), false) => message,
        (Err(_), true) => return Ok(()),
        (Ok(_), true) => return Err("read, but is malformed".into()),
        (Err(error), false) => return Err(error.to_string()),
    };
    let (fields, wanted) = (message.plain(), case.get("fields")?);
    if &fields != wanted {
        return Err(format!("fields are {fields}"));
    }
    if case.0.get("tolerated").is_some() {
        return Ok(());
    }
    same_bytes("bytes", &message.encode_to_vec(), &bytes)
}

/// A byte stream of length-prefixed messages, whole and byte by byte.
pub(super) fn framed(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    for chunk in [bytes.len().max(1), 1] {
        read_framed(case, &bytes, chunk)
            .map_err(|error| format!("in pieces of {chunk}: {error}"))?;
    }
    Ok(())
}

fn read_framed(case: Case<'_>, bytes: &[u8], chunk: usize) -> Result<(), String> {
    let mut wanted = case.list("messages")?.iter();
    let mut decoder = Decoder::new(case.small("max")?);
    for piece in bytes.chunks(chunk) {
        decoder.push(piece);
        loop {
            let message = match decoder.next_bytes() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    same("messages left", wanted.len(), 0)?;
                    return case.refused(error);
                }
            };
            let wanted = wanted.next().ok_or("more messages than there should be")?;
            let wanted = wanted
                .as_str()
                .and_then(from_hex)
                .ok_or("not hexadecimal")?;
            same_bytes("message", &message, &wanted)?;
        }
    }
    same("messages left", wanted.len(), 0)?;
    if case.0.get("error").is_some() {
        return Err("was not refused".into());
    }
    Ok(())
}

/// A value as the files write it.
trait Plain {
    fn plain(&self) -> Value;
    /// Left out of its message.
    fn is_default(&self) -> bool;
}

macro_rules! plain_value {
    ($($type:ty, $value:ident => $plain:expr, $default:expr;)*) => {$(
        impl Plain for $type {
            fn plain(&self) -> Value {
                let $value = self;
                $plain
            }

            fn is_default(&self) -> bool {
                let $value = self;
                $default
            }
        }
    )*};
}

plain_value! {
    bool, value => json!(value), !value;
    u32, value => json!(value), *value == 0;
    i32, value => json!(value), *value == 0;
    i64, value => json!(value), *value == 0;
    String, value => json!(value), value.is_empty();
    Bytes, value => json!(to_hex(value)), value.is_empty();
    // JSON's readers keep 53 bits.
    u64, value => if *value < 1 << 53 { json!(value) } else { json!(format!("0x{value:x}")) }, *value == 0;
}

impl<T: Plain> Plain for Vec<T> {
    fn plain(&self) -> Value {
        self.iter().map(Plain::plain).collect()
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Plain> Plain for Option<T> {
    fn plain(&self) -> Value {
        self.as_ref().map_or(Value::Null, Plain::plain)
    }

    fn is_default(&self) -> bool {
        self.is_none()
    }
}

/// Takes messages apart field by field, all of them: a new field of a contract is a new field here.
macro_rules! plain_messages {
    ($($module:ident::$name:ident { $($field:ident),* })*) => {$(
        impl Plain for $module::$name {
            #[allow(unused_mut, reason = "some messages say nothing")]
            fn plain(&self) -> Value {
                let Self { $($field),* } = self;
                let mut fields = Map::new();
                $(if !$field.is_default() {
                    fields.insert(stringify!($field).to_owned(), $field.plain());
                })*
                Value::Object(fields)
            }

            fn is_default(&self) -> bool {
                false
            }
        }
    )*};
}

/// Envelopes: their own fields, and the body under its name.
macro_rules! plain_envelopes {
    ($($module:ident::$name:ident, $body:ident { $($field:ident),* } { $($variant:ident $text:literal)* })*) => {$(
        impl Plain for $module::$name {
            fn plain(&self) -> Value {
                let Self { $($field,)* body } = self;
                let mut fields = Map::new();
                $(if !$field.is_default() {
                    fields.insert(stringify!($field).to_owned(), $field.plain());
                })*
                match body {
                    None => {}
                    $(Some($module::$body::Body::$variant(body)) => {
                        fields.insert($text.to_owned(), body.plain());
                    })*
                }
                Value::Object(fields)
            }

            fn is_default(&self) -> bool {
                false
            }
        }
    )*};
}

plain_envelopes! {
    signal::ClientMessage, client_message { request, must_understand, traceparent } {
        Hello "hello" Join "join" Resume "resume" Leave "leave" Publish "publish" Unpublish "unpublish"
        SetMuted "set_muted" Subscribe "subscribe" KeyCommit "key_commit" KeyAnswer "key_answer"
        KeyGroupInfo "key_group_info" Ping "ping" RemoveParticipant "remove_participant"
        EndMeeting "end_meeting" KeyResync "key_resync" MediaSilent "media_silent"
        SetDecodes "set_decodes"
    }
    signal::ServerMessage, server_message { reply_to, must_understand, sequence } {
        Lobby "lobby" Joined "joined" Done "done" Refused "refused" Published "published"
        ParticipantJoined "participant_joined" ParticipantChanged "participant_changed"
        ParticipantLeft "participant_left" TrackPublished "track_published" TrackChanged "track_changed"
        TrackUnpublished "track_unpublished" KeyCommitted "key_committed" KeyRefused "key_refused"
        KeyWanted "key_wanted" KeyState "key_state" Media "media" Ended "ended" Pong "pong"
        Elsewhere "elsewhere"
    }
    media_control::ClientControl, client_control { } {
        Hello "hello" KeyFrameWanted "key_frame_wanted" Ping "ping" Demand "demand" LayersWanted "layers_wanted"
    }
    media_control::ServerControl, server_control { } {
        Welcome "welcome" KeyFrameWanted "key_frame_wanted" Pong "pong" Drain "drain"
        LayersWanted "layers_wanted" Feedback "feedback" Allocation "allocation" Speakers "speakers"
    }
}

plain_messages! {
    signal::Hello {}
    signal::Join { name, publish, key, decodes }
    signal::Resume { epoch, keys_lost, epoch_sha256 }
    signal::Leave {}
    signal::Lobby { meeting, participant_id, participants, key, media, elsewhere }
    signal::Joined {
        meeting, participant_id, resume_token, seat_ttl_s, participants, media, key, resumed,
        elsewhere
    }
    signal::Elsewhere { controllers, moved }
    signal::Controller { url, certificate_sha256 }
    signal::Ended { code }
    signal::RemoveParticipant { participant_id }
    signal::EndMeeting {}
    signal::Meeting { id, code, title, max_participants, key_in_link }
    signal::Participant { id, name, role, away, tracks, decodes }
    signal::ParticipantJoined { participant }
    signal::ParticipantChanged { participant_id, away, decodes }
    signal::SetDecodes { decodes }
    signal::ParticipantLeft { participant_id, code }
    signal::TrackDescription {
        kind, source, codec, label, layers, sample_rate_hz, channels, decodes, replaces
    }
    signal::Layer { id, width_px, height_px, max_bitrate_bps, temporal_layers }
    signal::Track { id, description, muted }
    signal::Publish { description, muted, handle }
    signal::Published { handle, track }
    signal::Unpublish { track }
    signal::SetMuted { track, muted }
    signal::TrackPublished { participant_id, track }
    signal::TrackChanged { track, muted }
    signal::TrackUnpublished { track }
    signal::Subscribe { track, wanted }
    signal::MediaAssignment { url, certificate_sha256, ticket }
    signal::KeyState { founded, epoch, group_info }
    signal::KeyCommit { epoch, commit, group_info, leaf, founding }
    signal::KeyOutcome { accepted, missed, state }
    signal::KeyCommitted { epoch, commit, participant_id }
    signal::KeyAnswer { epoch, accepted }
    signal::KeyRefused { code, state, resync }
    signal::KeyWanted { remove, group_info }
    signal::KeyGroupInfo { epoch, group_info }
    signal::KeyResync {}
    signal::MediaSilent {}
    signal::Done {}
    signal::Refused { code, detail }
    signal::Ping { sent_us }
    signal::Pong { sent_us }
    media_control::Hello {}
    media_control::Welcome {}
    media_control::KeyFrameWanted { track, layer }
    media_control::Ping { sent_us }
    media_control::Pong { sent_us }
    media_control::Drain {}
    media_control::Demand { views }
    media_control::View { track, width_px, height_px, pinned }
    media_control::LayersWanted { track, layers }
    media_control::Feedback {
        interval_ms, bytes, transit_us, audio, audio_lost, datagrams, datagrams_lost
    }
    media_control::Allocation { estimate_bps, shares }
    media_control::Share { track, layer, temporal, paused }
    media_control::Speakers { tracks }
}
