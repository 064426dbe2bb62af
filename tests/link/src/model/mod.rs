//! One direction of a link, pure: packets go in with the time, and come out when they are due.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::conditions::{Conditions, Loss, Queue};
use crate::random::Random;

#[cfg(test)]
mod marks_tests;
#[cfg(test)]
mod tests;

/// What the link may hold at most, whatever the conditions say, so that a test cannot eat the machine.
const MOST_HELD_BYTES: u64 = 64 << 20;

/// What a stream may have on the way: stands for the window a TCP sender would keep.
const STREAM_WINDOW_BYTES: u64 = 4 << 20;

/// The least a lost piece of a stream is late: a sender learns of a loss from what comes after it.
const LEAST_RECOVERY: Duration = Duration::from_millis(10);

const NANOS: u128 = 1_000_000_000;

/// What the bytes on the link are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// Each packet stands alone and may vanish.
    Datagram,
    /// A reliable byte stream, retransmission included: nothing vanishes or is reordered. A lost piece
    /// comes one round trip late (taken as twice this direction's delay and jitter, at least 10 ms) and
    /// holds up what follows; a blackout holds everything; a full queue says so through
    /// [`Link::has_room`] and drops nothing.
    Stream,
}

/// What became of the packets. At any time `sent + duplicated` equals `delivered`, the three kinds of
/// drops and [`Link::waiting`] taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets handed to the link.
    pub sent: u64,
    /// Bytes handed to the link.
    pub sent_bytes: u64,
    /// Packets that came out.
    pub delivered: u64,
    /// Bytes that came out.
    pub delivered_bytes: u64,
    /// Copies the link made.
    pub duplicated: u64,
    /// Dropped by chance.
    pub lost: u64,
    /// Pieces of a stream that chance would have dropped: late, and delivered all the same.
    pub recovered: u64,
    /// Dropped because the queue was full, or longer than [`Conditions::mark_above`] and it could not be marked.
    pub overflowed: u64,
    /// Marked because the queue was longer than [`Conditions::mark_above`].
    pub marked: u64,
    /// Dropped by a blackout.
    pub blacked_out: u64,
}

impl Counters {
    /// Adds another link's counters to these.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.duplicated += other.duplicated;
        self.lost += other.lost;
        self.recovered += other.recovered;
        self.overflowed += other.overflowed;
        self.marked += other.marked;
        self.blacked_out += other.blacked_out;
    }
}

struct Queued<P> {
    bytes: u64,
    payload: P,
    /// Which part of the jitter it drew, 0 to 1.
    jitter: f64,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    InOrder,
    /// Held back while others overtake.
    Overtaken,
    /// A stream's lost piece, late by its retransmission.
    Recovered,
}

struct Flying<P> {
    bytes: u64,
    payload: P,
}

/// One direction of a link. Time is a [`Duration`] since any zero the caller likes and should not go
/// backwards (where it does, the link stays at the latest time it has seen).
///
/// A packet passes three stations: the dice when it is sent, the queue that the rate empties, and the
/// flight that delay and jitter make. Loss comes before the queue, so a lost packet takes no rate.
pub struct Link<P> {
    discipline: Discipline,
    conditions: Conditions,
    changes: BTreeMap<(Duration, u64), Conditions>,
    clock: Duration,
    queue: VecDeque<Queued<P>>,
    queued_bits: u64,
    /// What of the queue's head was still to be sent at `head_since`.
    head_bits: u64,
    head_since: Duration,
    /// By arrival, then by departure: what falls on one instant keeps its order.
    flight: BTreeMap<(Duration, u64), Flying<P>>,
    flight_bytes: u64,
    latest_due: Duration,
    departures: u64,
    dark_since: Option<Duration>,
    in_bad_state: bool,
    loss_dice: Random,
    jitter_dice: Random,
    duplicate_dice: Random,
    reorder_dice: Random,
    counters: Counters,
    mark: fn(&mut P) -> bool,
}

impl<P: Clone> Link<P> {
    /// A link of these conditions. Equal seeds and equal calls give equal outcomes.
    #[must_use]
    pub fn new(discipline: Discipline, conditions: Conditions, seed: u64) -> Self {
        Self {
            discipline,
            conditions,
            changes: BTreeMap::new(),
            clock: Duration::ZERO,
            queue: VecDeque::new(),
            queued_bits: 0,
            head_bits: 0,
            head_since: Duration::ZERO,
            flight: BTreeMap::new(),
            flight_bytes: 0,
            latest_due: Duration::ZERO,
            departures: 0,
            dark_since: conditions.blackout.then_some(Duration::ZERO),
            in_bad_state: false,
            loss_dice: Random::new(seed, 1),
            jitter_dice: Random::new(seed, 2),
            duplicate_dice: Random::new(seed, 3),
            reorder_dice: Random::new(seed, 4),
            counters: Counters::default(),
            mark: |_| false,
        }
    }

    /// With packets that can be marked: `mark` marks one as having met congestion (CE, RFC 3168) where its sender says
    /// that it understands that, and says whether.
    #[must_use]
    pub fn with_marks(self, mark: fn(&mut P) -> bool) -> Self {
        Self { mark, ..self }
    }

    /// Hands a packet of `bytes` to the link. What becomes of it only the other end and the counters tell.
    pub fn send(&mut self, now: Duration, bytes: usize, payload: P) {
        let now = self.advance(now);
        let bytes = bytes as u64;
        self.counters.sent += 1;
        self.counters.sent_bytes += bytes;
        // All dice fall for every packet, so that changing one condition leaves the other outcomes alone.
        let lost = self.loses();
        let jitter = self.jitter_dice.unit();
        let twice = self.duplicate_dice.unit() < self.conditions.duplicate;
        let overtaken = self.reorder_dice.unit() < self.conditions.reorder;
        if self.discipline == Discipline::Stream {
            self.counters.recovered += u64::from(lost);
            let fate = if lost { Fate::Recovered } else { Fate::InOrder };
            self.enqueue(
                now,
                Queued {
                    bytes,
                    payload,
                    jitter,
                    fate,
                },
            );
        } else if self.dark_since.is_some() {
            self.counters.blacked_out += 1;
        } else if lost {
            self.counters.lost += 1;
        } else {
            let fate = if overtaken {
                Fate::Overtaken
            } else {
                Fate::InOrder
            };
            if twice {
                self.counters.duplicated += 1;
                self.enqueue_or_drop(
                    now,
                    Queued {
                        bytes,
                        payload: payload.clone(),
                        jitter,
                        fate,
                    },
                );
            }
            self.enqueue_or_drop(
                now,
                Queued {
                    bytes,
                    payload,
                    jitter,
                    fate,
                },
            );
        }
    }

    /// The next packet that has arrived by `now`. Call until `None`.
    pub fn poll(&mut self, now: Duration) -> Option<P> {
        let now = self.advance(now);
        let entry = self.flight.first_entry()?;
        if entry.key().0 > self.dark_since.map_or(now, |since| since.min(now)) {
            return None;
        }
        let arrived = entry.remove();
        self.flight_bytes -= arrived.bytes;
        self.counters.delivered += 1;
        self.counters.delivered_bytes += arrived.bytes;
        Some(arrived.payload)
    }

    /// The earliest time at which [`Self::poll`] may have something, or a scheduled change is due.
    /// `None`: not before something is sent or set.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let in_flight = self.flight.keys().next().map(|key| key.0);
        let in_flight = in_flight.filter(|due| self.dark_since.is_none_or(|since| *due <= since));
        let in_queue = self
            .head_done()
            .zip(self.queue.front())
            .map(|(done, head)| match head.fate {
                Fate::InOrder => self.due(done, head).max(self.latest_due),
                // What follows a packet that is held back may overtake it.
                Fate::Overtaken | Fate::Recovered => done.saturating_add(self.conditions.delay),
            });
        let change = self.changes.keys().next().map(|key| key.0);
        [in_flight, in_queue, change].into_iter().flatten().min()
    }

    /// When the packet at the head of the queue will have left it; `None` if none waits or the link is dark.
    /// A stream without room has room again no later than after some of these.
    #[must_use]
    pub fn departure(&self) -> Option<Duration> {
        self.head_done()
    }

    /// Whether a stream's sender may go on. Always true for datagrams, which are dropped instead.
    pub fn has_room(&mut self, now: Duration) -> bool {
        let now = self.advance(now);
        self.discipline == Discipline::Datagram
            || (self.held_bytes() < STREAM_WINDOW_BYTES
                && match self.conditions.queue {
                    Queue::Bytes(limit) => self.waiting_bits(now) / 8 < limit.max(1),
                    Queue::Time(limit) => {
                        self.queue.is_empty() || self.transmission(self.waiting_bits(now)) < limit
                    }
                })
    }

    /// Changes the conditions from `now` on. What is on the way keeps its arrival; what waits in the queue
    /// gets the new rate and delay.
    pub fn set(&mut self, now: Duration, conditions: Conditions) {
        let now = self.advance(now);
        self.apply(now, conditions);
    }

    /// Changes the conditions at a time to come, exactly then however late the link is polled. Changes
    /// for the same time are made in the order they were scheduled.
    pub fn schedule(&mut self, at: Duration, conditions: Conditions) {
        let order = self.changes.range((at, 0)..=(at, u64::MAX)).count() as u64;
        self.changes.insert((at, order), conditions);
    }

    /// The conditions in force.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many packets are in the queue or on the way.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        (self.queue.len() + self.flight.len()) as u64
    }

    fn advance(&mut self, now: Duration) -> Duration {
        let now = now.max(self.clock);
        while let Some(change) = self.changes.first_entry() {
            if change.key().0 > now {
                break;
            }
            let ((at, _), conditions) = change.remove_entry();
            self.apply(at.max(self.clock), conditions);
        }
        self.drain(now);
        self.clock = now;
        now
    }

    /// Lets every packet whose last bit has left by `now` take off, each at its own instant.
    fn drain(&mut self, now: Duration) {
        while let Some(done) = self.head_done().filter(|done| *done <= now) {
            let Some(packet) = self.queue.pop_front() else {
                return;
            };
            self.queued_bits -= packet.bytes * 8;
            self.head_since = done;
            self.head_bits = self.queue.front().map_or(0, |next| next.bytes * 8);
            self.take_off(done, packet);
        }
    }

    fn apply(&mut self, at: Duration, conditions: Conditions) {
        self.drain(at);
        self.head_bits = self.head_bits_left(at);
        self.head_since = at;
        match (self.dark_since, conditions.blackout) {
            (None, true) => {
                self.dark_since = Some(at);
                if self.discipline == Discipline::Datagram {
                    self.drop_all_after(at);
                }
            }
            (Some(since), false) => {
                self.dark_since = None;
                self.restart_flight(since, at.saturating_add(conditions.delay));
            }
            _ => {}
        }
        self.conditions = conditions;
        self.drain(at);
        self.clock = at;
    }

    fn drop_all_after(&mut self, at: Duration) {
        let cut = self.flight.split_off(&(at, u64::MAX));
        self.counters.blacked_out += (cut.len() + self.queue.len()) as u64;
        self.flight_bytes -= cut.values().map(|flying| flying.bytes).sum::<u64>();
        self.queue.clear();
        self.queued_bits = 0;
        self.head_bits = 0;
        self.latest_due = at;
    }

    /// After a blackout a stream sends again what was on the way.
    fn restart_flight(&mut self, since: Duration, earliest: Duration) {
        let held = self.flight.split_off(&(since, u64::MAX));
        for ((due, order), flying) in held {
            let due = due.max(earliest);
            self.latest_due = self.latest_due.max(due);
            self.flight.insert((due, order), flying);
        }
    }

    fn loses(&mut self) -> bool {
        let turn = self.loss_dice.unit();
        let die = self.loss_dice.unit();
        match self.conditions.loss {
            Loss::None => false,
            Loss::Random(chance) => die < chance,
            Loss::Burst {
                enter,
                leave,
                in_good,
                in_bad,
            } => {
                let turns = turn < if self.in_bad_state { leave } else { enter };
                self.in_bad_state ^= turns;
                die < if self.in_bad_state { in_bad } else { in_good }
            }
        }
    }

    fn enqueue_or_drop(&mut self, now: Duration, mut packet: Queued<P>) {
        let waits = self.transmission(self.waiting_bits(now));
        let full = !self.queue.is_empty()
            && match self.conditions.queue {
                Queue::Bytes(limit) => self.waiting_bits(now).div_ceil(8) + packet.bytes > limit,
                Queue::Time(limit) => waits > limit,
            };
        let long = self
            .conditions
            .mark_above
            .is_some_and(|above| waits > above);
        if full || self.held_bytes() + packet.bytes > MOST_HELD_BYTES {
            self.counters.overflowed += 1;
        } else if !long {
            self.enqueue(now, packet);
        } else if (self.mark)(&mut packet.payload) {
            self.counters.marked += 1;
            self.enqueue(now, packet);
        } else {
            self.counters.overflowed += 1;
        }
    }

    fn enqueue(&mut self, now: Duration, packet: Queued<P>) {
        if self.queue.is_empty() {
            self.head_bits = packet.bytes * 8;
            self.head_since = now;
        }
        self.queued_bits += packet.bytes * 8;
        self.queue.push_back(packet);
        self.drain(now);
    }

    fn take_off(&mut self, at: Duration, packet: Queued<P>) {
        let due = self.due(at, &packet).max(self.latest_due);
        let due = if packet.fate == Fate::Overtaken {
            due.saturating_add(self.conditions.reorder_by)
        } else {
            self.latest_due = due;
            due
        };
        self.departures += 1;
        self.flight_bytes += packet.bytes;
        let flying = Flying {
            bytes: packet.bytes,
            payload: packet.payload,
        };
        self.flight.insert((due, self.departures), flying);
    }

    fn due(&self, departure: Duration, packet: &Queued<P>) -> Duration {
        let jitter = self.conditions.jitter.mul_f64(packet.jitter);
        let way = self.conditions.delay.saturating_add(jitter);
        let recovery = if packet.fate == Fate::Recovered {
            self.conditions
                .delay
                .saturating_add(self.conditions.jitter)
                .saturating_mul(2)
                .max(LEAST_RECOVERY)
        } else {
            Duration::ZERO
        };
        departure.saturating_add(way).saturating_add(recovery)
    }

    fn head_done(&self) -> Option<Duration> {
        if self.queue.is_empty() || self.dark_since.is_some() {
            return None;
        }
        Some(self.head_since + self.transmission(self.head_bits))
    }

    fn head_bits_left(&self, now: Duration) -> u64 {
        if self.dark_since.is_some() {
            return self.head_bits;
        }
        let Some(rate) = self.conditions.rate_bps else {
            return self.head_bits;
        };
        let elapsed = now.saturating_sub(self.head_since).as_nanos();
        let sent = elapsed * u128::from(rate.max(1)) / NANOS;
        self.head_bits
            .saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX))
    }

    fn waiting_bits(&self, now: Duration) -> u64 {
        let whole_head = self.queue.front().map_or(0, |head| head.bytes * 8);
        self.queued_bits - whole_head + self.head_bits_left(now).min(whole_head)
    }

    fn held_bytes(&self) -> u64 {
        self.queued_bits / 8 + self.flight_bytes
    }

    /// How long these bits take at the rate in force, rounded up: never early.
    fn transmission(&self, bits: u64) -> Duration {
        let Some(rate) = self.conditions.rate_bps else {
            return Duration::ZERO;
        };
        let nanos = (u128::from(bits) * NANOS).div_ceil(u128::from(rate.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
