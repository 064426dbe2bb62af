//! Comings, goings and cuts in any order, some at the same moment.

use std::time::Duration;

use darktower_link::Random;
use darktower_participant::Phase;
use darktower_sim::World;

use crate::{MS, S, agree, all_see_and_hear_all, resume_capture};

const MOST: usize = 6;

fn storm(seed: u64) {
    let mut world = World::new(seed);
    world.capturing = false;
    let mut random = Random::new(seed, 3);
    let mut dice = move |sides: usize| (random.next_u64() % sides as u64) as usize;
    let mut present: Vec<usize> = Vec::new();
    for step in 0..15 {
        // Commits race, cross those who come, and find their makers cut off.
        for _ in 0..=dice(3) {
            match dice(3) {
                0 if present.len() > 1 => {
                    let at = dice(present.len());
                    // The farewell of one that is cut off reaches nobody: its seat stays held.
                    if world.state(present[at]).phase == Phase::Joined {
                        let who = present.remove(at);
                        world.command(who, serde_json::json!({"do": "leave"}));
                    }
                }
                1 if !present.is_empty() => world.cut(present[dice(present.len())]),
                _ if present.len() < MOST => {
                    let end = world.enter(Duration::from_millis(5 + dice(150) as u64));
                    world.join(end);
                    present.push(end);
                }
                _ => {}
            }
            world.run(Duration::from_millis(dice(120) as u64));
        }
        assert!(
            world.run_until(20 * S, |world| agree(world, &present)),
            "seed {seed} step {step}: {:?}",
            present
                .iter()
                .map(|end| world.state(*end))
                .map(|it| (
                    it.me.map(|me| me.name),
                    it.phase,
                    it.error,
                    it.links,
                    it.e2ee,
                    it.participants.len()
                ))
                .collect::<Vec<_>>()
        );
    }
    world.run(500 * MS);
    resume_capture(&mut world);
    all_see_and_hear_all(&mut world, &present);
}

#[test]
fn whatever_comes_at_once_ends_in_one_group_that_sees_and_hears() {
    for seed in 300..304 {
        storm(seed);
    }
}
