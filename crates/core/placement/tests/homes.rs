//! Homes: what an owner changes about the handlers of its meeting.

use std::time::Duration;

use darktower_placement::{Candidate, Health, Homes, Rehoming, Seating};
use darktower_wire::ids::{MeetingId, NodeId};

const S: Duration = Duration::from_secs(1);

fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

fn node(n: u8, health: Health) -> Candidate<'static> {
    Candidate {
        id: id(n),
        region: "eu",
        capacity: 100,
        load: 0,
        draining: false,
        health,
    }
}

fn look(on: &[(NodeId, u32)], candidates: &[Candidate<'static>], open: &[u8]) -> Vec<Rehoming> {
    let seating = Seating {
        meeting: MeetingId([7; 16]),
        region: "eu",
        size: on.iter().map(|(_, size)| size).sum(),
        on,
    };
    let reported = |id| candidates.iter().find(|it| it.id == id).cloned();
    let is_open = |node| open.iter().any(|it| id(*it) == node);
    Homes::default().look(S, &seating, candidates, reported, is_open)
}

#[test]
fn a_meeting_that_is_well_where_it_is_stays_and_a_new_owner_opens_that() {
    let well = [node(1, Health::Sound), node(2, Health::Sound)];
    let on = [(id(1), 5)];
    assert_eq!(look(&on, &well, &[1]), []);
    assert_eq!(look(&on, &well, &[]), [Rehoming::Whole(Some(id(1)))]);
    let one_is_gone = [node(1, Health::Silent), node(2, Health::Sound)];
    let moved = [Rehoming::Whole(Some(id(2)))];
    assert_eq!(look(&on, &one_is_gone, &[1]), moved);
    assert_eq!(look(&[], &one_is_gone, &[]), moved);
    assert_eq!(look(&on, &[], &[1]), [Rehoming::Whole(None)]);
}

#[test]
fn of_several_handlers_only_those_that_are_not_well_are_left() {
    let on = [(id(1), 5), (id(2), 5)];
    let well = [1, 2, 3].map(|n| node(n, Health::Sound));
    assert_eq!(look(&on, &well, &[1, 2]), []);
    let anew = |n| Rehoming::Part {
        from: id(n),
        to: id(n),
    };
    assert_eq!(look(&on, &well, &[]), [anew(1), anew(2)]);
    let one_is_gone = [
        node(1, Health::Sound),
        node(2, Health::Silent),
        node(3, Health::Sound),
    ];
    let changes = look(&on, &one_is_gone, &[1, 2]);
    let [Rehoming::Part { from, to }] = changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(from, id(2));
    assert_ne!(to, id(2));
    assert_eq!(look(&on, &[], &[1, 2]), []);
}

#[test]
fn one_that_participants_do_not_hear_is_left_for_a_while_where_there_is_another() {
    let here = id(1);
    let meeting = MeetingId([7; 16]);
    let seating = Seating {
        meeting,
        region: "eu",
        size: 5,
        on: &[(here, 5)],
    };
    let mut homes = Homes::default();
    let mut look = |at, candidates: &[Candidate<'static>], unheard| {
        if unheard {
            homes.unheard(at, here);
        }
        let reported = |id| candidates.iter().find(|it| it.id == id).cloned();
        homes.look(at, &seating, candidates, reported, |node| node == here)
    };
    let well = [node(1, Health::Sound), node(2, Health::Sound)];
    let alone = [node(1, Health::Sound)];
    assert_eq!(look(S, &well, false), []);
    assert_eq!(look(S, &alone, true), [], "there is no other");
    assert_eq!(look(S, &well, false), [Rehoming::Whole(Some(id(2)))]);
    // What it was then says nothing of today.
    assert_eq!(look(61 * S, &well, false), []);
}

#[test]
fn where_participants_hear_none_of_them_the_one_that_was_left_first_is_tried_again() {
    let meeting = MeetingId([7; 16]);
    let all = [1, 2, 3].map(|n| node(n, Health::Sound));
    let (mut homes, mut here, mut went) = (Homes::default(), id(1), Vec::new());
    for at in 1..=6 {
        homes.unheard(at * S, here);
        let seating = Seating {
            meeting,
            region: "eu",
            size: 5,
            on: &[(here, 5)],
        };
        let reported = |id| all.iter().find(|it| it.id == id).cloned();
        let changes = homes.look(at * S, &seating, &all, reported, |node| node == here);
        let [Rehoming::Whole(Some(there))] = changes[..] else {
            panic!("{changes:?}");
        };
        went.push(here);
        here = there;
    }
    assert_eq!(went[..3], went[3..], "{went:?}");
    assert!(went[0] != went[1] && went[1] != went[2] && went[0] != went[2]);
}
