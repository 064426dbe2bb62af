//! What a meeting reaches: the sessions here, and through their shards those elsewhere.

use std::sync::Arc;
use std::time::Duration;

use darktower_media::forwarder::{Delivery, SessionId};
use darktower_media::{Bitrate, Kind};
use darktower_net::wt::SessionKey;
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, TrackId};
use darktower_wire::media::Header;
use darktower_wire::media_control::server_control;

use crate::meeting::Event;
use crate::packet::Packet;
use crate::session::Session;
use crate::{Shared, measure};

/// Bytes of frames that may wait for another shard in one of our turns; what is more is lost on it, for that shard has
/// not kept up for long.
const MAX_HOP: usize = 4 << 20;

/// A session's number says where it is: shard in the highest byte, place there in the lowest three.
const SHARD_SHIFT: u32 = 56;
const COUNT_SHIFT: u32 = 24;
const SLOT_MASK: u64 = (1 << COUNT_SHIFT) - 1;

/// What a meeting gives to one of its sessions, besides frames.
#[derive(Debug)]
pub(crate) enum ToSession {
    End(TrackId),
    Say(server_control::Body),
    Probe(Bitrate),
    Close(Code),
}

/// What goes from shard to shard.
pub(crate) enum Hop {
    /// To the meeting's home.
    Meeting { meeting: MeetingId, event: Event },
    /// To a session's shard.
    Session { session: SessionId, what: ToSession },
    /// A frame for sessions of a shard.
    Frame {
        kind: Kind,
        header: Header,
        packet: Packet,
        to: Vec<SessionId>,
    },
}

impl Hop {
    /// Bytes of a frame; what is none must arrive.
    fn frame(&self) -> Option<usize> {
        match self {
            Self::Frame { packet, .. } => Some(packet.frame_len()),
            Self::Meeting {
                event: Event::Frame { taken, .. },
                ..
            } => Some(taken.packet.frame_len()),
            Self::Meeting { .. } | Self::Session { .. } => None,
        }
    }
}

/// What waits to go to one other shard.
#[derive(Default)]
struct Hops {
    hops: Vec<Hop>,
    bytes: usize,
}

/// The sessions of a shard, and the ways to those of others.
pub(crate) struct Reach {
    pub(crate) shared: Arc<Shared>,
    index: usize,
    count: u64,
    sessions: Vec<Option<Box<Session>>>,
    /// Sessions that have something to do, by their places.
    pub(crate) touched: Vec<usize>,
    hops: Vec<Hops>,
}

impl Reach {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, shards: usize) -> Self {
        Self {
            shared,
            index,
            count: 0,
            sessions: Vec::new(),
            touched: Vec::new(),
            hops: (0..shards).map(|_| Hops::default()).collect(),
        }
    }

    /// A number for a session of this place, never used twice.
    pub(crate) fn number(&mut self, key: SessionKey) -> SessionId {
        self.count = (self.count + 1) & u64::from(u32::MAX);
        let shard = (self.index as u64) << SHARD_SHIFT;
        SessionId(shard | self.count << COUNT_SHIFT | key.slot() as u64 & SLOT_MASK)
    }

    pub(crate) fn insert(&mut self, session: Session) {
        let slot = session.key.slot();
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        self.sessions[slot] = Some(Box::new(session));
        self.touch(slot);
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        self.at(key)?;
        self.sessions[key.slot()].take()
    }

    /// A session of this shard.
    pub(crate) fn at(&mut self, key: SessionKey) -> Option<&mut Session> {
        let session = self.place(key.slot())?;
        (session.key == key).then_some(session)
    }

    /// Whatever session is at a place.
    pub(crate) fn place(&mut self, slot: usize) -> Option<&mut Session> {
        self.sessions.get_mut(slot)?.as_deref_mut()
    }

    /// Every session of this shard.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.iter_mut().flatten().map(Box::as_mut)
    }

    /// A session has something to do when this turn settles.
    pub(crate) fn touch(&mut self, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if !std::mem::replace(&mut session.touched, true) {
            self.touched.push(slot);
        }
    }

    fn shard_of(session: SessionId) -> usize {
        (session.0 >> SHARD_SHIFT) as usize
    }

    /// The place of a session of this shard, if it is still there.
    pub(crate) fn slot_of(&mut self, session: SessionId) -> Option<usize> {
        let slot = (session.0 & SLOT_MASK) as usize;
        let there = self.place(slot)?;
        (there.id == session).then_some(slot)
    }

    /// Gives a frame to a session: at once where it is here.
    pub(crate) fn deliver(&mut self, now: Duration, delivery: Delivery<Packet>) {
        let shard = Self::shard_of(delivery.session);
        if shard == self.index {
            let slot = (delivery.session.0 & SLOT_MASK) as usize;
            if let Some(Some(session)) = self.sessions.get_mut(slot)
                && session.id == delivery.session
            {
                session.outgoing().push(now, delivery);
                if !std::mem::replace(&mut session.touched, true) {
                    self.touched.push(slot);
                }
            }
            return;
        }
        let Delivery {
            session,
            kind,
            header,
            payload: packet,
        } = delivery;
        // The forwarder gives one frame to all its receivers in a row.
        if let Some(Hop::Frame {
            header: last, to, ..
        }) = self.last_hop(shard)
            && *last == header
            && to.last() != Some(&session)
        {
            return to.push(session);
        }
        let to = vec![session];
        self.hop(
            shard,
            Hop::Frame {
                kind,
                header,
                packet,
                to,
            },
        );
    }

    /// Tells a session something.
    pub(crate) fn tell(&mut self, now: Duration, session: SessionId, what: ToSession) {
        let shard = Self::shard_of(session);
        match shard == self.index {
            true => self.told(now, session, what),
            false => self.hop(shard, Hop::Session { session, what }),
        }
    }

    /// A session here is told something.
    pub(crate) fn told(&mut self, now: Duration, session: SessionId, what: ToSession) {
        let Some(slot) = self.slot_of(session) else {
            return;
        };
        if let Some(session) = self.place(slot) {
            match what {
                ToSession::End(track) => session.outgoing().end(now, track),
                ToSession::Say(body) => session.says.push(body),
                ToSession::Probe(to) => session.upkeep.probe(to),
                ToSession::Close(code) => session.ending = Some(code),
            }
        }
        self.touch(slot);
    }

    fn last_hop(&mut self, shard: usize) -> Option<&mut Hop> {
        self.hops.get_mut(shard)?.hops.last_mut()
    }

    /// Lets something go to another shard when this turn settles.
    pub(crate) fn hop(&mut self, shard: usize, hop: Hop) {
        let Some(hops) = self.hops.get_mut(shard) else {
            return;
        };
        if let Some(bytes) = hop.frame() {
            if hops.bytes + bytes > MAX_HOP {
                return measure::refused("hop", Code::Overloaded);
            }
            hops.bytes += bytes;
        }
        hops.hops.push(hop);
    }

    /// Sends what waits for other shards. What does not fit there stays, but for frames: those are of the moment.
    pub(crate) fn send(&mut self, mut offer: impl FnMut(usize, Vec<Hop>) -> Result<(), Vec<Hop>>) {
        for (shard, waiting) in self.hops.iter_mut().enumerate() {
            if waiting.hops.is_empty() {
                continue;
            }
            waiting.bytes = 0;
            if let Err(mut back) = offer(shard, std::mem::take(&mut waiting.hops)) {
                let before = back.len();
                back.retain(|hop| hop.frame().is_none());
                for _ in back.len()..before {
                    measure::refused("hop", Code::Overloaded);
                }
                waiting.hops = back;
            }
        }
    }

    /// Whether something that did not fit still waits to go.
    pub(crate) fn is_held_up(&self) -> bool {
        self.hops.iter().any(|waiting| !waiting.hops.is_empty())
    }
}
