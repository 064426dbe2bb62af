//! Ten joins and leaves in random order: after each, all that are there show the same code.

use darktower_client::Client;

use crate::house::{House, reach};

/// xorshift64: the order is random and the same on every run.
fn next(random: &mut u64) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 33) as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_equal_after_each_join_and_leave() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let mut random = 0x5eed_u64;
    let mut present: Vec<Client> = Vec::new();
    let mut codes = Vec::new();
    for step in 0..10 {
        let leaves =
            present.len() > 1 && (present.len() == 5 || next(&mut random).is_multiple_of(3));
        if leaves {
            let who = next(&mut random) % present.len();
            present.swap_remove(who).leave().await;
        } else {
            let (client, _events) = house.enter(&invitation).await;
            let name = format!("Participant {step}");
            client.join(&name, Vec::new()).await.unwrap();
            present.push(client);
        }
        let count = present.len();
        let first = reach(&present[0], "everybody's keys", |it| {
            it.e2ee.ready && it.e2ee.members == count && it.participants.len() == count
        });
        let mut agreed = first.await.e2ee;
        for client in &present {
            let same = |it: &darktower_client::State| {
                it.e2ee.ready && it.e2ee.members == count && it.e2ee.epoch >= agreed.epoch
            };
            let state = reach(client, "the same epoch", same).await;
            assert_eq!(state.e2ee.epoch, agreed.epoch, "step {step}");
            assert_eq!(state.e2ee.code, agreed.code, "step {step}");
            agreed = state.e2ee;
        }
        assert!(
            !codes.contains(&agreed.code),
            "step {step}: an old code again"
        );
        codes.push(agreed.code);
    }
    for client in present {
        client.leave().await;
    }
}
