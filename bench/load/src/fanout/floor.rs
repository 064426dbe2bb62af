//! What no server of sealed QUIC packets gets below on this machine, measured in the same minute as the server.
//!
//! For each frame: its bytes copied into packets, each packet sealed by AES-128-GCM and its header protected, all of
//! them sent by one `sendmsg` with segmentation offload, and one packet of the size of an acknowledgement received by
//! one call. No connection, no stream, no timer, no retransmission. Paced like the row `video-1x100`: 100 frames every
//! 33 ms, then the acknowledgements; a thread that wakes so seldom pays for cold caches as a server does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use ring::aead::quic::{self, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::usage;

/// Frames between two pauses: the subscribers of `video-1x100`.
const BURST: usize = 100;
const EVERY: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Packets after path MTU discovery, as large as QUIC implementations go by default.
const PACKET: usize = 1452;
/// Short header with an 8-byte connection id and a 2-byte packet number.
const HEADER: usize = 11;
const TAG: usize = 16;
/// A STREAM frame's type, id, offset and length.
const STREAM_FRAME: usize = 12;
/// An acknowledgement on the wire: header, ACK frame, tag.
const ACK: usize = 40;
/// An acknowledgement that does not come is an error of the machine, not a cost.
const ACK_WITHIN: Duration = Duration::from_secs(1);

/// What one probe found.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// CPU of the sending thread for each frame, in microseconds.
    pub us_per_frame: f64,
    /// Frames it was measured on.
    pub frames: u64,
    /// Packets of one frame.
    pub packets: usize,
}

/// Measures frames of `bytes` for about `time`.
pub fn probe(bytes: usize, time: Duration) -> anyhow::Result<Floor> {
    let receiver = socket()?;
    let to = receiver.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let packets = bytes.div_ceil(PACKET - HEADER - STREAM_FRAME - TAG);
    let answering = std::thread::spawn(move || answer(&receiver, packets, &stopped));
    let sent = std::thread::spawn(move || send(to, bytes, time)).join();
    stop.store(true, Ordering::Relaxed);
    let answered = answering.join();
    answered.map_err(|_| anyhow::anyhow!("the probe's receiver panicked"))??;
    sent.map_err(|_| anyhow::anyhow!("the probe's sender panicked"))?
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let state = UdpSocketState::new((&socket).into())?;
    state.set_recv_buffer_size((&socket).into(), 4 << 20)?;
    state.set_send_buffer_size((&socket).into(), 4 << 20)?;
    Ok(socket)
}

fn readable(socket: &UdpSocket, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    let mut wanted = [PollFd::new(socket, PollFlags::IN)];
    Ok(poll(&mut wanted, Some(&timeout))? > 0)
}

/// A frame in packets as a sender holds it.
struct Sealer {
    payload: LessSafeKey,
    header: HeaderProtectionKey,
    next_packet: u64,
    out: Vec<u8>,
}

impl Sealer {
    fn new() -> anyhow::Result<Self> {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).ok();
        let header = HeaderProtectionKey::new(&quic::AES_128, &[9; 16]).ok();
        Ok(Self {
            payload: LessSafeKey::new(key.context("no AES-128-GCM")?),
            header: header.context("no header protection")?,
            next_packet: 0,
            out: Vec::with_capacity(64 << 10),
        })
    }

    /// All packets of a frame, one behind the other.
    fn seal(&mut self, frame: &[u8]) -> anyhow::Result<&[u8]> {
        self.out.clear();
        for piece in frame.chunks(PACKET - HEADER - STREAM_FRAME - TAG) {
            let number = self.next_packet;
            self.next_packet += 1;
            let start = self.out.len();
            self.out.push(0x41);
            self.out.extend_from_slice(&[3; 8]);
            self.out.extend_from_slice(&(number as u16).to_be_bytes());
            let body = self.out.len();
            self.out.extend_from_slice(&[0x0e; STREAM_FRAME]);
            self.out.extend_from_slice(piece);
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_be_bytes());
            let (head, sealed) = self.out.split_at_mut(body);
            let aad = Aad::from(&head[start..]);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self
                .payload
                .seal_in_place_separate_tag(nonce, aad, sealed)
                .ok();
            self.out.extend_from_slice(tag.context("seal")?.as_ref());
            let sample = start + HEADER - 2 + 4;
            let mask = self.header.new_mask(&self.out[sample..sample + 16]).ok();
            let mask = mask.context("header protection")?;
            self.out[start] ^= mask[0] & 0x1f;
            self.out[start + HEADER - 2] ^= mask[1];
            self.out[start + HEADER - 1] ^= mask[2];
        }
        Ok(&self.out)
    }
}

fn send(to: SocketAddr, bytes: usize, time: Duration) -> anyhow::Result<Floor> {
    let socket = socket()?;
    let state = UdpSocketState::new((&socket).into())?;
    let frame = vec![0x5a; bytes];
    let mut sealer = Sealer::new()?;
    let (mut frames, mut ack) = (0_u64, [0; 2 * ACK]);
    let began = Instant::now();
    let before = usage::of_this_thread()?;
    for tick in 1_u32.. {
        for _ in 0..BURST {
            let contents = sealer.seal(&frame)?;
            let segment_size = (contents.len() > PACKET).then_some(PACKET);
            state.try_send(
                (&socket).into(),
                &Transmit {
                    destination: to,
                    ecn: None,
                    contents,
                    segment_size,
                    src_ip: None,
                },
            )?;
        }
        frames += BURST as u64;
        let mut waiting = BURST;
        while waiting > 0 {
            match socket.recv_from(&mut ack) {
                Ok(_) => waiting -= 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let came = readable(&socket, ACK_WITHIN)?;
                    anyhow::ensure!(came, "{waiting} acknowledgements did not come");
                }
                Err(error) => return Err(error.into()),
            }
        }
        if began.elapsed() >= time {
            break;
        }
        std::thread::sleep((began + EVERY * tick).saturating_duration_since(Instant::now()));
    }
    let used = usage::of_this_thread()?.saturating_sub(before);
    Ok(Floor {
        us_per_frame: used.as_secs_f64() * 1e6 / frames as f64,
        frames,
        packets: bytes.div_ceil(PACKET - HEADER - STREAM_FRAME - TAG),
    })
}

/// The other end: takes whole frames, acknowledges each.
fn answer(socket: &UdpSocket, packets: usize, stop: &AtomicBool) -> anyhow::Result<()> {
    let state = UdpSocketState::new(socket.into())?;
    let mut buffers = vec![vec![0; 64 << 10]; quinn_udp::BATCH_SIZE];
    let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
    let mut open = 0;
    while !stop.load(Ordering::Relaxed) {
        if !readable(socket, Duration::from_millis(20))? {
            continue;
        }
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| io::IoSliceMut::new(b)).collect();
        let taken = match state.recv(socket.into(), &mut slices, &mut metas) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        for meta in &metas[..taken] {
            open += meta.len.div_ceil(meta.stride.max(1));
            while open >= packets {
                open -= packets;
                socket.send_to(&[1; ACK], meta.addr)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_becomes_packets_that_open_again() {
        let mut sealer = Sealer::new().unwrap();
        let mut sealed = sealer.seal(&[0x5a; 3000]).unwrap().to_vec();
        assert_eq!(sealed.len(), 3000 + 3 * (HEADER + STREAM_FRAME + TAG));
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).unwrap());
        let hp = HeaderProtectionKey::new(&quic::AES_128, &[9; 16]).unwrap();
        for (number, packet) in sealed.chunks_mut(PACKET).enumerate() {
            let mask = hp.new_mask(&packet[HEADER + 2..HEADER + 18]).unwrap();
            packet[0] ^= mask[0] & 0x1f;
            packet[HEADER - 2] ^= mask[1];
            packet[HEADER - 1] ^= mask[2];
            let (head, body) = packet.split_at_mut(HEADER);
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&(number as u64).to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let opened = key.open_in_place(nonce, Aad::from(&*head), body).unwrap();
            assert!(opened[STREAM_FRAME..].iter().all(|byte| *byte == 0x5a));
        }
    }

    #[test]
    fn the_probe_measures_what_it_sends() {
        let floor = probe(6250, Duration::from_millis(100)).unwrap();
        assert_eq!((floor.frames % 100, floor.packets), (0, 5));
        assert!(floor.us_per_frame > 0.0, "{floor:?}");
    }
}
