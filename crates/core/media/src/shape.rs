//! What a publisher says of a track's form, as far as a handler needs it to choose.

use darktower_wire::media::MAX_LAYER;

use crate::Bitrate;

/// The form of a track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// It shows a screen: sharpness goes before motion, and it before cameras.
    pub screen: bool,
    /// Its layers, the smallest first. Empty for audio.
    pub layers: Vec<LayerShape>,
}

/// The form of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// Width in pixels; 0 where unknown.
    pub width_px: u32,
    /// Height in pixels; 0 where unknown.
    pub height_px: u32,
    /// What it takes at most; zero where unknown.
    pub max_bitrate: Bitrate,
    /// Temporal layers, at least 1.
    pub temporal_layers: u8,
}

impl Default for LayerShape {
    fn default() -> Self {
        Self {
            width_px: 0,
            height_px: 0,
            max_bitrate: Bitrate::ZERO,
            temporal_layers: 1,
        }
    }
}

impl Shape {
    /// So many layers, of which nothing else is known.
    pub fn of_layers(count: u8) -> Self {
        Self {
            screen: false,
            layers: (0..count).map(|_| LayerShape::default()).collect(),
        }
    }

    /// Layers that are counted: at least one, which is all that audio has, at most
    /// as many as a header can name.
    pub fn count(&self) -> usize {
        self.layers.len().clamp(1, usize::from(MAX_LAYER) + 1)
    }
}
