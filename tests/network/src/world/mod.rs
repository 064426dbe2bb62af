//! A meeting in virtual time: people, their links, and the handler.
//!
//! The order within one moment is fixed: packets arrive, people act, the handler
//! acts, packets leave. The same scenario and seed give the same record.

mod handler;
mod keys;
mod person;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use darktower_client::synthetic::{Camera, Microphone, camera_shape};
use darktower_media::forwarder::Command;
use darktower_media::{Kind, Shape, path, subscriber};
use darktower_net::wt::Paths;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media_control::View;

use crate::quic::{Clock, Configs, Congestion, End};
use crate::record::{Record, Sample};
use crate::scenario::{Part, Scenario};
use handler::{Handler, Session};
use person::{Person, Source};
use wires::{Side, Wire};

/// Loops that wait for sockets and timers wake no finer than this.
const QUANTUM: Duration = Duration::from_micros(250);

/// What a browser's streams hold of what their writers were told is written: about
/// 64 kB each, for three layers.
const BROWSER_HOLDS: u64 = 192 << 10;

/// How often the curves are sampled.
const SAMPLE: Duration = Duration::from_millis(100);

struct World {
    now: Duration,
    people: Vec<Person>,
    /// Which link each is on.
    on: Vec<usize>,
    handler: Handler,
    /// Up and down of each link.
    wires: Vec<(Wire, Wire)>,
    sampled: Vec<u64>,
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, seed: u64) -> anyhow::Result<Record> {
    let mut world = World::new(scenario, seed)?;
    let mut sample = SAMPLE;
    while world.now < scenario.length {
        world.step()?;
        while sample <= world.now {
            world.sample(sample);
            sample += SAMPLE;
        }
        let next = world.deadline().unwrap_or(scenario.length).min(sample);
        world.now = next.clamp(world.now + QUANTUM, scenario.length + QUANTUM);
    }
    Ok(world.into_record())
}

/// The track of a participant's camera.
pub fn camera_track(person: usize) -> TrackId {
    TrackId(10 + 2 * person as u32)
}

/// The track of a participant's microphone.
pub fn microphone_track(person: usize) -> TrackId {
    TrackId(11 + 2 * person as u32)
}

fn seat(person: usize) -> ParticipantId {
    let mut id = [0; 16];
    id[15] = person as u8 + 1;
    ParticipantId(id)
}

impl World {
    fn new(scenario: &Scenario, seed: u64) -> anyhow::Result<Self> {
        let (clock, now) = (Clock::new(), Duration::ZERO);
        let configs = Configs::new()?;
        let mut world = Self {
            now,
            people: Vec::new(),
            on: scenario.cast.iter().map(|part| part.link).collect(),
            handler: Handler::new(),
            wires: Vec::new(),
            sampled: vec![0; scenario.cast.len()],
        };
        for (at, path) in (0..).zip(&scenario.links) {
            let mut up = Wire::new(path.up, seed * 1000 + 2 * at);
            let mut down = Wire::new(path.down, seed * 1000 + 2 * at + 1);
            for &(when, above, below) in &path.changes {
                up.schedule(when, above);
                down.schedule(when, below);
            }
            world.wires.push((up, down));
        }
        for (at, part) in scenario.cast.iter().enumerate() {
            let number = at as u64;
            let client = configs.client(&Congestion::Cubic, BROWSER_HOLDS);
            let paths = Paths::new(clock.at(now), path::Config::default());
            let server = configs.server(&Congestion::Own(Arc::clone(&paths)));
            let ends = seed * 1_000_000 + 2 * number;
            let mut person = Person::new(End::client(clock, part.joins, ends, client)?);
            let phase = Duration::from_millis(7 * number % 33);
            person.camera = part.camera.then(|| Source {
                track: camera_track(at),
                device: Camera::new(&camera_shape(), seed + 100 * number),
                next: phase,
            });
            person.microphone = part.voice.clone().map(|speech| Source {
                track: microphone_track(at),
                device: Microphone::new(speech),
                next: phase,
            });
            person.joins = part.joins;
            person.shown = shown(at, part, &scenario.cast);
            world.people.push(person);
            let end = End::server(clock, ends + 1, server);
            world
                .handler
                .sessions
                .push(Session::new(end, paths, seat(at), number + 1));
        }
        world.introduce(&scenario.cast)?;
        Ok(world)
    }

    /// Says to everybody who is there and what they publish, as the signalling does.
    fn introduce(&mut self, cast: &[Part]) -> anyhow::Result<()> {
        let now = self.now;
        for at in 0..cast.len() {
            let seat = seat(at);
            let (ticket, joined) = (None, true);
            self.handler.command(
                now,
                Command::Seat {
                    seat,
                    ticket,
                    joined,
                },
            )?;
        }
        for (at, part) in cast.iter().enumerate() {
            let camera = part.camera.then(|| (camera_track(at), Kind::Video));
            let voice = part.voice.as_ref();
            let voice = voice.map(|_| (microphone_track(at), Kind::Audio));
            for (id, kind) in camera.into_iter().chain(voice) {
                let shape = match kind {
                    Kind::Video => camera_shape(),
                    Kind::Audio => Shape::default(),
                };
                let seat = seat(at);
                self.handler.command(
                    now,
                    Command::Track {
                        id,
                        seat,
                        kind,
                        shape,
                        via: None,
                    },
                )?;
                let (owner, muted) = (seat, false);
                let others = self.people.iter_mut().enumerate();
                for (_, other) in others.filter(|(other, _)| *other != at) {
                    let track = subscriber::Track {
                        id,
                        owner,
                        kind,
                        muted,
                    };
                    other.subscribe(now, subscriber::Input::Track(track));
                }
            }
            self.people[at].published(now, camera_shape());
        }
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let now = self.now;
        for (up, down) in &mut self.wires {
            for wire in [up, down] {
                while let Some(packet) = wire.poll(now) {
                    let end = match packet.to {
                        Side::Person => &mut self.people[packet.person].end,
                        Side::Handler => &mut self.handler.sessions[packet.person].end,
                    };
                    end.receive(now, packet.ecn, &packet.bytes)?;
                }
            }
        }
        for person in &mut self.people {
            person.step(now)?;
        }
        self.handler.step(now)?;
        for (at, &link) in self.on.iter().enumerate() {
            let (up, down) = &mut self.wires[link];
            if now < self.people[at].joins {
                continue;
            }
            for packet in self.people[at].end.transmit(now) {
                up.send(now, at, Side::Handler, packet);
            }
            for packet in self.handler.sessions[at].end.transmit(now) {
                down.send(now, at, Side::Person, packet);
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Duration> {
        let wires = self.wires.iter();
        let wires = wires.flat_map(|(up, down)| [up.deadline(), down.deadline()]);
        let wires = wires.flatten().min();
        let now = self.now;
        let people = self.people.iter();
        let people = people.filter_map(|it| it.deadline(now)).min();
        let all = [wires, people, self.handler.deadline()];
        all.into_iter().flatten().min()
    }

    fn sample(&mut self, at: Duration) {
        for (number, person) in self.people.iter_mut().enumerate() {
            let came = person.bytes - self.sampled[number];
            self.sampled[number] = person.bytes;
            person.record.bytes.push((at, came));
            let estimate_bps = self.handler.belief(number);
            let from = at.saturating_sub(SAMPLE);
            let (_, down) = &self.wires[self.on[number]];
            let waited = down.waited().iter().rev();
            let waited = waited.take_while(|(when, _)| *when > from);
            let pictures = person.record.pictures.values().next();
            let last = pictures.and_then(|all| all.last());
            person.record.curve.push(Sample {
                at,
                estimate_bps,
                rate_bps: came * 8 * 10,
                layer: last.map(|picture| picture.layer),
                queue: waited.map(|(_, waited)| *waited).max().unwrap_or_default(),
            });
        }
    }

    fn into_record(self) -> Record {
        let queues = self.wires.iter();
        let queues = queues.flat_map(|(up, down)| [up.waited().to_vec(), down.waited().to_vec()]);
        Record {
            length: self.now,
            queues: queues.collect(),
            people: self.people.into_iter().map(|it| it.record).collect(),
        }
    }
}

/// The cameras of the others, as large as this one shows them.
fn shown(at: usize, part: &Part, cast: &[Part]) -> Vec<View> {
    let Some((width_px, height_px)) = part.shows else {
        return Vec::new();
    };
    let others = cast.iter().enumerate();
    let others = others.filter(|(other, it)| *other != at && it.camera);
    let views = others.map(|(other, _)| View {
        track: camera_track(other).0,
        width_px,
        height_px,
        pinned: false,
    });
    views.collect()
}
