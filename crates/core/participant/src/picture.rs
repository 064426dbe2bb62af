//! Draws the [`State`] of an attendance.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_meeting::session;
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media_control::Share;
use darktower_wire::signal::{self, TrackDescription};
use darktower_wire::token;
use prost::Message;

use crate::attendance::Attendance;
use crate::command::TrackSource;
use crate::state::{
    Counters, Estimates, KeysState, LinkState, Links, Me, MeetingState, OwnTrack, ParticipantState,
    Phase, Problem, State, TrackState,
};

pub(crate) fn of(attendance: &Attendance) -> State {
    let session = attendance.session.state();
    State {
        phase: attendance
            .failure
            .map_or(phase(session.phase), |_| Phase::Failed),
        error: match (attendance.failure, &session.error) {
            (Some(code), _) => Some(Problem::of(code, code.description())),
            (None, Some(error)) => Some(Problem::of(error.code, &error.detail)),
            (None, None) => None,
        },
        meeting: Some(meeting(attendance)),
        me: Some(me(attendance)),
        participants: session
            .participants
            .iter()
            .map(|(id, one)| participant(*id, one, attendance))
            .collect(),
        decodable: attendance
            .decodable
            .families()
            .map(|families| families.iter().cloned().collect()),
        lobby_participants: session.lobby_participants,
        links: Links {
            signal: signal_link(session.link),
            media: attendance.media.state(),
            media_refused: attendance.media.refused().map(Code::name),
        },
        // Keys of a group that does not let this end in open nothing.
        e2ee: match (attendance.failure, session.phase) {
            (Some(_), _) | (None, session::Phase::Failed) => KeysState::default(),
            (None, _) => attendance.keys.shown().clone(),
        },
        estimates: estimates(attendance),
        speakers: attendance.reception.speakers.clone(),
        tracks: session
            .own_tracks
            .iter()
            .map(|(handle, own)| OwnTrack {
                handle: *handle,
                track: own.track.map(|id| id.0),
            })
            .collect(),
        resume: session.resume_token.as_ref().map(|token| {
            let text = [&attendance.me.0[..], &token[..]].concat();
            URL_SAFE_NO_PAD.encode(text).into()
        }),
        counters: counters(attendance),
    }
}

fn phase(phase: session::Phase) -> Phase {
    match phase {
        session::Phase::Idle => Phase::Idle,
        session::Phase::Connecting => Phase::Connecting,
        session::Phase::Lobby => Phase::Lobby,
        session::Phase::Joining => Phase::Joining,
        session::Phase::Joined => Phase::Joined,
        session::Phase::Reconnecting => Phase::Reconnecting,
        session::Phase::Left => Phase::Left,
        session::Phase::Ended => Phase::Ended,
        session::Phase::Failed => Phase::Failed,
    }
}

fn meeting(attendance: &Attendance) -> MeetingState {
    let facts = &attendance.access.meeting;
    MeetingState {
        id: facts.id.to_string(),
        code: facts.code.clone(),
        title: facts.title.clone(),
        max_participants: facts.max_participants,
        key_in_link: facts.key_in_link,
    }
}

fn me(attendance: &Attendance) -> Me {
    let role = match attendance.access.role {
        token::Role::Guest => signal::Role::Guest,
        token::Role::Member => signal::Role::Member,
        token::Role::Host => signal::Role::Host,
    };
    let session = attendance.session.state();
    let seated = session.participants.get(&attendance.me);
    Me {
        id: attendance.me.to_string(),
        name: session.name.clone(),
        role: role_name(seated.map_or(role, |it| it.role)),
    }
}

fn participant(
    id: ParticipantId,
    one: &session::Attendance,
    attendance: &Attendance,
) -> ParticipantState {
    ParticipantState {
        id: id.to_string(),
        name: one.name.clone(),
        role: role_name(one.role),
        me: id == attendance.me,
        away: one.away,
        tracks: one
            .tracks
            .iter()
            .filter_map(|(id, track)| {
                track_state(*id, track, attendance.reception.shares.get(&id.0))
            })
            .collect(),
    }
}

/// `None` for what this version can neither show nor play.
fn track_state(
    id: TrackId,
    track: &session::TrackState,
    share: Option<&Share>,
) -> Option<TrackState> {
    let description = TrackDescription::decode(&track.description[..]).ok()?;
    let kind = match description.kind() {
        signal::Kind::Audio => "audio",
        signal::Kind::Video => "video",
        signal::Kind::Unspecified => return None,
    };
    let largest = description.layers.iter().max_by_key(|layer| layer.width_px);
    Some(TrackState {
        id: id.0,
        source: TrackSource::of(&description),
        kind,
        muted: track.muted,
        width: largest.map_or(0, |layer| layer.width_px),
        height: largest.map_or(0, |layer| layer.height_px),
        layers: description.layers.len(),
        replaces: description.replaces,
        layer: share.filter(|it| !it.paused).map(|it| it.layer),
        temporal: share.filter(|it| !it.paused).map(|it| it.temporal),
        paused: share.is_some_and(|it| it.paused),
        codec: description.codec,
        label: description.label,
    })
}

fn role_name(role: signal::Role) -> &'static str {
    match role {
        signal::Role::Host => "host",
        signal::Role::Member => "member",
        signal::Role::Guest | signal::Role::Unspecified => "guest",
    }
}

fn signal_link(link: session::Link) -> LinkState {
    match link {
        session::Link::Down => LinkState::Down,
        session::Link::Connecting => LinkState::Connecting,
        session::Link::Up | session::Link::Suspicious => LinkState::Up,
    }
}

fn estimates(attendance: &Attendance) -> Estimates {
    let up = attendance.reception.has_feedback();
    Estimates {
        down_bps: attendance.reception.down_bps,
        // Before anything was measured the publisher only assumes.
        up_bps: up.then(|| attendance.publisher.estimate().bps()),
        up_loss: attendance.reception.up_loss(),
    }
}

fn counters(attendance: &Attendance) -> Counters {
    let sent = attendance.publisher.counters();
    let seen = attendance.subscriber.counters();
    Counters {
        sealed: sent.frames,
        unsent: sent.dropped,
        opened: seen.opened,
        refused_bad_tag: seen.refused_bad_tag,
        refused_replay: seen.refused_replay,
        refused_sender: seen.refused_sender,
        refused_header: seen.refused_malformed,
        held: seen.held,
        dropped: seen.dropped + seen.epoch_gone,
    }
}
