//! Two participants hear and see each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use darktower_client::file::{Clip, codec};
use darktower_client::{Client, Events, Frame, ParticipantId, Phase};
use tokio::time::timeout;

use crate::house::{House, PATIENCE, reach};

/// Joins with both clips and plays them.
pub(crate) async fn perform(client: &Client, name: &str, clips: &[Arc<Clip>]) {
    let offers = clips.iter().map(|it| it.offer(name)).collect();
    let tracks = client.join(name, offers).await.unwrap();
    let clips = clips.to_vec();
    let client = client.clone();
    tokio::spawn(async move {
        for track in &tracks {
            if track.ready().await.is_err() {
                return;
            }
        }
        let begin = client.now();
        drop(client);
        for (track, clip) in tracks.into_iter().zip(clips) {
            tokio::spawn(async move { track.play(&clip, begin).await });
        }
    });
}

/// `count` frames of each of two tracks.
pub(crate) async fn frames(events: &mut Events, count: usize) -> BTreeMap<bool, Vec<Frame>> {
    let mut seen = BTreeMap::<bool, Vec<Frame>>::new();
    while seen.len() < 2 || seen.values().any(|it| it.len() < count) {
        let next = timeout(PATIENCE, events.next_frame()).await;
        let frame = next.unwrap_or_else(|_| {
            let have: Vec<_> = seen.iter().map(|(video, it)| (video, it.len())).collect();
            panic!("frames stopped coming: {have:?}")
        });
        let frame = frame.unwrap();
        seen.entry(frame.video).or_default().push(frame);
    }
    seen
}

/// Every chunk is one of the file, and every picture follows the one it builds on.
fn check(frames: &[Frame], clip: &Clip, owner: ParticipantId) {
    let places = clip.chunks.iter().enumerate();
    let places: HashMap<Bytes, usize> = places.map(|(n, it)| (it.bytes.clone(), n)).collect();
    assert!(frames[0].key);
    let mut last = None;
    for frame in frames {
        assert_eq!(frame.owner, Some(owner));
        assert_eq!(codec::check(&clip.codec, &frame.bytes), Some(frame.key));
        let place = places.get(&frame.bytes).copied();
        assert!(place.is_some(), "a chunk that nobody published");
        let follows = last.is_some_and(|last| place == Some(last + 1));
        assert!(frame.key || follows, "{last:?} then {place:?}");
        last = place;
    }
    let times = frames.windows(2);
    assert!(
        times
            .into_iter()
            .all(|it| it[0].capture_us < it[1].capture_us)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_participants_see_and_hear_each_other() {
    let house = House::start().await;
    let clips = [house.camera(), house.microphone()];
    let invitation = house.meeting().await;

    let (ada, mut to_ada) = house.enter(&invitation).await;
    perform(&ada, "Ada", &clips).await;
    let state = reach(&ada, "Ada's keys", |it| it.e2ee.ready).await;
    let ada_id = state.me.unwrap().id.parse().unwrap();

    let (bob, mut to_bob) = house.enter(&invitation).await;
    perform(&bob, "Bob", &clips).await;
    let state = reach(&bob, "Bob's keys", |it| it.e2ee.ready).await;
    let bob_id = state.me.unwrap().id.parse().unwrap();

    for (events, owner) in [(&mut to_bob, ada_id), (&mut to_ada, bob_id)] {
        let seen = frames(events, 45).await;
        check(&seen[&true], &clips[0], owner);
        check(&seen[&false], &clips[1], owner);
    }
    let (at_ada, at_bob) = (ada.refresh().await.unwrap(), bob.refresh().await.unwrap());
    assert_eq!(at_ada.e2ee.code, at_bob.e2ee.code);
    assert_eq!(at_ada.e2ee.code.len(), 35);
    for state in [at_ada, at_bob] {
        let it = state.counters;
        let refused = it.refused_bad_tag + it.refused_replay + it.refused_sender;
        assert_eq!(refused + it.refused_header, 0, "{it:?}");
    }

    ada.leave().await;
    let alone = reach(&bob, "Bob alone", |it| {
        it.participants.len() == 1 && it.e2ee.members == 1
    });
    alone.await;
    bob.leave().await;
    assert_eq!(bob.state().borrow().phase, Phase::Left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_without_its_secret_opens_nothing() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    ada.join("Ada", Vec::new()).await.unwrap();
    reach(&ada, "Ada's keys", |it| it.e2ee.ready).await;

    let access = house.api.lookup(&invitation.code, None).await.unwrap();
    let (eve, _to_eve) = Client::enter(access, None);
    let state = reach(&eve, "the refusal", |it| it.phase == Phase::Failed).await;
    assert_eq!(state.error.unwrap().code, "link_secret_needed");

    let other = house.meeting().await.secret;
    let access = house.api.lookup(&invitation.code, None).await.unwrap();
    let (eve, _to_eve) = Client::enter(access, other);
    eve.join("Eve", Vec::new()).await.unwrap();
    let state = reach(&eve, "the refusal", |it| it.phase == Phase::Failed).await;
    assert_eq!(state.error.unwrap().code, "link_secret_needed");
    assert!(!state.e2ee.ready);
    let state = reach(&ada, "Ada alone", |it| it.participants.len() == 1).await;
    assert_eq!(state.e2ee.members, 1);
    ada.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_goes_dark_and_comes_back_with_a_key_frame() {
    let house = House::start().await;
    let clip = house.camera();
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    let tracks = ada.join("Ada", vec![clip.offer("camera")]).await.unwrap();
    let track = Arc::new(tracks.into_iter().next().unwrap());
    timeout(PATIENCE, track.ready()).await.unwrap().unwrap();
    let player = Arc::clone(&track);
    let begin = ada.now();
    tokio::spawn(async move { player.play(&clip, begin).await });

    let (bob, mut to_bob) = house.enter(&invitation).await;
    bob.join("Bob", Vec::new()).await.unwrap();
    let first = timeout(PATIENCE, to_bob.next_frame()).await.unwrap();
    assert!(first.unwrap().key);
    track.mute(true).await.unwrap();
    let muted = |it: &darktower_client::State| {
        let mut tracks = it.participants.iter().flat_map(|it| &it.tracks);
        tracks.next().is_some_and(|it| it.muted)
    };
    reach(&bob, "the dark picture", muted).await;
    let dark = bob.now();
    track.mute(false).await.unwrap();
    reach(&bob, "the picture again", |it| !muted(it)).await;
    let back = async {
        loop {
            let frame = to_bob.next_frame().await.unwrap();
            if frame.at > dark && frame.key {
                return;
            }
        }
    };
    timeout(PATIENCE, back).await.unwrap();
    bob.leave().await;
    ada.leave().await;
}

#[tokio::test]
async fn the_api_says_no_with_a_code() {
    let house = House::start().await;
    let code = |error: darktower_client::ApiError| error.code().unwrap().name();
    let unknown = house.api.lookup("zzz-zzzz-zzz", None).await.unwrap_err();
    assert_eq!(code(unknown), "meeting_unknown");
    let malformed = house.api.lookup("what", None).await.unwrap_err();
    assert_eq!(code(malformed), "code_malformed");
    house.api.health().await.unwrap();
}
