//! What can be had of a track, step by step.

use super::{Class, Wanted};
use crate::{Bitrate, LayerShape, Shape};

/// One step: a layer up to a temporal layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// The layer.
    pub layer: u8,
    /// The highest temporal layer of it.
    pub temporal: u8,
    /// The layer's width in pixels; 0 where unknown.
    pub width_px: u32,
    /// The layer's height in pixels.
    pub height_px: u32,
    /// What it takes.
    pub rate: Bitrate,
}

/// A layer may be enlarged so far, in hundredths, before the next one is wanted:
/// nobody sees it, and the next one costs three times as much.
const FILLS: u64 = 125;
/// One that is larger is left only for one that need be enlarged no further than
/// this, so that a tile that is being resized does not switch to and fro.
const FILLS_BELOW: u64 = 110;

/// Bits of a pixel and second where a publisher says nothing: 0.07 a pixel at 30
/// pictures, what real-time encoders are usually set to.
const BITS_PER_PIXEL: u64 = 2;

/// Appends the steps of a track, the smallest first, each layer's temporal layers
/// before the next layer, because less motion is taken before less sharpness. A
/// camera's larger layers are not had at their lowest temporal layer where there are
/// three or more: a quarter of the pictures is worse than a smaller one that moves.
///
/// `rate` says what a layer up to a temporal layer was measured to take.
pub fn ladder(shape: &Shape, rate: impl Fn(u8, u8) -> Option<Bitrate>, out: &mut Vec<Rung>) {
    let unknown = LayerShape::default();
    for layer in 0..shape.count() as u8 {
        let form = shape.layers.get(usize::from(layer)).unwrap_or(&unknown);
        let temporal_layers = form.temporal_layers.clamp(1, 8);
        let lowest = u8::from(layer > 0 && temporal_layers >= 3 && !shape.screen);
        for temporal in lowest..temporal_layers {
            let rate = rate(layer, temporal).unwrap_or_else(|| said(form, temporal));
            out.push(Rung {
                layer,
                temporal,
                width_px: form.width_px,
                height_px: form.height_px,
                rate,
            });
        }
    }
}

/// What a layer is said to take up to a temporal layer. Encoders give the base four
/// tenths, two thirds with the next.
fn said(form: &LayerShape, temporal: u8) -> Bitrate {
    let whole = match (form.max_bitrate, form.width_px, form.height_px) {
        (Bitrate::ZERO, 0, _) | (Bitrate::ZERO, _, 0) => {
            Bitrate::from_bps(640 * 360 * BITS_PER_PIXEL)
        }
        (Bitrate::ZERO, width, height) => {
            let pixels = u64::from(width) * u64::from(height);
            Bitrate::from_bps(pixels.saturating_mul(BITS_PER_PIXEL))
        }
        (said, ..) => said,
    };
    match form.temporal_layers.max(1) - 1 - temporal.min(form.temporal_layers.max(1) - 1) {
        0 => whole,
        1 => whole.percent(65),
        _ => whole.percent(40),
    }
}

/// The highest step that a tile has any use for: the last of the smallest layer that
/// fills it, given the layer it gets now.
pub fn top(wanted: &Wanted<'_>, current: Option<u8>) -> usize {
    let rungs = wanted.rungs;
    let last = rungs.len().saturating_sub(1);
    let smallest = rungs.iter().rposition(|rung| rung.layer == 0);
    if wanted.class == Class::Rest || wanted.width_px == 0 || wanted.height_px == 0 {
        return smallest.unwrap_or(last);
    }
    let fills = |rung: &Rung| {
        let is_left = current.is_some_and(|current| current > rung.layer);
        let enlarged = match is_left {
            true => FILLS_BELOW,
            false => FILLS,
        };
        // The picture stands whole in its tile, so one side decides.
        let is_enough = |has: u32, tile: u32| u64::from(has) * enlarged >= u64::from(tile) * 100;
        rung.width_px > 0
            && rung.height_px > 0
            && (is_enough(rung.width_px, wanted.width_px)
                || is_enough(rung.height_px, wanted.height_px))
    };
    let Some(layer) = rungs.iter().find(|rung| fills(rung)).map(|rung| rung.layer) else {
        return last;
    };
    rungs
        .iter()
        .rposition(|rung| rung.layer == layer)
        .unwrap_or(last)
}
