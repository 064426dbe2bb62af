//! What is meant to happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use darktower_cluster::grpc::code_of;
use darktower_meeting::Meeting;
use darktower_store::{MeetingLog, StateStore as _, Written};
use darktower_wire::Code;
use darktower_wire::ids::{NodeId, ParticipantId};
use darktower_wire::signal::{self, client_message::Body as Ask, server_message::Body};
use darktower_wire::token::Role;

use crate::stage::{
    ALICE, BOB, MEETING, Stage, Talk, closed, describe, publish, resume_query, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_join_see_one_another_publish_and_leave() {
    let stage = Stage::new().await;
    let described = stage.describe().await.expect("a description");
    assert_eq!((described.participants, described.founded), (0, false));
    let (mut alice, first) = stage.joined(ALICE, Role::Host).await;
    assert_eq!(first.participants.len(), 1);
    assert_eq!(first.meeting.expect("a meeting").title, "Tuesday");
    let mut bob = stage.guest(BOB).await;
    let lobby = bob.ask(Ask::Hello(signal::Hello {})).await;
    let Body::Lobby(lobby) = lobby else {
        panic!("no lobby: {lobby:?}");
    };
    assert_eq!(lobby.participants, 1);
    let joined = bob.join("Bob", &[publish(1)]).await;
    assert_eq!(joined.participants.len(), 2);
    let seen = alice
        .until(|body| match body {
            Body::ParticipantJoined(joined) => joined.participant,
            _ => None,
        })
        .await;
    assert_eq!((seen.name.as_str(), seen.tracks.len()), ("Bob", 1));
    let track = seen.tracks[0].id;
    let unsubscribe = signal::Subscribe {
        track,
        wanted: false,
    };
    let done = alice.ask(Ask::Subscribe(unsubscribe)).await;
    assert!(matches!(done, Body::Done(_)));
    let published = alice.ask(Ask::Publish(publish(5))).await;
    assert!(matches!(published, Body::Published(published) if published.handle == 5));
    bob.until(|body| matches!(body, Body::TrackPublished(_)).then_some(()))
        .await;
    assert_eq!(
        stage.describe().await.expect("a description").participants,
        2
    );
    assert!(matches!(
        bob.ask(Ask::Leave(signal::Leave {})).await,
        Body::Done(_)
    ));
    assert_eq!(closed(&bob.session).await, Some(Code::Left));
    alice
        .until(|body| matches!(body, Body::ParticipantLeft(_)).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leave_counts_though_the_session_is_closed_right_behind_it() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    // Which of the two is seen first is chance, so it is not one try.
    for _ in 0..24 {
        let (mut bob, _) = stage.joined(BOB, Role::Guest).await;
        bob.say(Ask::Leave(signal::Leave {})).await;
        bob.send.finish().expect("a stream");
        within("delivered", bob.send.delivered())
            .await
            .expect("delivered");
        bob.session.close(Code::Left.number(), "left");
        let left = alice.until(|body| match body {
            Body::ParticipantLeft(_) => Some(true),
            Body::ParticipantChanged(changed) => changed.away.then_some(false),
            _ => None,
        });
        assert!(left.await, "away instead of gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_is_resumed_on_the_same_seat() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    let (bob, joined) = stage.joined(BOB, Role::Guest).await;
    bob.session.close(Code::ConnectionLost.number(), "gone");
    let away = |body| match body {
        Body::ParticipantChanged(changed) => Some(changed.away),
        _ => None,
    };
    assert!(alice.until(away).await);
    let resume = Ask::Resume(signal::Resume {
        epoch: 0,
        keys_lost: true,
        ..signal::Resume::default()
    });
    let mut back = Talk::open(stage.connect(&resume_query(&joined), &[]).await).await;
    let answer = back.ask(resume.clone()).await;
    let Body::Joined(again) = answer else {
        panic!("not resumed: {answer:?}");
    };
    assert!(again.resumed);
    assert_eq!(again.participant_id, joined.participant_id);
    assert!(!alice.until(away).await);
    // A second session on the seat supersedes the first.
    let mut twin = Talk::open(stage.connect(&resume_query(&joined), &[]).await).await;
    assert!(matches!(twin.ask(resume).await, Body::Joined(_)));
    assert_eq!(closed(&back.session).await, Some(Code::SeatTaken));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_controller_takes_the_meeting_over() {
    let stage = Stage::with(|config| config.lease_ttl = Duration::from_millis(600)).await;
    stage.describe().await.expect("a description");
    let (_alice, joined) = stage.joined(ALICE, Role::Guest).await;
    let second = stage.second().await;
    let refused = describe(&second).await.expect_err("another owns it");
    assert_eq!(code_of(&refused), Code::NotOwner);
    let Stage {
        controller, client, ..
    } = stage;
    controller.stop(Duration::ZERO).await;
    let description = describe(&second).await.expect("a description");
    assert_eq!(description.participants, 1);
    let port = second.addr.port();
    let url = format!(
        "https://127.0.0.1:{port}/v1/signal?{}",
        resume_query(&joined)
    );
    let url = darktower_net::Url::parse(&url).expect("a URL");
    let session = within("connected", client.connect(&url, &[]))
        .await
        .expect("a session");
    let mut back = Talk::open(session).await;
    let resume = Ask::Resume(signal::Resume {
        epoch: 0,
        keys_lost: true,
        ..signal::Resume::default()
    });
    let Body::Joined(again) = back.ask(resume).await else {
        panic!("not resumed");
    };
    assert_eq!(again.participant_id, joined.participant_id);
    second.stop(Duration::ZERO).await;
}

/// As by a failover of the store: lease and fence are what they were, and the log is as it was before somebody joined.
/// The number that it ends with.
async fn forget_what_came_after(stage: &Stage, before: &MeetingLog) -> u64 {
    let state = &stage.state;
    let fence = state.read_lease(MEETING).await.expect("the store").fence;
    let forgotten = state.forget_meeting(MEETING, fence).await;
    assert_eq!(forgotten.expect("the store"), Written::Yes);
    let (number, snapshot) = (before.number, before.snapshot.clone());
    let written = state.write_snapshot(MEETING, fence, number, snapshot).await;
    // A renewal may have come between: the log is whole then.
    assert_ne!(written.expect("the store"), Written::Fenced);
    number
}

fn has_seat(log: &MeetingLog, joined: &signal::Joined) -> bool {
    let config = darktower_meeting::meeting::Config::default();
    let deltas = log.deltas.iter().map(|delta| &delta[..]);
    let restored = Meeting::restore(config, &log.snapshot, deltas, Duration::ZERO, 0);
    let id = ParticipantId::from_slice(&joined.participant_id).expect("an id");
    restored.expect("a meeting").has_seat(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_has_forgotten_is_written_anew_though_nothing_failed() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let before = stage.state.load_meeting(MEETING).await.expect("the store");
    let (_alice, joined) = stage.joined(ALICE, Role::Guest).await;
    let number = forget_what_came_after(&stage, &before).await;
    let lost = Instant::now();
    let log = within("the log is written anew", async {
        loop {
            let log = stage.state.load_meeting(MEETING).await.expect("the store");
            if log.number > number {
                return log;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(lost.elapsed() < Duration::from_secs(5));
    assert!(has_seat(&log, &joined));
}

/// Its next renewal would be far away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_goes_writes_anew_what_the_store_has_forgotten() {
    let stage = Stage::with(|config| config.lease_ttl = Duration::from_secs(600)).await;
    stage.describe().await.expect("a description");
    let before = stage.state.load_meeting(MEETING).await.expect("the store");
    let (_alice, joined) = stage.joined(ALICE, Role::Guest).await;
    forget_what_came_after(&stage, &before).await;
    let log = stage.state.load_meeting(MEETING).await.expect("the store");
    assert!(!has_seat(&log, &joined));
    let Stage {
        controller, state, ..
    } = stage;
    controller.stop(Duration::ZERO).await;
    let lease = state.read_lease(MEETING).await.expect("the store");
    assert_eq!(lease.owner, None);
    let log = state.load_meeting(MEETING).await.expect("the store");
    assert!(has_seat(&log, &joined));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_meeting_stays_ended() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, _) = stage.joined(ALICE, Role::Guest).await;
    stage.end().await.expect("an end");
    alice
        .until(|body| matches!(body, Body::Ended(_)).then_some(()))
        .await;
    assert_eq!(closed(&alice.session).await, Some(Code::MeetingEnded));
    let refused = within("the end everywhere", async {
        loop {
            match stage.describe().await {
                Err(status) if code_of(&status) == Code::MeetingEnded => return status,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(code_of(&refused), Code::MeetingEnded);
    let token = stage.token(BOB, Role::Guest);
    let code = stage.refused(&format!("token={token}"), &[]).await;
    assert_eq!(code, Some(Code::MeetingEnded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_handler_is_assigned_and_knows_the_seat() {
    let stage = Stage::new().await;
    stage.describe().await.expect("a description");
    let (mut alice, joined) = stage.joined(ALICE, Role::Guest).await;
    assert!(joined.media.is_none(), "no handler is there yet");
    let deps = darktower_media_handler::Deps {
        state: stage.state.clone(),
        verifier: Stage::verifier(&stage.signer),
        certs: stage.certs.clone(),
        node: NodeId([70; 16]),
        trust: Default::default(),
        tap: None,
    };
    let config = darktower_media_handler::Config {
        // As by default: it does not know by which address it is reached.
        listen: "0.0.0.0:0".parse().expect("an address"),
        ..Default::default()
    };
    let handler = darktower_media_handler::start(config, deps)
        .await
        .expect("a handler");
    let assignment = alice
        .until(|body| match body {
            Body::Media(assignment) => Some(assignment),
            _ => None,
        })
        .await;
    let port = handler.addr.port();
    assert_eq!(assignment.url, format!("https://127.0.0.1:{port}/v1/media"));
    // The ticket opens a media session: the handler was told of the seat.
    use base64::Engine as _;
    let ticket = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&assignment.ticket);
    let url = format!("{}?ticket={ticket}", assignment.url);
    let url = darktower_net::Url::parse(&url).expect("a URL");
    let media = within("a media session", stage.client.connect(&url, &[])).await;
    let media = media.expect("a session");
    let (mut send, mut recv) = within("a stream", media.open_bi()).await.expect("a stream");
    use darktower_wire::media_control::{ClientControl, Hello, client_control};
    let body = Some(client_control::Body::Hello(Hello::default()));
    let hello = darktower_wire::framing::encode(&ClientControl { body });
    send.write(hello).await.expect("a stream");
    let welcome = within("a welcome", recv.read_chunk())
        .await
        .expect("a stream");
    assert!(welcome.is_some());
    let described = stage.describe().await.expect("a description");
    assert_eq!(described.media_node, NodeId([70; 16]).to_vec());
    handler.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_meeting_leaves_nothing_behind() {
    let stage = Stage::with(|config| config.empty_for = Duration::from_millis(200)).await;
    stage.describe().await.expect("a description");
    let state = Arc::clone(&stage.state);
    within("the meeting's end", async {
        while stage.controller.meetings() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let log = state.load_meeting(MEETING).await.expect("the store");
    assert!(log.snapshot.is_empty());
    let lease = state.read_lease(MEETING).await.expect("the store");
    assert_eq!(lease.owner, None);
}
