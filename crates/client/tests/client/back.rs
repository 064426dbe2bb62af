//! Who lost every controller that it knew of.

use darktower_client::Phase;

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
