//! A shard's UDP socket: batches in, segments out.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::fd::{AsFd, BorrowedFd};

use crate::error::BindError;
use crate::udp;
use crate::wt::{Ecn, Received, Transmit};

/// The most segments of one send: as many full packets as the 64 KiB that the kernel takes at once hold.
const MAX_SEGMENTS: usize = 44;
/// What the kernel may give for one entry of a batch: datagrams that it has put together.
const ENTRY: usize = 64 << 10;

/// Sockets of one port, one for each shard, in order.
pub(super) fn bind(addr: SocketAddr, shards: usize) -> Result<Vec<Socket>, BindError> {
    let error = |source| BindError::Address { addr, source };
    // With a shared port the kernel would let us listen beside a stranger without a word: ask alone first.
    let alone = udp::socket(addr, false).map_err(error)?;
    if shards == 1 {
        return Ok(vec![Socket::new(alone).map_err(error)?]);
    }
    let addr = alone.local_addr().map_err(error)?;
    drop(alone);
    let sockets = (0..shards).map(|_| udp::socket(addr, true).and_then(Socket::new));
    sockets.collect::<io::Result<_>>().map_err(error)
}

pub(super) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    entries: Vec<u8>,
}

impl Socket {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let entries = vec![0; ENTRY * BATCH_SIZE];
        Ok(Self {
            socket,
            state,
            entries,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The most segments that one send may have now.
    pub(super) fn segments(&self) -> usize {
        self.state.max_gso_segments().min(MAX_SEGMENTS)
    }

    /// Takes a batch of what has come. False: that was all there was.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Received)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut entries = self.entries.chunks_exact_mut(ENTRY);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(entries.next().unwrap_or_default()));
        let socket = UdpSockRef::from(&self.socket);
        let count = match self.state.recv(socket, &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        for (meta, entry) in metas.iter().zip(&slices).take(count) {
            let ecn = meta.ecn.map(|ecn| match ecn {
                EcnCodepoint::Ect0 => Ecn::Ect0,
                EcnCodepoint::Ect1 => Ecn::Ect1,
                EcnCodepoint::Ce => Ecn::Ce,
            });
            for datagram in entry[..meta.len].chunks(meta.stride.max(1)) {
                take(Received {
                    from: meta.addr,
                    to: meta.dst_ip,
                    ecn,
                    payload: BytesMut::from(datagram),
                });
            }
        }
        Ok(count == BATCH_SIZE)
    }

    /// Sends. False: the kernel takes nothing more now.
    pub(super) fn send(&self, transmit: &Transmit, contents: &[u8]) -> bool {
        let ecn = transmit.ecn.map(|ecn| match ecn {
            Ecn::Ect0 => EcnCodepoint::Ect0,
            Ecn::Ect1 => EcnCodepoint::Ect1,
            Ecn::Ce => EcnCodepoint::Ce,
        });
        let transmit = quinn_udp::Transmit {
            destination: transmit.to,
            ecn,
            contents,
            segment_size: transmit.segment,
            src_ip: transmit.from,
        };
        // Any other error is logged there and the packet lost, which is no news to QUIC.
        match self.state.send(UdpSockRef::from(&self.socket), &transmit) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(()) => true,
        }
    }
}
