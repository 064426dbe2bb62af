//! Whether a media handler answers: when to call it, when to give a call up, when its
//! meetings should go elsewhere.

use core::time::Duration;

/// Between two heartbeats on a call.
pub const HEARTBEAT: Duration = Duration::from_millis(100);

/// A handler silent for this long, four heartbeats, is called anew. What a participant misses until its meeting is
/// elsewhere is this, the call that is not taken, and the way to the other handler: below a second in all.
pub const SILENT: Duration = Duration::from_millis(450);

/// One that does not take the call by then is suspect: its meetings go elsewhere.
pub const CALL_WITHIN: Duration = Duration::from_millis(300);

/// Between two calls that were not taken.
pub const RETRY: Duration = Duration::from_millis(200);

/// What a controller knows of one handler from its calls to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watch {
    heard: Duration,
    is_up: bool,
    is_suspect: bool,
}

/// What follows the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The next call comes after this long.
    pub after: Duration,
    /// The handler is suspect from now on, and was not before: meetings on it look again.
    pub is_newly_suspect: bool,
}

impl Watch {
    /// It took the call: everything is to be said to it.
    pub fn taken(&mut self, now: Duration) {
        *self = Self {
            heard: now,
            is_up: true,
            is_suspect: false,
        };
    }

    /// Something came from it.
    pub fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// Whether the call stands and has been silent for too long.
    pub fn is_silent(&self, now: Duration) -> bool {
        self.is_up && now > self.heard + SILENT
    }

    /// Whether calls to it fail.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// The call is over, or was not taken. After one that stood, the next comes at once: it
    /// may be there, and only the connection gone.
    pub fn ended(&mut self) -> Again {
        if core::mem::take(&mut self.is_up) {
            return Again {
                after: Duration::ZERO,
                is_newly_suspect: false,
            };
        }
        let was_suspect = core::mem::replace(&mut self.is_suspect, true);
        Again {
            after: RETRY,
            is_newly_suspect: !was_suspect,
        }
    }
}
