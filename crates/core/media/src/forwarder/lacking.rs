//! Layers that are wanted and do not come: a publisher whose uplink has no room for a
//! large layer sends the smaller ones, if they are wanted. So they are, and whoever gets
//! the large one is given what there is, until it comes again.
//!
//! Silence alone says nothing: a screen may stand still, and a camera be muted.

use core::time::Duration;

use super::tracks::Track;
use super::{Forwarder, Payload};
use crate::Kind;

/// A wanted layer that has been silent for so long may not be coming: longer than a
/// resumed encoder takes to begin over a slow path.
const SILENT: Duration = Duration::from_millis(600);

/// It is lacking if a smaller one goes on for so many beats meanwhile. The frames of one
/// picture come apart, but not that far.
const BEATS: u8 = 3;

impl<P> Track<P> {
    /// Takes stock once a beat. True where what is lacking has changed.
    fn look_for_layers(&mut self, now: Duration) -> bool {
        let (mut hoped, mut lacking, mut flows) = (0, 0, false);
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let is_silent = now >= layer.last.max(layer.resumed) + SILENT;
            let is_wanted = layer.idle.is_none() && !self.targets.is_empty();
            match is_wanted && is_silent && flows {
                true => layer.lacks = layer.lacks.saturating_add(1),
                false => layer.lacks = 0,
            }
            if is_wanted && is_silent {
                // The smaller ones are hoped for in its place.
                hoped |= (1 << at) - 1;
            }
            if layer.lacks >= BEATS {
                lacking |= 1 << at;
            }
            flows |= now < layer.last + SILENT / 2;
        }
        // Those that are lacking stay wanted, or they would never come again.
        let before = (self.hoped, self.lacking);
        (self.hoped, self.lacking) = (hoped | lacking, lacking);
        before != (self.hoped, self.lacking)
    }
}

impl<P: Payload> Forwarder<P> {
    /// Finds layers that are wanted and do not come. True: one may soon be such.
    pub(super) fn look_for_layers(&mut self, now: Duration) -> bool {
        let mut pending = false;
        for (&id, track) in &mut self.tracks {
            if track.kind != Kind::Video || track.layers.len() < 2 {
                continue;
            }
            let lacked = track.lacking;
            if track.look_for_layers(now) {
                self.touched.insert(id);
            }
            if track.lacking != lacked {
                track.climb(now);
                self.dirty
                    .extend(track.targets.iter().map(|target| target.session));
            }
            pending |= !track.targets.is_empty() && now < track.last + SILENT * 2;
        }
        pending
    }
}
