//! What must hold, judged after each step by a plain model of the meetings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use darktower_meeting::{Meeting, meeting};
use darktower_placement::{Held, Logged};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, ParticipantId};

use super::messages::{Fact, Place};
use super::mutes::Mutes;
use super::shard::Shard;
use super::store::{Answer, Ask, Store};

/// Time that a message, or clocks that are apart, may cost a seat.
const TOLERANCE: Duration = Duration::from_secs(1);
/// Who wants to be in the meeting is in, or told that it is out, so long after nothing goes wrong any more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Seat {
    /// When its owner last heard its participant.
    seen: Duration,
    /// The log may lack it: the store failed its owner, and nothing was written whole since.
    is_at_risk: bool,
    is_gone: bool,
}

#[derive(Debug, Default)]
struct Kept {
    seats: BTreeMap<ParticipantId, Seat>,
    /// Who left, was removed or gave up.
    leaving: BTreeSet<ParticipantId>,
    /// Commits by the epoch they lead to.
    chain: BTreeMap<u64, Bytes>,
    /// The owner could not write.
    is_failing: bool,
    /// The store lost what the owner of this fence had been told to be written.
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Lost {
    writer: Fence,
    /// The owner has renewed its lease since, and may have seen it.
    is_told: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    seat_ttl: Duration,
    meetings: BTreeMap<MeetingId, Kept>,
    owners: BTreeMap<(MeetingId, Fence), (Place, u64)>,
    /// The newest fence that was granted.
    granted: BTreeMap<MeetingId, Fence>,
    /// How much of it was written when the log was last compared with what its owner knows.
    compared: BTreeMap<(MeetingId, Fence), u64>,
    /// Who waits to get in, or back in, and since when.
    asking: BTreeMap<ParticipantId, Duration>,
    quiet_from: Duration,
    pub(super) mutes: Mutes,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
    /// Seats that were acknowledged, and that moved to another owner.
    pub(super) acked: u64,
    pub(super) moved: u64,
}

impl Model {
    pub(super) fn new(seat_ttl: Duration, quiet_from: Duration) -> Self {
        Self {
            seat_ttl,
            asking: BTreeMap::new(),
            compared: BTreeMap::new(),
            quiet_from,
            mutes: Mutes::default(),
            meetings: BTreeMap::new(),
            owners: BTreeMap::new(),
            granted: BTreeMap::new(),
            broken: None,
            acked: 0,
            moved: 0,
        }
    }

    pub(super) fn break_rule(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// The store did what it was asked for.
    pub(super) fn stored(&mut self, ask: &Ask, answer: &Answer) {
        match (ask, answer) {
            (
                Ask::Snapshot(meeting, ..) | Ask::Forget(meeting, _),
                Answer::Written(Logged::Yes),
            )
            | (Ask::Load(meeting), _) => self.kept(*meeting).lost = None,
            (Ask::Acquire(meeting, owner, _), Answer::Lease(held))
                if held.owner == Some(*owner) =>
            {
                self.renewed(*meeting, held);
            }
            _ => {}
        }
        match (ask, answer) {
            (Ask::Acquire(meeting, ..), Answer::Lease(held)) => {
                let newest = self.granted.entry(*meeting).or_default();
                *newest = (*newest).max(held.fence);
            }
            (
                Ask::Snapshot(meeting, fence, ..)
                | Ask::Append(meeting, fence, ..)
                | Ask::Forget(meeting, fence),
                Answer::Written(Logged::Yes),
            ) if self
                .granted
                .get(meeting)
                .is_some_and(|newest| fence < newest) =>
            {
                self.break_rule(format!("fence {} writes after a newer one", fence.0));
            }
            _ => {}
        }
    }

    fn kept(&mut self, meeting: MeetingId) -> &mut Kept {
        self.meetings.entry(meeting).or_default()
    }

    /// An owner that has been told by one renewal what its log ends with writes it anew before the next.
    fn renewed(&mut self, meeting: MeetingId, held: &Held) {
        let lost = self.kept(meeting).lost.as_mut();
        let Some(lost) = lost.filter(|lost| lost.writer == held.fence) else {
            return;
        };
        if std::mem::replace(&mut lost.is_told, true) {
            self.break_rule("what the store lost is not written anew".to_owned());
        }
    }

    /// The store lost what these meetings' owners wrote last.
    pub(super) fn store_lost(&mut self, changed: Vec<(MeetingId, Fence)>) {
        for (meeting, writer) in changed {
            self.log_failed(meeting);
            let is_told = false;
            self.kept(meeting).lost = Some(Lost { writer, is_told });
        }
    }

    fn log_failed(&mut self, meeting: MeetingId) {
        let kept = self.meetings.entry(meeting).or_default();
        kept.is_failing = true;
        // Its owner knows by itself.
        kept.lost = None;
        kept.chain.clear();
        kept.seats
            .values_mut()
            .for_each(|seat| seat.is_at_risk = true);
        self.mutes.doubt(meeting, kept.seats.keys().copied());
    }

    /// Somebody wants to be in the meeting and is not, or is (or is told that it is out).
    pub(super) fn asks(&mut self, now: Duration, participant: ParticipantId, waits: bool) {
        match waits {
            true => drop(self.asking.entry(participant).or_insert(now)),
            false => drop(self.asking.remove(&participant)),
        }
    }

    /// Every join, and every return, is answered.
    pub(super) fn judge_answers(&mut self, now: Duration) {
        let is_due = |since: &Duration| now > (*since).max(self.quiet_from) + ANSWERED_WITHIN;
        let mut late = self.asking.iter().filter(|(_, since)| is_due(since));
        if let Some((participant, since)) = late.next() {
            let what = format!("{participant} asks to be in since {since:?} without an answer");
            self.break_rule(what);
        }
    }

    pub(super) fn fact(&mut self, now: Duration, store: &Store, fact: Fact) {
        match fact {
            Fact::Acked(meeting, participant, fence) => {
                self.acked += 1;
                let kept = self.meetings.entry(meeting).or_default();
                let is_at_risk = kept.is_failing || fence < store.newest(meeting);
                let seat = kept.seats.entry(participant).or_insert(Seat {
                    seen: now,
                    is_at_risk,
                    is_gone: false,
                });
                seat.seen = now;
                // Who came again after its seat was given up has a new one.
                if std::mem::take(&mut seat.is_gone) {
                    seat.is_at_risk = is_at_risk;
                }
                if !is_at_risk {
                    self.mutes.is_in(now, meeting, participant);
                }
            }
            Fact::LogFailed(meeting) => self.log_failed(meeting),
            Fact::LogWhole(meeting, fence) if fence >= store.newest(meeting) => {
                let kept = self.meetings.entry(meeting).or_default();
                kept.is_failing = false;
                kept.seats
                    .values_mut()
                    .for_each(|seat| seat.is_at_risk = false);
                let life = self.owners.get(&(meeting, fence));
                self.mutes.is_whole(meeting, life);
            }
            Fact::LogWhole(..) => {}
            Fact::Committed(meeting, fence, epoch, commit) => {
                let kept = self.meetings.entry(meeting).or_default();
                if kept.is_failing || fence < store.newest(meeting) {
                    return;
                }
                let known = kept.chain.entry(epoch).or_insert_with(|| commit.clone());
                if *known != commit {
                    self.break_rule(format!("two commits lead to epoch {epoch}"));
                }
            }
            Fact::Broken(what) => self.break_rule(what),
        }
    }

    /// Looks at a meeting where it lives.
    pub(super) fn look(
        &mut self,
        now: Duration,
        store: &Store,
        place: Place,
        number: u64,
        shard: &Shard,
    ) {
        let (meeting, fence) = (shard.id, shard.tenure.fence());
        if shard.tenure.is_lost() || shard.over.is_some() {
            return;
        }
        let owner = *self.owners.entry((meeting, fence)).or_insert_with(|| {
            self.moved += 1;
            (place, number)
        });
        if owner != (place, number) && owner.0 != place {
            let (other, _) = owner;
            self.break_rule(format!(
                "{other:?} and {place:?} own with fence {}",
                fence.0
            ));
        }
        if store.lease(now, meeting) != Some((place.node(), fence)) {
            return;
        }
        self.mutes.lives(meeting, (place, number));
        self.compare(now, store, place, shard);
        let kept = self.meetings.entry(meeting).or_default();
        match shard.meeting.description().keys {
            None => kept.chain.clear(),
            Some((epoch, _)) => kept.chain.retain(|known, _| *known <= epoch),
        }
        for (participant, heard) in shard.joined.values() {
            if let Some(seat) = kept.seats.get_mut(participant) {
                seat.seen = seat.seen.max(*heard);
            }
        }
        let ttl = self.seat_ttl;
        let mut lost = None;
        for (participant, seat) in &mut kept.seats {
            if seat.is_gone || shard.meeting.has_seat(*participant) {
                continue;
            }
            seat.is_gone = true;
            let is_due = now + TOLERANCE >= seat.seen + ttl;
            if !(kept.leaving.contains(participant) || seat.is_at_risk || is_due) {
                lost = Some((*participant, now - seat.seen));
            }
        }
        if let Some((participant, away)) = lost {
            self.break_rule(format!(
                "the seat of {participant} is gone at {place:?} after {away:?}"
            ));
        }
    }

    /// Whoever takes the meeting over finds in the log all that its owner acknowledged.
    fn compare(&mut self, now: Duration, store: &Store, place: Place, shard: &Shard) {
        let meeting = shard.id;
        let kept = self.meetings.get(&meeting);
        let Some(written) = shard.written() else {
            return;
        };
        let key = (meeting, shard.tenure.fence());
        if kept.is_some_and(|kept| kept.is_failing)
            || self.compared.insert(key, written) == Some(written)
        {
            return;
        }
        let Some(log) = store.log(meeting).filter(|log| !log.snapshot.is_empty()) else {
            return;
        };
        let deltas = log.deltas.iter().map(|delta| &delta[..]);
        let config = meeting::Config::default();
        let found = Meeting::restore(config, &log.snapshot, deltas, now, super::WALL);
        if found.map(|found| found.snapshot()).ok() != Some(shard.meeting.snapshot()) {
            self.break_rule(format!("the log lacks what {place:?} acknowledged"));
        }
    }

    /// This participant is out by its own will, or a host's.
    pub(super) fn leaves(&mut self, meeting: MeetingId, participant: ParticipantId) {
        let kept = self.meetings.entry(meeting).or_default();
        kept.leaving.insert(participant);
    }

    /// Somebody who wants to be in the meeting is told that it is not.
    pub(super) fn told_out(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        participant: ParticipantId,
        code: Code,
        silent: Duration,
    ) {
        let kept = self.meetings.entry(meeting).or_default();
        let is_failing = kept.is_failing;
        let ttl = self.seat_ttl;
        let is_fair = match (kept.seats.get(&participant), code) {
            _ if kept.leaving.contains(&participant) => true,
            (Some(seat), _) if seat.is_gone || seat.is_at_risk => true,
            (Some(seat), Code::SeatExpired | Code::ResumeUnknown) => {
                now + TOLERANCE >= seat.seen + ttl || silent + TOLERANCE >= ttl
            }
            // It was never in, and is told so.
            (None, Code::ConnectFailed) => true,
            (None, _) => is_failing,
            (Some(_), _) => false,
        };
        if !is_fair {
            self.break_rule(format!("{participant} is told {code}"));
        }
        self.leaves(meeting, participant);
    }
}
