//! When a commit is confirmed or refused: what becomes of it, of what was built
//! on it, and of those who were wrong.

use std::collections::BTreeSet;

use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;

use super::Meeting;
use super::record::{Change, Commit, participant};

/// Whose commits are voided this often is removed: it disturbs the others.
const MAX_VOIDED: u32 = 5;

/// Who alone refuses this many commits, accepting none between, is itself astray.
const MAX_REFUSALS: u32 = 3;

impl Meeting {
    /// A member could follow this commit and all before it.
    pub(super) fn confirm(&mut self, serial: u64) {
        let keys = self.records.keys.iter();
        let confirmed = keys.flat_map(|keys| keys.tentative());
        let confirmed = confirmed.filter(|commit| commit.serial <= serial);
        for commit in confirmed {
            self.keys.voided.remove(&participant(&commit.by));
        }
        self.change(Change::Confirmed(serial));
    }

    /// Others could follow what this member refused.
    pub(super) fn blame_refuser(&mut self, id: ParticipantId) {
        let times = self.keys.refusals.entry(id).or_default();
        *times += 1;
        let times = *times;
        let session = self.seated.get(&id).copied();
        if times >= 2 * MAX_REFUSALS && self.records.seat(id).is_some() {
            self.remove_participant(id, Code::NotAMember);
        } else if let Some(session) = session.filter(|_| times.is_multiple_of(MAX_REFUSALS)) {
            self.tell_resync(session, Code::CommitRefused);
        }
    }

    /// Nobody could follow what this end committed.
    pub(super) fn blame_committer(&mut self, id: ParticipantId) {
        let times = self.keys.voided.entry(id).or_default();
        *times += 1;
        if *times >= MAX_VOIDED && self.records.seat(id).is_some() {
            let in_link = self
                .records
                .meeting
                .as_ref()
                .is_some_and(|meeting| meeting.key_in_link);
            let code = match in_link {
                true => Code::LinkSecretNeeded,
                false => Code::NotAMember,
            };
            self.remove_participant(id, code);
        }
    }

    /// The commit and all built on it are void.
    pub(super) fn void(&mut self, serial: u64, refuser: ParticipantId) {
        let Some(keys) = &self.records.keys else {
            return;
        };
        let voided: Vec<Commit> = keys
            .tentative()
            .filter(|commit| commit.serial >= serial)
            .cloned()
            .collect();
        let Some(first) = voided.first() else {
            return;
        };
        self.change(Change::Voided(serial));
        self.keys.lobby_stale = true;
        self.keys.remove_asked.clear();
        self.keys.removing = None;
        self.keys.untold.retain(|untold| *untold < serial);
        for session in self.sessions.values_mut() {
            for sent in session
                .awaiting
                .iter_mut()
                .filter(|sent| sent.serial >= serial)
            {
                sent.voided = true;
            }
        }
        let astray = self.keys.unanswered.iter();
        let astray = astray.filter(|(_, serials)| serials.iter().any(|sent| *sent >= serial));
        let astray: Vec<_> = astray.map(|(id, _)| *id).collect();
        for id in astray {
            self.change(Change::Astray(id.to_vec().into()));
        }
        let mut told = BTreeSet::new();
        for commit in &voided {
            let by = participant(&commit.by);
            if !told.insert(by) {
                continue;
            }
            if let Some(session) = self.seated.get(&by).copied() {
                self.tell_resync(session, Code::CommitRefused);
            }
        }
        if first.external {
            // The state it was built on may have been at fault.
            self.want_group_info();
        }
        let by = participant(&first.by);
        let third = self.sessions.values().any(|entry| {
            entry.participant != refuser && entry.awaiting.iter().any(|sent| sent.serial == serial)
        });
        // Without a witness, a member of long standing is believed before a
        // newcomer, and one that comes back before one that refuses it.
        match (third, &first.before) {
            (true, _) => {
                self.keys.judging.insert(serial, (by, refuser));
            }
            (false, Some(_)) => self.blame_refuser(refuser),
            (false, None) => self.blame_committer(by),
        }
    }
}
