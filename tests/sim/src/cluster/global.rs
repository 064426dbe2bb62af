//! The global controllers, as one: whoever comes asks here where the meeting is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use darktower_placement::{Candidate, Health, Held, ask_in_order};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, NodeId};

use super::messages::{Calls, Message, Out, Place};
use super::store::{Answer, Ask};

const STORE_WITHIN: Duration = Duration::from_millis(400);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

struct Lookup {
    who: Place,
    id: u64,
    meeting: MeetingId,
    owner: Option<NodeId>,
    /// Controllers still to be asked, and the one that is.
    left: VecDeque<NodeId>,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Lease(u64),
    Nodes(u64),
    Describe(u64, NodeId),
}

pub(super) struct Global {
    calls: Calls<Purpose>,
    lookups: BTreeMap<u64, Lookup>,
    next: u64,
}

impl Global {
    pub(super) fn new() -> Self {
        Self {
            calls: Calls::new(1 << 50),
            lookups: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.calls.deadline()
    }

    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) {
        for purpose in self.calls.expired(now) {
            match purpose {
                Purpose::Lease(lookup) => self.nodes(now, lookup, None, out),
                Purpose::Nodes(lookup) => self.fail(lookup, Code::Unavailable, out),
                Purpose::Describe(lookup, _) => self.describe(now, lookup, out),
            }
        }
    }

    pub(super) fn take(&mut self, now: Duration, from: Place, message: Message, out: &mut Out) {
        match message {
            Message::Lookup(id, meeting) => {
                self.next += 1;
                let lookup = Lookup {
                    who: from,
                    id,
                    meeting,
                    owner: None,
                    left: VecDeque::new(),
                };
                self.lookups.insert(self.next, lookup);
                let call = self
                    .calls
                    .begin(Purpose::Lease(self.next), now + STORE_WITHIN);
                out.send(Place::Store, Message::Store(call, Ask::Lease(meeting)));
            }
            Message::Stored(call, answer) => match (self.calls.end(call), answer) {
                (Some(Purpose::Lease(lookup)), Answer::Lease(Held { owner, .. })) => {
                    self.nodes(now, lookup, owner, out);
                }
                (Some(Purpose::Nodes(lookup)), Answer::Nodes(nodes)) => {
                    if let Some(entry) = self.lookups.get_mut(&lookup) {
                        let controllers = nodes
                            .iter()
                            .filter(|node| matches!(Place::of(node.id), Place::Controller(_)));
                        let controllers: Vec<_> = controllers
                            .map(|node| Candidate {
                                id: node.id,
                                region: "",
                                capacity: 0,
                                load: 0,
                                draining: node.draining,
                                health: Health::Sound,
                            })
                            .collect();
                        entry.left =
                            ask_in_order(entry.meeting, &controllers, entry.owner, "").into();
                    }
                    self.describe(now, lookup, out);
                }
                _ => {}
            },
            Message::Nobody(call) => {
                if let Some(Purpose::Describe(lookup, _)) = self.calls.end(call) {
                    self.describe(now, lookup, out);
                }
            }
            Message::Described(call, described) => {
                let Some(Purpose::Describe(lookup, controller)) = self.calls.end(call) else {
                    return;
                };
                match described {
                    Ok((description, handler)) => {
                        if let Some(entry) = self.lookups.remove(&lookup) {
                            let places = (Place::of(controller), Place::of(handler));
                            let found = Ok((description, places.0, places.1));
                            out.send(entry.who, Message::Found(entry.id, found));
                        }
                    }
                    Err(code) if code.is_retryable() => self.describe(now, lookup, out),
                    Err(code) => self.fail(lookup, code, out),
                }
            }
            _ => {}
        }
    }

    fn nodes(&mut self, now: Duration, lookup: u64, owner: Option<NodeId>, out: &mut Out) {
        if let Some(entry) = self.lookups.get_mut(&lookup) {
            entry.owner = owner;
            let call = self.calls.begin(Purpose::Nodes(lookup), now + STORE_WITHIN);
            out.send(Place::Store, Message::Store(call, Ask::Nodes));
        }
    }

    fn describe(&mut self, now: Duration, lookup: u64, out: &mut Out) {
        let Some(entry) = self.lookups.get_mut(&lookup) else {
            return;
        };
        let Some(controller) = entry.left.pop_front() else {
            return self.fail(lookup, Code::NoController, out);
        };
        let meeting = entry.meeting;
        let purpose = Purpose::Describe(lookup, controller);
        let call = self.calls.begin(purpose, now + ANSWER_WITHIN);
        out.send(Place::of(controller), Message::Describe(call, meeting));
    }

    fn fail(&mut self, lookup: u64, code: Code, out: &mut Out) {
        if let Some(entry) = self.lookups.remove(&lookup) {
            out.send(entry.who, Message::Found(entry.id, Err(code)));
        }
    }
}
