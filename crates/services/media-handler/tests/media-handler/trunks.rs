//! One meeting on two handlers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_cluster::rpc::{self, media_command::Body};
use darktower_store::{Service, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::{NodeId, ParticipantId, TrackId};
use ring::digest::{SHA256, digest};

use crate::counts;
use crate::stage::{
    ALICE, BOB, CAMERA, Controller, MICROPHONE, Participant, Stage, frame, seat, track, within,
};

const HERE: NodeId = NodeId([0xa0; 16]);
const THERE: NodeId = NodeId([0xa1; 16]);
const CAROL: ParticipantId = ParticipantId([3; 16]);
const TICKET: [u8; 32] = [5; 32];

/// Alice is here, Bob and Carol are there.
struct Two {
    here: Stage,
    there: Stage,
    controllers: [Controller; 2],
    alice: Participant,
    bob: Participant,
    carol: Participant,
}

fn trunk() -> Body {
    Body::Trunk(rpc::Trunk {
        node: Bytes::copy_from_slice(&THERE.0),
        ticket_sha256: Bytes::copy_from_slice(digest(&SHA256, &TICKET).as_ref()),
    })
}

async fn neighbour(here: &Stage) -> Body {
    let nodes = here.state.list_nodes(Some(Service::Media)).await;
    let node = nodes.expect("a registry").remove(0);
    let hashes = node.certificate_sha256.iter();
    Body::Neighbour(rpc::Neighbour {
        node: Bytes::copy_from_slice(&HERE.0),
        url: node.public_url.clone(),
        certificate_sha256: hashes.map(|hash| Bytes::copy_from_slice(hash)).collect(),
        ticket: Bytes::copy_from_slice(&TICKET),
    })
}

fn from_here(id: TrackId, video: bool) -> Body {
    let Body::Track(mut it) = track(id, ALICE, video) else {
        unreachable!("a track");
    };
    it.via = Bytes::copy_from_slice(&HERE.0);
    Body::Track(it)
}

impl Two {
    async fn new() -> Self {
        let (here, there) = (Stage::new().await, Stage::new().await);
        let (mut near, mut far) = (here.controller().await, there.controller().await);
        near.say(trunk()).await;
        near.say(seat(ALICE, true)).await;
        near.say(track(CAMERA, ALICE, true)).await;
        near.say(track(MICROPHONE, ALICE, false)).await;
        far.say(neighbour(&here).await).await;
        for who in [BOB, CAROL] {
            far.say(seat(who, true)).await;
        }
        far.say(from_here(CAMERA, true)).await;
        far.say(from_here(MICROPHONE, false)).await;
        let alice = here.participant(ALICE).await;
        let (bob, carol) = (there.participant(BOB).await, there.participant(CAROL).await);
        let mut two = Self {
            here,
            there,
            controllers: [near, far],
            alice,
            bob,
            carol,
        };
        two.trunk_stands().await;
        two
    }

    /// Alice is here, and the trunk of those there has come.
    async fn trunk_stands(&mut self) {
        while self.controllers[0].connected().await[..] != THERE.0 {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_here_comes_there_unchanged_and_crosses_once() {
    counts::begin();
    let mut two = Two::new().await;
    assert_eq!(
        two.alice.hears_key_frame_wanted().await,
        CAMERA.0,
        "for those there"
    );
    let _stream = two.alice.group(CAMERA, 5, 3, 4000).await;
    for who in [&two.bob, &two.carol] {
        let (_, frames) = who.receive(3).await;
        for (number, got) in (0..).zip(&frames) {
            assert_eq!(got.bytes, frame(CAMERA, 5, number, 4000));
        }
    }
    for number in 0..3 {
        let sound = frame(MICROPHONE, 1, number, 80);
        two.alice.session.send_datagram(sound).expect("a datagram");
        for who in [&two.bob, &two.carol] {
            let got = within("a datagram", who.session.recv_datagram()).await;
            assert_eq!(got.expect("a datagram"), frame(MICROPHONE, 1, number, 80));
        }
    }
    let left = two.here.tapped.lock().expect("a tap").clone();
    let left = left
        .iter()
        .filter(|(way, _)| *way == darktower_media_handler::Direction::Egress);
    let left: usize = left.map(|(_, bytes)| bytes.len()).sum();
    assert!(
        (12_000..13_000).contains(&left),
        "{left} bytes for two of them"
    );
    // Who cannot decode it any more is heard where it comes from.
    two.bob.want(CAMERA).await;
    assert_eq!(two.alice.hears_key_frame_wanted().await, CAMERA.0);
    assert_eq!(two.there.handler.sessions(), 2);
    // Six frames came here, and by the trunk there.
    within("the counts", counts::received(12)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_is_gone_is_dialled_again() {
    let mut two = Two::new().await;
    let _stream = two.alice.group(CAMERA, 5, 1, 100).await;
    two.bob.receive(1).await;
    let [near, _] = &mut two.controllers;
    let node = Bytes::copy_from_slice(&THERE.0);
    near.say(Body::SeatGone(rpc::SeatGone {
        seat: node,
        code: 0,
    }))
    .await;
    near.say(trunk()).await;
    two.trunk_stands().await;
    while two.alice.hears_key_frame_wanted().await != CAMERA.0 {}
    let _next = two.alice.group(CAMERA, 6, 1, 100).await;
    let (_, frames) = two.bob.receive(1).await;
    assert_eq!(frames[0].bytes, frame(CAMERA, 6, 0, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_full_takes_trunks() {
    let here = Stage::with(|config| config.capacity = 1, Default::default()).await;
    let mut near = here.controller().await;
    near.say(trunk()).await;
    near.say(seat(ALICE, true)).await;
    let alice = here.participant(ALICE).await;
    assert!(
        here.refused(&format!("token={}", here.token(BOB)), &[])
            .await
            .is_some()
    );
    let there = Stage::new().await;
    let mut far = there.controller().await;
    far.say(neighbour(&here).await).await;
    far.say(seat(BOB, true)).await;
    let _bob = there.participant(BOB).await;
    while near.connected().await[..] != THERE.0 {}
    // Who only says that it is one finds no room.
    let says = format!("token={}&trunk=1", here.token(BOB));
    assert_eq!(here.refused(&says, &[]).await, Some(Code::TicketUnknown));
    // It takes nobody's place.
    near.say(Body::SeatGone(rpc::SeatGone {
        seat: Bytes::copy_from_slice(&ALICE.0),
        code: 0,
    }))
    .await;
    within("her place", async {
        alice.session.closed().await;
        while here.handler.sessions() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _carol = here.participant(CAROL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_says_whether_it_is_a_trunks() {
    const HERS: [u8; 32] = [6; 32];
    let here = Stage::new().await;
    let mut near = here.controller().await;
    near.say(trunk()).await;
    let Body::Seat(mut hers) = seat(ALICE, true) else {
        unreachable!("a seat");
    };
    hers.ticket_sha256 = Bytes::copy_from_slice(digest(&SHA256, &HERS).as_ref());
    near.say(Body::Seat(hers)).await;
    let query = |ticket: [u8; 32], more: &str| {
        let ticket = URL_SAFE_NO_PAD.encode(ticket);
        format!("ticket={ticket}{more}")
    };
    for (ticket, more) in [(HERS, "&trunk=1"), (TICKET, "")] {
        let said = here.refused(&query(ticket, more), &[]).await;
        assert_eq!(said, Some(Code::TicketUnknown));
    }
    Participant::greet(here.connect(&query(HERS, ""), &[]).await).await;
    Participant::greet(here.connect(&query(TICKET, "&trunk=1"), &[]).await).await;
}
