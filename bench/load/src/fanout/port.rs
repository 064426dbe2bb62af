//! A UDP socket of the load client and the sessions on it.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use darktower_net::wt::{Calling, Ecn, Endpoint, Received, Transmit};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// As many full packets as the 64 KiB that the kernel takes at once hold.
const MAX_SEGMENTS: usize = 44;
/// Kernel buffer asked for in each direction.
const BUFFER: usize = 4 << 20;
/// A send buffer that does not empty within this is an error of the machine.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// One `sendmsg` takes no more.
const MOST_BYTES: usize = 64 << 10;

/// What many ports share: none is in use while another is.
pub(super) struct Buffers {
    incoming: Vec<Vec<u8>>,
    outgoing: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            incoming: vec![vec![0; MOST_BYTES]; BATCH_SIZE],
            outgoing: Vec::with_capacity(MOST_BYTES),
        }
    }
}

/// A socket and its endpoint.
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    pub(super) endpoint: Endpoint,
}

impl Port {
    pub(super) fn open(calling: &Calling) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), BUFFER)?;
        state.set_send_buffer_size((&socket).into(), BUFFER)?;
        let endpoint = calling.endpoint()?;
        Ok(Self {
            socket,
            state,
            endpoint,
        })
    }

    /// Takes one batch of what has come; false where nothing has.
    pub(super) fn receive(&mut self, buffers: &mut Buffers) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let incoming = buffers.incoming.iter_mut();
        let mut slices: Vec<_> = incoming.map(|buffer| IoSliceMut::new(buffer)).collect();
        let taken = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut metas)
        {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // A port that is closed over there answers so; the sessions find out by themselves.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        for (meta, buffer) in metas[..taken].iter().zip(&buffers.incoming) {
            for payload in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.endpoint.receive(
                    now,
                    Received {
                        from: meta.addr,
                        to: meta.dst_ip,
                        ecn: meta.ecn.map(marked),
                        payload: BytesMut::from(payload),
                    },
                );
            }
        }
        Ok(taken > 0)
    }

    /// Sends all that sessions have to send.
    pub(super) fn transmit(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        let now = Instant::now();
        let segments = self.state.max_gso_segments().min(MAX_SEGMENTS);
        loop {
            let out = &mut buffers.outgoing;
            out.clear();
            let Some(transmit) = self.endpoint.poll_transmit(now, segments, out) else {
                return Ok(());
            };
            self.send(&transmit, &buffers.outgoing)?;
        }
    }

    fn send(&self, transmit: &Transmit, bytes: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.to,
            ecn: transmit.ecn.map(mark),
            contents: &bytes[..transmit.len],
            segment_size: transmit.segment,
            src_ip: None,
        };
        loop {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
                done => return done,
            }
        }
    }

    fn wait_for_room(&self) -> io::Result<()> {
        let timeout = Timespec::try_from(ROOM_WITHIN).map_err(io::Error::other)?;
        let mut wanted = [PollFd::new(&self.socket, PollFlags::OUT)];
        match poll(&mut wanted, Some(&timeout))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn marked(ecn: EcnCodepoint) -> Ecn {
    match ecn {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

fn mark(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}
