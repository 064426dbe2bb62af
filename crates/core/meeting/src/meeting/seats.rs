//! Coming and going: lobby, join, resume, leave, removal, the end.

use core::time::Duration;

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::signal::{self, Joined, KeyOutcome, server_message::Body};
use darktower_wire::token::Role;

use super::api::{
    Credential, Entropy, Happened, MediaOrder, Output, SessionId, resume_token, resume_token_seat,
};
use super::record::{Change, Removed, Seat};
use super::silence::Silence;
use super::{From, Meeting, Session, Stage, decodes, tracks};
use crate::fingerprint::sha256;

/// Lobbies are open to everybody with a token, but not without end.
const MAX_WAITING: usize = 64;

/// How long a name may be, in characters.
const MAX_NAME: usize = 64;

impl Meeting {
    pub(super) fn opened(&mut self, session: SessionId, credential: Credential, entropy: Entropy) {
        let (participant, role, token) = match self.judge(credential) {
            Ok(judged) => judged,
            Err(code) => return self.outputs.push_back(Output::Close { session, code }),
        };
        let entry = Session {
            participant,
            role,
            stage: Stage::Opened,
            home: None,
            entropy,
            token: token.map(Into::into),
            heard: self.now,
            silence: Silence::None,
            spent_until: self.now,
            awaiting: Default::default(),
            resyncing: false,
        };
        let former = self.sessions.insert(session, entry);
        debug_assert!(former.is_none(), "a session id was used twice");
    }

    fn judge(
        &self,
        credential: Credential,
    ) -> Result<(ParticipantId, signal::Role, Option<Bytes>), Code> {
        if let Some(code) = self.ended() {
            return Err(code);
        }
        if self.over {
            return Err(Code::Unavailable);
        }
        let participant = match &credential {
            Credential::Token { participant, .. } => *participant,
            Credential::Resume(token) => resume_token_seat(token).ok_or(Code::ResumeUnknown)?,
        };
        let mut removed = self.records.removed.iter();
        if let Some(one) = removed.find(|one| one.id[..] == participant.0) {
            return Err(Code::from_number(one.code).unwrap_or(Code::Removed));
        }
        match credential {
            Credential::Token { role, .. } => {
                // Each seat may be taken over once at a time, hence twice the seats.
                let seats = self.max_participants().saturating_mul(2);
                if self.sessions.len() >= seats.saturating_add(MAX_WAITING) {
                    return Err(Code::Overloaded);
                }
                let role = match role {
                    Role::Guest => signal::Role::Guest,
                    Role::Member => signal::Role::Member,
                    Role::Host => signal::Role::Host,
                };
                Ok((participant, role, None))
            }
            Credential::Resume(token) => {
                let seat = self.records.seat(participant).ok_or(Code::ResumeUnknown)?;
                if seat.resume_sha256 != sha256(&token) {
                    return Err(Code::ResumeUnknown);
                }
                Ok((participant, seat.role(), Some(token)))
            }
        }
    }

    pub(super) fn hello(&mut self, from: From) {
        let is_new = self.records.seat(from.participant).is_none();
        let was_here = self.sessions.get(&from.session);
        if is_new && was_here.is_some_and(|entry| entry.stage == Stage::Opened) {
            self.make_room();
        }
        let Some(entry) = self.sessions.get_mut(&from.session) else {
            return;
        };
        entry.stage = Stage::Lobby;
        let order = media_lobby(entry);
        self.close_others(from, |other| other.stage == Stage::Lobby);
        if is_new {
            let home = self.home_by_id(from.participant);
            self.media_at(home, order);
        }
        let lobby = signal::Lobby {
            meeting: self.records.meeting.clone(),
            participant_id: from.participant.to_vec().into(),
            participants: self.records.seats.len() as u32,
            key: Some(self.key_state()),
            media: self.assignment(from.session),
            elsewhere: Some(self.others()),
        };
        self.answer(from, Body::Lobby(lobby));
    }

    pub(super) fn join(&mut self, from: From, join: signal::Join) {
        let name = join.name.trim();
        let length = name.chars().count();
        if length == 0 || length > MAX_NAME || name.chars().any(char::is_control) {
            return self.refuse(from, Code::NameInvalid, "");
        }
        if let Err(code) = decodes::judge(&join.decodes) {
            return self.refuse(from, code, "a list of codecs is too long");
        }
        let held = self.records.seat(from.participant).cloned();
        if held.is_none() && self.is_full() {
            return self.refuse(from, Code::MeetingFull, "");
        }
        let resumed = held.is_some();
        let mut seat = held.unwrap_or_else(|| self.new_seat(from));
        seat.name = name.to_owned();
        let says_anew = !join.decodes.is_empty() && seat.decodes != join.decodes;
        if says_anew {
            seat.decodes = join.decodes;
        }
        let mut new_tracks = Vec::new();
        for publish in &join.publish {
            let next = self.records.last_track + new_tracks.len() as u32 + 1;
            match tracks::judge(&self.config, &seat, publish, next) {
                Ok(Some(track)) => {
                    seat.tracks.push(track.clone());
                    new_tracks.push(track);
                }
                Ok(None) => {}
                Err(code) => return self.refuse(from, code, ""),
            }
        }
        let waits = self.sessions.get(&from.session);
        let waits = waits.is_some_and(|entry| entry.stage == Stage::Lobby);
        let key = match self.judge_join_key(from, join.key) {
            Ok(key) => key,
            Err((code, detail)) => return self.refuse(from, code, detail),
        };
        if !resumed && !waits {
            self.make_room();
        }
        self.take_seat(from, seat, resumed);
        for track in &new_tracks {
            self.tell_published(from, track, !resumed);
        }
        if resumed {
            self.tell_away(from.participant, false);
        }
        if resumed && says_anew {
            self.tell_decodes(from.participant);
        }
        let outcome = self.take_join_key(from, key);
        self.answer_joined(from, resumed, outcome);
        for publish in &join.publish {
            self.answer_published(from, 0, publish.handle);
        }
        if !resumed && let Some(seat) = self.records.seat(from.participant) {
            let joined = signal::ParticipantJoined {
                participant: Some(participant(seat)),
            };
            self.broadcast(Some(from.participant), &Body::ParticipantJoined(joined));
        }
        self.tell_new_commits();
    }

    pub(super) fn resume(&mut self, from: From, resume: signal::Resume) {
        let came_back = self
            .sessions
            .get(&from.session)
            .is_some_and(|entry| entry.token.is_some());
        let Some(seat) = self
            .records
            .seat(from.participant)
            .cloned()
            .filter(|_| came_back)
        else {
            return self.refuse(from, Code::ResumeUnknown, "");
        };
        self.take_seat(from, seat, true);
        self.tell_away(from.participant, false);
        let outcome = self.resume_keys(from, resume);
        self.answer_joined(from, true, outcome);
    }

    /// Puts the session on the seat, whoever was on it.
    fn take_seat(&mut self, from: From, mut seat: Seat, resumed: bool) {
        self.close_others(from, |_| true);
        let current = self.records.handler.clone();
        let Some(entry) = self.sessions.get_mut(&from.session) else {
            return;
        };
        if !resumed && let Some(home) = entry.home.filter(|home| home.0 != current[..]) {
            seat.handler = home.to_vec().into();
        }
        entry.stage = Stage::Joined;
        if entry.token.is_none() {
            let token = resume_token(&self.id.0, from.participant, &entry.entropy.resume);
            seat.resume_sha256 = sha256(&token);
            entry.token = Some(token.into());
        }
        seat.ticket_sha256 = sha256(&entry.entropy.ticket);
        seat.away_until_ms = 0;
        let order = media_seat(&seat);
        self.seated.insert(from.participant, from.session);
        self.change(Change::Seat(seat));
        let home = self.home_by_id(from.participant);
        self.media_at(home, order);
        debug_assert!(resumed || self.records.seats.len() <= self.max_participants());
    }

    fn new_seat(&self, from: From) -> Seat {
        let role = self.sessions.get(&from.session).map(|entry| entry.role);
        Seat {
            id: from.participant.to_vec().into(),
            role: role.unwrap_or(signal::Role::Guest).into(),
            joined_ms: self.wall_ms(),
            ..Seat::default()
        }
    }

    fn answer_joined(&mut self, from: From, resumed: bool, key: KeyOutcome) {
        let token = self
            .sessions
            .get(&from.session)
            .and_then(|entry| entry.token.clone());
        let joined = Joined {
            meeting: self.records.meeting.clone(),
            participant_id: from.participant.to_vec().into(),
            resume_token: token.unwrap_or_default().0,
            seat_ttl_s: self.config.seat_ttl.as_secs() as u32,
            participants: self.records.seats.iter().map(participant).collect(),
            media: self.assignment(from.session),
            key: Some(key),
            resumed,
            elsewhere: Some(self.others()),
        };
        let sequence = self.records.sequence;
        self.send(from.session, from.request, sequence, Body::Joined(joined));
    }

    pub(super) fn leave(&mut self, from: From) {
        self.done(from);
        if self.seated.get(&from.participant) == Some(&from.session) {
            self.give_up_seat(from.participant, Code::Left);
        }
        self.close(from.session, Code::Left);
    }

    pub(super) fn remove(&mut self, from: From, remove: signal::RemoveParticipant) {
        if !self.is_host(from) {
            return self.refuse(from, Code::Forbidden, "");
        }
        let seat = ParticipantId::from_slice(&remove.participant_id)
            .ok()
            .filter(|id| self.records.seat(*id).is_some());
        let Some(id) = seat else {
            return self.refuse(from, Code::ParticipantUnknown, "");
        };
        self.remove_participant(id, Code::Removed);
        self.report(Happened::Removed {
            participant: id,
            by: from.participant,
        });
        self.done(from);
    }

    /// Takes somebody's seat away for good.
    pub(super) fn remove_participant(&mut self, id: ParticipantId, code: Code) {
        self.change(Change::Removed(Removed {
            id: id.to_vec().into(),
            code: code.number(),
        }));
        self.give_up_seat(id, code);
        let sessions = self
            .sessions
            .iter()
            .filter(|(_, entry)| entry.participant == id);
        let sessions: Vec<_> = sessions.map(|(session, _)| *session).collect();
        for session in sessions {
            self.close(session, code);
        }
    }

    pub(super) fn end_by(&mut self, from: From) {
        if !self.is_host(from) {
            return self.refuse(from, Code::Forbidden, "");
        }
        self.done(from);
        self.end(Some(from.participant));
    }

    pub(super) fn end(&mut self, by: Option<ParticipantId>) {
        if self.records.ended != 0 {
            return;
        }
        let left: Vec<_> = self.records.seats.iter().map(left).collect();
        self.change(Change::Ended(Code::MeetingEnded.number()));
        left.into_iter().for_each(|left| self.report(left));
        self.report(Happened::Ended { by });
        self.seated.clear();
        self.keys = Default::default();
        let code = Code::MeetingEnded;
        for (session, entry) in std::mem::take(&mut self.sessions) {
            if entry.stage != Stage::Opened {
                let ended = signal::Ended {
                    code: code.number(),
                };
                let sequence = self.records.sequence;
                self.send(session, 0, sequence, Body::Ended(ended));
            }
            self.outputs.push_back(Output::Close { session, code });
        }
    }

    /// The shell says that a connection is gone.
    pub(super) fn closed(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else {
            return;
        };
        let id = entry.participant;
        if self.seated.get(&id) == Some(&session) {
            self.seated.remove(&id);
            self.keys_went_away(id, &entry);
            self.went_away(id, entry.heard);
        } else if entry.stage == Stage::Lobby && self.records.seat(id).is_none() {
            let home = self.home_of(&entry);
            let code = Code::Left;
            self.media_at(home, MediaOrder::SeatGone { seat: id, code });
        }
    }

    /// Closes a connection from this side.
    pub(super) fn close(&mut self, session: SessionId, code: Code) {
        if self.sessions.contains_key(&session) {
            self.outputs.push_back(Output::Close { session, code });
            self.closed(session);
        }
    }

    /// Closes the participant's other sessions that are like this.
    fn close_others(&mut self, from: From, like: impl Fn(&Session) -> bool) {
        let others: Vec<_> = self
            .sessions
            .iter()
            .filter(|(session, entry)| {
                **session != from.session && entry.participant == from.participant && like(entry)
            })
            .map(|(session, _)| *session)
            .collect();
        for session in others {
            if let Some(entry) = self.sessions.remove(&session)
                && self.seated.get(&from.participant) == Some(&session)
            {
                // The seat passes on; it was never away.
                self.seated.remove(&from.participant);
                self.keys_went_away(from.participant, &entry);
            }
            let code = Code::SeatTaken;
            self.outputs.push_back(Output::Close { session, code });
        }
    }

    /// The seat is no more, and its tracks with it.
    fn give_up_seat(&mut self, id: ParticipantId, code: Code) {
        let Some(seat) = self.records.seat(id).cloned() else {
            return;
        };
        let home = self.home_by_id(id);
        self.change(Change::SeatGone(seat.id.clone()));
        self.report(left(&seat));
        self.seated.remove(&id);
        for track in &seat.tracks {
            self.media_everywhere(&tracks::media_track_gone(track));
        }
        self.media_at(home, MediaOrder::SeatGone { seat: id, code });
        let left = signal::ParticipantLeft {
            participant_id: seat.id,
            code: code.number(),
        };
        self.broadcast(Some(id), &Body::ParticipantLeft(left));
        self.keys_seat_gone(id);
    }

    pub(super) fn expire_seats(&mut self) {
        let wall = self.wall_ms();
        let due = |seat: &&Seat| self.is_held(seat) && seat.away_until_ms <= wall;
        let expired: Vec<_> = self
            .records
            .seats
            .iter()
            .filter(due)
            .map(Seat::participant)
            .collect();
        for id in expired {
            self.give_up_seat(id, Code::SeatExpired);
        }
    }

    /// Nobody is connected here yet: those who were present have their full time.
    pub(super) fn taken_over(&mut self) {
        let until = self.until_ms(self.now);
        let present = self
            .records
            .seats
            .iter()
            .filter(|seat| seat.away_until_ms == 0);
        let present: Vec<_> = present.cloned().collect();
        for mut seat in present {
            seat.away_until_ms = until;
            self.change(Change::Seat(seat));
        }
        self.keys_taken_over();
    }

    /// Nobody is on the seat, and it is given up when its time is over.
    pub(super) fn is_held(&self, seat: &Seat) -> bool {
        seat.away_until_ms != 0 && !self.seated.contains_key(&seat.participant())
    }

    /// The participant was last heard then. Whoever is away already has been told of, and its time runs.
    pub(super) fn went_away(&mut self, id: ParticipantId, heard: Duration) {
        let until = self.until_ms(heard);
        let seat = self.records.seat(id).cloned();
        if let Some(mut seat) = seat.filter(|seat| seat.away_until_ms == 0) {
            seat.away_until_ms = until;
            self.change(Change::Seat(seat));
            self.tell_away(id, true);
        }
    }

    /// The participant speaks on the session that it had.
    pub(super) fn is_back(&mut self, id: ParticipantId) {
        let seat = self.records.seat(id).cloned();
        if let Some(mut seat) = seat.filter(|seat| seat.away_until_ms != 0) {
            seat.away_until_ms = 0;
            self.change(Change::Seat(seat));
            self.tell_away(id, false);
        }
    }

    /// Until when the seat of one last heard at `heard` is held, in unix milliseconds; never 0.
    fn until_ms(&self, heard: Duration) -> u64 {
        let held = (heard + self.config.seat_ttl).as_millis() as u64;
        self.wall_origin_ms.saturating_add(held).max(1)
    }

    fn tell_away(&mut self, id: ParticipantId, away: bool) {
        let changed = signal::ParticipantChanged {
            participant_id: id.to_vec().into(),
            away,
            decodes: Vec::new(),
        };
        self.broadcast(Some(id), &Body::ParticipantChanged(changed));
    }

    fn is_host(&self, from: From) -> bool {
        let seat = self.records.seat(from.participant);
        seat.is_some_and(|seat| seat.role() == signal::Role::Host)
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.seats.len() >= self.max_participants()
    }

    fn max_participants(&self) -> usize {
        self.records
            .meeting
            .as_ref()
            .map_or(0, |meeting| meeting.max_participants as usize)
    }
}

pub(super) fn media_seat(seat: &Seat) -> MediaOrder {
    MediaOrder::Seat {
        seat: seat.participant(),
        ticket_sha256: seat.ticket_sha256.clone(),
        joined: true,
    }
}

pub(super) fn media_lobby(entry: &Session) -> MediaOrder {
    MediaOrder::Seat {
        seat: entry.participant,
        ticket_sha256: sha256(&entry.entropy.ticket),
        joined: false,
    }
}

fn left(seat: &Seat) -> Happened {
    Happened::Left {
        participant: seat.participant(),
        role: match seat.role() {
            signal::Role::Host => Role::Host,
            signal::Role::Member => Role::Member,
            _ => Role::Guest,
        },
        joined_ms: seat.joined_ms,
    }
}

fn participant(seat: &Seat) -> signal::Participant {
    signal::Participant {
        id: seat.id.clone(),
        name: seat.name.clone(),
        role: seat.role,
        away: seat.away_until_ms != 0,
        tracks: seat.tracks.iter().map(tracks::public).collect(),
        decodes: seat.decodes.clone(),
    }
}
