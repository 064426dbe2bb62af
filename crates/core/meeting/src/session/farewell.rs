//! Leaving where the connection does not stand: the seat is taken again only to be given up, so that nobody waits for
//! one who will not come back.

use core::time::Duration;

use bytes::Bytes;
use darktower_wire::signal::{self, client_message::Body};
use darktower_wire::{Code, Secret};

use super::Session;
use super::api::{Phase, What};

/// How long an ordinary leave waits for its answer.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// For so long it is tried to say it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A leave that nobody has heard of yet.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    pub(super) resume: Secret<Bytes>,
    pub(super) until: Duration,
}

impl Session {
    pub(super) fn leave(&mut self, now: Duration) {
        let resume = self.state.resume_token.clone();
        let until = now + PATIENCE;
        self.farewell = resume.map(|resume| Farewell { resume, until });
        // A join that is not answered yet may take a seat: what is said after it gives that up.
        let has_seat = self.farewell.is_some() || self.state.phase == Phase::Joining;
        let says = has_seat && self.connection.is_up();
        if says {
            self.say_leave();
            self.leave_by = Some(now + LEAVE_PATIENCE);
        }
        self.finish(Phase::Left, None, says || self.farewell.is_some());
    }

    /// The answer to a join comes to one who is leaving: where the leave is not heard, this is what the seat is given up
    /// with.
    pub(super) fn joined_too_late(&mut self, now: Duration, resume: Bytes) {
        if self.leave_by.is_some() && self.farewell.is_none() {
            self.farewell = Some(Farewell {
                resume: resume.into(),
                until: now + PATIENCE,
            });
        }
    }

    /// On a new connection: takes the seat, and gives it up.
    pub(super) fn leave_again(&mut self, now: Duration) {
        self.asked.clear();
        self.say(Body::Resume(self.held.resume()));
        self.say_leave();
        self.leave_by = Some(now + self.config.connect_timeout);
    }

    fn say_leave(&mut self) {
        let request = self.next_request;
        self.next_request += 1;
        self.send(request, Body::Leave(signal::Leave {}));
        let (what, again) = (What::Leave, None);
        self.asked.insert(request, super::Asked { what, again });
    }

    /// The connection is gone before anybody heard of the leave.
    pub(super) fn unheard(&mut self, now: Duration, code: Option<Code>) {
        self.leave_by = None;
        if code.is_some_and(|code| code == Code::Left || !code.is_retryable()) {
            self.farewell = None;
        }
        match self.farewell {
            Some(_) => self.connection.lost(now, &self.config),
            None => self.connection.stop(),
        }
    }

    pub(super) fn work_on_farewell(&mut self, now: Duration) {
        if self.farewell.as_ref().is_some_and(|it| now >= it.until) {
            return self.finish(Phase::Left, None, false);
        }
        if self.leave_by.is_some_and(|at| now >= at) {
            self.disconnect(Code::ConnectionLost);
            self.unheard(now, None);
        }
    }
}
