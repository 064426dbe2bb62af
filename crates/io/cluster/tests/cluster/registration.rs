//! Nodes come, change and go in one another's view.

use std::sync::Arc;
use std::time::Duration;

use darktower_cluster::{Registration, Timing};
use darktower_store::{MemoryState, Node, Service, StateStore};
use darktower_wire::ids::NodeId;

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
