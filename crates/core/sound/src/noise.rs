//! Comfort noise: the sound of the other room while nobody there speaks, so that a
//! pause does not sound like a broken line.

use crate::{Sample, ms};

/// Two grains sound at any time, each beginning in the middle of the one before.
const HALF: usize = ms(5);
const GRAIN: usize = 2 * HALF;

/// Makes endless noise of a short example: pieces of it, from random places, with random
/// signs, faded into one another at constant power.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    example: Vec<Sample>,
    /// Where in the example each of the two grains begins, and its sign.
    older: (usize, f32),
    newer: (usize, f32),
    at: usize,
    seed: u32,
}

impl Noise {
    /// Takes the sound of a rest packet as the example.
    pub(crate) fn learn(&mut self, example: &[Sample]) {
        if example.len() < GRAIN {
            return;
        }
        self.example.clear();
        self.example.extend_from_slice(example);
        self.older.0 = self.older.0.min(example.len() - GRAIN);
        self.newer.0 = self.newer.0.min(example.len() - GRAIN);
    }

    /// The next sample; silence where there is no example.
    pub(crate) fn sample(&mut self) -> Sample {
        if self.example.is_empty() {
            return [0.0; 2];
        }
        if self.at == HALF {
            self.at = 0;
            self.older = self.newer;
            self.newer = self.grain();
        }
        let rise = self.at as f32 / HALF as f32;
        let power = rise * rise * (3.0 - 2.0 * rise);
        let (up, down) = (power.sqrt(), (1.0 - power).sqrt());
        let older = self.example[self.older.0 + HALF + self.at];
        let newer = self.example[self.newer.0 + self.at];
        self.at += 1;
        let (down, up) = (down * self.older.1, up * self.newer.1);
        [
            older[0] * down + newer[0] * up,
            older[1] * down + newer[1] * up,
        ]
    }

    fn grain(&mut self) -> (usize, f32) {
        // A linear congruence is random enough for noise, and the same in every build.
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let places = self.example.len() - GRAIN + 1;
        let sign = if self.seed & 0x8000 == 0 { 1.0 } else { -1.0 };
        ((self.seed >> 16) as usize % places, sign)
    }
}
