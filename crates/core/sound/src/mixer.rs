//! All tracks of a meeting as one sound.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Sample;
use crate::player::{Heading, Player};
use crate::playout::Report;

/// Louder than this several voices are bent instead of clipped.
const BEND: f32 = 0.8;

/// The tracks that are heard, by number.
#[derive(Debug, Default)]
pub struct Mixer {
    players: BTreeMap<u32, Player>,
}

impl Mixer {
    /// Nobody is heard.
    pub const fn new() -> Self {
        Self {
            players: BTreeMap::new(),
        }
    }

    /// Takes the samples of one packet of `track`, which came at `now`. Returns whether
    /// they may still be heard.
    pub fn push(
        &mut self,
        now: Duration,
        track: u32,
        heading: Heading,
        samples: Vec<Sample>,
    ) -> bool {
        let player = self.players.entry(track).or_default();
        player.push(now, heading, samples)
    }

    /// The track ended.
    pub fn forget(&mut self, track: u32) {
        self.players.remove(&track);
    }

    /// Writes what is heard from `now` on. Several voices never exceed full scale.
    pub fn mix(&mut self, now: Duration, out: &mut [Sample]) {
        out.fill([0.0; 2]);
        for player in self.players.values_mut() {
            player.pull(now, out);
        }
        for sample in out.iter_mut().flatten() {
            *sample = bend(*sample);
        }
    }

    /// Each track's account of itself at `now`, in order of number.
    pub fn reports(&self, now: Duration) -> impl Iterator<Item = (u32, Report)> {
        let each = self.players.iter();
        each.map(move |(track, player)| (*track, player.report(now)))
    }
}

/// Leaves what is soft alone, and leads the rest smoothly to full scale.
fn bend(sample: f32) -> f32 {
    let beyond = (sample.abs() - BEND) / (1.0 - BEND);
    if beyond <= 0.0 {
        return sample;
    }
    let bent = BEND + (1.0 - BEND) * (beyond / (1.0 + beyond));
    if sample < 0.0 { -bent } else { bent }
}
