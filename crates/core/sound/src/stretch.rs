//! Sound in more or less time at the same pitch: whole periods are left out or
//! repeated, cross-faded where the waveform is most like itself.

use crate::{Sample, ms, pitch};

/// Shortest and longest piece that is left out or repeated: periods of 400 to 100 Hz,
/// or several of a higher voice.
const SHORTEST: usize = ms(5) / 2;
const LONGEST: usize = ms(10);
/// How alike two pieces must be to pass for one another, while there is no hurry.
const ALIKE: f32 = 0.9;
/// A longer piece that is so little less alike is better: fewer seams.
const MULTIPLE: f32 = 0.03;
/// What is softer than this (−50 dBov as a power) is cut anywhere.
const QUIET: f32 = 1e-5;
/// With so much change put off a seam may be heard; more than the other is never owed.
const HURRY: f32 = ms(20) as f32;
const PUT_OFF: f32 = ms(30) as f32;

/// The time-stretching of one track.
#[derive(Debug, Default)]
pub struct Stretch {
    /// Samples that should have been left out (repeated where negative) and were not yet.
    owed: f32,
}

impl Stretch {
    /// A track that is on time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `sound` to `out`, in `speed` times less time on average over packets.
    /// At 1.0 it is not touched.
    pub fn run(&mut self, sound: &[Sample], speed: f32, out: &mut Vec<Sample>) {
        if speed == 1.0 || !speed.is_finite() {
            self.owed = 0.0;
            out.extend_from_slice(sound);
            return;
        }
        // So much longer or shorter the outcome is: length − length / speed.
        self.owed += sound.len() as f32 * (1.0 - 1.0 / speed.clamp(0.5, 2.0));
        self.owed = self.owed.clamp(-PUT_OFF, PUT_OFF);
        let owed = self.owed.abs() as usize;
        let most = LONGEST.min(sound.len() / 2).min(owed);
        let Some(lag) = self.seam(sound, most) else {
            out.extend_from_slice(sound);
            return;
        };
        // The seam lies at `most`: what is on both sides of it is what was compared.
        let (now, next) = (&sound[most - lag..most], &sound[most..most + lag]);
        if self.owed > 0.0 {
            self.owed -= lag as f32;
            out.extend_from_slice(&sound[..most - lag]);
            fade(now, next, out);
            out.extend_from_slice(&sound[most + lag..]);
        } else {
            self.owed += lag as f32;
            out.extend_from_slice(&sound[..most]);
            fade(next, now, out);
            out.extend_from_slice(&sound[most..]);
        }
    }

    /// The length of the piece before `most` that is most like the one after it, where it
    /// is like enough.
    fn seam(&self, sound: &[Sample], most: usize) -> Option<usize> {
        let compared = sound.len().checked_sub(most)?.min(LONGEST);
        let (lag, alike) = pitch::before(sound, most, compared, SHORTEST, most, MULTIPLE)?;
        let hurry = (self.owed.abs() / HURRY).min(1.0);
        let power: f32 = sound.iter().map(|[l, r]| l * l + r * r).sum();
        let quiet = power / (2.0 * sound.len() as f32) < QUIET;
        (quiet || alike >= ALIKE * (1.0 - hurry * hurry)).then_some(lag)
    }
}

/// Appends `from` fading into `to`, which are as long.
pub(crate) fn fade(from: &[Sample], to: &[Sample], out: &mut Vec<Sample>) {
    let count = from.len().max(1) as f32;
    for (at, (a, b)) in from.iter().zip(to).enumerate() {
        let t = at as f32 / count;
        out.push([a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t]);
    }
}
