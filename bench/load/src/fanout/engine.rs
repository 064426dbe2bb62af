//! A thread that is many participants.
//!
//! One loop: what is due is sent, what came is read, and it sleeps until there is more. It must be cheaper than the
//! server that it measures, or it measures itself: no runtime, no lock, one transmit for all that a batch caused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use darktower_net::wt::{Calling, Event, SessionKey};
use darktower_net::{Fingerprint, ServerTrust, Tuning, Url};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::participant::{Heard, Known, Ledger, Participant};
use super::port::{Buffers, Port};
use super::scene::Member;
use super::tally::{Faults, Tally};
use super::usage;

/// Handshakes under way at once: far below where a handler asks newcomers to prove their address.
const SHAKING: usize = 64;
/// Endings that are told.
const MOST_ENDINGS: usize = 4;
/// Batches taken from one port before the others have their turn.
const BATCHES: usize = 4;
/// A frame that is later leaves out those between it and now.
const LATEST: Duration = Duration::from_millis(200);
/// Nothing is put off for longer.
const LOOK: Duration = Duration::from_millis(100);
/// For the answer of a thread that is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Somebody who is to join.
pub struct Entrant {
    /// Who.
    pub member: Member,
    /// The tracks of the meeting.
    pub known: Arc<Known>,
    /// What opens the session.
    pub token: String,
}

/// What a thread has to say.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Participants whom the handler has welcomed.
    pub up: u64,
    /// Whole video and audio frames received so far, whenever they were sent.
    pub whole: [u64; 2],
    /// What is not as it should be, so far.
    pub faults: Faults,
    /// CPU the thread has used so far.
    pub cpu: Duration,
    /// Tracks that the handler holds back now because it believes paths too narrow, over all subscribers.
    pub held_back: u64,
    /// The narrowest path, as the handler believes now, where it has said so of any.
    pub narrowest_bps: Option<u64>,
    /// Of the periods asked for.
    pub tally: Tally,
    /// Why the first sessions ended that did.
    pub endings: Vec<String>,
}

enum Command {
    Join(Vec<Entrant>),
    Play,
    Begin(u32),
    Abuse(bool),
    Read {
        from: u32,
        to: u32,
        answer: Sender<Reading>,
    },
}

/// The thread.
pub struct Engine {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Whom to call.
#[derive(Clone)]
pub struct Server {
    /// Its address.
    pub addr: SocketAddr,
    /// SHA-256 of its certificates.
    pub certificates: Vec<[u8; 32]>,
}

impl Engine {
    /// Starts a thread with `ports` sockets. All times are counted from `origin`.
    pub fn start(server: Server, ports: usize, origin: Instant) -> anyhow::Result<Self> {
        let hashes = server.certificates.iter().map(|hash| Fingerprint(*hash));
        let trust = ServerTrust::Hashes(hashes.collect());
        let calling = Calling::new(trust, &Tuning::default())?;
        let ports = (0..ports).map(|_| Port::open(&calling));
        let ports = ports.collect::<anyhow::Result<Vec<_>>>()?;
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (commands, inbox) = channel();
        let body = Loop {
            addr: server.addr,
            participants: ports.iter().map(|_| BTreeMap::new()).collect(),
            ports,
            inbox,
            wake: wake.clone(),
            waiting: VecDeque::new(),
            shaking: 0,
            next_port: 0,
            up: 0,
            due: BinaryHeap::new(),
            ledger: Ledger::new(origin),
            buffers: Buffers::default(),
        };
        let thread = std::thread::Builder::new().name("load".to_owned());
        let thread = thread.spawn(move || body.run())?;
        Ok(Self {
            commands,
            wake,
            thread: Some(thread),
        })
    }

    fn say(&self, command: Command) -> anyhow::Result<()> {
        let said = self.commands.send(command);
        anyhow::ensure!(said.is_ok(), "the load thread has ended");
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// Lets these join.
    pub fn join(&self, entrants: Vec<Entrant>) -> anyhow::Result<()> {
        self.say(Command::Join(entrants))
    }

    /// From now on everybody sends.
    pub fn play(&self) -> anyhow::Result<()> {
        self.say(Command::Play)
    }

    /// Who is to misbehave does so from now on, or no more.
    pub fn abuse(&self, on: bool) -> anyhow::Result<()> {
        self.say(Command::Abuse(on))
    }

    /// Frames sent from now on belong to this period.
    pub fn begin(&self, period: u32) -> anyhow::Result<()> {
        self.say(Command::Begin(period))
    }

    /// What has been counted so far, and of the periods from `from` to before `to`.
    pub fn read(&self, from: u32, to: u32) -> anyhow::Result<Reading> {
        let (answer, answers) = channel();
        self.say(Command::Read { from, to, answer })?;
        let reading = answers.recv_timeout(ANSWER_WITHIN);
        reading.context("the load thread does not answer")
    }

    /// Ends the thread and all its sessions.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let Self {
            commands,
            wake,
            thread,
            ..
        } = &mut self;
        *commands = channel().0;
        rustix::io::write(&**wake, &1_u64.to_ne_bytes())?;
        let thread = thread.take().context("stopped twice")?;
        let ended = thread.join();
        ended.map_err(|_| anyhow::anyhow!("the load thread panicked"))?
    }
}

/// In the place of a track: its owner misbehaves.
const ABUSE: usize = usize::MAX;

/// When which track of whom has its next frame.
type Due = Reverse<(Instant, usize, SessionKey, usize)>;

struct Loop {
    addr: SocketAddr,
    ports: Vec<Port>,
    /// Of each port.
    participants: Vec<BTreeMap<SessionKey, Participant>>,
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
    waiting: VecDeque<Entrant>,
    shaking: usize,
    next_port: usize,
    up: u64,
    due: BinaryHeap<Due>,
    ledger: Ledger,
    buffers: Buffers,
}

impl Loop {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            if !self.obey()? {
                let now = Instant::now();
                for port in &mut self.ports {
                    port.endpoint.close(now);
                    port.transmit(&mut self.buffers)?;
                }
                return Ok(());
            }
            self.admit()?;
            self.send_due();
            let now = Instant::now();
            for at in 0..self.ports.len() {
                self.ports[at].endpoint.timeout(now);
                self.attend(at)?;
            }
            for at in self.wait()? {
                for _ in 0..BATCHES {
                    if !self.ports[at].receive(&mut self.buffers)? {
                        break;
                    }
                    self.attend(at)?;
                }
            }
        }
    }

    /// False where there is nobody left to obey.
    fn obey(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Join(entrants)) => self.waiting.extend(entrants),
                Ok(Command::Play) => self.play(),
                Ok(Command::Begin(period)) => self.begin(period),
                Ok(Command::Abuse(on)) => self.abuse(on),
                Ok(Command::Read { from, to, answer }) => {
                    let reading = self.reading(from, to)?;
                    anyhow::ensure!(answer.send(reading).is_ok(), "nobody waits for the answer");
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn reading(&self, from: u32, to: u32) -> anyhow::Result<Reading> {
        let mut tally = Tally::default();
        for of in self.ledger.periods.range(from..to.max(from)) {
            tally.merge(of.1);
        }
        let participants = || self.participants.iter().flat_map(BTreeMap::values);
        Ok(Reading {
            held_back: participants().map(|it| it.held_back).sum(),
            narrowest_bps: participants().filter_map(|it| it.estimate_bps).min(),
            up: self.up,
            whole: self.ledger.whole,
            faults: self.ledger.faults,
            cpu: usage::of_this_thread()?,
            tally,
            endings: self.ledger.endings.clone(),
        })
    }

    fn admit(&mut self) -> anyhow::Result<()> {
        while self.shaking < SHAKING {
            let Some(entrant) = self.waiting.pop_front() else {
                return Ok(());
            };
            let at = self.next_port % self.ports.len();
            self.next_port += 1;
            let url = format!("https://{}/v1/media?token={}", self.addr, entrant.token);
            let endpoint = &mut self.ports[at].endpoint;
            let headers = Default::default();
            let key = endpoint.connect(Instant::now(), self.addr, &Url::parse(&url)?, headers)?;
            let participant = Participant::new(entrant.member, entrant.known);
            self.participants[at].insert(key, participant);
            self.shaking += 1;
        }
        Ok(())
    }

    fn play(&mut self) {
        let now = Instant::now();
        self.due.clear();
        for (at, participants) in self.participants.iter().enumerate() {
            for (key, participant) in participants {
                for (of, track) in participant.member.tracks.iter().enumerate() {
                    self.due.push(Reverse((now + track.phase, at, *key, of)));
                }
            }
        }
    }

    fn abuse(&mut self, on: bool) {
        let now = Instant::now();
        for (at, participants) in self.participants.iter_mut().enumerate() {
            let those = participants.iter_mut();
            for (key, participant) in those.filter(|(_, it)| it.member.abuse.is_some()) {
                if !std::mem::replace(&mut participant.abuses, on) && on {
                    self.due.push(Reverse((now, at, *key, ABUSE)));
                }
            }
        }
    }

    fn begin(&mut self, period: u32) {
        self.ledger.begin(period);
        for (port, participants) in self.ports.iter_mut().zip(&mut self.participants) {
            for (key, participant) in participants {
                if let Some(session) = port.endpoint.session(*key) {
                    participant.demand(session, period);
                }
            }
        }
    }

    fn send_due(&mut self) {
        // Fixed, so that a thread that is late still comes to read and obey.
        let now = Instant::now();
        while let Some(&Reverse((when, at, key, of))) = self.due.peek()
            && when <= now
        {
            self.due.pop();
            let session = self.ports[at].endpoint.session(key);
            let participant = self.participants[at].get_mut(&key);
            let (Some(session), Some(participant)) = (session, participant) else {
                continue;
            };
            let every = match of {
                ABUSE if participant.abuses => participant.misbehave(session, &self.ledger),
                ABUSE => continue,
                _ => participant.send(session, of, &mut self.ledger),
            };
            let next = match when + LATEST < now {
                false => when + every,
                true => {
                    self.ledger.faults.unsent += 1;
                    now + every
                }
            };
            self.due.push(Reverse((next, at, key, of)));
        }
    }

    /// Does what the events of a port ask for, and sends what that causes.
    fn attend(&mut self, at: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        while let Some((key, event)) = self.ports[at].endpoint.poll(now) {
            let Some(participant) = self.participants[at].get_mut(&key) else {
                continue;
            };
            let session = self.ports[at].endpoint.session(key);
            let mut heard = Heard::Nothing;
            match (event, session) {
                (Event::Opened, Some(session)) => participant.greet(session),
                (Event::Stream { stream, .. } | Event::Readable(stream), Some(session)) => {
                    heard = participant.read(session, stream, &mut self.ledger)?;
                }
                (Event::Datagram(bytes), Some(session)) => {
                    let front = session.datagram_front().len();
                    participant.datagram(bytes.slice(front..), &mut self.ledger);
                }
                (Event::Drained { .. }, _) => participant.drained(),
                (Event::Closed(reason), _) => self.ended(at, key, reason.to_string()),
                (Event::Refused(status), _) => self.ended(at, key, format!("status {status}")),
                _ => {}
            }
            if heard == Heard::Welcome {
                self.welcome(at, key);
            }
        }
        self.ports[at].transmit(&mut self.buffers)?;
        Ok(())
    }

    fn welcome(&mut self, at: usize, key: SessionKey) {
        self.up += 1;
        self.shaking -= 1;
        let session = self.ports[at].endpoint.session(key);
        let participant = self.participants[at].get_mut(&key);
        if let (Some(session), Some(participant)) = (session, participant) {
            participant.demand(session, self.ledger.period);
        }
    }

    fn ended(&mut self, at: usize, key: SessionKey, why: String) {
        if self.participants[at].remove(&key).is_some() {
            self.ledger.faults.ended += 1;
            if self.ledger.endings.len() < MOST_ENDINGS {
                self.ledger.endings.push(why);
            }
        }
    }

    /// The ports on which something came.
    fn wait(&mut self) -> anyhow::Result<Vec<usize>> {
        let now = Instant::now();
        let deadlines = self
            .ports
            .iter()
            .filter_map(|port| port.endpoint.deadline());
        let due = self.due.peek().map(|Reverse((when, ..))| *when);
        let next = deadlines.chain(due).chain([now + LOOK]).min();
        let timeout = next.map_or(LOOK, |next| next.saturating_duration_since(now));
        let timeout = Timespec::try_from(timeout)?;
        let mut wanted: Vec<_> = [PollFd::new(&*self.wake, PollFlags::IN)].into();
        wanted.extend(self.ports.iter().map(|it| PollFd::new(it, PollFlags::IN)));
        poll(&mut wanted, Some(&timeout))?;
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        if ready(&wanted[0]) {
            let mut count = [0; 8];
            rustix::io::read(&*self.wake, &mut count)?;
        }
        let ports = wanted[1..].iter().enumerate();
        Ok(ports
            .filter(|(_, fd)| ready(fd))
            .map(|(at, _)| at)
            .collect())
    }
}
