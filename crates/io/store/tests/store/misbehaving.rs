//! Servers that answer late, never, or nonsense, while they are used: a clear error within its time, nothing lost, and
//! all is well again when they are.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darktower_servers::{Postgres, Redis};
use darktower_store::conformance::eventually;
use darktower_store::database::{Database, Meeting};
use darktower_store::{Error, PostgresDatabase, RedisState, StateStore, Written};
use darktower_wire::ids::{MeetingCode, MeetingId, NodeId};

use crate::proxy::{Answers, Proxy};
use crate::{postgres, redis};

const MEETING: MeetingId = MeetingId([7; 16]);
const A: NodeId = NodeId([1; 16]);
const LONG: Duration = Duration::from_secs(60);

fn is_away<T>(outcome: &Result<T, Error>) -> bool {
    matches!(
        outcome,
        Err(Error::Unavailable(_) | Error::TimedOut | Error::Corrupt(_))
    )
}

#[tokio::test]
async fn a_redis_that_is_late_silent_or_talks_nonsense() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let state = RedisState::open(&redis::options(url)).await.unwrap();
    let lease = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    let append = |number, text: &'static str| {
        let delta = Bytes::from_static(text.as_bytes());
        state.append_delta(MEETING, lease.fence, number, delta)
    };
    assert_eq!(append(1, "0").await.unwrap(), Written::Yes);

    proxy.answers(Answers::Late(Duration::from_millis(100)));
    assert_eq!(append(2, "1").await.unwrap(), Written::Yes);
    let mut last = 2;
    let bad = [
        Answers::Late(Duration::from_secs(2)),
        Answers::Never,
        Answers::Garbage,
    ];
    for how in bad {
        proxy.answers(how);
        let asked = Instant::now();
        let lost = append(last + 1, "nobody knows").await;
        assert!(is_away(&lost), "{how:?}: {lost:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{how:?}");
        proxy.answers(Answers::Pass);
        eventually("it is well again", async || {
            let lease = state.read_lease(MEETING).await;
            lease.is_ok_and(|lease| {
                last = lease.written;
                true
            })
        })
        .await;
    }
    let now = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    assert_eq!(now.fence, lease.fence);
    assert_eq!(append(last + 1, "2").await.unwrap(), Written::Yes);
    let mut log = state.load_meeting(MEETING).await.unwrap().deltas;
    log.retain(|delta| delta != "nobody knows");
    assert_eq!(log, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_redis_whose_memory_is_full_says_so_and_goes_on_reading() {
    let server = Redis::start();
    let state = RedisState::open(&redis::options(server.url()))
        .await
        .unwrap();
    let lease = state.acquire_lease(MEETING, A, LONG).await.unwrap();
    let whole = Bytes::from_static(b"whole");
    let written = state.write_snapshot(MEETING, lease.fence, 1, whole).await;
    assert_eq!(written.unwrap(), Written::Yes);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let append = || state.append_delta(MEETING, lease.fence, 2, Bytes::new());
    let full = append().await;
    let says = format!("{full:?}");
    assert!(
        matches!(full, Err(Error::Unavailable(_))) && says.contains("OOM"),
        "{says}"
    );
    let log = state.load_meeting(MEETING).await.unwrap();
    assert_eq!(log.snapshot, "whole");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(append().await.unwrap(), Written::Yes);
}

/// Records that are no nodes, as of another version or another hand, hide no others.
#[tokio::test]
async fn a_registry_with_nonsense_in_it_still_lists_the_others() {
    use darktower_store::{Node, Service};
    let server = Redis::start();
    let state = RedisState::open(&redis::options(server.url()))
        .await
        .unwrap();
    let node = Node::new(A, Service::Media, String::new(), String::new());
    state.put_node(node.clone(), LONG).await.unwrap();
    let key = "test:{nodes}";
    server.ask(&[
        "HSET",
        key,
        "one",
        "nonsense",
        "two",
        "99999999999999 {}",
        "three",
        "",
    ]);
    assert_eq!(state.list_nodes(None).await.unwrap(), [node]);
    server.ask(&["DEL", key]);
    server.ask(&["SET", key, "no hash"]);
    let refused = state.list_nodes(None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

fn meeting(n: u8) -> Meeting {
    Meeting {
        id: MeetingId([n; 16]),
        code: MeetingCode::from_letters([n; 10]),
        title: String::new(),
        max_participants: 2,
        key_in_link: false,
        host_key_sha256: [0; 32],
        created_ms: 1,
        ended_ms: None,
    }
}

#[tokio::test]
async fn a_postgresql_that_is_late_silent_or_talks_nonsense() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let direct = server.url(&server.database());
    let url = direct.replace(&server.port().to_string(), &proxy.port.to_string());
    let options = postgres::options(format!("{url}?sslmode=disable"));
    PostgresDatabase::migrate(&options).await.unwrap();
    let store = PostgresDatabase::open(&options).await.unwrap();
    store.create_meeting(&meeting(1)).await.unwrap();

    proxy.answers(Answers::Late(Duration::from_millis(50)));
    store.create_meeting(&meeting(2)).await.unwrap();
    let bad = [
        Answers::Late(Duration::from_secs(4)),
        Answers::Never,
        Answers::Garbage,
    ];
    for how in bad {
        proxy.answers(how);
        let asked = Instant::now();
        let lost = store.meeting(meeting(1).id).await;
        assert!(is_away(&lost), "{how:?}: {lost:?}");
        assert!(asked.elapsed() < Duration::from_secs(4), "{how:?}");
        proxy.answers(Answers::Pass);
        eventually("it is well again", async || store.ping().await.is_ok()).await;
    }
    for n in [1, 2] {
        let found = store.meeting(meeting(n).id).await.unwrap();
        assert_eq!(found, Some(meeting(n)));
    }
}
