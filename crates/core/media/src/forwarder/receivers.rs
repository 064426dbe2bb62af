//! What each subscriber is given: its demand and its path become an allocation, and
//! that becomes targets.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};

use super::targets::Burst;
use super::{Forwarder, Output, Payload, SessionId, earliest};
use crate::allocate::{Allocation, Allocator, Class, Share, Wanted};
use crate::demand::{Demand, View};
use crate::repeat::ceiling;
use crate::{Bitrate, Kind, allocate};

/// What is not urgent is done so often, for all sessions and tracks at once.
const BEAT: Duration = Duration::from_millis(100);

/// A demand is followed at once, unless one was just before: layouts are animated.
const DEMANDS: Duration = Duration::from_millis(50);

/// A new allocation without an urgent reason comes no sooner after one.
const REST: Duration = Duration::from_millis(250);

/// A subscriber that is held back by its path gets a new allocation so often, because
/// what tracks take changes.
const AGAIN: Duration = Duration::from_millis(500);

/// A subscriber is told of changes no more often than this.
const TOLD: Duration = Duration::from_millis(250);

/// A path is to be probed no more often than this.
const PROBES: Duration = Duration::from_millis(500);

/// A media session as one that receives.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) seat: ParticipantId,
    pub(super) opened: Duration,
    /// When it first received, as the first session of its seat.
    pub(super) began: Option<Duration>,
    /// When it last asked for a key frame of which track.
    pub(super) asked: BTreeMap<TrackId, Duration>,
    pub(super) estimate: Option<Bitrate>,
    pub(super) burst: Burst,
    /// How often each of its audio frames is sent again.
    repeats: u64,
    demand: Demand,
    demanded: Option<Duration>,
    pub(super) allocator: Allocator,
    /// Of a trunk: the layers of each track that somebody gets at its other end.
    pub(super) wants: BTreeMap<TrackId, u16>,
    /// What it gets.
    given: Allocation,
    /// It needs a new allocation then.
    due: Option<Duration>,
    ran: Duration,
    told: Option<Told>,
    probed: Option<Duration>,
    speakers: Vec<TrackId>,
}

/// The allocation a subscriber was told of.
#[derive(Debug)]
struct Told {
    at: Duration,
    estimate: Bitrate,
    shares: Vec<Share>,
}

impl Session {
    pub(super) fn new(now: Duration, seat: ParticipantId, config: allocate::Config) -> Self {
        Self {
            seat,
            opened: now,
            began: None,
            asked: BTreeMap::new(),
            estimate: None,
            burst: Burst::default(),
            repeats: 0,
            demand: Demand::default(),
            demanded: None,
            allocator: Allocator::new(config),
            wants: BTreeMap::new(),
            given: Allocation::default(),
            due: None,
            ran: Duration::ZERO,
            told: None,
            probed: None,
            speakers: Vec::new(),
        }
    }

    fn due_by(&mut self, at: Duration) {
        self.due = earliest(self.due, Some(at));
    }

    /// Whether it should hear of what it gets.
    fn has_news(&self) -> bool {
        let estimate = self.estimate.unwrap_or_default();
        let Some(told) = &self.told else {
            return !self.given.shares.is_empty();
        };
        // A tenth more or less is worth a word.
        let is_near = estimate.percent(90) < told.estimate && told.estimate < estimate.percent(110);
        told.shares != self.given.shares || (told.estimate != estimate && !is_near)
    }
}

impl<P: Payload> Forwarder<P> {
    pub(super) fn demand(&mut self, now: Duration, id: SessionId, views: Vec<View>) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut refused = Vec::new();
        if !session.demand.say(views) {
            refused.push(Code::TooLarge);
        }
        for track in session.demand.tracks() {
            let code = match self.tracks.get(&track) {
                // It counts as soon as the track is known.
                None => Code::TrackUnknown,
                Some(track) if track.seat == session.seat => Code::OwnTrack,
                Some(_) => continue,
            };
            if !refused.contains(&code) {
                refused.push(code);
            }
        }
        for code in refused {
            let session = id;
            self.outputs.push_back(Output::Refused { session, code });
        }
        match session.demanded.is_none_or(|last| now >= last + DEMANDS) {
            true => {
                session.demanded = Some(now);
                self.dirty.insert(id);
            }
            false => {
                session.due_by(now);
                self.arm(now);
            }
        }
    }

    pub(super) fn path(&mut self, now: Duration, id: SessionId, estimate: Bitrate, repeats: usize) {
        let spend = self.config.allocate.spend;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let before = session.estimate.replace(estimate);
        let repeated = core::mem::replace(&mut session.repeats, repeats as u64);
        let costs_more = repeats as u64 > repeated;
        if before.is_none() || costs_more || estimate.percent(spend) < session.given.spent {
            self.dirty.insert(id);
        } else if session.given.limited && before != Some(estimate) {
            session.due_by(session.ran + REST);
        }
        if before != Some(estimate) {
            self.arm(now);
        }
    }

    /// Sees to it that a beat comes.
    pub(super) fn arm(&mut self, now: Duration) {
        self.beat.get_or_insert(now + BEAT);
    }

    /// Does what a fact has made necessary.
    pub(super) fn settle(&mut self, now: Duration) {
        for id in core::mem::take(&mut self.dirty) {
            self.allocate(now, id);
        }
        if core::mem::take(&mut self.arrivals) {
            self.warm_up(now);
            self.redial(now);
        }
        self.layers_wanted(now);
    }

    pub(super) fn on_beat(&mut self, now: Duration) {
        let flows = core::mem::take(&mut self.flows);
        for track in self.tracks.values_mut() {
            track.measure(now);
        }
        let mut pending = self.look_for_layers(now);
        self.speakers_due |= self.speakers.take_changed();
        if core::mem::take(&mut self.speakers_due) {
            self.tell_speakers();
        }
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for &id in &ids {
            let due = self.sessions.get(&id).is_some_and(|session| {
                let is_limited = session.given.limited && now >= session.ran + AGAIN;
                self.dirty.contains(&id) || is_limited || session.due.is_some_and(|due| now >= due)
            });
            if due {
                self.allocate(now, id);
            }
        }
        self.warm_up(now);
        self.layers_wanted(now);
        pending |= self.pause_idle(now);
        self.ask_again(now);
        for id in ids {
            pending |= self.tell_allocation(now, id);
        }
        self.beat = (flows || pending).then(|| now + BEAT);
    }

    /// Tells each subscriber which audio tracks it gets, where that has changed.
    fn tell_speakers(&mut self) {
        for (&id, session) in &mut self.sessions {
            let place = self.seats.get(&session.seat);
            let Some(place) = place.filter(|place| !place.is_trunk) else {
                continue;
            };
            let is_got = |id: &TrackId| {
                let track = self.tracks.get(id);
                let is_own = track.is_none_or(|track| track.seat == session.seat);
                place.joined.is_some() && !is_own && !place.unwanted.contains(id)
            };
            let tracks: Vec<_> = self.speakers.forwarded().filter(is_got).collect();
            // The audio that is paid for, and the active speaker, may be others.
            self.dirty.insert(id);
            if session.speakers != tracks {
                session.speakers.clone_from(&tracks);
                let session = id;
                self.outputs.push_back(Output::Speakers { session, tracks });
            }
        }
    }

    /// Tells a subscriber what it gets, where that has changed. True: more is to come.
    fn tell_allocation(&mut self, now: Duration, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        let mut pending = session.given.limited || session.due.is_some();
        if let (Some(to), Some(estimate)) = (session.given.next, session.estimate)
            && to > estimate
            && session.probed.is_none_or(|last| now >= last + PROBES)
        {
            session.probed = Some(now);
            let session = id;
            self.outputs.push_back(Output::Probe { session, to });
        }
        if !session.has_news() {
            return pending;
        }
        if session
            .told
            .as_ref()
            .is_some_and(|told| now < told.at + TOLD)
        {
            pending = true;
            return pending;
        }
        let estimate = session.estimate.unwrap_or_default();
        let shares = session.given.shares.clone();
        session.told = Some(Told {
            at: now,
            estimate,
            shares: shares.clone(),
        });
        let session = id;
        self.outputs.push_back(Output::Allocation {
            session,
            estimate,
            shares,
        });
        pending
    }

    /// Decides what a subscriber gets, and gives it.
    fn allocate(&mut self, now: Duration, id: SessionId) {
        let Some(allocation) = self.decide(now, id) else {
            return;
        };
        for share in allocation.shares.iter().filter(|share| !share.paused) {
            self.give(now, id, share, allocation.limited);
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let before = core::mem::replace(&mut session.given, allocation);
        let given = &session.given.shares;
        let gone = before.shares.iter().filter(|old| {
            let new = given.binary_search_by_key(&old.track, |share| share.track);
            !old.paused && new.map_or(true, |at| given[at].paused)
        });
        let gone: Vec<_> = gone.map(|share| share.track).collect();
        for track in gone {
            self.take(id, track);
        }
        self.arm(now);
    }

    fn decide(&mut self, now: Duration, id: SessionId) -> Option<Allocation> {
        self.dirty.remove(&id);
        if self.is_trunk(id) {
            return None;
        }
        let session = self.sessions.get_mut(&id)?;
        session.due = None;
        session.ran = now;
        let seat = session.seat;
        let place = self.seats.get(&seat).filter(|place| place.joined.is_some());
        let Some(place) = place else {
            return Some(Allocation::default());
        };
        let owner = |track: Option<TrackId>| {
            let track = track.and_then(|id| self.tracks.get(&id));
            track.map(|track| track.seat).filter(|owner| *owner != seat)
        };
        let (active, previous) = self.speakers.active();
        let active = owner(active).or_else(|| owner(previous));
        let wanted = self.tracks.iter().filter_map(|(&track, state)| {
            let is_got = state.seat != seat && !place.unwanted.contains(&track);
            if state.kind != Kind::Video || !is_got {
                return None;
            }
            let view = session.demand.of(track)?;
            let class = match view {
                _ if state.shape.screen => Class::Screen,
                View { pinned: true, .. } => Class::Pinned,
                _ if active == Some(state.seat) => Class::Active,
                View { width_px: 0, .. } | View { height_px: 0, .. } => Class::Rest,
                _ => Class::Visible,
            };
            Some(Wanted {
                track,
                class,
                width_px: view.width_px,
                height_px: view.height_px,
                rungs: &state.ladder,
            })
        });
        let wanted: Vec<_> = wanted.collect();
        let heard = self.speakers.forwarded().filter_map(|id| {
            let track = self.tracks.get(&id)?;
            let is_got = track.seat != seat && !place.unwanted.contains(&id);
            is_got.then(|| track.layers.first()).flatten()
        });
        let sounds = heard.map(|layer| layer.rates.sound());
        let none = (Bitrate::ZERO, Bitrate::ZERO);
        let (once, again) = sounds.fold(none, |(all, more), (whole, frames)| {
            (all + whole, more + frames)
        });
        let estimate = session.estimate;
        let repeated = once + again.percent(100 * session.repeats);
        // The egress repeats no more than the path affords.
        let audio = estimate.map_or(repeated, |estimate| {
            repeated.min(ceiling(estimate)).max(once)
        });
        Some(session.allocator.run(now, estimate, audio, &wanted))
    }
}
