//! One meeting at a controller: what the service's shard does, without waiting for anybody.
//! While it asks the store, what reaches it waits in its inbox.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_meeting::Meeting;
use darktower_meeting::meeting::{Credential, Entropy, Input, MediaOrder, Output, SessionId};
use darktower_placement::{Held, Homes, Logged, Renewal, Tenure};
use darktower_wire::Code;
use darktower_wire::framing;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParticipantId};
use darktower_wire::signal::{self, ClientMessage, client_message, server_message::Body};

use super::messages::{Conn, Fact, Message, Out, Place};
use super::store::{Answer, Ask};
use super::{LEASE_TTL, Plant};

pub(super) enum Event {
    Opened(Conn, Credential, Entropy),
    Message(Conn, Box<ClientMessage>),
    Closed(Conn),
    Describe(Place, u64),
    Sync(NodeId),
    Look,
    Fenced,
}

/// What it waits for the store to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Await {
    Append,
    Save,
    Renew,
    Regain(Fence),
    GiveUp,
    Owner,
    Forget,
    LastSave,
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Empty,
    Ended,
    Lost,
    Drained,
    Moved,
}

/// What the controller does for it.
pub(super) enum Wish {
    Ask(Ask),
    Order(NodeId, MediaOrder),
    /// Say everything to a handler, or to all where none is named.
    Sync(Option<NodeId>),
    Look,
    /// Tell where else it may be, after the node that has it now.
    SendAway(Option<NodeId>, Code),
    Finished,
}

pub(super) struct Shard {
    pub(super) id: MeetingId,
    pub(super) meeting: Meeting,
    pub(super) tenure: Tenure,
    pub(super) handlers: BTreeSet<NodeId>,
    pub(super) homes: Homes,
    pub(super) over: Option<Over>,
    /// Who is in the meeting, by connection, and when something was last heard of it.
    pub(super) joined: BTreeMap<Conn, (ParticipantId, Duration)>,
    /// The way to each open connection.
    pub(super) outlets: BTreeMap<Conn, Place>,
    pub(super) wishes: VecDeque<Wish>,
    pub(super) is_wound_up: bool,
    inbox: VecDeque<Event>,
    waits: Option<Await>,
    renew_at: Duration,
    /// The participant each session shows itself as.
    shown: BTreeMap<Conn, ParticipantId>,
    plant: Plant,
    written: u64,
    /// It has asked once more what the store knows, before it goes.
    has_asked: bool,
    /// The whole of it is to be written, once what was decided before is done: changes that are in a snapshot are not to
    /// come after it.
    saves: bool,
}

impl Shard {
    pub(super) fn new(now: Duration, meeting: Meeting, tenure: Tenure, plant: Plant) -> Self {
        Self {
            id: meeting.id(),
            meeting,
            tenure,
            handlers: BTreeSet::new(),
            homes: Homes::default(),
            over: None,
            joined: BTreeMap::new(),
            outlets: BTreeMap::new(),
            wishes: VecDeque::from([Wish::Look]),
            is_wound_up: false,
            inbox: VecDeque::new(),
            waits: None,
            renew_at: now,
            shown: BTreeMap::new(),
            plant,
            written: 0,
            has_asked: false,
            saves: false,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.over.is_none() {
            self.inbox.push_back(event);
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.waits.is_some() || self.over.is_some() {
            return None;
        }
        let tick = self.meeting.deadline();
        Some(tick.map_or(self.renew_at, |at| at.min(self.renew_at)))
    }

    /// Goes as far as it can without the store.
    pub(super) fn run(&mut self, now: Duration, out: &mut Out) {
        while self.waits.is_none() && !self.is_wound_up {
            if self.perform(now, out) {
                continue;
            }
            if self.over.is_some() {
                self.wind_up(out);
            } else if let Some(event) = self.inbox.pop_front() {
                self.event(now, event, out);
            } else if now >= self.renew_at {
                self.renew_at = now + LEASE_TTL / 3;
                self.renew();
                self.wishes.push_back(Wish::Look);
            } else if self.meeting.deadline().is_some_and(|at| at <= now) {
                self.meeting.handle(now, Input::Tick);
            } else {
                return;
            }
        }
    }

    /// So much of it was written, or taken for written; `None` while something is under way or known to be missing.
    pub(super) fn written(&self) -> Option<u64> {
        let is_at_rest = self.waits.is_none() && !self.tenure.is_unsaved();
        is_at_rest.then_some(self.written)
    }

    fn renew(&mut self) {
        let (node, ttl) = (self.tenure.node(), LEASE_TTL);
        self.ask(Await::Renew, Ask::Acquire(self.id, node, ttl));
    }

    fn ask(&mut self, waits: Await, ask: Ask) {
        self.waits = Some(waits);
        self.wishes.push_back(Wish::Ask(ask));
    }

    fn event(&mut self, now: Duration, event: Event, out: &mut Out) {
        let input = match event {
            Event::Opened(conn, credential, entropy) => {
                let participant = match &credential {
                    Credential::Token { participant, .. } => *participant,
                    Credential::Resume(token) => {
                        darktower_meeting::meeting::resume_token_participant(token)
                    }
                };
                self.shown.insert(conn, participant);
                Input::Opened {
                    session: SessionId(conn),
                    credential,
                    entropy,
                }
            }
            Event::Message(conn, message) => {
                if let Some((_, heard)) = self.joined.get_mut(&conn) {
                    *heard = now;
                }
                Input::Message {
                    session: SessionId(conn),
                    message: *message,
                }
            }
            Event::Closed(conn) => {
                self.outlets.remove(&conn);
                self.joined.remove(&conn);
                if self.plant == Plant::ForgetSeat {
                    let message = ClientMessage {
                        body: Some(client_message::Body::Leave(signal::Leave {})),
                        ..ClientMessage::default()
                    };
                    let session = SessionId(conn);
                    self.meeting
                        .handle(now, Input::Message { session, message });
                }
                Input::Closed {
                    session: SessionId(conn),
                }
            }
            Event::Describe(who, id) => {
                let description = self.meeting.description();
                let handler = self.meeting.handler_for(None);
                let handler = handler.filter(|_| !self.handlers.is_empty());
                let described = match (self.meeting.ended(), handler) {
                    (Some(code), _) => Err(code),
                    (None, None) => Err(Code::NoHandler),
                    (None, Some(handler)) => Ok((description, handler)),
                };
                return out.send(who, Message::Described(id, described));
            }
            Event::Sync(node) => {
                if self.handlers.contains(&node) {
                    self.wishes.push_back(Wish::Sync(Some(node)));
                }
                return;
            }
            Event::Look => return self.wishes.push_back(Wish::Look),
            Event::Fenced => {
                self.tenure.fenced();
                return self.over = Some(Over::Lost);
            }
        };
        self.meeting.handle(now, input);
    }

    /// Does the next thing that was decided; false where nothing is left.
    fn perform(&mut self, now: Duration, out: &mut Out) -> bool {
        let Some(output) = self.meeting.poll() else {
            let saves = self.saves && self.tenure.is_unsaved() && !self.tenure.is_lost();
            if (saves || self.tenure.wants_snapshot()) && self.over.is_none() {
                self.saves = false;
                self.save(Await::Save);
                return true;
            }
            return false;
        };
        match output {
            Output::Persist(delta) => {
                if self.tenure.appends() {
                    self.written += 1;
                    match self.plant == Plant::DropDelta && self.written.is_multiple_of(5) {
                        true => self.tenure.appended(Logged::Yes),
                        false => {
                            let number = self.tenure.next_number();
                            let fence = self.tenure.fence();
                            let ask = Ask::Append(self.id, fence, number, delta);
                            self.ask(Await::Append, ask);
                        }
                    }
                }
            }
            _ if self.tenure.is_lost() => {}
            Output::Media { to, order } => self.wishes.push_back(Wish::Order(to, order)),
            Output::Sync { node } => self.wishes.push_back(Wish::Sync(Some(node))),
            Output::Unheard { node } => {
                self.homes.unheard(now, node);
                self.wishes.push_back(Wish::Look);
            }
            Output::Send { session, message } => {
                let conn = session.0;
                match &message.body {
                    Some(Body::Joined(_)) => self.take_in(now, conn, out),
                    Some(Body::KeyCommitted(commit)) => out.facts.push(Fact::Committed(
                        self.id,
                        self.tenure.fence(),
                        commit.epoch,
                        commit.commit.clone(),
                    )),
                    _ => {}
                }
                self.say(conn, framing::encode(&message), out);
            }
            Output::Close { session, code } => self.close(session.0, code, out),
            Output::Over { ended } => {
                self.over = Some(match ended {
                    true => Over::Ended,
                    false => Over::Empty,
                });
            }
        }
        true
    }

    fn take_in(&mut self, now: Duration, conn: Conn, out: &mut Out) {
        let Some(participant) = self.shown.get(&conn).copied() else {
            return;
        };
        if self.joined.values().any(|(other, _)| *other == participant) {
            let broken = format!("{participant} is in two sessions");
            out.facts.push(Fact::Broken(broken));
        }
        self.joined.insert(conn, (participant, now));
        let fence = self.tenure.fence();
        out.facts.push(Fact::Acked(self.id, participant, fence));
    }

    fn say(&self, conn: Conn, bytes: Bytes, out: &mut Out) {
        if let Some(place) = self.outlets.get(&conn) {
            out.send(*place, Message::Said(conn, bytes));
        }
    }

    fn close(&mut self, conn: Conn, code: Code, out: &mut Out) {
        self.joined.remove(&conn);
        if let Some(place) = self.outlets.remove(&conn) {
            out.send(place, Message::Closed(conn, code));
        }
    }

    fn save(&mut self, waits: Await) {
        self.written += 1;
        let (number, snapshot) = (self.tenure.next_number(), self.meeting.snapshot());
        let ask = Ask::Snapshot(self.id, self.tenure.fence(), number, snapshot);
        self.ask(waits, ask);
    }

    fn release(&mut self) {
        let ask = Ask::Release(self.id, self.tenure.node(), self.tenure.fence());
        self.ask(Await::Release, ask);
    }

    fn wind_up(&mut self, out: &mut Out) {
        let _ = out;
        self.inbox.clear();
        match self.over {
            Some(Over::Lost) | None => self.ask(Await::Owner, Ask::Lease(self.id)),
            Some(Over::Empty) => {
                let ask = Ask::Forget(self.id, self.tenure.fence());
                self.ask(Await::Forget, ask);
            }
            Some(Over::Ended | Over::Drained | Over::Moved) if !self.has_asked => {
                self.has_asked = true;
                self.renew();
            }
            Some(Over::Ended | Over::Drained | Over::Moved) => match self.tenure.is_unsaved() {
                true => self.save(Await::LastSave),
                false => self.release(),
            },
        }
    }

    fn logged(&mut self, answer: Option<&Answer>, out: &mut Out) -> Logged {
        match answer {
            Some(Answer::Written(logged)) => *logged,
            _ => {
                out.facts.push(Fact::LogFailed(self.id));
                Logged::Failed
            }
        }
    }

    /// The store answered, or did not in time.
    pub(super) fn answered(&mut self, answer: Option<Answer>, out: &mut Out) {
        let Some(waits) = self.waits.take() else {
            return;
        };
        match waits {
            Await::Append => {
                let logged = self.logged(answer.as_ref(), out);
                self.tenure.appended(logged);
            }
            Await::Save => {
                let logged = self.logged(answer.as_ref(), out);
                self.tenure.saved(logged);
                if logged == Logged::Yes {
                    out.facts.push(Fact::LogWhole(self.id, self.tenure.fence()));
                }
            }
            Await::Renew => {
                let lease = match answer {
                    Some(Answer::Lease(held)) if self.plant == Plant::TrustStore => Some(Held {
                        written: self.tenure.number(),
                        ..held
                    }),
                    Some(Answer::Lease(held)) => Some(held),
                    _ => {
                        out.facts.push(Fact::LogFailed(self.id));
                        None
                    }
                };
                match self.tenure.renewed(lease) {
                    Renewal::Regained(fence) => {
                        return self.ask(Await::Regain(fence), Ask::Load(self.id));
                    }
                    Renewal::Same => self.saves = true,
                    Renewal::Not => {}
                }
            }
            Await::Regain(fence) => match answer {
                Some(Answer::Log(log)) if !self.tenure.regained(fence, log.fence) => {
                    let ask = Ask::Release(self.id, self.tenure.node(), fence);
                    self.ask(Await::GiveUp, ask);
                }
                Some(_) => {
                    self.wishes.push_back(Wish::Sync(None));
                    self.saves = true;
                }
                None => {}
            },
            Await::GiveUp => {}
            Await::Owner => {
                let owner = match answer {
                    Some(Answer::Lease(held)) => held.owner,
                    _ => None,
                };
                self.wishes.push_back(Wish::SendAway(owner, Code::NotOwner));
                return self.finish();
            }
            Await::Forget => return self.release(),
            Await::LastSave => {
                let logged = self.logged(answer.as_ref(), out);
                self.tenure.saved(logged);
                return self.release();
            }
            Await::Release => {
                match self.over {
                    Some(Over::Empty) => {
                        let away = Wish::SendAway(None, Code::Unavailable);
                        self.wishes.push_back(away);
                    }
                    Some(Over::Drained | Over::Moved) => {
                        self.wishes.push_back(Wish::SendAway(None, Code::Draining));
                    }
                    _ => {}
                }
                return self.finish();
            }
        }
        if self.tenure.is_lost() {
            self.over = Some(Over::Lost);
        }
    }

    fn finish(&mut self) {
        self.is_wound_up = true;
        self.wishes.push_back(Wish::Finished);
    }

    /// Tells everybody where to go, and closes.
    pub(super) fn send_away(
        &mut self,
        now: Duration,
        to: Vec<signal::Controller>,
        code: Code,
        out: &mut Out,
    ) {
        self.meeting.handle(now, Input::Moved { to, code });
        while let Some(output) = self.meeting.poll() {
            match output {
                Output::Send { session, message } => {
                    self.say(session.0, framing::encode(&message), out);
                }
                Output::Close { session, code } => self.close(session.0, code, out),
                Output::Persist(_)
                | Output::Media { .. }
                | Output::Sync { .. }
                | Output::Unheard { .. }
                | Output::Over { .. } => {}
            }
        }
    }
}
