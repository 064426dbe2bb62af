//! Any history, any message.

use std::time::Duration;

use darktower_meeting::meeting::{self, Credential, Entropy, Meeting, SessionId};
use darktower_meeting::session::{Input, Phase, Session};
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::signal::{self, ClientMessage, ServerMessage, client_message::Body};
use darktower_wire::token::Role;
use proptest::prelude::*;
use prost::Message as _;

use crate::decodes::decodes;
use crate::world::{World, info, publish};

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(usize),
    Break(usize),
    Cut(usize),
    Publish(usize),
    Mute(usize, u32, bool),
    Decodes(usize, bool),
    Reload(usize, bool),
    Poison,
    TakeOver,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Join),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Break),
        1 => any::<usize>().prop_map(Step::Cut),
        1 => any::<usize>().prop_map(Step::Publish),
        3 => (any::<usize>(), 1_u32..3, any::<bool>()).prop_map(|(end, handle, muted)| Step::Mute(end, handle, muted)),
        1 => any::<(usize, bool)>().prop_map(|(end, is_able)| Step::Decodes(end, is_able)),
        1 => any::<(usize, bool)>().prop_map(|(end, is_early)| Step::Reload(end, is_early)),
        1 => Just(Step::Poison),
        1 => Just(Step::TakeOver),
        6 => (1_u64..400).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever happens, after a quiet while everybody in the meeting shares one
    /// key history and one roster, and every request was answered. The world
    /// checks after each input that a restore is exact, and at each end that nobody
    /// is shown unmuted after it was muted, unless it wished so.
    #[test]
    fn a_quiet_while_settles_everything(steps in prop::collection::vec(step(), 1..40)) {
        let seat_ttl = Duration::from_secs(20);
        let mut world = World::with(meeting::Config { seat_ttl, ..Default::default() }, 30);
        world.joined(Role::Host);
        for step in steps {
            let pick = |n: usize, world: &World| n % world.ends.len();
            match step {
                Step::Join | Step::Poison => {
                    let end = world.add(Role::Guest);
                    world.ends[end].owner.poisoned = matches!(step, Step::Poison);
                    world.join(end, &[1]);
                }
                Step::Leave(n) => { let end = pick(n, &world); world.say(end, Input::Leave); }
                Step::Break(n) => { let end = pick(n, &world); world.break_link(end); }
                Step::Cut(n) => {
                    let end = pick(n, &world);
                    match world.ends[end].cut {
                        true => world.heal(end),
                        false => world.ends[end].cut = true,
                    }
                }
                Step::Publish(n) => {
                    let end = pick(n, &world);
                    if !world.phase(end).is_final() {
                        world.say(end, Input::Publish(publish(2)));
                    }
                }
                Step::Mute(n, handle, muted) => {
                    let end = pick(n, &world);
                    world.say(end, Input::SetMuted { handle, muted });
                }
                Step::Decodes(n, is_able) => {
                    let end = pick(n, &world);
                    world.say(end, Input::Decodes(decodes(is_able)));
                }
                Step::Reload(n, is_early) => {
                    let end = pick(n, &world);
                    world.reload(end, is_early);
                }
                Step::TakeOver => world.take_over(),
                Step::Wait(ms) => world.run(Duration::from_millis(ms)),
            }
        }
        for end in 0..world.ends.len() {
            world.heal(end);
        }
        world.run(Duration::from_secs(50));
        world.assert_settled();
        for end in &world.ends {
            let phase = end.session.state().phase;
            prop_assert!(phase.is_final() || matches!(phase, Phase::Joined | Phase::Idle | Phase::Lobby), "{phase:?}");
        }
    }

    /// Bytes that happen to be messages, in any state, are answered with a code
    /// and change nothing for the others.
    #[test]
    fn any_message_has_an_outcome(messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..60)) {
        let mut world = World::new(10);
        world.joined(Role::Guest);
        let before = world.ends[0].session.state().clone();
        let session = SessionId(10_000);
        world.tell(meeting::Input::Opened {
            session,
            credential: Credential::Token { participant: ParticipantId([99; 16]), role: Role::Guest },
            entropy: Entropy { resume: [1; 32], ticket: [2; 32] },
        });
        for (request, (_, bytes)) in messages.iter().enumerate() {
            if let Ok(mut message) = ClientMessage::decode(&bytes[..]) {
                message.request = request as u64 + 1;
                world.tell(meeting::Input::Message { session, message });
            }
            for body in bodies(bytes) {
                let message = ClientMessage { request: request as u64 + 1, body: Some(body), ..Default::default() };
                world.tell(meeting::Input::Message { session, message });
            }
        }
        world.tell(meeting::Input::Malformed { session, code: Code::Malformed });
        world.run(Duration::from_millis(500));
        prop_assert_eq!(world.ends[0].session.state().phase, Phase::Joined);
        prop_assert_eq!(&world.ends[0].session.state().own_tracks, &before.own_tracks);
    }

    /// Nothing a controller says makes a session panic.
    #[test]
    fn a_session_takes_anything(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40)) {
        let mut session = Session::new(Default::default(), 1);
        session.handle(Duration::ZERO, Input::Join { name: "x".into(), publish: vec![publish(1)], key: None });
        session.handle(Duration::ZERO, Input::Connected);
        for (at, bytes) in messages.iter().enumerate() {
            if let Ok(message) = ServerMessage::decode(&bytes[..]) {
                session.handle(Duration::from_millis(at as u64), Input::Message(message));
            }
            while session.poll().is_some() {}
        }
    }

    /// Every request gets exactly one answer, or the session is closed.
    #[test]
    fn every_request_is_answered(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut meeting = Meeting::new(Default::default(), info(5), Duration::ZERO, 0).unwrap();
        let session = SessionId(1);
        meeting.handle(Duration::ZERO, meeting::Input::Opened {
            session,
            credential: Credential::Token { participant: ParticipantId([9; 16]), role: Role::Host },
            entropy: Entropy { resume: [1; 32], ticket: [2; 32] },
        });
        while meeting.poll().is_some() {}
        for (request, byte) in bytes.iter().enumerate() {
            let all = bodies(&[*byte]);
            let body = all[usize::from(*byte) % all.len()].clone();
            let request = request as u64 + 1;
            let message = ClientMessage { request, body: Some(body), ..Default::default() };
            meeting.handle(Duration::ZERO, meeting::Input::Message { session, message });
            let (mut answers, mut closed) = (0, false);
            while let Some(output) = meeting.poll() {
                match output {
                    meeting::Output::Send { message, .. } if message.reply_to == request => answers += 1,
                    meeting::Output::Close { .. } => closed = true,
                    _ => {}
                }
            }
            prop_assert!(answers == 1 || (answers == 0 && closed), "{answers} answers");
            if closed {
                break;
            }
        }
    }
}

fn bodies(bytes: &[u8]) -> Vec<Body> {
    let first = bytes.first().copied().unwrap_or_default();
    let track = u32::from(first % 4);
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    vec![
        Body::Hello(signal::Hello {}),
        Body::Join(signal::Join {
            name: String::from_utf8_lossy(&bytes).into_owned(),
            publish: vec![publish(track)],
            key: None,
            decodes: vec!["vp8".into(); usize::from(first % 40)],
        }),
        Body::Resume(signal::Resume {
            epoch: u64::from(first),
            keys_lost: first > 9,
            epoch_sha256: bytes.clone(),
        }),
        Body::Publish(signal::Publish {
            description: bytes.clone(),
            muted: false,
            handle: track,
        }),
        Body::Publish(publish(track)),
        Body::Unpublish(signal::Unpublish { track }),
        Body::SetMuted(signal::SetMuted {
            track,
            muted: first > 3,
        }),
        Body::Subscribe(signal::Subscribe {
            track,
            wanted: first > 3,
        }),
        Body::KeyCommit(signal::KeyCommit {
            epoch: u64::from(first),
            commit: bytes.clone(),
            group_info: bytes.clone(),
            leaf: 0,
            founding: first.is_multiple_of(2),
        }),
        Body::KeyAnswer(signal::KeyAnswer {
            epoch: u64::from(first),
            accepted: first > 3,
        }),
        Body::KeyGroupInfo(signal::KeyGroupInfo {
            epoch: 0,
            group_info: bytes.clone(),
        }),
        Body::SetDecodes(signal::SetDecodes {
            decodes: vec![String::from_utf8_lossy(&bytes).into_owned()],
        }),
        Body::RemoveParticipant(signal::RemoveParticipant {
            participant_id: bytes,
        }),
        Body::KeyResync(signal::KeyResync {}),
        Body::MediaSilent(signal::MediaSilent {}),
        Body::Ping(signal::Ping { sent_us: 1 }),
    ]
}
