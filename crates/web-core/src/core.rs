//! The calls of the ABI without pointers.

use std::time::Duration;

use bytes::Bytes;
use darktower_participant::{Command, Encoded, Input, Participant};
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::AudioLevel;

use crate::record::{Record, link_of};

/// One participant behind numbers and byte slices.
///
/// Times are milliseconds: `now` on a monotone clock of the caller's choice,
/// `wall` since the Unix epoch. Calls answer 0, or the number of the
/// [`Code`] that says why the input was refused.
#[derive(Debug, Default)]
pub struct Core {
    participant: Participant,
}

impl Core {
    /// A wish in JSON, see [`Command`].
    pub fn command(&mut self, now: f64, wall: f64, json: &[u8]) -> u32 {
        match serde_json::from_slice::<Command>(json) {
            Ok(command) => self.handle(now, wall, Input::Command(command)),
            Err(_) => Code::Malformed.number(),
        }
    }

    /// A link is open.
    pub fn link_up(&mut self, now: f64, wall: f64, link: u32, max_datagram: u32) -> u32 {
        let Some(link) = link_of(link) else {
            return Code::Malformed.number();
        };
        self.handle(
            now,
            wall,
            Input::LinkUp {
                link,
                max_datagram: max_datagram as usize,
            },
        )
    }

    /// The connection beside the one that stands, stands as well.
    pub fn link_beside(&mut self, now: f64, wall: f64, link: u32) -> u32 {
        match link_of(link) {
            Some(link) => self.handle(now, wall, Input::Beside(link)),
            None => Code::Malformed.number(),
        }
    }

    /// A link could not be opened, or is gone; `code` is the close code or
    /// that of `connect_failed` or `connection_lost`.
    pub fn link_down(&mut self, now: f64, wall: f64, link: u32, code: u32) -> u32 {
        let Some(link) = link_of(link) else {
            return Code::Malformed.number();
        };
        let code = Code::from_number(code).unwrap_or(Code::ConnectionLost);
        self.handle(now, wall, Input::LinkDown { link, code })
    }

    /// Bytes of a stream arrived.
    pub fn stream_data(
        &mut self,
        now: f64,
        wall: f64,
        link: u32,
        stream: f64,
        bytes: &[u8],
        fin: bool,
    ) -> u32 {
        let Some(link) = link_of(link) else {
            return Code::Malformed.number();
        };
        let bytes = Bytes::copy_from_slice(bytes);
        self.handle(
            now,
            wall,
            Input::StreamData {
                link,
                stream: stream as u64,
                bytes,
                fin,
            },
        )
    }

    /// The other end gave up a stream, or asked this end to.
    pub fn stream_reset(&mut self, now: f64, wall: f64, link: u32, stream: f64) -> u32 {
        let Some(link) = link_of(link) else {
            return Code::Malformed.number();
        };
        self.handle(
            now,
            wall,
            Input::StreamReset {
                link,
                stream: stream as u64,
            },
        )
    }

    /// So many bytes of an own stream have been taken over but not sent.
    pub fn stream_backlog(
        &mut self,
        now: f64,
        wall: f64,
        link: u32,
        stream: f64,
        bytes: u32,
    ) -> u32 {
        let Some(link) = link_of(link) else {
            return Code::Malformed.number();
        };
        let bytes = bytes as usize;
        self.handle(
            now,
            wall,
            Input::Backlog {
                link,
                stream: stream as u64,
                bytes,
            },
        )
    }

    /// A datagram arrived on the media link.
    pub fn datagram(&mut self, now: f64, wall: f64, bytes: &[u8]) -> u32 {
        self.handle(now, wall, Input::Datagram(Bytes::copy_from_slice(bytes)))
    }

    /// One encoded chunk of an own track. `level` is -1 for none, else -dBov
    /// with 128 added for a voice.
    #[allow(clippy::too_many_arguments, reason = "an ABI has numbers, not structs")]
    pub fn encoded(
        &mut self,
        now: f64,
        handle: u32,
        layer: u32,
        temporal: u32,
        key: bool,
        capture_us: f64,
        level: i32,
        chunk: &[u8],
    ) -> u32 {
        let level = (0..256).contains(&level).then_some(AudioLevel {
            minus_dbov: (level & 0x7f) as u8,
            voice: level & 0x80 != 0,
        });
        let (Ok(layer), Ok(temporal)) = (u8::try_from(layer), u8::try_from(temporal)) else {
            return Code::Malformed.number();
        };
        let capture_us = capture_us.max(0.0) as u64;
        let encoded = Encoded {
            handle,
            layer,
            temporal,
            key,
            capture_us,
            level,
            chunk,
        };
        self.participant.encoded(milliseconds(now), encoded);
        0
    }

    /// A decoder lost its way and needs a key frame.
    pub fn key_frame_wanted(&mut self, now: f64, wall: f64, track: u32) -> u32 {
        self.handle(now, wall, Input::KeyFrameWanted(TrackId(track)))
    }

    /// The deadline has come.
    pub fn tick(&mut self, now: f64, wall: f64) -> u32 {
        self.handle(now, wall, Input::Tick)
    }

    /// When to call [`tick`](Self::tick) at the latest, in milliseconds of the
    /// monotone clock; infinite where nothing is waited for.
    pub fn deadline(&self) -> f64 {
        self.participant
            .deadline()
            .map_or(f64::INFINITY, |at| at.as_secs_f64() * 1000.0)
    }

    /// The next effect to perform.
    pub fn poll(&mut self) -> Record {
        match self.participant.poll() {
            None => Record::none(),
            Some(output) => Record::of(output, || {
                serde_json::json!(self.participant.state()).to_string()
            }),
        }
    }

    fn handle(&mut self, now: f64, wall: f64, input: Input) -> u32 {
        self.participant
            .handle(milliseconds(now), wall as u64, input);
        0
    }
}

fn milliseconds(time: f64) -> Duration {
    Duration::from_secs_f64(time.clamp(0.0, 1e12) / 1000.0)
}
