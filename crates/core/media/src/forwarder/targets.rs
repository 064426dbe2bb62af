//! Which layer of a video track goes to which session, and the moment of changing it.
//!
//! A layer is left for another only where the other's group begins, so that whoever
//! decodes lacks nothing; until then the old one goes on. A temporal layer is left at
//! once, and taken up again with the next frame of the lowest.

use core::time::Duration;

use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;

use super::{Delivery, Forwarder, Output, Payload, SessionId};
use crate::Bitrate;
use crate::allocate::Share;

/// A switch between layers starts from the newest group where that began no longer ago.
/// All of it up to the picture that is shown is decoded and thrown away.
const SWITCH_AGE: Duration = Duration::from_secs(1);

/// A newest group is given to a subscriber if its path takes it within this time:
/// asking for a key frame costs a round trip, the key frame, and all others of the
/// layer a key frame too.
const BURST: Duration = Duration::from_millis(300);

/// The same where another layer flows, which would stand still meanwhile.
const SWITCH_BURST: Duration = Duration::from_millis(100);

/// A group that was asked for and has not begun is asked for again, while the
/// publisher sends something.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// For a newcomer or a new track a key frame comes without being asked for.
const COMES_BY_ITSELF: Duration = Duration::from_millis(500);

/// A session that gets a track.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) session: SessionId,
    /// The layer that flows; `None` until a group begins.
    pub(super) layer: Option<u8>,
    /// Its temporal layers above this one do not.
    temporal: u8,
    /// What is to flow.
    pub(super) wanted: u8,
    wanted_temporal: u8,
    /// When the group to begin with was last asked for.
    asked: Duration,
}

impl Target {
    /// One that gets all of a track of one layer, at once.
    pub(super) fn of_audio(session: SessionId) -> Self {
        Self {
            session,
            layer: Some(0),
            temporal: u8::MAX,
            wanted: 0,
            wanted_temporal: u8::MAX,
            asked: Duration::ZERO,
        }
    }

    /// One that gets all of a layer, from its next group on.
    pub(super) fn of_layer(session: SessionId, layer: u8, now: Duration) -> Self {
        Self {
            session,
            layer: None,
            temporal: u8::MAX,
            wanted: layer,
            wanted_temporal: u8::MAX,
            asked: now,
        }
    }

    /// Whether it gets a frame of the track.
    pub(super) fn takes(&mut self, header: &Header, begins: bool) -> bool {
        if self.layer != Some(header.layer) {
            if !begins || self.wanted != header.layer {
                return false;
            }
            self.layer = Some(header.layer);
        }
        if header.temporal == 0 && self.wanted == header.layer {
            self.temporal = self.wanted_temporal;
        }
        header.temporal <= self.temporal
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.layer != Some(self.wanted)
    }

    /// The layers that have to be sent for it.
    pub(super) fn layers(&self) -> u16 {
        let flowing = self.layer.map_or(0, |layer| 1 << layer);
        flowing | 1 << self.wanted
    }

    /// True where the layer is another than before.
    fn want(&mut self, layer: u8, temporal: u8, tight: bool) -> bool {
        let is_other = self.wanted != layer;
        (self.wanted, self.wanted_temporal) = (layer, temporal);
        if self.layer == Some(layer) {
            self.temporal = self.temporal.min(temporal);
        } else if tight && self.layer.is_some_and(|flowing| flowing > layer) {
            // The way down must not wait for a key frame.
            self.temporal = 0;
        }
        is_other && self.is_waiting()
    }
}

/// Bytes of cached groups that may be given to one subscriber at once.
#[derive(Debug, Default)]
pub(super) struct Burst {
    spent: u64,
    at: Duration,
}

impl Burst {
    /// Takes so many bytes, if the path carries them in time beside what it was given
    /// before.
    fn take(
        &mut self,
        now: Duration,
        estimate: Option<Bitrate>,
        within: Duration,
        bytes: u64,
    ) -> bool {
        let Some(estimate) = estimate else {
            return true;
        };
        let gone = estimate.bytes_in(now.saturating_sub(self.at));
        self.spent = self.spent.saturating_sub(gone);
        self.at = now;
        let fits = self.spent.saturating_add(bytes) <= estimate.bytes_in(within);
        if fits {
            self.spent += bytes;
        }
        fits
    }
}

impl<P: Payload> Forwarder<P> {
    /// Gives a session its share of a video track. `tight`: because there is no room
    /// for more.
    pub(super) fn give(&mut self, now: Duration, session: SessionId, share: &Share, tight: bool) {
        let Some(track) = self.tracks.get_mut(&share.track) else {
            return;
        };
        let form = track.shape.layers.get(usize::from(share.layer));
        let top = form.map_or(1, |form| form.temporal_layers.max(1)) - 1;
        let temporal = match share.temporal >= top {
            // Also what a publisher sends beyond what it has said.
            true => u8::MAX,
            false => share.temporal,
        };
        let at = track.targets.iter().position(|one| one.session == session);
        let is_other = match at {
            Some(at) => track.targets[at].want(share.layer, temporal, tight),
            None => {
                track.targets.push(Target {
                    session,
                    layer: None,
                    temporal,
                    wanted: share.layer,
                    wanted_temporal: temporal,
                    asked: now,
                });
                true
            }
        };
        if is_other {
            let at = at.unwrap_or(track.targets.len() - 1);
            self.touched.insert(share.track);
            self.begin(now, share.track, at);
        }
    }

    /// Lets a target begin with the newest group of the layer that it wants, or asks
    /// for one.
    pub(super) fn begin(&mut self, now: Duration, id: TrackId, at: usize) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(target) = track.targets.get_mut(at) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&target.session) else {
            return;
        };
        let joined = self.seats.get(&session.seat).and_then(|seat| seat.joined);
        let Some(joined) = joined else {
            return;
        };
        let mut oldest = joined.saturating_sub(self.config.join_grace);
        let mut within = BURST;
        if target.layer.is_some() {
            oldest = oldest.max(now.saturating_sub(SWITCH_AGE));
            within = SWITCH_BURST;
        }
        let layer = &mut track.layers[usize::from(target.wanted)];
        let cache = layer.newest_group(target.session, oldest);
        let wanted_temporal = target.wanted_temporal;
        let wanted = cache.iter();
        let wanted = wanted.filter(|(header, _)| header.temporal <= wanted_temporal);
        let bytes: usize = wanted.clone().map(|(_, payload)| payload.size()).sum();
        let fits = |burst: &mut Burst| burst.take(now, session.estimate, within, bytes as u64);
        if bytes > 0 && fits(&mut session.burst) {
            for (header, payload) in wanted {
                self.outputs.push_back(Output::Deliver(Delivery {
                    session: target.session,
                    kind: track.kind,
                    header: *header,
                    payload: payload.clone(),
                }));
            }
            layer.give(target.session);
            target.layer = Some(target.wanted);
            target.temporal = target.wanted_temporal;
            return;
        }
        target.asked = now;
        let is_new = track.since >= session.opened;
        let begun = session.began.max(is_new.then_some(track.since));
        let comes_by_itself = begun.is_some_and(|begun| now < begun + COMES_BY_ITSELF);
        // One that is paused is asked for a group with the word that it is wanted.
        let is_sent = track
            .layers_said
            .is_none_or(|said| said & 1 << target.wanted != 0);
        if is_sent && !comes_by_itself {
            let layer = target.wanted;
            self.want(now, id, layer);
        }
    }

    /// Gives a session nothing more of a track.
    pub(super) fn take(&mut self, session: SessionId, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let before = track.targets.len();
        track.targets.retain(|target| target.session != session);
        if track.targets.len() < before {
            self.touched.insert(id);
            let track = id;
            self.outputs.push_back(Output::End { session, track });
        }
    }

    /// Asks again for groups that should have begun.
    pub(super) fn ask_again(&mut self, now: Duration) {
        let mut due = Vec::new();
        for (&id, track) in &mut self.tracks {
            if now >= track.last + ASK_AGAIN {
                continue;
            }
            for target in &mut track.targets {
                if target.is_waiting() && now >= target.asked + ASK_AGAIN {
                    target.asked = now;
                    due.push((id, target.wanted));
                }
            }
        }
        for (id, layer) in due {
            self.want(now, id, layer);
        }
    }
}
