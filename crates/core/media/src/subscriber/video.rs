//! Groups of one video track: the newest that can be opened is delivered, in order,
//! and no other.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use darktower_wire::ids::ParticipantId;
use darktower_wire::media::Frame;

use super::{Config, Context, Counters, Opened};
use crate::OpenError;

/// Groups of one track that may be under way at once. A publisher has one; at most
/// as many more are on their way as it began within a round trip.
const MAX_GROUPS: usize = 4;

/// Further back than this no group goes: the publisher's clock has begun anew.
const CLOCK_US: u64 = 10_000_000;

#[derive(Debug)]
struct Held {
    frame: Frame,
    since: Duration,
}

#[derive(Debug)]
struct Group {
    layer: u8,
    number: u64,
    /// Grows with each group that begins to arrive.
    serial: u64,
    /// The stream it comes on, until that has ended.
    stream: Option<u64>,
    queue: VecDeque<Held>,
    /// A frame of it that could not be opened; whatever comes after may need it.
    failed: Option<u64>,
    began: Duration,
    /// Its head was tried and is of an epoch still to come.
    ahead: bool,
}

/// The newest frame delivered of a layer: nothing at or before it is taken again.
#[derive(Debug, Clone, Copy)]
struct Floor {
    group: u64,
    frame: u64,
}

#[derive(Debug, Default)]
pub(super) struct Video {
    groups: Vec<Group>,
    /// Layer and number of the group being delivered.
    current: Option<(u8, u64)>,
    floors: BTreeMap<u8, Floor>,
    serial: u64,
    layer: u8,
    /// Capture time of the newest picture delivered.
    shown_us: Option<u64>,
    /// When a key frame is to be asked for, if none comes before.
    due: Option<Duration>,
    last_asked: Option<Duration>,
    last_delivered: Option<Duration>,
}

impl Video {
    pub(super) fn push(
        &mut self,
        now: Duration,
        stream: u64,
        frame: Frame,
        counters: &mut Counters,
    ) {
        let header = frame.header;
        if let Some(floor) = self.floors.get(&header.layer) {
            if header.group < floor.group {
                // The tail of a group that a newer one has overtaken.
                counters.dropped += 1;
                return;
            }
            if (header.group, header.frame) <= (floor.group, floor.frame) {
                counters.refused_replay += 1;
                return;
            }
        }
        let found = self.groups.iter_mut();
        let found = found
            .rev()
            .find(|g| (g.layer, g.number) == (header.layer, header.group));
        if let Some(group) = found {
            if group
                .queue
                .back()
                .is_some_and(|last| header.frame <= last.frame.header.frame)
            {
                counters.refused_replay += 1;
                return;
            }
            group.stream = Some(stream);
            group.queue.push_back(Held { frame, since: now });
            return;
        }
        if !header.key {
            // The rest of a group that was given up.
            counters.dropped += 1;
            return;
        }
        self.serial += 1;
        self.groups.push(Group {
            layer: header.layer,
            number: header.group,
            serial: self.serial,
            stream: Some(stream),
            queue: VecDeque::from([Held { frame, since: now }]),
            failed: None,
            began: now,
            ahead: false,
        });
    }

    /// Delivers what can be delivered.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, owner: ParticipantId) {
        self.bound_groups(cx);
        loop {
            self.drain(cx, owner);
            if !self.switch(cx, owner) {
                return;
            }
        }
    }

    /// Delivers the rest of the current group as far as it has come.
    fn drain(&mut self, cx: &mut Context<'_>, owner: ParticipantId) {
        let Some(at) = self.current_at() else { return };
        while let Some(head) = self.groups[at].queue.front() {
            let number = head.frame.header.frame;
            match cx.open(owner, &head.frame) {
                Ok(opened) => {
                    let failed = self.groups[at].failed;
                    if failed.is_some_and(|failed| number > failed) {
                        self.fail(cx);
                        return;
                    }
                    let group = &mut self.groups[at];
                    group.queue.pop_front();
                    // A changed copy of this very frame did no harm.
                    group.failed = None;
                    self.delivered(cx, opened);
                }
                Err(OpenError::EpochAhead) => {
                    if cx.now >= head.since + cx.config.hold {
                        self.fail(cx);
                    } else if head.since == cx.now {
                        cx.counters.held += 1;
                    }
                    return;
                }
                Err(_) => {
                    let group = &mut self.groups[at];
                    group.queue.pop_front();
                    group.failed.get_or_insert(number);
                }
            }
        }
    }

    /// Goes on to a newer group where the current one is over or has been waited
    /// for long enough. True where it did.
    fn switch(&mut self, cx: &mut Context<'_>, owner: ParticipantId) -> bool {
        let current = self.current_at().map(|at| &self.groups[at]);
        let over = current.is_none_or(|group| group.stream.is_none() && group.queue.is_empty());
        let mut newer: Vec<(u64, u8, u64, bool)> = self
            .groups
            .iter()
            .filter(|group| current.is_none_or(|current| group.is_newer_than(current)))
            .map(|group| {
                let lags = self.lags(group, current);
                (group.serial, group.layer, group.number, lags)
            })
            .collect();
        newer.sort_unstable();
        for (serial, layer, number, lags) in newer.into_iter().rev() {
            let Some(at) = self.groups.iter().position(|group| group.serial == serial) else {
                continue;
            };
            let group = &mut self.groups[at];
            let Some(head) = group.queue.front() else {
                continue;
            };
            if lags {
                let expired = cx.now >= head.since + cx.config.hold;
                if group.stream.is_none() || expired {
                    self.give_up(cx, |one| one.serial == serial);
                    continue;
                }
                if !over {
                    continue;
                }
            }
            if !over && cx.now < group.began + cx.config.group_patience {
                continue;
            }
            match cx.open(owner, &head.frame) {
                Ok(opened) => {
                    group.queue.pop_front();
                    self.give_up(cx, |one| {
                        one.serial != serial && !one.is_newer_than_at(layer, number, serial)
                    });
                    self.current = Some((layer, number));
                    self.delivered(cx, opened);
                    return true;
                }
                Err(OpenError::EpochAhead) => {
                    let expired = cx.now >= head.since + cx.config.hold;
                    cx.counters.held += u64::from(!group.ahead);
                    group.ahead = true;
                    if expired {
                        self.give_up(cx, |one| one.serial == serial);
                        self.ask_soon(cx);
                    }
                }
                Err(error) => {
                    self.give_up(cx, |one| one.serial == serial);
                    // What was sealed before this end joined is not worth a key
                    // frame: one comes with this end's own epoch.
                    if error != OpenError::EpochGone {
                        self.ask_soon(cx);
                    }
                }
            }
        }
        false
    }

    /// A group of another layer may have begun before the picture that is shown. Until
    /// it has come up with that there is nothing in it to see.
    fn lags(&self, group: &Group, current: Option<&Group>) -> bool {
        let is_other = current.is_some_and(|current| current.layer != group.layer);
        let last = group.queue.back().map(|held| held.frame.header.capture_us);
        let (Some(last), Some(shown)) = (last, self.shown_us) else {
            return false;
        };
        is_other && last < shown && shown - last < CLOCK_US
    }

    fn delivered(&mut self, cx: &mut Context<'_>, mut opened: Opened) {
        let header = opened.header;
        let capture = header.capture_us;
        let is_behind = |shown: u64| capture <= shown && shown - capture < CLOCK_US;
        opened.behind = self.shown_us.is_some_and(is_behind);
        if !opened.behind {
            self.shown_us = Some(capture);
        }
        let (group, frame) = (header.group, header.frame);
        self.floors.insert(header.layer, Floor { group, frame });
        self.layer = header.layer;
        self.due = None;
        self.last_delivered = Some(cx.now);
        cx.deliver(opened);
    }

    /// The current group cannot be decoded any further: give it up and ask.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>) {
        if let Some(current) = self.current.take() {
            self.give_up(cx, |one| (one.layer, one.number) == current);
        }
        self.ask_soon(cx);
    }

    /// A stream ended in the middle of a frame.
    pub(super) fn cut_off(&mut self, cx: &mut Context<'_>, layer: u8, number: u64) {
        if self.current == Some((layer, number)) {
            self.fail(cx);
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>, which: impl Fn(&Group) -> bool) {
        self.groups.retain(|group| {
            if which(group) {
                cx.counters.dropped += group.queue.len() as u64;
                cx.stopped.extend(group.stream);
            }
            !which(group)
        });
    }

    fn bound_groups(&mut self, cx: &mut Context<'_>) {
        while self.groups.len() > MAX_GROUPS {
            let current = self.current;
            let others = self.groups.iter();
            let others = others.filter(|one| Some((one.layer, one.number)) != current);
            let Some(oldest) = others.map(|one| one.serial).min() else {
                return;
            };
            self.give_up(cx, |one| one.serial == oldest);
        }
    }

    fn current_at(&self) -> Option<usize> {
        let current = self.current?;
        let is = |group: &Group| (group.layer, group.number) == current;
        self.groups.iter().position(is)
    }

    pub(super) fn stream_over(&mut self, stream: u64) {
        for group in &mut self.groups {
            if group.stream == Some(stream) {
                group.stream = None;
            }
        }
    }

    pub(super) fn streams_gone(&mut self) {
        for group in &mut self.groups {
            group.stream = None;
        }
    }

    pub(super) fn streams(&self) -> Vec<u64> {
        self.groups
            .iter()
            .filter_map(|group| group.stream)
            .collect()
    }

    pub(super) fn layer(&self) -> u8 {
        self.layer
    }

    // ------------------------------------------------------ key frames wanted

    /// Something decodable should have come by `at`.
    pub(super) fn expect(&mut self, at: Duration) {
        self.due = Some(at);
    }

    fn ask_soon(&mut self, cx: &Context<'_>) {
        let again = self.last_asked.map(|last| last + cx.config.first_ask);
        let at = again.map_or(cx.now, |again| again.max(cx.now));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(super) fn asked(&mut self, now: Duration, again: Duration) {
        self.last_asked = Some(now);
        self.due = Some(again);
    }

    pub(super) fn ask_due(&self, config: &Config) -> Option<Duration> {
        let silent = self.last_delivered.map(|last| last + config.silence);
        self.due.or(silent)
    }

    // -------------------------------------------------------------- what is held

    pub(super) fn deadline(&self, config: &Config) -> Option<Duration> {
        let current = self.current_at().map(|at| &self.groups[at]);
        let each = self.groups.iter().filter_map(|group| {
            let head = group.queue.front()?;
            let newer = current.is_none_or(|current| group.is_newer_than(current));
            let expires = head.since + config.hold;
            let goes_on = newer && !group.ahead && !self.lags(group, current);
            Some(match goes_on {
                true => expires.min(group.began + config.group_patience),
                false => expires,
            })
        });
        each.min()
    }

    pub(super) fn held_bytes(&self) -> usize {
        let held = self.groups.iter().flat_map(|group| &group.queue);
        held.map(|one| one.frame.bytes.len()).sum()
    }

    pub(super) fn held_frames(&self) -> usize {
        self.groups.iter().map(|group| group.queue.len()).sum()
    }

    /// Drops every group with frames that wait; says how many frames that were.
    pub(super) fn drop_held(&mut self, stopped: &mut Vec<u64>) -> usize {
        let mut dropped = 0;
        self.groups.retain(|group| {
            if !group.queue.is_empty() {
                dropped += group.queue.len();
                stopped.extend(group.stream);
            }
            group.queue.is_empty()
        });
        if self.current_at().is_none() {
            self.current = None;
        }
        dropped
    }
}

impl Group {
    /// Of one layer the larger number is newer; of two layers the one that began
    /// to arrive later, for a handler switches layers only forward in time.
    fn is_newer_than(&self, other: &Self) -> bool {
        self.is_newer_than_at(other.layer, other.number, other.serial)
    }

    fn is_newer_than_at(&self, layer: u8, number: u64, serial: u64) -> bool {
        if self.layer == layer {
            self.number > number
        } else {
            self.serial > serial
        }
    }
}
