//! Whether media comes through a handler, by what comes back of what was sent through it.

use core::time::Duration;
use std::collections::VecDeque;

use crate::Health;
use crate::loss::Loss;
use crate::spell::Spell;

/// Between two probes that go by both ways.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Between two datagrams: enough to see within half a second that some are lost ...
const DATAGRAM_EVERY: Duration = Duration::from_millis(100);
/// ... and while some are, so many that how much is lost is known 1.3 s later.
const CLOSER: Duration = Duration::from_millis(10);
/// A probe by both ways that has not come back by then, nor any later one, means that nothing comes through: a handler
/// is out of rotation 2.5 s after its last packet at the latest. One lost packet is no sign.
const LATE: Duration = Duration::from_millis(1500);
/// So long nothing at all comes back of a handler through which it did, neither of so many datagrams nor of a stream: it is
/// gone. Of one that loses a fifth each way so many are lost once in a thousand times, and it is left anyway;
/// whoever was asleep itself has sent fewer.
const QUIET: Duration = Duration::from_millis(700);
const QUIET_DATAGRAMS: u32 = 7;
/// Whoever looks so much later than it meant to has been asleep itself: what came meanwhile is still to be heard.
const ASLEEP: Duration = Duration::from_millis(250);
/// So much time is left for that.
const TO_HEAR: Duration = Duration::from_millis(250);
/// Probes that are remembered: more are never out before it counts as deaf.
const MOST_OUT: usize = 8;

/// By which way a part of a probe came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As sound does.
    Datagram,
    /// As pictures do.
    Stream,
}

/// What is to be sent: a datagram with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Above 0, and growing by 1.
    pub number: u64,
    /// A stream with the same number, too.
    pub stream: bool,
}

/// One handler's media plane as one prober sees it. A process that answers its calls and forwards nothing is of no use,
/// so nothing but forwarded bytes counts: nothing that comes back makes it [`Health::Silent`], too little
/// [`Health::Lossy`]. A stream comes late where packets are lost, so it is no measure of loss, and datagrams keep it
/// company: any that comes back later speaks for the one that was lost.
#[derive(Debug, Clone, Default)]
pub struct Plane {
    number: u64,
    due: Duration,
    stream_due: Duration,
    /// Probes by both ways.
    out: VecDeque<(u64, Duration)>,
    heard: [u64; 2],
    /// Whether anything came back by the present sessions; what went out since the last that did, and from when on.
    has_heard: bool,
    unanswered: u32,
    unanswered_since: Duration,
    loss: Loss,
    deaf: Spell,
    lossy: Spell,
}

impl Plane {
    /// When the next probe is to go out.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// What probes are sent by is new: the next one goes at once and by both ways.
    pub fn opened(&mut self, now: Duration) {
        self.due = now;
        self.stream_due = now;
        self.has_heard = false;
    }

    /// The next probe: it is out from now on, also where it cannot be sent.
    pub fn probe(&mut self, now: Duration) -> Probe {
        self.review(now);
        self.number += 1;
        if self.unanswered == 0 {
            self.unanswered_since = now;
        }
        self.unanswered += 1;
        let stream = now >= self.stream_due;
        if stream {
            self.stream_due = now + PROBE_EVERY;
            if self.deaf.lasts {
                if !self.out.is_empty() {
                    self.deaf.beat(now, false);
                }
                self.out.clear();
            }
            self.lossy.beat(now, self.loss.is_little());
            if self.out.len() == MOST_OUT {
                self.out.pop_back();
            }
            self.out.push_back((self.number, now));
        }
        self.due = now + self.every();
        Probe {
            number: self.number,
            stream,
        }
    }

    fn every(&self) -> Duration {
        let closer = self.lossy.lasts || self.loss.is_doubtful();
        match closer && !self.deaf.lasts {
            true => CLOSER,
            false => DATAGRAM_EVERY,
        }
    }

    /// The part of a probe that went by this way came back.
    pub fn heard(&mut self, now: Duration, way: Way, number: u64) {
        self.review(now);
        let at = match way {
            Way::Datagram => 0,
            Way::Stream => 1,
        };
        self.heard[at] = self.heard[at].max(number);
        self.has_heard = true;
        self.unanswered = 0;
        let both = self.heard[0].min(self.heard[1]);
        let before = self.out.len();
        self.out.retain(|(number, _)| *number > both);
        if self.out.len() < before {
            self.deaf.beat(now, true);
        }
        if way == Way::Datagram {
            self.loss.heard(number);
            if self.loss.is_too_much() {
                self.lossy.begin(now);
            }
            // Doubt does not wait for its turn.
            self.due = self.due.min(now + self.every());
        }
    }

    /// Looks at the clock.
    pub fn review(&mut self, now: Duration) {
        if self.is_quiet(now) {
            return self.deaf.begin(now);
        }
        let Some(until) = self.deadline().filter(|until| now >= *until) else {
            return;
        };
        if now > until + ASLEEP {
            let missed = now + TO_HEAR - until;
            self.out.iter_mut().for_each(|(_, sent)| *sent += missed);
            return;
        }
        self.deaf.begin(now);
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.has_heard && self.unanswered >= QUIET_DATAGRAMS && now >= self.unanswered_since + QUIET
    }

    /// When [`Self::review`] would find something new.
    pub fn deadline(&self) -> Option<Duration> {
        let oldest = self.out.front().filter(|_| !self.deaf.lasts);
        oldest.map(|(_, sent)| *sent + LATE)
    }

    /// How it is: also while it is not reliably well again yet.
    pub fn health(&self) -> Health {
        match (self.deaf.lasts, self.lossy.lasts) {
            (true, _) => Health::Silent,
            (false, true) => Health::Lossy,
            (false, false) => Health::Sound,
        }
    }
}
