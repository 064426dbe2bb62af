//! What may leave while nothing is heard, for connections whose congestion control is not a [`Path`](super::Path).

use core::time::Duration;

use super::round_trip::RoundTrip;
use super::{Micros, PACKET, SILENCE_US, TRICKLE_US, micros};

/// QUIC's own probes come ever more rarely, up to as late after an outage as it lasted (RFC 9002 §6.2.1), and behind a
/// full window nothing else leaves. This opens it by a packet now and then: something fresh, whose answer comes at once
/// when the path is back.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The last acknowledgement, or the first packet that waits for one.
    since: Micros,
    is_waiting: bool,
    round_trip: RoundTrip,
    /// What was on the way at the last acknowledgement: more than the window where that broke a silence, for then it is
    /// of what was sent before, and nothing is known of what was sent meanwhile.
    stuck: u64,
    /// The last acknowledgement broke a silence.
    resumes: bool,
    /// Sent since the last acknowledgement.
    sent: u64,
}

impl Patience {
    /// Of a connection that begins at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            since: micros(now),
            is_waiting: false,
            round_trip: RoundTrip::default(),
            stuck: 0,
            resumes: false,
            sent: 0,
        }
    }

    /// So many bytes have left.
    pub fn sent(&mut self, now: Duration, bytes: u64) {
        if !self.is_waiting {
            self.is_waiting = true;
            self.since = micros(now);
        }
        self.sent += bytes;
    }

    /// A packet was acknowledged that was sent at `sent`; the round trip as the transport has it by now.
    pub fn acked(&mut self, now: Duration, sent: Duration, rtt: Duration) {
        let now = micros(now);
        if self.trickle(now) > 0 {
            self.round_trip.resumes(now);
        }
        self.round_trip.answered(now, micros(sent), micros(rtt));
    }

    /// The acknowledgements of one moment are all told; so many bytes are on the way still, with those that will turn out to be lost.
    pub fn heard(&mut self, now: Duration, in_flight: u64) {
        self.resumes = self.trickle(micros(now)) > 0;
        self.stuck = in_flight;
        self.since = micros(now);
        self.is_waiting = in_flight > 0;
        self.sent = 0;
    }

    /// So many bytes are lost.
    pub fn lost(&mut self, bytes: u64) {
        self.stuck = self.stuck.saturating_sub(bytes);
    }

    /// The bytes that may be on the way where the congestion control alone would let `window` be.
    pub fn window(&self, now: Duration, window: u64) -> u64 {
        // What waits for an answer may be an acknowledgement of our own, which gets none: whoever says little after
        // that is let say little.
        let window = self.round_trip.spread(window);
        let open = self.trickle(micros(now)).min(self.sent + 2 * PACKET);
        match (open, self.resumes) {
            (0, false) => window,
            (0, true) => window.max(self.stuck + 2 * PACKET),
            (open, _) => window.max(self.stuck) + open,
        }
    }

    fn trickle(&self, now: Micros) -> u64 {
        let from = self.since + SILENCE_US.max(3 * self.round_trip.get());
        match now.checked_sub(from).filter(|_| self.is_waiting) {
            None => 0,
            Some(longer) => PACKET * (1 + longer / TRICKLE_US),
        }
    }
}
