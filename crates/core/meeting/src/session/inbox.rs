//! What the controller says to a session.

use core::time::Duration;

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::signal::{
    self, Joined, KeyCommitted, KeyOutcome, KeyRefused, KeyState, KeyWanted, Lobby, Participant,
    Publish, Published, Role, ServerMessage, server_message::Body,
};

use super::Session;
use super::api::{Attendance, Failure, KeyEvent, Output, Phase, TrackState, What};
use crate::fingerprint::sha256;

impl Session {
    pub(super) fn message(&mut self, now: Duration, message: ServerMessage) {
        if !self.connection.is_up() {
            return;
        }
        if self.connection.heard(now) {
            self.doors.keep();
            self.outputs.push_back(Output::Keep);
        }
        if !message.must_understand.is_empty() {
            // None is defined yet: this end is older than the controller.
            self.disconnect(Code::Unsupported);
            return self.finish(Phase::Failed, Some(Code::Unsupported), false);
        }
        let asked = self.asked.remove(&message.reply_to).map(|asked| asked.what);
        if asked == Some(What::Key) && self.is_overtaken(message.reply_to, &message.body) {
            return;
        }
        match message.body {
            Some(Body::Pong(pong)) => {
                let sent = Duration::from_micros(pong.sent_us);
                self.connection.answered(sent);
                self.state.rtt = now.checked_sub(sent);
            }
            _ if asked == Some(What::Leave) => self.finish(Phase::Left, None, false),
            Some(Body::Elsewhere(elsewhere)) => self.elsewhere(now, elsewhere),
            Some(Body::Joined(joined)) if self.state.phase == Phase::Left => {
                self.joined_too_late(now, joined.resume_token);
            }
            _ if self.state.phase.is_final() => {}
            Some(body) => self.body(asked, body),
            // A message of a later version that need not be understood.
            None => {}
        }
    }

    /// The answer to a commit that this end has given up since: what made it do
    /// so told more.
    fn is_overtaken(&self, request: u64, body: &Option<Body>) -> bool {
        let current = self
            .commit
            .as_ref()
            .is_some_and(|commit| commit.request == request);
        !current && !matches!(body, Some(Body::KeyState(_)))
    }

    fn body(&mut self, asked: Option<What>, body: Body) {
        match body {
            Body::Lobby(lobby) => self.entered_lobby(lobby),
            Body::Joined(joined) => self.joined(joined),
            Body::Done(_) => self.done(asked),
            Body::Refused(refused) => self.refused(asked, refused),
            Body::Published(published) => self.published(published),
            Body::ParticipantJoined(joined) => {
                if let Some((id, attendance)) = joined.participant.and_then(attendance) {
                    self.state.participants.insert(id, attendance);
                }
            }
            Body::ParticipantChanged(changed) => {
                if let Some(attendance) = ParticipantId::from_slice(&changed.participant_id)
                    .ok()
                    .and_then(|id| self.state.participants.get_mut(&id))
                {
                    attendance.away = changed.away;
                    if !changed.decodes.is_empty() {
                        attendance.decodes = changed.decodes;
                    }
                }
            }
            Body::ParticipantLeft(left) => {
                if let Ok(id) = ParticipantId::from_slice(&left.participant_id)
                    && let Some(gone) = self.state.participants.remove(&id)
                {
                    for track in gone.tracks.keys() {
                        self.state.unwanted.remove(track);
                    }
                }
            }
            Body::TrackPublished(published) => {
                if let Ok(id) = ParticipantId::from_slice(&published.participant_id)
                    && let Some(attendance) = self.state.participants.get_mut(&id)
                    && let Some(track) = published.track
                {
                    attendance
                        .tracks
                        .insert(TrackId(track.id), track_state(track));
                }
            }
            Body::TrackChanged(changed) => {
                let track = TrackId(changed.track);
                for attendance in self.state.participants.values_mut() {
                    if let Some(state) = attendance.tracks.get_mut(&track) {
                        state.muted = changed.muted;
                    }
                }
            }
            Body::TrackUnpublished(unpublished) => {
                let track = TrackId(unpublished.track);
                for attendance in self.state.participants.values_mut() {
                    attendance.tracks.remove(&track);
                }
                self.state.unwanted.remove(&track);
            }
            Body::KeyCommitted(committed) => self.key_committed(committed),
            Body::KeyRefused(refused) => self.key_refused(asked, refused),
            Body::KeyWanted(wanted) => self.key_wanted(wanted),
            // The answer to the own commit under way will bring the newest state.
            Body::KeyState(_) if asked.is_none() && self.commit.is_some() => {}
            Body::KeyState(state) => self.key_state(state),
            Body::Media(assignment) => self.outputs.push_back(Output::MediaAssigned(assignment)),
            Body::Ended(ended) => {
                let code = Code::from_number(ended.code).unwrap_or(Code::MeetingEnded);
                let phase = match code {
                    Code::MeetingEnded => Phase::Ended,
                    _ => Phase::Failed,
                };
                self.disconnect(Code::Left);
                self.connection.stop();
                self.finish(phase, Some(code), false);
            }
            Body::Pong(_) | Body::Elsewhere(_) => {}
        }
    }

    /// Who else takes the meeting; where it has moved, this end goes there at once.
    fn elsewhere(&mut self, now: Duration, elsewhere: signal::Elsewhere) {
        let moved = elsewhere.moved && !elsewhere.controllers.is_empty();
        self.doors.told(elsewhere);
        if moved {
            self.disconnect(Code::ConnectionLost);
            self.connection.sent_on();
            self.lost(now);
        }
    }

    fn entered_lobby(&mut self, lobby: Lobby) {
        self.proved(lobby.elsewhere);
        if self.state.phase == Phase::Connecting {
            self.state.phase = Phase::Lobby;
        }
        self.state.meeting = lobby.meeting;
        self.state.me = ParticipantId::from_slice(&lobby.participant_id).ok();
        self.state.lobby_participants = lobby.participants;
        if let Some(assignment) = lobby.media {
            self.outputs.push_back(Output::MediaAssigned(assignment));
        }
        // The join already under way carries its own commit; its answer tells more.
        if self.state.phase == Phase::Lobby {
            self.key_state(lobby.key.unwrap_or_default());
        }
    }

    fn joined(&mut self, joined: Joined) {
        if !matches!(self.state.phase, Phase::Joining | Phase::Reconnecting) {
            return;
        }
        let join = self.join.take();
        self.proved(joined.elsewhere);
        self.state.phase = Phase::Joined;
        self.state.error = None;
        self.state.meeting = joined.meeting;
        self.state.me = ParticipantId::from_slice(&joined.participant_id).ok();
        if !joined.resume_token.is_empty() {
            self.state.resume_token = Some(joined.resume_token.into());
        }
        self.seat_ttl = Some(Duration::from_secs(joined.seat_ttl_s.into()));
        self.state.participants = joined
            .participants
            .into_iter()
            .filter_map(attendance)
            .collect();
        if let Some(assignment) = joined.media {
            self.outputs.push_back(Output::MediaAssigned(assignment));
        }
        self.key_outcome(joined.key.unwrap_or_default());
        let in_join: Vec<u32> = join
            .iter()
            .flat_map(|join| join.publish.iter().map(|publish| publish.handle))
            .collect();
        let again: Vec<_> = self
            .asked
            .iter()
            .filter_map(|(request, asked)| Some((*request, asked.again.clone()?)))
            .collect();
        for (request, body) in again {
            self.send(request, body);
        }
        self.restore_tracks(&in_join);
        self.say_decodes();
    }

    /// The controller has the meeting.
    fn proved(&mut self, elsewhere: Option<signal::Elsewhere>) {
        self.connection.proved();
        self.doors.proved();
        self.doors.told(elsewhere.unwrap_or_default());
    }

    /// Makes the controller's view of the own tracks the one this end wants.
    fn restore_tracks(&mut self, in_join: &[u32]) {
        let there = self
            .state
            .me
            .and_then(|me| self.state.participants.get(&me))
            .map(|attendance| attendance.tracks.clone())
            .unwrap_or_default();
        if let Some(own) = self
            .state
            .me
            .and_then(|me| self.state.participants.get(&me))
        {
            self.state.name.clone_from(&own.name);
        }
        for (track, state) in &there {
            // A track whose answer was lost is found again by its handle.
            let known = self.state.own_tracks.values().any(|own| {
                own.track == Some(*track)
                    || own.track.is_none() && own.description == state.description
            });
            let body = super::Body::Unpublish(signal::Unpublish { track: track.0 });
            let asked = |asked: &super::Asked| asked.again.as_ref() == Some(&body);
            if !known && !self.asked.values().any(asked) {
                self.unpublish(*track);
            }
        }
        for (handle, own) in self.state.own_tracks.clone() {
            match own
                .track
                .and_then(|track| there.get(&track).map(|state| (track, state)))
            {
                Some((track, state)) if state.muted != own.muted => {
                    self.set_muted(track, own.muted);
                }
                Some(_) => {}
                None if in_join.contains(&handle) => {}
                None => self.publish_anew(handle),
            }
        }
    }

    /// A track that the controller does not know (any more) gets another id; what is wished of it meanwhile waits for that.
    fn publish_anew(&mut self, handle: u32) {
        let Some(own) = self.state.own_tracks.get_mut(&handle) else {
            return;
        };
        own.track = None;
        let publish = Publish {
            description: own.description.clone(),
            muted: own.muted,
            handle,
        };
        self.send_publish(publish);
    }

    fn published(&mut self, published: Published) {
        let track = TrackId(published.track);
        let changed = self.changed_unpublished.remove(&published.handle);
        match self.state.own_tracks.get_mut(&published.handle) {
            Some(own) => {
                own.track = Some(track);
                let (description, muted) = (own.description.clone(), own.muted);
                let state = TrackState { description, muted };
                if let Some(me) = self
                    .state
                    .me
                    .and_then(|me| self.state.participants.get_mut(&me))
                {
                    let there = me.tracks.insert(track, state);
                    // Muted, or the reverse, while the answer was under way.
                    if changed || there.is_some_and(|there| there.muted != muted) {
                        self.set_muted(track, muted);
                    }
                }
                let handle = published.handle;
                self.outputs.push_back(Output::Published { handle, track });
            }
            // Taken back before its answer came.
            None => self.unpublish(track),
        }
    }

    fn done(&mut self, asked: Option<What>) {
        if asked == Some(What::Key)
            && let Some(commit) = self.commit.take()
        {
            self.own_accepted(commit.epoch, commit.known_by);
        }
    }

    fn refused(&mut self, asked: Option<What>, refused: signal::Refused) {
        let code = Code::from_number(refused.code).unwrap_or(Code::Internal);
        let Some(what) = asked else {
            return;
        };
        match what {
            What::Lobby | What::Join => {
                self.join = None;
                self.commit = None;
                if self.state.phase == Phase::Reconnecting || what == What::Lobby {
                    self.disconnect(Code::Left);
                    self.connection.stop();
                    self.finish(Phase::Failed, Some(code), false);
                } else {
                    self.state.own_tracks.clear();
                    self.state.phase = Phase::Lobby;
                    let detail = refused.detail.clone();
                    self.state.error = Some(Failure { code, detail });
                }
            }
            What::Publish(handle) => {
                self.state.own_tracks.remove(&handle);
            }
            What::Subscribe(track) => {
                self.state.unwanted.remove(&track);
            }
            What::Key if self.commit.take().is_some() => {
                self.key_event(KeyEvent::Refused {
                    code,
                    state: None,
                    resync: false,
                });
            }
            What::Key | What::Track | What::Remove | What::EndMeeting | What::Leave => {}
        }
        let detail = refused.detail;
        self.outputs
            .push_back(Output::Refused { what, code, detail });
    }

    /// What became of this end's keys while it joined or was away.
    fn key_outcome(&mut self, outcome: KeyOutcome) {
        let own = self.commit.take();
        if !outcome.accepted {
            self.held.lose();
            let state = outcome.state.unwrap_or_default();
            if own.is_some() && state.founded {
                return self.key_event(KeyEvent::Refused {
                    code: Code::EpochStale,
                    state: Some(state),
                    resync: true,
                });
            }
            return self.key_state(state);
        }
        let mut own = own;
        // A join's commit comes before whatever it missed; a resumed end's own
        // commit is among what it missed.
        if self.held.is_none()
            && let Some(commit) = own.take()
        {
            self.own_accepted(commit.epoch, commit.known_by);
        }
        for committed in outcome.missed {
            if self
                .state
                .me
                .is_some_and(|me| me.0[..] == committed.participant_id[..])
            {
                own = None;
                self.own_accepted(committed.epoch, sha256(&committed.commit));
            } else {
                self.key_committed(committed);
            }
        }
        if own.is_some() {
            self.key_event(KeyEvent::Refused {
                code: Code::EpochStale,
                state: None,
                resync: false,
            });
        }
    }

    fn own_accepted(&mut self, epoch: u64, known_by: Bytes) {
        self.held.install(epoch, known_by);
        self.key_event(KeyEvent::OwnAccepted { epoch });
    }

    fn key_committed(&mut self, committed: KeyCommitted) {
        if let Ok(by) = ParticipantId::from_slice(&committed.participant_id) {
            self.held.offer(committed.epoch, sha256(&committed.commit));
            self.key_event(KeyEvent::Committed {
                epoch: committed.epoch,
                commit: committed.commit,
                by,
            });
        }
    }

    fn key_refused(&mut self, asked: Option<What>, refused: KeyRefused) {
        if asked == Some(What::Key) || refused.resync {
            self.commit = None;
        }
        if refused.resync {
            self.held.lose();
        }
        self.key_event(KeyEvent::Refused {
            code: Code::from_number(refused.code).unwrap_or(Code::CommitRefused),
            state: refused.state,
            resync: refused.resync,
        });
    }

    fn key_wanted(&mut self, wanted: KeyWanted) {
        let remove: Vec<_> = wanted
            .remove
            .iter()
            .filter_map(|id| ParticipantId::from_slice(id).ok())
            .collect();
        if !remove.is_empty() {
            self.key_event(KeyEvent::RemoveWanted(remove));
        }
        if wanted.group_info {
            self.key_event(KeyEvent::GroupInfoWanted);
        }
    }

    fn key_state(&mut self, state: KeyState) {
        if self.state.phase == Phase::Joined {
            self.held.lose();
        }
        self.key_event(match state.founded {
            true => KeyEvent::State(state),
            false => KeyEvent::Found,
        });
    }
}

fn attendance(participant: Participant) -> Option<(ParticipantId, Attendance)> {
    let id = ParticipantId::from_slice(&participant.id).ok()?;
    let role = participant.role();
    let tracks = participant.tracks.into_iter();
    let attendance = Attendance {
        name: participant.name,
        role: match role {
            Role::Unspecified => Role::Guest,
            role => role,
        },
        away: participant.away,
        tracks: tracks
            .map(|track| (TrackId(track.id), track_state(track)))
            .collect(),
        decodes: participant.decodes,
    };
    Some((id, attendance))
}

fn track_state(track: signal::Track) -> TrackState {
    TrackState {
        description: track.description,
        muted: track.muted,
    }
}
