//! A participant: camera, microphone, the cores of its two halves, one connection.

use std::time::Duration;

use anyhow::Context as _;
use darktower_client::synthetic::{Camera, Mark, Microphone, SOUND_EVERY};
use darktower_media::Kind;
use darktower_media::publisher::{self, Publisher};
use darktower_media::subscriber::{self, Subscriber};
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::ids::TrackId;
use darktower_wire::media_control::{
    ClientControl, Demand, Hello, KeyFrameWanted, ServerControl, View, client_control,
    server_control,
};

use super::keys::Clear;
use crate::quic::{End, Heard, Stream};
use crate::record::{self, Picture, Said, Setting, Sound};

/// The publisher's own names of its tracks.
pub(crate) const CAMERA: u32 = 1;
pub(crate) const MICROPHONE: u32 = 2;

/// What somebody publishes: the track, what makes its frames, and when the next is due.
pub(crate) struct Source<T> {
    pub(crate) track: TrackId,
    pub(crate) device: T,
    pub(crate) next: Duration,
}

pub(crate) struct Person {
    pub(crate) end: End,
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    pub(crate) camera: Option<Source<Camera>>,
    pub(crate) microphone: Option<Source<Microphone>>,
    pub(crate) shown: Vec<View>,
    pub(crate) record: record::Person,
    pub(crate) bytes: u64,
    pub(crate) joins: Duration,
    control: Decoder,
    /// When the cores and devices want to be called.
    due: Duration,
}

impl Person {
    pub(crate) fn new(end: End) -> Self {
        Self {
            end,
            publisher: Publisher::new(publisher::Config::default(), 1),
            subscriber: Subscriber::new(subscriber::Config::default()),
            camera: None,
            microphone: None,
            shown: Vec::new(),
            record: record::Person::default(),
            bytes: 0,
            joins: Duration::ZERO,
            control: Decoder::new(MAX_MEDIA_CONTROL),
            due: Duration::ZERO,
        }
    }

    fn say(&mut self, body: client_control::Body) {
        let bytes = framing::encode(&ClientControl { body: Some(body) });
        self.end.write(Stream::CONTROL, bytes, 0);
    }

    pub(crate) fn step(&mut self, now: Duration) -> anyhow::Result<()> {
        if now < self.joins || self.deadline(now).is_none_or(|due| due > now) {
            return Ok(());
        }
        self.end.settle(now);
        while let Some(heard) = self.end.heard() {
            self.hear(now, heard)?;
        }
        self.capture(now);
        for (stream, bytes) in self.end.backlogs().collect::<Vec<_>>() {
            let stream = stream.0;
            self.publish(now, publisher::Input::Backlog { stream, bytes });
        }
        if self.publisher.deadline().is_some_and(|due| due <= now) {
            self.publish(now, publisher::Input::Tick);
        }
        if self.subscriber.deadline().is_some_and(|due| due <= now) {
            self.subscribe(now, subscriber::Input::Tick);
        }
        let devices = [
            self.camera.as_ref().map(|it| it.next),
            self.microphone.as_ref().map(|it| it.next),
        ];
        let cores = [self.publisher.deadline(), self.subscriber.deadline()];
        let all = devices.into_iter().chain(cores).flatten().min();
        self.due = all.unwrap_or(Duration::MAX);
        Ok(())
    }

    fn hear(&mut self, now: Duration, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Connected { max_datagram } => {
                self.record.connected.push(now);
                self.control = Decoder::new(MAX_MEDIA_CONTROL);
                self.end.open(Stream::CONTROL, i32::MAX);
                self.say(client_control::Body::Hello(Hello {}));
                let views = self.shown.clone();
                self.say(client_control::Body::Demand(Demand { views }));
                self.subscribe(now, subscriber::Input::Connected);
                self.publish(now, publisher::Input::Connected { max_datagram });
            }
            Heard::Data {
                stream: Stream::CONTROL,
                bytes,
                ..
            } => self.control(now, &bytes)?,
            Heard::Data {
                stream: Stream(stream),
                bytes,
                fin,
            } => {
                self.bytes += bytes.len() as u64;
                self.subscribe(now, subscriber::Input::StreamData { stream, bytes, fin });
            }
            Heard::Reset {
                stream: Stream(stream),
            } => self.subscribe(now, subscriber::Input::StreamReset { stream }),
            Heard::Datagram(bytes) => {
                self.bytes += bytes.len() as u64;
                self.subscribe(now, subscriber::Input::Datagram(bytes));
            }
            Heard::Stopped {
                stream: Stream(stream),
            }
            | Heard::Drained {
                stream: Stream(stream),
                ..
            } => {
                let bytes = self.end.backlog(Stream(stream));
                self.publish(now, publisher::Input::Backlog { stream, bytes });
            }
            Heard::Lost => {
                self.publish(now, publisher::Input::Disconnected);
                self.subscribe(now, subscriber::Input::Disconnected);
            }
        }
        Ok(())
    }

    fn control(&mut self, now: Duration, bytes: &[u8]) -> anyhow::Result<()> {
        self.control.push(bytes);
        while let Some(message) = self.control.next_message::<ServerControl>()? {
            match message.body.context("an empty message")? {
                server_control::Body::Welcome(_)
                | server_control::Body::Pong(_)
                | server_control::Body::Drain(_) => {}
                server_control::Body::KeyFrameWanted(wanted) => {
                    let (track, layer) = (TrackId(wanted.track), u8::try_from(wanted.layer)?);
                    self.publish(now, publisher::Input::KeyFrameWanted { track, layer });
                }
                server_control::Body::LayersWanted(wanted) => {
                    let (track, layers) = (TrackId(wanted.track), u16::try_from(wanted.layers)?);
                    self.publish(now, publisher::Input::LayersWanted { track, layers });
                }
                server_control::Body::Feedback(said) => {
                    let feedback = said.into();
                    self.publish(now, publisher::Input::Feedback(feedback));
                }
                server_control::Body::Allocation(said) => {
                    let paused = said.shares.iter().filter(|share| share.paused);
                    let paused = paused.map(|share| share.track).collect();
                    self.record.paused.push((now, paused));
                }
                server_control::Body::Speakers(said) => {
                    self.record.speakers.push((now, said.tracks));
                }
            }
        }
        Ok(())
    }

    fn capture(&mut self, now: Duration) {
        let sealer = &mut Clear;
        let capture_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        if let Some(camera) = self.camera.as_mut().filter(|it| it.next <= now) {
            camera.next += camera.device.every();
            for picture in camera.device.picture(now) {
                let encoded = publisher::Encoded {
                    handle: CAMERA,
                    layer: picture.layer,
                    temporal: picture.temporal,
                    key: picture.key,
                    capture_us,
                    level: None,
                    data: &picture.chunk,
                };
                // What is dropped is counted by the publisher and missed by receivers.
                let _ = self.publisher.frame(now, encoded, sealer);
            }
        }
        if let Some(microphone) = self.microphone.as_mut().filter(|it| it.next <= now) {
            microphone.next += SOUND_EVERY;
            let (chunk, level) = microphone.device.packet(now, now);
            if let Some(mark) = Mark::of(&chunk) {
                let said = self.record.said.entry(microphone.track.0).or_default();
                said.push(Said {
                    captured: now,
                    counter: mark.counter,
                    voice: level.voice,
                });
            }
            let encoded = publisher::Encoded {
                handle: MICROPHONE,
                layer: 0,
                temporal: 0,
                key: true,
                capture_us,
                level: Some(level),
                data: &chunk,
            };
            let _ = self.publisher.frame(now, encoded, sealer);
        }
        self.drain_publisher(now);
    }

    pub(crate) fn publish(&mut self, now: Duration, input: publisher::Input) {
        self.publisher.handle(now, input);
        self.drain_publisher(now);
    }

    fn drain_publisher(&mut self, now: Duration) {
        while let Some(output) = self.publisher.poll() {
            match output {
                publisher::Output::OpenStream { stream, priority } => {
                    self.end.open(Stream(stream), priority);
                }
                publisher::Output::Write { stream, bytes, fin } => {
                    if !bytes.is_empty() {
                        let counted = bytes.len();
                        self.end.write(Stream(stream), bytes, counted);
                    }
                    if fin {
                        self.end.finish(Stream(stream));
                    }
                }
                publisher::Output::Reset { stream, code } => {
                    self.end.reset(Stream(stream), code.number());
                }
                publisher::Output::Datagram(bytes) => self.end.datagram(bytes),
                publisher::Output::KeyFrame { layer, .. } => {
                    if let Some(camera) = &mut self.camera {
                        camera.device.key_frame(layer);
                    }
                }
                publisher::Output::Encode { layer, target, .. } => {
                    let bps = target.map(|it| it.bps());
                    let at = now;
                    self.record.encode.push(Setting { at, layer, bps });
                    if let Some(camera) = &mut self.camera {
                        camera.device.encode(layer, target);
                    }
                }
            }
        }
    }

    pub(crate) fn subscribe(&mut self, now: Duration, input: subscriber::Input) {
        self.subscriber.handle(now, input, &mut Clear);
        while let Some(output) = self.subscriber.poll() {
            match output {
                subscriber::Output::Frame(opened) => self.see(now, &opened),
                subscriber::Output::KeyFrameWanted { track, layer } => {
                    let (track, layer) = (track.0, u32::from(layer));
                    let wanted = KeyFrameWanted { track, layer };
                    self.say(client_control::Body::KeyFrameWanted(wanted));
                }
                subscriber::Output::Stop { stream, code } => {
                    self.end.stop(Stream(stream), code.number());
                }
            }
        }
    }

    fn see(&mut self, now: Duration, opened: &subscriber::Opened) {
        let Some(mark) = Mark::of(&opened.data) else {
            return;
        };
        let header = &opened.header;
        if header.level.is_some() {
            let sounds = self.record.sounds.entry(header.track.0).or_default();
            sounds.push(Sound {
                at: now,
                captured: mark.captured,
                counter: mark.counter,
            });
        } else {
            let pictures = self.record.pictures.entry(header.track.0).or_default();
            pictures.push(Picture {
                at: now,
                captured: mark.captured,
                layer: header.layer,
                temporal: header.temporal,
                key: header.key,
                bytes: opened.data.len(),
            });
        }
    }

    pub(crate) fn deadline(&self, now: Duration) -> Option<Duration> {
        if now < self.joins {
            return Some(self.joins);
        }
        let end = self.end.deadline();
        Some(end.map_or(self.due, |end| end.min(self.due)))
    }

    pub(crate) fn published(&mut self, now: Duration, shape: darktower_media::Shape) {
        if let Some(camera) = &self.camera {
            let (track, kind) = (camera.track, Kind::Video);
            let handle = CAMERA;
            self.publish(
                now,
                publisher::Input::Published {
                    handle,
                    track,
                    kind,
                    shape,
                },
            );
        }
        if let Some(microphone) = &self.microphone {
            let (track, kind, handle) = (microphone.track, Kind::Audio, MICROPHONE);
            let shape = darktower_media::Shape::default();
            self.publish(
                now,
                publisher::Input::Published {
                    handle,
                    track,
                    kind,
                    shape,
                },
            );
        }
    }
}
