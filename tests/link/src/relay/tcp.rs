//! One TCP connection: two sockets, and between them two links that carry the stream in segments.
//!
//! The kernel completes a client's handshake on loopback at once. So that a connection still costs what it
//! costs on a real path, the handshake is played over the links first: nothing the client says is read
//! before a SYN went up and a SYN-ACK came down, and the target is connected when the ACK arrives.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::model::{Discipline, Link};
use crate::relay::engine::{Clock, Dice};
use crate::relay::wait::{Interest, Poller, Ready};
use crate::{Conditions, Counters};

/// A segment's payload on a path of 1,500 bytes.
const SEGMENT: usize = 1448;
/// What a segment without payload weighs.
const BARE_SEGMENT: usize = 40;
/// Read at one go; also how far a full queue may be overshot.
const READ_AT_ONCE: usize = 16 * SEGMENT;
/// What may wait for a socket that does not take it; beyond, the link keeps it.
const OUTBOX: usize = 256 << 10;

/// What the links carry.
#[derive(Clone)]
pub(crate) enum Piece {
    Syn,
    SynAck,
    Ack,
    Data(Vec<u8>),
    Fin,
    Reset,
}

/// One of the two sockets.
struct End {
    stream: TcpStream,
    token: u64,
    /// What the poller was told, if it knows this socket.
    told: Option<Interest>,
    outbox: VecDeque<u8>,
    /// The handshake is over: it may be read and written.
    open: bool,
    /// Nothing more will be read.
    read_over: bool,
    /// Nothing more will be written after the outbox.
    write_ends: bool,
    /// Nothing more will be written.
    write_over: bool,
    /// It failed: what still comes for it is thrown away.
    broken: bool,
}

/// Which end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Target,
}

/// The connection has failed at this end.
struct Broken;

impl End {
    fn new(stream: TcpStream, token: u64) -> Self {
        Self {
            stream,
            token,
            told: None,
            outbox: VecDeque::new(),
            open: false,
            read_over: false,
            write_ends: false,
            write_over: false,
            broken: false,
        }
    }

    /// Reads into the link while that has room.
    fn read(
        &mut self,
        link: &mut Link<Piece>,
        clock: &Clock,
        buffer: &mut [u8],
    ) -> Result<(), Broken> {
        let most = buffer.len().min(READ_AT_ONCE);
        while !self.read_over && link.has_room(clock.now()) {
            match self.stream.read(buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) => {
                    self.read_over = true;
                    link.send(clock.now(), BARE_SEGMENT, Piece::Fin);
                }
                Ok(bytes) => {
                    let now = clock.now();
                    for segment in buffer.get(..bytes).unwrap_or_default().chunks(SEGMENT) {
                        link.send(now, segment.len(), Piece::Data(segment.to_vec()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// Writes what waits.
    fn flush(&mut self) -> Result<(), Broken> {
        if !self.open || self.broken {
            return Ok(());
        }
        while !self.outbox.is_empty() {
            let (first, _) = self.outbox.as_slices();
            match self.stream.write(first) {
                Ok(bytes) => drop(self.outbox.drain(..bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken),
            }
        }
        if self.write_ends && !self.write_over {
            self.write_over = true;
            return self.stream.shutdown(Shutdown::Write).map_err(|_| Broken);
        }
        Ok(())
    }

    /// This end failed: it is left alone from now on, and the other end hears of it over the link.
    fn fail(&mut self, link: &mut Link<Piece>, poller: &Poller, now: Duration) {
        if !self.broken {
            self.broken = true;
            self.read_over = true;
            self.write_over = true;
            self.outbox.clear();
            self.forget(poller);
            link.send(now, BARE_SEGMENT, Piece::Reset);
        }
    }

    fn watch(&mut self, poller: &Poller, wanted: Interest) -> io::Result<()> {
        match self.told {
            Some(told) if told == wanted => return Ok(()),
            Some(_) => poller.modify(&self.stream, self.token, wanted)?,
            None => poller.add(&self.stream, self.token, wanted)?,
        }
        self.told = Some(wanted);
        Ok(())
    }

    fn forget(&mut self, poller: &Poller) {
        if self.told.take().is_some() {
            // It fails only where the poller does not know the socket, which is what is wanted.
            let _ = poller.remove(&self.stream);
        }
    }

    fn is_clogged(&self) -> bool {
        self.outbox.len() > OUTBOX
    }

    fn is_held_back(&self) -> bool {
        self.open && !self.read_over && self.told.is_some_and(|told| !told.read)
    }
}

/// Begins to connect; the poller tells when it has come to something.
fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection from accept to the end of both directions.
pub(crate) struct Flow {
    pub(crate) up: Link<Piece>,
    pub(crate) down: Link<Piece>,
    client: End,
    target: Option<End>,
    target_token: u64,
    target_addr: SocketAddr,
    over: bool,
}

impl Flow {
    /// `tokens` are the poller's for the client's and the target's socket.
    pub(crate) fn open(
        client: TcpStream,
        target: SocketAddr,
        tokens: (u64, u64),
        conditions: (Conditions, Conditions),
        dice: Dice,
        now: Duration,
    ) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let mut up = Link::new(Discipline::Stream, conditions.0, dice.up);
        up.send(now, BARE_SEGMENT, Piece::Syn);
        Ok(Self {
            up,
            down: Link::new(Discipline::Stream, conditions.1, dice.down),
            client: End::new(client, tokens.0),
            target: None,
            target_token: tokens.1,
            target_addr: target,
            over: false,
        })
    }

    /// A socket is ready.
    pub(crate) fn on_ready(
        &mut self,
        side: Side,
        ready: Ready,
        poller: &Poller,
        clock: &Clock,
        buffer: &mut [u8],
    ) {
        let Some((end, link)) = self.end(side) else {
            return;
        };
        let mut outcome = Ok(());
        if !end.open && ready.write {
            let connected = rustix::net::sockopt::socket_error(&end.stream);
            end.open = matches!(connected, Ok(Ok(())));
            outcome = if end.open { Ok(()) } else { Err(Broken) };
        }
        if end.open {
            outcome = end.flush();
            if ready.read && outcome.is_ok() {
                outcome = end.read(link, clock, buffer);
            }
        }
        if outcome.is_err() {
            end.fail(link, poller, clock.now());
        } else if ready.hung_up && end.read_over {
            // The poller would report it for ever, and nothing can be written to it any more.
            if end.write_over {
                end.forget(poller);
            } else {
                end.fail(link, poller, clock.now());
            }
        }
    }

    /// Moves what is due, and tells the poller what to wait for next. `false`: the connection is over.
    pub(crate) fn pump(&mut self, poller: &Poller, now: Duration) -> bool {
        // The pieces of a handshake answer one another, at once on a perfect link: until nothing moves.
        loop {
            let mut moved = false;
            for side in [Side::Client, Side::Target] {
                while let Some(piece) = self.next_for(side, now) {
                    moved = true;
                    self.take(side, piece, poller, now);
                }
            }
            if !moved || self.over {
                break;
            }
        }
        let ended = self.client.read_over && self.client.write_over;
        let ended = ended
            && self
                .target
                .as_ref()
                .is_some_and(|end| end.read_over && end.write_over);
        if self.over || (ended && self.up.waiting() == 0 && self.down.waiting() == 0) {
            return false;
        }
        for side in [Side::Client, Side::Target] {
            let Some((end, link)) = self.end(side) else {
                continue;
            };
            let quiet = end.read_over && end.write_over;
            if quiet || (side == Side::Client && !end.open) {
                continue;
            }
            let wanted = Interest {
                read: end.open && !end.read_over && link.has_room(now),
                write: !end.open || !end.outbox.is_empty(),
            };
            if end.watch(poller, wanted).is_err() {
                end.fail(link, poller, now);
            }
        }
        true
    }

    /// When [`Self::pump`] has something to do again, unless a socket becomes ready before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let target = self.target.as_ref();
        // What is due for a clogged socket waits for that socket, and not for a time.
        let up = self
            .up
            .deadline()
            .filter(|_| !target.is_some_and(End::is_clogged));
        let down = self.down.deadline().filter(|_| !self.client.is_clogged());
        let up_room = self.up.departure().filter(|_| self.client.is_held_back());
        let down_room = self
            .down
            .departure()
            .filter(|_| target.is_some_and(End::is_held_back));
        [up, down, up_room, down_room].into_iter().flatten().min()
    }

    pub(crate) fn counters(&self) -> (Counters, Counters) {
        (self.up.counters(), self.down.counters())
    }

    /// An end, and the link that leads away from it.
    fn end(&mut self, side: Side) -> Option<(&mut End, &mut Link<Piece>)> {
        match side {
            Side::Client => Some((&mut self.client, &mut self.up)),
            Side::Target => self.target.as_mut().map(|target| (target, &mut self.down)),
        }
    }

    fn next_for(&mut self, side: Side, now: Duration) -> Option<Piece> {
        match side {
            Side::Client if !self.client.is_clogged() => self.down.poll(now),
            Side::Target if !self.target.as_ref().is_some_and(End::is_clogged) => self.up.poll(now),
            Side::Client | Side::Target => None,
        }
    }

    /// A piece has arrived at this side.
    fn take(&mut self, side: Side, piece: Piece, poller: &Poller, now: Duration) {
        match piece {
            Piece::Syn => self.down.send(now, BARE_SEGMENT, Piece::SynAck),
            Piece::SynAck => {
                self.client.open = true;
                self.up.send(now, BARE_SEGMENT, Piece::Ack);
            }
            Piece::Ack => match connect(self.target_addr) {
                Ok(stream) => self.target = Some(End::new(stream, self.target_token)),
                Err(_) => self.down.send(now, BARE_SEGMENT, Piece::Reset),
            },
            Piece::Data(_) | Piece::Fin => {
                // Without a target it could not be connected, and the client will hear of it.
                let Some((end, link)) = self.end(side) else {
                    return;
                };
                match piece {
                    Piece::Data(bytes) if !end.broken => end.outbox.extend(bytes),
                    Piece::Fin => end.write_ends = true,
                    _ => {}
                }
                if end.flush().is_err() {
                    end.fail(link, poller, now);
                }
            }
            Piece::Reset => {
                self.over = true;
                if let Some((end, _)) = self.end(side) {
                    // Closing then sends a reset; where the kernel refuses, an orderly end.
                    let _ =
                        rustix::net::sockopt::set_socket_linger(&end.stream, Some(Duration::ZERO));
                }
            }
        }
    }
}
