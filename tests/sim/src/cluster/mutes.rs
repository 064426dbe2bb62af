//! Nobody is unmuted without a wish: what each is shown of the others' microphones, judged by what these wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use darktower_wire::ids::{MeetingId, ParticipantId};

use super::messages::Place;

/// Who is back says within this what it wishes, where the owner that took it in does not know.
const SAID_WITHIN: Duration = Duration::from_secs(3);

/// One controller's memory of a meeting.
pub(super) type Life = (Place, u64);

/// What an owner could not write, or a store lost: whoever takes over may not know the last wishes.
#[derive(Debug, Default)]
struct Doubt {
    /// Where the meeting lived when it began: that one still knows.
    of: Option<Life>,
    /// Who has not been back under another owner since.
    open: BTreeSet<ParticipantId>,
    until: BTreeMap<ParticipantId, Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Mutes {
    /// Every wish so far, oldest first; everybody comes unmuted.
    wishes: BTreeMap<ParticipantId, Vec<bool>>,
    /// By who looks and whose it is: the wish that it has got to.
    seen: BTreeMap<(ParticipantId, ParticipantId), usize>,
    doubts: BTreeMap<MeetingId, Doubt>,
    lives: BTreeMap<MeetingId, Life>,
}

impl Mutes {
    pub(super) fn comes(&mut self, id: ParticipantId) {
        self.wishes.entry(id).or_insert_with(|| vec![false]);
    }

    pub(super) fn wished(&mut self, id: ParticipantId, muted: bool) {
        if let Some(wishes) = self.wishes.get_mut(&id) {
            wishes.push(muted);
        }
    }

    /// What it wishes now.
    pub(super) fn wish(&self, id: ParticipantId) -> Option<bool> {
        self.wishes.get(&id)?.last().copied()
    }

    /// The owner of the meeting is this one.
    pub(super) fn lives(&mut self, meeting: MeetingId, life: Life) {
        self.lives.insert(meeting, life);
    }

    /// The log may lack something.
    pub(super) fn doubt(&mut self, meeting: MeetingId, all: impl Iterator<Item = ParticipantId>) {
        let life = self.lives.get(&meeting).copied();
        let doubt = self.doubts.entry(meeting).or_default();
        if doubt.open.is_empty() {
            doubt.of = life;
        }
        for id in all {
            doubt.until.remove(&id);
            doubt.open.insert(id);
        }
    }

    /// The whole meeting was written by this one.
    pub(super) fn is_whole(&mut self, meeting: MeetingId, life: Option<&Life>) {
        if let Some(doubt) = self.doubts.get_mut(&meeting)
            && doubt.of.as_ref() == life
        {
            doubt.open.clear();
        }
    }

    /// It is in the meeting (again), at an owner whose log is whole.
    pub(super) fn is_in(&mut self, now: Duration, meeting: MeetingId, id: ParticipantId) {
        if let Some(doubt) = self.doubts.get_mut(&meeting)
            && doubt.open.remove(&id)
        {
            doubt.until.insert(id, now + SAID_WITHIN);
        }
    }

    /// `viewer` is shown `owner`'s microphone. A view may be late; back it goes in doubt alone. Says what is wrong with it.
    pub(super) fn sees(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        viewer: ParticipantId,
        owner: ParticipantId,
        muted: bool,
    ) -> Option<String> {
        let wishes = self.wishes.get(&owner)?;
        let seen = self.seen.entry((viewer, owner)).or_default();
        if let Some(next) = (*seen..wishes.len()).find(|at| wishes[*at] == muted) {
            *seen = next;
            return None;
        }
        let doubt = self.doubts.get(&meeting);
        let is_excused = doubt.is_some_and(|doubt| {
            doubt.open.contains(&owner) || doubt.until.get(&owner).is_some_and(|at| now <= *at)
        });
        if is_excused {
            *seen = wishes.iter().rposition(|wish| *wish == muted).unwrap_or(0);
            return None;
        }
        let word = if muted { "muted" } else { "unmuted" };
        Some(format!("{viewer} is shown {owner} {word} after {wishes:?}"))
    }
}
