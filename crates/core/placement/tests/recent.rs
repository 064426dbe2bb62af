//! What is on its way counts.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_placement::{Candidate, Health, Recent, rank};
use darktower_wire::ids::{MeetingId, NodeId};

const EU: &str = "eu";

fn nodes(count: u8, capacity: u32) -> Vec<Candidate<'static>> {
    let node = |n| Candidate {
        id: NodeId([n; 16]),
        region: EU,
        capacity,
        load: 0,
        draining: false,
        health: Health::Sound,
    };
    (1..=count).map(node).collect()
}

fn meeting(n: u32) -> MeetingId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_le_bytes());
    MeetingId(id)
}

/// Places meetings at one moment by what nodes have reported; how many each got.
fn place(meetings: u32, counted: bool, nodes: &[Candidate<'static>]) -> BTreeMap<NodeId, u32> {
    let (mut recent, mut got) = (Recent::default(), BTreeMap::new());
    for n in 0..meetings {
        let mut seen = nodes.to_vec();
        recent.count_in(Duration::ZERO, &mut seen);
        let node = rank(meeting(n), &seen, EU)[0];
        if counted {
            recent.meeting(Duration::ZERO, node);
        }
        *got.entry(node).or_default() += 1;
    }
    got
}

#[test]
fn many_who_come_at_once_are_no_herd() {
    // One has just started and reports nothing; the others are busy beyond their share.
    let mut nodes = nodes(4, 1000);
    for busy in &mut nodes[1..] {
        busy.load = 400;
    }
    let idle = nodes[0].id;
    assert_eq!(place(400, false, &nodes)[&idle], 400);
    let got = place(400, true, &nodes);
    let most = 1000 / 4;
    assert!(got[&idle] < most, "{got:?}");
    assert!(got.len() > 1, "{got:?}");
}

#[test]
fn joins_count_before_they_are_reported_and_not_for_ever() {
    let (mut recent, mut seen) = (Recent::default(), nodes(2, 100));
    let (first, at) = (seen[0].id, |ms| Duration::from_millis(ms));
    for n in 0..100 {
        recent.join(at(n), first);
    }
    recent.count_in(at(100), &mut seen);
    assert_eq!((seen[0].load, seen[1].load), (100, 0));
    // It is full, as far as anybody knows.
    for n in 0..50 {
        assert_eq!(rank(meeting(n), &seen, EU)[1], first);
    }
    let mut later = nodes(2, 100);
    recent.count_in(at(2050), &mut later);
    assert_eq!(later[0].load, 49);
    let mut after = nodes(2, 100);
    recent.count_in(at(2100), &mut after);
    assert_eq!(after, nodes(2, 100));
}

#[test]
fn a_load_beyond_all_bounds_does_not_hide_that_others_are_overloaded() {
    let mut nodes = nodes(4, 100);
    nodes[0].load = u32::MAX;
    nodes[1].load = 90;
    for n in 0..50 {
        let ranked = rank(meeting(n), &nodes, EU);
        assert_eq!((ranked[2], ranked[3]), (nodes[1].id, nodes[0].id));
    }
    // Counting on does not wrap around.
    let mut recent = Recent::default();
    recent.meeting(Duration::ZERO, nodes[0].id);
    recent.count_in(Duration::ZERO, &mut nodes);
    assert_eq!(nodes[0].load, u32::MAX);
}
