//! Is that a voice? Cheap, and good enough to pause sending and to find the active
//! speaker.

use crate::RATE;
use crate::level::{decibels, minus_dbov};

/// What is known of one packet before it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its loudness in −dBov: 0 the loudest, 127 silence.
    pub minus_dbov: u8,
    /// Whether somebody is thought to speak, pauses between words included.
    pub voice: bool,
    /// Whether it stands out of the background, voice or not.
    pub stands_out: bool,
}

/// Voices are looked for at 8 kHz: all their pitch and most of their power is below 4.
const DECIMATION: usize = RATE as usize / 8000;
/// A one-pole filter at 80 Hz, at [`RATE`]: 2π · 80 / 48000.
const RUMBLE: f32 = 0.0105;
/// One packet of 20 ms, in samples of 8 kHz.
const BLOCK: usize = 160;
/// Samples of 8 kHz that are kept: the longest pitch period and what is compared.
const KEPT: usize = 240;
/// Pitch periods of voices, 400 to 70 Hz, in samples of 8 kHz.
const LAGS: core::ops::RangeInclusive<usize> = 20..=114;
/// So many samples are compared with those one period before.
const COMPARED: usize = KEPT - *LAGS.end();
/// So much of itself a voiced sound repeats after one period.
const VOICED: f32 = 0.6;
/// A sound this much above the background stands out, in dB.
const STANDS_OUT_DB: f32 = 6.0;
/// Hissing consonants repeat nothing; they must be this much louder than the background.
const HISS_DB: f32 = 12.0;
/// Nothing below is a voice that anybody could follow, in dBov of the voice band.
const FAINTEST_DB: f32 = -62.0;
/// So many blocks of 20 ms in a row make a voice, where they are voiced: no click is.
const VOICED_BLOCKS: u32 = 2;
/// The same where they only stand out.
const HISS_BLOCKS: u32 = 5;
/// Between words a voice is still a voice: 300 ms.
const HOLD_BLOCKS: u32 = 15;
/// The background follows what is softer at once, what is louder by so many dB a block
/// (3 dB a second: a voice that never pauses keeps its flag for ten).
const RISE_DB: f32 = 0.06;
/// A sound whose loudness moves by less than this for a second is background: speech
/// has syllables.
const STEADY_DB: f32 = 5.0;
const STEADY_BLOCKS: usize = 50;
/// So fast the background becomes a steady sound, in dB a block.
const STEADY_RISE_DB: f32 = 0.5;
/// Where the background is thought to be before anything was heard.
const FIRST_FLOOR_DB: f32 = -70.0;

/// Tells voices from the background. Takes packets of 10 or 20 ms, in order.
#[derive(Debug)]
pub struct Detector {
    /// What was below 80 Hz so far: rumble and direct current, taken away.
    rumble: f32,
    /// A decimated sample in the making, and how many samples are in it.
    part: (f32, usize),
    /// The last samples of 8 kHz, and then those of the block in the making.
    kept: Vec<f32>,
    floor_db: f32,
    /// Loudness of the last second's blocks.
    second: Vec<f32>,
    at: usize,
    standing: u32,
    voiced: u32,
    hold: u32,
    stands_out: bool,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        Self {
            rumble: 0.0,
            part: (0.0, 0),
            kept: vec![0.0; KEPT],
            floor_db: FIRST_FLOOR_DB,
            second: Vec::with_capacity(STEADY_BLOCKS),
            at: 0,
            standing: 0,
            voiced: 0,
            hold: 0,
            stands_out: false,
        }
    }

    /// Takes the samples of one packet, one channel at [`RATE`].
    pub fn take(&mut self, samples: &[f32]) -> Heard {
        for &sample in samples {
            self.sample(if sample.is_finite() { sample } else { 0.0 });
        }
        Heard {
            minus_dbov: minus_dbov(samples),
            voice: self.hold > 0,
            stands_out: self.stands_out,
        }
    }

    fn sample(&mut self, sample: f32) {
        self.rumble += (sample - self.rumble) * RUMBLE;
        self.part.0 += sample - self.rumble;
        self.part.1 += 1;
        if self.part.1 < DECIMATION {
            return;
        }
        self.kept.push(self.part.0 / DECIMATION as f32);
        self.part = (0.0, 0);
        if self.kept.len() == KEPT + BLOCK {
            self.kept.drain(..BLOCK);
            self.judge();
        }
    }

    /// Decides on the last 20 ms.
    fn judge(&mut self) {
        let block = &self.kept[KEPT - BLOCK..];
        let power = block.iter().map(|s| s * s).sum::<f32>() / BLOCK as f32;
        let loud_db = decibels(power.max(1e-12));
        self.follow_background(loud_db);
        let above = loud_db - self.floor_db;
        self.stands_out = above >= STANDS_OUT_DB && loud_db >= FAINTEST_DB;
        let voiced = self.stands_out && self.periodicity() >= VOICED;
        let hiss = self.stands_out && above >= HISS_DB;
        self.voiced = if voiced { self.voiced + 1 } else { 0 };
        self.standing = if voiced || hiss { self.standing + 1 } else { 0 };
        if self.voiced >= VOICED_BLOCKS || self.standing >= HISS_BLOCKS {
            self.hold = HOLD_BLOCKS;
        } else {
            self.hold = self.hold.saturating_sub(1);
        }
    }

    fn follow_background(&mut self, loud_db: f32) {
        if self.second.len() < STEADY_BLOCKS {
            self.second.push(loud_db);
        } else {
            self.second[self.at] = loud_db;
            self.at = (self.at + 1) % STEADY_BLOCKS;
        }
        let (least, most) = self
            .second
            .iter()
            .fold((0f32, -200f32), |(a, b), &db| (a.min(db), b.max(db)));
        let steady = self.second.len() == STEADY_BLOCKS && most - least < STEADY_DB;
        let rise = if steady { STEADY_RISE_DB } else { RISE_DB };
        self.floor_db = loud_db.min(self.floor_db + rise);
    }

    /// How much of itself the newest sound repeats after one pitch period, at best: 0 to 1.
    fn periodicity(&self) -> f32 {
        let now = &self.kept[KEPT - COMPARED..];
        let own: f32 = now.iter().map(|s| s * s).sum();
        let mut best = 0f32;
        for lag in LAGS {
            let before = &self.kept[KEPT - COMPARED - lag..KEPT - lag];
            let (mut both, mut theirs) = (0f32, 1e-12f32);
            for (a, b) in now.iter().zip(before) {
                both += a * b;
                theirs += b * b;
            }
            best = best.max(both / (own * theirs).sqrt().max(1e-12));
        }
        best
    }
}
