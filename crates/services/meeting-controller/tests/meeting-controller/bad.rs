//! What is refused, each with its code, and no harm to others.

use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::token::{Signer, SigningKey};
use darktower_wire::Code;
use darktower_wire::framing;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal::{
    self, ClientMessage, client_message::Body as Ask, server_message::Body,
};
use darktower_wire::token::{Audience, Claims, Role};

use crate::stage::{ALICE, BOB, Stage, Talk, closed, now_s, publish, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_token_has_its_code() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let sign = |change: fn(&mut Claims)| {
        let mut claims = Stage::claims(BOB);
        change(&mut claims);
        format!("token={}", stage.signer.sign(&claims).expect("a token"))
    };
    let good = sign(|_| {});
    let stranger = Signer::new(SigningKey::generate().expect("randomness"));
    let forged = stranger.sign(&Stage::claims(BOB)).expect("a token");
    let mut tampered = good.clone();
    let middle = tampered.len() / 2;
    let other = match tampered.as_bytes()[middle] {
        b'A' => "B",
        _ => "A",
    };
    tampered.replace_range(middle..=middle, other);
    let expired = sign(|claims| {
        claims.iat = now_s() - 900;
        claims.nbf = claims.iat;
        claims.exp = now_s() - 600;
    });
    let elsewhere = sign(|claims| {
        claims.meeting = MeetingId([55; 16]);
        claims.jti = "elsewhere".to_owned();
    });
    for (query, code) in [
        (String::new(), Code::Unauthenticated),
        ("token=".to_owned(), Code::Unauthenticated),
        ("token=garbage".to_owned(), Code::TokenInvalid),
        (format!("token={forged}"), Code::TokenInvalid),
        (tampered, Code::TokenInvalid),
        (expired, Code::TokenExpired),
        (
            sign(|claims| claims.aud = Audience::Media),
            Code::WrongAudience,
        ),
        (elsewhere, Code::MeetingUnknown),
        ("resume=AAAA".to_owned(), Code::ResumeUnknown),
        (format!("resume={}", "A".repeat(86)), Code::MeetingUnknown),
        (
            format!("resume={}", "CQkJCQkJCQkJCQkJCQkJCQ".repeat(4)),
            Code::ResumeUnknown,
        ),
        (format!("resume={}", "A".repeat(5000)), Code::ResumeUnknown),
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
    stage.describe().await.expect("a description");
    let query = format!("token={}", stage.token(BOB, Role::Guest));
    let foreign = [("origin", "https://evil.example")];
    let code = stage.refused(&query, &foreign).await;
    assert_eq!(code, Some(Code::OriginNotAllowed));
    // The token was not used up by that.
    let own = [("origin", "http://localhost:8080")];
    let mut bob = Talk::open(stage.connect(&query, &own).await).await;
    bob.join("Bob", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_closed() {
    let stage = Stage::with(|config| config.hello_within = Duration::from_millis(300)).await;
    stage.describe().await.expect("a description");
    let query = format!("token={}", stage.token(BOB, Role::Guest));
    let silent = stage.connect(&query, &[]).await;
    assert_eq!(closed(&silent).await, Some(Code::AuthenticationTimeout));
    let mut half = stage.guest(ALICE).await;
    half.raw(Bytes::from_static(&[5, 1])).await;
    assert_eq!(
        closed(&half.session).await,
        Some(Code::AuthenticationTimeout)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_the_session_and_harms_nobody() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    for (n, bytes, code) in [
        (10, vec![3, 0xff, 0xff, 0xff], Code::Malformed),
        (11, vec![0x9f, 0xff, 0xff, 0xff], Code::TooLarge),
        (12, vec![2, 0x52, 0x7f], Code::Malformed),
    ] {
        let mut talk = stage.guest(ParticipantId([n; 16])).await;
        talk.raw(bytes.into()).await;
        assert_eq!(closed(&talk.session).await, Some(code));
    }
    let pong = alice.ask(Ask::Ping(signal::Ping { sent_us: 7 })).await;
    assert!(matches!(pong, Body::Pong(pong) if pong.sent_us == 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_right_are_refused_with_a_code() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    let Body::Published(own) = alice.ask(Ask::Publish(publish(1))).await else {
        panic!("not published");
    };
    let mut bob = stage.guest(BOB).await;
    let subscribe = |track| {
        Ask::Subscribe(signal::Subscribe {
            track,
            wanted: true,
        })
    };
    assert_eq!(bob.refused(subscribe(own.track)).await, Code::NotJoined);
    for name in ["", " ", "a\nb", &"x".repeat(65)] {
        let join = signal::Join {
            name: name.to_owned(),
            ..Default::default()
        };
        assert_eq!(bob.refused(Ask::Join(join)).await, Code::NameInvalid);
    }
    bob.join("Bob", &[]).await;
    assert_eq!(bob.refused(subscribe(999)).await, Code::TrackUnknown);
    assert_eq!(alice.refused(subscribe(own.track)).await, Code::OwnTrack);
    let mute = signal::SetMuted {
        track: own.track,
        muted: true,
    };
    assert_eq!(bob.refused(Ask::SetMuted(mute)).await, Code::NotYourTrack);
    let garbage = signal::Publish {
        description: Bytes::from_static(&[0xff; 9]),
        ..Default::default()
    };
    assert_eq!(
        bob.refused(Ask::Publish(garbage)).await,
        Code::BadDescription
    );
    assert_eq!(
        bob.refused(Ask::EndMeeting(signal::EndMeeting {})).await,
        Code::Forbidden
    );
    let commit = signal::KeyCommit {
        commit: Bytes::from_static(b"no commit"),
        ..Default::default()
    };
    assert_eq!(
        bob.refused(Ask::KeyCommit(commit)).await,
        Code::KeyMalformed
    );
    // A message of a later version, and one that must be understood.
    for message in [
        ClientMessage {
            request: 100,
            ..Default::default()
        },
        ClientMessage {
            request: 101,
            must_understand: vec![7],
            body: Some(Ask::Ping(signal::Ping { sent_us: 1 })),
            ..Default::default()
        },
    ] {
        bob.raw(framing::encode(&message)).await;
        let code = bob
            .until(|body| match body {
                Body::Refused(refused) => Code::from_number(refused.code),
                _ => None,
            })
            .await;
        assert_eq!(code, Code::Unsupported);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_meeting_is_full_and_the_lobby_says_so() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let mut there = Vec::new();
    for n in 1..=3 {
        there.push(stage.joined(ParticipantId([n; 16]), Role::Guest).await);
    }
    let mut late = stage.guest(ParticipantId([4; 16])).await;
    let join = signal::Join {
        name: "Late".to_owned(),
        ..Default::default()
    };
    assert_eq!(late.refused(Ask::Join(join)).await, Code::MeetingFull);
    let refused = stage.describe().await.expect_err("it is full");
    assert_eq!(
        darktower_cluster::grpc::code_of(&refused),
        Code::MeetingFull
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_streams_harm_nobody() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    let (bob, _) = stage.joined(BOB, Role::Guest).await;
    let greedy = bob.session.clone();
    let flood = tokio::spawn(async move {
        let mut kept = Vec::new();
        while kept.len() < 10_000 {
            let next = tokio::time::timeout(Duration::from_secs(1), greedy.open_uni()).await;
            let Ok(Ok(mut stream)) = next else { break };
            if stream.write(Bytes::from_static(b"x")).await.is_err() {
                break;
            }
            kept.push(stream);
        }
        kept
    });
    for sent_us in 0..50 {
        let pong = alice.ask(Ask::Ping(signal::Ping { sent_us })).await;
        assert!(matches!(pong, Body::Pong(pong) if pong.sent_us == sent_us));
    }
    let kept = within("the flood", flood).await.expect("a flood");
    assert!(kept.len() <= 8, "{} streams were let in", kept.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_floods_is_cut_off() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    let (mut bob, _) = stage.joined(BOB, Role::Guest).await;
    let ping = ClientMessage {
        body: Some(Ask::Ping(signal::Ping { sent_us: 1 })),
        ..Default::default()
    };
    let ping = framing::encode(&ping);
    let many = Bytes::from(ping.repeat(20_000));
    // It reads nothing: the answers pile up.
    let _told = bob.send.write(many).await;
    let code = closed(&bob.session).await;
    let expected = [Some(Code::SlowReader), Some(Code::RateLimited)];
    assert!(expected.contains(&code), "{code:?}");
    let pong = alice.ask(Ask::Ping(signal::Ping { sent_us: 3 })).await;
    assert!(matches!(pong, Body::Pong(_)));
}
