//! Tracks: which there are, and who gets them.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::{NodeId, ParticipantId, TrackId};
use darktower_wire::media::MAX_LAYER;

use super::layer::Layer;
use super::repeats::Repeats;
use super::targets::Target;
use super::{Forwarder, Output, Payload, SessionId};
use crate::allocate::{self, Class, Rung, Wanted, ladder};
use crate::{Bitrate, Kind, Shape, demand};

#[derive(Debug)]
pub(super) struct Track<P> {
    pub(super) seat: ParticipantId,
    /// The handler that its publisher is on, where that is another.
    pub(super) via: Option<NodeId>,
    /// The session that may send on it, while there is one.
    pub(super) from: Option<SessionId>,
    /// There was one before.
    pub(super) had_publisher: bool,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) layers: Vec<Layer<P>>,
    /// Who gets it: a subscriber that does not is not among them.
    pub(super) targets: Vec<Target>,
    /// What can be had of it, and what that takes.
    pub(super) ladder: Vec<Rung>,
    /// Layers that the publisher was told are wanted; `None` where it was told
    /// nothing, nor another before it.
    pub(super) layers_said: Option<u16>,
    /// Layers that are wanted for what they may stand in for, or come back as.
    pub(super) hoped: u16,
    /// Layers that are wanted and do not come: nobody can have them.
    pub(super) lacking: u16,
    /// Numbers that came, of audio.
    pub(super) repeats: Repeats,
    pub(super) since: Duration,
    /// When its last frame came.
    pub(super) last: Duration,
    pub(super) said: bool,
}

impl<P> Track<P> {
    fn new(
        now: Duration,
        seat: ParticipantId,
        kind: Kind,
        shape: Shape,
        via: Option<NodeId>,
    ) -> Self {
        let count = shape.count();
        let mut track = Self {
            seat,
            via,
            from: None,
            had_publisher: false,
            kind,
            layers: (0..count).map(|_| Layer::default()).collect(),
            shape,
            targets: Vec::new(),
            ladder: Vec::new(),
            // A publisher sends all of them until it is told otherwise, a trunk none.
            layers_said: via.is_none().then_some(u16::MAX >> (16 - count)),
            hoped: 0,
            lacking: 0,
            repeats: Repeats::default(),
            since: now,
            last: now,
            said: true,
        };
        track.climb(now);
        track
    }

    /// Takes stock of what its layers take.
    pub(super) fn measure(&mut self, now: Duration) {
        for layer in &mut self.layers {
            layer.rates.refresh(now);
        }
        self.climb(now);
    }

    /// The layer that one gets who has not said what it shows.
    pub(super) fn usual_layer(&self, track: TrackId) -> u8 {
        let (width_px, height_px) = demand::UNSAID;
        let wanted = Wanted {
            track,
            class: Class::Visible,
            width_px,
            height_px,
            rungs: &self.ladder,
        };
        let rung = self.ladder.get(allocate::top(&wanted, None));
        rung.map_or(0, |rung| rung.layer)
    }

    pub(super) fn climb(&mut self, now: Duration) {
        self.ladder.clear();
        if self.kind == Kind::Audio {
            return;
        }
        let (shape, layers) = (&self.shape, &self.layers);
        let rate = |layer: u8, temporal: u8| {
            let at = usize::from(layer);
            let form = shape.layers.get(at);
            let is_said = form.is_some_and(|form| form.max_bitrate > Bitrate::ZERO);
            // The highest has all that a publisher sends beyond what it has said.
            let is_top = form.is_none_or(|form| temporal + 1 >= form.temporal_layers);
            let temporal = if is_top { 7 } else { temporal };
            layers.get(at)?.rates.up_to(now, temporal, is_said)
        };
        ladder(shape, rate, &mut self.ladder);
        let lacking = self.lacking;
        self.ladder.retain(|rung| lacking & 1 << rung.layer == 0);
    }
}

impl<P: Payload> Forwarder<P> {
    pub(super) fn track(
        &mut self,
        now: Duration,
        id: TrackId,
        seat: ParticipantId,
        kind: Kind,
        shape: Shape,
        via: Option<NodeId>,
    ) {
        if let Some(track) = self.tracks.get_mut(&id)
            && (track.seat, track.kind, &track.shape) == (seat, kind, &shape)
        {
            track.said = true;
            if track.via != via {
                self.comes_by(now, id, via);
            }
            return;
        }
        self.track_gone(now, id);
        let track = Track::new(now, seat, kind, shape, via);
        self.tracks.insert(id, track);
        self.route_track(id);
        let others = self.by_seat.iter().filter(|(other, _)| **other != seat);
        let others: Vec<_> = others.map(|(&other, &session)| (other, session)).collect();
        for (other, session) in others {
            self.subscribe(now, other, session, id);
        }
        self.touched.insert(id);
        self.arm(now);
        self.ask_for_missed(now, seat, id);
    }

    /// Its publisher is on another handler than before.
    fn comes_by(&mut self, now: Duration, id: TrackId, via: Option<NodeId>) {
        let trunks = self.sessions.iter().map(|(&id, one)| (id, one.seat));
        let trunks: BTreeMap<_, _> = trunks.filter(|(id, _)| self.is_trunk(*id)).collect();
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.via = via;
        // Whoever it comes from now was told nothing yet.
        track.layers_said = None;
        if via.is_some() {
            track
                .targets
                .retain(|one| !trunks.contains_key(&one.session));
        }
        self.touched.insert(id);
        self.route_track(id);
        for (session, seat) in trunks {
            self.subscribe(now, seat, session, id);
        }
    }

    /// Asks for a key frame where frames came before the word that allows them.
    pub(super) fn ask_for_missed(&mut self, now: Duration, seat: ParticipantId, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let count = track.layers.len();
        if let Some(&session) = self.by_seat.get(&seat)
            && self.missed.remove(&(session, id))
        {
            for layer in (0..=MAX_LAYER).take(count) {
                self.want(now, id, layer);
            }
        }
    }

    pub(super) fn track_gone(&mut self, now: Duration, id: TrackId) {
        let Some(track) = self.tracks.remove(&id) else {
            return;
        };
        self.cached -= track.layers.iter().map(Layer::cached).sum::<usize>();
        for target in track.targets {
            let (session, track) = (target.session, id);
            self.outputs.push_back(Output::End { session, track });
        }
        for session in self.sessions.values_mut() {
            session.asked.remove(&id);
        }
        self.dirty.extend(self.sessions.keys());
        self.touched.remove(&id);
        self.speakers.gone(id);
        self.arm(now);
    }

    /// Lets a track flow to a session that may have it: audio at once, of video what
    /// its next allocation gives.
    pub(super) fn subscribe(
        &mut self,
        now: Duration,
        seat: ParticipantId,
        session: SessionId,
        id: TrackId,
    ) {
        let Some(place) = self.seats.get(&seat) else {
            return;
        };
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if place.joined.is_none() || track.seat == seat || place.unwanted.contains(&id) {
            return;
        }
        if place.is_trunk && (track.via.is_some() || track.kind == Kind::Video) {
            return self.feed_trunk(now, session, id);
        }
        if track.kind == Kind::Audio {
            let already = track.targets.iter().any(|one| one.session == session);
            if !already {
                track.targets.push(Target::of_audio(session));
            }
            self.speakers_due = true;
        }
        self.dirty.insert(session);
    }

    pub(super) fn unsubscribe(&mut self, session: SessionId, id: TrackId) {
        let kind = self.tracks.get(&id).map(|track| track.kind);
        if kind == Some(Kind::Audio) {
            self.take(session, id);
            self.speakers_due = true;
        }
        self.dirty.insert(session);
    }
}
