//! Loudness as RFC 6464 says it.

/// The level of a packet in silence.
pub const SILENCE: u8 = 127;

/// −dBov of samples in [−1, 1]: 0 is the loudest, 127 silence.
pub fn minus_dbov(samples: &[f32]) -> u8 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    let power = energy / samples.len().max(1) as f32;
    // What is no number counts as silence.
    if power.is_nan() || power <= 0.0 {
        return SILENCE;
    }
    (-decibels(power)).round().clamp(0.0, f32::from(SILENCE)) as u8
}

/// A power as decibels.
pub(crate) fn decibels(power: f32) -> f32 {
    10.0 * power.log10()
}
