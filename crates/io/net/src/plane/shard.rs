//! The loop of one shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::inbox::{Inbox, Letter, Outlet};
use super::pace::Pace;
use super::socket::Socket;
use super::{App, Io, Shared};
use crate::server::CLOSE_LINGER;
use crate::wt::{Endpoint, Transmit};

/// Messages and batches of packets that are taken before those that came earlier are answered.
const MAX_LETTERS: usize = 256;
const MAX_BATCHES: usize = 4;
const MAX_ROUNDS: usize = 4;

struct Shard<A: App> {
    index: usize,
    endpoint: Endpoint,
    socket: Socket,
    inbox: Inbox<A::Message>,
    siblings: Vec<Outlet<A::Message>>,
    app: A,
    /// What the kernel did not take, and must go first.
    stuck: Option<Transmit>,
    buffer: Vec<u8>,
}

pub(super) fn run<A: App>(
    index: usize,
    shared: Arc<Shared>,
    endpoint: Endpoint,
    socket: Socket,
    inbox: Inbox<A::Message>,
    siblings: Vec<Outlet<A::Message>>,
    app: A,
) {
    let mut shard = Shard {
        index,
        endpoint,
        socket,
        inbox,
        siblings,
        app,
        stuck: None,
        buffer: Vec::new(),
    };
    let mut readable = false;
    let mut stop: Option<Instant> = None;
    let mut pace = Pace::new(Instant::now());
    loop {
        let mut now = Instant::now();
        pace.wakes(now);
        shard.endpoint.set_hold(pace.hold());
        if stop.is_none() && shared.stopping.load(Ordering::SeqCst) {
            stop = Some(now + CLOSE_LINGER);
            shard.endpoint.close(now);
        }
        if stop.is_some_and(|until| now >= until || shard.endpoint.connections() == 0) {
            break;
        }
        shard.letters(now);
        let mut more = false;
        if readable {
            more = shard.packets(now);
            // Taking in many takes a while.
            now = Instant::now();
        }
        shard.endpoint.timeout(now);
        shard.turn(now);
        shard.transmit(now);
        readable = more;
        if more {
            continue;
        }
        let wake = [shard.endpoint.deadline(), shard.app.deadline(), stop];
        let wake = wake.into_iter().flatten().min();
        pace.sleeps(Instant::now());
        readable = shard.sleep(wake, &shared);
    }
    tracing::debug!(
        shard = index,
        left = shard.endpoint.connections(),
        "shard ends"
    );
}

impl<A: App> Shard<A> {
    fn letters(&mut self, now: Instant) {
        for _ in 0..MAX_LETTERS {
            match self.inbox.next() {
                None => return,
                Some(Letter::Packet(packet)) => self.endpoint.receive(now, packet),
                Some(Letter::Message(message)) => {
                    let mut io = Io {
                        now,
                        shard: self.index,
                        endpoint: &mut self.endpoint,
                        siblings: &self.siblings,
                    };
                    self.app.message(&mut io, message);
                }
            }
        }
    }

    /// Takes packets in. True: there may be more.
    fn packets(&mut self, now: Instant) -> bool {
        let Self {
            index,
            endpoint,
            socket,
            siblings,
            ..
        } = self;
        for _ in 0..MAX_BATCHES {
            let more = socket.receive(|packet| match packet.shard().map(usize::from) {
                Some(shard) if shard != *index && shard < siblings.len() => {
                    siblings[shard].hand(packet);
                }
                _ => endpoint.receive(now, packet),
            });
            match more {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    // Such as the unreachable port of a peer that is gone: the next read goes on.
                    tracing::debug!(%error, "receiving failed");
                    return false;
                }
            }
        }
        true
    }

    fn turn(&mut self, now: Instant) {
        let mut io = Io {
            now,
            shard: self.index,
            endpoint: &mut self.endpoint,
            siblings: &self.siblings,
        };
        // Acting on events may cause others; a few rounds are enough for all that ends by itself.
        for _ in 0..MAX_ROUNDS {
            let mut quiet = true;
            while let Some((session, event)) = io.endpoint.poll(now) {
                quiet = false;
                self.app.event(&mut io, session, event);
            }
            self.app.settle(&mut io);
            if quiet {
                break;
            }
        }
    }

    fn transmit(&mut self, now: Instant) {
        if let Some(stuck) = self.stuck {
            if !self.socket.send(&stuck, &self.buffer) {
                return;
            }
            self.stuck = None;
        }
        let segments = self.socket.segments();
        loop {
            self.buffer.clear();
            let transmit = self.endpoint.poll_transmit(now, segments, &mut self.buffer);
            let Some(transmit) = transmit else { return };
            if !self.socket.send(&transmit, &self.buffer) {
                self.stuck = Some(transmit);
                return;
            }
        }
    }

    /// Waits for packets, messages or a time. True: there are packets.
    fn sleep(&mut self, wake: Option<Instant>, shared: &Shared) -> bool {
        if !self.inbox.doze() {
            return false;
        }
        if shared.stopping.load(Ordering::SeqCst) {
            // Rung before the doze; it is looked at each turn, so never for long.
            self.inbox.wake(false);
            let soon = Instant::now() + Duration::from_millis(1);
            let wake = wake.map_or(soon, |wake| wake.min(soon));
            return self.poll(Some(wake)).0;
        }
        let (readable, rung) = self.poll(wake);
        self.inbox.wake(rung);
        readable
    }

    fn poll(&self, wake: Option<Instant>) -> (bool, bool) {
        let timeout = wake.map(|wake| {
            let left = wake.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, self.stuck.is_some());
        let bell = self.inbox.bell();
        let socket = self.socket.fd();
        let mut fds = [
            PollFd::from_borrowed_fd(socket, wanted),
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let came = |fd: &PollFd<'_>| {
                    fd.revents()
                        .intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP)
                };
                (came(&fds[0]), came(&fds[1]))
            }
            Err(rustix::io::Errno::INTR) => (false, false),
            Err(error) => {
                tracing::error!(%error, "waiting failed");
                (true, true)
            }
        }
    }
}
