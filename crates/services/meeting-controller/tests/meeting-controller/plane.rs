//! A handler that answers its calls and forwards nothing.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use darktower_link::relay::{self, Relay};
use darktower_wire::ids::NodeId;

use crate::stage::{Stage, within};

/// A real handler, its UDP behind a relay: gRPC goes past that.
async fn handler(stage: &Stage, n: u8) -> (NodeId, darktower_media_handler::Running, Relay) {
    handler_for(stage, n, 8000).await
}

/// The same for so many sessions.
async fn handler_for(
    stage: &Stage,
    n: u8,
    capacity: u32,
) -> (NodeId, darktower_media_handler::Running, Relay) {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let listen: SocketAddr = free.expect("a port");
    let relay = Relay::start(relay::Config::new(listen)).expect("a relay");
    let node = NodeId([n; 16]);
    let deps = darktower_media_handler::Deps {
        state: stage.state.clone(),
        verifier: Stage::verifier(&stage.signer),
        certs: stage.certs.clone(),
        node,
        trust: Default::default(),
        tap: None,
    };
    let config = darktower_media_handler::Config {
        listen,
        public_url: Some(format!("https://{}/v1/media", relay.addr())),
        capacity,
        ..Default::default()
    };
    let running = darktower_media_handler::start(config, deps).await;
    (node, running.expect("a handler"), relay)
}

/// Asks until the meeting is on this handler; how long that took.
async fn placed_on(stage: &Stage, node: NodeId) -> Duration {
    let began = Instant::now();
    within("the meeting is placed there", async {
        while stage.describe().await.expect("a description").media_node != node.to_vec() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_forwards_nothing_is_left_and_comes_back_when_it_has_healed() {
    let stage = Stage::new().await;
    let handlers = [handler(&stage, 70).await, handler(&stage, 71).await];
    within("a handler is there", async {
        while stage
            .describe()
            .await
            .expect("a description")
            .media_node
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Until both have been seen to work, what follows says nothing.
    within("both are probed", async {
        while handlers
            .iter()
            .any(|(_, handler, _)| handler.sessions() < 2)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let on = stage.describe().await.expect("a description").media_node;
    let at = usize::from(on == handlers[1].0.to_vec());
    let (here, there) = (&handlers[at], &handlers[1 - at]);
    here.2.blackout(true).expect("a relay");
    let took = placed_on(&stage, there.0).await;
    // The rule's own bound of 3 s is held in virtual time; a busy machine may add to it here.
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Now the other one fails, and the first has only just healed: the last is not given up for one that may not work.
    here.2.blackout(false).expect("a relay");
    there.2.blackout(true).expect("a relay");
    let took = placed_on(&stage, here.0).await;
    assert!(took > Duration::from_secs(3), "{took:?}");
    for (_, handler, _) in handlers {
        handler.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_handler_is_probed_all_the_same() {
    let stage = Stage::new().await;
    let (_, handler, _relay) = handler_for(&stage, 70, 1).await;
    within("both ends of the probe are in", async {
        while handler.sessions() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Who is refused is gone within a moment.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        assert!(handler.sessions() >= 2, "a probe was refused");
        tokio::task::yield_now().await;
    }
    handler.stop(Duration::ZERO).await;
}
