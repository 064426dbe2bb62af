//! A node's place in the registry, and its view of the others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use darktower_placement::{Candidate, Clock, Health, Oddities, Skew, View};
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
            every: Duration::from_millis(400),
            ttl: Duration::from_millis(1600),
        }
    }
}

/// Between two looks at the store's clock: clocks drift slowly, and who sets one can wait so long.
const CLOCK_EVERY: Duration = Duration::from_secs(10);

/// Ids are drawn at each start, so only a copy of a running machine has the same.
const TAKEN: &str = "the node's id (start this process again, and it draws another one; the one that has it goes on)";

/// This node, registered until stopped or dropped.
pub struct Registration {
    id: NodeId,
    store: Arc<dyn StateStore>,
    node: watch::Sender<Node>,
    nodes: watch::Receiver<Arc<Vec<Node>>>,
    wall: Wall,
    stop: CancellationToken,
    /// Whether the id was this node's to the last.
    task: JoinHandle<bool>,
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
        let mut upkeep = Upkeep {
            store: store.clone(),
            own,
            seen,
            timing,
            is_failing: false,
            is_taken: false,
            view,
            oddities: Oddities::default(),
            origin: Instant::now(),
            skew: Skew::default(),
            wall: Wall::default(),
            clock_at: Instant::now(),
        };
        upkeep.look_at_clocks().await;
        let wall = upkeep.wall.clone();
        let task = tokio::spawn(upkeep.run(stop.clone()));
        Ok(Self {
            id,
            store,
            node,
            nodes,
            wall,
            stop,
            task,
        })
    }

    /// The time that all nodes share.
    pub fn wall(&self) -> Wall {
        self.wall.clone()
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

    /// Takes this node out of the registry; not another that has taken its id.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // The upkeep must not put the node back after it was removed.
        match (&mut self.task).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!(%error, "the registration's upkeep failed"),
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

/// Unix time, by the clock that all nodes share where the state store has one, else by this machine's.
#[derive(Debug, Clone, Default)]
pub struct Wall(Arc<AtomicI64>);

impl Wall {
    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        own_wall_ms().saturating_add_signed(self.0.load(Ordering::Relaxed).saturating_neg())
    }
}

struct Upkeep {
    store: Arc<dyn StateStore>,
    own: watch::Receiver<Node>,
    seen: watch::Sender<Arc<Vec<Node>>>,
    timing: Timing,
    is_failing: bool,
    is_taken: bool,
    view: View<Node>,
    oddities: Oddities,
    /// Of the view's time.
    origin: Instant,
    skew: Skew,
    wall: Wall,
    /// The next look at the clocks.
    clock_at: Instant,
}

impl Upkeep {
    /// Until it is stopped; whether the id was this node's to the last.
    async fn run(mut self, stop: CancellationToken) -> bool {
        let mut tick = tokio::time::interval(self.timing.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wakes = None;
        loop {
            if wakes.is_none() {
                wakes = self.store.subscribe(Topic::Nodes).await.ok();
            }
            let look_only = tokio::select! {
                () = stop.cancelled() => return !self.is_taken,
                _ = tick.tick() => false,
                changed = self.own.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return !self.is_taken,
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
        if self.clock_at <= Instant::now() {
            self.look_at_clocks().await;
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

    /// Whoever runs this can set a clock; a participant whose token has run out when it is made cannot. Of a store that
    /// does not answer the heartbeat tells.
    async fn look_at_clocks(&mut self) {
        self.clock_at = Instant::now() + CLOCK_EVERY;
        let asked = own_wall_ms();
        let Ok(Some(shared)) = self.store.wall_ms().await else {
            return;
        };
        let news = self.skew.compare(asked, shared, own_wall_ms());
        let ahead_ms = self.skew.ahead_ms();
        self.wall.0.store(ahead_ms, Ordering::Relaxed);
        metrics::gauge!("darktower_clock_ahead_seconds").set(ahead_ms as f64 / 1000.0);
        match news {
            Some(Clock::Apart(_)) => tracing::warn!(
                ahead_ms,
                "this machine's clock is apart from the state store's: tokens are refused as expired or not valid yet; let \
                 both follow a time server"
            ),
            Some(Clock::Together) => {
                tracing::info!("this machine's clock is the state store's again")
            }
            None => {}
        }
    }

    fn doubt(&mut self) {
        self.view.doubt(self.origin.elapsed());
    }

    fn report(&mut self, done: Result<(), Error>) {
        if done.is_err() {
            self.doubt();
        }
        self.is_taken = match &done {
            Ok(()) => false,
            Err(error) => self.is_taken || matches!(error, Error::Taken(_)),
        };
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

fn own_wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

async fn next(wakes: &mut Option<Wakes>) -> Option<()> {
    match wakes {
        Some(wakes) => wakes.next().await,
        None => std::future::pending().await,
    }
}
