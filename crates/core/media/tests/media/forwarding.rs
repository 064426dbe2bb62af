//! The forwarder alone: who may, who gets, what is kept.

use darktower_media::forwarder::{
    Command, Config, Delivery, Forwarder, Input, Output, Payload, SessionId,
};
use darktower_media::{Kind, Shape};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::Header;

use crate::pair::{CAMERA, MICROPHONE, ms};
use crate::sealing::{ALICE, BOB, CAROL};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sized(pub(crate) usize);

impl Payload for Sized {
    fn size(&self) -> usize {
        self.0
    }

    fn bundle(frames: &[Self]) -> Self {
        Self(frames.iter().map(|one| one.0).sum())
    }
}

pub(crate) fn session(of: ParticipantId) -> SessionId {
    SessionId(u64::from(of.0[0]))
}

pub(crate) fn say(
    forwarder: &mut Forwarder<Sized>,
    at: u64,
    command: Command,
) -> Vec<Output<Sized>> {
    let fence = Fence(1);
    tell(forwarder, at, Input::Command { fence, command })
}

pub(crate) fn tell(forwarder: &mut Forwarder<Sized>, at: u64, input: Input) -> Vec<Output<Sized>> {
    forwarder.handle(ms(at), input);
    std::iter::from_fn(|| forwarder.poll()).collect()
}

pub(crate) fn seat(seat: ParticipantId, joined: bool) -> Command {
    let ticket = None;
    Command::Seat {
        seat,
        ticket,
        joined,
    }
}

pub(crate) fn track(id: TrackId, seat: ParticipantId, kind: Kind) -> Command {
    let shape = Shape::of_layers(1);
    Command::Track {
        id,
        seat,
        kind,
        shape,
        via: None,
    }
}

pub(crate) fn opened(seat: ParticipantId) -> Input {
    let session = session(seat);
    Input::SessionOpened { session, seat }
}

pub(crate) fn video(group: u64, frame: u64) -> Header {
    Header {
        track: CAMERA,
        group,
        frame,
        key: frame == 0,
        ..Header::default()
    }
}

pub(crate) fn frame(
    forwarder: &mut Forwarder<Sized>,
    at: u64,
    from: ParticipantId,
    header: Header,
) -> Result<Vec<SessionId>, Code> {
    let mut out: Vec<Delivery<Sized>> = Vec::new();
    let from = session(from);
    forwarder.on_frame(ms(at), from, Kind::Video, &header, &Sized(1000), &mut out)?;
    Ok(out.into_iter().map(|one| one.session).collect())
}

/// Alice and Bob have joined, Alice sends video and sound.
pub(crate) fn meeting() -> Forwarder<Sized> {
    let mut forwarder = Forwarder::new(Config::default());
    for who in [ALICE, BOB] {
        say(&mut forwarder, 0, seat(who, true));
        tell(&mut forwarder, 0, opened(who));
    }
    say(&mut forwarder, 0, track(CAMERA, ALICE, Kind::Video));
    say(&mut forwarder, 0, track(MICROPHONE, ALICE, Kind::Audio));
    forwarder
}

#[test]
fn each_refusal_has_its_code() {
    let mut forwarder = meeting();
    let unknown = Header {
        track: TrackId(99),
        key: true,
        ..Header::default()
    };
    let layer = Header {
        layer: 3,
        ..video(1, 0)
    };
    let sound = Header {
        track: MICROPHONE,
        ..video(1, 0)
    };
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, unknown),
        Err(Code::TrackUnknown)
    );
    assert_eq!(
        frame(&mut forwarder, 1, BOB, video(1, 0)),
        Err(Code::NotYourTrack)
    );
    assert_eq!(
        frame(&mut forwarder, 1, CAROL, video(1, 0)),
        Err(Code::NotJoined)
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, layer),
        Err(Code::BadFrameHeader)
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, sound),
        Err(Code::BadFrameHeader)
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(1, 5)),
        Err(Code::StaleGroup)
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(1, 0)),
        Ok(vec![session(BOB)])
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(1, 0)),
        Err(Code::StaleGroup),
        "replayed"
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(2, 3)),
        Err(Code::BadFrameHeader)
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(2, 0)),
        Ok(vec![session(BOB)])
    );
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(1, 1)),
        Err(Code::StaleGroup),
        "late"
    );
    say(&mut forwarder, 1, seat(ALICE, false));
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, video(2, 1)),
        Err(Code::NotJoined)
    );
}

#[test]
fn nothing_flows_in_the_lobby_and_all_of_it_after_joining() {
    let mut forwarder = meeting();
    say(&mut forwarder, 1000, seat(CAROL, false));
    assert_eq!(
        tell(&mut forwarder, 1000, opened(CAROL)),
        [Output::SeatConnected { seat: CAROL }]
    );
    let key = Header {
        key: true,
        ..video(1, 0)
    };
    assert_eq!(
        frame(&mut forwarder, 1001, ALICE, key),
        Ok(vec![session(BOB)])
    );
    // The group is older than what she may open: neither cache nor the rest of it.
    assert_eq!(say(&mut forwarder, 3000, seat(CAROL, true)), []);
    assert_eq!(
        frame(&mut forwarder, 3001, ALICE, video(1, 1)),
        Ok(vec![session(BOB)])
    );
    let both = Ok(vec![session(BOB), session(CAROL)]);
    assert_eq!(frame(&mut forwarder, 3002, ALICE, video(2, 0)), both);
    assert_eq!(frame(&mut forwarder, 3003, ALICE, video(2, 1)), both);
}

#[test]
fn a_key_frame_that_came_just_before_the_word_of_the_newcomer_is_given_to_it() {
    let mut forwarder = meeting();
    tell(&mut forwarder, 1000, opened(CAROL));
    frame(&mut forwarder, 1000, ALICE, video(1, 0)).unwrap_or_default();
    let outputs = say(&mut forwarder, 1005, seat(CAROL, true));
    let given = outputs
        .iter()
        .filter(|one| matches!(one, Output::Deliver(_)));
    assert_eq!(given.count(), 1, "{outputs:?}");
}

#[test]
fn a_second_session_takes_the_seat() {
    let mut forwarder = meeting();
    let session = SessionId(77);
    let outputs = tell(
        &mut forwarder,
        5,
        Input::SessionOpened { session, seat: BOB },
    );
    let (old, code) = (SessionId(2), Code::SeatTaken);
    assert_eq!(outputs[0], Output::Close { session: old, code });
    assert_eq!(
        frame(&mut forwarder, 6, ALICE, video(1, 0)),
        Ok(vec![session])
    );
    // The old one's end says nothing about the seat any more.
    let code = Code::ConnectionLost;
    assert_eq!(
        tell(
            &mut forwarder,
            7,
            Input::SessionClosed { session: old, code }
        ),
        []
    );
}

#[test]
fn a_session_may_come_before_the_word_of_its_seat_but_not_wait_for_ever() {
    let mut forwarder: Forwarder<Sized> = Forwarder::new(Config::default());
    assert_eq!(tell(&mut forwarder, 0, opened(BOB)), []);
    assert_eq!(forwarder.deadline(), Some(ms(300_000)));
    let outputs = tell(&mut forwarder, 300_000, Input::Tick);
    let (session, code) = (session(BOB), Code::NotJoined);
    assert_eq!(outputs, [Output::Close { session, code }]);
    assert!(forwarder.is_idle());
}

#[test]
fn an_older_fence_is_refused() {
    let mut forwarder = meeting();
    let command = Command::TrackGone { id: CAMERA };
    let newer = Input::Command {
        fence: Fence(5),
        command: seat(CAROL, true),
    };
    assert_eq!(tell(&mut forwarder, 1, newer), []);
    let newest = Fence(5);
    let older = Input::Command {
        fence: Fence(4),
        command,
    };
    assert_eq!(
        tell(&mut forwarder, 1, older),
        [Output::FenceRefused { newest }]
    );
    assert!(frame(&mut forwarder, 2, ALICE, video(1, 0)).is_ok());
}

#[test]
fn what_a_new_controller_does_not_say_is_dropped_and_the_rest_goes_on() {
    let mut forwarder = meeting();
    say(&mut forwarder, 1, seat(CAROL, true));
    tell(&mut forwarder, 1, opened(CAROL));
    let unwanted = Command::Subscription {
        seat: BOB,
        track: MICROPHONE,
        wanted: false,
    };
    say(&mut forwarder, 1, unwanted);
    frame(&mut forwarder, 2, ALICE, video(1, 0)).unwrap_or_default();
    let mut outputs = Vec::new();
    for command in [
        Command::SyncBegin,
        seat(ALICE, true),
        seat(BOB, true),
        track(CAMERA, ALICE, Kind::Video),
        Command::SyncEnd,
    ] {
        outputs.extend(say(&mut forwarder, 3, command));
    }
    let code = Code::ParticipantUnknown;
    assert!(outputs.contains(&Output::Close {
        session: session(CAROL),
        code
    }));
    let end = Output::End {
        session: session(CAROL),
        track: MICROPHONE,
    };
    assert!(outputs.contains(&end), "{outputs:?}");
    assert!(outputs.contains(&Output::SeatConnected { seat: BOB }));
    assert_eq!(
        frame(&mut forwarder, 4, ALICE, video(1, 1)),
        Ok(vec![session(BOB)])
    );
}

#[test]
fn requests_for_key_frames_are_folded() {
    let mut forwarder = meeting();
    for who in [CAROL, ParticipantId([4; 16]), ParticipantId([5; 16])] {
        say(&mut forwarder, 0, seat(who, true));
        tell(&mut forwarder, 0, opened(who));
    }
    let is_ask = |one: &&Output<Sized>| matches!(one, Output::KeyFrameWanted { .. });
    let mut asked = 0;
    for at in 0..1000 {
        for who in [2, 3, 4, 5] {
            let wanted = Input::KeyFrameWanted {
                session: SessionId(who),
                track: CAMERA,
                layer: 0,
            };
            let outputs = tell(&mut forwarder, at, wanted);
            asked += outputs.iter().filter(is_ask).count();
        }
        let outputs = tell(&mut forwarder, at, Input::Tick);
        asked += outputs.iter().filter(is_ask).count();
    }
    assert!((4..=10).contains(&asked), "{asked} requests in a second");
    let own = Input::KeyFrameWanted {
        session: session(ALICE),
        track: CAMERA,
        layer: 0,
    };
    let refused = Output::Refused {
        session: session(ALICE),
        code: Code::OwnTrack,
    };
    assert_eq!(tell(&mut forwarder, 2000, own), [refused]);
}

#[test]
fn frames_ahead_of_their_track_lead_to_a_key_frame() {
    let mut forwarder = meeting();
    let early = Header {
        track: TrackId(50),
        key: true,
        ..Header::default()
    };
    assert_eq!(
        frame(&mut forwarder, 1, ALICE, early),
        Err(Code::TrackUnknown)
    );
    let outputs = say(&mut forwarder, 2, track(TrackId(50), ALICE, Kind::Video));
    let (session, track, layer) = (session(ALICE), TrackId(50), 0);
    assert_eq!(
        outputs,
        [Output::KeyFrameWanted {
            session,
            track,
            layer
        }]
    );
}

#[test]
fn tickets_are_told_and_taken_back() {
    let mut forwarder: Forwarder<Sized> = Forwarder::new(Config::default());
    let with = |ticket: u8| Command::Seat {
        seat: BOB,
        ticket: Some([ticket; 32]),
        joined: true,
    };
    let known = |ticket: u8| Output::TicketKnown {
        ticket: [ticket; 32],
        seat: BOB,
        is_trunk: false,
    };
    let gone = |ticket: u8| Output::TicketGone {
        ticket: [ticket; 32],
    };
    assert_eq!(say(&mut forwarder, 0, with(1)), [known(1)]);
    assert_eq!(say(&mut forwarder, 0, with(1)), []);
    assert_eq!(say(&mut forwarder, 0, with(2)), [known(2)]);
    assert_eq!(say(&mut forwarder, 0, with(3)), [gone(1), known(3)]);
    let outputs = say(&mut forwarder, 0, Command::Over);
    assert_eq!(outputs, [gone(2), gone(3), Output::Over]);
}

#[test]
fn a_group_too_large_to_keep_is_still_forwarded() {
    let config = Config {
        cache_per_layer: 2500,
        ..Config::default()
    };
    let mut forwarder = Forwarder::new(config);
    for who in [ALICE, BOB] {
        say(&mut forwarder, 0, seat(who, true));
        tell(&mut forwarder, 0, opened(who));
    }
    say(&mut forwarder, 0, track(CAMERA, ALICE, Kind::Video));
    for number in 0..10 {
        assert_eq!(
            frame(&mut forwarder, 1, ALICE, video(1, number)),
            Ok(vec![session(BOB)])
        );
        assert!(forwarder.sizes().2 <= 2500);
    }
    // Back again: nothing to start from, so a key frame is asked for.
    let (was, code) = (session(BOB), Code::ConnectionLost);
    tell(
        &mut forwarder,
        2,
        Input::SessionClosed { session: was, code },
    );
    let outputs = tell(&mut forwarder, 3, opened(BOB));
    assert!(
        matches!(outputs.last(), Some(Output::KeyFrameWanted { .. })),
        "{outputs:?}"
    );
}

#[test]
fn frames_ahead_of_their_senders_seat_lead_to_a_key_frame() {
    let mut forwarder = meeting();
    let screen = TrackId(50);
    tell(&mut forwarder, 0, opened(CAROL));
    say(&mut forwarder, 0, track(screen, CAROL, Kind::Video));
    let early = Header {
        track: screen,
        key: true,
        ..Header::default()
    };
    assert_eq!(frame(&mut forwarder, 1, CAROL, early), Err(Code::NotJoined));
    let outputs = say(&mut forwarder, 2, seat(CAROL, true));
    let (session, track, layer) = (session(CAROL), screen, 0);
    assert!(
        outputs.contains(&Output::KeyFrameWanted {
            session,
            track,
            layer
        }),
        "{outputs:?}"
    );
}
