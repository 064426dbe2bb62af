//! The checks of a [`StateStore`].

use std::time::Duration;

use bytes::Bytes;
use darktower_wire::ids::{Fence, MeetingId, NodeId};

use super::{DEADLINE, eventually};
use crate::state::{MAX_DELTAS, MAX_NOTE_BYTES, MAX_RECORD_BYTES};
use crate::{Error, Node, Service, StateStore, Topic, Written};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);
const MEETING: MeetingId = MeetingId([7; 16]);
const A: NodeId = NodeId([0xa; 16]);
const B: NodeId = NodeId([0xb; 16]);

fn node(id: NodeId, service: Service) -> Node {
    Node {
        region: "north".to_owned(),
        certificate_sha256: vec![[1; 32], [2; 32]],
        capacity: 100,
        load: 3,
        jwks: r#"{"keys":[]}"#.to_owned(),
        ..Node::new(
            id,
            service,
            "http://127.0.0.1:1".to_owned(),
            "https://0.0.0.0:2/v1/x".to_owned(),
        )
    }
}

async fn owner(store: &impl StateStore, id: NodeId, ttl: Duration) -> Fence {
    let lease = store.acquire_lease(MEETING, id, ttl).await.unwrap();
    assert_eq!(lease.owner, Some(id));
    assert!(lease.fence > Fence(0));
    lease.fence
}

/// A node is listed as it was put, by service, until it is removed.
pub async fn nodes_come_change_and_go(store: &impl StateStore) {
    let media = node(A, Service::Media);
    let mut meeting = node(B, Service::Meeting);
    store.put_node(meeting.clone(), LONG).await.unwrap();
    store.put_node(media.clone(), LONG).await.unwrap();
    let all = store.list_nodes(None).await.unwrap();
    assert_eq!(all, [media.clone(), meeting.clone()]);
    meeting.draining = true;
    store.put_node(meeting.clone(), LONG).await.unwrap();
    let meetings = store.list_nodes(Some(Service::Meeting)).await.unwrap();
    assert_eq!(meetings, [meeting]);
    store.remove_node(B).await.unwrap();
    store.remove_node(B).await.unwrap();
    assert_eq!(store.list_nodes(None).await.unwrap(), [media]);
    assert!(
        store
            .list_nodes(Some(Service::Global))
            .await
            .unwrap()
            .is_empty()
    );
}

/// Who says that it is a node which another one is, is refused for as long as that is there.
pub async fn a_node_id_is_one_nodes(store: &impl StateStore) {
    let first = node(A, Service::Media);
    let copy = Node {
        service: Service::Meeting,
        grpc_url: "http://127.0.0.1:9".to_owned(),
        ..first.clone()
    };
    store.put_node(first.clone(), LONG).await.unwrap();
    let refused = store.put_node(copy.clone(), LONG).await;
    assert!(matches!(refused, Err(Error::Taken(_))), "{refused:?}");
    assert_eq!(
        store.list_nodes(None).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let changed = Node { load: 9, ..first };
    store.put_node(changed.clone(), SHORT).await.unwrap();
    assert_eq!(store.list_nodes(None).await.unwrap(), [changed]);
    eventually("the first is gone", async || {
        store.put_node(copy.clone(), LONG).await.is_ok()
    })
    .await;
    assert_eq!(store.list_nodes(None).await.unwrap(), [copy]);
}

/// A node that is silent for its time to live is gone.
pub async fn nodes_expire(store: &impl StateStore) {
    store
        .put_node(node(A, Service::Media), SHORT)
        .await
        .unwrap();
    eventually("the node is gone", async || {
        store.list_nodes(None).await.unwrap().is_empty()
    })
    .await;
}

/// The second who asks is told the first; renewing keeps the fence.
pub async fn lease_has_one_owner(store: &impl StateStore) {
    let free = store.read_lease(MEETING).await.unwrap();
    assert_eq!((free.owner, free.fence), (None, Fence(0)));
    let fence = owner(store, A, LONG).await;
    let told = store.acquire_lease(MEETING, B, LONG).await.unwrap();
    assert_eq!((told.owner, told.fence), (Some(A), fence));
    assert!(told.remaining <= LONG && told.remaining > Duration::ZERO);
    assert_eq!(owner(store, A, LONG).await, fence);
    assert_eq!(store.read_lease(MEETING).await.unwrap().owner, Some(A));
}

/// An expired lease is free, and its next fence is greater.
pub async fn lease_expires_and_fence_grows(store: &impl StateStore) {
    let first = owner(store, A, SHORT).await;
    eventually("B owns the meeting", async || {
        store.acquire_lease(MEETING, B, LONG).await.unwrap().owner == Some(B)
    })
    .await;
    let lease = store.read_lease(MEETING).await.unwrap();
    assert_eq!(lease.owner, Some(B));
    assert!(lease.fence > first);
}

/// Of many who want a free lease at once, one gets it and all hear of the same.
pub async fn lease_race_has_one_winner(store: &impl StateStore) {
    let ask = |n: u8| store.acquire_lease(MEETING, NodeId([n; 16]), LONG);
    let leases = tokio::join!(ask(1), ask(2), ask(3), ask(4), ask(5), ask(6));
    let leases = [leases.0, leases.1, leases.2, leases.3, leases.4, leases.5];
    let mut seen: Vec<_> = leases
        .into_iter()
        .map(|lease| lease.unwrap())
        .map(|lease| (lease.owner, lease.fence))
        .collect();
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// Only the owner, with the fence it owns by, can release.
pub async fn release_needs_the_present_fence(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    store.release_lease(MEETING, B, fence).await.unwrap();
    let older = Fence(fence.0 - 1);
    store.release_lease(MEETING, A, older).await.unwrap();
    assert_eq!(store.read_lease(MEETING).await.unwrap().owner, Some(A));
    store.release_lease(MEETING, A, fence).await.unwrap();
    assert_eq!(store.read_lease(MEETING).await.unwrap().owner, None);
    assert!(owner(store, A, LONG).await > fence);
}

/// A log is its snapshot and the deltas since, in order.
pub async fn log_is_kept_in_order(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let append = async |number, text| {
        let appended = store
            .append_delta(MEETING, fence, number, bytes(text))
            .await;
        assert_eq!(appended.unwrap(), Written::Yes);
    };
    append(1, "lost with the snapshot").await;
    let written = store
        .write_snapshot(MEETING, fence, 2, bytes("whole"))
        .await;
    assert_eq!(written.unwrap(), Written::Yes);
    for (number, text) in (3..).zip(["1", "2", "", "3"]) {
        append(number, text).await;
    }
    let log = store.load_meeting(MEETING).await.unwrap();
    assert_eq!(log.snapshot, "whole");
    assert_eq!(log.deltas, ["1", "2", "", "3"]);
    assert_eq!((log.fence, log.number), (fence, 6));
}

/// A write whose answer was lost on the way comes again and is done once; one that others have overtaken is not done.
pub async fn what_comes_again_is_done_once_and_what_comes_late_is_not(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    let append = |number| store.append_delta(MEETING, fence, number, Bytes::from_static(b"x"));
    let snapshot = |number| store.write_snapshot(MEETING, fence, number, Bytes::from_static(b"x"));
    for number in [1, 1, 2, 2] {
        assert_eq!(append(number).await.unwrap(), Written::Yes);
    }
    assert_eq!(append(1).await.unwrap(), Written::OutOfTurn);
    assert_eq!(snapshot(1).await.unwrap(), Written::OutOfTurn);
    let log = store.load_meeting(MEETING).await.unwrap();
    assert_eq!((log.deltas, log.number), (vec![Bytes::from("x"); 2], 2));
    // The numbers between are of tries that nobody answered.
    for number in [7, 7] {
        assert_eq!(snapshot(number).await.unwrap(), Written::Yes);
    }
    assert_eq!(append(3).await.unwrap(), Written::OutOfTurn);
    assert_eq!(append(8).await.unwrap(), Written::Yes);
    // A new owner goes on from there.
    store.release_lease(MEETING, A, fence).await.unwrap();
    let fence = owner(store, B, LONG).await;
    let appended = store.append_delta(MEETING, fence, 9, Bytes::new()).await;
    assert_eq!(appended.unwrap(), Written::Yes);
}

/// An owner learns from its lease and with its next write that the log lacks what was acknowledged, also where lease
/// and fence are what they were.
pub async fn what_was_lost_behind_the_owners_back_is_told(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    let bytes = Bytes::from_static;
    let written = async || {
        let lease = store.acquire_lease(MEETING, A, LONG).await.unwrap();
        assert_eq!((lease.owner, lease.fence), (Some(A), fence));
        let read = store.read_lease(MEETING).await.unwrap();
        assert_eq!(read.written, lease.written);
        lease.written
    };
    let snapshot = |number| store.write_snapshot(MEETING, fence, number, bytes(b"whole"));
    let append = |number| store.append_delta(MEETING, fence, number, bytes(b"more"));
    assert_eq!(written().await, 0);
    assert_eq!(snapshot(1).await.unwrap(), Written::Yes);
    assert_eq!(append(2).await.unwrap(), Written::Yes);
    assert_eq!(append(3).await.unwrap(), Written::Yes);
    assert_eq!(written().await, 3);
    // As by a failover to one that had not heard of the last two.
    let forgotten = store.forget_meeting(MEETING, fence).await;
    assert_eq!(forgotten.unwrap(), Written::Yes);
    assert_eq!(written().await, 0);
    assert_eq!(snapshot(1).await.unwrap(), Written::Yes);
    assert_eq!(written().await, 1);
    assert_eq!(append(4).await.unwrap(), Written::OutOfTurn);
    let log = store.load_meeting(MEETING).await.unwrap();
    assert!(log.deltas.is_empty(), "a log with a hole in it");
    assert_eq!(snapshot(5).await.unwrap(), Written::Yes);
    assert_eq!(append(6).await.unwrap(), Written::Yes);
    assert_eq!(written().await, 6);
}

/// Whoever was owner before the last writer changes nothing.
pub async fn older_fence_writes_nothing(store: &impl StateStore) {
    let old = owner(store, A, LONG).await;
    store.release_lease(MEETING, A, old).await.unwrap();
    let new = owner(store, B, LONG).await;
    let whole = Bytes::from_static(b"B's");
    let written = store.write_snapshot(MEETING, new, 1, whole.clone()).await;
    assert_eq!(written.unwrap(), Written::Yes);
    store.release_lease(MEETING, B, new).await.unwrap();
    let bytes = || Bytes::from_static(b"A's");
    let snapshot = store.write_snapshot(MEETING, old, 2, bytes()).await;
    assert_eq!(snapshot.unwrap(), Written::Fenced);
    let delta = store.append_delta(MEETING, old, 2, bytes()).await;
    assert_eq!(delta.unwrap(), Written::Fenced);
    let forget = store.forget_meeting(MEETING, old).await;
    assert_eq!(forget.unwrap(), Written::Fenced);
    let log = store.load_meeting(MEETING).await.unwrap();
    assert_eq!((log.snapshot, log.deltas, log.fence), (whole, vec![], new));
}

/// A new owner fences the old one before it has written anything.
pub async fn lease_alone_fences(store: &impl StateStore) {
    let old = owner(store, A, LONG).await;
    store.release_lease(MEETING, A, old).await.unwrap();
    owner(store, B, LONG).await;
    let written = store.append_delta(MEETING, old, 1, Bytes::new()).await;
    assert_eq!(written.unwrap(), Written::Fenced);
}

/// Forgetting empties the log; the next owner's fence is greater all the same.
pub async fn forgotten_log_is_empty_and_fences_grow(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    let snapshot = Bytes::from_static(b"x");
    let written = store.write_snapshot(MEETING, fence, 1, snapshot).await;
    assert_eq!(written.unwrap(), Written::Yes);
    let forgotten = store.forget_meeting(MEETING, fence).await;
    assert_eq!(forgotten.unwrap(), Written::Yes);
    store.release_lease(MEETING, A, fence).await.unwrap();
    let log = store.load_meeting(MEETING).await.unwrap();
    assert!(log.snapshot.is_empty() && log.deltas.is_empty());
    assert!(owner(store, B, LONG).await > fence);
}

/// A log takes so many deltas and no more, and no record beyond its size.
pub async fn log_is_bounded(store: &impl StateStore) {
    let fence = owner(store, A, LONG).await;
    let append = |number| store.append_delta(MEETING, fence, number, Bytes::new());
    let most = MAX_DELTAS as u64;
    for number in 1..=most {
        assert_eq!(append(number).await.unwrap(), Written::Yes);
    }
    let full = append(most + 1).await;
    assert!(matches!(full, Err(Error::TooMuch(_))), "{full:?}");
    let huge = Bytes::from(vec![0; MAX_RECORD_BYTES + 1]);
    let refused = store.write_snapshot(MEETING, fence, most + 2, huge).await;
    assert!(matches!(refused, Err(Error::TooMuch(_))), "{refused:?}");
    let largest = Bytes::from(vec![0; MAX_RECORD_BYTES]);
    let written = store
        .write_snapshot(MEETING, fence, most + 3, largest)
        .await;
    assert_eq!(written.unwrap(), Written::Yes);
    assert_eq!(append(most + 4).await.unwrap(), Written::Yes);
}

/// Keys are counted apart, and a window's end begins anew.
pub async fn counters_count_in_windows(store: &impl StateStore) {
    for expected in 1..=3 {
        assert_eq!(store.count("a", LONG).await.unwrap(), expected);
    }
    assert_eq!(store.count("b", SHORT).await.unwrap(), 1);
    assert_eq!(store.count("a", LONG).await.unwrap(), 4);
    eventually("b's window is over", async || {
        // Counting does not stretch the window.
        store.count("b", SHORT).await.unwrap() == 1
    })
    .await;
}

/// A note is there as it was last put until its time is over, and has a bound.
pub async fn notes_are_kept_for_their_time(store: &impl StateStore) {
    assert_eq!(store.read_note("a").await.unwrap(), None);
    let bytes = Bytes::from_static(b"\0\xff \r\n");
    store
        .put_note("a", Bytes::from_static(b"x"), SHORT)
        .await
        .unwrap();
    store.put_note("a", bytes.clone(), LONG).await.unwrap();
    store.put_note("b", Bytes::new(), SHORT).await.unwrap();
    eventually("b's time is over", async || {
        store.read_note("b").await.unwrap().is_none()
    })
    .await;
    assert_eq!(store.read_note("a").await.unwrap(), Some(bytes));
    let largest = Bytes::from(vec![7; MAX_NOTE_BYTES]);
    store.put_note("c", largest.clone(), LONG).await.unwrap();
    assert_eq!(store.read_note("c").await.unwrap(), Some(largest));
    let huge = Bytes::from(vec![7; MAX_NOTE_BYTES + 1]);
    let refused = store.put_note("c", huge, LONG).await;
    assert!(matches!(refused, Err(Error::TooMuch(_))), "{refused:?}");
}

/// Whoever subscribed is woken for its topic and no other.
pub async fn wakes_arrive(store: &impl StateStore) {
    let mut nodes = store.subscribe(Topic::Nodes).await.unwrap();
    let mut meeting = store.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    store.wake(Topic::Meeting(MEETING)).await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, meeting.next()).await;
    assert_eq!(woken, Ok(Some(())));
    let silent = tokio::time::timeout(SHORT, nodes.next()).await;
    assert!(silent.is_err(), "woken for another topic");
    store.put_node(node(A, Service::Media), LONG).await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, nodes.next()).await;
    assert_eq!(woken, Ok(Some(())));
}
