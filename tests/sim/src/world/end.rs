//! A participant as the world sees it, and its camera and microphone.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_media::forwarder::SessionId as MediaSession;
use darktower_meeting::meeting::SessionId;
use darktower_participant::{Encoded, Participant};

use super::World;

const FRAME_EVERY: Duration = Duration::from_millis(33);
const PACKET_EVERY: Duration = Duration::from_millis(20);
pub(super) const VIDEO: u32 = 1;
pub(super) const AUDIO: u32 = 2;

/// A participant as the world sees it.
pub struct End {
    /// The core.
    pub participant: Participant,
    /// Pictures opened, by track.
    pub pictures: BTreeMap<u32, u64>,
    /// Audio packets opened, by track.
    pub packets: BTreeMap<u32, u64>,
    /// When the join was clicked, and when the first picture was opened.
    pub clicked: Option<Duration>,
    /// First picture of anybody.
    pub first_picture: Option<Duration>,
    pub(super) round_trip: Duration,
    pub(super) signal: Option<SessionId>,
    pub(super) media: Option<MediaSession>,
    /// Grows with each connection, so that news of an older one are dropped.
    pub(super) connection: [u64; 2],
    pub(super) sending: bool,
    pub(super) key_wanted: bool,
    pub(super) frames: u64,
    pub(super) next_frame: Duration,
    pub(super) next_packet: Duration,
}

impl End {
    pub(super) fn new(now: Duration, round_trip: Duration) -> Self {
        Self {
            participant: Participant::new(),
            pictures: BTreeMap::new(),
            packets: BTreeMap::new(),
            clicked: None,
            first_picture: None,
            round_trip,
            signal: None,
            media: None,
            connection: [0; 2],
            sending: false,
            key_wanted: true,
            frames: 0,
            next_frame: now,
            next_packet: now,
        }
    }

    /// Camera and microphone go on from `now`; what they missed is not made up for.
    pub fn start_at(&mut self, now: Duration) {
        self.next_frame = now;
        self.next_packet = now;
    }
}

impl World {
    /// What camera and microphone do.
    pub(super) fn capture(&mut self, at: usize) {
        let now = self.now;
        let end = &mut self.ends[at];
        if !end.sending || !self.capturing {
            return;
        }
        let capture_us = now.as_micros() as u64;
        if end.next_frame <= now {
            end.next_frame += FRAME_EVERY;
            let key = std::mem::take(&mut end.key_wanted);
            let chunk = vec![end.frames as u8; if key { 3000 } else { 700 }];
            end.frames += 1;
            let encoded = Encoded {
                handle: VIDEO,
                layer: 0,
                temporal: 0,
                key,
                capture_us,
                level: None,
                chunk: &chunk,
            };
            end.participant.encoded(now, encoded);
        }
        if end.next_packet <= now {
            end.next_packet += PACKET_EVERY;
            let encoded = Encoded {
                handle: AUDIO,
                layer: 0,
                temporal: 0,
                key: true,
                capture_us,
                level: None,
                chunk: &[7; 80],
            };
            end.participant.encoded(now, encoded);
        }
        self.drain_end(at);
    }
}
