//! One direction of one connection, from its acknowledgements: how much may be on the
//! way (the window), what may be sent (the estimate), and tests of whether more fits.
//!
//! A congestion controller for media: what is sent comes in bursts and seldom fills the
//! path, and a late frame is worth nothing. So the window follows from the estimate, not
//! the other way round, and delay counts before loss does. Rules of the estimate:
//! `belief`; of tests: `probe`. Reasons and figures: `docs/decisions/congestion-control.md`.

mod belief;
mod loss;
mod patience;
mod probe;
mod round_trip;
mod stretch;
mod upkeep;

use core::time::Duration;

pub(crate) use belief::{Belief, Outcome, Spans};
pub(crate) use loss::Meter;
pub use loss::{Loss, redundancy};
pub use patience::Patience;
use probe::{Prober, STEP_US};
use round_trip::RoundTrip;
pub(crate) use stretch::{Lowest, Micros, Stretch, bps};
pub use upkeep::{Chores, Upkeep};

use crate::Bitrate;

/// A stretch of acknowledgements that is long enough to be judged: twice the packets of
/// sound in it, and one picture.
const STRETCH_US: u64 = 40_000;

/// Acknowledgements further apart than this belong to different bursts: the path was
/// idle between them, and no rate can be taken over it.
const IDLE_US: u64 = 60_000;

/// What may be on the way beyond the estimate's share of an empty path: acknowledgements
/// are late by 25 ms, and a key frame wants to leave in one go. No longer, since it is a
/// queue that sound has to wait in.
const ALLOWANCE_US: u64 = 60_000;

/// A queue longer than this and the jitter that grows as fast as packets arrive may
/// be a path that has become slow: nothing is lost by waiting until that is known.
const BRAKE_US: u64 = 15_000;

/// A path that has become slow drops what its queue does not hold, sound among it, before
/// anybody can know: what was sent just before is sent again for so long, as for this loss.
const ALARM_US: u64 = 500_000;
const ALARM: Loss = Loss::from_thousandths(30);

/// Without any acknowledgement for this long (or three round trips) a path is silent.
const SILENCE_US: u64 = 250_000;

/// While it is, a packet more may leave each time: something fresh that is acknowledged
/// at once when the path is back, long before the next probe of QUIC's own.
const TRICKLE_US: u64 = 50_000;

/// After so much silence the path may be another.
const LOST_US: u64 = 1_000_000;

/// No more is believed of a path because its peer says so: enough for the small pictures of a
/// meeting, and a moment's burst where it is not true.
const HEARSAY_BPS: u64 = 5_000_000;

/// The round trip before any was seen.
const FIRST_ROUND_TRIP_US: u64 = 100_000;

/// Four packets, so that loss detection by packet threshold always works.
const LEAST_WINDOW: u64 = 4 * PACKET;

const PACKET: u64 = 1_200;

/// Bounds of a [`Path`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The estimate before anything is known. All small layers of a meeting fit.
    pub initial: Bitrate,
    /// The estimate is never less: sound.
    pub min: Bitrate,
    /// Nor more.
    pub max: Bitrate,
    /// Bytes on the way before the first acknowledgement: what a newcomer is given first.
    pub initial_window: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial: Bitrate::from_kbps(1_000),
            min: Bitrate::from_kbps(50),
            max: Bitrate::from_kbps(200_000),
            initial_window: 32 * 1024,
        }
    }
}

/// Round-trip times as the transport knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtt {
    /// The smallest ever.
    pub min: Duration,
    /// The smoothed one.
    pub smoothed: Duration,
}

/// One direction of one connection.
#[derive(Debug, Clone)]
pub struct Path {
    belief: Belief,
    prober: Prober,
    loss: Meter,
    in_flight: u64,
    /// When the last acknowledgement came; zero before the first.
    event: Micros,
    heard: bool,
    /// The newest packet acknowledged.
    newest_sent: Micros,
    round_trip: RoundTrip,
    /// When padding may be due again.
    step_at: Micros,
    open: Open,
    /// A queue that was made is let drain while half of what leaves it may follow: by silence it would drain faster, but
    /// sound has to go on, and the key frame of a smaller layer ends a freeze.
    drain: u64,
    /// A queue may be growing: until the next stretch tells, no more is on the way.
    brake: Option<u64>,
    /// Until then packets of sound are taken to be lost.
    alarm_until: Micros,
    /// What was on the way when a silence began or was broken. It may be more than the window: an answer to what was
    /// sent before tells nothing of what was sent meanwhile.
    stuck: u64,
    /// Packets let out in silence, and when the next may go.
    trickle: u64,
    trickle_at: Micros,
    /// What was sent before this and is lost was lost to silence.
    restarted: Micros,
    window: u64,
}

/// The stretch that is being taken.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// Acknowledgement and send time at its beginning.
    from: Micros,
    from_sent: Micros,
    stretch: Stretch,
    /// The smallest delay of a packet, and the same of the newest acknowledgement alone.
    least_us: u64,
    last_us: u64,
}

impl Path {
    /// A path of which nothing is known.
    pub fn new(config: Config, now: Duration) -> Self {
        let [initial, min, max] = [config.initial, config.min, config.max].map(Bitrate::bps);
        Self {
            belief: Belief::new(initial, min, max, Spans::OF_PACKETS),
            prober: Prober::default(),
            loss: Meter::new(now),
            in_flight: 0,
            event: micros(now),
            heard: false,
            newest_sent: 0,
            round_trip: RoundTrip::new(FIRST_ROUND_TRIP_US),
            step_at: 0,
            open: Open::default(),
            drain: 0,
            brake: None,
            alarm_until: 0,
            stuck: 0,
            trickle: 0,
            trickle_at: 0,
            restarted: 0,
            window: config.initial_window,
        }
    }

    /// The peer says, when it opens its session, that another path to it carried so much a
    /// moment ago. It is taken at its word, within bounds: what it was sent there it is sent
    /// here, without a test first. A handshake alone shows nothing that would speak against it.
    pub fn hear_of(&mut self, carried: Bitrate) {
        self.belief.raise(carried.bps().min(HEARSAY_BPS));
    }

    /// The peer of `former` has moved to another network, where this path leads. What was believed before is the start,
    /// within the same bounds as [hearsay](Self::hear_of): less than what is sent would take pictures away, mostly for
    /// nothing, and a queue shows soon where it was too much.
    pub fn follow(&mut self, former: &Self) {
        self.hear_of(former.estimate());
    }

    /// A packet that is to be acknowledged has left.
    pub fn sent(&mut self, now: Duration, bytes: u64) {
        let now = micros(now);
        if self.in_flight == 0 {
            // Silence is counted from the first packet that could be answered.
            self.trickle_at = now + self.silence_us();
        }
        self.in_flight += bytes;
        self.prober.sent(now, bytes);
    }

    /// A packet was acknowledged. Those of one acknowledgement have the same `now`.
    /// `app_limited`: the window was not full when it came.
    pub fn acked(
        &mut self,
        now: Duration,
        sent_at: Duration,
        bytes: u64,
        app_limited: bool,
        rtt: Rtt,
    ) {
        let (now, sent) = (micros(now), micros(sent_at));
        if now != self.event || !self.heard {
            if self.trickle > 0 {
                self.round_trip.resumes(now);
            }
            let told = micros(rtt.smoothed);
            self.round_trip.answered(now, sent, told);
            self.next_event(now, sent);
        }
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.newest_sent = self.newest_sent.max(sent);
        let delay = now.saturating_sub(sent);
        let open = &mut self.open;
        open.stretch.full |= !app_limited;
        open.least_us = open.least_us.min(delay);
        open.last_us = open.last_us.min(delay);
        if now == open.from {
            // What arrived before the stretch's clock began to run.
            open.from_sent = open.from_sent.max(sent);
        } else {
            open.stretch.bytes += bytes;
        }
        if self.drain > 0 {
            self.drain = self.drain.saturating_sub(bytes / 2);
        }
        if self.prober.is_testing() {
            self.prober.arrived(now, sent, bytes, delay);
        }
    }

    /// The acknowledgements of one moment are all told; so many bytes are on the way still. The transport
    /// knows best: it does not tell of every packet what became of it, such as of a lost test of the
    /// largest packet (RFC 8899).
    pub fn remaining(&mut self, bytes: u64) {
        self.in_flight = bytes;
        if self.slows_down() {
            self.close();
            self.set_window(self.event);
        }
    }

    /// Packets are lost, the newest of them sent at `sent_at`, or (`ecn`) routers marked
    /// what they let through. `persistent`: nothing came through for a long time.
    pub fn congested(
        &mut self,
        now: Duration,
        sent_at: Duration,
        lost_bytes: u64,
        ecn: bool,
        persistent: bool,
    ) {
        let (now_us, sent) = (micros(now), micros(sent_at));
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        self.drain = self.drain.saturating_sub(lost_bytes);
        self.stuck = self.stuck.saturating_sub(lost_bytes);
        self.open.stretch.marked += u32::from(ecn);
        if persistent || sent < self.restarted {
            return;
        }
        // A silence that has not ended yet is no loss of the kind that goes on.
        if now_us.saturating_sub(self.event) < self.silence_us() {
            self.open.stretch.lost += lost_bytes;
            // What a full queue drops is no reason to send sound twice.
            if self.belief.queue_us() <= self.belief.threshold_us() {
                self.loss.count(now, 0, lost_bytes);
            }
        }
    }

    /// Bytes that may be on the way.
    pub fn window(&self) -> u64 {
        let window = match self.brake {
            Some(most) => self.window.min(most.max(LEAST_WINDOW)),
            None => self.window.max(self.round_trip.carry(self.belief.bps())),
        };
        window.max(self.drain).max(self.stuck) + self.trickle
    }

    /// What may be sent, as far as is known.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::from_bps(self.belief.bps())
    }

    /// The share that was lost over the last seconds while no queue stood; at the moment in
    /// which a path becomes slow what is about to be.
    pub fn loss(&self) -> Loss {
        let lost = self.loss.loss();
        match self.event < self.alarm_until {
            true => lost.max(ALARM),
            false => lost,
        }
    }

    /// How much longer packets take now than they can: the queue that stands.
    pub fn queue(&self) -> Duration {
        Duration::from_micros(self.belief.queue_us())
    }

    /// Somebody would use so much, if it fitted. A wish that comes too soon after a test
    /// that failed is forgotten: say it again.
    pub fn probe(&mut self, now: Duration, to: Bitrate) {
        let now = micros(now);
        if !self.prober.is_testing() {
            self.prober.begin(now, to.bps(), &self.belief);
            self.step_at = now;
            self.set_window(now);
        }
    }

    /// Bytes of padding to send now, in one datagram; ask again until it says 0. Also to
    /// be asked when [`Path::deadline`] has come.
    pub fn padding(&mut self, now: Duration) -> usize {
        let now = micros(now);
        self.prober
            .judge(now, self.round_trip.get(), &mut self.belief);
        if self.in_flight > 0 && now >= self.trickle_at {
            if self.trickle == 0 {
                self.stuck = self.in_flight;
            }
            self.trickle += PACKET;
            self.trickle_at = now + TRICKLE_US;
            self.prober.restart();
        }
        self.set_window(now);
        let free = self.in_flight < self.window();
        let padding = if free { self.prober.padding(now) } else { 0 };
        if padding == 0 {
            self.step_at = now + STEP_US;
        }
        padding as usize
    }

    /// When [`Path::padding`] is to be asked next.
    pub fn deadline(&self) -> Option<Duration> {
        let silence = (self.in_flight > 0).then_some(self.trickle_at);
        let judge = self.prober.deadline(self.round_trip.get());
        let probing = self.prober.rate(self.step_at).map(|_| self.step_at);
        let at = [silence, judge, probing].into_iter().flatten().min();
        at.map(Duration::from_micros)
    }

    /// Another acknowledgement comes: closes the stretch where it is long enough.
    fn next_event(&mut self, now: Micros, sent: Micros) {
        let silent = now.saturating_sub(self.event);
        if !self.heard || silent > IDLE_US {
            if self.heard && self.trickle > 0 && silent > LOST_US {
                self.restart(now);
            }
            self.brake = None;
            self.begin(now, sent);
        } else if self.is_long_enough() {
            self.close();
        }
        self.open.stretch.acks += 1;
        self.open.last_us = u64::MAX;
        self.heard = true;
        self.event = now;
        self.stuck = match self.trickle {
            0 => 0,
            _ => self.in_flight + 2 * PACKET,
        };
        self.trickle = 0;
        self.trickle_at = now + self.silence_us();
        self.prober
            .judge(now, self.round_trip.get(), &mut self.belief);
        self.set_window(now);
    }

    /// The path is there again after a long silence; three quarters of what was believed are the start.
    fn restart(&mut self, now: Micros) {
        self.belief.restart(75);
        self.prober.restart();
        self.restarted = now;
        self.drain = 0;
        self.brake = None;
    }

    fn begin(&mut self, now: Micros, sent: Micros) {
        self.open = Open {
            from: now,
            from_sent: sent,
            least_us: u64::MAX,
            ..Open::default()
        };
    }

    fn is_long_enough(&self) -> bool {
        self.event - self.open.from >= STRETCH_US
    }

    /// The stretch shows a path that has become slow, and is judged at once: the next acknowledgement, at which others
    /// are, is two large packets away on such a path.
    fn slows_down(&self) -> bool {
        if !self.is_long_enough() {
            return false;
        }
        let taken = self.taken();
        let base = self.belief.base_us().unwrap_or(u64::MAX);
        self.open.last_us.saturating_sub(base) > self.belief.threshold_us()
            && piles_up(&taken)
            && taken.arrival_bps() < self.belief.bps() / 2
    }

    /// The stretch up to the newest acknowledgement.
    fn taken(&self) -> Stretch {
        let open = self.open;
        Stretch {
            arrival_us: self.event - open.from,
            send_us: self.newest_sent.saturating_sub(open.from_sent),
            delay_us: open.least_us,
            offered: open.stretch.bytes + open.stretch.lost,
            ..open.stretch
        }
    }

    /// Judges the stretch up to the newest acknowledgement; the next begins there.
    fn close(&mut self) {
        let (at, stretch) = (self.event, self.taken());
        let arrived = stretch.bytes;
        self.loss.count(Duration::from_micros(at), arrived, 0);
        let (jitter_us, believed) = (self.belief.jitter_us(), self.belief.bps());
        if self.belief.observe(at, stretch) == Outcome::Cut {
            self.drain = self.in_flight;
        }
        let waits = self.belief.queue_us() > BRAKE_US + jitter_us;
        let piles_up = waits && piles_up(&stretch);
        self.brake = piles_up.then_some(self.in_flight);
        if piles_up && stretch.arrival_bps() < believed / 2 {
            self.alarm_until = at + ALARM_US;
        }
        if !self.belief.is_calm(at) || self.prober.is_hopeless(&self.belief) {
            self.prober.abort(at);
        }
        self.begin(at, self.newest_sent);
    }

    /// The estimate's share of an empty path, and the allowance.
    fn set_window(&mut self, now: Micros) {
        let Some(base) = self.belief.base_us() else {
            return;
        };
        let rate = self.belief.bps().max(self.prober.rate(now).unwrap_or(0));
        let others = self.belief.tolerated_us() + self.belief.jitter_us() / 2;
        let time = base + ALLOWANCE_US + others;
        let window = (rate / 8).saturating_mul(time) / 1_000_000;
        self.window = window.max(LEAST_WINDOW);
        if self.drain <= self.window {
            self.drain = 0;
        }
    }

    fn silence_us(&self) -> u64 {
        SILENCE_US.max(3 * self.round_trip.get())
    }
}

/// It arrived at less than half the pace at which it was sent.
fn piles_up(stretch: &Stretch) -> bool {
    stretch.arrival_us > stretch.send_us * 2
}

/// Cheaper than `Duration::as_micros`, which is of 128 bits.
pub(crate) fn micros(time: Duration) -> Micros {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}
