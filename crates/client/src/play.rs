//! Publishes a clip in real time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::client::{Chunk, Gone, Track};
use crate::file::{Clip, Playback};

impl Track {
    /// Plays `clip` over and over, at its own pace, as if it were captured now; each chunk is sent at its capture time.
    /// Where a key frame is wanted it goes on at the clip's next one, as an encoder would make one of the next picture.
    /// Begins at `from` since [`Client::enter`](crate::Client::enter), which tracks that belong together share.
    /// While the track is muted time goes on and nothing is sent. Ends with the participant, or when dropped.
    pub async fn play(&self, clip: &Arc<Clip>, from: Duration) -> Gone {
        let mut playback = Playback::new(Arc::clone(clip));
        let mut was_muted = false;
        loop {
            let captured = from + playback.due();
            sleep_until(self.client().at(captured)).await;
            if self.is_muted() {
                was_muted = true;
                playback.take();
                continue;
            }
            if self.take_key_frame_wanted() || std::mem::take(&mut was_muted) {
                playback.skip_to_key();
            }
            let chunk = playback.take();
            let sent = self.send(Chunk {
                bytes: chunk.bytes.clone(),
                key: chunk.key,
                captured,
                level: None,
            });
            if sent.await.is_err() {
                return Gone;
            }
        }
    }
}
