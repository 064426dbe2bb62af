//! Nodes come, change and go in one another's view.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use darktower_cluster::{Registration, RemoteState, Timing};
use darktower_store::conformance::eventually;
use darktower_store::{MemoryState, Node, Service, StateStore};
use darktower_wire::ids::NodeId;

use crate::remote::{LOOPBACK, serve};

fn node(n: u8, service: Service) -> Node {
    Node::new(NodeId([n; 16]), service, String::new(), String::new())
}

/// Waits until the view of `registration` is as `reached` wants it.
async fn sees(registration: &Registration, reached: impl FnMut(&Arc<Vec<Node>>) -> bool) {
    let mut nodes = registration.nodes();
    let seen = tokio::time::timeout(Duration::from_secs(10), nodes.wait_for(reached)).await;
    assert!(seen.is_ok_and(|seen| seen.is_ok()), "not seen in time");
}

#[tokio::test]
async fn nodes_see_one_another() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    // So long between heartbeats that only wake-ups can be in time.
    let timing = Timing {
        every: Duration::from_secs(60),
        ttl: Duration::from_secs(120),
    };
    let start = |node| Registration::start(store.clone(), node, timing);
    let first = start(node(1, Service::Global)).await.unwrap();
    let second = start(node(2, Service::Meeting)).await.unwrap();
    assert_eq!(second.nodes().borrow().len(), 2);
    second.update(|node| node.draining = true);
    sees(&first, |nodes| nodes.len() == 2 && nodes[1].draining).await;
    second.stop().await;
    sees(&first, |nodes| nodes.len() == 1).await;
}

#[tokio::test]
async fn heartbeats_keep_a_node_and_silence_ends_it() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let timing = Timing {
        every: Duration::from_millis(20),
        ttl: Duration::from_millis(400),
    };
    let start = |node| Registration::start(store.clone(), node, timing);
    let watching = start(node(1, Service::Global)).await.unwrap();
    let silent = start(node(2, Service::Media)).await.unwrap();
    sees(&watching, |nodes| nodes.len() == 2).await;
    // Dropped as by a crash: nobody takes it out of the registry.
    drop(silent);
    sees(&watching, |nodes| nodes.len() == 1).await;
    assert_eq!(watching.nodes().borrow()[0].id, watching.id());
}

/// What is written to the log meanwhile by this thread, of which a test's runtime is made.
fn log() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || Tee(written.clone()));
    (log, tracing::subscriber::set_default(subscriber.finish()))
}

struct Tee(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_node_of_an_unknown_release_and_one_that_boasts_are_warned_of_once() {
    let (log, _guard) = log();
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let timing = Timing {
        every: Duration::from_millis(10),
        ttl: Duration::from_secs(60),
    };
    let start = |node| Registration::start(store.clone(), node, timing);
    let watching = start(node(1, Service::Global)).await.unwrap();
    let mut future = node(2, Service::Media);
    future.version = "99.0.0".to_owned();
    let mut boastful = node(3, Service::Meeting);
    boastful.capacity = u32::MAX;
    for node in [future, boastful] {
        store.put_node(node, timing.ttl).await.unwrap();
    }
    sees(&watching, |nodes| nodes.len() == 3).await;
    // Some looks at the others later.
    for load in 1..=5 {
        watching.update(|node| node.load = load);
        sees(&watching, |nodes| nodes[0].load == load).await;
    }
    watching.stop().await;
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("update this process"), 1, "{log}");
    assert_eq!(told("correct its `capacity`"), 1, "{log}");
    assert_eq!(told(&NodeId([2; 16]).to_string()), 1, "{log}");
    assert_eq!(told(&NodeId([3; 16]).to_string()), 1, "{log}");
}

/// As after a copy of a running machine was started.
#[tokio::test]
async fn a_node_with_a_taken_id_is_refused_and_harms_nobody() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let start = |node| Registration::start(store.clone(), node, Timing::default());
    let first = start(node(1, Service::Meeting)).await.unwrap();
    let mut copy = node(1, Service::Media);
    copy.grpc_url = "http://127.0.0.1:9".to_owned();
    let refused = start(copy).await.unwrap_err().to_string();
    assert!(refused.contains("start this process again"), "{refused}");
    assert!(refused.ends_with("is taken"), "{refused}");
    let listed = store.list_nodes(None).await.unwrap();
    assert_eq!(listed, [node(1, Service::Meeting)]);
    // Who comes back to where it was is no other.
    let again = start(node(1, Service::Meeting)).await;
    assert!(again.is_ok());
    drop(first);
}

/// One was silent for so long that it was forgotten; a copy of it came meanwhile.
#[tokio::test]
async fn a_node_that_lost_its_id_leaves_who_has_it_where_it_is() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let timing = Timing {
        every: Duration::from_secs(60),
        ttl: Duration::from_secs(120),
    };
    let (log, _guard) = log();
    let silent = Registration::start(store.clone(), node(1, Service::Meeting), timing);
    let silent = silent.await.unwrap();
    store.remove_node(silent.id()).await.unwrap();
    let mut copy = node(1, Service::Media);
    copy.grpc_url = "http://127.0.0.1:9".to_owned();
    let copied = Registration::start(store.clone(), copy.clone(), timing).await;
    let copied = copied.unwrap();
    silent.update(|node| node.load = 7);
    eventually("it knows that its id is another's", async || {
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        log.contains("another node took this node's id")
    })
    .await;
    silent.stop().await;
    assert_eq!(store.list_nodes(None).await.unwrap(), [copy]);
    copied.stop().await;
    assert_eq!(store.list_nodes(None).await.unwrap(), []);
}

/// A registry that comes back empty is no sign that everybody has gone.
#[tokio::test]
async fn a_registry_that_forgot_everybody_is_not_believed_at_once() {
    let serving = serve(LOOPBACK, Arc::new(MemoryState::new())).await;
    let addr = serving.addr();
    let remote = || Arc::new(RemoteState::new(&format!("grpc://{addr}")).unwrap());
    let slow = Timing {
        every: Duration::from_millis(700),
        ttl: Duration::from_secs(2),
    };
    let quick = Timing {
        every: Duration::from_millis(20),
        ..slow
    };
    let there = Registration::start(remote(), node(1, Service::Media), slow)
        .await
        .unwrap();
    let watching = Registration::start(remote(), node(2, Service::Meeting), quick)
        .await
        .unwrap();
    let gone = Registration::start(remote(), node(3, Service::Media), slow)
        .await
        .unwrap();
    sees(&watching, |nodes| nodes.len() == 3).await;
    let mut nodes = watching.nodes();
    let fewest = tokio::spawn(async move {
        while nodes.borrow_and_update().len() == 3 {
            nodes.changed().await.unwrap();
        }
        nodes
            .borrow()
            .iter()
            .map(|node| node.id)
            .collect::<Vec<_>>()
    });
    drop(gone);
    serving.stop(Duration::ZERO).await;
    let empty: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let _again = serve(addr, empty.clone()).await;
    eventually("both have said again that they are there", async || {
        empty.list_nodes(None).await.unwrap().len() == 2
    })
    .await;
    // The first change that is seen is that of the one who has really gone.
    assert_eq!(fewest.await.unwrap(), [there.id(), watching.id()]);
}
