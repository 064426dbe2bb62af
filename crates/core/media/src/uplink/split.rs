//! Whose share of the uplink's budget is what.

use crate::{Bitrate, LayerShape};

/// A layer that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// The smallest rate at which the layer is worth sending.
    pub(crate) min: Bitrate,
    /// More than this does not improve it.
    pub(crate) max: Bitrate,
    /// The lowest layers come first, and among them those of smaller rank.
    pub(crate) order: (u8, u8),
    /// It is being sent now.
    pub(crate) on: bool,
}

/// A layer whose publisher did not say what it takes: about a tenth of a bit for each
/// pixel at 30 fps, which real-time encoders need at moderate motion.
const BITS_PER_PIXEL_SECOND: u64 = 3;

/// A layer of which nothing at all is known.
const UNKNOWN: Bitrate = Bitrate::from_kbps(1_500);

/// Below this share of its maximum a layer looks worse than the one below it.
const MIN_PERCENT: u64 = 40;

/// What the smallest layer may come down to: a picture of a face, with a few frames a second.
const SMALLEST: Bitrate = Bitrate::from_kbps(60);

/// A layer that is off comes back only with this much room over its minimum, so that it
/// does not come and go.
const COMEBACK_PERCENT: u64 = 115;

/// Least and most of a layer.
pub(crate) fn range(shape: &LayerShape, lowest: bool) -> (Bitrate, Bitrate) {
    let pixels = u64::from(shape.width_px) * u64::from(shape.height_px);
    let max = match (shape.max_bitrate, pixels) {
        (Bitrate::ZERO, 0) => UNKNOWN,
        (Bitrate::ZERO, pixels) => Bitrate::from_bps(pixels.saturating_mul(BITS_PER_PIXEL_SECOND)),
        (said, _) => said,
    };
    let min = max.percent(MIN_PERCENT);
    let min = if lowest { min.min(SMALLEST) } else { min };
    (min, max)
}

/// What each layer gets of `budget`; `None`: it pauses.
///
/// First the smallest layers get their least, then those of screens all they can use, for
/// text that is not sharp is worth little; then the upper layers, in order, their least
/// while that fits; and what is left goes, in the same order, to whoever can use it.
pub(crate) fn split(budget: Bitrate, wants: &[Want]) -> Vec<Option<Bitrate>> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&at| wants[at].order);
    let smallest = order.partition_point(|&at| wants[at].order.0 == 0);
    let screens = order.partition_point(|&at| wants[at].order == SCREEN_FIRST);
    let mut split = Split {
        wants,
        left: budget,
        shares: vec![None; wants.len()],
    };
    let all_on = split.begin(&order[..smallest]);
    split.fill(&order[..screens]);
    if all_on {
        split.begin(&order[smallest..]);
    }
    split.fill(&order);
    split.shares
}

/// The smallest layer of a screen.
const SCREEN_FIRST: (u8, u8) = (0, 0);

struct Split<'a> {
    wants: &'a [Want],
    left: Bitrate,
    shares: Vec<Option<Bitrate>>,
}

impl Split<'_> {
    /// Gives each its least. False where one did not fit: then none after it does.
    fn begin(&mut self, order: &[usize]) -> bool {
        for &at in order {
            let want = &self.wants[at];
            let asks = match want.on {
                true => want.min,
                false => want.min.percent(COMEBACK_PERCENT),
            };
            if asks > self.left {
                return false;
            }
            self.left = self.left - want.min;
            self.shares[at] = Some(want.min);
        }
        true
    }

    /// Gives more to those that have something.
    fn fill(&mut self, order: &[usize]) {
        for &at in order {
            if let Some(share) = &mut self.shares[at] {
                let more = (self.wants[at].max - *share).min(self.left);
                *share = *share + more;
                self.left = self.left - more;
            }
        }
    }
}

#[cfg(test)]
mod tests;
