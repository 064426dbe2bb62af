//! One output as the other side of the ABI reads it.

use bytes::Bytes;
use darktower_participant::{Link, Output};
use darktower_wire::Code;
use darktower_wire::media::AudioLevel;

/// What kind of output a record holds; the numbers are the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "each kind is the Output of the same name")]
pub enum Kind {
    None = 0,
    Connect = 1,
    Close = 2,
    OpenUni = 3,
    OpenBi = 4,
    Write = 5,
    Reset = 6,
    Datagram = 7,
    Video = 8,
    Audio = 9,
    KeyFrame = 10,
    State = 11,
    Event = 12,
    Stop = 13,
    Encode = 14,
    Keep = 15,
    Replace = 16,
}

/// An output: its kind, up to four numbers, bytes and a text.
#[derive(Debug, Clone)]
pub struct Record {
    /// Which output this is.
    pub kind: Kind,
    /// Numbers, by kind.
    pub numbers: [f64; 4],
    /// Bytes to send or to decode.
    pub data: Bytes,
    /// JSON or a reason.
    pub text: String,
}

impl Record {
    fn new(kind: Kind, numbers: [f64; 4]) -> Self {
        Self {
            kind,
            numbers,
            data: Bytes::new(),
            text: String::new(),
        }
    }

    /// Nothing is waiting.
    pub fn none() -> Self {
        Self::new(Kind::None, [0.0; 4])
    }

    /// `output` as a record; `state` is asked for the picture where it changed.
    pub fn of(output: Output, state: impl FnOnce() -> String) -> Self {
        let stream = |link: Link, stream: u64| [link_number(link), stream as f64];
        match output {
            Output::Connect {
                link,
                beside,
                url,
                certificate_sha256,
            } => {
                let hashes: Vec<&[u8]> = certificate_sha256.iter().map(|hash| &hash[..]).collect();
                let text = serde_json::json!({ "url": url, "certificate_sha256": hashes });
                Self {
                    text: text.to_string(),
                    ..Self::new(
                        Kind::Connect,
                        [link_number(link), f64::from(u8::from(beside)), 0.0, 0.0],
                    )
                }
            }
            Output::Keep { link } => Self::new(Kind::Keep, [link_number(link), 0.0, 0.0, 0.0]),
            Output::Replace { link } => {
                Self::new(Kind::Replace, [link_number(link), 0.0, 0.0, 0.0])
            }
            Output::Close { link, code } => Self {
                text: code.name().to_owned(),
                ..Self::new(Kind::Close, [link_number(link), number(code), 0.0, 0.0])
            },
            Output::OpenUni {
                link,
                stream: id,
                priority,
            } => {
                let [link, id] = stream(link, id);
                Self::new(Kind::OpenUni, [link, id, f64::from(priority), 0.0])
            }
            Output::OpenBi { link, stream: id } => {
                let [link, id] = stream(link, id);
                Self::new(Kind::OpenBi, [link, id, 0.0, 0.0])
            }
            Output::Write {
                link,
                stream: id,
                bytes,
                fin,
            } => {
                let [link, id] = stream(link, id);
                let numbers = [link, id, f64::from(u8::from(fin)), 0.0];
                Self {
                    data: bytes,
                    ..Self::new(Kind::Write, numbers)
                }
            }
            Output::Reset {
                link,
                stream: id,
                code,
            } => {
                let [link, id] = stream(link, id);
                Self::new(Kind::Reset, [link, id, number(code), 0.0])
            }
            Output::Stop {
                link,
                stream: id,
                code,
            } => {
                let [link, id] = stream(link, id);
                Self::new(Kind::Stop, [link, id, number(code), 0.0])
            }
            Output::Datagram(bytes) => {
                let numbers = [link_number(Link::Media), 0.0, 0.0, 0.0];
                Self {
                    data: bytes,
                    ..Self::new(Kind::Datagram, numbers)
                }
            }
            Output::Video {
                track,
                layer,
                key,
                behind,
                capture_us,
                chunk,
            } => {
                let flags = f64::from(u8::from(key) | u8::from(behind) << 1);
                let numbers = [
                    f64::from(track.0),
                    f64::from(layer),
                    flags,
                    capture_us as f64,
                ];
                Self {
                    data: chunk,
                    ..Self::new(Kind::Video, numbers)
                }
            }
            Output::Audio {
                track,
                number,
                capture_us,
                level,
                chunk,
            } => {
                let byte = |level: AudioLevel| level.minus_dbov | u8::from(level.voice) << 7;
                let level = level.map_or(-1.0, |level| f64::from(byte(level)));
                let numbers = [f64::from(track.0), capture_us as f64, level, number as f64];
                Self {
                    data: chunk,
                    ..Self::new(Kind::Audio, numbers)
                }
            }
            Output::KeyFrame { handle, layer } => Self::new(
                Kind::KeyFrame,
                [f64::from(handle), f64::from(layer), 0.0, 0.0],
            ),
            Output::Encode {
                handle,
                layer,
                target_bps,
            } => Self::new(
                Kind::Encode,
                [
                    f64::from(handle),
                    f64::from(layer),
                    f64::from(target_bps),
                    0.0,
                ],
            ),
            Output::Changed => Self {
                text: state(),
                ..Self::new(Kind::State, [0.0; 4])
            },
            Output::Event(event) => Self {
                text: serde_json::json!(event).to_string(),
                ..Self::new(Kind::Event, [0.0; 4])
            },
        }
    }
}

fn number(code: Code) -> f64 {
    f64::from(code.number())
}

/// The links' numbers in the ABI.
pub(crate) fn link_number(link: Link) -> f64 {
    match link {
        Link::Signal => 0.0,
        Link::Media => 1.0,
    }
}

/// The link with this number.
pub(crate) fn link_of(number: u32) -> Option<Link> {
    match number {
        0 => Some(Link::Signal),
        1 => Some(Link::Media),
        _ => None,
    }
}
