//! A node's wall clock beside the one that all nodes share.

/// Tokens are signed by one node's clock and judged by another's, which bear five seconds: two nodes that are each half of
/// that apart from the shared clock are so far apart from one another.
const APART_MS: u64 = 2_500;
/// Together again, so that nobody is told again and again.
const TOGETHER_MS: u64 = 1_250;
/// An answer that took longer than this shows nothing: the clock was read at any time in it.
const LONGEST_ASK_MS: u64 = 1_000;

/// What is new about the own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It is apart from the shared one: ahead of it by so many milliseconds, or behind.
    Apart(i64),
    /// It was apart and is not any more.
    Together,
}

/// What a node knows of its own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skew {
    ahead_ms: i64,
    is_apart: bool,
}

impl Skew {
    /// The shared clock says `shared_ms`, as it was asked and answered at these times of the own one; all unix
    /// milliseconds. What is to be told of it, once each time that it changes.
    pub fn compare(&mut self, asked_ms: u64, shared_ms: u64, answered_ms: u64) -> Option<Clock> {
        let took_ms = answered_ms.checked_sub(asked_ms)?;
        if took_ms > LONGEST_ASK_MS {
            return None;
        }
        let own_ms = asked_ms + took_ms / 2;
        let apart_ms = own_ms.abs_diff(shared_ms);
        let ahead_ms = i64::try_from(apart_ms).unwrap_or(i64::MAX);
        self.ahead_ms = if own_ms < shared_ms {
            -ahead_ms
        } else {
            ahead_ms
        };
        // Somewhere in the time that the answer took.
        let surely_ms = apart_ms.saturating_sub(took_ms / 2);
        match self.is_apart {
            false if surely_ms > APART_MS => {
                self.is_apart = true;
                Some(Clock::Apart(self.ahead_ms))
            }
            true if apart_ms < TOGETHER_MS => {
                self.is_apart = false;
                Some(Clock::Together)
            }
            _ => None,
        }
    }

    /// So far the own clock is ahead of the shared one, in milliseconds; below zero, behind.
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }
}
