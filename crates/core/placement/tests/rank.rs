//! The order of preference.

use darktower_placement::{Candidate, Health, MOST_CAPACITY, keep_or_choose, rank};
use darktower_wire::ids::{MeetingId, NodeId};
use proptest::prelude::*;

fn node(n: u8) -> Candidate<'static> {
    Candidate {
        id: NodeId([n; 16]),
        region: "eu",
        capacity: 100,
        load: 0,
        draining: false,
        health: Health::Sound,
    }
}

fn meeting(n: u32) -> MeetingId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_le_bytes());
    MeetingId(id)
}

#[test]
fn meetings_spread_evenly_and_a_loss_moves_only_its_own() {
    let nodes: Vec<_> = (1..=5).map(node).collect();
    let mut counts = [0; 6];
    for n in 0..5000 {
        let all = rank(meeting(n), &nodes, "eu");
        counts[usize::from(all[0].0[0])] += 1;
        let without = rank(meeting(n), &nodes[1..], "eu");
        let rest: Vec<_> = all
            .iter()
            .copied()
            .filter(|id| *id != nodes[0].id)
            .collect();
        assert_eq!(without, rest);
    }
    assert!(
        counts[1..].iter().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn the_own_region_comes_first_the_full_last_the_draining_not_at_all() {
    let mut nodes: Vec<_> = (1..=4).map(node).collect();
    nodes[0].region = "us";
    nodes[1].load = 100;
    nodes[2].draining = true;
    for n in 0..50 {
        let ranked = rank(meeting(n), &nodes, "eu");
        assert_eq!(ranked, [nodes[3].id, nodes[0].id, nodes[1].id]);
    }
    let only_draining = [nodes[2].clone()];
    assert_eq!(rank(meeting(1), &only_draining, "eu"), [nodes[2].id]);
    assert!(rank(meeting(1), &[], "eu").is_empty());
}

/// Two that carry much and one that says it could take everybody, and carries as much.
#[test]
fn a_capacity_beyond_all_bounds_takes_no_more_than_its_share() {
    for boast in [MOST_CAPACITY + 1, u32::MAX] {
        let mut nodes: Vec<_> = (1..=3).map(node).collect();
        nodes.iter_mut().for_each(|node| node.load = 50);
        nodes[2].capacity = boast;
        let mut counts = [0; 4];
        for n in 0..3000 {
            let first = rank(meeting(n), &nodes, "eu")[0];
            counts[usize::from(first.0[0])] += 1;
        }
        let even = counts[1..].iter().all(|count| (850..1150).contains(count));
        assert!(even, "{boast}: {counts:?}");
        // It hides nobody's load either.
        nodes[0].load = 99;
        nodes[1].load = 1;
        assert!((0..50).all(|n| rank(meeting(n), &nodes, "eu")[0] != nodes[0].id));
    }
}

/// One that is draining, or not, and somehow well.
fn ailing(n: u8, (draining, health): (bool, Health)) -> Candidate<'static> {
    Candidate {
        draining,
        health,
        ..node(n)
    }
}

fn ailment() -> impl Strategy<Value = (bool, Health)> {
    let health = [
        Health::Sound,
        Health::Lossy,
        Health::Shaky,
        Health::Cut,
        Health::Silent,
    ];
    (any::<bool>(), prop::sample::select(health.to_vec()))
}

proptest! {
    #[test]
    fn a_meeting_stays_unless_it_must_go_and_goes_where_it_can_stay(
        ailments in prop::collection::vec(ailment(), 0..6),
        n in any::<u32>(),
        current in 1_u8..8,
    ) {
        let nodes: Vec<_> = (1..).zip(ailments).map(|(n, ailment)| ailing(n, ailment)).collect();
        let is_sound = |node: &&Candidate<'_>| !node.draining && node.health == Health::Sound;
        let serves = |node: &&Candidate<'_>| !node.draining && node.health <= Health::Shaky;
        let best = nodes.iter().filter(serves).map(|node| node.health).min();
        let was = nodes.iter().find(|node| node.id == NodeId([current; 16]));
        let now = keep_or_choose(meeting(n), &nodes, "eu", Some(NodeId([current; 16])), 1);
        let now = now.map(|id| nodes.iter().find(|node| node.id == id).unwrap());
        match (was, nodes.iter().find(is_sound)) {
            (Some(was), _) if is_sound(&was) => prop_assert_eq!(now, Some(was)),
            (Some(was), _) if matches!(was.health, Health::Shaky | Health::Cut) && !was.draining => {
                prop_assert_eq!(now, Some(was), "it is waited for");
            }
            (_, Some(_)) => prop_assert!(is_sound(&now.unwrap())),
            (Some(was), None) if serves(&was) && Some(was.health) == best => {
                prop_assert_eq!(now, Some(was));
            }
            (_, None) if best.is_some() => {
                prop_assert!(serves(&now.unwrap()), "some of it beats nothing");
                prop_assert_eq!(Some(now.unwrap().health), best);
            }
            (Some(was), None) => prop_assert_eq!(now, Some(was), "a poor one beats none"),
            (None, None) => prop_assert_eq!(now.is_some(), !nodes.is_empty()),
        }
        // What was chosen is kept, looked at again.
        let again = keep_or_choose(meeting(n), &nodes, "eu", now.map(|node| node.id), 1);
        prop_assert_eq!(again, now.map(|node| node.id));
    }

    #[test]
    fn no_node_far_above_the_average_comes_first(
        loads in prop::collection::vec((1_u32..500, 0_u32..500), 1..10),
        n in any::<u32>(),
    ) {
        let nodes: Vec<_> = loads.iter().enumerate().map(|(at, (capacity, load))| Candidate {
            capacity: *capacity,
            load: *load,
            ..node(at as u8 + 1)
        }).collect();
        let first = rank(meeting(n), &nodes, "eu")[0];
        let first = nodes.iter().find(|node| node.id == first).unwrap();
        let all = nodes.iter().map(|node| f64::from(node.load)).sum::<f64>() + 1.0;
        let room = nodes.iter().map(|node| f64::from(node.capacity)).sum::<f64>();
        let bound = 1.25 * all / room * f64::from(first.capacity);
        let any_room = nodes.iter().any(|node| node.load < node.capacity
            && f64::from(node.load) <= 1.25 * all / room * f64::from(node.capacity));
        prop_assert!(!any_room || f64::from(first.load) <= bound + 1e-6);
    }
}
