//! A controller's calls to media handlers.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_media::forwarder::Command;
use darktower_placement::{CALL_WITHIN, End, HEARTBEAT, Health, Watch};
use darktower_wire::ids::{Fence, MeetingId, NodeId};

use super::messages::{Message, Out, Place};
use super::shard::Event;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting(Duration),
    Calling { call: u64, until: Duration },
    Up { call: u64, beat_at: Duration },
}

#[derive(Debug)]
struct Link {
    watch: Watch,
    stage: Stage,
    /// The shards of the meetings that are on it.
    meetings: BTreeMap<MeetingId, u64>,
}

#[derive(Debug)]
pub(super) struct Links {
    links: BTreeMap<NodeId, Link>,
    next_call: u64,
}

impl Links {
    pub(super) fn new(first: u64) -> Self {
        Self {
            links: BTreeMap::new(),
            next_call: first + (1 << 32),
        }
    }

    pub(super) fn health(&self, node: NodeId) -> Health {
        let link = self.links.get(&node);
        link.map_or(Health::Sound, |link| link.watch.health())
    }

    pub(super) fn enter(&mut self, now: Duration, node: NodeId, meeting: MeetingId, shard: u64) {
        let link = self.links.entry(node).or_insert_with(|| Link {
            watch: Watch::default(),
            stage: Stage::Waiting(now),
            meetings: BTreeMap::new(),
        });
        link.meetings.insert(meeting, shard);
    }

    pub(super) fn leave(&mut self, node: NodeId, meeting: MeetingId, shard: u64) {
        if let Some(link) = self.links.get_mut(&node)
            && link.meetings.get(&meeting) == Some(&shard)
        {
            link.meetings.remove(&meeting);
        }
    }

    pub(super) fn say(
        &self,
        node: NodeId,
        meeting: MeetingId,
        fence: Fence,
        commands: impl IntoIterator<Item = Command>,
        out: &mut Out,
    ) {
        // What is said while there is no call is part of what is said when there is one.
        if let Some(Stage::Up { call, .. }) = self.links.get(&node).map(|link| link.stage) {
            for command in commands {
                out.send(
                    Place::of(node),
                    Message::Order(call, meeting, fence, command),
                );
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let links = self.links.values();
        links
            .map(|link| match link.stage {
                Stage::Waiting(at) => at,
                Stage::Calling { until, .. } => until,
                Stage::Up { beat_at, .. } => beat_at,
            })
            .min()
    }

    /// What the meetings are to hear of it.
    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) -> Vec<(u64, Event)> {
        let mut told = Vec::new();
        self.links.retain(|_, link| {
            let is_idle = matches!(link.stage, Stage::Waiting(_));
            !(is_idle && link.meetings.is_empty())
        });
        for (node, link) in &mut self.links {
            let place = Place::of(*node);
            match link.stage {
                Stage::Waiting(at) if at <= now => {
                    self.next_call += 1;
                    let call = self.next_call;
                    let until = now + CALL_WITHIN;
                    link.stage = Stage::Calling { call, until };
                    out.send(place, Message::Call(call));
                }
                Stage::Calling { until, .. } if until <= now => {
                    told.extend(ended(now, link, End::Silent))
                }
                Stage::Up { call, beat_at } if beat_at <= now => {
                    if link.watch.is_silent(now) {
                        out.send(place, Message::Ended(call));
                        told.extend(ended(now, link, End::Silent));
                    } else {
                        let beat_at = now + HEARTBEAT;
                        link.stage = Stage::Up { call, beat_at };
                        out.send(place, Message::Beat(call));
                    }
                }
                _ => {}
            }
        }
        told
    }

    /// Nobody listens where it called; `None` where it was no call of these.
    pub(super) fn not_taken(&mut self, now: Duration, call: u64) -> Option<Vec<(u64, Event)>> {
        let mut links = self.links.values_mut();
        let is_it = |link: &&mut Link| matches!(link.stage, Stage::Calling { call: mine, .. } if mine == call);
        let link = links.find(is_it)?;
        Some(ended(now, link, End::Refused))
    }

    pub(super) fn take(&mut self, now: Duration, message: &Message) -> Vec<(u64, Event)> {
        let call = match message {
            Message::Taken(call) | Message::BeatBack(call) => *call,
            Message::Ended(call) | Message::FenceRefused(call, _) => *call,
            _ => return Vec::new(),
        };
        let mut links = self.links.iter_mut();
        let Some((node, link)) = links.find(|(_, link)| match link.stage {
            Stage::Waiting(_) => false,
            Stage::Calling { call: mine, .. } | Stage::Up { call: mine, .. } => mine == call,
        }) else {
            return Vec::new();
        };
        match message {
            Message::Taken(_) => {
                let is_better = link.watch.taken(now);
                link.stage = Stage::Up { call, beat_at: now };
                let all = link.meetings.values();
                let sync = all.map(|shard| (*shard, Event::Sync(*node)));
                let mut told: Vec<_> = sync.collect();
                if is_better {
                    told.extend(self.look_again());
                }
                return told;
            }
            Message::Ended(_) => return ended(now, link, End::Refused),
            Message::FenceRefused(_, meeting) => {
                let _is_well = link.watch.heard(now);
                let shard = link.meetings.get(meeting).copied();
                return shard
                    .map(|shard| (shard, Event::Fenced))
                    .into_iter()
                    .collect();
            }
            _ if link.watch.heard(now) => return self.look_again(),
            _ => {}
        }
        Vec::new()
    }

    /// One is well again: meetings on those that are not may go there.
    fn look_again(&self) -> Vec<(u64, Event)> {
        let ailing = self.links.values();
        let ailing = ailing.filter(|link| link.watch.health() != Health::Sound);
        let meetings = ailing.flat_map(|link| link.meetings.values());
        meetings.map(|shard| (*shard, Event::Look)).collect()
    }
}

fn ended(now: Duration, link: &mut Link, end: End) -> Vec<(u64, Event)> {
    let again = link.watch.ended(now, end);
    link.stage = Stage::Waiting(now + again.after);
    match again.is_worse {
        true => link
            .meetings
            .values()
            .map(|shard| (*shard, Event::Look))
            .collect(),
        false => Vec::new(),
    }
}
