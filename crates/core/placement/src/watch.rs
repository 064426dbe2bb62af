//! Whether a media handler answers: when to call it, when to give a call up, when its
//! meetings should go elsewhere.

use core::time::Duration;

use crate::Health;
use crate::spell::Spell;

/// Between two heartbeats on a call.
pub const HEARTBEAT: Duration = Duration::from_millis(100);

/// A handler silent for this long, four heartbeats, is called anew. What a participant misses until its meeting is
/// elsewhere is this, the call that is not taken, and the way to the other handler: below a second in all.
pub const SILENT: Duration = Duration::from_millis(450);

/// One that does not take the call by then is not to be reached: nothing new comes to it, and its meetings go
/// elsewhere, at once where no media comes through it either.
pub const CALL_WITHIN: Duration = Duration::from_millis(300);

/// Between two calls that were not taken.
pub const RETRY: Duration = Duration::from_millis(200);

/// One through which media comes is left so long after it was last heard: it is the way to it that fails. Whoever is in
/// a meeting there misses nothing but newcomers meanwhile, while moving costs everybody a moment, and a way that heals
/// does so within a second or two. The meetings are elsewhere within 3 s, one more call included.
pub const LEAVE_AFTER: Duration = Duration::from_secs(2);

/// Media comes through a handler if some did so lately: a datagram every 100 ms is looped through it, so one that is dead
/// is told from one that is not to be reached by the time that a call has not been taken.
const FLOWS: Duration = Duration::from_millis(400);

/// Between two looks whether it still answers, until it counts as well again.
const BEAT: Duration = Duration::from_secs(1);

/// What a controller knows of one handler from its calls to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watch {
    heard: Duration,
    is_up: bool,
    /// Media last came through it.
    forwarded: Option<Duration>,
    spell: Spell,
    beat_due: Duration,
    is_given_up: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing came in time.
    Silent,
    /// Somebody said so: nobody listens there any more.
    Refused,
}

/// What follows the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The next call comes after this long.
    pub after: Duration,
    /// Its health is worse than before: meetings on it look again.
    pub is_worse: bool,
}

impl Watch {
    /// It took the call: everything is to be said to it. True: it is better than before.
    pub fn taken(&mut self, now: Duration) -> bool {
        self.heard = now;
        self.is_up = true;
        self.is_given_up = false;
        self.beat_due = now + BEAT;
        self.spell.lasts
    }

    /// Something came from it. True: it is well again from now on.
    pub fn heard(&mut self, now: Duration) -> bool {
        self.heard = now;
        if !self.is_up || now < self.beat_due {
            return false;
        }
        self.beat_due = now + BEAT;
        let was_ill = self.spell.lasts;
        self.spell.beat(now, true);
        was_ill && !self.spell.lasts
    }

    /// Media came through it.
    pub fn forwarded(&mut self, now: Duration) {
        self.forwarded = Some(now);
    }

    /// Whether the call stands and has been silent for too long.
    pub fn is_silent(&self, now: Duration) -> bool {
        self.is_up && now > self.heard + SILENT
    }

    /// How it is, by the calls to it. Whom calls did not reach is well again when it has taken one and answered for
    /// five seconds, longer each time that it fails again.
    pub fn health(&self) -> Health {
        match (self.spell.lasts, self.is_up, self.is_given_up) {
            (false, ..) => Health::Sound,
            (true, true, _) => Health::Shaky,
            (true, false, false) => Health::Cut,
            (true, false, true) => Health::Silent,
        }
    }

    /// The call is over, or was not taken. After one that stood, the next comes at once: it
    /// may be there, and only the connection gone.
    pub fn ended(&mut self, now: Duration, end: End) -> Again {
        if core::mem::take(&mut self.is_up) {
            return Again {
                after: Duration::ZERO,
                is_worse: false,
            };
        }
        let before = self.health();
        self.spell.begin(now);
        self.spell.beat(now, false);
        let flows = self.forwarded.is_some_and(|last| now < last + FLOWS);
        let is_waited_for = flows && end == End::Silent && now < self.heard + LEAVE_AFTER;
        self.is_given_up |= !is_waited_for;
        Again {
            after: RETRY,
            is_worse: self.health() > before,
        }
    }
}
