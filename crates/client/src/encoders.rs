//! What the core asks of a program's encoders, kept until the program looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What is asked of the encoder of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The layer, 0 the smallest.
    pub layer: u8,
    /// The next picture has to be a key frame.
    pub key_frame: bool,
    /// A new setting: bits a second, or 0 to make nothing until said otherwise.
    pub target_bps: Option<u32>,
}

/// The encoders of one track: the newest word on each layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoders {
    asked: Arc<Mutex<BTreeMap<u8, Asked>>>,
    key_frame: Arc<Notify>,
}

impl Encoders {
    fn layers(&self) -> MutexGuard<'_, BTreeMap<u8, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(layers: &mut BTreeMap<u8, Asked>, layer: u8) -> &mut Asked {
        let asked = layers.entry(layer).or_default();
        asked.layer = layer;
        asked
    }

    pub(crate) fn key_frame(&self, layer: u8) {
        Self::of(&mut self.layers(), layer).key_frame = true;
        self.key_frame.notify_one();
    }

    /// Waits until a key frame may have been asked for: [`Encoders::take_key_frame`] tells.
    pub(crate) async fn key_frame_asked(&self) {
        self.key_frame.notified().await;
    }

    pub(crate) fn encode(&self, layer: u8, target_bps: u32) {
        Self::of(&mut self.layers(), layer).target_bps = Some(target_bps);
    }

    /// Everything that was asked since the last time.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.layers()).into_values().collect()
    }

    /// Whether a key frame of any layer was asked; takes the wish back.
    pub(crate) fn take_key_frame(&self) -> bool {
        let mut layers = self.layers();
        let asked = layers
            .values_mut()
            .map(|one| std::mem::take(&mut one.key_frame));
        asked.fold(false, |any, one| any | one)
    }
}

/// The encoders of all own tracks, by handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracks(Arc<Mutex<BTreeMap<u32, Encoders>>>);

impl Tracks {
    fn tracks(&self) -> MutexGuard<'_, BTreeMap<u32, Encoders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, handle: u32) -> Encoders {
        self.tracks().entry(handle).or_default().clone()
    }

    pub(crate) fn forget(&self, handle: u32) {
        self.tracks().remove(&handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_counts_and_is_said_once() {
        let tracks = Tracks::default();
        let encoders = tracks.of(1);
        encoders.encode(2, 500);
        encoders.encode(2, 0);
        encoders.key_frame(0);
        let asked = tracks.of(1).take();
        let paused = Asked {
            layer: 2,
            key_frame: false,
            target_bps: Some(0),
        };
        let key = Asked {
            layer: 0,
            key_frame: true,
            target_bps: None,
        };
        assert_eq!(asked, [key, paused]);
        assert_eq!(encoders.take(), []);
        assert!(!encoders.take_key_frame());
    }
}
