//! When each packet of a track is played: an adaptive jitter buffer that knows numbers
//! and times, and of the sound itself nothing.
//!
//! Three things look alike at the moment when there is nothing to play, and are told
//! apart here: a pause (the last packet said that one begins), a packet that is lost (a
//! later one is there), and packets that are merely late. A lost one is made up for in
//! its place; for late ones the sound waits, and catches up by being played faster.

mod delay;

use core::time::Duration;
use std::collections::BTreeMap;

use delay::Delay;

/// One packet, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Running number: one more for each packet of the track.
    pub number: u64,
    /// When its first sample was captured, in µs of the sender's clock.
    pub capture_us: u64,
    /// How much sound is in it, in µs.
    pub length_us: u32,
    /// Whether its level is 127: nothing worth hearing follows until the next one.
    pub rest: bool,
}

/// What is to be heard next. Ask again when it has been.
#[derive(Debug, Clone, PartialEq)]
pub enum Play<P> {
    /// This packet, in so many times less time than it was captured in.
    Packet {
        /// What came with it.
        sound: P,
        /// 1.0 as captured; within 0.85 and 1.15.
        speed: f32,
    },
    /// Sound that is missing: made up for so long.
    Conceal(Duration),
    /// A pause: for so long.
    Silence(Duration),
}

/// A track's account of itself. Times in µs; counts since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Capture time of what is heard now; `None` where nothing was for a second.
    pub playing_us: Option<u64>,
    /// How much later than the fastest packet would be the sound is played.
    pub delay_us: u64,
    /// How much later it should be.
    pub target_us: u64,
    /// Sound that waits for its time.
    pub buffered_us: u64,
    /// Packets played.
    pub played: u64,
    /// Packets that came after their time, or twice.
    pub late: u64,
    /// Packets that never came before a later one was played.
    pub lost: u64,
    /// Packets given up to catch up after a standstill.
    pub skipped: u64,
    /// Times when nothing was there to play outside of a pause.
    pub underruns: u64,
    /// Sound that was made up.
    pub concealed_us: u64,
    /// Packets played faster or slower than captured.
    pub stretched: u64,
}

/// Longest sound without asking again: the pace at which a late packet is noticed.
const STEP_US: i64 = 5000;
/// Capture times are estimates: packets this near to one another are neighbours.
const WOBBLE_US: i64 = 5000;
/// Nothing for so long is a pause, whoever forgot to say so: a handler forwards the
/// loudest alone, and says nothing on the track of one who is no longer among them.
const GONE_US: i64 = 1_000_000;
/// Further behind than this is a standstill, which no speed makes good: skip.
const STANDSTILL_US: i64 = 200_000;
/// Sound that is kept: two seconds of packets of 20 ms.
const CAPACITY: usize = 100;
/// So many packets between two questions: nobody is listening (a page without a click), or
/// all of a standstill came at once.
const UNHEARD: u32 = 25;
/// Nearer than this to its target the delay is left alone: below, and above.
const SLACK_BELOW_US: i64 = 5000;
const SLACK_ABOVE_US: i64 = 15_000;
/// Being off by so much asks for the full change of speed.
const FULL_SPEED_US: f32 = 40_000.0;
/// A change of 15 % is heard as a hasty speaker, not as a fault.
const MAX_SPEED: f32 = 0.15;
/// Keeps sums of times within 64 bits, whatever a header says.
const MAX_TIME_US: u64 = 1 << 60;

#[derive(Debug, Clone, Copy)]
struct Last {
    number: u64,
    capture_us: i64,
    /// When it ends, by the capture clock.
    end_us: i64,
    length_us: i64,
    /// When it began to be played.
    at_us: i64,
    delay_us: i64,
}

/// The jitter buffer of one track; `P` is whatever stands for a packet's sound.
#[derive(Debug)]
pub struct Playout<P> {
    delay: Delay,
    queue: BTreeMap<u64, (Packet, P)>,
    last: Option<Last>,
    /// Sound made up since the last packet ended.
    held_us: i64,
    /// In a pause: the next packet is played at its own time.
    resting: bool,
    unheard: u32,
    counts: Report,
}

impl<P> Default for Playout<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Playout<P> {
    /// A buffer that has seen nothing.
    pub fn new() -> Self {
        Self {
            delay: Delay::default(),
            queue: BTreeMap::new(),
            last: None,
            held_us: 0,
            resting: true,
            unheard: 0,
            counts: Report::default(),
        }
    }

    /// Takes a packet that came at `now` of the playout clock. Returns whether it may
    /// still be played.
    pub fn push(&mut self, now: Duration, packet: Packet, sound: P) -> bool {
        let capture_us = time(packet.capture_us);
        if self.last.is_some_and(|last| begins_anew(&last, &packet)) {
            self.restart();
        }
        if self.queue.contains_key(&packet.number) {
            self.counts.late += 1;
            return false;
        }
        self.unheard += 1;
        if self.unheard > UNHEARD {
            self.delay.clear();
            self.counts.skipped += self.queue.len() as u64;
            self.queue.clear();
        }
        self.delay.arrived(micros(now), capture_us);
        if self.last.is_some_and(|last| packet.number <= last.number) {
            self.counts.late += 1;
            return false;
        }
        self.queue.insert(packet.number, (packet, sound));
        if self.queue.len() > CAPACITY {
            self.queue.pop_first();
            self.counts.skipped += 1;
        }
        true
    }

    /// What to play at `now`, when everything said before has been heard.
    pub fn pull(&mut self, now: Duration) -> Play<P> {
        let now_us = micros(now);
        self.unheard = 0;
        self.catch_up(now_us);
        let Some((_, (first, _))) = self.queue.first_key_value() else {
            return self.nothing();
        };
        match self.wait(now_us, *first) {
            Wait::None => self.play(now_us),
            Wait::Pause(us) => Play::Silence(Duration::from_micros(us.unsigned_abs())),
            Wait::Missing(us) => self.conceal(us),
        }
    }

    /// The buffer's account at `now`.
    pub fn report(&self, now: Duration) -> Report {
        let since = self.last.map(|last| (last, micros(now) - last.at_us));
        let heard = since.filter(|(_, since)| (-100_000..1_000_000).contains(since));
        Report {
            playing_us: heard.map(|(last, since)| (last.capture_us + since).max(0) as u64),
            delay_us: self.last.map_or(0, |last| last.delay_us.max(0) as u64),
            target_us: self.delay.target_us().max(0) as u64,
            buffered_us: self.buffered_us(),
            ..self.counts
        }
    }

    fn buffered_us(&self) -> u64 {
        let each = self.queue.values();
        each.map(|(packet, _)| u64::from(packet.length_us)).sum()
    }

    /// The sender began anew, with numbers and perhaps a clock of its own.
    fn restart(&mut self) {
        self.queue.clear();
        self.delay.clear();
        self.last = None;
        self.held_us = 0;
        self.resting = true;
    }

    /// Gives up what piled up in a standstill, but for what the target asks for.
    fn catch_up(&mut self, now_us: i64) {
        let target = self.delay.target_us();
        let lateness = |packet: &Packet| self.delay.lateness_us(now_us, time(packet.capture_us));
        let first = self.queue.values().next();
        if first.is_none_or(|(packet, _)| lateness(packet) <= target + STANDSTILL_US) {
            return;
        }
        let mut later = self.queue.iter();
        let keep = later.find(|(_, (packet, _))| lateness(packet) <= target);
        let newest = self.queue.last_key_value().map(|(number, _)| *number);
        let Some(keep) = keep.map(|(number, _)| *number).or(newest) else {
            return;
        };
        let kept = self.queue.split_off(&keep);
        self.counts.skipped += self.queue.len() as u64;
        self.queue = kept;
        self.resting = true;
        if let Some(last) = &mut self.last {
            last.number = keep - 1;
        }
    }

    /// What stands between now and the first packet that is there.
    fn wait(&mut self, now_us: i64, first: Packet) -> Wait {
        let capture_us = time(first.capture_us);
        if let Some(last) = self.last.filter(|_| !self.resting) {
            let missing = i64::try_from(first.number - last.number - 1).unwrap_or(i64::MAX);
            let gap = capture_us - last.end_us - self.held_us;
            if gap <= if missing == 0 { WOBBLE_US } else { 0 } {
                return Wait::None;
            }
            if self.held_us < missing.saturating_mul(last.length_us) {
                return Wait::Missing(gap.min(STEP_US));
            }
            // More time than packets are missing: the sender paused and the word of it is lost.
            self.resting = true;
        }
        let due = capture_us + self.delay.target_us();
        let ahead = -self.delay.lateness_us(now_us, due);
        if ahead > 0 {
            Wait::Pause(ahead.min(STEP_US))
        } else {
            Wait::None
        }
    }

    fn play(&mut self, now_us: i64) -> Play<P> {
        let Some((number, (packet, sound))) = self.queue.pop_first() else {
            return self.nothing();
        };
        let capture_us = time(packet.capture_us);
        let length_us = i64::from(packet.length_us);
        if let Some(last) = self.last {
            let between = number - last.number - 1;
            self.counts.lost = self.counts.lost.saturating_add(between);
        }
        let delay_us = self.delay.lateness_us(now_us, capture_us);
        let speed = if packet.rest {
            1.0
        } else {
            self.speed(now_us, &packet, delay_us)
        };
        self.counts.played += 1;
        self.counts.stretched += u64::from(speed != 1.0);
        self.last = Some(Last {
            number,
            capture_us,
            end_us: capture_us + length_us,
            length_us,
            at_us: now_us,
            delay_us,
        });
        self.held_us = 0;
        self.resting = packet.rest;
        Play::Packet { sound, speed }
    }

    /// How fast to play what is `delay_us` late, so that the delay comes to its target; and as slowly as may be while
    /// what follows is overdue, for by so much less has to be made up.
    fn speed(&self, now_us: i64, packet: &Packet, delay_us: i64) -> f32 {
        let end_us = time(packet.capture_us) + i64::from(packet.length_us);
        let overdue_us = self.delay.lateness_us(now_us, end_us);
        if self.queue.is_empty() && overdue_us > WOBBLE_US {
            return 1.0 - MAX_SPEED;
        }
        let off = delay_us - self.delay.target_us();
        let beyond = match off {
            off if off > SLACK_ABOVE_US => off - SLACK_ABOVE_US,
            off if off < -SLACK_BELOW_US => off + SLACK_BELOW_US,
            _ => 0,
        };
        let change = beyond as f32 / FULL_SPEED_US * MAX_SPEED;
        1.0 + change.clamp(-MAX_SPEED, MAX_SPEED)
    }

    /// The buffer is empty: a pause, or packets that are late.
    fn nothing(&mut self) -> Play<P> {
        if self.resting {
            return Play::Silence(Duration::from_micros(STEP_US as u64));
        }
        if self.held_us == 0 {
            self.counts.underruns += 1;
        }
        self.resting = self.held_us >= GONE_US;
        self.conceal(STEP_US)
    }

    fn conceal(&mut self, us: i64) -> Play<P> {
        self.held_us += us;
        self.counts.concealed_us += us.unsigned_abs();
        Play::Conceal(Duration::from_micros(us.unsigned_abs()))
    }
}

enum Wait {
    None,
    Pause(i64),
    Missing(i64),
}

/// Whether `packet` follows `last` in time and not in number: of another life.
fn begins_anew(last: &Last, packet: &Packet) -> bool {
    packet.number <= last.number && time(packet.capture_us) > last.end_us + WOBBLE_US
}

fn time(us: u64) -> i64 {
    us.min(MAX_TIME_US) as i64
}

fn micros(now: Duration) -> i64 {
    i64::try_from(now.as_micros()).map_or(i64::MAX / 4, |us| us.min(MAX_TIME_US as i64))
}
