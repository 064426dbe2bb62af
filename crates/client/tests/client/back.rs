//! Who lost its way: every controller that it knew of, or what opens its door.

use darktower_client::synthetic::microphone_offer;
use darktower_client::{Client, LinkState, Phase};
use darktower_net::{ServerTrust, Tuning, Url};

use crate::house::{House, reach};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_shows_the_way_back_to_the_seat() {
    let mut house = House::start().await;
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    ada.look_up_at(house.api.clone()).await.unwrap();
    ada.join("Ada", Vec::new()).await.unwrap();
    let before = reach(&ada, "the meeting", |it| {
        it.phase == Phase::Joined && it.e2ee.ready
    })
    .await;

    let away = reach(&ada, "the loss", |it| it.phase == Phase::Reconnecting);
    let (_away, ()) = tokio::join!(away, house.replace_controller());
    let after = reach(&ada, "the seat", |it| it.phase == Phase::Joined).await;
    assert_eq!(
        after.me.map(|me| me.id),
        before.me.map(|me| me.id),
        "it is the same seat"
    );
    assert_eq!(after.e2ee.code, before.e2ee.code);
    ada.leave().await;
}

/// The connection that was opened with the token is one that the participant never heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_token_is_spent_is_let_in_anew_and_keeps_its_wishes() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let (ada, _to_ada) = house.enter(&invitation).await;
    ada.join("Ada", Vec::new()).await.unwrap();
    reach(&ada, "the meeting", |it| it.e2ee.ready).await;

    let access = house.api.lookup(&invitation.code, None).await.unwrap();
    let named = access.participant_id.to_string();
    let trust = ServerTrust::Hashes(house.certs.hashes());
    let net = darktower_net::Client::new(trust, &Tuning::default()).unwrap();
    for door in [&access.signal, &access.media] {
        let url = Url::parse(&format!("{}?token={}", door.url, door.token)).unwrap();
        net.connect(&url, &[]).await.unwrap().close(0, "");
    }
    let (bob, _to_bob) = Client::enter(access, invitation.secret.clone());
    bob.look_up_at(house.api.clone()).await.unwrap();
    bob.join("Bob", vec![microphone_offer()]).await.unwrap();
    let state = reach(&bob, "the meeting", |it| {
        it.phase == Phase::Joined && it.e2ee.ready && it.links.media == LinkState::Up
    })
    .await;
    assert_ne!(state.me.unwrap().id, named, "it is another participant");
    let sees = reach(&ada, "Bob and his microphone", |it| {
        let bob = it.participants.iter().find(|other| other.name == "Bob");
        bob.is_some_and(|bob| bob.tracks.len() == 1) && it.e2ee.code == state.e2ee.code
    })
    .await;
    assert_eq!(sees.participants.len(), 2, "and the only one");
    bob.leave().await;
    ada.leave().await;
}
