//! A path and what it does to the packets of one track, in virtual time.

use std::time::Duration;

use darktower_sound::playout::{Packet, Play, Playout, Report};

/// Packets of 20 ms.
pub(crate) const PACKET_US: u64 = 20_000;
/// How long the subscriber waits for a packet that others have overtaken.
const REORDER_US: u64 = 60_000;
/// The receiver's clock when the sender's says 0.
const OFFSET_US: u64 = 7_000_000;

/// The same numbers each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// 0 up to 1.
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A network path. What is lost is lost by datagrams; each repeats `redundancy` packets.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) loss: f64,
    pub(crate) redundancy: u64,
    /// Each datagram waits up to so much longer, none overtakes another.
    pub(crate) jitter_us: f64,
    /// How much faster than the receiver's the sender's clock runs.
    pub(crate) drift_ppm: f64,
    /// From here on (µs since the beginning) for so long nothing comes through, then all does.
    pub(crate) stall: Option<(u64, u64)>,
    pub(crate) seed: u64,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            loss: 0.0,
            redundancy: 0,
            jitter_us: 0.0,
            drift_ppm: 0.0,
            stall: None,
            seed: 1,
        }
    }
}

/// One packet as the subscriber delivers it.
pub(crate) type Arrival = (Duration, Packet);

impl Path {
    /// What becomes of `packets`, in order of delivery.
    pub(crate) fn carry(&self, packets: &[Packet]) -> Vec<Arrival> {
        let mut dice = Dice::new(self.seed);
        let mut raw: Vec<(u64, Packet)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut last = 0;
        for (at, packet) in packets.iter().enumerate() {
            let (lost, waits) = (dice.roll() < self.loss, dice.roll() * self.jitter_us);
            let sent = (packet.capture_us + PACKET_US) as f64 / (1.0 + self.drift_ppm / 1e6);
            let mut arrives = sent as u64 + OFFSET_US + 20_000 + waits as u64;
            if let Some((from, length)) = self.stall {
                let end = OFFSET_US + from + length;
                if arrives >= OFFSET_US + from && arrives < end {
                    arrives = end;
                }
            }
            last = arrives.max(last);
            if lost {
                continue;
            }
            let first = at.saturating_sub(self.redundancy as usize);
            for one in &packets[first..=at] {
                if seen.insert(one.number) {
                    raw.push((last, *one));
                }
            }
        }
        in_turn(raw)
    }
}

/// As `darktower_media::subscriber` delivers: in order, a gap waited for as long as that.
fn in_turn(raw: Vec<(u64, Packet)>) -> Vec<Arrival> {
    let mut waiting: std::collections::BTreeMap<u64, (u64, Packet)> = Default::default();
    let (mut next, mut out) = (0, Vec::new());
    let mut deliver = |now: u64, waiting: &mut std::collections::BTreeMap<u64, (u64, Packet)>| {
        while let Some((&number, &(_, packet))) = waiting.first_key_value() {
            let oldest = waiting.values().map(|(since, _)| *since).min();
            let given_up = oldest.map_or(now, |since| since + REORDER_US);
            if number > next && given_up > now {
                return Some(given_up);
            }
            waiting.pop_first();
            if number >= next {
                next = number + 1;
                out.push((Duration::from_micros(now), packet));
            }
        }
        None
    };
    let mut wake = None;
    for (at, packet) in raw {
        while let Some(due) = wake.filter(|due| *due < at) {
            wake = deliver(due, &mut waiting);
        }
        waiting.insert(packet.number, (at, packet));
        wake = deliver(at, &mut waiting);
    }
    while let Some(due) = wake {
        wake = deliver(due, &mut waiting);
    }
    out
}

/// Packets of a voice that speaks without end.
pub(crate) fn speech(seconds: u64) -> Vec<Packet> {
    let numbers = 0..seconds * 50;
    numbers.map(|n| packet(n, n * PACKET_US)).collect()
}

/// A packet of sound.
pub(crate) fn packet(number: u64, capture_us: u64) -> Packet {
    Packet {
        number,
        capture_us,
        length_us: PACKET_US as u32,
        rest: false,
    }
}

/// What was heard of a track, and when.
pub(crate) struct Outcome {
    /// After each second: the buffer's account of itself.
    pub(crate) seconds: Vec<Report>,
    /// Number and time of each packet played.
    pub(crate) played: Vec<(u64, Duration)>,
    pub(crate) silence: Duration,
    /// Slowest and fastest that anything was played.
    pub(crate) speeds: (f32, f32),
    /// From first to last packet played.
    pub(crate) lasted: Duration,
}

impl Outcome {
    pub(crate) fn last(&self) -> Report {
        *self.seconds.last().expect("at least a second was played")
    }

    /// Share of the sound that was made up.
    pub(crate) fn concealed(&self) -> f64 {
        self.last().concealed_us as f64 / self.lasted.as_micros() as f64
    }

    /// Greatest delay at the end of each second from `from` on, in ms.
    pub(crate) fn delay_ms(&self, from: usize) -> u64 {
        let delays = self.seconds[from..].iter().map(|report| report.delay_us);
        delays.max().unwrap_or_default() / 1000
    }
}

/// Plays `arrivals` until the last of them was heard.
pub(crate) fn play(arrivals: &[Arrival]) -> Outcome {
    let mut playout = Playout::new();
    let mut outcome = Outcome {
        seconds: Vec::new(),
        played: Vec::new(),
        silence: Duration::ZERO,
        speeds: (1.0, 1.0),
        lasted: Duration::ZERO,
    };
    let mut now = arrivals.first().map_or(Duration::ZERO, |(at, _)| *at);
    let mut next = 0;
    let mut second = now + Duration::from_secs(1);
    loop {
        while let Some((at, packet)) = arrivals.get(next).filter(|(at, _)| *at <= now) {
            playout.push(*at, *packet, packet.number);
            next += 1;
        }
        if now >= second {
            second += Duration::from_secs(1);
            outcome.seconds.push(playout.report(now));
        }
        let lasts = match playout.pull(now) {
            Play::Packet { sound, speed } => {
                outcome.played.push((sound, now));
                outcome.speeds.0 = outcome.speeds.0.min(speed);
                outcome.speeds.1 = outcome.speeds.1.max(speed);
                Duration::from_micros(PACKET_US).div_f32(speed)
            }
            Play::Conceal(time) => time,
            Play::Silence(time) => {
                outcome.silence += time;
                time
            }
        };
        let report = playout.report(now);
        if next == arrivals.len() && report.buffered_us == 0 {
            outcome.seconds.push(report);
            break;
        }
        now += lasts;
    }
    let (first, last) = (outcome.played.first(), outcome.played.last());
    if let (Some((_, first)), Some((_, last))) = (first, last) {
        outcome.lasted = *last - *first;
    }
    outcome
}
