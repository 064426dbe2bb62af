//! Signals to be heard, and what can be said of what is heard.

use darktower_sound::{RATE, Sample};

use crate::script::Dice;

/// A tone of half of full scale, from sample number `from` on.
pub(crate) fn tone(hz: f64, from: usize, count: usize) -> Vec<Sample> {
    let at = |n: usize| (n as f64 * hz * std::f64::consts::TAU / f64::from(RATE)).sin();
    (from..from + count)
        .map(|n| [0.5 * at(n) as f32; 2])
        .collect()
}

/// Noise with a uniform distribution.
pub(crate) fn noise(seed: u64, amplitude: f32, count: usize) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|_| amplitude * (dice.roll() * 2.0 - 1.0) as f32)
        .collect()
}

/// Something like speech: pulses of the vocal cords at `pitch` Hz through two formants, in
/// four syllables a second, each word of two seconds followed by half a second of nothing.
pub(crate) fn voice(pitch: f64, amplitude: f32, seconds: f64) -> Vec<f32> {
    let rate = f64::from(RATE);
    let mut formants = [(600.0, 0.0, 0.0), (1500.0, 0.0, 0.0)];
    let (mut phase, mut out) = (0.0f64, Vec::new());
    for n in 0..(seconds * rate) as usize {
        let t = n as f64 / rate;
        phase += pitch * (1.0 + 0.05 * (t * 3.0).sin()) / rate;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase -= phase.floor();
        let mut sum = 0.0;
        for (hz, one, two) in &mut formants {
            let radius = 0.985f64;
            let angle = *hz * std::f64::consts::TAU / rate;
            let now = pulse + 2.0 * radius * angle.cos() * *one - radius * radius * *two;
            (*one, *two) = (now, *one);
            sum += now;
        }
        let syllable = (t * 4.0 * std::f64::consts::PI).sin().powi(2);
        let speaks = if t % 2.5 < 2.0 { syllable } else { 0.0 };
        out.push((sum * speaks * 0.1) as f32 * amplitude);
    }
    out
}

/// The greatest step from one sample to the next.
pub(crate) fn steepest(samples: &[Sample]) -> f32 {
    let steps = samples.windows(2);
    steps.fold(0.0, |most, pair| most.max((pair[1][0] - pair[0][0]).abs()))
}

/// The pitch, by counting how often the sound rises through zero.
pub(crate) fn pitch(samples: &[Sample]) -> f64 {
    let rises = |pair: &&[Sample]| pair[0][0] < 0.0 && pair[1][0] >= 0.0;
    let count = samples.windows(2).filter(rises).count();
    count as f64 * f64::from(RATE) / samples.len() as f64
}

/// Root mean square of the left ear.
pub(crate) fn loudness(samples: &[Sample]) -> f32 {
    let power: f32 = samples.iter().map(|sample| sample[0] * sample[0]).sum();
    (power / samples.len().max(1) as f32).sqrt()
}
