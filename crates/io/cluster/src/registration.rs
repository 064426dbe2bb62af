//! A node's place in the registry, and its view of the others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use darktower_placement::{Candidate, Health, Oddities, View};
use darktower_store::{Error, Node, StateStore, Topic, Wakes};
use darktower_wire::ids::NodeId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// A node as placement weighs it: by what it says of itself, and `health` as the caller knows it.
pub fn candidate(node: &Node, health: Health) -> Candidate<'_> {
    Candidate {
        id: node.id,
        region: &node.region,
        capacity: node.capacity,
        load: node.load,
        draining: node.draining,
        health,
    }
}

/// How often a node says that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats, and between two looks at the others.
    pub every: Duration,
    /// A node silent for this long is gone.
    pub ttl: Duration,
}

impl Default for Timing {
    /// Three heartbeats may be lost: a busy machine is not a dead one.
    fn default() -> Self {
        Self {
            every: Duration::from_millis(500),
            ttl: Duration::from_secs(2),
        }
    }
}

/// Ids are drawn at each start, so only a copy of a running machine has the same.
const TAKEN: &str = "the node's id (start this process again, and it draws another one; the one that has it goes on)";

/// This node, registered until stopped or dropped.
pub struct Registration {
    id: NodeId,
    store: Arc<dyn StateStore>,
    node: watch::Sender<Node>,
    nodes: watch::Receiver<Arc<Vec<Node>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Registration {
    /// Registers `node` and keeps it registered. Fails where the first
    /// heartbeat does, and where another node is registered with its id; later failures are logged, and the view of the
    /// others stays as it was.
    pub async fn start(
        store: Arc<dyn StateStore>,
        node: Node,
        timing: Timing,
    ) -> Result<Self, Error> {
        match store.put_node(node.clone(), timing.ttl).await {
            Err(Error::Taken(_)) => return Err(Error::Taken(TAKEN)),
            outcome => outcome?,
        }
        let listed = store.list_nodes(None).await?;
        let id = node.id;
        let (node, own) = watch::channel(node);
        let view = View::new(Duration::ZERO, timing.ttl, listed.clone());
        let (seen, nodes) = watch::channel(Arc::new(listed));
        let stop = CancellationToken::new();
        let upkeep = Upkeep {
            store: store.clone(),
            own,
            seen,
            timing,
            is_failing: false,
            view,
            oddities: Oddities::default(),
            origin: Instant::now(),
        };
        let task = tokio::spawn(upkeep.run(stop.clone()));
        Ok(Self {
            id,
            store,
            node,
            nodes,
            stop,
            task,
        })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Changes what this node says of itself (load, drain, certificates); told at once.
    pub fn update(&self, change: impl FnOnce(&mut Node)) {
        self.node.send_if_modified(|node| {
            let before = node.clone();
            change(node);
            *node != before
        });
    }

    /// All nodes that are there, this one included, ordered by id; changes as they do.
    pub fn nodes(&self) -> watch::Receiver<Arc<Vec<Node>>> {
        self.nodes.clone()
    }

    /// Takes this node out of the registry.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // The upkeep must not put the node back after it was removed.
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the registration's upkeep failed");
        }
        if let Err(error) = self.store.remove_node(self.id).await {
            tracing::info!(%error, "the node could not be taken out of the registry; it will expire");
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Upkeep {
    store: Arc<dyn StateStore>,
    own: watch::Receiver<Node>,
    seen: watch::Sender<Arc<Vec<Node>>>,
    timing: Timing,
    is_failing: bool,
    view: View<Node>,
    oddities: Oddities,
    /// Of the view's time.
    origin: Instant,
}

impl Upkeep {
    async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.timing.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wakes = None;
        loop {
            if wakes.is_none() {
                wakes = self.store.subscribe(Topic::Nodes).await.ok();
            }
            let look_only = tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => false,
                changed = self.own.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                woken = next(&mut wakes) => {
                    if woken.is_none() {
                        self.doubt();
                        // Subscribed anew at the next tick, not in a tight loop.
                        wakes = None;
                        tick.tick().await;
                    }
                    true
                }
            };
            let done = self.beat(look_only).await;
            self.report(done);
        }
    }

    async fn beat(&mut self, look_only: bool) -> Result<(), Error> {
        if !look_only {
            let node = self.own.borrow_and_update().clone();
            self.store.put_node(node, self.timing.ttl).await?;
        }
        let listed = self.store.list_nodes(None).await?;
        if self
            .view
            .listed(self.origin.elapsed(), listed, |node| node.id)
        {
            self.seen.send_replace(Arc::new(self.view.nodes().to_vec()));
        }
        self.warn_of_oddities();
        Ok(())
    }

    fn warn_of_oddities(&mut self) {
        let nodes = self.view.nodes();
        let says = nodes.iter();
        let says = says.map(|node| (node.id, node.version.as_str(), node.capacity));
        for (id, what) in self.oddities.look(env!("CARGO_PKG_VERSION"), says) {
            let Some(node) = nodes.iter().find(|node| node.id == id) else {
                continue;
            };
            let (service, version) = (node.service.as_str(), &node.version);
            tracing::warn!(
                node_id = %id, service, grpc_url = %node.grpc_url, %version, capacity = node.capacity,
                "a node says something odd of itself: {what}"
            );
        }
    }

    fn doubt(&mut self) {
        self.view.doubt(self.origin.elapsed());
    }

    fn report(&mut self, done: Result<(), Error>) {
        if done.is_err() {
            self.doubt();
        }
        match done {
            Err(Error::Taken(_)) if !self.is_failing => {
                let node_id = self.own.borrow().id;
                tracing::error!(%node_id, "another node took this node's id while it was silent: start this process again");
            }
            Ok(()) if self.is_failing => tracing::info!("the registry answers again"),
            Err(error) if !self.is_failing => {
                tracing::warn!(%error, "the registry does not answer; the last known nodes stay");
            }
            Ok(()) | Err(_) => return,
        }
        self.is_failing = !self.is_failing;
    }
}

async fn next(wakes: &mut Option<Wakes>) -> Option<()> {
    match wakes {
        Some(wakes) => wakes.next().await,
        None => std::future::pending().await,
    }
}
