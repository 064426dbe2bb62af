//! What is believed of handlers and of the other nodes.

use std::time::Duration;

use darktower_placement::{
    Again, Candidate, Health, RETRY, SILENT, View, Watch, ask_in_order, others, rank,
};
use darktower_wire::ids::{MeetingId, NodeId};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_call_that_broke_is_made_again_at_once_and_one_not_taken_makes_suspect() {
    let mut watch = Watch::default();
    watch.taken(MS);
    watch.heard(10 * MS);
    assert!(!watch.is_silent(10 * MS + SILENT));
    assert!(watch.is_silent(11 * MS + SILENT));
    let again = |after, is_newly_suspect| Again {
        after,
        is_newly_suspect,
    };
    assert_eq!(watch.ended(), again(Duration::ZERO, false));
    assert!(!watch.is_suspect());
    assert_eq!(watch.ended(), again(RETRY, true));
    assert!(watch.is_suspect());
    assert_eq!(watch.ended(), again(RETRY, false), "said once");
    watch.taken(20 * MS);
    assert!(!watch.is_suspect());
}

#[test]
fn whom_a_failing_registry_forgot_stays_for_one_time_to_live() {
    let id = |n: &u8| NodeId([*n; 16]);
    let ttl = 2000 * MS;
    let mut view = View::new(MS, ttl, vec![1, 2, 3]);
    assert!(view.listed(2 * MS, vec![1, 3], id), "it left");
    view.doubt(10 * MS);
    assert!(view.listed(11 * MS, vec![2], id));
    assert_eq!(view.nodes(), [1, 2, 3]);
    assert!(!view.listed(9 * MS + ttl, vec![2, 3], id));
    assert!(view.listed(10 * MS + ttl, vec![2, 3], id));
    assert_eq!(view.nodes(), [2, 3]);
}

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

#[test]
fn others_are_told_in_order_and_their_load_counts_where_somebody_goes() {
    let meeting = MeetingId([3; 16]);
    let mut nodes: Vec<_> = (1..=7).map(node).collect();
    nodes[5].draining = true;
    let own = NodeId([2; 16]);
    let told = others(meeting, &nodes, own, "eu", false);
    assert_eq!(told.len(), 4);
    assert!(!told.contains(&own) && !told.contains(&NodeId([6; 16])));
    let full = nodes.iter_mut().find(|node| node.id == told[0]).unwrap();
    full.load = 100;
    assert_eq!(others(meeting, &nodes, own, "eu", false), told);
    assert!(!others(meeting, &nodes, own, "eu", true).contains(&told[0]));
}

#[test]
fn the_owner_is_asked_first_then_the_others_as_they_are_placed() {
    let meeting = MeetingId([3; 16]);
    let mut nodes: Vec<_> = (1..=5).map(node).collect();
    nodes[4].draining = true;
    let ranked = rank(meeting, &nodes, "eu");
    let owner = NodeId([5; 16]);
    let asked = ask_in_order(meeting, &nodes, Some(owner), "eu");
    assert_eq!(asked, [owner, ranked[0], ranked[1]]);
    let unknown = ask_in_order(meeting, &nodes, Some(NodeId([9; 16])), "eu");
    assert_eq!(unknown, ranked[..3]);
}
