//! How a meeting comes to a controller: those who wait for it, its lease, its log.

use std::collections::VecDeque;
use std::time::Duration;

use darktower_meeting::Meeting;
use darktower_meeting::meeting::{self, Credential, Entropy, Input};
use darktower_placement::{Answer as Said, Held, Logged, Outcome, Step, Takeover, Tenure};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use darktower_wire::signal;

use super::controller::{Controller, Purpose, controller};
use super::messages::{Conn, Fact, Message, Out, Place};
use super::shard::{Event, Shard};
use super::store::{Answer, Ask, Log};
use super::{LEASE_TTL, WALL, record};

/// Whoever wants a meeting to be here.
pub(super) enum Waiter {
    Session(Conn, Place, Credential, Entropy),
    Describe(Place, u64),
}

pub(super) struct Opening {
    pub(super) takeover: Takeover,
    pub(super) fence: Fence,
    /// It is waited until then.
    pub(super) wait: Option<Duration>,
    /// A meeting that nobody has been in, while its first snapshot is written, and the number of that.
    pub(super) first: Option<(Meeting, u64)>,
    pub(super) loads: bool,
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) waiters: VecDeque<Waiter>,
    pub(super) opening: Option<Opening>,
    pub(super) living: Option<u64>,
}

impl Controller {
    pub(super) fn want(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        waiter: Waiter,
        out: &mut Out,
    ) {
        self.slots
            .entry(meeting)
            .or_default()
            .waiters
            .push_back(waiter);
        self.serve(now, meeting, out);
    }

    /// Those who wait are let in where the meeting is here; else the first of them brings it.
    pub(super) fn serve(&mut self, now: Duration, meeting: MeetingId, out: &mut Out) {
        let Some(slot) = self.slots.get_mut(&meeting) else {
            return;
        };
        if slot.opening.is_some() {
            return;
        }
        let living = slot
            .living
            .and_then(|at| self.shards.get_mut(&at).map(|it| (at, it)));
        if let Some((at, shard)) = living.filter(|(_, shard)| shard.over.is_none()) {
            for waiter in std::mem::take(&mut slot.waiters) {
                match waiter {
                    Waiter::Session(conn, place, credential, entropy) => {
                        let Some(session) = self.sessions.get_mut(&conn) else {
                            continue;
                        };
                        session.shard = Some(at);
                        shard.outlets.insert(conn, place);
                        shard.push(Event::Opened(conn, credential, entropy));
                        for message in std::mem::take(&mut session.early) {
                            shard.push(Event::Message(conn, Box::new(message)));
                        }
                    }
                    Waiter::Describe(place, id) => shard.push(Event::Describe(place, id)),
                }
            }
        } else if !slot.waiters.is_empty() {
            slot.living = None;
            slot.opening = Some(Opening {
                takeover: Takeover::new(now, self.place.node(), LEASE_TTL),
                fence: Fence(0),
                wait: None,
                first: None,
                loads: false,
            });
            match self.is_draining {
                true => self.fail(now, meeting, Code::Draining, None, out),
                false => self.step(now, meeting, out),
            }
        }
    }

    /// Does what the takeover says.
    pub(super) fn step(&mut self, now: Duration, meeting: MeetingId, out: &mut Out) {
        let Some(opening) = self.opening(meeting) else {
            return;
        };
        let ask = match opening.takeover.step() {
            Step::Acquire => Ask::Acquire(meeting, self.node(), LEASE_TTL),
            Step::Ask(..) => Ask::Nodes,
            Step::GiveBack(owner, fence) => Ask::Release(meeting, owner, fence),
            Step::Wait(wait) => {
                opening.wait = Some(now + wait);
                return;
            }
            Step::Done(Outcome::Mine(fence)) => {
                (opening.fence, opening.loads) = (fence, true);
                Ask::Load(meeting)
            }
            Step::Done(Outcome::Theirs(owner)) => {
                return self.fail(now, meeting, Code::NotOwner, Some(owner), out);
            }
            Step::Done(Outcome::Refused(code)) => return self.fail(now, meeting, code, None, out),
        };
        self.ask(now, Purpose::Opening(meeting), ask, out);
    }

    pub(super) fn opening(&mut self, meeting: MeetingId) -> Option<&mut Opening> {
        self.slots.get_mut(&meeting)?.opening.as_mut()
    }

    pub(super) fn opened(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        answer: Option<Answer>,
        out: &mut Out,
    ) {
        let is_draining = self.is_draining;
        let Some(opening) = self.opening(meeting) else {
            return;
        };
        if opening.loads {
            return self.loaded(now, meeting, answer, out);
        }
        match (opening.takeover.step(), answer) {
            (Step::Acquire, Some(Answer::Lease(Held { owner, fence, .. }))) => {
                opening.fence = fence;
                opening.takeover.leased(owner, fence);
            }
            (Step::Ask(owner, within), Some(Answer::Nodes(nodes))) => {
                if nodes.iter().any(|node| node.id == owner) {
                    let until = now + within;
                    let id = self.calls.begin(Purpose::Opening(meeting), until);
                    return out.send(Place::of(owner), Message::Hold(id, meeting));
                }
                let (fence, said) = (opening.fence, Said::Silent);
                opening
                    .takeover
                    .asked(now, fence, Some(false), said, is_draining);
            }
            (Step::Ask(..), None) => {
                // The registry, or the owner, does not answer: of the two it waits for the lease.
                let fence = opening.fence;
                opening
                    .takeover
                    .asked(now, fence, Some(true), Said::Silent, is_draining);
            }
            (Step::GiveBack(..), Some(_)) => opening.takeover.given_back(),
            (Step::Acquire | Step::GiveBack(..), _) => {
                return self.fail(now, meeting, Code::Unavailable, None, out);
            }
            _ => return,
        }
        self.step(now, meeting, out);
    }

    /// The owner answered whether it holds the meeting.
    pub(super) fn heard(&mut self, now: Duration, id: u64, said: Said, out: &mut Out) {
        let is_draining = self.is_draining;
        let Some(Purpose::Opening(meeting)) = self.calls.end(id) else {
            return;
        };
        if let Some(opening) = self.opening(meeting) {
            let fence = opening.fence;
            opening
                .takeover
                .asked(now, fence, Some(true), said, is_draining);
            self.step(now, meeting, out);
        }
    }

    pub(super) fn loaded(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        answer: Option<Answer>,
        out: &mut Out,
    ) {
        let wall = self.wall(now);
        let config = self.config.clone();
        let Some(opening) = self.opening(meeting) else {
            return;
        };
        let fence = opening.fence;
        let (living, number) = match (opening.first.take(), answer) {
            (Some((first, number)), Some(Answer::Written(Logged::Yes))) => (first, number),
            (None, Some(Answer::Log(log))) if log.snapshot.is_empty() => {
                let Ok(new) = Meeting::new(config, record(meeting), now, wall) else {
                    return self.fail(now, meeting, Code::MeetingUnknown, None, out);
                };
                let (number, snapshot) = (log.number + 1, new.snapshot());
                opening.first = Some((new, number));
                let ask = Ask::Snapshot(meeting, fence, number, snapshot);
                return self.ask(now, Purpose::Opening(meeting), ask, out);
            }
            (None, Some(Answer::Log(log))) => match restored(config, &log, now, wall) {
                Ok(restored) => (restored, log.number),
                Err(code) => {
                    out.facts
                        .push(Fact::Broken(format!("a log cannot be read: {code}")));
                    return self.fail(now, meeting, code, None, out);
                }
            },
            _ => {
                // Given back, so that others need not wait for it to run out.
                let ask = Ask::Release(meeting, self.node(), fence);
                self.ask(now, Purpose::Beat, ask, out);
                return self.fail(now, meeting, Code::Unavailable, None, out);
            }
        };
        self.next_shard += 1;
        let at = self.next_shard;
        let tenure = Tenure::new(self.node(), fence, number);
        let shard = Shard::new(now, living, tenure, self.plant);
        self.shards.insert(at, shard);
        if let Some(slot) = self.slots.get_mut(&meeting) {
            (slot.opening, slot.living) = (None, Some(at));
        }
        self.serve(now, meeting, out);
    }

    /// The first of those who wait hears why not, and where to go; the next one tries itself.
    pub(super) fn fail(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        code: Code,
        owner: Option<NodeId>,
        out: &mut Out,
    ) {
        let Some(slot) = self.slots.get_mut(&meeting) else {
            return;
        };
        slot.opening = None;
        match slot.waiters.pop_front() {
            Some(Waiter::Session(conn, place, ..)) if self.sessions.remove(&conn).is_some() => {
                if let Some(owner) = owner {
                    let elsewhere = signal::Elsewhere {
                        controllers: vec![controller(owner)],
                        moved: true,
                    };
                    let message = signal::ServerMessage {
                        body: Some(signal::server_message::Body::Elsewhere(elsewhere)),
                        ..signal::ServerMessage::default()
                    };
                    let bytes = darktower_wire::framing::encode(&message);
                    out.send(place, Message::Said(conn, bytes));
                }
                out.send(place, Message::Closed(conn, code));
            }
            Some(Waiter::Describe(place, id)) => out.send(place, Message::Described(id, Err(code))),
            _ => {}
        }
        self.serve(now, meeting, out);
    }

    /// The time that all nodes share, as far as it knows.
    pub(super) fn wall(&self, now: Duration) -> u64 {
        self.own_wall(now)
            .saturating_add_signed(-self.skew.ahead_ms())
    }

    pub(super) fn own_wall(&self, now: Duration) -> u64 {
        (WALL + now.as_millis() as u64).saturating_add_signed(self.skew_ms)
    }
}

fn restored(config: meeting::Config, log: &Log, now: Duration, wall: u64) -> Result<Meeting, Code> {
    let deltas = log.deltas.iter().map(|delta| &delta[..]);
    let restored = Meeting::restore(config, &log.snapshot, deltas, now, wall);
    let mut meeting = restored.map_err(|_| Code::Internal)?;
    match meeting.ended() {
        Some(code) => Err(code),
        None => {
            meeting.handle(now, Input::TakenOver);
            Ok(meeting)
        }
    }
}
