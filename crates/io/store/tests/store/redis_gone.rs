//! Servers that go away, fall silent, and come back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darktower_servers::{Redis, RedisCluster};
use darktower_store::conformance::{DEADLINE, eventually};
use darktower_store::{Error, Node, RedisState, Service, StateStore, Topic, Written};
use darktower_wire::ids::{MeetingId, NodeId};
use tokio::task::JoinSet;

use crate::redis::options;

const MEETING: MeetingId = MeetingId([7; 16]);
const A: NodeId = NodeId([1; 16]);
const B: NodeId = NodeId([2; 16]);
const LONG: Duration = Duration::from_secs(60);

fn is_away<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Unavailable(_) | Error::TimedOut))
}

async fn ended(wakes: &mut darktower_store::Wakes) {
    let next = async { while wakes.next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, next)
        .await
        .expect("whoever waits is told that nothing more is heard");
}

#[tokio::test]
async fn a_server_that_was_killed_is_told_at_once_and_found_again() {
    let mut redis = Redis::start();
    let state = RedisState::open(&options(redis.url())).await.unwrap();
    let before = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    let mut wakes = state.subscribe(Topic::Nodes).await.unwrap();
    redis.kill();
    ended(&mut wakes).await;
    let asked = Instant::now();
    let lost = state.read_lease(MEETING).await;
    assert!(is_away(&lost), "{lost:?}");
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(is_away(&state.subscribe(Topic::Nodes).await));

    redis.start_again();
    eventually("the server is found again", async || {
        state.read_lease(MEETING).await.is_ok()
    })
    .await;
    // It has forgotten everything, and still nobody gets a fence twice.
    let after = state.acquire_lease(MEETING, B, LONG).await.unwrap();
    assert_eq!(after.owner, Some(B));
    assert!(after.fence > before.fence);
    let written = state.append_delta(MEETING, before.fence, 1, Bytes::new());
    assert_eq!(written.await.unwrap(), Written::Fenced);
    let mut wakes = state.subscribe(Topic::Nodes).await.unwrap();
    let node = Node::new(A, Service::Media, String::new(), String::new());
    state.put_node(node, LONG).await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, wakes.next()).await;
    assert_eq!(woken, Ok(Some(())));
}

#[tokio::test]
async fn a_connection_that_was_cut_ends_what_is_waited_for() {
    let redis = Redis::start();
    let state = RedisState::open(&options(redis.url())).await.unwrap();
    let mut wakes = state.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    ended(&mut wakes).await;
    let again = async || state.subscribe(Topic::Meeting(MEETING)).await;
    eventually("heard again", async || again().await.is_ok()).await;
    let mut wakes = again().await.unwrap();
    state.wake(Topic::Meeting(MEETING)).await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, wakes.next()).await;
    assert_eq!(woken, Ok(Some(())));
}

#[tokio::test]
async fn who_waits_no_more_is_not_listened_for() {
    let redis = Redis::start();
    let state = RedisState::open(&options(redis.url())).await.unwrap();
    let channels = || redis.ask(&["PUBSUB", "SHARDCHANNELS"]);
    let one = state.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    let other = state.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    assert_eq!(channels().lines().count(), 1);
    drop(one);
    drop(other);
    eventually("the channel is left", async || channels().trim().is_empty()).await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_moment_and_bounded_memory() {
    let redis = Redis::start();
    let state = RedisState::open(&options(redis.url())).await.unwrap();
    state.read_lease(MEETING).await.unwrap();
    redis.pause();
    let asked = Instant::now();
    let mut calls = JoinSet::new();
    for n in 0..5000 {
        let state = state.clone();
        calls.spawn(async move { state.count(&format!("{n}"), LONG).await });
    }
    let outcomes = calls.join_all().await;
    assert!(asked.elapsed() < Duration::from_secs(5));
    let timed_out = |outcome: &&Result<u64, Error>| matches!(outcome, Err(Error::TimedOut));
    let refused = |outcome: &&Result<u64, Error>| matches!(outcome, Err(Error::TooMuch(_)));
    // Each has its own deadline: a place that one leaves may be taken by another whose time is not up.
    let timed_out = outcomes.iter().filter(timed_out).count();
    let refused = outcomes.iter().filter(refused).count();
    assert_eq!(timed_out + refused, 5000);
    assert!(timed_out >= 1024 && refused > 0, "{timed_out} {refused}");
    redis.resume();
    eventually("it answers again", async || {
        state.read_lease(MEETING).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn one_that_hangs_for_long_gets_a_new_connection() {
    let redis = Redis::start();
    let state = RedisState::open(&options(redis.url())).await.unwrap();
    state.read_lease(MEETING).await.unwrap();
    let connections = || redis.ask(&["INFO", "stats"]);
    let count = |info: String| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    let before = count(connections());
    let mut wakes = state.subscribe(Topic::Nodes).await.unwrap();
    redis.pause();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(is_away(&state.read_lease(MEETING).await));
    }
    ended(&mut wakes).await;
    redis.resume();
    eventually("it answers again", async || {
        state.read_lease(MEETING).await.is_ok()
    })
    .await;
    // Ours beside the one that asks.
    assert!(count(connections()) > before + 1);
}

#[tokio::test]
async fn a_cluster_outlives_a_master() {
    let mut cluster = RedisCluster::start(1);
    let state = RedisState::open(&options(cluster.url())).await.unwrap();
    let before = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    let written = state.write_snapshot(MEETING, before.fence, 1, Bytes::from_static(b"whole"));
    assert_eq!(written.await.unwrap(), Written::Yes);
    let mut wakes = state.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    let master = cluster.master_of(&format!("{{m:{MEETING}}}"));
    cluster.node(master).kill();
    ended(&mut wakes).await;
    let asked = Instant::now();
    let mut longest = Duration::ZERO;
    eventually("a replica has taken over", async || {
        let called = Instant::now();
        let lease = state.acquire_lease(MEETING, A, LONG).await;
        longest = longest.max(called.elapsed());
        lease.is_ok_and(|lease| lease.owner == Some(A))
    })
    .await;
    assert!(asked.elapsed() < DEADLINE && longest < Duration::from_secs(2));
    // Nobody knows whether the replica had heard of the last writes; whatever it holds, fences do not go back.
    let now = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    assert!(now.fence >= before.fence);
    eventually("wake-ups are heard again", async || {
        let Ok(mut wakes) = state.subscribe(Topic::Meeting(MEETING)).await else {
            return false;
        };
        let woken = state.wake(Topic::Meeting(MEETING)).await.is_ok();
        let next = tokio::time::timeout(Duration::from_millis(200), wakes.next()).await;
        woken && next == Ok(Some(()))
    })
    .await;
}

#[tokio::test]
async fn a_master_that_stands_still_is_not_waited_for_once_another_has_its_slots() {
    let mut cluster = RedisCluster::start(1);
    let state = RedisState::open(&options(cluster.url())).await.unwrap();
    let before = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    let mut wakes = state.subscribe(Topic::Meeting(MEETING)).await.unwrap();
    let master = cluster.master_of(&format!("{{m:{MEETING}}}"));
    cluster.node(master).pause();
    eventually("a replica has taken over", async || {
        let lease = state.acquire_lease(MEETING, A, LONG).await;
        lease.is_ok_and(|lease| lease.owner == Some(A))
    })
    .await;
    ended(&mut wakes).await;
    let now = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    assert!(now.fence >= before.fence);
    cluster.node(master).resume();
}
