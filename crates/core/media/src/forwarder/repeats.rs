//! Audio frames that came before: bundles repeat them, and each is forwarded once.

use darktower_wire::Code;

/// Numbers that are remembered. More than a second of packets; a bundle goes back
/// three.
const WINDOW: u64 = 64;

/// The newest numbers of an audio track that came.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Group and number.
    newest: Option<(u64, u64)>,
    /// Bit n: the number n before the newest has come.
    seen: u64,
}

/// What a frame's number says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// The newest so far.
    Newest,
    /// One that was missing.
    Missing,
    /// It came before.
    Repeated,
}

impl Repeats {
    pub(super) fn take(&mut self, group: u64, number: u64) -> Result<Number, Code> {
        let Some((newest_group, newest)) = self.newest else {
            return Ok(self.begin(group, number));
        };
        if group > newest_group {
            return Ok(self.begin(group, number));
        }
        if group < newest_group {
            return Err(Code::StaleGroup);
        }
        if number > newest {
            let by = number - newest;
            self.seen = if by < WINDOW { self.seen << by } else { 0 };
            self.seen |= 1;
            self.newest = Some((group, number));
            return Ok(Number::Newest);
        }
        let back = newest - number;
        if back >= WINDOW {
            return Err(Code::StaleGroup);
        }
        let bit = 1 << back;
        if self.seen & bit != 0 {
            return Ok(Number::Repeated);
        }
        self.seen |= bit;
        Ok(Number::Missing)
    }

    fn begin(&mut self, group: u64, number: u64) -> Number {
        self.newest = Some((group, number));
        self.seen = 1;
        Number::Newest
    }
}
