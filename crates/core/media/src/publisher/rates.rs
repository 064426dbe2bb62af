//! What each layer's encoder may make: the uplink's budget and the subscribers' wishes
//! become settings.

use core::time::Duration;

use darktower_wire::ids::TrackId;

use super::{Output, Publisher};
use crate::arrivals::Feedback;
use crate::uplink::{Want, range, split};
use crate::{Bitrate, Kind, Shape};

/// A change of more than this share of a target is said at once; encoders take a new rate
/// without a key frame, but each setting costs a message to them.
const REAL_CHANGE_PERCENT: u64 = 10;

/// Smaller changes are said no more often than this, and none below [`NO_CHANGE_PERCENT`].
const SMALL_CHANGE_GAP: Duration = Duration::from_millis(500);

const NO_CHANGE_PERCENT: u64 = 3;

/// One layer's place in the budget, and what its encoder was last told.
#[derive(Debug)]
pub(super) struct Setting {
    min: Bitrate,
    max: Bitrate,
    order: (u8, u8),
    /// Somebody gets it.
    wanted: bool,
    target: Option<Bitrate>,
    said: Option<Duration>,
}

impl Setting {
    pub(super) fn new(shape: &Shape, layer: usize) -> Self {
        let form = shape.layers.get(layer).copied().unwrap_or_default();
        let (min, max) = range(&form, layer == 0);
        Self {
            min,
            max,
            order: (layer as u8, u8::from(!shape.screen)),
            wanted: true,
            target: None,
            said: None,
        }
    }

    /// Nothing of it is sent.
    pub(super) fn paused(&self) -> bool {
        self.said.is_some() && self.target.is_none()
    }

    /// What the layer makes, or would make.
    pub(super) fn rate(&self) -> Bitrate {
        self.target.unwrap_or(self.max)
    }

    fn want(&self) -> Want {
        Want {
            min: self.min,
            max: self.max,
            order: self.order,
            on: self.target.is_some() || self.said.is_none(),
        }
    }

    /// True where the encoder has to be told.
    fn set(&mut self, now: Duration, target: Option<Bitrate>) -> bool {
        let tell = match (self.said, self.target, target) {
            (None, _, _) | (_, Some(_), None) | (_, None, Some(_)) => true,
            (_, None, None) => false,
            (Some(said), Some(old), Some(new)) => {
                let change = old.max(new) - old.min(new);
                change > old.percent(REAL_CHANGE_PERCENT)
                    || (change > old.percent(NO_CHANGE_PERCENT) && now >= said + SMALL_CHANGE_GAP)
            }
        };
        if tell {
            (self.target, self.said) = (target, Some(now));
        }
        tell
    }
}

impl Publisher {
    pub(super) fn feedback(&mut self, now: Duration, feedback: Feedback) {
        let backlog = self.backlog.values().map(|&bytes| bytes as u64).sum();
        self.uplink.feedback(now, &feedback, backlog);
        let repeats = self.uplink.repeats(self.repeats.at(now));
        self.repeats.want(repeats);
        self.retarget(now);
        self.pad(now);
    }

    pub(super) fn layers_wanted(&mut self, now: Duration, track: TrackId, layers: u16) {
        let Some(track) = self.tracks.values_mut().find(|one| one.id == track) else {
            return;
        };
        for (bit, layer) in (0..).zip(&mut track.layers) {
            layer.setting.wanted = layers & (1 << bit) != 0;
        }
        self.retarget(now);
    }

    /// A new session: its handler has said nothing yet.
    pub(super) fn all_layers_wanted(&mut self) {
        let layers = self.tracks.values_mut().flat_map(|track| &mut track.layers);
        for layer in layers {
            layer.setting.wanted = true;
        }
    }

    /// Splits the budget anew and tells the encoders what has changed for them.
    pub(super) fn retarget(&mut self, now: Duration) {
        let layers = self.tracks.values().flat_map(|track| &track.layers);
        let wanted = layers.filter(|layer| layer.setting.wanted);
        let wants: Vec<Want> = wanted.map(|layer| layer.setting.want()).collect();
        self.uplink.wanted(wants.iter().map(|want| want.max).sum());
        let mut shares = split(self.uplink.video_budget(), &wants).into_iter();
        let (mut resumed, mut paused) = (Vec::new(), Vec::new());
        for (&handle, track) in &mut self.tracks {
            if track.kind != Kind::Video {
                continue;
            }
            for (layer, state) in (0..).zip(&mut track.layers) {
                let share = match state.setting.wanted {
                    true => shares.next().flatten(),
                    false => None,
                };
                let was_paused = state.setting.paused();
                if !state.setting.set(now, share) {
                    continue;
                }
                let target = state.setting.target;
                self.outputs.push_back(Output::Encode {
                    handle,
                    layer,
                    target,
                });
                match target {
                    Some(_) if was_paused => resumed.push((handle, layer)),
                    Some(_) => {}
                    None => {
                        let given_up = state.setting.wanted;
                        paused.extend(state.group.take().map(|group| (group, given_up)));
                    }
                }
            }
        }
        for (group, given_up) in paused {
            match given_up {
                // The path does not carry it: neither what is left of it, nor what is lost.
                true => self.reset(group.stream),
                false => self.end(group.stream),
            }
        }
        for (handle, layer) in resumed {
            self.want(now, handle, layer);
        }
    }
}
