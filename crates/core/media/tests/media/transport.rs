//! A transport of packets over one link that flows share, with a `Path` at each sender:
//! packets, late and batched acknowledgements, loss detection (RFC 9002), pacing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use darktower_link::{Conditions, Discipline, Link, Random};
use darktower_media::Bitrate;
use darktower_media::path::{Config, Path, Rtt};

use crate::pair::ms;

const PACKET: usize = 1200;
const AUDIO: usize = 120;
const ACK_DELAY: Duration = Duration::from_millis(25);
const STEP: Duration = Duration::from_micros(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Audio,
    Video,
    Padding,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    flow: usize,
    number: u64,
    sent: Duration,
    bytes: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    sent: Duration,
    bytes: usize,
    what: What,
}

/// One thing that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) sent: Duration,
    pub(crate) bytes: usize,
    pub(crate) what: What,
}

/// What a flow sends: sound, and pictures at what the estimate allows up to `cap`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) cap: Bitrate,
    /// Asks for tests until the cap is reached.
    pub(crate) probes: bool,
    pub(crate) starts: Duration,
    /// Packets for each of which the receiver sends one acknowledgement.
    pub(crate) ack_every: usize,
    /// Not ours: sends all it can by NewReno, as a download does.
    pub(crate) rival: bool,
}

impl Source {
    pub(crate) const DEFAULT: Self = Self {
        cap: Bitrate::from_kbps(2_500),
        probes: true,
        starts: Duration::ZERO,
        ack_every: 2,
        rival: false,
    };
}

pub(crate) struct Flow {
    path: Path,
    source: Source,
    rival: Rival,
    dice: Random,
    next: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    in_flight: u64,
    largest: Option<u64>,
    srtt: Duration,
    min_rtt: Duration,
    last_sent: Duration,
    probes: u32,
    tokens: f64,
    audio: VecDeque<Duration>,
    video: VecDeque<(Duration, usize)>,
    frames: u64,
    next_frame: Duration,
    next_audio: Duration,
    // The receiver's end.
    owed: Vec<u64>,
    owed_since: Option<Duration>,
    acks: Link<Vec<u64>>,
    pub(crate) arrivals: Vec<Arrival>,
    /// Each 50 ms: time, estimate.
    pub(crate) estimates: Vec<(Duration, Bitrate)>,
    pub(crate) padding: u64,
}

struct Rival {
    window: f64,
    threshold: f64,
    recovery: Duration,
}

impl Rival {
    fn acked(&mut self, bytes: usize) {
        if self.window < self.threshold {
            self.window += bytes as f64;
        } else {
            self.window += (PACKET * bytes) as f64 / self.window;
        }
    }

    fn lost(&mut self, now: Duration, sent: Duration) {
        if sent > self.recovery {
            self.recovery = now;
            self.window = (self.window / 2.0).max(2.0 * PACKET as f64);
            self.threshold = self.window;
        }
    }
}

pub(crate) struct Net {
    now: Duration,
    link: Link<Packet>,
    pub(crate) flows: Vec<Flow>,
}

impl Net {
    pub(crate) fn new(conditions: Conditions, sources: &[Source], seed: u64) -> Self {
        let back = Conditions {
            rate_bps: None,
            ..conditions
        };
        let flows = (0..).zip(sources).map(|(at, &source)| Flow {
            path: Path::new(Config::default(), ms(1000)),
            source,
            rival: Rival {
                window: 10.0 * PACKET as f64,
                threshold: f64::MAX,
                recovery: Duration::ZERO,
            },
            dice: Random::new(seed + at, 77),
            next: 0,
            outstanding: BTreeMap::new(),
            in_flight: 0,
            largest: None,
            srtt: ms(100),
            min_rtt: ms(100),
            last_sent: ms(1000),
            probes: 0,
            tokens: 0.0,
            audio: VecDeque::new(),
            video: VecDeque::new(),
            frames: 0,
            next_frame: ms(1000) + source.starts + ms(7 * at + 5 * (seed % 7)),
            next_audio: ms(1000) + source.starts + ms(3 * at),
            owed: Vec::new(),
            owed_since: None,
            acks: Link::new(Discipline::Datagram, back, seed + 100 + at),
            arrivals: Vec::new(),
            estimates: Vec::new(),
            padding: 0,
        });
        Self {
            now: ms(1000),
            flows: flows.collect(),
            link: Link::new(Discipline::Datagram, conditions, seed),
        }
    }

    /// Changes the link, in both directions, `at` so long after the start.
    pub(crate) fn schedule(&mut self, at: Duration, conditions: Conditions) {
        self.link.schedule(ms(1000) + at, conditions);
        let back = Conditions {
            rate_bps: None,
            ..conditions
        };
        for flow in &mut self.flows {
            flow.acks.schedule(ms(1000) + at, back);
        }
    }

    /// Runs until so long after the start.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while self.now < ms(1000) + end {
            self.now += STEP;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(packet) = self.link.poll(now) {
            self.flows[packet.flow].receive(now, packet);
        }
        for at in 0..self.flows.len() {
            let flow = &mut self.flows[at];
            flow.acknowledge(now);
            while let Some(numbers) = flow.acks.poll(now) {
                flow.acked(now, &numbers);
            }
            flow.produce(now);
            let link = &mut self.link;
            flow.transmit(now, |bytes, number, what| {
                let packet = Packet {
                    flow: at,
                    number,
                    sent: now,
                    bytes,
                    what,
                };
                link.send(now, bytes, packet);
            });
            if now.as_micros().is_multiple_of(50_000) {
                flow.estimates.push((now, flow.path.estimate()));
            }
        }
    }
}

impl Flow {
    fn receive(&mut self, now: Duration, packet: Packet) {
        self.arrivals.push(Arrival {
            at: now,
            sent: packet.sent,
            bytes: packet.bytes,
            what: packet.what,
        });
        self.owed.push(packet.number);
        self.owed_since.get_or_insert(now);
    }

    fn acknowledge(&mut self, now: Duration) {
        let due = self
            .owed_since
            .is_some_and(|since| now >= since + ACK_DELAY);
        if due || self.owed.len() >= self.source.ack_every {
            let numbers = std::mem::take(&mut self.owed);
            self.owed_since = None;
            self.acks.send(now, 60, numbers);
        }
    }

    fn acked(&mut self, now: Duration, numbers: &[u64]) {
        let newest = numbers.iter().max().copied().unwrap_or(0);
        if let Some(one) = self.outstanding.get(&newest) {
            let rtt = now - one.sent;
            self.min_rtt = match self.largest {
                None => rtt,
                Some(_) => self.min_rtt.min(rtt),
            };
            self.srtt = match self.largest {
                None => rtt,
                Some(_) => (self.srtt * 7 + rtt) / 8,
            };
        }
        let limited = self.in_flight + (PACKET as u64) < self.window();
        for number in numbers {
            if let Some(one) = self.outstanding.remove(number) {
                self.in_flight -= one.bytes as u64;
                self.rival.acked(one.bytes);
                let rtt = Rtt {
                    min: self.min_rtt,
                    smoothed: self.srtt,
                };
                self.path
                    .acked(now, one.sent, one.bytes as u64, limited, rtt);
            }
        }
        self.largest = self.largest.max(Some(newest));
        self.probes = 0;
        self.find_lost(now);
    }

    fn find_lost(&mut self, now: Duration) {
        let Some(largest) = self.largest else { return };
        let late = self.srtt * 9 / 8;
        let lost: Vec<u64> = self
            .outstanding
            .range(..largest)
            .filter(|(number, one)| **number + 3 <= largest || now >= one.sent + late)
            .map(|(&number, _)| number)
            .collect();
        let (mut bytes, mut newest, mut oldest) = (0, Duration::ZERO, now);
        for number in lost {
            let Some(one) = self.outstanding.remove(&number) else {
                continue;
            };
            bytes += one.bytes as u64;
            newest = newest.max(one.sent);
            oldest = oldest.min(one.sent);
            if one.what == What::Video {
                self.video.push_front((now, one.bytes));
            }
        }
        if bytes > 0 {
            self.in_flight -= bytes;
            let persistent = newest.saturating_sub(oldest) > 3 * (self.srtt * 2 + ACK_DELAY);
            self.rival.lost(now, newest);
            self.path.congested(now, newest, bytes, false, persistent);
        }
    }

    fn window(&self) -> u64 {
        match self.source.rival {
            true => self.rival.window as u64,
            false => self.path.window(),
        }
    }

    fn produce(&mut self, now: Duration) {
        if self.source.rival {
            let starts = now >= ms(1000) + self.source.starts;
            while starts && self.video.len() < 100 {
                self.video.push_back((now, PACKET));
            }
            return;
        }
        while now >= self.next_audio {
            self.audio.push_back(self.next_audio);
            self.next_audio += ms(20);
        }
        while now >= self.next_frame {
            let rate = self.path.estimate().percent(90) - Bitrate::from_kbps(50);
            let rate = rate.min(self.source.cap);
            let frame = Bitrate::bytes_in(rate, Duration::from_micros(33_333));
            // A key frame of six times the mean each four seconds.
            let size = match self.frames % 120 {
                0 => frame * 6,
                // Pictures differ: by up to a third each way.
                _ => frame * (63 + self.dice.next_u64() % 64) / 100,
            };
            self.frames += 1;
            self.video.push_back((now, size as usize));
            self.next_frame += Duration::from_micros(33_333);
            if self.source.probes && self.path.estimate() < self.source.cap.percent(115) {
                self.path.probe(now, self.source.cap.percent(120));
            }
        }
        // What is older than this is stale: its group is reset.
        if self
            .video
            .front()
            .is_some_and(|(made, _)| now > *made + ms(300))
        {
            self.video.clear();
        }
    }

    fn transmit(&mut self, now: Duration, mut send: impl FnMut(usize, u64, What)) {
        let window = self.window() as f64;
        let rate = 1.25 * window / self.srtt.as_secs_f64().max(0.001);
        self.tokens = (self.tokens + rate * STEP.as_secs_f64()).min(10.0 * PACKET as f64);
        let pto = (self.srtt * 2 + ACK_DELAY) * 2u32.pow(self.probes.min(6));
        let mut forced = 0;
        if !self.outstanding.is_empty() && now >= self.last_sent + pto {
            self.probes += 1;
            forced = 2;
        }
        let padding = self.path.padding(now);
        let mut padding = (padding > 0).then_some(padding);
        loop {
            let full = self.in_flight + PACKET as u64 > self.window() || self.tokens < 0.0;
            if full && forced == 0 {
                break;
            }
            let (bytes, what) = if self.audio.pop_front().is_some() {
                (AUDIO, What::Audio)
            } else if let Some((_, left)) = self.video.front_mut() {
                let size = (*left).min(PACKET);
                *left -= size;
                if *left == 0 {
                    self.video.pop_front();
                }
                (size.max(60), What::Video)
            } else if let Some(size) = padding.take() {
                self.padding += size as u64;
                (size, What::Padding)
            } else if forced > 0 {
                (60, What::Padding)
            } else {
                break;
            };
            if padding.is_none() {
                let more = self.path.padding(now);
                padding = (more > 0).then_some(more);
            }
            forced = u32::saturating_sub(forced, 1);
            let number = self.next;
            self.next += 1;
            self.tokens -= bytes as f64;
            self.in_flight += bytes as u64;
            self.last_sent = now;
            self.outstanding.insert(
                number,
                Outstanding {
                    sent: now,
                    bytes,
                    what,
                },
            );
            self.path.sent(now, bytes as u64);
            send(bytes, number, what);
        }
    }

    /// What arrived from `from` to `to` after the start.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Arrival> {
        let (from, to) = (ms(1000) + from, ms(1000) + to);
        self.arrivals
            .iter()
            .filter(move |one| one.at >= from && one.at < to)
    }
}
