//! How much of what is sent through a handler is lost, told by the numbers of what comes back and by no clock.

use std::collections::VecDeque;

/// So many later ones must have come back before one that has not counts as lost: packets overtake one another.
const REORDERED: u64 = 3;
/// What is lost in a row counts up to here: a moment in which nothing comes through costs a meeting less than moving,
/// and a long one is [`crate::Plane`]'s other rule.
const ROW: u32 = 8;
/// More numbers than this are never looked at one by one.
const LEAP: u64 = 64;
/// Of the last 128 so many lost are too many: more than a quarter, which is what comes of 14 % each way.
///
/// At 5 % each way 9.75 % of the round trips are lost. Then 128 hold 34 by chance with a probability of 5e-8, which at a
/// hundred a second comes about once in two weeks: at such a loss media works (sound is repeated, pictures are sent
/// again), and moving would cost more. At 20 % each way 36 % are lost, 34 of them within 94 on average and within 128
/// in 991 of 1000 cases.
const TOO_MANY: u32 = 34;
/// Up to so many the path counts as well again: more than 5 % each way loses (12.5 on average), and so far below
/// `TOO_MANY` that chance does not lead from the one to the other.
const FEW: u32 = 20;
/// One lost among the last so many is reason to look closer.
const DOUBT: u32 = 32;

/// What became of the last 128 probes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loss {
    newest: Option<u64>,
    /// Those that may come yet, the oldest first, and those behind them: whether each has come.
    open: VecDeque<(u64, bool)>,
    /// The newest in the lowest bit; set: lost.
    window: u128,
    row: u32,
}

impl Loss {
    /// The probe with this number came back.
    pub(crate) fn heard(&mut self, number: u64) {
        let next = self.newest.map_or(number, |newest| newest + 1);
        if number < next {
            if let Some(late) = self.open.iter_mut().find(|(open, _)| *open == number) {
                late.1 = true;
            }
            return;
        }
        self.newest = Some(number);
        for missing in next.max(number.saturating_sub(LEAP))..number {
            self.open.push_back((missing, false));
        }
        self.open.push_back((number, true));
        while let Some(&(open, has_come)) = self.open.front()
            && (open + REORDERED <= number)
        {
            self.open.pop_front();
            self.judge(has_come);
        }
    }

    fn judge(&mut self, has_come: bool) {
        self.row = if has_come { 0 } else { self.row + 1 };
        if self.row <= ROW {
            self.window = self.window << 1 | u128::from(!has_come);
        }
    }

    pub(crate) fn is_too_much(&self) -> bool {
        self.window.count_ones() >= TOO_MANY
    }

    pub(crate) fn is_little(&self) -> bool {
        self.window.count_ones() <= FEW
    }

    /// Something was lost lately, or may turn out to be.
    pub(crate) fn is_doubtful(&self) -> bool {
        let is_open = self.open.iter().any(|(_, has_come)| !has_come);
        is_open || self.window.trailing_zeros() < DOUBT
    }
}
