//! A synthetic camera with its encoders.
//!
//! It obeys what a publisher asks of an encoder: targets and pauses of its layers, key frames on demand. Its frames
//! have the sizes of a real-time encoder's: a key frame is many times a delta frame and is paid back in the frames
//! after it, lower temporal layers are larger, and each size varies.

use std::time::Duration;

use bytes::Bytes;
use darktower_media::{Bitrate, LayerShape, Shape};

use super::dice::Dice;
use super::{MARK, Mark};

/// A key frame as a multiple of the mean frame. Real-time encoders bound it to about
/// this (libvpx's `max_intra_target` of 300 to 450 %).
const KEY_RATIO: f64 = 4.5;
/// Frame sizes vary by so much of themselves, up and down.
const JITTER: f64 = 0.25;
/// L1T3: sizes of temporal layers 0, 1 and 2 relative to the mean frame.
const TEMPORAL_WEIGHT: [f64; 3] = [1.6, 1.0, 0.7];
/// The order of temporal layers in L1T3.
const PATTERN: [u8; 4] = [0, 2, 1, 2];
/// At most this much of each frame pays back what a key frame took.
const PAYBACK: f64 = 0.3;

/// A frame out of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its layer.
    pub layer: u8,
    /// Its temporal layer.
    pub temporal: u8,
    /// Decodable on its own.
    pub key: bool,
    /// The chunk, which begins with its mark.
    pub chunk: Bytes,
}

#[derive(Debug)]
struct Encoder {
    shape: LayerShape,
    /// `None`: paused.
    target: Option<Bitrate>,
    key_wanted: bool,
    /// Place in the temporal pattern.
    place: usize,
    counter: u64,
    /// Bytes that were spent above the target.
    debt: f64,
}

/// A camera whose pictures are encoded in layers.
#[derive(Debug)]
pub struct Camera {
    encoders: Vec<Encoder>,
    fps: u32,
    dice: Dice,
}

/// The layers of a 720p camera.
pub fn camera_shape() -> Shape {
    let layer = |width_px, height_px, kbps| LayerShape {
        width_px,
        height_px,
        max_bitrate: Bitrate::from_kbps(kbps),
        temporal_layers: 3,
    };
    Shape {
        screen: false,
        layers: vec![
            layer(320, 180, 150),
            layer(640, 360, 500),
            layer(1280, 720, 1700),
        ],
    }
}

impl Camera {
    /// A camera of this shape at 30 pictures a second.
    pub fn new(shape: &Shape, seed: u64) -> Self {
        let encoder = |shape: &LayerShape| Encoder {
            shape: *shape,
            target: Some(shape.max_bitrate),
            key_wanted: true,
            place: 0,
            counter: 0,
            debt: 0.0,
        };
        Self {
            encoders: shape.layers.iter().map(encoder).collect(),
            fps: 30,
            dice: Dice::new(seed),
        }
    }

    /// Time between two pictures.
    pub fn every(&self) -> Duration {
        Duration::from_secs(1) / self.fps
    }

    /// The encoder of a layer is to aim at `target`, or to pause. One that comes out
    /// of a pause begins with a key frame.
    pub fn encode(&mut self, layer: u8, target: Option<Bitrate>) {
        if let Some(encoder) = self.encoders.get_mut(usize::from(layer)) {
            encoder.key_wanted |= encoder.target.is_none();
            encoder.target = target;
        }
    }

    /// The next picture of a layer is to be a key frame.
    pub fn key_frame(&mut self, layer: u8) {
        if let Some(encoder) = self.encoders.get_mut(usize::from(layer)) {
            encoder.key_wanted = true;
        }
    }

    /// Encodes one picture, captured at `now`.
    pub fn picture(&mut self, now: Duration) -> Vec<Picture> {
        let (fps, dice) = (f64::from(self.fps), &mut self.dice);
        let layers = (0..).zip(&mut self.encoders);
        layers
            .filter_map(|(layer, encoder)| encoder.picture(layer, now, fps, dice))
            .collect()
    }
}

impl Encoder {
    fn picture(&mut self, layer: u8, now: Duration, fps: f64, dice: &mut Dice) -> Option<Picture> {
        // The dice fall for every picture, so that a pause changes no other outcome.
        let varied = 1.0 + JITTER * (2.0 * dice.unit() - 1.0);
        let target = self.target?;
        let mean = target.bps() as f64 / 8.0 / fps;
        let key = std::mem::take(&mut self.key_wanted);
        if key {
            self.place = 0;
        }
        let temporal = match self.shape.temporal_layers {
            0 | 1 => 0,
            _ => PATTERN[self.place % PATTERN.len()],
        };
        let weight = match (key, self.shape.temporal_layers) {
            (true, _) => KEY_RATIO,
            (false, 0 | 1) => 1.0,
            (false, _) => TEMPORAL_WEIGHT[usize::from(temporal)],
        };
        let paid = self.debt.min(mean * PAYBACK).max(0.0);
        let size = if key {
            mean * weight
        } else {
            mean * weight - paid
        };
        let size = (size * varied).max(MARK as f64);
        self.debt = (self.debt + size - mean).clamp(-mean, mean * fps);
        self.place += 1;
        let mark = Mark {
            counter: self.counter,
            captured: now,
        };
        self.counter += 1;
        Some(Picture {
            layer,
            temporal,
            key,
            chunk: mark.chunk(size as usize),
        })
    }
}
