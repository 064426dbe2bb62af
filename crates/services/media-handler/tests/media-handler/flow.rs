//! What works.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_cluster::rpc::{self, media_command::Body, media_event};
use darktower_media_handler::{Config, Direction};
use darktower_net::{ReadError, Tuning};
use darktower_store::{Service, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::Frame;
use darktower_wire::media_control::{Ping, client_control, server_control};
use ring::digest::{SHA256, digest};

use crate::stage::{
    ALICE, BOB, CAMERA, MICROPHONE, Participant, Stage, closed, entry, frame, seat, track, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_datagrams_are_forwarded_unchanged() {
    let stage = Stage::new().await;
    let (_controller, alice, bob) = stage.meeting().await;
    let mut stream = alice.group(CAMERA, 5, 3, 4000).await;
    let (mut incoming, frames) = bob.receive(3).await;
    for (number, got) in (0..).zip(&frames) {
        assert_eq!(got.bytes, frame(CAMERA, 5, number, 4000));
    }
    // The group goes on on the same stream, and ends when the next begins.
    stream
        .write(entry(CAMERA, 5, 3, 10))
        .await
        .expect("a stream");
    let mut rest = 0;
    while rest < entry(CAMERA, 5, 3, 10).len() {
        let chunk = within("the rest", incoming.read_chunk()).await;
        rest += chunk.expect("a group").expect("more of it").len();
    }
    stream.finish().expect("a stream");
    let _next = alice.group(CAMERA, 6, 1, 10).await;
    let (_, frames) = bob.receive(1).await;
    assert_eq!(frames[0].bytes, frame(CAMERA, 6, 0, 10));
    let end = within("the end", incoming.read_chunk()).await;
    assert_eq!(end.expect("a group in order"), None);
    for number in 0..5 {
        alice
            .session
            .send_datagram(frame(MICROPHONE, 1, number, 80))
            .expect("a datagram");
        let got = within("a datagram", bob.session.recv_datagram())
            .await
            .expect("a datagram");
        assert_eq!(got, frame(MICROPHONE, 1, number, 80));
    }
    let tapped = stage.tapped.lock().expect("a tap");
    for direction in [Direction::Ingress, Direction::Egress] {
        let bytes: usize = tapped
            .iter()
            .filter(|(way, _)| *way == direction)
            .map(|(_, bytes)| bytes.len())
            .sum();
        assert!(bytes >= 3 * 4000 + 5 * 80, "{direction:?}: {bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_any_number_of_sessions_one_at_a_time() {
    let stage = Stage::new().await;
    let mut controller = stage.controller().await;
    let ticket = [3u8; 32];
    let query = format!("ticket={}", URL_SAFE_NO_PAD.encode(ticket));
    // The participant is faster than the controller's word of it.
    let early = stage.connect(&query, &[]);
    let told = async {
        let ticket_sha256 = Bytes::copy_from_slice(digest(&SHA256, &ticket).as_ref());
        let joined = true;
        controller
            .say(Body::Seat(rpc::Seat {
                seat: Bytes::copy_from_slice(&BOB.0),
                ticket_sha256,
                joined,
            }))
            .await;
        controller.connected().await
    };
    let (first, who) = tokio::join!(early, told);
    assert_eq!(who, Bytes::copy_from_slice(&BOB.0));
    let second = stage.connect(&query, &[]).await;
    assert_eq!(closed(&first).await, Some(Code::SeatTaken));
    let _here = Participant::greet(second.clone()).await;
    let (seat, code) = (Bytes::copy_from_slice(&BOB.0), Code::Removed.number());
    controller
        .say(Body::SeatGone(rpc::SeatGone { seat, code }))
        .await;
    assert_eq!(closed(&second).await, Some(Code::Removed));
    assert_eq!(stage.refused(&query, &[]).await, Some(Code::TicketUnknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_waits_in_the_lobby_and_then_gets_the_newest_group() {
    let stage = Stage::new().await;
    let mut controller = stage.controller().await;
    let alice = stage.participant(ALICE).await;
    let mut bob = stage.participant(BOB).await;
    controller.say(seat(BOB, false)).await;
    controller.say(seat(ALICE, true)).await;
    controller.say(track(CAMERA, ALICE, true)).await;
    controller.connected().await;
    controller.connected().await;
    let _stream = alice.group(CAMERA, 1, 2, 100).await;
    // A refused request is answered with nothing: the pong comes first.
    bob.want(CAMERA).await;
    bob.say(client_control::Body::Ping(Ping { sent_us: 5 }))
        .await;
    let pong = bob.hear().await;
    assert!(
        matches!(&pong, server_control::Body::Pong(pong) if pong.sent_us == 5),
        "{pong:?}"
    );
    controller.say(seat(BOB, true)).await;
    let (_, frames) = bob.receive(2).await;
    assert_eq!(frames[1].bytes, frame(CAMERA, 1, 1, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_frame_requests_reach_the_publisher() {
    let stage = Stage::new().await;
    let (_controller, mut alice, mut bob) = stage.meeting().await;
    bob.want(CAMERA).await;
    assert_eq!(alice.hears_key_frame_wanted().await, CAMERA.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_track_not_told_of_harm_nobody_and_are_asked_for_again() {
    let stage = Stage::new().await;
    let (mut controller, mut alice, bob) = stage.meeting().await;
    let screen = darktower_wire::ids::TrackId(77);
    let _unknown = alice.group(screen, 1, 3, 100).await;
    let _known = alice.group(CAMERA, 1, 1, 100).await;
    let (_, frames) = bob.receive(1).await;
    assert_eq!(frames[0].header.track, CAMERA);
    controller.say(track(screen, ALICE, true)).await;
    // As often as it is asked: a path that is not known yet may take it only after a test.
    let answers = async {
        let (mut groups, mut number) = (Vec::new(), 1);
        loop {
            if let server_control::Body::KeyFrameWanted(wanted) = alice.hear().await {
                assert_eq!(wanted.track, screen.0);
                number += 1;
                groups.push(alice.group(screen, number, 1, 100).await);
            }
        }
    };
    let frames = tokio::select! {
        never = answers => never,
        (_, frames) = bob.receive(1) => frames,
    };
    assert_eq!(frames[0].header.track, screen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_controller_takes_over_without_a_gap() {
    let stage = Stage::new().await;
    let (mut old, alice, bob) = stage.meeting().await;
    let mut stream = alice.group(CAMERA, 1, 1, 100).await;
    let (mut incoming, _) = bob.receive(1).await;
    let mut new = stage.controller().await;
    new.fence = 2;
    for body in [
        Body::SyncBegin(rpc::SyncBegin {}),
        seat(ALICE, true),
        seat(BOB, true),
        track(CAMERA, ALICE, true),
        Body::SyncEnd(rpc::SyncEnd {}),
    ] {
        new.say(body).await;
    }
    let mut there = [new.connected().await, new.connected().await];
    there.sort();
    assert_eq!(
        there,
        [
            Bytes::copy_from_slice(&ALICE.0),
            Bytes::copy_from_slice(&BOB.0)
        ]
    );
    old.say(Body::MeetingOver(rpc::MeetingOver {})).await;
    let refused = old.event().await;
    assert!(
        matches!(&refused, media_event::Body::FenceRefused(it) if it.newest == 2),
        "{refused:?}"
    );
    // Even with no controller at all.
    drop(old);
    drop(new);
    stream
        .write(entry(CAMERA, 1, 1, 100))
        .await
        .expect("a stream");
    let chunk = within("a frame", incoming.read_chunk()).await;
    assert!(chunk.expect("a group").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered() {
    let stage = Stage::new().await;
    let mut controller = stage.controller().await;
    for sequence in [1, 2] {
        controller
            .say(Body::Heartbeat(rpc::Heartbeat { sequence }))
            .await;
        let answer = controller.event().await;
        assert!(
            matches!(&answer, media_event::Body::Heartbeat(it) if it.sequence == sequence),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_meeting_closes_its_sessions() {
    let stage = Stage::new().await;
    let (mut controller, alice, bob) = stage.meeting().await;
    controller.say(Body::MeetingOver(rpc::MeetingOver {})).await;
    assert_eq!(closed(&alice.session).await, Some(Code::MeetingEnded));
    assert_eq!(closed(&bob.session).await, Some(Code::MeetingEnded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_stops_says_so_and_leaves_the_registry() {
    let stage = Stage::new().await;
    let (_controller, mut alice, bob) = stage.meeting().await;
    let nodes = stage
        .state
        .list_nodes(Some(Service::Media))
        .await
        .expect("nodes");
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        nodes[0].public_url,
        format!("https://{}/v1/media", stage.handler.addr)
    );
    let stopping = tokio::spawn(stage.handler.stop(Duration::from_millis(300)));
    let drain = alice.hear().await;
    assert!(matches!(drain, server_control::Body::Drain(_)), "{drain:?}");
    alice.session.close(0, "moved");
    assert_eq!(closed(&bob.session).await, Some(Code::Draining));
    within("the stop", stopping).await.expect("a stop");
    let nodes = stage
        .state
        .list_nodes(Some(Service::Media))
        .await
        .expect("nodes");
    assert_eq!(nodes, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_not_read_is_reset_when_the_next_begins() {
    let tuning = darktower_net::Tuning {
        stream_window: 64 << 10,
        receive_window: 16 << 20,
        ..darktower_net::Tuning::default()
    };
    let stage = Stage::with(|_| {}, tuning).await;
    let (_controller, alice, mut bob) = stage.meeting().await;
    // Far more than a stream's window, of which Bob reads only the first frame.
    let _old = alice.group(CAMERA, 1, 20, 100_000).await;
    let (mut stale, _) = bob.receive(1).await;
    let _new = alice.group(CAMERA, 2, 1, 100).await;
    let (_, frames) = bob.receive(1).await;
    assert_eq!(frames[0].header.group, 2, "it did not wait");
    // Busy elsewhere for longer than an old group's tail is waited for.
    let until = Instant::now() + Duration::from_millis(400);
    while Instant::now() < until {
        bob.say(client_control::Body::Ping(Ping { sent_us: 1 }))
            .await;
        bob.hear().await;
    }
    let ended = within("the reset", async {
        loop {
            match stale.read_chunk().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let stale_group = Code::StaleGroup.number();
    assert!(matches!(ended.await, Err(ReadError::Reset(Some(code))) if code == stale_group));
}

/// A microphone's pace, and half a second of it.
const PACKET: Duration = Duration::from_millis(20);
const PACKETS: u64 = 25;

/// Who is heard where Alice and Carol both talk and so many may be.
async fn heard_where(loudest: u8) -> BTreeSet<TrackId> {
    let configure = |config: &mut Config| {
        config.loudest = NonZeroU8::new(loudest).expect("not nobody");
        // What is taken in first is forwarded first.
        config.shards = 1;
    };
    let stage = Stage::with(configure, Tuning::default()).await;
    let (mut controller, alice, bob) = stage.meeting().await;
    let (carol, voice) = (ParticipantId([3; 16]), TrackId(31));
    controller.say(seat(carol, true)).await;
    controller.say(track(voice, carol, false)).await;
    let carol = stage.participant(carol).await;
    controller.connected().await;
    // Alice is first. Whoever is given a place is heard a moment later, where there are more who could have it.
    let say = async |who: &Participant, of, number| {
        let sent = frame(of, 1, number, 80);
        who.session.send_datagram(sent.clone()).expect("a datagram");
        stage.taken_in(&sent).await;
    };
    let mut pace = tokio::time::interval(PACKET);
    for number in 0..PACKETS {
        pace.tick().await;
        say(&alice, MICROPHONE, number).await;
        say(&carol, voice, number).await;
    }
    say(&alice, MICROPHONE, PACKETS).await;
    let last = frame(MICROPHONE, 1, PACKETS, 80);
    let mut tracks = BTreeSet::new();
    loop {
        let got = within("a voice", bob.session.recv_datagram()).await;
        let got = got.expect("a datagram");
        let header = Frame::parse(got.clone()).expect("a frame").header;
        tracks.insert(header.track);
        if got == last {
            return tracks;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_are_heard_as_the_configuration_says() {
    assert_eq!(heard_where(1).await, BTreeSet::from([MICROPHONE]));
    let both = BTreeSet::from([MICROPHONE, TrackId(31)]);
    assert_eq!(heard_where(2).await, both);
}
