//! What of a clip is due when, over and over, without a clock.

use std::sync::Arc;
use std::time::Duration;

use super::{Clip, ClipChunk};

/// A clip that is being played from its first chunk, in a loop whose times never jump.
#[derive(Debug, Clone)]
pub struct Playback {
    clip: Arc<Clip>,
    next: usize,
    due: Duration,
}

impl Playback {
    /// Begins at time 0 with the first chunk.
    pub fn new(clip: Arc<Clip>) -> Self {
        Self {
            clip,
            next: 0,
            due: Duration::ZERO,
        }
    }

    /// When the next chunk is due, since the begin.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// The next chunk becomes the next one that is a key frame. It is due when the other would have been.
    pub fn skip_to_key(&mut self) {
        let chunks = &self.clip.chunks;
        let key = chunks[self.next..].iter().position(|it| it.key);
        // A clip begins with a key frame.
        self.next = key.map_or(0, |ahead| self.next + ahead);
    }

    /// Takes the next chunk; the one after it is due when this one has been shown.
    pub fn take(&mut self) -> &ClipChunk {
        let chunk = &self.clip.chunks[self.next];
        let after = self.clip.chunks.get(self.next + 1);
        let end = after.map_or(self.clip.length, |it| it.at);
        self.due += end.saturating_sub(chunk.at);
        self.take_early()
    }

    /// Takes the next chunk in between: the one after it is due when this one would have been.
    pub fn take_early(&mut self) -> &ClipChunk {
        let at = self.next;
        let is_last = at + 1 == self.clip.chunks.len();
        self.next = if is_last { 0 } else { at + 1 };
        &self.clip.chunks[at]
    }
}
