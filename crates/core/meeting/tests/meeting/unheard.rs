//! Media handlers of which participants hear nothing.

use std::time::Duration;

use darktower_meeting::meeting::Input;
use darktower_meeting::session;
use darktower_wire::ids::NodeId;
use darktower_wire::token::Role;

use crate::spread::handler;
use crate::world::World;

const S: Duration = Duration::from_secs(1);

/// So many on one handler, for a while.
fn on_one(people: usize) -> World {
    let mut world = World::new(20);
    world.tell(Input::Handler(Some(handler(1))));
    for _ in 0..people {
        world.joined(Role::Guest);
    }
    world.run(5 * S);
    world
}

/// These say that they hear nothing; which handlers are to be left by it.
fn silent(world: &mut World, ends: &[usize]) -> Vec<NodeId> {
    for end in ends {
        world.say(*end, session::Input::MediaSilent);
    }
    world.run(S / 2);
    std::mem::take(&mut world.unheard)
}

#[test]
fn a_handler_that_half_of_those_on_it_do_not_hear_is_left() {
    let mut world = on_one(5);
    assert_eq!(silent(&mut world, &[0, 1]), []);
    assert_eq!(silent(&mut world, &[1]), [], "one counts once");
    assert_eq!(silent(&mut world, &[2]), [NodeId([1; 16])]);
    let mut world = on_one(2);
    assert_eq!(silent(&mut world, &[1]), [NodeId([1; 16])]);
}

#[test]
fn what_one_says_now_and_then_sends_nobody_about() {
    let mut world = on_one(4);
    for end in [0, 1, 2, 0, 1] {
        assert_eq!(silent(&mut world, &[end]), []);
        world.run(3 * S);
    }
}

#[test]
fn what_is_said_just_after_people_were_sent_elsewhere_is_of_the_handler_before() {
    let mut world = on_one(2);
    world.tell(Input::Handler(Some(handler(2))));
    assert_eq!(silent(&mut world, &[0, 1]), []);
    world.run(S);
    assert_eq!(silent(&mut world, &[0]), [NodeId([2; 16])]);
}

#[test]
fn only_those_who_are_there_and_on_it_count() {
    let mut world = on_one(4);
    for end in [2, 3] {
        world.ends[end].cut = true;
    }
    world.run(20 * S);
    assert_eq!(silent(&mut world, &[0]), [NodeId([1; 16])]);
}
