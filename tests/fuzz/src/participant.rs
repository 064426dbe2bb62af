//! A whole participant whose servers say anything at all, in any order: it neither panics nor runs on for ever, and
//! shows nothing that no member sealed.

use std::time::Duration;

use bytes::Bytes;
use darktower_participant::{Command, Encoded, Input, Link, Output, Participant};
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_SIGNAL};
use darktower_wire::ids::TrackId;
use darktower_wire::media_control::{ServerControl, Welcome, server_control};
use darktower_wire::signal::{
    ClientMessage, Joined, KeyOutcome, KeyState, Kind, Lobby, Participant as Present, Published,
    Role, ServerMessage, Source, Track, TrackDescription, client_message, server_message,
};
use darktower_wire::varint;
use prost::Message;

const ME: [u8; 16] = [0xaa; 16];
const OTHER: [u8; 16] = [0xbb; 16];
/// What one input may at most lead to.
const MAX_OUTPUTS: usize = 10_000;

const ENTER: &str = r#"{"do": "enter", "access": {
    "meeting": {"id": "77777777777777777777777777777777", "code": "abc-defg-hij", "title": "", "max_participants": 9,
        "key_in_link": false},
    "participant_id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "role": "host",
    "signal": {"url": "https://127.0.0.1:4433/v1/signal", "token": "s"},
    "media": {"url": "https://127.0.0.1:4434/v1/media", "token": "m"},
    "key": {"founded": false}}}"#;
const JOIN: &str = r#"{"do": "join", "name": "Ann", "tracks": [
    {"handle": 1, "source": "camera", "codec": "vp8", "width": 640, "height": 360, "bitrate": 700000},
    {"handle": 2, "source": "microphone", "codec": "opus", "sample_rate": 48000, "channels": 2}]}"#;

struct World {
    participant: Participant,
    now: Duration,
    /// Reads what the participant says to its controller.
    said: Decoder,
    asked: Vec<ClientMessage>,
}

impl World {
    fn new() -> Self {
        Self {
            participant: Participant::new(),
            now: Duration::from_secs(1),
            said: Decoder::new(MAX_SIGNAL),
            asked: Vec::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        let wall = 1_795_000_000_000 + self.now.as_millis() as u64;
        self.participant.handle(self.now, wall, input);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            match self.participant.poll() {
                None => return,
                Some(Output::Connect {
                    link: Link::Signal, ..
                }) => self.said = Decoder::new(MAX_SIGNAL),
                Some(Output::Write {
                    link: Link::Signal,
                    bytes,
                    ..
                }) => {
                    self.said.push(&bytes);
                    while let Ok(Some(message)) = self.said.next_message() {
                        self.asked.push(message);
                    }
                }
                Some(Output::Video { .. } | Output::Audio { .. }) => {
                    panic!("shows what no member sealed")
                }
                Some(_) => {}
            }
        }
        panic!("one input leads to outputs without end");
    }

    fn wish(&mut self, json: &str) {
        if let Ok(command) = serde_json::from_str::<Command>(json) {
            self.tell(Input::Command(command));
        }
    }

    fn data(&mut self, link: Link, stream: u64, bytes: &[u8], fin: bool) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.tell(Input::StreamData {
            link,
            stream,
            bytes,
            fin,
        });
    }

    fn hear(&mut self, body: server_message::Body, reply_to: u64) {
        let message = ServerMessage {
            reply_to,
            body: Some(body),
            ..Default::default()
        };
        self.data(Link::Signal, 0, &framing::encode(&message), false);
    }

    fn enter(&mut self) {
        self.wish(ENTER);
        for link in [Link::Signal, Link::Media] {
            let max_datagram = 1200;
            self.tell(Input::LinkUp { link, max_datagram });
        }
        let body = Some(server_control::Body::Welcome(Welcome {}));
        self.data(
            Link::Media,
            0,
            &framing::encode(&ServerControl { body }),
            false,
        );
        let lobby = Lobby {
            participant_id: Bytes::copy_from_slice(&ME),
            key: Some(KeyState::default()),
            ..Default::default()
        };
        let request = self.asked(|body| matches!(body, client_message::Body::Hello(_)));
        self.hear(server_message::Body::Lobby(lobby), request);
    }

    /// The number of the request that fits; 0 where there was none.
    fn asked(&self, fits: impl Fn(&client_message::Body) -> bool) -> u64 {
        let mut asked = self.asked.iter();
        asked
            .find(|message| message.body.as_ref().is_some_and(&fits))
            .map_or(0, |message| message.request)
    }

    /// An honest controller takes the participant in, beside somebody with a camera and a microphone.
    fn join(&mut self) {
        self.wish(JOIN);
        let request = self.asked(|body| matches!(body, client_message::Body::Join(_)));
        let track = |id, kind: Kind, source: Source| Track {
            id,
            description: TrackDescription {
                kind: kind.into(),
                source: source.into(),
                ..Default::default()
            }
            .encode_to_vec()
            .into(),
            muted: false,
        };
        let present = |id: [u8; 16], tracks| Present {
            id: Bytes::copy_from_slice(&id),
            name: "Somebody".into(),
            role: Role::Guest.into(),
            away: false,
            tracks,
            decodes: Vec::new(),
        };
        let others = vec![
            track(7, Kind::Video, Source::Camera),
            track(8, Kind::Audio, Source::Microphone),
        ];
        let joined = Joined {
            participant_id: Bytes::copy_from_slice(&ME),
            resume_token: Bytes::from_static(&[4; 32]),
            seat_ttl_s: 300,
            participants: vec![present(ME, Vec::new()), present(OTHER, others)],
            key: Some(KeyOutcome {
                accepted: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        self.hear(server_message::Body::Joined(joined), request);
        for (handle, track) in [(1, 5), (2, 6)] {
            let published = Published { handle, track };
            self.hear(server_message::Body::Published(published), 0);
        }
    }

    fn tick(&mut self) {
        self.tell(Input::Tick);
        let deadline = self.participant.deadline();
        assert!(
            deadline.is_none_or(|at| at > self.now),
            "due again at once: {deadline:?} at {:?}",
            self.now
        );
    }
}

/// What is left of the script.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A length of one byte and so many bytes, or what there is of them.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(taken)
    }
}

/// The first byte says how far the meeting has come when the servers stop being honest; steps follow.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let Some(start) = script.byte() else {
        return;
    };
    let mut world = World::new();
    if start % 4 > 0 {
        world.enter();
    }
    if start % 4 > 1 {
        world.join();
    }
    // Long scripts find nothing that many short ones do not.
    for _ in 0..200 {
        if step(&mut world, &mut script).is_none() {
            break;
        }
    }
    world.tick();
    let state = serde_json::to_string(&world.participant.state());
    assert!(state.is_ok(), "a state that cannot be said");
}

fn step(world: &mut World, script: &mut Script<'_>) -> Option<()> {
    match script.byte()? % 10 {
        0 => world.data(Link::Signal, 0, script.bytes()?, false),
        1 => world.data(Link::Signal, 0, &framed(script.bytes()?), false),
        2 => world.data(Link::Media, 0, &framed(script.bytes()?), false),
        3 => {
            let (stream, fin) = stream_of(script.byte()?);
            world.data(Link::Media, stream, script.bytes()?, fin);
        }
        4 => {
            // A group stream whose first frame is of the other's camera, in form.
            let (stream, fin) = stream_of(script.byte()?);
            let frame = [&[0x20, 7, 0][..], script.bytes()?].concat();
            let entry = [&[1][..], &framed(&frame)].concat();
            world.data(Link::Media, stream, &entry, fin);
        }
        5 => world.tell(Input::Datagram(Bytes::copy_from_slice(script.bytes()?))),
        6 => {
            world.now += Duration::from_millis(u64::from(script.byte()?) * 20);
            world.tick();
        }
        7 => link_event(world, script.byte()?),
        8 => {
            let flags = script.byte()?;
            let encoded = Encoded {
                handle: u32::from(flags & 3),
                layer: flags >> 6,
                temporal: flags >> 4 & 3,
                key: flags & 4 != 0,
                capture_us: world.now.as_micros() as u64,
                level: None,
                chunk: script.bytes()?,
            };
            world.participant.encoded(world.now, encoded);
            world.drain();
        }
        _ => {
            let text = script.bytes()?;
            if let Ok(command) = serde_json::from_slice::<Command>(text) {
                world.tell(Input::Command(command));
            }
        }
    }
    Some(())
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn stream_of(byte: u8) -> (u64, bool) {
    (u64::from(byte & 0x1f), byte & 0x80 != 0)
}

fn link_event(world: &mut World, byte: u8) {
    let link = if byte & 1 == 0 {
        Link::Signal
    } else {
        Link::Media
    };
    let stream = u64::from(byte >> 4);
    world.tell(match byte >> 1 & 7 {
        0 => Input::LinkUp {
            link,
            max_datagram: usize::from(byte) * 8,
        },
        1 => Input::LinkDown {
            link,
            code: Code::ConnectionLost,
        },
        2 => Input::LinkDown {
            link,
            code: Code::ConnectFailed,
        },
        3 => {
            let codes = Code::ALL;
            let code = codes[usize::from(byte >> 3) % codes.len()];
            Input::LinkDown { link, code }
        }
        4 | 5 => Input::StreamReset { link, stream },
        6 => Input::Backlog {
            link,
            stream,
            bytes: usize::from(byte) * 1000,
        },
        _ => Input::KeyFrameWanted(TrackId(stream as u32)),
    });
}

#[cfg(test)]
mod tests {
    use darktower_participant::Phase;

    use super::World;

    /// Else most of what this target says would fall on deaf ears.
    #[test]
    fn an_honest_start_leads_into_the_meeting() {
        let mut world = World::new();
        world.enter();
        assert_eq!(world.participant.state().phase, Phase::Lobby);
        world.join();
        let state = world.participant.state();
        assert_eq!(state.phase, Phase::Joined);
        assert!(state.e2ee.ready);
        assert_eq!(state.participants.len(), 2);
        assert!(
            state.tracks.iter().all(|own| own.track.is_some()),
            "{:?}",
            state.tracks
        );
    }
}
