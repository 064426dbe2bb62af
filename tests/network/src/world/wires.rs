//! The links between people and the handler.

use std::time::Duration;

use bytes::Bytes;
use darktower_link::{Conditions, Discipline, Link};
use quinn_proto::EcnCodepoint;

/// Which end a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A participant's.
    Person,
    /// The handler's end of that participant's connection.
    Handler,
}

/// One packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Whose connection it belongs to.
    pub(crate) person: usize,
    pub(crate) to: Side,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) bytes: Bytes,
    sent: Duration,
}

/// One direction of a link, which several people may share.
pub(crate) struct Wire {
    link: Link<Packet>,
    /// How long packets waited for the rate, by when they arrived.
    waited: Vec<(Duration, Duration)>,
}

impl Wire {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            link: Link::new(Discipline::Datagram, conditions, seed),
            waited: Vec::new(),
        }
    }

    pub(crate) fn schedule(&mut self, at: Duration, conditions: Conditions) {
        self.link.schedule(at, conditions);
    }

    pub(crate) fn send(
        &mut self,
        now: Duration,
        person: usize,
        to: Side,
        (ecn, bytes): (Option<EcnCodepoint>, Bytes),
    ) {
        let packet = Packet {
            person,
            to,
            ecn,
            bytes,
            sent: now,
        };
        self.link.send(now, packet.bytes.len(), packet);
    }

    pub(crate) fn poll(&mut self, now: Duration) -> Option<Packet> {
        let packet = self.link.poll(now)?;
        let travelled = now.saturating_sub(packet.sent);
        // Jitter counts as waiting too: to a receiver it is the same.
        let waited = travelled.saturating_sub(self.link.conditions().delay);
        self.waited.push((now, waited));
        Some(packet)
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.link.deadline()
    }

    pub(crate) fn waited(&self) -> &[(Duration, Duration)] {
        &self.waited
    }
}
