//! What stands between the ends learns nothing and can make them believe nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use darktower_client::file::Clip;
use darktower_client::{Client, Command, Counters, CreateMeeting, Event, Events, Invitation};
use darktower_client::{Frame, Notice, ParticipantId, Phase, State};
use darktower_media_handler::Direction;
use tokio::time::timeout;

use crate::hear::{frames, perform};
use crate::house::{House, PATIENCE, reach};
use crate::relay::{Lie, Relay};

/// Patterns are looked for by windows of so many bytes.
const WINDOW: usize = 16;

/// Every window of what was encoded.
fn windows(clips: &[Arc<Clip>]) -> HashSet<Vec<u8>> {
    let chunks = clips.iter().flat_map(|it| &it.chunks);
    let windows = chunks.flat_map(|it| it.bytes.windows(WINDOW));
    windows.map(<[u8]>::to_vec).collect()
}

fn shows(bytes: &[u8], known: &HashSet<Vec<u8>>) -> bool {
    bytes.windows(WINDOW).any(|it| known.contains(it))
}

fn refused(counters: &Counters) -> u64 {
    let it = counters;
    it.refused_bad_tag + it.refused_replay + it.refused_sender + it.refused_header
}

fn me(state: &State) -> ParticipantId {
    state.me.as_ref().unwrap().id.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handler_sees_nothing_of_what_was_encoded() {
    let tapped = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tapped);
    let house = House::with(
        |_, _| {},
        move |direction, bytes: &Bytes| {
            seen.lock().unwrap().push((direction, bytes.clone()));
        },
    );
    let house = house.await;
    let clips = [house.camera(), house.microphone()];
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    perform(&ada, "Ada", &clips).await;
    let (bob, mut to_bob) = house.enter(&invitation).await;
    bob.join("Bob", Vec::new()).await.unwrap();
    // All of the clip and some of it again.
    let got = frames(&mut to_bob, 130).await;
    let known = windows(&clips);
    let mut opened = 0;
    for frame in got.values().flatten() {
        assert!(shows(&frame.bytes, &known), "what arrived is what was sent");
        opened += frame.bytes.len();
    }
    let tapped = std::mem::take(&mut *tapped.lock().unwrap());
    for direction in [Direction::Ingress, Direction::Egress] {
        let all = tapped.iter().filter(|it| it.0 == direction);
        let mut passed = 0;
        for (_, bytes) in all {
            assert!(
                !shows(bytes, &known),
                "{direction:?} shows what was encoded"
            );
            passed += bytes.len();
        }
        assert!(passed > opened, "{direction:?}: {passed} of {opened} bytes");
    }
    ada.leave().await;
    bob.leave().await;
}

/// Reads frames until the counters are as wished and each track of `kind` has gone on for a while meanwhile.
async fn lied_to(
    client: &Client,
    events: &mut Events,
    video: bool,
    clips: &[Arc<Clip>],
    counted: impl Fn(&Counters) -> bool,
) -> Counters {
    let known: HashSet<&Bytes> = clips
        .iter()
        .flat_map(|it| &it.chunks)
        .map(|it| &it.bytes)
        .collect();
    let mut shown = BTreeMap::new();
    let all = async {
        loop {
            let frame: Frame = events.next_frame().await.unwrap();
            assert!(
                known.contains(&frame.bytes),
                "a frame that nobody sealed was shown"
            );
            if frame.video == video {
                *shown.entry(frame.owner).or_insert(0) += 1;
            }
            let counters = client.refresh().await.unwrap().counters;
            let goes_on = shown.len() == 2 && shown.values().all(|it| *it >= 10);
            if goes_on && counted(&counters) {
                return counters;
            }
        }
    };
    match timeout(PATIENCE, all).await {
        Ok(counters) => counters,
        Err(_) => {
            let counters = client.refresh().await.unwrap().counters;
            panic!("not counted, or it stopped: {counters:?}, {shown:?}")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dishonest_handler_sends_is_refused_counted_and_the_picture_goes_on() {
    let mut relay = None;
    let house = House::with(
        |certs, config| {
            let here = relay.insert(Relay::start(certs));
            config.public_url = Some(here.url());
        },
        |_, _| {},
    );
    let house = house.await;
    let relay = relay.unwrap();
    relay.lead_to(house.media.addr);
    let clips = [house.camera(), house.microphone()];
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    perform(&ada, "Ada", &clips).await;
    let (cy, _to_cy) = house.enter(&invitation).await;
    perform(&cy, "Cy", &clips).await;
    let (bob, mut to_bob) = house.enter(&invitation).await;
    bob.join("Bob", Vec::new()).await.unwrap();
    let mut before = lied_to(&bob, &mut to_bob, true, &clips, |_| true).await;
    assert_eq!(refused(&before), 0, "{before:?}");

    type Count = fn(&Counters) -> u64;
    let lies: [(Lie, Count); 4] = [
        (Lie::Flipped, |it| it.refused_bad_tag),
        (Lie::Cut, |it| it.refused_bad_tag),
        (Lie::Again, |it| it.refused_replay),
        (Lie::Anothers, |it| it.refused_sender),
    ];
    for (lie, count) in lies {
        for video in [true, false] {
            relay.tell(Some((lie, video)));
            let enough = count(&before) + 3;
            before = lied_to(&bob, &mut to_bob, video, &clips, |it| count(it) >= enough).await;
            relay.tell(None);
        }
    }
    let state = bob.refresh().await.unwrap();
    assert_eq!(state.phase, Phase::Joined);
    lied_to(&bob, &mut to_bob, true, &clips, |_| true).await;
    for client in [ada, bob, cy] {
        client.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_host_removes_is_out_of_the_keys() {
    let house = House::start().await;
    let clips = [house.camera(), house.microphone()];
    let created = house
        .api
        .create_meeting(&CreateMeeting::default())
        .await
        .unwrap();
    let invitation = Invitation::with_new_secret(&created.meeting.code).unwrap();
    let access = house
        .api
        .lookup(&invitation.code, Some(&created.access_token))
        .await
        .unwrap();
    let (ada, _to_ada) = Client::enter(access, invitation.secret.clone());
    perform(&ada, "Ada", &clips).await;
    let (bob, mut to_bob) = house.enter(&invitation).await;
    bob.join("Bob", Vec::new()).await.unwrap();
    let (eve, mut to_eve) = house.enter(&invitation).await;
    eve.join("Eve", Vec::new()).await.unwrap();
    let mut codes = HashSet::new();
    let mut last = 0;
    for client in [&ada, &bob, &eve] {
        let state = reach(client, "three with keys", |it| {
            it.e2ee.ready && it.e2ee.members == 3
        })
        .await;
        codes.insert(state.e2ee.code);
        last = state.e2ee.epoch;
    }
    assert_eq!(codes.len(), 1, "the same code on every screen");
    frames(&mut to_eve, 5).await;

    let whom = me(&eve.state().borrow());
    let remove = Command::Remove { participant: whom };
    bob.wish(remove.clone()).await.unwrap();
    let refusal = async {
        loop {
            if let Event::Notice {
                notice: Notice::Refused { code, .. },
                ..
            } = to_bob.next().await.unwrap()
            {
                return code;
            }
        }
    };
    let refusal = timeout(PATIENCE, refusal).await.unwrap();
    assert_eq!(refusal, "forbidden", "only the host may");
    ada.wish(remove).await.unwrap();
    let out = reach(&eve, "the removal", |it| {
        matches!(it.phase, Phase::Failed | Phase::Ended)
    })
    .await;
    assert_eq!(out.error.unwrap().code, "removed");
    assert!(!out.e2ee.ready, "keys are gone");
    for client in [&ada, &bob] {
        let without = |it: &State| it.e2ee.members == 2 && it.participants.len() == 2;
        let state = reach(client, "the next epoch", without).await;
        assert!(state.e2ee.epoch > last);
        codes.insert(state.e2ee.code);
    }
    assert_eq!(codes.len(), 2, "one more code, the same for both");
    frames(&mut to_bob, 30).await;
    ada.leave().await;
    bob.leave().await;
}
