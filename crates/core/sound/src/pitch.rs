//! Where a sound repeats itself.

use crate::Sample;

/// How finely the first look looks, in samples: 12 kHz holds every pitch there is.
const COARSE: usize = 4;

/// The distance (in samples, within `least..=most`) at which the `compared` samples at
/// `from` are most like those so much before them, and how alike they are, −1 to 1. Of
/// distances that are as good but for `tolerance` the longest. `None` where `sound` does
/// not hold enough.
pub(crate) fn before(
    sound: &[Sample],
    from: usize,
    compared: usize,
    least: usize,
    most: usize,
    tolerance: f32,
) -> Option<(usize, f32)> {
    if least == 0 || least > most || from < most || from + compared > sound.len() || compared == 0 {
        return None;
    }
    let mono: Vec<f32> = sound[from - most..from + compared]
        .iter()
        .map(|[left, right]| (left + right) * 0.5)
        .collect();
    let coarse: Vec<f32> = mono
        .chunks_exact(COARSE)
        .map(|part| part.iter().sum::<f32>() / COARSE as f32)
        .collect();
    let rough = most / COARSE;
    let lags = least.div_ceil(COARSE)..=rough;
    let (lag, _) = best(&coarse, rough, lags, tolerance)?;
    let near = (lag * COARSE).saturating_sub(COARSE).max(least)..=(lag * COARSE + COARSE).min(most);
    best(&mono, most, near, 0.0)
}

/// Compares all of `sound` from `from` on with what comes so many samples before it.
fn best(
    sound: &[f32],
    from: usize,
    lags: core::ops::RangeInclusive<usize>,
    tolerance: f32,
) -> Option<(usize, f32)> {
    let now = &sound[from..];
    let own: f32 = now.iter().map(|s| s * s).sum();
    let alike = |lag: usize| {
        let earlier = &sound[from - lag..sound.len() - lag];
        let (mut both, mut theirs) = (0f32, 0f32);
        for (a, b) in now.iter().zip(earlier) {
            both += a * b;
            theirs += b * b;
        }
        both / (own * theirs).sqrt().max(1e-9)
    };
    let found: Vec<(usize, f32)> = lags.map(|lag| (lag, alike(lag))).collect();
    let most = found.iter().fold(-1f32, |most, (_, one)| most.max(*one));
    let mut longest = found.into_iter().rev();
    longest.find(|(_, one)| *one >= most - tolerance)
}
