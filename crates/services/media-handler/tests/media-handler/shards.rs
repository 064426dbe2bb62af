//! One meeting on several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use darktower_net::{Session, Tuning};
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media_control::server_control;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::stage::{Participant, Stage, frame, receive, seat, track, within};

const SHARDS: [&str; 2] = ["media-0", "media-1"];
/// Each shard has so many sessions of the meeting at least.
const EACH: usize = 2;
/// The kernel spreads ports over the shards by chance: more than these on one side alone never happens.
const MOST: u8 = 64;
/// Numbers of groups that everybody gets: above those of which not everybody does.
const ROUNDS: Range<u64> = 1000..1003;
const FRAMES: u64 = 5;
const SIZE: usize = 300;

fn camera(number: u8) -> TrackId {
    TrackId(100 + u32::from(number))
}

async fn publish(who: &Participant, own: TrackId, group: u64) {
    let mut stream = who.group(own, group, FRAMES, SIZE).await;
    stream.finish().expect("a stream");
}

/// Whole groups of all these, with this number or, where none is said, any.
async fn collect(session: &Session, from: &BTreeSet<TrackId>, group: Option<u64>) {
    let mut missing = from.clone();
    while !missing.is_empty() {
        let (_, frames) = receive(session, FRAMES as usize).await;
        let first = frames[0].header;
        if group.is_some_and(|group| first.group < group) {
            continue;
        }
        for (number, got) in (0..).zip(&frames) {
            let sent = frame(first.track, first.group, number, SIZE);
            assert_eq!(got.bytes, sent, "{first:?}");
        }
        let is_new = missing.remove(&first.track);
        assert!(
            is_new || group.is_none(),
            "{first:?} came twice, or is its own"
        );
    }
}

/// Sends a key frame as often as somebody asks: a path that is not known yet takes a picture after a test only.
async fn answer(who: &mut Participant, own: TrackId) -> Infallible {
    for group in 1.. {
        publish(who, own, group).await;
        while !matches!(who.hear().await, server_control::Body::KeyFrameWanted(_)) {}
    }
    unreachable!("groups do not end");
}

/// Until everybody has seen everybody, and then each round in full.
async fn attend(mut who: Participant, own: TrackId, others: BTreeSet<TrackId>, all: Arc<Barrier>) {
    let session = who.session.clone();
    let seen = async {
        collect(&session, &others, None).await;
        all.wait().await;
    };
    tokio::select! {
        never = answer(&mut who, own) => match never {},
        () = seen => {}
    }
    for round in ROUNDS {
        publish(&who, own, round).await;
        collect(&session, &others, Some(round)).await;
        all.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meeting_on_two_shards_is_whole_on_both() {
    let mut stage = Stage::with(|config| config.shards = 2, Tuning::default()).await;
    let mut controller = stage.controller().await;
    let mut people = Vec::new();
    let mut sessions = BTreeMap::from(SHARDS.map(|shard| (shard.to_owned(), 0)));
    for number in 1..=MOST {
        let who = ParticipantId([number; 16]);
        let microphone = TrackId(200 + u32::from(number));
        controller.say(seat(who, true)).await;
        controller.say(track(camera(number), who, true)).await;
        controller.say(track(microphone, who, false)).await;
        stage.move_port();
        let participant = stage.participant(who).await;
        controller.connected().await;
        // Its session is on the shard that takes its sound in.
        let sound = frame(microphone, 1, 0, 80);
        let sent = participant.session.send_datagram(sound.clone());
        sent.expect("a datagram");
        let shard = stage.taken_in(&sound).await;
        *sessions.entry(shard).or_default() += 1;
        people.push((camera(number), participant));
        if sessions.values().all(|sessions| *sessions >= EACH) {
            break;
        }
    }
    assert!(sessions.values().all(|it| *it >= EACH), "{sessions:?}");
    assert_eq!(sessions.len(), SHARDS.len(), "{sessions:?}");
    let cameras: BTreeSet<_> = people.iter().map(|(camera, _)| *camera).collect();
    let all = Arc::new(Barrier::new(people.len()));
    let mut attending = JoinSet::new();
    for (own, who) in people {
        let mut others = cameras.clone();
        others.remove(&own);
        attending.spawn(attend(who, own, others, all.clone()));
    }
    while let Some(done) = within("everybody has everything", attending.join_next()).await {
        done.expect("all of it");
    }
}
