//! A synthetic microphone.

use std::time::Duration;

use bytes::Bytes;
use darktower_wire::media::AudioLevel;

use super::Mark;

/// How often its packets come.
pub const SOUND_EVERY: Duration = Duration::from_millis(20);

/// Opus at 32 kbit/s: 80 bytes each 20 ms.
const SOUND_BYTES: usize = 80;

/// A microphone with somebody who speaks at it, or nobody.
#[derive(Debug)]
pub struct Microphone {
    /// How loud who speaks is, and when somebody does.
    speech: Vec<(Duration, Option<u8>)>,
    counter: u64,
}

/// Level of a room in which nobody speaks.
const ROOM_MINUS_DBOV: u8 = 75;

impl Microphone {
    /// `speech` says from when on the voice has which level (-dBov), or is silent.
    pub fn new(speech: Vec<(Duration, Option<u8>)>) -> Self {
        Self { speech, counter: 0 }
    }

    /// The level of the voice at a time, if there is one.
    pub fn voice_at(&self, now: Duration) -> Option<u8> {
        let said = self.speech.iter().rev().find(|(from, _)| *from <= now);
        said.and_then(|(_, voice)| *voice)
    }

    /// The packet that ends `now` in what is spoken, marked with the time `captured`.
    pub fn packet(&mut self, now: Duration, captured: Duration) -> (Bytes, AudioLevel) {
        let voice = self.voice_at(now);
        let level = AudioLevel {
            minus_dbov: voice.unwrap_or(ROOM_MINUS_DBOV),
            voice: voice.is_some(),
        };
        let mark = Mark {
            counter: self.counter,
            captured,
        };
        self.counter += 1;
        (mark.chunk(SOUND_BYTES), level)
    }
}
