//! Tracks: which there are, and who gets them.

use core::time::Duration;

use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::MAX_LAYER;

use super::layer::Layer;
use super::{Delivery, Forwarder, Output, Payload, SessionId, Target, Track};
use crate::Kind;

impl<P: Payload> Forwarder<P> {
    pub(super) fn track(
        &mut self,
        now: Duration,
        id: TrackId,
        seat: ParticipantId,
        kind: Kind,
        layers: u8,
    ) {
        let count = usize::from(layers.clamp(1, MAX_LAYER + 1));
        if let Some(track) = self.tracks.get_mut(&id)
            && (track.seat, track.kind, track.layers.len()) == (seat, kind, count)
        {
            track.said = true;
            return;
        }
        self.track_gone(id);
        let track = Track {
            seat,
            kind,
            layers: (0..count).map(|_| Layer::default()).collect(),
            targets: Vec::new(),
            said: true,
        };
        self.tracks.insert(id, track);
        let others = self.by_seat.iter().filter(|(other, _)| **other != seat);
        let others: Vec<_> = others.map(|(&other, &session)| (other, session)).collect();
        for (other, session) in others {
            self.subscribe(now, other, session, id, true);
        }
        self.ask_for_missed(now, seat, id);
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

    pub(super) fn track_gone(&mut self, id: TrackId) {
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
    }

    /// Lets a track flow to a session, from the newest group where that can be
    /// opened there.
    pub(super) fn subscribe(
        &mut self,
        now: Duration,
        seat: ParticipantId,
        session: SessionId,
        id: TrackId,
        first: bool,
    ) {
        let Some(place) = self.seats.get(&seat) else {
            return;
        };
        let (Some(joined), Some(track)) = (place.joined, self.tracks.get_mut(&id)) else {
            return;
        };
        let already = track.targets.iter().any(|target| target.session == session);
        if track.seat == seat || place.unwanted.contains(&id) || already {
            return;
        }
        let top = track.layers.len() - 1;
        let newest = &track.layers[top];
        let cache = newest.newest_group(joined, self.config.join_grace);
        let kind = track.kind;
        let flowing = kind == Kind::Audio || !cache.is_empty();
        for (header, payload) in cache {
            self.outputs.push_back(Output::Deliver(Delivery {
                session,
                kind,
                header: *header,
                payload: payload.clone(),
            }));
        }
        let layer = top as u8;
        track.targets.push(Target {
            session,
            layer,
            flowing,
        });
        // For a newcomer the publishers begin a new group with its epoch anyway.
        if !flowing && !first {
            self.want(now, id, layer);
        }
    }

    pub(super) fn unsubscribe(&mut self, session: SessionId, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let before = track.targets.len();
        track.targets.retain(|target| target.session != session);
        if track.targets.len() < before {
            let track = id;
            self.outputs.push_back(Output::End { session, track });
        }
    }
}
