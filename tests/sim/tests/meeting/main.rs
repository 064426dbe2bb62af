//! Whole meetings: everybody sees and hears everybody, through whatever comes.

mod faults;
mod secrecy;

use std::time::Duration;

use darktower_link::Random;
use darktower_participant::Phase;
use darktower_sim::World;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn joined(world: &World, ends: &[usize]) -> bool {
    ends.iter().all(|end| {
        let state = world.state(*end);
        state.phase == Phase::Joined && state.e2ee.ready
    })
}

/// Epoch, code and members are the same for all.
fn agree(world: &World, ends: &[usize]) -> bool {
    let keys = |end: &usize| {
        let keys = world.state(*end).e2ee;
        (keys.epoch, keys.code, keys.members)
    };
    let first = ends.first().map(keys);
    joined(world, ends)
        && first.as_ref().is_none_or(|first| first.2 == ends.len())
        && ends.iter().all(|end| Some(keys(end)) == first)
}

/// Everybody gets pictures of all the others during a second, and sound of the
/// loudest.
fn all_see_and_hear_all(world: &mut World, ends: &[usize]) {
    let before: Vec<_> = ends
        .iter()
        .map(|end| {
            (
                world.ends[*end].pictures.clone(),
                world.ends[*end].packets.clone(),
            )
        })
        .collect();
    world.run(S);
    let mut heard = 0;
    for (end, (pictures, packets)) in ends.iter().zip(before) {
        let grown = |now: &std::collections::BTreeMap<u32, u64>,
                     then: &std::collections::BTreeMap<u32, u64>,
                     least: u64| {
            now.iter()
                .filter(|(track, n)| **n >= then.get(track).unwrap_or(&0) + least)
                .count()
        };
        let one = &world.ends[*end];
        let others = ends.len() - 1;
        assert_eq!(
            grown(&one.pictures, &pictures, 25),
            others,
            "pictures at {end}"
        );
        heard += grown(&one.packets, &packets, 45);
    }
    // All are as loud: three keep their places, each heard by all but itself.
    let loudest = darktower_media::speakers::Config::default().loudest;
    let (loudest, others) = (ends.len().min(loudest), ends.len() - 1);
    assert_eq!(heard, loudest * others, "sound");
}

#[test]
fn two_see_and_hear_each_other() {
    let mut world = World::new(1);
    let a = world.enter(40 * MS);
    let b = world.enter(100 * MS);
    world.run(S);
    world.join(a);
    assert!(
        world.run_until(2 * S, |world| joined(world, &[a])),
        "{:?}",
        world.state(a)
    );
    world.join(b);
    assert!(
        world.run_until(2 * S, |world| agree(world, &[a, b])),
        "{:?}",
        world.state(b)
    );
    all_see_and_hear_all(&mut world, &[a, b]);
    let counters = world.state(b).counters;
    assert_eq!(
        counters.refused_bad_tag + counters.refused_replay + counters.refused_sender,
        0
    );
}

#[test]
fn a_click_in_the_lobby_costs_two_round_trips() {
    let mut world = World::new(2);
    let a = world.enter(100 * MS);
    world.join(a);
    assert!(world.run_until(3 * S, |world| joined(world, &[a])));
    let b = world.enter(100 * MS);
    world.run(S);
    world.join(b);
    assert!(world.run_until(2 * S, |world| world.ends[b].first_picture.is_some()));
    let took = world.ends[b].first_picture.expect("seen") - world.ends[b].clicked.expect("clicked");
    // Up and out to the publisher, up and down with its key frame, and the wait
    // for its camera's next picture.
    assert!(took <= 240 * MS, "{took:?}");
}

#[test]
fn a_cold_join_costs_five_round_trips_less_the_lookup() {
    let mut world = World::new(3);
    let a = world.enter(40 * MS);
    world.join(a);
    assert!(world.run_until(3 * S, |world| joined(world, &[a])));
    let b = world.enter(40 * MS);
    world.join(b);
    assert!(world.run_until(2 * S, |world| world.ends[b].first_picture.is_some()));
    let took = world.ends[b].first_picture.expect("seen") - world.ends[b].clicked.expect("clicked");
    // Two to connect, two to be seen; the lookup was the world's.
    assert!(took <= 200 * MS, "{took:?}");
}

#[test]
fn those_who_leave_are_out_of_the_group_and_nothing_freezes() {
    let mut world = World::new(4);
    let ends: Vec<_> = (0..4).map(|n| world.enter((20 + 20 * n) * MS)).collect();
    world.run(S);
    for end in &ends {
        world.join(*end);
    }
    assert!(
        world.run_until(5 * S, |world| agree(world, &ends)),
        "{:?}",
        world.state(3).e2ee
    );
    all_see_and_hear_all(&mut world, &ends);
    world.command(ends[1], serde_json::json!({"do": "leave"}));
    let rest = [ends[0], ends[2], ends[3]];
    assert!(world.run_until(3 * S, |world| agree(world, &rest)));
    all_see_and_hear_all(&mut world, &rest);
    assert_eq!(world.state(ends[1]).phase, Phase::Left);
}

#[test]
fn a_cut_connection_is_the_same_participant_afterwards() {
    let mut world = World::new(5);
    let (a, b) = (world.enter(40 * MS), world.enter(60 * MS));
    world.join(a);
    world.join(b);
    assert!(world.run_until(3 * S, |world| agree(world, &[a, b])));
    let before = world.state(b);
    world.cut(b);
    assert_ne!(world.state(b).phase, Phase::Left);
    assert!(world.run_until(5 * S, |world| {
        let state = world.state(b);
        state.phase == Phase::Joined && state.links.media == darktower_participant::LinkState::Up
    }));
    world.run(S);
    let after = world.state(b);
    assert_eq!(after.me, before.me);
    assert_eq!(after.e2ee.epoch, before.e2ee.epoch, "a blip changes no key");
    all_see_and_hear_all(&mut world, &[a, b]);
}

#[test]
fn flipped_bits_are_refused_and_the_picture_goes_on() {
    let mut world = World::new(6);
    let (a, b) = (world.enter(20 * MS), world.enter(20 * MS));
    world.join(a);
    world.join(b);
    assert!(world.run_until(3 * S, |world| agree(world, &[a, b])));
    world.tamper_one_in = Some(50);
    world.run(5 * S);
    world.tamper_one_in = None;
    let counters = world.state(b).counters;
    assert!(counters.refused_bad_tag > 0, "{counters:?}");
    world.run(S);
    all_see_and_hear_all(&mut world, &[a, b]);
}

/// Fifty comings and goings in any order; after each the codes are equal.
fn churn(seed: u64) {
    let mut world = World::new(seed);
    world.capturing = false;
    let mut random = Random::new(seed, 1);
    let mut present: Vec<usize> = Vec::new();
    for step in 0..50 {
        let leave =
            present.len() > 1 && (present.len() == 6 || random.next_u64().is_multiple_of(2));
        if leave {
            let who = present.remove((random.next_u64() as usize) % present.len());
            world.command(who, serde_json::json!({"do": "leave"}));
        } else {
            let round_trip = Duration::from_millis(random.next_u64() % 120);
            let end = world.enter(round_trip);
            if random.next_u64().is_multiple_of(2) {
                world.run(300 * MS);
            }
            world.join(end);
            present.push(end);
        }
        assert!(
            world.run_until(10 * S, |world| agree(world, &present)),
            "seed {seed} step {step}: {:?}",
            present
                .iter()
                .map(|end| world.state(*end))
                .collect::<Vec<_>>()
        );
    }
    resume_capture(&mut world);
    all_see_and_hear_all(&mut world, &present);
}

/// Cameras come on; a second later their pictures have arrived.
fn resume_capture(world: &mut World) {
    for end in &mut world.ends {
        end.start_at(world.now);
    }
    world.capturing = true;
    world.run(S);
}

#[test]
fn codes_are_equal_after_each_of_fifty_comings_and_goings() {
    for seed in 100..104 {
        churn(seed);
    }
}

#[test]
fn a_crowd_that_joins_at_once_ends_in_one_group() {
    for seed in 200..204 {
        let mut world = World::new(seed);
        world.capturing = false;
        let mut random = Random::new(seed, 2);
        let ends: Vec<_> = (0..8)
            .map(|_| world.enter(Duration::from_millis(5 + random.next_u64() % 100)))
            .collect();
        for end in &ends {
            world.join(*end);
        }
        assert!(
            world.run_until(20 * S, |world| agree(world, &ends)),
            "seed {seed}: {:?}",
            ends.iter()
                .map(|end| world.state(*end).e2ee)
                .collect::<Vec<_>>()
        );
        resume_capture(&mut world);
        all_see_and_hear_all(&mut world, &ends);
    }
}
