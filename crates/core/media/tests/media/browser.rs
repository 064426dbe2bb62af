//! A publisher in a browser whose transport we do not write: NewReno (RFC 9002), streams
//! by priority, datagrams first; encoders that do what they are told; and the handler's
//! end of it, which reports.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_link::{Conditions, Discipline, Link, Random};
use darktower_media::arrivals::{Arrivals, Feedback};
use darktower_media::publisher::{self, Encoded, Input, Output, Publisher};
use darktower_media::{Bitrate, Kind, LayerShape, Shape};
use darktower_wire::datagram::Datagram;
use darktower_wire::ids::TrackId;
use darktower_wire::media::GroupDecoder;

use crate::pair::ms;
use crate::sealing::{ALICE, Keys};

const PACKET: usize = 1200;
const STEP: Duration = Duration::from_millis(1);
const START: Duration = Duration::from_millis(1000);
const CAMERA: u32 = 1;
const MICROPHONE: u32 = 2;

#[derive(Clone, Debug)]
enum Carried {
    Stream { id: u64, at: usize, len: usize },
    Datagram(Bytes),
}

#[derive(Clone, Debug)]
struct Packet {
    number: u64,
    carried: Carried,
}

#[derive(Clone, Debug)]
enum Back {
    Acks(Vec<u64>),
    Feedback(Feedback),
}

#[derive(Default)]
struct Stream {
    priority: i32,
    data: Vec<u8>,
    next: usize,
    again: VecDeque<(usize, usize)>,
    // The handler's end.
    got: BTreeMap<usize, usize>,
    read: usize,
    decoder: GroupDecoder,
}

#[derive(Default)]
struct Encoder {
    target: Option<Bitrate>,
    key_wanted: bool,
    frames: u64,
}

/// Something that the handler has whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) captured: Duration,
    /// `None`: sound.
    pub(crate) layer: Option<u8>,
    pub(crate) number: u64,
}

pub(crate) struct Browser {
    now: Duration,
    publisher: Publisher,
    keys: Keys,
    streams: BTreeMap<u64, Stream>,
    datagrams: VecDeque<Bytes>,
    out: BTreeMap<u64, (Duration, usize, Carried)>,
    in_flight: usize,
    window: f64,
    threshold: f64,
    recovery: Duration,
    srtt: Duration,
    next: u64,
    last_sent: Duration,
    timeouts: u32,
    up: Link<Packet>,
    back: Link<Back>,
    arrivals: Arrivals,
    /// An old handler says nothing.
    reports: bool,
    owed: Vec<u64>,
    owed_since: Duration,
    encoders: Vec<Encoder>,
    /// Time, handle, layer and target of each setting.
    pub(crate) settings: Vec<(Duration, u8, Option<Bitrate>)>,
    pub(crate) arrived: Vec<Arrival>,
    pub(crate) key_frames: u32,
    reported: BTreeMap<u64, usize>,
    dice: Random,
    /// Whether the microphone sends.
    pub(crate) speaks: bool,
    /// What encoders take: pictures and sound are older by so much when they are sent.
    pub(crate) lag: Duration,
}

pub(crate) fn camera() -> Shape {
    let layer = |width_px, height_px, kbps| LayerShape {
        width_px,
        height_px,
        max_bitrate: Bitrate::from_kbps(kbps),
        temporal_layers: 3,
    };
    let layers = vec![
        layer(320, 180, 150),
        layer(640, 360, 500),
        layer(1280, 720, 1700),
    ];
    Shape {
        screen: false,
        layers,
    }
}

impl Browser {
    pub(crate) fn new(link: Conditions, seed: u64, reports: bool) -> Self {
        let back = Conditions {
            rate_bps: None,
            ..link
        };
        let mut browser = Self {
            now: START,
            publisher: Publisher::new(publisher::Config::default(), 1),
            keys: Keys::of(ALICE),
            speaks: true,
            lag: Duration::ZERO,
            streams: BTreeMap::new(),
            datagrams: VecDeque::new(),
            out: BTreeMap::new(),
            in_flight: 0,
            window: 32.0 * PACKET as f64,
            threshold: f64::MAX,
            recovery: Duration::ZERO,
            srtt: ms(100),
            next: 0,
            last_sent: START,
            timeouts: 0,
            up: Link::new(Discipline::Datagram, link, seed),
            back: Link::new(Discipline::Datagram, back, seed + 1),
            arrivals: Arrivals::new(),
            reports,
            owed: Vec::new(),
            owed_since: START,
            encoders: (0..3).map(|_| Encoder::default()).collect(),
            settings: Vec::new(),
            arrived: Vec::new(),
            key_frames: 0,
            reported: BTreeMap::new(),
            dice: Random::new(seed, 77),
        };
        browser.tell(Input::Connected { max_datagram: 1100 });
        for (handle, kind, shape) in [
            (CAMERA, Kind::Video, camera()),
            (MICROPHONE, Kind::Audio, Shape::default()),
        ] {
            let track = TrackId(handle);
            browser.tell(Input::Published {
                handle,
                track,
                kind,
                shape,
            });
        }
        browser
    }

    pub(crate) fn schedule(&mut self, at: Duration, conditions: Conditions) {
        self.up.schedule(START + at, conditions);
        let back = Conditions {
            rate_bps: None,
            ..conditions
        };
        self.back.schedule(START + at, back);
    }

    pub(crate) fn layers_wanted(&mut self, layers: u16) {
        let track = TrackId(CAMERA);
        self.tell(Input::LayersWanted { track, layers });
    }

    /// Since the start.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while self.now < START + end {
            self.now += STEP;
            self.step();
        }
    }

    fn tell(&mut self, input: Input) {
        self.publisher.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.publisher.poll() {
            match output {
                Output::OpenStream { stream, priority } => {
                    let state = Stream {
                        priority,
                        ..Stream::default()
                    };
                    self.streams.insert(stream, state);
                }
                Output::Write { stream, bytes, .. } => {
                    if let Some(state) = self.streams.get_mut(&stream) {
                        state.data.extend_from_slice(&bytes);
                    }
                }
                Output::Reset { stream, .. } => {
                    self.streams.remove(&stream);
                    self.reported.remove(&stream);
                }
                Output::Datagram(bytes) => self.datagrams.push_back(bytes),
                Output::KeyFrame { layer, .. } => {
                    self.encoders[usize::from(layer)].key_wanted = true;
                    self.key_frames += 1;
                }
                Output::Encode { layer, target, .. } => {
                    self.encoders[usize::from(layer)].target = target;
                    self.settings.push((self.now, layer, target));
                }
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(packet) = self.up.poll(now) {
            self.received(packet);
        }
        let late = !self.owed.is_empty() && now >= self.owed_since + ms(25);
        if late || self.owed.len() >= 2 {
            let owed = std::mem::take(&mut self.owed);
            self.back.send(now, 60, Back::Acks(owed));
        }
        if let Some(feedback) = self.arrivals.poll(now).filter(|_| self.reports) {
            self.back.send(now, 60, Back::Feedback(feedback));
        }
        while let Some(back) = self.back.poll(now) {
            match back {
                Back::Acks(numbers) => self.acked(&numbers),
                Back::Feedback(feedback) => self.tell(Input::Feedback(feedback)),
            }
        }
        if self.publisher.deadline().is_some_and(|at| now >= at) {
            self.tell(Input::Tick);
        }
        self.encode();
        self.transmit();
        self.report_backlog();
    }

    fn received(&mut self, packet: Packet) {
        let now = self.now;
        self.owed.push(packet.number);
        if self.owed.len() == 1 {
            self.owed_since = now;
        }
        match packet.carried {
            Carried::Datagram(bytes) => {
                let datagram = Datagram::parse(bytes).expect("a datagram");
                self.arrivals.datagram(now, &datagram);
                for frame in datagram.into_frames() {
                    self.arrived.push(Arrival {
                        at: now,
                        captured: Duration::from_micros(frame.header.capture_us),
                        layer: None,
                        number: frame.header.frame,
                    });
                }
            }
            Carried::Stream { id, at, len } => {
                let Some(stream) = self.streams.get_mut(&id) else {
                    return;
                };
                stream.got.insert(at, len);
                while let Some((&at, &len)) = stream.got.range(..=stream.read).next_back() {
                    if at + len <= stream.read {
                        break;
                    }
                    stream.decoder.push(&stream.data[stream.read..at + len]);
                    self.arrivals.piece(now, at + len - stream.read);
                    stream.read = at + len;
                }
                while let Some(frame) = stream.decoder.next_frame().expect("frames") {
                    self.arrivals.frame(now, &frame.header);
                    self.arrived.push(Arrival {
                        at: now,
                        captured: Duration::from_micros(frame.header.capture_us),
                        layer: Some(frame.header.layer),
                        number: frame.header.frame,
                    });
                }
                if let Some(header) = stream.decoder.partial() {
                    self.arrivals.frame(now, &header);
                }
            }
        }
    }

    fn encode(&mut self) {
        let at = (self.now - START).as_millis() as u64;
        let capture_us = self.now.saturating_sub(self.lag).as_micros() as u64;
        if at.is_multiple_of(20) && self.speaks {
            let encoded = Encoded {
                handle: MICROPHONE,
                layer: 0,
                temporal: 0,
                key: true,
                capture_us,
                level: None,
                data: &[7; 80],
            };
            let _ = self.publisher.frame(self.now, encoded, &mut self.keys);
            self.drain();
        }
        if !at.is_multiple_of(33) {
            return;
        }
        for layer in 0..3 {
            let encoder = &mut self.encoders[usize::from(layer)];
            let Some(target) = encoder.target else {
                continue;
            };
            let key = std::mem::take(&mut encoder.key_wanted);
            encoder.frames = if key { 0 } else { encoder.frames + 1 };
            let mean = target.bytes_in(ms(33)) as usize;
            // Pictures differ: by up to a third each way.
            let percent = 63 + self.dice.next_u64() as usize % 64;
            let data = vec![0x5a; if key { mean * 5 } else { mean * percent / 100 }];
            let encoded = Encoded {
                handle: CAMERA,
                layer,
                temporal: [0, 2, 1, 2][encoder.frames as usize % 4],
                key,
                capture_us,
                level: None,
                data: &data,
            };
            let _ = self.publisher.frame(self.now, encoded, &mut self.keys);
            self.drain();
        }
    }

    fn transmit(&mut self) {
        let timeout = (self.srtt * 2 + ms(25)) * 2u32.pow(self.timeouts.min(6));
        let mut forced = 0;
        if !self.out.is_empty() && self.now >= self.last_sent + timeout {
            self.timeouts += 1;
            forced = 2;
        }
        while self.in_flight + PACKET <= self.window as usize || forced > 0 {
            forced = u32::saturating_sub(forced, 1);
            let carried = match self.datagrams.pop_front() {
                Some(bytes) => Carried::Datagram(bytes),
                None => match self.next_piece() {
                    Some(carried) => carried,
                    None => break,
                },
            };
            let size = match &carried {
                Carried::Datagram(bytes) => bytes.len() + 40,
                Carried::Stream { len, .. } => len + 50,
            };
            let number = self.next;
            self.next += 1;
            self.in_flight += size;
            self.last_sent = self.now;
            self.out.insert(number, (self.now, size, carried.clone()));
            self.up.send(self.now, size, Packet { number, carried });
        }
    }

    fn next_piece(&mut self) -> Option<Carried> {
        let waiting = self
            .streams
            .iter_mut()
            .filter(|(_, one)| !one.again.is_empty() || one.next < one.data.len());
        let (&id, stream) = waiting.max_by_key(|(_, one)| one.priority)?;
        let (at, len) = match stream.again.pop_front() {
            Some(piece) => piece,
            None => {
                let at = stream.next;
                let len = (stream.data.len() - at).min(PACKET - 50);
                stream.next += len;
                (at, len)
            }
        };
        Some(Carried::Stream { id, at, len })
    }

    fn acked(&mut self, numbers: &[u64]) {
        let newest = numbers.iter().max().copied().unwrap_or(0);
        if let Some((sent, ..)) = self.out.get(&newest) {
            self.srtt = (self.srtt * 7 + (self.now - *sent)) / 8;
        }
        self.timeouts = 0;
        for number in numbers {
            let Some((_, size, _)) = self.out.remove(number) else {
                continue;
            };
            let full = self.in_flight + 3 * PACKET > self.window as usize;
            self.in_flight -= size;
            if full && self.window < self.threshold {
                self.window += size as f64;
            } else if full {
                self.window += (PACKET * size) as f64 / self.window;
            }
        }
        let late = self.srtt * 9 / 8;
        let lost: Vec<u64> = self
            .out
            .range(..newest)
            .filter(|(number, (sent, ..))| **number + 3 <= newest || self.now >= *sent + late)
            .map(|(&number, _)| number)
            .collect();
        for number in lost {
            let Some((sent, size, carried)) = self.out.remove(&number) else {
                continue;
            };
            self.in_flight -= size;
            if let Carried::Stream { id, at, len } = carried
                && let Some(stream) = self.streams.get_mut(&id)
            {
                stream.again.push_back((at, len));
            }
            if sent > self.recovery {
                self.recovery = self.now;
                self.window = (self.window / 2.0).max(2.0 * PACKET as f64);
                self.threshold = self.window;
            }
        }
    }

    fn report_backlog(&mut self) {
        let streams = self.streams.iter();
        let unsent: Vec<_> = streams
            .map(|(&id, one)| {
                let again: usize = one.again.iter().map(|(_, len)| len).sum();
                (id, one.data.len() - one.next + again)
            })
            .filter(|(id, unsent)| self.reported.get(id).copied().unwrap_or(0) != *unsent)
            .collect();
        for (stream, bytes) in unsent {
            self.reported.insert(stream, bytes);
            self.tell(Input::Backlog { stream, bytes });
        }
    }

    pub(crate) fn estimate(&self) -> Bitrate {
        self.publisher.estimate()
    }

    /// What the encoders of all layers may make together at a time after the start.
    pub(crate) fn targets(&self, at: Duration) -> [Option<Bitrate>; 3] {
        let mut targets = [None; 3];
        let settings = self.settings.iter();
        for (_, layer, target) in settings.take_while(|(when, ..)| *when <= START + at) {
            targets[usize::from(*layer)] = *target;
        }
        targets
    }

    /// What arrived of a layer (or of sound) in a span after the start: each frame once,
    /// when it came first.
    pub(crate) fn frames(&self, layer: Option<u8>, from: Duration, to: Duration) -> Vec<Arrival> {
        let mut seen = std::collections::BTreeSet::new();
        let of = self.arrived.iter().filter(|one| one.layer == layer);
        let first = of.filter(|one| seen.insert((one.captured, one.number)));
        let within = first.filter(|one| one.at >= START + from && one.at < START + to);
        within.copied().collect()
    }
}
