//! A meeting controller: which meetings live here and how they come here, and what it knows
//! of the other nodes. The rules are the cores'; this carries them out.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_link::Random;
use darktower_meeting::meeting::{self, Entropy, Input};
use darktower_placement::{Answer as Said, Candidate, Health, Skew, View, others};
use darktower_wire::Code;
use darktower_wire::framing::{Decoder, MAX_SIGNAL};
use darktower_wire::ids::{MeetingId, NodeId};
use darktower_wire::signal::{self, ClientMessage};

use super::Plant;
use super::links::Links;
use super::messages::{Calls, Conn, Message, Out, Place};
use super::opening::{Slot, Waiter};
use super::shard::{Event, Over, Shard, Wish};
use super::store::{Answer, Ask, NODE_TTL, Node};

const STORE_WITHIN: Duration = Duration::from_millis(400);
const BEAT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Beat,
    View,
    /// Asked at this time of its own.
    Clock(u64),
    Opening(MeetingId),
    Shard(u64),
}

pub(super) struct Session {
    pub(super) place: Place,
    pub(super) decoder: Decoder,
    /// Where its meeting lives, once it does.
    pub(super) shard: Option<u64>,
    pub(super) early: Vec<ClientMessage>,
}

pub(super) struct Controller {
    pub(super) place: Place,
    pub(super) calls: Calls<Purpose>,
    pub(super) view: Option<View<Node>>,
    pub(super) beat_at: Duration,
    pub(super) slots: BTreeMap<MeetingId, Slot>,
    pub(super) shards: BTreeMap<u64, Shard>,
    pub(super) next_shard: u64,
    pub(super) sessions: BTreeMap<Conn, Session>,
    pub(super) links: Links,
    pub(super) is_draining: bool,
    pub(super) config: meeting::Config,
    /// Its wall clock is apart by so much, in milliseconds.
    pub(super) skew_ms: i64,
    pub(super) skew: Skew,
    /// So many of a meeting are on one handler; 0: all.
    pub(super) share: u32,
    pub(super) plant: Plant,
    pub(super) random: Random,
}

impl Controller {
    pub(super) fn new(
        now: Duration,
        place: Place,
        config: meeting::Config,
        skew_ms: i64,
        share: u32,
        plant: Plant,
        random: Random,
    ) -> Self {
        let Place::Controller(n) = place else {
            unreachable!("controllers live at controllers' places");
        };
        let first = u64::from(n) << 40;
        Self {
            place,
            calls: Calls::new(first),
            view: None,
            beat_at: now,
            slots: BTreeMap::new(),
            shards: BTreeMap::new(),
            next_shard: 0,
            sessions: BTreeMap::new(),
            links: Links::new(first),
            is_draining: false,
            config,
            skew_ms,
            skew: Skew::default(),
            share,
            plant,
            random,
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.place.node()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        self.view.as_ref().map_or(&[], |view| view.nodes())
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let waits = self.slots.values();
        let waits = waits.filter_map(|slot| slot.opening.as_ref()?.wait);
        let shards = self.shards.values().filter_map(Shard::deadline);
        let others = [
            Some(self.beat_at),
            self.calls.deadline(),
            self.links.deadline(),
        ];
        waits
            .chain(shards)
            .chain(others.into_iter().flatten())
            .min()
    }

    /// Goes away in order: its meetings move where somebody else takes them.
    pub(super) fn drain(&mut self, now: Duration, out: &mut Out) {
        self.is_draining = true;
        self.beat_at = now;
        let can_move = !self.others(MeetingId::default(), false).is_empty();
        for shard in self.shards.values_mut().filter(|_| can_move) {
            shard.over.get_or_insert(Over::Drained);
        }
        self.run(now, out);
    }

    /// A meeting goes to another controller, as one does for the sake of balance; this one stays.
    pub(super) fn hand_on(&mut self, now: Duration, out: &mut Out) {
        let can_move = !self.others(MeetingId::default(), true).is_empty();
        if let Some(shard) = self.shards.values_mut().next().filter(|_| can_move) {
            shard.over.get_or_insert(Over::Moved);
        }
        self.run(now, out);
    }

    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) {
        for purpose in self.calls.expired(now) {
            self.answered(now, purpose, None, out);
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT;
            let node = Node {
                id: self.node(),
                draining: self.is_draining,
            };
            self.ask(now, Purpose::Beat, Ask::Put(node), out);
            self.ask(now, Purpose::Clock(self.own_wall(now)), Ask::Time, out);
            self.ask(now, Purpose::View, Ask::Nodes, out);
        }
        let due: Vec<_> = self
            .slots
            .iter_mut()
            .filter_map(|(id, slot)| {
                let opening = slot.opening.as_mut()?;
                opening.wait.take_if(|at| *at <= now)?;
                opening.takeover.waited();
                Some(*id)
            })
            .collect();
        for meeting in due {
            self.step(now, meeting, out);
        }
        let looks = self.links.wake(now, out);
        self.tell_meetings(looks);
        self.run(now, out);
    }

    pub(super) fn take(&mut self, now: Duration, from: Place, message: Message, out: &mut Out) {
        match message {
            Message::Stored(id, answer) => {
                if let Some(purpose) = self.calls.end(id) {
                    self.answered(now, purpose, Some(answer), out);
                }
            }
            Message::Held(id, node, holds) => self.heard(now, id, Said::Said { node, holds }, out),
            Message::Nobody(id) => match self.links.not_taken(now, id) {
                Some(looks) => self.tell_meetings(looks),
                None => self.heard(now, id, Said::Refused, out),
            },
            Message::Hold(id, meeting) => {
                let slot = self.slots.get(&meeting);
                let holds = slot.is_some_and(|slot| {
                    let living = slot.living.and_then(|shard| self.shards.get(&shard));
                    slot.opening.is_none() && living.is_some_and(|shard| shard.over.is_none())
                });
                out.send(from, Message::Held(id, self.node(), holds));
            }
            Message::Describe(id, meeting) => {
                self.want(now, meeting, Waiter::Describe(from, id), out);
            }
            Message::Open(conn, meeting, credential) => {
                if self.is_draining {
                    return out.send(from, Message::Closed(conn, Code::Draining));
                }
                out.send(from, Message::Up(conn));
                let session = Session {
                    place: from,
                    decoder: Decoder::new(MAX_SIGNAL),
                    shard: None,
                    early: Vec::new(),
                };
                self.sessions.insert(conn, session);
                let mut bytes = || std::array::from_fn(|_| self.random.next_u64() as u8);
                let entropy = Entropy {
                    resume: bytes(),
                    ticket: bytes(),
                };
                self.want(
                    now,
                    meeting,
                    Waiter::Session(conn, from, credential, entropy),
                    out,
                );
            }
            Message::Say(conn, bytes) => self.said(conn, &bytes),
            Message::Hangup(conn) => {
                if let Some(session) = self.sessions.remove(&conn)
                    && let Some(shard) = session.shard.and_then(|at| self.shards.get_mut(&at))
                {
                    shard.push(Event::Closed(conn));
                }
            }
            other => {
                let looks = self.links.take(now, &other);
                self.tell_meetings(looks);
            }
        }
        self.run(now, out);
    }

    fn tell_meetings(&mut self, told: Vec<(u64, Event)>) {
        for (shard, event) in told {
            if let Some(shard) = self.shards.get_mut(&shard) {
                shard.push(event);
            }
        }
    }

    fn said(&mut self, conn: Conn, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        session.decoder.push(bytes);
        while let Ok(Some(message)) = session.decoder.next_message::<ClientMessage>() {
            match session.shard {
                Some(shard) => {
                    if let Some(shard) = self.shards.get_mut(&shard) {
                        shard.push(Event::Message(conn, Box::new(message)));
                    }
                }
                None => session.early.push(message),
            }
        }
    }

    pub(super) fn ask(&mut self, now: Duration, purpose: Purpose, ask: Ask, out: &mut Out) {
        let id = self.calls.begin(purpose, now + STORE_WITHIN);
        out.send(Place::Store, Message::Store(id, ask));
    }

    fn answered(&mut self, now: Duration, purpose: Purpose, answer: Option<Answer>, out: &mut Out) {
        match purpose {
            Purpose::Beat | Purpose::View if answer.is_none() => {
                if let Some(view) = &mut self.view {
                    view.doubt(now);
                }
            }
            Purpose::Beat => {}
            Purpose::Clock(asked) => {
                if let Some(Answer::Time(shared)) = answer {
                    self.skew.compare(asked, shared, self.own_wall(now));
                }
            }
            Purpose::View => {
                let Some(Answer::Nodes(listed)) = answer else {
                    return;
                };
                let is_new = match &mut self.view {
                    Some(view) => view.listed(now, listed, |node| node.id),
                    None => {
                        self.view = Some(View::new(now, NODE_TTL, listed));
                        true
                    }
                };
                if is_new {
                    let looks = self.shards.values_mut();
                    looks.for_each(|shard| shard.push(Event::Look));
                }
            }
            Purpose::Opening(meeting) => self.opened(now, meeting, answer, out),
            Purpose::Shard(at) => {
                if let Some(shard) = self.shards.get_mut(&at) {
                    shard.answered(answer, out);
                }
            }
        }
    }

    /// Every meeting goes on as far as it can, and gets what it wishes.
    fn run(&mut self, now: Duration, out: &mut Out) {
        let all: Vec<_> = self.shards.keys().copied().collect();
        for at in all {
            while let Some(shard) = self.shards.get_mut(&at) {
                shard.run(now, out);
                let Some(wish) = shard.wishes.pop_front() else {
                    break;
                };
                self.grant(now, at, wish, out);
            }
        }
    }

    fn grant(&mut self, now: Duration, at: u64, wish: Wish, out: &mut Out) {
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        let meeting = shard.id;
        match wish {
            Wish::Ask(ask) => self.ask(now, Purpose::Shard(at), ask, out),
            Wish::Order(to, order) => {
                if shard.handlers.contains(&to) {
                    let fence = shard.tenure.fence();
                    self.links
                        .say(to, meeting, fence, [crate::handler::command(order)], out);
                }
            }
            Wish::Sync(None) => {
                let all: Vec<_> = shard.handlers.iter().copied().collect();
                all.into_iter().for_each(|node| self.sync(at, node, out));
            }
            Wish::Sync(Some(node)) => self.use_handler(now, at, node, out),
            Wish::Look => self.look(now, at),
            Wish::SendAway(owner, code) => {
                let mut to = match code {
                    Code::Unavailable => Vec::new(),
                    _ => self.others(meeting, true),
                };
                if let Some(owner) = owner.filter(|owner| *owner != self.node()) {
                    to.retain(|other| *other != controller(owner));
                    to.insert(0, controller(owner));
                }
                if let Some(shard) = self.shards.get_mut(&at) {
                    shard.send_away(now, to, code, out);
                }
            }
            Wish::Finished => {
                for node in std::mem::take(&mut shard.handlers) {
                    self.links.leave(node, meeting, at);
                }
                self.shards.remove(&at);
                // Those whose join crossed the end find another way.
                let orphans: Vec<_> = self
                    .sessions
                    .iter()
                    .filter(|(_, session)| session.shard == Some(at))
                    .map(|(conn, session)| (*conn, session.place))
                    .collect();
                for (conn, place) in orphans {
                    self.sessions.remove(&conn);
                    out.send(place, Message::Closed(conn, Code::Unavailable));
                }
            }
        }
    }

    fn others(&self, meeting: MeetingId, goes: bool) -> Vec<signal::Controller> {
        let nodes = self.nodes().iter();
        let all = nodes.filter(|node| matches!(Place::of(node.id), Place::Controller(_)));
        let all: Vec<_> = all.map(|node| candidate(node, Health::Sound)).collect();
        let ids = others(meeting, &all, self.node(), "", goes);
        ids.into_iter().map(controller).collect()
    }

    /// The nodes are these now: the meeting's handler may be another.
    fn look(&mut self, now: Duration, at: u64) {
        let Some(meeting) = self.shards.get(&at).map(|shard| shard.id) else {
            return;
        };
        let others = self.others(meeting, false);
        let Some(shard) = self.shards.get_mut(&at) else {
            return;
        };
        if self.is_draining && !others.is_empty() {
            shard.over.get_or_insert(Over::Drained);
        }
        shard.meeting.handle(now, Input::Elsewhere(others));
        self.place(now, at);
    }
}

pub(super) fn candidate(node: &Node, health: Health) -> Candidate<'static> {
    Candidate {
        id: node.id,
        region: "",
        capacity: 0,
        load: 0,
        draining: node.draining,
        health,
    }
}

pub(super) fn controller(node: NodeId) -> signal::Controller {
    signal::Controller {
        url: Place::of(node).url(),
        certificate_sha256: Vec::new(),
    }
}
