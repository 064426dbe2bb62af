//! What crosses between the two handlers of a meeting.

use std::collections::BTreeMap;

use darktower_media::Kind;
use darktower_media::forwarder::{Command, Input};
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;
use proptest::prelude::*;

use crate::forwarding::{opened, seat, session};
use crate::sealing::{ALICE, BOB, CAROL};
use crate::two::{CAMERA, DAVE, HERE, MICROPHONE, THERE, Two, node, shape, trunk_at};

#[test]
fn a_layer_crosses_once_however_many_want_it_and_none_that_nobody_wants() {
    let mut two = Two::new();
    two.show(HERE, BOB, 1280, 720);
    two.show(THERE, CAROL, 320, 180);
    two.show(THERE, DAVE, 320, 180);
    two.run(2000);
    two.crossed();
    for who in [BOB, CAROL, DAVE] {
        two.take(who);
    }
    two.run(1000);
    assert_eq!(
        two.crossed(),
        [((CAMERA, 0), 50), ((MICROPHONE, 0), 50)].into()
    );
    for who in [CAROL, DAVE] {
        assert_eq!(
            two.take(who),
            [((CAMERA, 0), 50), ((MICROPHONE, 0), 50)].into()
        );
    }
    assert_eq!(
        two.take(BOB),
        [((CAMERA, 2), 50), ((MICROPHONE, 0), 50)].into()
    );
    assert_eq!(two.wanted, Some(0b101), "the middle one is wanted nowhere");

    // One of them sees it large: two layers cross, each to whom it is for.
    two.show(THERE, DAVE, 1280, 720);
    two.run(2000);
    two.crossed();
    two.take(DAVE);
    two.take(CAROL);
    two.run(1000);
    assert_eq!(two.crossed().len(), 3);
    assert_eq!(two.take(DAVE)[&(CAMERA, 2)], 50);
    assert_eq!(two.take(CAROL)[&(CAMERA, 0)], 50);

    // Nobody there sees it any more: no picture crosses, and none is made for them.
    two.show(THERE, CAROL, 0, 0);
    two.show(THERE, DAVE, 0, 0);
    two.run(2000);
    two.crossed();
    two.run(1000);
    assert_eq!(two.crossed(), [((MICROPHONE, 0), 50)].into());
    assert_eq!(two.wanted, Some(0b100));
    assert_eq!(two.refused, []);
}

#[test]
fn who_cannot_decode_there_gets_a_key_frame_from_here() {
    let mut two = Two::new();
    two.run(2000);
    let before = two.keys.len();
    let (session, track, layer) = (session(CAROL), CAMERA, 0);
    two.tell(
        THERE,
        Input::KeyFrameWanted {
            session,
            track,
            layer,
        },
    );
    assert_eq!(two.keys.len(), before + 1);
    two.take(CAROL);
    two.run(100);
    let crossed = two.crossed.iter();
    let keys = crossed.filter(|one| one.track == CAMERA && one.key).count();
    assert!(keys >= 1);
    assert!(two.take(CAROL).values().sum::<usize>() > 0);
}

#[test]
fn a_trunk_is_dialled_while_somebody_is_there_to_receive_and_again_when_it_broke() {
    let mut two = Two::new();
    two.run(1000);
    assert_eq!(two.dials, 2, "each handler has one to the other");
    // It breaks: both ends notice, and what flowed flows again.
    let dialled = two.dialled[THERE].take().expect("a trunk");
    let (trunk, code) = (trunk_at(HERE), Code::ConnectionLost);
    two.tell(
        HERE,
        Input::SessionClosed {
            session: trunk,
            code,
        },
    );
    two.tell(THERE, Input::TrunkClosed { session: dialled });
    two.run(200);
    assert_eq!(two.dials, 3);
    two.take(CAROL);
    two.run(1000);
    assert!(two.take(CAROL)[&(CAMERA, 1)] >= 49);

    // It is needed no longer than somebody is there.
    for who in [CAROL, DAVE] {
        let (session, code) = (session(who), Code::Left);
        two.tell(THERE, Input::SessionClosed { session, code });
    }
    assert_eq!(two.dialled[THERE], None, "nobody is there to receive");
    assert!(two.dialled[HERE].is_some());
}

#[test]
fn a_handler_that_the_meeting_has_left_is_hung_up_on() {
    let mut two = Two::new();
    two.run(500);
    two.say(THERE, Command::SyncBegin);
    for who in [CAROL, DAVE] {
        two.say(THERE, seat(who, true));
    }
    two.say(THERE, Command::SyncEnd);
    assert_eq!(two.dialled[THERE], None);
    let track = two.track(HERE, CAMERA, Kind::Video);
    two.say(THERE, track);
    two.run(200);
    assert_eq!(two.dials, 2);
}

#[test]
fn a_publisher_that_comes_over_from_the_other_handler_is_seen_by_all() {
    let mut two = Two::new();
    two.run(1000);
    // Alice goes on at the other handler: her tracks come from there.
    let (session, code) = (session(ALICE), Code::Left);
    two.tell(HERE, Input::SessionClosed { session, code });
    two.say(THERE, seat(ALICE, true));
    two.tell(THERE, opened(ALICE));
    for at in [HERE, THERE] {
        let via = (at != THERE).then_some(node(THERE));
        let (id, seat, kind, shape) = (CAMERA, ALICE, Kind::Video, shape());
        two.say(
            at,
            Command::Track {
                id,
                seat,
                kind,
                shape,
                via,
            },
        );
    }
    two.films_at(THERE);
    assert!(two.take(BOB).contains_key(&(CAMERA, 1)), "by the trunk");
    assert!(two.take(CAROL).contains_key(&(CAMERA, 1)), "directly");
    // Of the newest group that was kept there, this end has had all.
    assert!(two.refused.iter().all(|code| *code == Code::StaleGroup));
}

#[test]
fn a_publisher_that_goes_over_to_another_handler_is_seen_where_it_was() {
    let mut two = Two::new();
    two.run(1000);
    let (left, code) = (session(ALICE), Code::Left);
    two.tell(
        HERE,
        Input::SessionClosed {
            session: left,
            code,
        },
    );
    two.say(THERE, seat(ALICE, true));
    two.tell(THERE, opened(ALICE));
    // All is said anew: her seat is not here any more, her camera still is.
    let camera = |at: usize| Command::Track {
        id: CAMERA,
        seat: ALICE,
        kind: Kind::Video,
        shape: shape(),
        via: (at != THERE).then_some(node(THERE)),
    };
    two.say(THERE, camera(THERE));
    two.say(HERE, Command::SyncBegin);
    let ticket = [THERE as u8; 32];
    two.say(
        HERE,
        Command::Trunk {
            node: node(THERE),
            ticket,
        },
    );
    let neighbour = two.neighbour(THERE);
    two.say(HERE, neighbour);
    two.say(HERE, seat(BOB, true));
    two.say(HERE, camera(HERE));
    two.say(HERE, Command::SyncEnd);
    two.take(BOB);
    two.films_at(THERE);
    assert!(two.take(BOB)[&(CAMERA, 1)] >= 49);
}

#[test]
fn a_track_that_was_first_said_to_be_published_here_comes_from_there() {
    let mut two = Two::new();
    let (id, kind) = (TrackId(7), Kind::Video);
    let said = |via| Command::Track {
        id,
        seat: ALICE,
        kind,
        shape: shape(),
        via,
    };
    // Nobody has ever sent it here.
    two.say(THERE, said(None));
    two.say(HERE, said(None));
    two.crossed();
    two.say(THERE, said(Some(node(HERE))));
    let header = Header {
        track: id,
        layer: 1,
        group: 1,
        key: true,
        ..Header::default()
    };
    two.frame(HERE, session(ALICE), kind, header);
    assert_eq!(two.crossed(), [((id, 1), 1)].into());
}

#[test]
fn nobody_but_a_trunk_may_say_which_layers_it_wants() {
    let mut two = Two::new();
    let (session, track, layers) = (session(BOB), CAMERA, 0b111);
    two.tell(
        HERE,
        Input::LayersWanted {
            session,
            track,
            layers,
        },
    );
    assert_eq!(two.refused, [Code::Forbidden]);
    // What came by a trunk does not go back by one.
    let session = trunk_at(THERE);
    two.tell(
        THERE,
        Input::LayersWanted {
            session,
            track,
            layers,
        },
    );
    two.run(500);
    assert!(two.crossed().values().all(|frames| *frames <= 25));
}

#[derive(Debug, Clone)]
enum Step {
    /// Somebody (Bob here, Carol or Dave there) shows the camera so large; 0 hides it.
    Show(usize, u32),
    Leave(usize),
    Come(usize),
    /// The trunk to where Alice is breaks, and both ends notice.
    Break,
    KeyFrame(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    prop_oneof![
        4 => (who.clone(), prop_oneof![Just(0_u32), Just(320), Just(640), Just(1280)]).prop_map(|(who, width)| Step::Show(who, width)),
        2 => who.clone().prop_map(Step::Leave),
        2 => who.clone().prop_map(Step::Come),
        1 => Just(Step::Break),
        1 => who.prop_map(Step::KeyFrame),
        4 => (20_u64..900).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Whoever comes, goes, shows and hides: a while later everybody gets what they show, and what crosses is that.
    #[test]
    fn what_crosses_is_what_is_shown_there_whatever_happened(steps in prop::collection::vec(step(), 1..30)) {
        let all = [(HERE, BOB), (THERE, CAROL), (THERE, DAVE)];
        let mut two = Two::new();
        let mut shown = [Some(640_u32); 3];
        let mut here = [true; 3];
        for step in steps {
            match step {
                Step::Show(who, width) => if here[who] {
                    let (at, id) = all[who];
                    two.show(at, id, width, width * 9 / 16);
                    shown[who] = (width > 0).then_some(width);
                },
                Step::Leave(who) => if std::mem::take(&mut here[who]) {
                    let (session, code) = (session(all[who].1), Code::Left);
                    two.tell(all[who].0, Input::SessionClosed { session, code });
                },
                Step::Come(who) => if !std::mem::replace(&mut here[who], true) {
                    two.tell(all[who].0, opened(all[who].1));
                    shown[who] = Some(640);
                },
                Step::Break => if let Some(session) = two.dialled[THERE].take() {
                    let (trunk, code) = (trunk_at(HERE), Code::ConnectionLost);
                    two.tell(HERE, Input::SessionClosed { session: trunk, code });
                    two.tell(THERE, Input::TrunkClosed { session });
                },
                Step::KeyFrame(who) => {
                    let (session, track, layer) = (session(all[who].1), CAMERA, 0);
                    if here[who] {
                        two.tell(all[who].0, Input::KeyFrameWanted { session, track, layer });
                    }
                }
                Step::Wait(time) => two.run(time),
            }
        }
        two.run(4000);
        two.crossed();
        for (_, who) in all {
            two.take(who);
        }
        two.run(1000);
        let mut there = BTreeMap::new();
        for (at, (place, who)) in all.into_iter().enumerate() {
            let layer = shown[at].filter(|_| here[at]).map(|width| match width { 320 => 0, 640 => 1, _ => 2_u8 });
            let pictures: Vec<_> = two.take(who).into_iter().filter(|((track, _), _)| *track == CAMERA).collect();
            let wanted: Vec<_> = layer.map(|layer| ((CAMERA, layer), 50)).into_iter().collect();
            prop_assert_eq!(&pictures, &wanted, "{} of {:?}", at, shown);
            if place == THERE {
                there.extend(wanted);
            }
        }
        let crossed: BTreeMap<_, _> = two.crossed().into_iter().filter(|((track, _), _)| *track == CAMERA).collect();
        prop_assert_eq!(crossed, there);
        prop_assert!(two.refused.iter().all(|code| matches!(code, Code::StaleGroup | Code::NotJoined | Code::RateLimited | Code::Forbidden)), "{:?}", two.refused);
    }
}
