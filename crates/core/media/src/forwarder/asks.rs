//! What publishers are asked for: groups to begin, and layers to send or pause.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};

use super::tracks::Track;
use super::{Forwarder, Output, Payload, Session, SessionId, earliest};
use crate::Kind;

/// A layer is paused when nobody got it for so long: layouts change and change back.
/// Together with a beat and the way to the publisher it stays below a second.
const IDLE: Duration = Duration::from_millis(500);

/// Somebody who is connected and has not joined, for so long, keeps the layers alive
/// that it would get at first: a click in the lobby shall not wait for encoders.
const WARM: Duration = Duration::from_secs(60);

impl<P: Payload> Forwarder<P> {
    /// Looks whether somebody is about to join.
    pub(super) fn warm_up(&mut self, now: Duration) {
        let is_near = |session: &Session| {
            let seat = self.seats.get(&session.seat);
            now < session.opened + WARM && seat.is_none_or(|seat| seat.joined.is_none())
        };
        let is_warm = self.sessions.values().any(is_near);
        if is_warm != self.is_warm {
            self.is_warm = is_warm;
            self.touched.extend(self.tracks.keys());
        }
    }

    pub(super) fn key_frame_wanted(
        &mut self,
        now: Duration,
        session: SessionId,
        id: TrackId,
        layer: u8,
    ) -> Result<(), Code> {
        if self.is_trunk(session) {
            // Its other end folds requests as this one does.
            self.want(now, id, layer);
            return Ok(());
        }
        let from = self.sessions.get_mut(&session).ok_or(Code::NotJoined)?;
        let track = self.tracks.get(&id).ok_or(Code::TrackUnknown)?;
        if track.seat == from.seat {
            return Err(Code::OwnTrack);
        }
        if track.kind != Kind::Video {
            return Err(Code::BadDescription);
        }
        let target = track.targets.iter().find(|one| one.session == session);
        let Some(target) = target else {
            let seat = self.seats.get(&from.seat);
            let may =
                seat.is_some_and(|seat| seat.joined.is_some() && !seat.unwanted.contains(&id));
            // Hidden or paused: the two words have crossed.
            return if may { Ok(()) } else { Err(Code::Forbidden) };
        };
        let layer = target.layer.unwrap_or(target.wanted);
        let gap = self.config.request_gap;
        if from.asked.get(&id).is_some_and(|last| now < *last + gap) {
            return Err(Code::RateLimited);
        }
        from.asked.insert(id, now);
        self.want(now, id, layer);
        Ok(())
    }

    /// Asks a track's publisher for a key frame, where it is there.
    pub(super) fn want(&mut self, now: Duration, id: TrackId, layer: u8) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(session) = publisher(&self.by_seat, track) else {
            return;
        };
        let gap = self.config.key_frame_gap;
        let Some(state) = track.layers.get_mut(usize::from(layer)) else {
            return;
        };
        if track.kind != Kind::Video {
            return;
        }
        if state.ask.wanted(now, gap) {
            let track = id;
            self.outputs.push_back(Output::KeyFrameWanted {
                session,
                track,
                layer,
            });
        }
        self.asks_due = earliest(self.asks_due, state.ask.deadline(gap));
    }

    /// Makes the folded requests that are due.
    pub(super) fn ask_due(&mut self, now: Duration) {
        if self.asks_due.is_none_or(|due| now < due) {
            return;
        }
        self.asks_due = None;
        let gap = self.config.key_frame_gap;
        for (&id, track) in &mut self.tracks {
            let Some(session) = publisher(&self.by_seat, track) else {
                let layers = track.layers.iter_mut();
                layers.for_each(|layer| layer.ask.answered());
                continue;
            };
            for (layer, state) in (0..).zip(&mut track.layers) {
                if state.ask.due(now, gap) {
                    let track = id;
                    self.outputs.push_back(Output::KeyFrameWanted {
                        session,
                        track,
                        layer,
                    });
                }
                self.asks_due = earliest(self.asks_due, state.ask.deadline(gap));
            }
        }
    }

    /// Says at once which layers are wanted that were not, and notes which nobody
    /// gets any more.
    pub(super) fn layers_wanted(&mut self, now: Duration) {
        for id in core::mem::take(&mut self.touched) {
            let Some(track) = self
                .tracks
                .get_mut(&id)
                .filter(|one| one.kind == Kind::Video)
            else {
                continue;
            };
            let hoped = track.hoped;
            let mut wanted = track
                .targets
                .iter()
                .fold(hoped, |sum, one| sum | one.layers());
            if self.is_warm {
                wanted |= 1 << track.usual_layer(id);
            }
            for (layer, state) in track.layers.iter_mut().enumerate() {
                if wanted & 1 << layer != 0 {
                    state.resume(now);
                } else {
                    state.idle.get_or_insert(now);
                }
            }
            let Some(session) = track.from else {
                continue;
            };
            let (new, layers) = match track.layers_said {
                Some(said) => (wanted & !said, said | wanted),
                // The session that all else was said to is gone; this one begins anew.
                None => {
                    let mut layers = track.layers.iter_mut().enumerate();
                    for (_, state) in layers.by_ref().filter(|(at, _)| wanted & 1 << at == 0) {
                        self.cached -= state.cached();
                        state.pause();
                    }
                    (0, wanted)
                }
            };
            if track.layers_said != Some(layers) {
                track.layers_said = Some(layers);
                let track = id;
                self.outputs.push_back(Output::LayersWanted {
                    session,
                    track,
                    layers,
                });
            }
            // A trunk begins by itself with what it is told to send.
            let asks = !session.is_dialled();
            for layer in (0..16).filter(|layer| asks && new & 1 << layer != 0) {
                self.want(now, id, layer);
            }
        }
    }

    /// Pauses layers that nobody has got for a while. True: some will be due.
    pub(super) fn pause_idle(&mut self, now: Duration) -> bool {
        let mut pending = false;
        for (&id, track) in &mut self.tracks {
            let (Some(session), Some(said)) = (track.from, track.layers_said) else {
                continue;
            };
            let mut layers = said;
            for (layer, state) in track.layers.iter_mut().enumerate() {
                let Some(since) = state.idle.filter(|_| said & 1 << layer != 0) else {
                    continue;
                };
                if now < since + IDLE {
                    pending = true;
                    continue;
                }
                layers &= !(1 << layer);
                self.cached -= state.cached();
                state.pause();
            }
            if layers != said {
                track.layers_said = Some(layers);
                let track = id;
                self.outputs.push_back(Output::LayersWanted {
                    session,
                    track,
                    layers,
                });
            }
        }
        pending
    }

    /// Finds the session that may send on a seat's tracks. One that is new has been
    /// told nothing of what is wanted.
    pub(super) fn route(&mut self, seat: ParticipantId) {
        let tracks = self.tracks.iter().filter(|(_, one)| one.seat == seat);
        let tracks: Vec<_> = tracks.map(|(&id, _)| id).collect();
        for id in tracks {
            self.route_track(id);
        }
    }

    /// The same for one track.
    pub(super) fn route_track(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let from = match track.via {
            Some(node) => self.trunk_to(node),
            None => {
                let seat = self.seats.get(&track.seat);
                let joined = seat.is_some_and(|seat| seat.joined.is_some());
                let from = self.by_seat.get(&track.seat).copied();
                from.filter(|_| joined)
            }
        };
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if track.from == from {
            return;
        }
        let had_one = track.from.is_some() || track.had_publisher;
        track.from = from;
        if from.is_some() {
            if had_one {
                track.layers_said = None;
            }
            track.had_publisher = true;
            self.touched.insert(id);
        }
    }
}

/// Whom a track's key frames are asked of.
fn publisher<P>(
    by_seat: &BTreeMap<ParticipantId, SessionId>,
    track: &Track<P>,
) -> Option<SessionId> {
    match track.via {
        Some(_) => track.from,
        None => by_seat.get(&track.seat).copied(),
    }
}
