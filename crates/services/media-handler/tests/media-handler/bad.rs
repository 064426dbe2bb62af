//! What is refused, each with its code, and no harm to others.

use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::token::{Signer, SigningKey};
use darktower_net::Tuning;
use darktower_wire::Code;
use darktower_wire::media::STREAM_GROUP;
use darktower_wire::media_control::{ClientControl, KeyFrameWanted, client_control};
use darktower_wire::token::{Audience, Claims};

use crate::stage::{BOB, CAMERA, MICROPHONE, Stage, closed, frame, now_s, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_token_has_its_code() {
    let stage = Stage::with(
        |c| c.ticket_patience = Duration::from_millis(50),
        Tuning::default(),
    )
    .await;
    let sign = |change: fn(&mut Claims)| {
        let mut claims = Stage::claims(BOB);
        change(&mut claims);
        format!("token={}", stage.signer.sign(&claims).expect("a token"))
    };
    let good = sign(|_| {});
    let stranger = Signer::new(SigningKey::generate().expect("randomness"));
    let forged = format!(
        "token={}",
        stranger.sign(&Stage::claims(BOB)).expect("a token")
    );
    let mut tampered = good.clone();
    let middle = tampered.len() / 2;
    let other = if tampered.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    tampered.replace_range(middle..=middle, other);
    let expired = sign(|claims| {
        claims.iat = now_s() - 900;
        claims.nbf = claims.iat;
        claims.exp = now_s() - 600;
    });
    for (query, code) in [
        (String::new(), Code::Unauthenticated),
        ("token=".to_owned(), Code::Unauthenticated),
        ("token=garbage".to_owned(), Code::TokenInvalid),
        (forged, Code::TokenInvalid),
        (tampered, Code::TokenInvalid),
        (expired, Code::TokenExpired),
        (
            sign(|claims| claims.aud = Audience::Meeting),
            Code::WrongAudience,
        ),
        ("ticket=AAAA".to_owned(), Code::TicketUnknown),
        (format!("ticket={}", "A".repeat(500)), Code::TicketUnknown),
    ] {
        assert_eq!(stage.refused(&query, &[]).await, Some(code), "{query}");
    }
    let first = stage.connect(&good, &[]).await;
    assert_eq!(stage.refused(&good, &[]).await, Some(Code::TokenReplayed));
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_may_not_connect() {
    let stage = Stage::new().await;
    let query = format!("token={}", stage.token(BOB));
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(
        stage.refused(&query, &foreign).await,
        Some(Code::OriginNotAllowed)
    );
    // The token was not used up by that.
    let session = stage
        .connect(&query, &[("origin", "http://localhost:8080")])
        .await;
    crate::stage::Participant::greet(session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_closed() {
    let hello = Duration::from_millis(300);
    let stage = Stage::with(|config| config.hello_within = hello, Tuning::default()).await;
    let session = stage
        .connect(&format!("token={}", stage.token(BOB)), &[])
        .await;
    assert_eq!(closed(&session).await, Some(Code::AuthenticationTimeout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_control_stream_ends_the_session() {
    let stage = Stage::new().await;
    let mut wrong_order = Vec::new();
    let wanted = KeyFrameWanted { track: 1, layer: 0 };
    let body = Some(client_control::Body::KeyFrameWanted(wanted));
    wrong_order.extend_from_slice(&darktower_wire::framing::encode(&ClientControl { body }));
    for (bytes, code) in [
        (vec![3, 0xff, 0xff, 0xff], Code::Malformed),
        (vec![0x7f, 0xff], Code::TooLarge),
        (wrong_order, Code::OutOfOrder),
    ] {
        let session = stage
            .connect(&format!("token={}", stage.token(BOB)), &[])
            .await;
        let (mut send, _recv) = session.open_bi().await.expect("a stream");
        send.write(bytes.into()).await.expect("a stream");
        assert_eq!(closed(&session).await, Some(code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_lie_are_stopped_and_liars_closed() {
    let stage = Stage::new().await;
    let (_controller, alice, bob) = stage.meeting().await;
    for bytes in [
        // Longer than any frame may be.
        vec![STREAM_GROUP, 0xbf, 0xff, 0xff, 0xff],
        // Shorter than its own header.
        vec![STREAM_GROUP, 2, 0x20, 10],
        // Another type of stream.
        vec![0x77, 1, 2, 3],
    ] {
        let mut stream = alice.session.open_uni().await.expect("a stream");
        stream.write(bytes.into()).await.expect("a stream");
        let stopped = within("the stop", stream.delivered()).await;
        let text = format!("{stopped:?}");
        assert!(
            text.contains(&Code::BadFrameHeader.number().to_string()),
            "{text}"
        );
    }
    let _group = alice.group(CAMERA, 1, 1, 100).await;
    let (_, frames) = bob.receive(1).await;
    assert_eq!(frames[0].header.track, CAMERA, "no harm done");
    // Datagrams that lie are counted and forgotten.
    alice
        .session
        .send_datagram(Bytes::from_static(&[0xff; 50]))
        .expect("a datagram");
    alice
        .session
        .send_datagram(frame(MICROPHONE, 1, 1, 20))
        .expect("a datagram");
    let got = within("a datagram", bob.session.recv_datagram())
        .await
        .expect("a datagram");
    assert_eq!(got, frame(MICROPHONE, 1, 1, 20));
    let flood = async {
        loop {
            let Ok(mut stream) = bob.session.open_uni().await else {
                return;
            };
            if stream.write(Bytes::from_static(&[0x77])).await.is_err() {
                continue;
            }
        }
    };
    within("the end of the liar", async {
        tokio::select! {
            () = flood => {}
            _ = bob.session.closed() => {}
        }
    })
    .await;
    assert_eq!(closed(&bob.session).await, Some(Code::BadFrameHeader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_streams_harm_nobody() {
    let stage = Stage::new().await;
    let (_controller, alice, bob) = stage.meeting().await;
    let greedy = bob.session.clone();
    let flood = tokio::spawn(async move {
        let mut opened = 0;
        let mut kept = Vec::new();
        while opened < 10_000 {
            let next = tokio::time::timeout(Duration::from_secs(1), greedy.open_uni()).await;
            let Ok(Ok(mut stream)) = next else { break };
            let _ = stream.write(Bytes::from_static(&[STREAM_GROUP])).await;
            kept.push(stream);
            opened += 1;
        }
        (opened, kept)
    });
    for group in 1..20 {
        let mut stream = alice.group(CAMERA, group, 1, 1000).await;
        stream.finish().expect("a stream");
        let (_, frames) = bob.receive(1).await;
        assert_eq!(frames[0].header.group, group);
    }
    let (opened, _kept) = within("the flood", flood).await.expect("a flood");
    assert!(opened <= 256 + 3, "{opened} streams were let in at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_participants_track_cannot_be_sent_on() {
    let stage = Stage::new().await;
    let (_controller, alice, bob) = stage.meeting().await;
    let _stolen = bob.group(CAMERA, 90, 2, 100).await;
    let _true = alice.group(CAMERA, 1, 1, 100).await;
    let (_, frames) = bob.receive(1).await;
    assert_eq!(frames[0].header.group, 1, "the thief moved nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_cut_off_and_others_are_not() {
    let tuning = Tuning {
        stream_window: 16 << 10,
        receive_window: 32 << 10,
        ..Tuning::default()
    };
    let patience = Duration::from_millis(500);
    let stage = Stage::with(|config| config.reader_patience = patience, tuning).await;
    let (mut controller, alice, bob) = stage.meeting().await;
    let carol = darktower_wire::ids::ParticipantId([3; 16]);
    controller.say(crate::stage::seat(carol, true)).await;
    let carol = stage.participant(carol).await;
    controller.connected().await;
    // As fast as the one who reads takes them, and no faster.
    let mut shown = 0;
    let pictures = async {
        loop {
            let mut stream = alice.group(CAMERA, shown + 1, 5, 20_000).await;
            stream.finish().expect("a stream");
            let (_, frames) = carol.receive(1).await;
            assert_eq!(frames[0].header.group, shown + 1);
            shown += 1;
        }
    };
    let code = tokio::select! {
        code = closed(&bob.session) => code,
        () = pictures => None,
    };
    assert_eq!(code, Some(Code::SlowReader));
    assert!(shown > 10, "the other saw {shown} pictures");
}
