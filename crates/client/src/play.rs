//! Publishes a clip in real time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::client::{Chunk, Gone, Track};
use crate::file::{Clip, Playback};

impl Track {
    /// Plays `clip` over and over, at its own pace, as if it were captured now; each chunk is sent at its capture time.
    /// Where a key frame is wanted the clip's next one is sent at once, as an encoder would make one of the newest
    /// picture, and the clip goes on behind it at its pace.
    /// Begins at `from` since [`Client::enter`](crate::Client::enter), which tracks that belong together share.
    /// While the track is muted time goes on and nothing is sent. Ends with the participant, or when dropped.
    pub async fn play(&self, clip: &Arc<Clip>, from: Duration) -> Gone {
        let mut playback = Playback::new(Arc::clone(clip));
        let (mut begun, mut was_muted) = (false, false);
        loop {
            let due = from + playback.due();
            // When something is asked for before the next chunk is due.
            let early = tokio::select! {
                biased;
                () = sleep_until(self.client().at(due)) => None,
                () = self.key_frame_asked() => Some(self.client().now()).filter(|now| *now < due),
            };
            if self.is_muted() {
                if early.is_none() {
                    was_muted = true;
                    playback.take();
                }
                continue;
            }
            let begins = self.take_key_frame_wanted() || std::mem::take(&mut was_muted);
            if begins {
                playback.skip_to_key();
            }
            let (captured, chunk) = match early {
                None => (due, playback.take()),
                // Nothing was captured before the first picture.
                Some(now) if begins && begun => (now, playback.take_early()),
                Some(_) => continue,
            };
            begun = true;
            let sent = self.send(Chunk {
                bytes: chunk.bytes.clone(),
                key: chunk.key,
                layer: 0,
                temporal: 0,
                captured,
                level: None,
            });
            if sent.await.is_err() {
                return Gone;
            }
        }
    }
}
