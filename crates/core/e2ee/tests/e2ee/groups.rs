//! Joining, leaving and coming back, with everybody honest.

use darktower_e2ee::{Error, Group};
use darktower_wire::ids::Epoch;
use proptest::prelude::*;

use crate::world::{MEETING, WALL, World, identity, participant};

#[derive(Clone, Debug)]
enum Step {
    Join { via: usize },
    Remove { by: usize, gone: usize },
    Resync { at: usize, via: usize },
    Refresh { by: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = 0..64usize;
    let step = prop_oneof![
        3 => any.clone().prop_map(|via| Step::Join { via }),
        2 => (any.clone(), any.clone()).prop_map(|(by, gone)| Step::Remove { by, gone }),
        1 => (any.clone(), any.clone()).prop_map(|(at, via)| Step::Resync { at, via }),
        1 => any.prop_map(|by| Step::Refresh { by }),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn codes_are_equal_after_each_step_and_never_seen_before(start in 1..6usize, steps in steps()) {
        let mut world = World::with_link(start);
        let mut codes = vec![world.agreed().to_string()];
        for step in steps {
            let count = world.groups.len();
            match step {
                Step::Join { via } if count < 10 => world.join_via(via % count),
                Step::Remove { by, gone } if count > 1 => {
                    let by = by % count;
                    let gone = (by + 1 + gone % (count - 1)) % count;
                    world.remove(by, gone);
                }
                Step::Resync { at, via } if count > 1 => {
                    let at = at % count;
                    world.resync(at, (at + 1 + via % (count - 1)) % count);
                }
                Step::Refresh { by } => {
                    let commit = world.groups[by % count].refresh(WALL).unwrap();
                    world.relay(&commit);
                }
                _ => continue,
            }
            let code = world.agreed().to_string();
            prop_assert!(!codes.contains(&code));
            codes.push(code);
        }
    }
}

#[test]
fn the_commit_brings_the_public_state_of_the_epoch_it_leads_to() {
    let mut world = World::with_link(2);
    let commit = world.groups[0].remove(&[participant(1)], WALL).unwrap();
    world.groups[0].accept_own(commit.epoch).unwrap();
    world.groups.pop();
    let (newcomer, join) =
        Group::join(identity(9), &commit.group_info, world.link.as_ref(), WALL).unwrap();
    world.groups[0].process(&join.message, WALL).unwrap();
    world.groups.push(newcomer);
    world.agreed();
    let (second, join) =
        Group::join(identity(8), &join.group_info, world.link.as_ref(), WALL).unwrap();
    world.relay(&join);
    world.groups.push(second);
    world.agreed();
}

#[test]
fn a_commit_that_lost_the_race_is_made_anew() {
    let mut world = World::with_link(4);
    let gone = world.groups.pop().unwrap().participant();
    let late = world.groups[1].remove(&[gone], WALL).unwrap();
    assert_eq!(world.groups[1].pending(), Some(late.epoch));
    assert_eq!(world.groups[1].remove(&[gone], WALL), Err(Error::Pending));
    let first = world.groups[2].refresh(WALL).unwrap();
    world.relay(&first);
    assert_eq!(world.groups[1].pending(), None);
    assert_eq!(
        world.groups[1].accept_own(late.epoch),
        Err(Error::NothingPending)
    );
    let ours = world.groups[0].epoch();
    let refused = world.groups[0].process(&late.message, WALL);
    assert_eq!(
        refused,
        Err(Error::WrongEpoch {
            ours,
            theirs: Epoch(ours.0 - 1)
        })
    );
    let again = world.groups[1].remove(&[gone], WALL).unwrap();
    world.relay(&again);
    world.agreed();
}

#[test]
fn two_newcomers_at_once_the_second_joins_again() {
    let mut world = World::with_link(2);
    let info = world.groups[0].group_info().unwrap();
    let (first, commit) = Group::join(identity(7), &info, world.link.as_ref(), WALL).unwrap();
    let (_, late) = Group::join(identity(8), &info, world.link.as_ref(), WALL).unwrap();
    world.relay(&commit);
    world.groups.push(first);
    assert!(matches!(
        world.groups[0].process(&late.message, WALL),
        Err(Error::WrongEpoch { .. })
    ));
    let (second, again) =
        Group::join(identity(8), &commit.group_info, world.link.as_ref(), WALL).unwrap();
    world.relay(&again);
    world.groups.push(second);
    world.agreed();
}

#[test]
fn coming_back_replaces_the_former_leaf() {
    let mut world = World::with_link(3);
    world.resync(1, 0);
    world.agreed();
    assert_eq!(world.groups[0].members().len(), 3);
    assert_eq!(world.groups[0].leaf_of(participant(1)), Some(1));
}

#[test]
fn a_pending_commit_of_ours_can_be_discarded() {
    let mut world = World::with_link(3);
    let commit = world.groups[0].remove(&[participant(2)], WALL).unwrap();
    world.groups[0].discard_pending();
    assert_eq!(
        world.groups[0].accept_own(commit.epoch),
        Err(Error::NothingPending)
    );
    let other = world.groups[1].refresh(WALL).unwrap();
    world.relay(&other);
    world.agreed();
}

#[test]
fn nobody_is_removed_twice_and_no_stranger() {
    let mut world = World::with_link(2);
    assert_eq!(
        world.groups[0].remove(&[participant(50)], WALL),
        Err(Error::UnknownParticipant(participant(50)))
    );
    let ours = participant(0);
    assert!(
        world.groups[0].remove(&[ours], WALL).is_err(),
        "a member cannot commit its own removal"
    );
    world.agreed();
}

#[test]
fn meetings_founded_twice_are_different_groups() {
    let mut one = World::with_link(1);
    let two = Group::found(identity(1), MEETING, one.link.as_ref(), WALL).unwrap();
    let (_, commit) = Group::join(
        identity(3),
        &two.group_info().unwrap(),
        one.link.as_ref(),
        WALL,
    )
    .unwrap();
    assert_eq!(
        one.groups[0].process(&commit.message, WALL),
        Err(Error::WrongGroup)
    );
}

#[test]
fn clocks_may_be_a_day_apart() {
    let founder = Group::found(identity(0), MEETING, None, WALL).unwrap();
    let day = 23 * 3600 * 1000;
    for wall in [WALL - day, WALL + day] {
        Group::join(identity(1), &founder.group_info().unwrap(), None, wall).unwrap();
    }
}
