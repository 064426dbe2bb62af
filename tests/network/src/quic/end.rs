//! One end of a connection: streams and datagrams by the numbers of the cores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint, Event,
    ReadError, ServerConfig, StreamEvent, StreamId, VarInt, WriteError,
};

use super::{Clock, Configs, config::NAME};

/// A stream as the cores number it; [`Stream::CONTROL`] is the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream(pub(crate) u64);

impl Stream {
    pub(crate) const CONTROL: Self = Self(u64::MAX);
}

/// What an end has heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Connected {
        max_datagram: usize,
    },
    /// Bytes of a stream that the peer opened, or of the control stream.
    Data {
        stream: Stream,
        bytes: Bytes,
        fin: bool,
    },
    Reset {
        stream: Stream,
    },
    Datagram(Bytes),
    /// So many bytes of an own stream were taken over by QUIC.
    Drained {
        stream: Stream,
        bytes: usize,
    },
    /// The peer reads no more of an own stream.
    Stopped {
        stream: Stream,
    },
    Lost,
}

#[derive(Debug, Default)]
struct Outgoing {
    id: Option<StreamId>,
    priority: i32,
    /// What QUIC has not taken over, each piece with the length to report.
    pieces: VecDeque<(Bytes, usize)>,
    fin: bool,
    /// Finished or reset: nothing is left to do but to be acknowledged.
    over: bool,
}

pub(crate) struct End {
    clock: Clock,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    conn: Option<Connection>,
    peer: SocketAddr,
    outgoing: BTreeMap<Stream, Outgoing>,
    /// Our names of the streams that are written and of those that are read.
    own: BTreeMap<StreamId, Stream>,
    theirs: BTreeMap<StreamId, Stream>,
    accepted: u64,
    heard: VecDeque<Heard>,
    packets: VecDeque<(Option<EcnCodepoint>, Bytes)>,
    /// Something happened since packets were last taken.
    touched: bool,
    /// When QUIC's next timer is due, as of then.
    due: Option<Duration>,
}

impl End {
    pub(crate) fn client(
        clock: Clock,
        now: Duration,
        seed: u64,
        config: ClientConfig,
    ) -> anyhow::Result<Self> {
        let mut endpoint = Endpoint::new(Configs::endpoint(seed), None, false, None);
        let peer = SocketAddr::from(([10, 0, 0, 1], 443));
        let (handle, conn) = endpoint.connect(clock.at(now), config, peer, NAME)?;
        Ok(Self::new(clock, endpoint, handle, Some(conn), peer))
    }

    /// Waits for its client.
    pub(crate) fn server(clock: Clock, seed: u64, config: Arc<ServerConfig>) -> Self {
        let endpoint = Endpoint::new(Configs::endpoint(seed), Some(config), false, None);
        let peer = SocketAddr::from(([10, 0, 0, 2], 50_000));
        Self::new(clock, endpoint, ConnectionHandle(0), None, peer)
    }

    fn new(
        clock: Clock,
        endpoint: Endpoint,
        handle: ConnectionHandle,
        conn: Option<Connection>,
        peer: SocketAddr,
    ) -> Self {
        Self {
            clock,
            endpoint,
            handle,
            conn,
            peer,
            outgoing: BTreeMap::new(),
            own: BTreeMap::new(),
            theirs: BTreeMap::new(),
            accepted: 0,
            heard: VecDeque::new(),
            packets: VecDeque::new(),
            touched: true,
            due: None,
        }
    }

    /// A packet of the peer arrived.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        ecn: Option<EcnCodepoint>,
        packet: &[u8],
    ) -> anyhow::Result<()> {
        self.touched = true;
        let (at, mut answer) = (self.clock.at(now), Vec::new());
        let data = BytesMut::from(packet);
        let event = self
            .endpoint
            .handle(at, self.peer, None, ecn, data, &mut answer);
        match event {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some(conn) = &mut self.conn {
                    conn.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, at, &mut answer, None);
                let (handle, conn) = accepted.map_err(|e| e.cause).context("accepting")?;
                anyhow::ensure!(self.conn.is_none(), "a second connection at one end");
                (self.handle, self.conn) = (handle, Some(conn));
            }
            Some(DatagramEvent::Response(transmit)) => {
                let packet = Bytes::copy_from_slice(&answer[..transmit.size]);
                self.packets.push_back((transmit.ecn, packet));
            }
            None => {}
        }
        Ok(())
    }

    /// Opens a stream; what cannot be opened yet is opened when the peer allows it.
    pub(crate) fn open(&mut self, stream: Stream, priority: i32) {
        self.touched = true;
        let outgoing = Outgoing {
            priority,
            ..Outgoing::default()
        };
        self.outgoing.insert(stream, outgoing);
    }

    /// Writes a piece, whose end is reported as `counted` bytes drained.
    pub(crate) fn write(&mut self, stream: Stream, bytes: Bytes, counted: usize) {
        self.touched = true;
        if let Some(out) = self.outgoing.get_mut(&stream) {
            out.pieces.push_back((bytes, counted));
        }
    }

    pub(crate) fn finish(&mut self, stream: Stream) {
        self.touched = true;
        if let Some(out) = self.outgoing.get_mut(&stream) {
            out.fin = true;
        }
    }

    pub(crate) fn reset(&mut self, stream: Stream, code: u32) {
        self.touched = true;
        let Some(out) = self.outgoing.remove(&stream) else {
            return;
        };
        if let (Some(id), Some(conn)) = (out.id, &mut self.conn) {
            self.own.remove(&id);
            // A stream whose end the peer has acknowledged cannot be reset any more.
            let _ = conn.send_stream(id).reset(VarInt::from_u32(code));
        }
    }

    /// Reads no more of a stream that the peer opened.
    pub(crate) fn stop(&mut self, stream: Stream, code: u32) {
        self.touched = true;
        let id = self.theirs.iter().find(|(_, name)| **name == stream);
        if let (Some((&id, _)), Some(conn)) = (id, &mut self.conn) {
            // It may have ended by itself.
            let _ = conn.recv_stream(id).stop(VarInt::from_u32(code));
        }
    }

    /// A datagram that the path does not take is lost like any other.
    pub(crate) fn datagram(&mut self, bytes: Bytes) {
        self.touched = true;
        if let Some(conn) = &mut self.conn {
            let _ = conn.datagrams().send(bytes, true);
        }
    }

    /// Bytes of a stream that QUIC has not taken over.
    pub(crate) fn backlog(&self, stream: Stream) -> usize {
        let out = self.outgoing.get(&stream);
        out.map_or(0, |out| out.pieces.iter().map(|(_, counted)| counted).sum())
    }

    pub(crate) fn backlogs(&self) -> impl Iterator<Item = (Stream, usize)> + '_ {
        let video = self.outgoing.keys().filter(|it| **it != Stream::CONTROL);
        video.map(|&stream| (stream, self.backlog(stream)))
    }

    /// Its congestion controller may allow something else now.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    /// How much QUIC may hold: unacknowledged and unsent.
    pub(crate) fn set_send_window(&mut self, bytes: u64) {
        if let Some(conn) = &mut self.conn {
            conn.set_send_window(bytes);
        }
    }

    pub(crate) fn heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// When [`End::settle`] must be called; nothing has to be looked at before, unless
    /// packets or wishes came.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        if self.touched {
            return Some(Duration::ZERO);
        }
        self.due
    }

    /// Lets QUIC do what is due, and tells what came of it by [`End::heard`].
    pub(crate) fn settle(&mut self, now: Duration) {
        let Some(conn) = &mut self.conn else { return };
        let at = self.clock.at(now);
        if self.due.is_some_and(|due| due <= now) {
            conn.handle_timeout(at);
            self.touched = true;
        }
        if !self.touched {
            return;
        }
        while let Some(event) = conn.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                conn.handle_event(event);
            }
        }
        let mut readable = BTreeSet::new();
        while let Some(event) = conn.poll() {
            match event {
                Event::Connected => {
                    let max_datagram = conn.datagrams().max_size().unwrap_or(0);
                    self.heard.push_back(Heard::Connected { max_datagram });
                }
                Event::ConnectionLost { .. } => self.heard.push_back(Heard::Lost),
                Event::DatagramReceived => {
                    while let Some(bytes) = conn.datagrams().recv() {
                        self.heard.push_back(Heard::Datagram(bytes));
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    readable.insert(id);
                }
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = conn.streams().accept(dir) {
                        let name = match dir {
                            Dir::Bi => Stream::CONTROL,
                            Dir::Uni => Stream(self.accepted),
                        };
                        if dir == Dir::Uni {
                            self.accepted += 1;
                        } else {
                            self.own.insert(id, name);
                            // What is said must not wait behind what is shown.
                            let _ = conn.send_stream(id).set_priority(i32::MAX);
                            let id = Some(id);
                            self.outgoing.insert(name, Outgoing { id, ..control() });
                        }
                        self.theirs.insert(id, name);
                        readable.insert(id);
                    }
                }
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    if let Some(stream) = self.own.remove(&id) {
                        self.outgoing.remove(&stream);
                        // Until it is reset QUIC goes on sending what it holds.
                        let _ = conn.send_stream(id).reset(VarInt::from_u32(0));
                        self.heard.push_back(Heard::Stopped { stream });
                    }
                }
                Event::Stream(StreamEvent::Finished { id }) => {
                    if let Some(stream) = self.own.remove(&id) {
                        self.outgoing.remove(&stream);
                    }
                }
                Event::HandshakeDataReady
                | Event::DatagramsUnblocked
                | Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. }) => {}
            }
        }
        for id in readable {
            self.read(id);
        }
    }

    fn read(&mut self, id: StreamId) {
        let (Some(conn), Some(&stream)) = (&mut self.conn, self.theirs.get(&id)) else {
            return;
        };
        let mut recv = conn.recv_stream(id);
        // Stopped, or read to its end before.
        let Ok(mut chunks) = recv.read(true) else {
            return;
        };
        let mut over = false;
        loop {
            let heard = match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => Heard::Data {
                    stream,
                    bytes: chunk.bytes,
                    fin: false,
                },
                Ok(None) => {
                    over = true;
                    let bytes = Bytes::new();
                    let fin = true;
                    Heard::Data { stream, bytes, fin }
                }
                Err(ReadError::Reset(_)) => {
                    over = true;
                    Heard::Reset { stream }
                }
                Err(ReadError::Blocked) => break,
            };
            self.heard.push_back(heard);
            if over {
                break;
            }
        }
        // Flow control is updated with the packets that leave next.
        let _ = chunks.finalize();
        if over {
            self.theirs.remove(&id);
        }
    }

    /// Hands what waits to QUIC and takes the packets that may leave now.
    pub(crate) fn transmit(&mut self, now: Duration) -> Vec<(Option<EcnCodepoint>, Bytes)> {
        if !std::mem::take(&mut self.touched) {
            return Vec::new();
        }
        self.flush();
        let mut packets: Vec<_> = self.packets.drain(..).collect();
        let Some(conn) = &mut self.conn else {
            return packets;
        };
        let at = self.clock.at(now);
        let mut buffer = Vec::new();
        while let Some(transmit) = conn.poll_transmit(at, 10, &mut buffer) {
            let size = transmit.segment_size.unwrap_or(transmit.size).max(1);
            let whole = &buffer[..transmit.size];
            let each = whole
                .chunks(size)
                .map(|one| (transmit.ecn, Bytes::copy_from_slice(one)));
            packets.extend(each);
            buffer.clear();
        }
        // Rounded up, or the timer would not be due yet at its own time.
        let due = conn.poll_timeout().map(|due| self.clock.since(due));
        self.due = due.map(|due| due + Duration::from_nanos(1));
        // What flushing made room for is told with the next round.
        self.touched = !self.heard.is_empty();
        packets
    }

    fn flush(&mut self) {
        let Some(conn) = &mut self.conn else { return };
        // The newest first, as QUIC sends them: where its buffer is full an old
        // stream must not take the place of a new one.
        let mut order: Vec<_> = self.outgoing.keys().copied().collect();
        order.sort_by_key(|it| core::cmp::Reverse(self.outgoing.get(it).map(|o| o.priority)));
        for stream in order {
            let Some(out) = self.outgoing.get_mut(&stream) else {
                continue;
            };
            if out.over {
                continue;
            }
            if out.id.is_none() {
                let dir = match stream {
                    Stream::CONTROL => Dir::Bi,
                    _ => Dir::Uni,
                };
                let Some(id) = conn.streams().open(dir) else {
                    continue;
                };
                out.id = Some(id);
                self.own.insert(id, stream);
                if dir == Dir::Bi {
                    self.theirs.insert(id, stream);
                }
                // The stream is new: it can neither be closed nor finished.
                let _ = conn.send_stream(id).set_priority(out.priority);
            }
            let Some(id) = out.id else { continue };
            while let Some((bytes, counted)) = out.pieces.front_mut() {
                match conn.send_stream(id).write(bytes) {
                    Ok(written) => {
                        let _ = bytes.split_to(written);
                    }
                    Err(WriteError::Blocked) => break,
                    Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                        out.over = true;
                        self.heard.push_back(Heard::Stopped { stream });
                        break;
                    }
                }
                if bytes.is_empty() {
                    let bytes = *counted;
                    out.pieces.pop_front();
                    self.heard.push_back(Heard::Drained { stream, bytes });
                }
            }
            if out.fin && out.pieces.is_empty() && !out.over {
                out.over = true;
                // A peer that stopped it needs no end.
                let _ = conn.send_stream(id).finish();
            }
        }
    }
}

fn control() -> Outgoing {
    Outgoing {
        priority: i32::MAX,
        ..Outgoing::default()
    }
}
