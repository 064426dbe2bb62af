//! What dishonest servers gain: nothing they can read, and nothing unseen.

use darktower_participant::Phase;
use darktower_sim::{Plot, World};

use crate::{MS, S, agree, all_see_and_hear_all, joined};

/// What was opened at an end so far.
fn opened(world: &World, end: usize) -> u64 {
    let end = &world.ends[end];
    end.pictures.values().chain(end.packets.values()).sum()
}

#[test]
fn the_removed_open_nothing_of_the_next_epoch_whatever_the_servers_leak() {
    for seed in 400..404 {
        let mut world = World::new(seed);
        let ends = [20, 40, 60].map(|ms| world.enter(ms * MS));
        for end in ends {
            world.join(end);
        }
        assert!(world.run_until(5 * S, |world| agree(world, &ends)));
        all_see_and_hear_all(&mut world, &ends);
        let [ada, bob, eve] = ends;
        let before = world.state(eve);

        world.plot = Some(Plot {
            whom: eve,
            like: bob,
        });
        let whom = before.me.as_ref().map(|me| me.id.clone());
        world.command(
            ada,
            serde_json::json!({ "do": "remove", "participant": whom }),
        );
        assert!(
            world.run_until(S, |world| agree(world, &[ada, bob])),
            "seed {seed}"
        );
        // What was sealed before is still under way, and hers to open.
        world.run(200 * MS);
        let then = opened(&world, eve);
        let held = world.state(eve).counters.held;
        world.run(S);
        let after = world.state(eve);
        assert_eq!(after.phase, Phase::Joined, "she knows of nothing");
        assert_eq!(after.e2ee, before.e2ee);
        assert_eq!(opened(&world, eve), then, "seed {seed}");
        assert!(after.counters.held > held, "{:?}", after.counters);
        assert_ne!(world.state(bob).e2ee.code, after.e2ee.code);
        all_see_and_hear_all(&mut world, &[ada, bob]);
    }
}

#[test]
fn one_led_into_another_group_reads_another_code() {
    // The same meeting, held twice by its servers, one of their own in each.
    let mut codes = Vec::new();
    for seed in [410, 411] {
        let mut world = World::with(seed, false);
        let (server, person) = (world.enter(20 * MS), world.enter(40 * MS));
        world.join(server);
        assert!(world.run_until(3 * S, |world| joined(world, &[server])));
        world.join(person);
        assert!(world.run_until(3 * S, |world| agree(world, &[server, person])));
        codes.push(world.state(person).e2ee.code);
    }
    assert_eq!(codes[0].len(), 35);
    assert_ne!(codes[0], codes[1], "Ada and Bob read different codes");
}

#[test]
fn nobody_is_led_into_a_group_without_the_links_secret() {
    let mut world = World::new(420);
    // The servers' own participant founds the group with a secret it made up.
    let server = world.enter_with(20 * MS, Some("EREREREREREREREREREREQ"));
    world.join(server);
    assert!(world.run_until(3 * S, |world| joined(world, &[server])));
    let ada = world.enter(40 * MS);
    world.join(ada);
    assert!(world.run_until(10 * S, |world| world.state(ada).phase == Phase::Failed));
    let state = world.state(ada);
    assert_eq!(state.error.map(|it| it.code), Some("link_secret_needed"));
    assert!(!state.e2ee.ready);
    world.run(S);
    assert_eq!(opened(&world, server), 0, "nothing of hers was opened");
}
