//! Asking for key frames: many reasons, few requests.

use core::time::Duration;

/// Lets one request through at once and folds all others of the next `gap` into
/// one at its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask {
    last: Option<Duration>,
    /// When it was last asked for at once for a reason that others do not serve.
    urgent: Option<Duration>,
    pending: bool,
}

impl Ask {
    /// A reason came up. True: ask now.
    pub(crate) fn wanted(&mut self, now: Duration, gap: Duration) -> bool {
        self.pending = true;
        self.due(now, gap)
    }

    /// A reason came up that no key frame of before can serve: it is folded with others of
    /// its kind alone. True: ask now.
    pub(crate) fn urgently_wanted(&mut self, now: Duration, gap: Duration) -> bool {
        if self.urgent.is_some_and(|last| now < last + gap) {
            return self.wanted(now, gap);
        }
        self.urgent = Some(now);
        self.last = Some(now);
        self.pending = false;
        true
    }

    /// True once, when a folded request is to be made.
    pub(crate) fn due(&mut self, now: Duration, gap: Duration) -> bool {
        let free = self.last.is_none_or(|last| now >= last + gap);
        if !self.pending || !free {
            return false;
        }
        self.pending = false;
        self.last = Some(now);
        true
    }

    /// A key frame came: whatever was pending is satisfied by it.
    pub(crate) fn answered(&mut self) {
        self.pending = false;
    }

    /// When [`Ask::due`] must be called.
    pub(crate) fn deadline(&self, gap: Duration) -> Option<Duration> {
        match (self.pending, self.last) {
            (true, Some(last)) => Some(last + gap),
            (true, None) => Some(Duration::ZERO),
            (false, _) => None,
        }
    }
}
