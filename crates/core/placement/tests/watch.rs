//! What is believed of handlers and of the other nodes.

use std::time::Duration;

use darktower_placement::{
    Again, CALL_WITHIN, Candidate, End, HEARTBEAT, Health, LEAVE_AFTER, RETRY, SILENT, View, Watch,
    ask_in_order, others, rank,
};
use darktower_wire::ids::{MeetingId, NodeId};

const MS: Duration = Duration::from_millis(1);

fn again(after: Duration, is_worse: bool) -> Again {
    Again { after, is_worse }
}

/// Answers its heartbeats for so long; whether it was well again meanwhile.
fn answers(watch: &mut Watch, now: &mut Duration, time: Duration) -> bool {
    let end = *now + time;
    let mut is_well = false;
    while *now < end {
        *now += HEARTBEAT;
        is_well |= watch.heard(*now);
    }
    is_well
}

#[test]
fn a_call_that_broke_is_made_again_at_once_and_one_not_taken_makes_suspect() {
    for end in [End::Silent, End::Refused] {
        let mut watch = Watch::default();
        watch.taken(MS);
        watch.heard(10 * MS);
        assert!(!watch.is_silent(10 * MS + SILENT));
        assert!(watch.is_silent(11 * MS + SILENT));
        assert_eq!(watch.ended(20 * MS, end), again(Duration::ZERO, false));
        assert_eq!(watch.health(), Health::Sound);
        assert_eq!(watch.ended(20 * MS, end), again(RETRY, true));
        assert_eq!(watch.health(), Health::Silent);
        assert_eq!(watch.ended(30 * MS, end), again(RETRY, false), "said once");
        watch.taken(40 * MS);
        assert_eq!(watch.health(), Health::Shaky);
    }
}

#[test]
fn one_that_is_not_to_be_reached_and_forwards_gets_nothing_new_and_is_left_within_three_seconds() {
    let mut watch = Watch::default();
    watch.taken(MS);
    watch.heard(MS);
    watch.ended(SILENT, End::Silent);
    let mut now = SILENT;
    let mut left = None;
    while left.is_none() && now < Duration::from_secs(5) {
        now += CALL_WITHIN;
        watch.forwarded(now - HEARTBEAT);
        let again = watch.ended(now, End::Silent);
        match watch.health() {
            Health::Silent => left = Some(now),
            health => assert_eq!((health, now < LEAVE_AFTER), (Health::Cut, true)),
        }
        now += again.after;
    }
    assert!(left.is_some_and(|left| left < Duration::from_secs(3)));
    // That media comes does not bring it back.
    watch.forwarded(now);
    watch.ended(now, End::Silent);
    assert_eq!(watch.health(), Health::Silent);
}

#[test]
fn one_that_is_dead_is_left_at_once_whatever_it_did_before() {
    // Its machine said so ...
    let mut watch = Watch::default();
    watch.taken(MS);
    watch.forwarded(50 * MS);
    watch.ended(60 * MS, End::Refused);
    watch.ended(60 * MS, End::Refused);
    assert_eq!(watch.health(), Health::Silent);
    // ... or it stands still, and its media with it.
    let mut watch = Watch::default();
    watch.taken(MS);
    watch.forwarded(50 * MS);
    watch.ended(MS + SILENT, End::Silent);
    watch.ended(MS + SILENT + CALL_WITHIN, End::Silent);
    assert_eq!(watch.health(), Health::Silent);
}

#[test]
fn one_that_answers_again_gets_something_new_after_a_while_and_later_each_time() {
    let (mut watch, mut now) = (Watch::default(), Duration::from_secs(1));
    for wait_s in [5, 10, 20, 40, 40] {
        watch.ended(now, End::Silent);
        watch.ended(now, End::Silent);
        watch.taken(now);
        let before = Duration::from_millis(wait_s * 1000 - 200);
        assert!(!answers(&mut watch, &mut now, before), "{wait_s}");
        assert_eq!(watch.health(), Health::Shaky);
        assert!(answers(&mut watch, &mut now, 1000 * MS), "{wait_s}");
        assert_eq!(watch.health(), Health::Sound);
    }
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
