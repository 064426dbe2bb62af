//! The order of key commits: which one wins its epoch, when it is confirmed,
//! when it and all built on it are void. Everything here goes by clear frames.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::mls::{self, Committer};
use darktower_wire::signal::{
    self, KeyAnswer, KeyCommit, KeyCommitted, KeyOutcome, KeyRefused, KeyState,
    server_message::Body,
};

use super::api::SessionId;
use super::record::{Change, Commit, Keys, Member, Seat, participant};
use super::{Awaiting, From, Meeting, Session};
use crate::fingerprint;

/// More tentative commits than this mean that somebody present does not answer:
/// the oldest counts as confirmed.
const MAX_TENTATIVE: usize = 48;

/// What was asked of whom about keys; rebuilt after a takeover.
#[derive(Debug, Default)]
pub(super) struct KeyRequests {
    /// What the epoch's lobbies were told last, and when.
    pub(super) lobby_told: Option<Duration>,
    pub(super) lobby_stale: bool,
    /// Who was asked to remove somebody, in this round.
    pub(super) remove_asked: BTreeSet<ParticipantId>,
    /// Whom the round is about, and when the next member is asked.
    pub(super) removing: Option<(Vec<ParticipantId>, Duration)>,
    /// Who was asked for fresh public state.
    pub(super) info_asked: BTreeSet<ParticipantId>,
    /// Serials that those away were sent and did not answer.
    pub(super) unanswered: BTreeMap<ParticipantId, Vec<u64>>,
    /// Serials that the members have not been told of.
    pub(super) untold: Vec<u64>,
    /// Voided commits of which a third member's answer will tell who was wrong:
    /// the committer and the one who refused.
    pub(super) judging: BTreeMap<u64, (ParticipantId, ParticipantId)>,
    pub(super) voided: BTreeMap<ParticipantId, u32>,
    pub(super) refusals: BTreeMap<ParticipantId, u32>,
}

/// What a commit means at this moment.
pub(super) enum Verdict {
    Founds(Keys),
    Wins(Commit),
    /// It is on an epoch that was, or on a group that was.
    Stale,
}

/// What the commit in a join means.
pub(super) enum JoinKey {
    None,
    New(Verdict),
    /// It was taken before; the answer got lost. What its maker would resume with, had it come.
    Taken(signal::Resume),
}

type Refusal = (Code, &'static str);

impl Meeting {
    pub(super) fn key_state(&self) -> KeyState {
        let Some(keys) = &self.records.keys else {
            return KeyState::default();
        };
        KeyState {
            founded: true,
            epoch: keys.epoch(),
            group_info: keys.group_info().clone(),
        }
    }

    fn judge_commit(&self, from: From, commit: KeyCommit) -> Result<Verdict, Refusal> {
        let malformed = |detail| (Code::KeyMalformed, detail);
        let (info_group, info_epoch) = mls::group_info_frame(&commit.group_info)
            .map_err(|_| malformed("group_info has no readable frame"))?;
        let member = |leaf| Member {
            id: from.participant.to_vec().into(),
            leaf,
            astray: false,
        };
        if commit.founding {
            if !info_group.starts_with(&self.id.0) || info_epoch != 0 || !commit.commit.is_empty() {
                return Err(malformed("a founding is epoch 0 of this meeting's group"));
            }
            return Ok(match self.records.keys {
                Some(_) => Verdict::Stale,
                None => Verdict::Founds(Keys {
                    group: Bytes::copy_from_slice(info_group),
                    confirmed_info: commit.group_info.clone(),
                    confirmed: self.records.last_serial,
                    members: vec![member(commit.leaf)],
                    ..Keys::default()
                }),
            });
        }
        let frame = mls::commit_frame(&commit.commit)
            .map_err(|_| malformed("commit has no readable frame"))?;
        if frame.epoch != commit.epoch || frame.epoch == u64::MAX {
            return Err(malformed("epoch differs from the commit's"));
        }
        if info_group != frame.group || info_epoch != commit.epoch + 1 {
            return Err(malformed(
                "group_info is not of the epoch the commit leads to",
            ));
        }
        let Some(keys) = self.records.keys.as_ref() else {
            return Ok(Verdict::Stale);
        };
        if keys.group != frame.group || keys.epoch() != frame.epoch {
            return Ok(Verdict::Stale);
        }
        let before = keys.member(from.participant);
        let (leaf, external) = match frame.committer {
            Committer::Newcomer => (commit.leaf, true),
            Committer::Member(leaf) => {
                let follows = before.is_some_and(|member| member.leaf == leaf && !member.astray);
                if !follows || self.is_resyncing(from.session) {
                    return Err((Code::NotAMember, "join the group by an external commit"));
                }
                (leaf, false)
            }
        };
        let leaves = mls::removed_leaves(&commit.commit)
            .map_err(|_| malformed("commit has no readable proposals"))?;
        let removed = keys.members.iter().filter(|member| {
            !external && leaves.contains(&member.leaf) && member.id[..] != from.participant.0
        });
        let removed = removed.cloned().collect();
        Ok(Verdict::Wins(Commit {
            serial: self.records.last_serial + 1,
            epoch: commit.epoch + 1,
            commit: commit.commit.clone(),
            by: from.participant.to_vec().into(),
            leaf,
            external,
            group_info: commit.group_info.clone(),
            before: before.cloned(),
            removed,
        }))
    }

    pub(super) fn judge_join_key(
        &self,
        from: From,
        key: Option<KeyCommit>,
    ) -> Result<JoinKey, Refusal> {
        let Some(key) = key else {
            return Ok(JoinKey::None);
        };
        if let Some(keys) = &self.records.keys {
            let taken = keys
                .log
                .iter()
                .find(|known| known.by[..] == from.participant.0 && known.commit == key.commit);
            if let Some(taken) = taken {
                return Ok(JoinKey::Taken(signal::Resume {
                    epoch: taken.epoch,
                    keys_lost: false,
                    epoch_sha256: fingerprint::leads_to(&key),
                }));
            }
        }
        self.judge_commit(from, key).map(JoinKey::New)
    }

    pub(super) fn take_join_key(&mut self, from: From, key: JoinKey) -> KeyOutcome {
        match key {
            JoinKey::New(Verdict::Founds(keys)) => self.found(from, keys),
            JoinKey::New(Verdict::Wins(commit)) => self.win(from, commit),
            JoinKey::Taken(resume) => return self.resume_keys(from, resume),
            JoinKey::New(Verdict::Stale) | JoinKey::None => {
                return KeyOutcome {
                    accepted: false,
                    missed: Vec::new(),
                    state: Some(self.start_resync(from)),
                };
            }
        }
        KeyOutcome {
            accepted: true,
            ..KeyOutcome::default()
        }
    }

    pub(super) fn key_commit(&mut self, from: From, commit: KeyCommit) {
        match self.judge_commit(from, commit) {
            Err((code, detail)) => self.refuse(from, code, detail),
            Ok(Verdict::Founds(keys)) => {
                self.found(from, keys);
                self.done(from);
            }
            Ok(Verdict::Wins(commit)) => {
                self.win(from, commit);
                self.done(from);
                self.tell_new_commits();
            }
            Ok(Verdict::Stale) => {
                let keys = self.records.keys.as_ref();
                let is_member = keys
                    .and_then(|keys| keys.member(from.participant))
                    .is_some();
                // A member on its way back, or a newcomer, builds anew; one that
                // follows the group will see the winner.
                let refused = KeyRefused {
                    code: Code::EpochStale.number(),
                    state: Some(self.key_state()),
                    resync: is_member && self.is_resyncing(from.session),
                };
                self.answer(from, Body::KeyRefused(refused));
                // It may have been a removal: that is still wanted.
                self.keys.removing = None;
            }
        }
    }

    fn found(&mut self, from: From, keys: Keys) {
        self.change(Change::Founded(keys));
        if let Some(session) = self.sessions.get_mut(&from.session) {
            session.resyncing = false;
        }
        self.keys.lobby_stale = true;
    }

    fn win(&mut self, from: From, commit: Commit) {
        self.keys.untold.push(commit.serial);
        if !commit.external {
            self.keys.remove_asked.clear();
            self.keys.removing = None;
        }
        let removed = commit.removed.iter().map(|member| participant(&member.id));
        let shut_out: Vec<_> = removed
            .filter_map(|id| self.seated.get(&id).copied())
            .collect();
        self.change(Change::Committed(commit));
        // Whoever has a seat belongs in the group, whatever a member thinks.
        for session in shut_out {
            self.tell_resync(session, Code::NotAMember);
        }
        if let Some(session) = self.sessions.get_mut(&from.session) {
            session.resyncing = false;
        }
        self.keys.lobby_stale = true;
        let tentative: Vec<_> = self.tentative();
        if let Some(oldest) = tentative
            .first()
            .filter(|_| tentative.len() > MAX_TENTATIVE)
        {
            self.change(Change::Confirmed(*oldest));
        }
    }

    /// Sends the commits that won to the members who follow the group.
    pub(super) fn tell_new_commits(&mut self) {
        for serial in std::mem::take(&mut self.keys.untold) {
            let Some(keys) = &self.records.keys else {
                return;
            };
            let Some(commit) = keys
                .log
                .iter()
                .find(|commit| commit.serial == serial)
                .cloned()
            else {
                continue;
            };
            let members: Vec<_> = keys
                .members
                .iter()
                .filter(|member| !member.astray)
                .cloned()
                .collect();
            let sequence = self.records.sequence;
            for member in members {
                let id = participant(&member.id);
                let Some(session) = self.seated.get(&id).copied() else {
                    // It may have got it before it went, or will be told of it.
                    continue;
                };
                if member.id == commit.by || self.is_resyncing(session) {
                    continue;
                }
                if let Some(entry) = self.sessions.get_mut(&session) {
                    entry.awaiting.push_back(awaiting(&commit));
                }
                self.send(session, 0, sequence, Body::KeyCommitted(committed(&commit)));
            }
        }
    }

    pub(super) fn key_answer(&mut self, from: From, answer: KeyAnswer) {
        self.done(from);
        let Some(session) = self.sessions.get_mut(&from.session) else {
            return;
        };
        let place = session
            .awaiting
            .iter()
            .position(|sent| sent.epoch == answer.epoch);
        // Nobody asked: it was told to join again meanwhile.
        let Some(sent) = place.and_then(|place| session.awaiting.drain(..=place).next_back())
        else {
            return;
        };
        if answer.accepted {
            self.keys.refusals.remove(&from.participant);
        }
        let confirmed = self.records.keys.as_ref().map_or(0, |keys| keys.confirmed);
        let tentative = !sent.voided && sent.serial > confirmed;
        if sent.voided
            && let Some((committer, refuser)) = self.keys.judging.remove(&sent.serial)
        {
            match answer.accepted {
                true => self.blame_refuser(refuser),
                false => self.blame_committer(committer),
            }
        }
        match (answer.accepted, tentative) {
            (true, true) => self.confirm(sent.serial),
            (true, false) if sent.voided => self.tell_resync(from.session, Code::CommitRefused),
            (false, true) => self.void(sent.serial, from.participant),
            (false, false) if !sent.voided => self.tell_resync(from.session, Code::CommitRefused),
            (true | false, false) => {}
        }
    }

    /// This end's group is worthless: it joins again on the state it is told.
    pub(super) fn tell_resync(&mut self, session: SessionId, code: Code) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.resyncing = true;
        entry.awaiting.clear();
        let state = self.key_state();
        let refused = KeyRefused {
            code: code.number(),
            resync: true,
            state: Some(state),
        };
        self.send(session, 0, self.records.sequence, Body::KeyRefused(refused));
    }

    /// As [`Self::tell_resync`], where the state travels in an answer.
    fn start_resync(&mut self, from: From) -> KeyState {
        if let Some(entry) = self.sessions.get_mut(&from.session) {
            entry.resyncing = true;
            entry.awaiting.clear();
        }
        self.key_state()
    }

    pub(super) fn key_resync(&mut self, from: From) {
        let state = self.start_resync(from);
        self.answer(from, Body::KeyState(state));
    }

    /// What became of a resuming end's keys.
    pub(super) fn resume_keys(&mut self, from: From, resume: signal::Resume) -> KeyOutcome {
        let unanswered = self.keys.unanswered.remove(&from.participant);
        let missed = match resume.keys_lost {
            true => None,
            false => self.missed(from.participant, &resume),
        };
        let Some(missed) = missed else {
            return KeyOutcome {
                accepted: false,
                missed: Vec::new(),
                state: Some(self.start_resync(from)),
            };
        };
        // It holds these epochs, so it could process what leads to them.
        let held = self
            .records
            .keys
            .iter()
            .flat_map(Keys::tentative)
            .rfind(|commit| {
                let sent = unanswered
                    .as_ref()
                    .is_some_and(|sent| sent.contains(&commit.serial));
                sent && commit.epoch <= resume.epoch && commit.by[..] != from.participant.0
            });
        if let Some(serial) = held.map(|commit| commit.serial) {
            self.change(Change::Confirmed(serial));
        }
        if let Some(session) = self.sessions.get_mut(&from.session) {
            session.resyncing = false;
            let others = missed
                .iter()
                .filter(|commit| commit.by[..] != from.participant.0);
            session.awaiting = others.map(awaiting).collect();
        }
        KeyOutcome {
            accepted: true,
            missed: missed.iter().map(committed).collect(),
            state: None,
        }
    }

    /// The commits after what this member holds, where they lead on from it.
    fn missed(&self, id: ParticipantId, held: &signal::Resume) -> Option<Vec<Commit>> {
        let keys = self.records.keys.as_ref()?;
        let epoch = held.epoch;
        if keys.member(id)?.astray || !keys.has(epoch, &held.epoch_sha256) {
            return None;
        }
        let missed: Vec<_> = keys
            .log
            .iter()
            .filter(|commit| commit.epoch > epoch)
            .cloned()
            .collect();
        (missed.len() as u64 == keys.epoch() - epoch).then_some(missed)
    }

    /// A seat lost its session: remember what it may or may not have followed.
    pub(super) fn keys_went_away(&mut self, id: ParticipantId, session: &Session) {
        let lost: Vec<_> = session.awaiting.iter().map(|sent| sent.serial).collect();
        if session.resyncing || session.awaiting.iter().any(|sent| sent.voided) {
            if self.is_member(id) {
                self.change(Change::Astray(id.to_vec().into()));
            }
        } else if !lost.is_empty() {
            self.keys.unanswered.insert(id, lost);
        }
    }

    /// After a takeover, anybody may have followed anything that is tentative.
    pub(super) fn keys_taken_over(&mut self) {
        let tentative = self.tentative();
        let members = self.records.keys.iter().flat_map(|keys| &keys.members);
        let members: Vec<_> = members.map(|member| participant(&member.id)).collect();
        for id in members.into_iter().filter(|_| !tentative.is_empty()) {
            self.keys.unanswered.insert(id, tentative.clone());
        }
    }

    pub(super) fn keys_seat_gone(&mut self, id: ParticipantId) {
        self.keys.unanswered.remove(&id);
        self.keys.voided.remove(&id);
        self.keys.refusals.remove(&id);
        self.keys.info_asked.remove(&id);
        let Some(keys) = &self.records.keys else {
            return;
        };
        let has_seat = |member: &Member| self.records.seat(participant(&member.id)).is_some();
        if keys.members.iter().any(has_seat) {
            return;
        }
        // The last who could open the group's keys is gone: the next one founds.
        self.change(Change::Forgotten(true));
        self.keys.remove_asked.clear();
        self.keys.removing = None;
        self.keys.lobby_stale = true;
        let waiting: Vec<_> = self.seated.values().copied().collect();
        for session in waiting {
            self.send(
                session,
                0,
                self.records.sequence,
                Body::KeyState(KeyState::default()),
            );
        }
    }

    pub(super) fn is_member(&self, id: ParticipantId) -> bool {
        self.records
            .keys
            .as_ref()
            .is_some_and(|keys| keys.member(id).is_some())
    }

    pub(super) fn is_resyncing(&self, session: SessionId) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|entry| entry.resyncing)
    }

    fn tentative(&self) -> Vec<u64> {
        let keys = self.records.keys.iter();
        keys.flat_map(Keys::tentative)
            .map(|commit| commit.serial)
            .collect()
    }

    /// Members without a seat.
    pub(super) fn departed(&self) -> Vec<ParticipantId> {
        let members = self.records.keys.iter().flat_map(|keys| &keys.members);
        let ids = members.map(|member| participant(&member.id));
        let seats: BTreeSet<_> = self.records.seats.iter().map(Seat::participant).collect();
        ids.filter(|id| !seats.contains(id)).collect()
    }
}

fn awaiting(commit: &Commit) -> Awaiting {
    Awaiting {
        serial: commit.serial,
        epoch: commit.epoch,
        voided: false,
    }
}

fn committed(commit: &Commit) -> KeyCommitted {
    KeyCommitted {
        epoch: commit.epoch,
        commit: commit.commit.clone(),
        participant_id: commit.by.clone(),
    }
}
