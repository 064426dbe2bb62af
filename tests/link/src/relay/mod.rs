//! The model between real sockets: a UDP and TCP relay on loopback.
//!
//! One thread of its own waits on all sockets with `epoll_pwait2`, whose timeout is in nanoseconds: an async
//! runtime's timer rounds up to a whole millisecond, which is more than the joins measured through here
//! may be wrong by. A packet's time is taken after it was read, so nothing is ever delivered early.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use rustix::fd::OwnedFd;

use crate::{Conditions, Counters};

mod engine;
mod tcp;
mod udp;
mod wait;

use engine::Engine;

/// How long the relay's thread may take over a command. It never blocks, so longer means it is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a relay relays, and over what.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients reach it, on UDP and TCP alike; port 0 takes one that is free on both.
    pub listen: SocketAddr,
    /// Where it forwards to, on UDP and TCP alike.
    pub to: SocketAddr,
    /// Conditions from the clients to the target.
    pub up: Conditions,
    /// Conditions from the target to the clients.
    pub down: Conditions,
    /// Chance: each flow's and each direction's dice derive from it, in the order the flows come.
    pub seed: u64,
    /// A UDP flow without a packet for this long is forgotten, as a NAT would.
    pub idle: Duration,
    /// Flows at once. One more UDP flow displaces the one idle longest, one more TCP connection is refused.
    pub most_flows: usize,
}

impl Config {
    /// A perfect link from a free port of 127.0.0.1 to `to`.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            to,
            up: Conditions::default(),
            down: Conditions::default(),
            seed: 1,
            idle: Duration::from_secs(120),
            most_flows: 1024,
        }
    }

    /// The same with these conditions both ways.
    #[must_use]
    pub fn both(self, conditions: Conditions) -> Self {
        Self {
            up: conditions,
            down: conditions,
            ..self
        }
    }

    /// The same with half of this round-trip time each way and nothing else.
    #[must_use]
    pub fn round_trip(self, rtt: Duration) -> Self {
        self.both(Conditions::delayed(rtt / 2))
    }
}

/// What passed, over all flows that are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// From the clients to the target.
    pub up: Counters,
    /// From the target to the clients.
    pub down: Counters,
    /// UDP flows alive now.
    pub udp_flows: usize,
    /// TCP connections alive now.
    pub tcp_flows: usize,
    /// Packets that the model delivered and a socket would not take.
    pub refused: u64,
}

/// The relay's thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay has stopped")]
pub struct Stopped;

pub(crate) enum Command {
    Set(Box<(Conditions, Conditions)>),
    Conditions(SyncSender<(Conditions, Conditions)>),
    Rebind(Option<IpAddr>),
    Report(SyncSender<Report>),
    Done(SyncSender<()>),
    Stop,
}

/// A running relay; dropping it stops it and closes its sockets.
pub struct Relay {
    addr: SocketAddr,
    commands: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Binds and begins to relay.
    ///
    /// # Errors
    /// The address cannot be bound on both UDP and TCP, or the system grants no more descriptors or threads.
    pub fn start(config: Config) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let wake = Arc::new(wait::bell()?);
        let engine = Engine::new(config, inbox, Arc::clone(&wake))?;
        let addr = engine.addr();
        let thread = thread::Builder::new()
            .name("link-relay".to_owned())
            .spawn(|| engine.run())?;
        Ok(Self {
            addr,
            commands,
            wake,
            thread: Some(thread),
        })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New conditions for all flows, in force when this returns.
    ///
    /// # Errors
    /// The relay has stopped.
    pub fn set(&self, up: Conditions, down: Conditions) -> Result<(), Stopped> {
        self.tell(Command::Set(Box::new((up, down))))
    }

    /// The conditions in force: up and down.
    ///
    /// # Errors
    /// The relay has stopped.
    pub fn conditions(&self) -> Result<(Conditions, Conditions), Stopped> {
        self.ask(Command::Conditions)
    }

    /// Cuts both directions, or restores them as they were. UDP packets on the way are gone; a TCP connection
    /// stays and goes on with what it held.
    ///
    /// # Errors
    /// The relay has stopped.
    pub fn blackout(&self, blackout: bool) -> Result<(), Stopped> {
        let (up, down) = self.conditions()?;
        self.set(
            Conditions { blackout, ..up },
            Conditions { blackout, ..down },
        )
    }

    /// Gives every UDP flow a new source port towards the target, as a NAT does that forgot its table. What
    /// the target sends to the old ones vanishes.
    ///
    /// # Errors
    /// The relay has stopped.
    pub fn rebind(&self) -> Result<(), Stopped> {
        self.tell(Command::Rebind(None))
    }

    /// Gives every UDP flow another source address of this machine towards the target (127.0.0.2, where that is on
    /// loopback), as a client that goes to another network. What the target sends to the old one vanishes.
    ///
    /// # Errors
    /// The relay has stopped. A flow that cannot have the address stays as it is, and counts as refused.
    pub fn rebind_to(&self, addr: IpAddr) -> Result<(), Stopped> {
        self.tell(Command::Rebind(Some(addr)))
    }

    /// What passed so far.
    ///
    /// # Errors
    /// The relay has stopped.
    pub fn report(&self) -> Result<Report, Stopped> {
        self.ask(Command::Report)
    }

    fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).map_err(|_| Stopped)?;
        self.ask(Command::Done)
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, Stopped> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.commands.send(command(answer)).map_err(|_| Stopped)?;
        wait::ring(&self.wake);
        answered
            .recv_timeout(PATIENCE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected => Stopped,
            })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Either fails only where the thread is gone already.
        if self.commands.send(Command::Stop).is_ok() {
            wait::ring(&self.wake);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
