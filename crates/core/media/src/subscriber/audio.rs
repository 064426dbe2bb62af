//! Audio packets put back in order, each waited for no longer than the reordering
//! window.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::ParticipantId;
use darktower_wire::media::Frame;

use super::{Config, Context, Counters, Opened};
use crate::OpenError;

/// Packets further on than this are not what others have overtaken: the track was not
/// forwarded for a while, and nothing in between will come. More than can be under way
/// within the window.
const JUMP: u64 = 16;

/// Group and running number: what a packet's place is, and whether it was seen.
type Place = (u64, u64);

#[derive(Debug)]
enum Packet {
    Sealed(Frame),
    Opened(Opened),
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    since: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Audio {
    /// The newest place delivered; nothing at or before it is taken again.
    floor: Option<Place>,
    waiting: BTreeMap<Place, Waiting>,
    /// A packet newly arrived, to be opened by the next `advance`.
    fresh: bool,
}

impl Audio {
    /// Whether this place was delivered, gone past, or is waiting.
    ///
    /// A changed copy must not keep the true one out, nor the other way round: the
    /// first is opened before a second can come, so a taken place means that it was
    /// authentic, or waits for its epoch.
    pub(super) fn has_seen(&self, frame: &Frame) -> bool {
        let place = (frame.header.group, frame.header.frame);
        self.floor.is_some_and(|floor| place <= floor) || self.waiting.contains_key(&place)
    }

    pub(super) fn push(&mut self, now: Duration, frame: Frame, counters: &mut Counters) {
        let place = (frame.header.group, frame.header.frame);
        if self.has_seen(&frame) {
            counters.refused_replay += 1;
            return;
        }
        let packet = Packet::Sealed(frame);
        self.waiting.insert(place, Waiting { packet, since: now });
        self.fresh = true;
    }

    /// Opens what can be opened and delivers what is in turn.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, owner: ParticipantId) {
        let fresh = core::mem::take(&mut self.fresh);
        let (now, hold) = (cx.now, cx.config.hold);
        self.waiting.retain(|_, one| {
            let Packet::Sealed(frame) = &one.packet else {
                return true;
            };
            if now >= one.since + hold {
                cx.counters.dropped += 1;
                return false;
            }
            match cx.open(owner, frame) {
                Ok(opened) => one.packet = Packet::Opened(opened),
                Err(OpenError::EpochAhead) => {
                    cx.counters.held += u64::from(fresh && one.since == now);
                }
                Err(_) => return false,
            }
            true
        });
        while let Some((&place, one)) = self.first_opened() {
            let in_turn = match self.floor {
                None => true,
                Some((group, frame)) => {
                    place.0 != group || place.1 == frame + 1 || place.1 > frame + JUMP
                }
            };
            let waited = self.longest_opened().unwrap_or(one.since);
            if !in_turn && now < waited + cx.config.reorder {
                break;
            }
            let rest = self.waiting.split_off(&place);
            cx.counters.dropped += self.waiting.len() as u64;
            self.waiting = rest;
            self.floor = Some(place);
            if let Some(Waiting {
                packet: Packet::Opened(opened),
                ..
            }) = self.waiting.remove(&place)
            {
                cx.deliver(opened);
            }
        }
    }

    fn first_opened(&self) -> Option<(&Place, &Waiting)> {
        let opened = |one: &Waiting| matches!(one.packet, Packet::Opened(_));
        self.waiting.iter().find(|(_, one)| opened(one))
    }

    /// When the longest waiting of the opened packets came: none waits longer than
    /// the window, whatever comes before it.
    fn longest_opened(&self) -> Option<Duration> {
        let opened = |one: &&Waiting| matches!(one.packet, Packet::Opened(_));
        self.waiting
            .values()
            .filter(opened)
            .map(|one| one.since)
            .min()
    }

    pub(super) fn deadline(&self, config: &Config) -> Option<Duration> {
        let each = self.waiting.values().map(|one| match one.packet {
            Packet::Opened(_) => one.since + config.reorder,
            Packet::Sealed(_) => one.since + config.hold,
        });
        each.min()
    }

    pub(super) fn held_bytes(&self) -> usize {
        let each = self.waiting.values().map(|one| match &one.packet {
            Packet::Opened(opened) => opened.data.len(),
            Packet::Sealed(frame) => frame.bytes.len(),
        });
        each.sum()
    }

    pub(super) fn held_frames(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn drop_held(&mut self) -> usize {
        core::mem::take(&mut self.waiting).len()
    }
}
