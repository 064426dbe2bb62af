//! The checks of a [`StateStore`] that several processes share, each through a client of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{DEADLINE, eventually};
use crate::{Error, Node, Service, StateStore, Topic, Written};

const LONG: Duration = Duration::from_secs(60);
const MEETING: MeetingId = MeetingId([7; 16]);

/// How often each client tries.
const ROUNDS: usize = 25;

fn node(n: usize) -> NodeId {
    NodeId([n as u8 + 1; 16])
}

/// What all clients come to who do the same from the same moment on.
async fn at_once<S, T, F>(clients: &[S], each: impl Fn(usize, S) -> F) -> Vec<T>
where
    S: StateStore + Clone,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(clients.len()));
    let mut tasks = JoinSet::new();
    for (n, client) in clients.iter().enumerate() {
        let (start, work) = (start.clone(), each(n, client.clone()));
        tasks.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    tasks.join_all().await
}

/// Of many who register with the same id at once, as copies of one machine that start do, one is there.
pub async fn one_of_many_registers<S: StateStore + Clone>(clients: &[S]) {
    for round in 0..ROUNDS {
        let id = NodeId([round as u8; 16]);
        let outcomes = at_once(clients, |n, client| async move {
            let url = format!("http://127.0.0.1:{n}");
            let node = Node::new(id, Service::Meeting, url.clone(), String::new());
            (url, client.put_node(node, LONG).await)
        });
        let (there, refused): (Vec<_>, Vec<_>) =
            outcomes.await.into_iter().partition(|(_, put)| put.is_ok());
        let taken = |(_, put): &(_, Result<(), Error>)| matches!(put, Err(Error::Taken(_)));
        assert!(refused.iter().all(taken), "{refused:?}");
        assert_eq!(there.len(), 1, "{there:?}");
        let listed = clients[0].list_nodes(None).await.unwrap();
        let urls: Vec<_> = listed.into_iter().map(|node| node.grpc_url).collect();
        assert_eq!(urls, [there[0].0.clone()]);
        clients[0].remove_node(id).await.unwrap();
    }
}

/// Of many who want each of many leases at once, one gets it and all hear of the same.
pub async fn one_of_many_owns<S: StateStore + Clone>(clients: &[S]) {
    assert!(clients.len() > 1);
    for round in 0..ROUNDS {
        let meeting = MeetingId([round as u8; 16]);
        let leases = at_once(clients, |n, client| async move {
            let lease = client.acquire_lease(meeting, node(n), LONG).await.unwrap();
            (lease.owner, lease.fence)
        });
        let leases: BTreeSet<_> = leases.await.into_iter().collect();
        assert_eq!(leases.len(), 1, "{leases:?}");
        assert!(leases.iter().all(|(owner, _)| owner.is_some()));
    }
}

/// However often a lease changes hands, and whoever asks: no fence comes twice, and none is smaller than one that
/// somebody had before.
pub async fn fences_only_grow<S: StateStore + Clone>(clients: &[S]) {
    let all = at_once(clients, |n, client| async move {
        let mut mine = Vec::new();
        while mine.len() < ROUNDS {
            let lease = client.acquire_lease(MEETING, node(n), LONG).await.unwrap();
            if lease.owner == Some(node(n)) {
                mine.push(lease.fence);
                let released = client.release_lease(MEETING, node(n), lease.fence);
                released.await.unwrap();
            }
        }
        assert!(mine.is_sorted(), "{mine:?}");
        mine
    });
    let all: Vec<Fence> = all.await.into_iter().flatten().collect();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
}

/// While owners follow one another, what the log holds is in the order of their fences, and whole.
pub async fn only_the_newest_owner_writes<S: StateStore + Clone>(clients: &[S]) {
    let taken = at_once(clients, |n, client| async move {
        let mut taken = Vec::new();
        while taken.len() < ROUNDS {
            let lease = client.acquire_lease(MEETING, node(n), LONG).await.unwrap();
            if lease.owner != Some(node(n)) {
                continue;
            }
            let last = client.load_meeting(MEETING).await.unwrap().number;
            let released = client.release_lease(MEETING, node(n), lease.fence);
            released.await.unwrap();
            // From here on others may own the meeting: this write stands or is refused.
            let delta = Bytes::from(lease.fence.0.to_be_bytes().to_vec());
            let written = client
                .append_delta(MEETING, lease.fence, last + 1, delta)
                .await
                .unwrap();
            assert_ne!(written, Written::OutOfTurn);
            taken.push((lease.fence, written));
        }
        taken
    });
    let mut stands: Vec<_> = taken.await.into_iter().flatten().collect();
    stands.retain(|(_, written)| *written == Written::Yes);
    let stands: BTreeSet<_> = stands
        .into_iter()
        .map(|(fence, _)| Bytes::from(fence.0.to_be_bytes().to_vec()))
        .collect();
    let log = clients[0].load_meeting(MEETING).await.unwrap();
    assert!(log.deltas.is_sorted(), "an older owner wrote after a newer");
    assert_eq!(log.deltas, stands.into_iter().collect::<Vec<_>>());
}

/// Whoever counts, each number comes once.
pub async fn everyone_counts_once<S: StateStore + Clone>(clients: &[S]) {
    let counts = at_once(clients, |_, client| async move {
        let mut mine = Vec::new();
        for _ in 0..ROUNDS {
            mine.push(client.count("all", LONG).await.unwrap());
        }
        mine
    });
    let mut counts: Vec<_> = counts.await.into_iter().flatten().collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
}

/// A wake-up crosses from client to client; an end of a lease is one.
pub async fn one_wakes_another<S: StateStore + Clone>(clients: &[S]) {
    let topic = Topic::Meeting(MEETING);
    let mut wakes = clients[0].subscribe(topic).await.unwrap();
    clients[1].wake(topic).await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, wakes.next()).await;
    assert_eq!(woken, Ok(Some(())));
    let lease = clients[1]
        .acquire_lease(MEETING, node(1), LONG)
        .await
        .unwrap();
    let woken = tokio::time::timeout(DEADLINE, wakes.next()).await;
    assert_eq!(woken, Ok(Some(())));
    let released = clients[1].release_lease(MEETING, node(1), lease.fence);
    released.await.unwrap();
    let woken = tokio::time::timeout(DEADLINE, wakes.next()).await;
    assert_eq!(woken, Ok(Some(())));
    // One who has left and comes again is woken again.
    drop(wakes);
    let mut wakes = clients[0].subscribe(topic).await.unwrap();
    eventually("woken again", async || {
        clients[1].wake(topic).await.unwrap();
        let woken = tokio::time::timeout(Duration::from_millis(50), wakes.next()).await;
        match woken {
            Ok(Some(())) => true,
            Ok(None) => {
                wakes = clients[0].subscribe(topic).await.unwrap();
                false
            }
            Err(_) => false,
        }
    })
    .await;
}
