//! Loops that own their sockets and sessions: one thread, one UDP socket and one [`wt::Endpoint`](crate::wt::Endpoint)
//! a shard, and no async runtime between a packet and the packets it causes.
//!
//! All shards listen on one port; the kernel spreads connections over them by address. A packet whose connection id
//! names another shard (its peer has moved to another network) is handed over. What a shard does is said by its
//! [`App`]; other threads, and other shards, speak to it by messages.
//!
//! A turn of the loop: messages, packets, timers, events; then the app writes what is pending, and every session that
//! was written to is transmitted once: at once where the shard has time to spare, a few milliseconds later, with what comes
//! meanwhile, where it has not.
//!
//! It must not know a meeting or a track. Where to start: [`Plane::start`] and [`App`].
//!
//! Invariant: a shard never waits for another. What does not fit into the other's inbox comes back to the sender.

mod inbox;
mod pace;
mod shard;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::error::BindError;
use crate::wt::{Endpoint, Event, Serving, Session, SessionKey};
use inbox::Outlet;
pub use inbox::{Inlet, Refused};

/// The most shards of one plane: connection ids have a byte for them.
const MAX_SHARDS: usize = 256;

/// What a shard does. Lives on the shard's thread.
pub trait App {
    /// What other threads may tell it.
    type Message: Send + 'static;

    /// Something happened to a session.
    fn event(&mut self, io: &mut Io<'_, Self::Message>, session: SessionKey, event: Event);

    /// Somebody told it something.
    fn message(&mut self, io: &mut Io<'_, Self::Message>, message: Self::Message);

    /// All input of this turn has been handed over: write what is pending. Also called when the deadline is reached.
    fn settle(&mut self, io: &mut Io<'_, Self::Message>);

    /// When it wants [`App::settle`] at the latest.
    fn deadline(&self) -> Option<Instant>;
}

/// What an [`App`] may do.
pub struct Io<'a, M> {
    now: Instant,
    shard: usize,
    endpoint: &'a mut Endpoint,
    siblings: &'a [Outlet<M>],
}

impl<M> Io<'_, M> {
    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Which shard this is.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// How many there are.
    pub fn shards(&self) -> usize {
        self.siblings.len()
    }

    /// A session, to act on it.
    pub fn session(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.endpoint.session(key)
    }

    /// The way to this shard, for what is done elsewhere and comes back.
    pub fn inlet(&self) -> Inlet<M> {
        self.siblings[self.shard].inlet()
    }

    /// Tells another shard something, unless its inbox is full: then it comes back.
    pub fn offer(&self, shard: usize, message: M) -> Result<(), M> {
        match self.siblings.get(shard) {
            Some(sibling) => sibling.offer(message),
            None => Err(message),
        }
    }
}

/// What the shards have in common besides their sessions.
struct Shared {
    stopping: AtomicBool,
}

/// Running shards.
pub struct Plane<M> {
    addr: SocketAddr,
    inlets: Vec<Inlet<M>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl<M: Send + 'static> Plane<M> {
    /// Starts `shards` threads named after `name` that serve `addr` (port 0 takes a free one), each with an app of
    /// this making.
    pub fn start<A>(
        name: &str,
        addr: SocketAddr,
        shards: usize,
        serving: &Serving,
        make: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Result<Self, BindError>
    where
        A: App<Message = M>,
    {
        let shards = shards.clamp(1, MAX_SHARDS);
        let sockets = socket::bind(addr, shards)?;
        let system = |source| BindError::Address { addr, source };
        let addr = sockets[0].local_addr().map_err(system)?;
        let mut inboxes = Vec::new();
        let mut inlets = Vec::new();
        for _ in 0..shards {
            let (inlet, inbox) = inbox::pair().map_err(system)?;
            inlets.push(inlet);
            inboxes.push(inbox);
        }
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
        });
        let mut plane = Self {
            addr,
            inlets,
            shared: shared.clone(),
            threads: Vec::new(),
        };
        let make = Arc::new(make);
        for (index, (socket, inbox)) in sockets.into_iter().zip(inboxes).enumerate() {
            let endpoint = serving.endpoint(index as u8)?;
            let siblings = plane.inlets.iter().map(Inlet::outlet).collect();
            let (shared, make) = (shared.clone(), make.clone());
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || {
                    let app = make(index);
                    shard::run(index, shared, endpoint, socket, inbox, siblings, app);
                })
                .map_err(system)?;
            plane.threads.push(thread);
        }
        Ok(plane)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The ways to the shards, in order.
    pub fn inlets(&self) -> &[Inlet<M>] {
        &self.inlets
    }

    /// Closes every connection that is left, gives the peers a moment to be told, and ends the threads. Waits for it.
    pub fn stop(mut self) {
        self.ring();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard has failed");
            }
        }
    }
}

impl<M> Plane<M> {
    fn ring(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.inlets.iter().for_each(Inlet::ring);
    }
}

impl<M> Drop for Plane<M> {
    /// Without waiting.
    fn drop(&mut self) {
        self.ring();
    }
}
