//! A link that several participants may share, between real sockets.
//!
//! `darktower-link`'s relay gives each flow a link of its own; here all flows of a
//! relay wait in one queue, as behind one router, and how long each packet waited is
//! kept. UDP alone: media needs no more.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use darktower_link::{Conditions, Discipline, Link};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The relay looks for new conditions at least this often.
const LOOK: Duration = Duration::from_millis(5);
/// Packets taken from one socket before the others have their turn.
const AT_ONCE: usize = 64;
/// Larger than any UDP payload here.
const PACKET: usize = 2048;

/// What packets waited for: when they arrived and how long.
pub(crate) type Waited = Vec<(Duration, Duration)>;

struct Packet {
    flow: usize,
    sent: Duration,
    bytes: Vec<u8>,
}

impl Clone for Packet {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            ..*self
        }
    }
}

/// One direction.
struct Way {
    link: Link<Packet>,
    waited: Waited,
}

impl Way {
    fn poll(&mut self, now: Duration) -> Option<Packet> {
        let packet = self.link.poll(now)?;
        let travelled = now.saturating_sub(packet.sent);
        let waited = travelled.saturating_sub(self.link.conditions().delay);
        self.waited.push((now, waited));
        Some(packet)
    }
}

/// A running relay; it ends when [`Relay::finish`] is called or it is dropped.
pub(crate) struct Relay {
    addr: SocketAddr,
    conditions: Sender<(Conditions, Conditions)>,
    thread: JoinHandle<(Waited, Waited)>,
}

impl Relay {
    /// Relays to `to`; times of what waited are since `origin`.
    pub(crate) fn start(
        to: SocketAddr,
        (up, down): (Conditions, Conditions),
        seed: u64,
        origin: Instant,
    ) -> io::Result<Self> {
        let listener = UdpSocket::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (conditions, inbox) = mpsc::channel();
        let way = |conditions, seed| Way {
            link: Link::new(Discipline::Datagram, conditions, seed),
            waited: Waited::new(),
        };
        let engine = Engine {
            origin,
            to,
            listener,
            flows: Vec::new(),
            numbers: BTreeMap::new(),
            up: way(up, 2 * seed),
            down: way(down, 2 * seed + 1),
        };
        let thread = std::thread::spawn(move || engine.run(&inbox));
        Ok(Self {
            addr,
            conditions,
            thread,
        })
    }

    /// Where participants reach it.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The link is like this from now on.
    pub(crate) fn set(&self, up: Conditions, down: Conditions) -> anyhow::Result<()> {
        Ok(self.conditions.send((up, down))?)
    }

    /// Ends it; what packets waited, upwards and downwards.
    pub(crate) fn finish(self) -> anyhow::Result<(Waited, Waited)> {
        drop(self.conditions);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the relay failed"))
    }
}

struct Flow {
    client: SocketAddr,
    upstream: UdpSocket,
}

struct Engine {
    origin: Instant,
    to: SocketAddr,
    listener: UdpSocket,
    flows: Vec<Flow>,
    numbers: BTreeMap<SocketAddr, usize>,
    up: Way,
    down: Way,
}

impl Engine {
    fn run(mut self, inbox: &Receiver<(Conditions, Conditions)>) -> (Waited, Waited) {
        loop {
            match inbox.try_recv() {
                Ok((up, down)) => {
                    let now = self.origin.elapsed();
                    self.up.link.set(now, up);
                    self.down.link.set(now, down);
                }
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => break,
            }
            self.wait();
            self.take();
            self.give();
        }
        (self.up.waited, self.down.waited)
    }

    /// Until a socket has something, or a packet is due.
    fn wait(&self) {
        let now = self.origin.elapsed();
        let links = [self.up.link.deadline(), self.down.link.deadline()];
        let next = links.into_iter().flatten().min();
        let wait = next.map_or(LOOK, |at| at.saturating_sub(now).min(LOOK));
        let flows = self.flows.iter().map(|flow| flow.upstream.as_fd());
        let sockets = std::iter::once(self.listener.as_fd()).chain(flows);
        let mut polled: Vec<_> = sockets
            .map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN))
            .collect();
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.subsec_nanos().into(),
        };
        // Interrupted or not: what is due is looked for afterwards.
        let _ = poll(&mut polled, Some(&wait));
    }

    /// Takes packets off the sockets.
    fn take(&mut self) {
        let mut buffer = [0; PACKET];
        for _ in 0..AT_ONCE {
            // Nothing there, or an answer to an earlier packet that nobody took.
            let Ok((len, client)) = self.listener.recv_from(&mut buffer) else {
                break;
            };
            let Some(flow) = self.flow(client) else {
                continue;
            };
            let sent = self.origin.elapsed();
            let bytes = buffer[..len].to_vec();
            self.up.link.send(sent, len, Packet { flow, sent, bytes });
        }
        for (flow, it) in self.flows.iter().enumerate() {
            for _ in 0..AT_ONCE {
                let Ok(len) = it.upstream.recv(&mut buffer) else {
                    break;
                };
                let sent = self.origin.elapsed();
                let bytes = buffer[..len].to_vec();
                self.down.link.send(sent, len, Packet { flow, sent, bytes });
            }
        }
    }

    /// The flow of a client, opened where it is new; `None` where no socket is left.
    fn flow(&mut self, client: SocketAddr) -> Option<usize> {
        if let Some(number) = self.numbers.get(&client) {
            return Some(*number);
        }
        let upstream = UdpSocket::bind(("127.0.0.1", 0)).ok()?;
        upstream.connect(self.to).ok()?;
        upstream.set_nonblocking(true).ok()?;
        self.numbers.insert(client, self.flows.len());
        self.flows.push(Flow { client, upstream });
        Some(self.flows.len() - 1)
    }

    /// Gives on what has arrived. A packet that a socket does not take is lost, like any.
    fn give(&mut self) {
        let now = self.origin.elapsed();
        while let Some(packet) = self.up.poll(now) {
            if let Some(flow) = self.flows.get(packet.flow) {
                let _ = flow.upstream.send(&packet.bytes);
            }
        }
        while let Some(packet) = self.down.poll(now) {
            if let Some(flow) = self.flows.get(packet.flow) {
                let _ = self.listener.send_to(&packet.bytes, flow.client);
            }
        }
    }
}
