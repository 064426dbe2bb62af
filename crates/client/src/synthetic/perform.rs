//! Synthetic devices as tracks of a native participant, in real time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use darktower_media::Bitrate;
use tokio::time::sleep_until;

use super::{Camera, Microphone, SOUND_EVERY, camera_shape};
use crate::client::{Chunk, Gone, Track};
use crate::{LayerOffer, TrackOffer, TrackSource};

/// The codec of synthetic tracks: no decoder knows it.
pub const CODEC: &str = "synthetic";

/// Time since 1970: the clock that chunks are marked with, the same for all programs of a machine.
pub fn clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The offer of a [`Camera`] of [`camera_shape`].
pub fn camera_offer() -> TrackOffer {
    let shape = camera_shape();
    let layers = shape.layers.iter().map(|layer| LayerOffer {
        width: layer.width_px,
        height: layer.height_px,
        bitrate: u32::try_from(layer.max_bitrate.bps()).unwrap_or(u32::MAX),
        temporal_layers: layer.temporal_layers.into(),
    });
    let layers = layers.collect();
    TrackOffer {
        layers,
        ..offer(TrackSource::Camera)
    }
}

/// The offer of a [`Microphone`].
pub fn microphone_offer() -> TrackOffer {
    TrackOffer {
        sample_rate: 48_000,
        channels: 1,
        ..offer(TrackSource::Microphone)
    }
}

fn offer(source: TrackSource) -> TrackOffer {
    TrackOffer {
        handle: 0,
        source,
        codec: CODEC.to_owned(),
        muted: false,
        label: "synthetic".to_owned(),
        layers: Vec::new(),
        replaces: None,
        sample_rate: 0,
        channels: 0,
    }
}

impl Track {
    /// Films with a synthetic camera from `from` on (since [`Client::enter`](crate::Client::enter)), each picture at
    /// its time, with the layers and rates that the core asks for. `asked` is told of each setting, and when.
    /// Ends with the participant, or when dropped.
    pub async fn film(
        &self,
        mut camera: Camera,
        from: Duration,
        mut asked: impl FnMut(Duration, u8, u32),
    ) -> Gone {
        let mut due = from;
        loop {
            sleep_until(self.client().at(due)).await;
            for wish in self.take_asked() {
                if let Some(bps) = wish.target_bps {
                    asked(clock(), wish.layer, bps);
                    let target = (bps > 0).then(|| Bitrate::from_bps(bps.into()));
                    camera.encode(wish.layer, target);
                }
                if wish.key_frame {
                    camera.key_frame(wish.layer);
                }
            }
            for picture in camera.picture(clock()) {
                let sent = self.send(Chunk {
                    bytes: picture.chunk,
                    key: picture.key,
                    layer: picture.layer,
                    temporal: picture.temporal,
                    captured: due,
                    level: None,
                });
                if sent.await.is_err() {
                    return Gone;
                }
            }
            due += camera.every();
        }
    }

    /// Speaks at a synthetic microphone from `from` on. `said` is told of each packet: its time, its running number and
    /// whether a voice is in it. Ends with the participant, or when dropped.
    pub async fn speak(
        &self,
        mut microphone: Microphone,
        from: Duration,
        mut said: impl FnMut(Duration, u64, bool),
    ) -> Gone {
        let mut due = from;
        let mut counter = 0;
        loop {
            sleep_until(self.client().at(due)).await;
            let captured = clock();
            let (bytes, level) = microphone.packet(due - from, captured);
            said(captured, counter, level.voice);
            counter += 1;
            let sent = self.send(Chunk {
                bytes,
                key: true,
                layer: 0,
                temporal: 0,
                captured: due,
                level: Some(level),
            });
            if sent.await.is_err() {
                return Gone;
            }
            due += SOUND_EVERY;
        }
    }
}
