//! The relay's thread: wait for sockets, commands or the next packet due; then move what has to move.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;

use crate::relay::tcp::{self, Side};
use crate::relay::wait::{self, Interest, Poller, Ready};
use crate::relay::{Command, Config, Report, udp};
use crate::{Conditions, Random};

const BELL: u64 = 0;
const UDP: u64 = 1;
const TCP: u64 = 2;
/// A flow's tokens are twice its id, plus one for the socket towards the target.
const FIRST_FLOW: u64 = 2;

/// How often port 0 is tried before giving up: the port the kernel gives for UDP may be taken on TCP.
const PORT_TRIES: usize = 64;

/// Monotone time since the relay began.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The seeds of a flow's two links.
#[derive(Clone, Copy)]
pub(crate) struct Dice {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

enum Flow {
    Udp(udp::Flow),
    Tcp(tcp::Flow),
}

struct Entry {
    flow: Flow,
    /// Its place among the timers.
    armed: Option<Duration>,
}

pub(crate) struct Engine {
    config: Config,
    addr: SocketAddr,
    clock: Clock,
    poller: Poller,
    bell: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    flows: BTreeMap<u64, Entry>,
    by_client: BTreeMap<SocketAddr, u64>,
    timers: BTreeSet<(Duration, u64)>,
    next_flow: u64,
    next_sweep: Duration,
    /// What passed over flows that are no more.
    past: Report,
    buffer: Vec<u8>,
}

fn bind(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let tcp = TcpListener::bind(addr)?;
        match udp::listen(tcp.local_addr()?) {
            Ok(udp) => {
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(error) if tries <= 1 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

impl Engine {
    pub(crate) fn new(
        config: Config,
        inbox: Receiver<Command>,
        bell: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let (udp, tcp) = bind(config.listen)?;
        let poller = Poller::new()?;
        poller.add(&bell, BELL, Interest::READ)?;
        poller.add(&udp, UDP, Interest::READ)?;
        poller.add(&tcp, TCP, Interest::READ)?;
        Ok(Self {
            addr: udp.local_addr()?,
            clock: Clock(Instant::now()),
            poller,
            bell,
            inbox,
            udp: Arc::new(udp),
            tcp,
            flows: BTreeMap::new(),
            by_client: BTreeMap::new(),
            timers: BTreeSet::new(),
            next_flow: FIRST_FLOW,
            next_sweep: config.idle,
            past: Report::default(),
            buffer: vec![0; 1 << 16],
            config,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Until told to stop, or the poller fails (then every call on the handle says that it stopped).
    pub(crate) fn run(mut self) {
        wait::wake_promptly();
        let mut ready = Vec::new();
        let mut touched = BTreeSet::new();
        loop {
            self.collect_due(&mut touched);
            while let Some(id) = touched.pop_first() {
                self.pump(id);
            }
            let now = self.clock.now();
            self.sweep(now);
            let next = self
                .timers
                .first()
                .map_or(self.next_sweep, |timer| timer.0.min(self.next_sweep));
            if self
                .poller
                .wait(Some(next.saturating_sub(now)), &mut ready)
                .is_err()
            {
                return;
            }
            for event in &ready {
                match event.token {
                    BELL => {
                        wait::silence(&self.bell);
                        if !self.obey(&mut touched) {
                            return;
                        }
                    }
                    UDP => self.read_clients(&mut touched),
                    TCP => self.accept(&mut touched),
                    _ => self.read_flow(*event, &mut touched),
                }
            }
        }
    }

    fn collect_due(&self, touched: &mut BTreeSet<u64>) {
        let due = (self.clock.now(), u64::MAX);
        touched.extend(self.timers.range(..=due).map(|timer| timer.1));
    }

    /// Moves what is due on a flow and sets its timer anew.
    fn pump(&mut self, id: u64) {
        let Some(entry) = self.flows.get_mut(&id) else {
            return;
        };
        let now = self.clock.now();
        let (alive, deadline) = match &mut entry.flow {
            Flow::Udp(flow) => {
                flow.pump(now, &self.udp);
                (true, flow.deadline())
            }
            Flow::Tcp(flow) => (flow.pump(&self.poller, now), flow.deadline()),
        };
        if !alive {
            self.close(id);
            return;
        }
        if entry.armed != deadline {
            if let Some(armed) = entry.armed {
                self.timers.remove(&(armed, id));
            }
            if let Some(deadline) = deadline {
                self.timers.insert((deadline, id));
            }
            entry.armed = deadline;
        }
    }

    fn read_clients(&mut self, touched: &mut BTreeSet<u64>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let listener = Arc::clone(&self.udp);
        udp::read(
            &mut buffer,
            |buffer| listener.recv_from(buffer),
            |client, packet| {
                let Some(id) = self.flow_of(client) else {
                    return;
                };
                let now = self.clock.now();
                if let Some(Entry {
                    flow: Flow::Udp(flow),
                    ..
                }) = self.flows.get_mut(&id)
                {
                    flow.take_from_client(now, packet);
                    touched.insert(id);
                }
            },
        );
        self.buffer = buffer;
    }

    /// The flow of this client, opened if it is new. `None`: the system grants no more sockets.
    fn flow_of(&mut self, client: SocketAddr) -> Option<u64> {
        if let Some(id) = self.by_client.get(&client) {
            return Some(*id);
        }
        if self.flows.len() >= self.config.most_flows {
            self.close_idlest();
        }
        let (id, dice) = self.next_flow();
        let flow = udp::Flow::open(
            &self.poller,
            2 * id + 1,
            client,
            self.config.to,
            (self.config.up, self.config.down),
            dice,
            self.clock.now(),
        );
        let Ok(flow) = flow else {
            self.past.refused += 1;
            return None;
        };
        self.flows.insert(
            id,
            Entry {
                flow: Flow::Udp(flow),
                armed: None,
            },
        );
        self.by_client.insert(client, id);
        Some(id)
    }

    fn accept(&mut self, touched: &mut BTreeSet<u64>) {
        while let Ok((client, _)) = self.tcp.accept() {
            let (id, dice) = self.next_flow();
            let flow = tcp::Flow::open(
                client,
                self.config.to,
                (2 * id, 2 * id + 1),
                (self.config.up, self.config.down),
                dice,
                self.clock.now(),
            );
            match flow {
                Ok(flow) if self.flows.len() < self.config.most_flows => {
                    self.flows.insert(
                        id,
                        Entry {
                            flow: Flow::Tcp(flow),
                            armed: None,
                        },
                    );
                    touched.insert(id);
                }
                _ => self.past.refused += 1,
            }
        }
    }

    fn read_flow(&mut self, ready: Ready, touched: &mut BTreeSet<u64>) {
        let id = ready.token / 2;
        match self.flows.get_mut(&id).map(|entry| &mut entry.flow) {
            Some(Flow::Udp(flow)) => flow.read_target(&self.clock, &mut self.buffer),
            Some(Flow::Tcp(flow)) => {
                let side = if ready.token.is_multiple_of(2) {
                    Side::Client
                } else {
                    Side::Target
                };
                flow.on_ready(side, ready, &self.poller, &self.clock, &mut self.buffer);
            }
            // It was closed by an earlier event of the same round.
            None => return,
        }
        touched.insert(id);
    }

    /// Carries out the commands. `false`: to stop.
    fn obey(&mut self, touched: &mut BTreeSet<u64>) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            // An answer nobody waits for any more is no concern of ours.
            match command {
                Command::Set(conditions) => self.set(conditions.0, conditions.1),
                Command::Conditions(answer) => {
                    let _ = answer.try_send((self.config.up, self.config.down));
                }
                Command::Rebind(to) => self.rebind(to),
                Command::Report(answer) => {
                    let _ = answer.try_send(self.report());
                }
                Command::Done(answer) => {
                    let _ = answer.try_send(());
                }
                Command::Stop => return false,
            }
        }
        touched.extend(self.flows.keys());
        true
    }

    fn set(&mut self, up: Conditions, down: Conditions) {
        self.config.up = up;
        self.config.down = down;
        let now = self.clock.now();
        for entry in self.flows.values_mut() {
            match &mut entry.flow {
                Flow::Udp(flow) => {
                    flow.up.set(now, up);
                    flow.down.set(now, down);
                }
                Flow::Tcp(flow) => {
                    flow.up.set(now, up);
                    flow.down.set(now, down);
                }
            }
        }
    }

    fn rebind(&mut self, to: Option<IpAddr>) {
        for entry in self.flows.values_mut() {
            if let Flow::Udp(flow) = &mut entry.flow
                && flow.rebind(&self.poller, to).is_err()
            {
                self.past.refused += 1;
            }
        }
    }

    fn report(&self) -> Report {
        let mut report = self.past;
        for entry in self.flows.values() {
            entry.count_into(&mut report);
            match entry.flow {
                Flow::Udp(_) => report.udp_flows += 1,
                Flow::Tcp(_) => report.tcp_flows += 1,
            }
        }
        report
    }

    /// Forgets UDP flows that have been silent for too long.
    fn sweep(&mut self, now: Duration) {
        if now < self.next_sweep {
            return;
        }
        let idle = self.config.idle;
        let silent: Vec<u64> = self
            .flows
            .iter()
            .filter(|(_, entry)| {
                entry
                    .last_seen()
                    .is_some_and(|seen| now.saturating_sub(seen) >= idle)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.close(id);
        }
        self.next_sweep = now + (idle / 4).max(Duration::from_millis(10));
    }

    fn close_idlest(&mut self) {
        let seen = |(id, entry): (&u64, &Entry)| entry.last_seen().map(|seen| (seen, *id));
        if let Some((_, id)) = self.flows.iter().filter_map(seen).min() {
            self.close(id);
        }
    }

    fn close(&mut self, id: u64) {
        let Some(entry) = self.flows.remove(&id) else {
            return;
        };
        entry.count_into(&mut self.past);
        if let Some(armed) = entry.armed {
            self.timers.remove(&(armed, id));
        }
        if let Flow::Udp(flow) = &entry.flow {
            self.by_client.remove(&flow.client);
        }
    }

    fn next_flow(&mut self) -> (u64, Dice) {
        let id = self.next_flow;
        self.next_flow += 1;
        let mut seeds = Random::new(self.config.seed, id);
        (
            id,
            Dice {
                up: seeds.next_u64(),
                down: seeds.next_u64(),
            },
        )
    }
}

impl Entry {
    /// `None` for a TCP connection, which ends by itself.
    fn last_seen(&self) -> Option<Duration> {
        match &self.flow {
            Flow::Udp(flow) => Some(flow.last_seen),
            Flow::Tcp(_) => None,
        }
    }

    fn count_into(&self, report: &mut Report) {
        let (up, down) = match &self.flow {
            Flow::Udp(flow) => {
                report.refused += flow.refused;
                flow.counters()
            }
            Flow::Tcp(flow) => flow.counters(),
        };
        report.up.add(&up);
        report.down.add(&down);
    }
}
