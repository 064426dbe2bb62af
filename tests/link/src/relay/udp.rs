//! One client's UDP flow: its own socket towards the target, its own two links.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::model::{Discipline, Link};
use crate::relay::engine::{Clock, Dice};
use crate::relay::wait::{Interest, Poller};
use crate::{Conditions, Counters};

/// Reading stops after so many packets, so that one busy flow does not make the others late.
const READ_AT_ONCE: usize = 64;

/// Rebinding keeps so many former sockets open and unread: what is sent to them vanishes, as at a NAT.
const RETIRED: usize = 8;

/// As large as the kernel grants, so that bursts wait in the model and not in front of it.
const SOCKET_BUFFER: usize = 4 << 20;

pub(crate) struct Flow {
    pub(crate) client: SocketAddr,
    pub(crate) up: Link<Vec<u8>>,
    pub(crate) down: Link<Vec<u8>>,
    pub(crate) last_seen: Duration,
    pub(crate) refused: u64,
    target: SocketAddr,
    token: u64,
    upstream: UdpSocket,
    retired: Vec<UdpSocket>,
}

pub(crate) fn listen(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    socket.set_nonblocking(true)?;
    widen(&socket);
    Ok(socket)
}

fn widen(socket: &UdpSocket) {
    // The kernel trims the wish to its limit; where it refuses, its default has to do.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER);
}

/// A socket towards the target, from an address of this machine or whichever the system takes.
fn connect(target: SocketAddr, from: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => [0_u8; 4].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((from.unwrap_or(any), 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(target)?;
    widen(&socket);
    Ok(socket)
}

/// Takes what `receive` yields until it is dry or has had its turn; `take` gets each packet's bytes.
pub(crate) fn read<A>(
    buffer: &mut [u8],
    mut receive: impl FnMut(&mut [u8]) -> io::Result<(usize, A)>,
    mut take: impl FnMut(A, &[u8]),
) {
    for _ in 0..READ_AT_ONCE {
        match receive(buffer) {
            Ok((bytes, from)) => take(from, buffer.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // A queued ICMP error (nobody listens at the target): reading it has cleared it.
            Err(_) => {}
        }
    }
}

impl Flow {
    pub(crate) fn open(
        poller: &Poller,
        token: u64,
        client: SocketAddr,
        target: SocketAddr,
        conditions: (Conditions, Conditions),
        dice: Dice,
        now: Duration,
    ) -> io::Result<Self> {
        let upstream = connect(target, None)?;
        poller.add(&upstream, token, Interest::READ)?;
        Ok(Self {
            client,
            up: Link::new(Discipline::Datagram, conditions.0, dice.up),
            down: Link::new(Discipline::Datagram, conditions.1, dice.down),
            last_seen: now,
            refused: 0,
            target,
            token,
            upstream,
            retired: Vec::new(),
        })
    }

    /// A packet came from the client.
    pub(crate) fn take_from_client(&mut self, now: Duration, packet: &[u8]) {
        self.last_seen = now;
        self.up.send(now, packet.len(), packet.to_vec());
    }

    /// The socket towards the target is readable.
    pub(crate) fn read_target(&mut self, clock: &Clock, buffer: &mut [u8]) {
        let Self {
            upstream,
            down,
            last_seen,
            ..
        } = self;
        read(
            buffer,
            |buffer| upstream.recv(buffer).map(|bytes| (bytes, ())),
            |(), packet| {
                let now = clock.now();
                *last_seen = now;
                down.send(now, packet.len(), packet.to_vec());
            },
        );
    }

    /// Sends on what is due.
    pub(crate) fn pump(&mut self, now: Duration, listener: &UdpSocket) {
        while let Some(packet) = self.up.poll(now) {
            if self.upstream.send(&packet).is_err() {
                // An error may be an earlier packet's (nobody listened): it is cleared now, so try once more.
                self.refused += u64::from(self.upstream.send(&packet).is_err());
            }
        }
        while let Some(packet) = self.down.poll(now) {
            self.refused += u64::from(listener.send_to(&packet, self.client).is_err());
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        [self.up.deadline(), self.down.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Moves to a new source port, and to another source address where one is named.
    pub(crate) fn rebind(&mut self, poller: &Poller, to: Option<IpAddr>) -> io::Result<()> {
        let fresh = connect(self.target, to)?;
        poller.add(&fresh, self.token, Interest::READ)?;
        let former = std::mem::replace(&mut self.upstream, fresh);
        poller.remove(&former)?;
        self.retired.push(former);
        if self.retired.len() > RETIRED {
            self.retired.remove(0);
        }
        Ok(())
    }

    pub(crate) fn counters(&self) -> (Counters, Counters) {
        (self.up.counters(), self.down.counters())
    }
}
