//! What of a microphone is worth sending.
//!
//! A pause is said, not left to be guessed: [`Turn::Rest`] packets carry the level 127
//! and the sound of the room, three at its beginning (one may be lost) and one each
//! 400 ms. A missing packet after any other is a loss.

use crate::voice::Heard;

/// What becomes of one packet of 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Encode and send it with its level.
    Send,
    /// Encode and send it with level 127 and without the voice flag: nothing worth
    /// hearing follows until the next packet.
    Rest,
    /// Do not even encode it.
    Pause,
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A microphone: pauses when nobody speaks in a quiet room.
    Voice,
    /// Music or the sound of a film: pauses when there is none.
    Sound,
}

/// A quiet microphone, in −dBov. A louder background is sent as it is: who sits beside
/// a fall of water may want it heard, and comfort noise would not sound like it.
const QUIET_VOICE: u8 = 45;
/// Softer than any passage of music.
const QUIET_SOUND: u8 = 85;
/// So many quiet packets before a pause, after the detector's own 300 ms.
const PATIENCE: u32 = 10;
/// So many rest packets begin a pause.
const REST_PACKETS: u32 = 3;
/// One rest packet in so many: 400 ms.
const REST_EVERY: u32 = 20;

/// Decides packet by packet. One for each own track.
#[derive(Debug)]
pub struct Gate {
    kind: Kind,
    /// Packets in a row that were not worth sending.
    quiet: u32,
    /// Packets since the pause began; `None` outside of one.
    paused: Option<u32>,
}

impl Gate {
    /// A gate that is open.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            quiet: 0,
            paused: None,
        }
    }

    /// What to do with the next packet. Of a muted track nothing is heard: the shell
    /// hands silence to the encoder, and after the first rest packets nothing at all.
    pub fn take(&mut self, heard: Heard, muted: bool) -> Turn {
        if !muted && self.is_worth_hearing(heard) {
            self.quiet = 0;
            self.paused = None;
            return Turn::Send;
        }
        self.quiet = self.quiet.saturating_add(1);
        if !muted && self.paused.is_none() && self.quiet < PATIENCE {
            return Turn::Send;
        }
        let since = self.paused.map_or(0, |since| since.saturating_add(1));
        self.paused = Some(since);
        let comfort = !muted && since.is_multiple_of(REST_EVERY);
        if since < REST_PACKETS || comfort {
            Turn::Rest
        } else {
            Turn::Pause
        }
    }

    fn is_worth_hearing(&self, heard: Heard) -> bool {
        match self.kind {
            Kind::Voice => heard.voice || heard.stands_out || heard.minus_dbov < QUIET_VOICE,
            Kind::Sound => heard.minus_dbov < QUIET_SOUND,
        }
    }
}
