//! One session on its own QUIC connection: what the service may do with it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use darktower_media::path::Path;
use quinn_proto::{Connection, Dir, SendDatagramError, Side, StreamId as QuicStream, VarInt};
use web_transport_proto::ConnectRequest;

use super::h3::{self, Capsules, Fronts};
use super::incoming::{self, Incoming, Progress, Unopened};
use super::outgoing::Outgoing;
use super::path::SharedPath;
use super::{Request, close};
use crate::error::{CloseReason, ClosedBy, DatagramError};
use crate::session::PathStats;
use crate::stream::CANCELLED;

mod drive;

/// A session of an endpoint, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub(super) slot: u32,
    pub(super) turn: u32,
}

impl SessionKey {
    /// Its place in the endpoint: small, and given to another session once this one is gone.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A stream of a session, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

/// Facts of a session.
#[derive(Debug)]
pub enum Event {
    /// At a server: a peer asks for a session. Answer with [`Session::accept`] or [`Session::refuse`].
    Requested(Request),
    /// At a client: the session is open.
    Opened,
    /// At a client: refused, with this HTTP status.
    Refused(u16),
    /// The peer has opened a stream. Read it now: what it brought along is announced no more.
    Stream {
        /// The stream.
        stream: StreamId,
        /// Whether it can be answered on.
        bidirectional: bool,
    },
    /// More of a stream can be read, or its end; or it has been read since.
    Readable(StreamId),
    /// The connection has taken so many bytes that had to wait.
    Drained {
        /// The stream.
        stream: StreamId,
        /// Bytes.
        bytes: usize,
    },
    /// The peer has acknowledged all of a finished stream.
    Delivered(StreamId),
    /// The peer wants no more of a stream, with this code where it is a WebTransport one.
    Stopped {
        /// The stream; it takes nothing more.
        stream: StreamId,
        /// Why.
        code: Option<u32>,
    },
    /// A datagram, with the session's number in front: see [`Session::datagram_front`].
    Datagram(Bytes),
    /// The session is over. Nothing follows.
    Closed(CloseReason),
}

#[derive(Debug)]
enum Stage {
    /// The ends are telling one another what they speak and want.
    Greeting,
    /// A request waits for the service's answer.
    Asked,
    Open,
    /// We have ended it; the peer is given until the deadline to read why.
    Leaving {
        code: VarInt,
        reason: CloseReason,
    },
    Over,
}

/// One session and its connection.
pub struct Session {
    pub(super) conn: Connection,
    pub(super) path: Option<SharedPath>,
    pub(super) events: VecDeque<Event>,
    stage: Stage,
    /// Whether the service knows of it.
    known: bool,
    /// Of the stage.
    pub(super) deadline: Option<Instant>,
    greeted: bool,
    peer_greeted: bool,
    /// What a client wants, and what a server has been asked for before SETTINGS came.
    request: Option<ConnectRequest>,
    connect: Option<QuicStream>,
    /// The CONNECT stream as far as it has been read and not understood.
    asked: Vec<u8>,
    capsules: Capsules,
    fronts: Fronts,
    incoming: BTreeMap<StreamId, Incoming>,
    unopened: Unopened,
    /// Streams of the peer that came before the session was open.
    early: Vec<(StreamId, QuicStream)>,
    outgoing: BTreeMap<StreamId, Outgoing>,
    ours: BTreeMap<QuicStream, StreamId>,
    next_ours: [u64; 2],
    waiting: [VecDeque<StreamId>; 2],
    /// Our last words on the CONNECT stream.
    farewell: Option<Outgoing>,
}

impl Session {
    pub(super) fn new(conn: Connection, request: Option<ConnectRequest>) -> Self {
        Self {
            conn,
            path: None,
            events: VecDeque::new(),
            stage: Stage::Greeting,
            // A client's service has asked for it.
            known: request.is_some(),
            deadline: None,
            greeted: false,
            peer_greeted: false,
            request,
            connect: None,
            asked: Vec::new(),
            capsules: Capsules::default(),
            fronts: Fronts::default(),
            incoming: BTreeMap::new(),
            unopened: Unopened::default(),
            early: Vec::new(),
            outgoing: BTreeMap::new(),
            ours: BTreeMap::new(),
            // The first of each kind are HTTP/3's.
            next_ours: [1; 2],
            waiting: [VecDeque::new(), VecDeque::new()],
            farewell: None,
        }
    }

    /// At a server: gives the peer its session. What is written now goes with the answer.
    pub fn accept(&mut self) {
        let (Stage::Asked, Some(connect)) = (&self.stage, self.connect) else {
            return;
        };
        self.answer(connect, http::StatusCode::OK);
        self.open(connect);
    }

    /// At a server: refuses it with an HTTP status. A browser's page sees only that opening failed.
    pub fn refuse(&mut self, now: Instant, status: u16) {
        let (Stage::Asked, Some(connect)) = (&self.stage, self.connect) else {
            return;
        };
        let status = http::StatusCode::from_u16(status);
        self.answer(
            connect,
            status.unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR),
        );
        // An error says that the peer did not wait for it.
        let _ = self.conn.send_stream(connect).finish();
        let reason = CloseReason {
            code: 0,
            reason: "refused".to_owned(),
            by: ClosedBy::Here,
        };
        self.leave(now, h3::NO_ERROR.into(), reason);
    }

    /// Opens a stream on which we send; among those with something to send, larger priorities go first and equal ones
    /// take turns. Where the peer allows no more now, what is written waits here.
    pub fn open_uni(&mut self, priority: i32) -> StreamId {
        self.open_stream(Dir::Uni, priority)
    }

    /// Opens a stream in both directions; see [`Session::open_uni`].
    pub fn open_bi(&mut self, priority: i32) -> StreamId {
        self.open_stream(Dir::Bi, priority)
    }

    /// Changes the priority of a stream.
    pub fn set_priority(&mut self, stream: StreamId, priority: i32) {
        if let Some(out) = self.outgoing.get_mut(&stream) {
            out.set_priority(&mut self.conn, priority);
        }
    }

    /// Writes to a stream. Returns how many bytes the connection took at once; the others wait here, and
    /// [`Event::Drained`] says when they have been taken. Nothing happens on a stream that is over.
    pub fn write(&mut self, stream: StreamId, bytes: Bytes) -> usize {
        let Some(out) = self.outgoing.get_mut(&stream) else {
            return 0;
        };
        // The peer's word for it is on its way as an event.
        out.write(&mut self.conn, bytes).unwrap_or_default()
    }

    /// Ends a stream behind what was written to it.
    pub fn finish(&mut self, stream: StreamId) {
        if let Some(out) = self.outgoing.get_mut(&stream) {
            // As above.
            let _ = out.finish(&mut self.conn);
        }
    }

    /// Gives a stream up: nothing more of it is sent or repeated, and the peer reads `code`.
    pub fn reset(&mut self, stream: StreamId, code: u32) {
        let Some(out) = self.outgoing.remove(&stream) else {
            return;
        };
        if let Some(quic) = out.quic {
            // An error says that the peer stopped it or has it all: nothing is left to give up.
            let _ = self.conn.send_stream(quic).reset(close::code(code));
            if quic.dir() == Dir::Uni {
                self.ours.remove(&quic);
            }
        }
    }

    /// Tells the peer to send no more on a stream; it reads `code`. What has arrived is discarded.
    pub fn stop(&mut self, stream: StreamId, code: u32) {
        if let Some(Incoming::Data(quic)) = self.incoming.remove(&stream) {
            // An error says that the stream is over already.
            let _ = self.conn.recv_stream(quic).stop(close::code(code));
        }
    }

    /// Hands on everything of a stream that has arrived in order. Who does not read makes the peer wait.
    pub fn read(&mut self, stream: StreamId, mut take: impl FnMut(Bytes)) -> Progress {
        let Some(Incoming::Data(quic)) = self.incoming.get(&stream) else {
            return Progress::Gone;
        };
        let progress = incoming::read(&mut self.conn, *quic, usize::MAX, |bytes| {
            take(bytes);
            false
        });
        if progress != Progress::Waits {
            self.incoming.remove(&stream);
        }
        progress
    }

    /// What stands in front of every datagram of this session: its number, almost always one byte.
    pub fn datagram_front(&self) -> &Bytes {
        &self.fronts.datagram
    }

    /// Queues a datagram that has [`Session::datagram_front`] in front, without a copy. Where the path is too slow the
    /// oldest queued ones are dropped.
    pub fn send_fronted_datagram(&mut self, datagram: Bytes) -> Result<(), DatagramError> {
        if !matches!(self.stage, Stage::Open) {
            return Ok(());
        }
        match self.conn.datagrams().send(datagram, true) {
            Ok(()) | Err(SendDatagramError::Blocked(_)) => Ok(()),
            Err(SendDatagramError::TooLarge) => Err(DatagramError::TooLarge),
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => {
                Err(DatagramError::Unsupported)
            }
        }
    }

    /// Queues a datagram; see [`Session::send_fronted_datagram`].
    pub fn send_datagram(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        let mut datagram = BytesMut::with_capacity(self.fronts.datagram.len() + payload.len());
        datagram.extend_from_slice(&self.fronts.datagram);
        datagram.extend_from_slice(payload);
        self.send_fronted_datagram(datagram.freeze())
    }

    /// Largest datagram payload the path takes now, in bytes; 0 if the peer takes none.
    pub fn max_datagram_size(&mut self) -> usize {
        let front = self.fronts.datagram.len();
        let max = self.conn.datagrams().max_size().unwrap_or_default();
        max.saturating_sub(front)
    }

    /// Ends the session. The peer is told code and reason, for which the connection lingers a moment; then
    /// [`Event::Closed`] follows.
    pub fn close(&mut self, now: Instant, code: u32, reason: &str) {
        let here = CloseReason {
            code,
            reason: reason.to_owned(),
            by: ClosedBy::Here,
        };
        match (&self.stage, self.connect) {
            (Stage::Open, Some(connect)) => {
                self.leave(now, close::code(code), here);
                // It may have to wait until what has just been given up has freed the peer's window. Errors say that
                // the peer is gone; the lingering finds that out.
                let mut farewell = Outgoing::answering(connect);
                let _ = farewell.write(&mut self.conn, h3::close(code, reason));
                let _ = farewell.finish(&mut self.conn);
                self.farewell = Some(farewell);
            }
            (Stage::Leaving { .. } | Stage::Over, _) => {}
            _ => self.end(now, close::code(code), here),
        }
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        self.conn.rtt()
    }

    /// Whether streams and datagrams flow.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Asked)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// The peer's address now; it changes when the peer moves to another network.
    pub fn peer(&self) -> SocketAddr {
        self.conn.remote_address()
    }

    /// Looks at, or speaks to, the path, at a server that has one under each connection.
    pub fn path<T>(&self, look: impl FnOnce(&mut Path) -> T) -> Option<T> {
        Some(look(&mut self.path.as_ref()?.get()))
    }

    /// How many bytes that have not been acknowledged are kept; what is written beyond waits, and can still be given
    /// up at no cost.
    pub fn set_send_window(&mut self, bytes: u64) {
        self.conn.set_send_window(bytes);
    }

    /// Statistics of the path.
    pub fn stats(&self) -> PathStats {
        let rate = self.conn.congestion_state().metrics().pacing_rate;
        PathStats::of(&self.conn.stats(), self.conn.min_rtt(), rate)
    }

    fn open_stream(&mut self, dir: Dir, priority: i32) -> StreamId {
        let side = u64::from(self.conn.side() == Side::Server);
        let stream = StreamId(self.next_ours[dir as usize] << 2 | (dir as u64) << 1 | side);
        self.next_ours[dir as usize] += 1;
        self.outgoing.insert(stream, Outgoing::new(priority));
        self.waiting[dir as usize].push_back(stream);
        self.open_waiting(dir);
        stream
    }

    /// Opens what the peer lets us open.
    fn open_waiting(&mut self, dir: Dir) {
        if !matches!(self.stage, Stage::Open) {
            return;
        }
        while let Some(&stream) = self.waiting[dir as usize].front() {
            // It may have been given up before it was opened.
            let Some(out) = self.outgoing.get_mut(&stream) else {
                self.waiting[dir as usize].pop_front();
                continue;
            };
            let Some(quic) = self.conn.streams().open(dir) else {
                return;
            };
            self.waiting[dir as usize].pop_front();
            self.ours.insert(quic, stream);
            let front = match dir {
                Dir::Uni => &self.fronts.uni,
                Dir::Bi => &self.fronts.bi,
            };
            let bytes = out.opened(&mut self.conn, quic, front);
            if bytes > 0 {
                self.events.push_back(Event::Drained { stream, bytes });
            }
            if dir == Dir::Bi {
                self.incoming.insert(stream, Incoming::Data(quic));
            }
        }
    }

    fn answer(&mut self, connect: QuicStream, status: http::StatusCode) {
        let mut answer = BytesMut::new();
        let response = web_transport_proto::ConnectResponse::new(status);
        // A status alone always has its encoding, and errors of the stream say that the peer did not wait.
        let _ = response.encode(&mut answer);
        let mut send = self.conn.send_stream(connect);
        let _ = send.write_chunks(&mut [answer.freeze()]);
    }

    fn open(&mut self, connect: QuicStream) {
        self.stage = Stage::Open;
        self.deadline = None;
        self.fronts = Fronts::of(VarInt::from(connect).into_inner());
        // Nothing else may keep the peer from learning that the session ends.
        let _ = self.conn.send_stream(connect).set_priority(i32::MAX);
        for (stream, quic) in std::mem::take(&mut self.early) {
            self.announce(stream, quic);
        }
        self.open_waiting(Dir::Uni);
        self.open_waiting(Dir::Bi);
    }

    fn announce(&mut self, stream: StreamId, quic: QuicStream) {
        let bidirectional = quic.dir() == Dir::Bi;
        if bidirectional {
            self.outgoing.insert(stream, Outgoing::answering(quic));
        }
        self.events.push_back(Event::Stream {
            stream,
            bidirectional,
        });
    }

    fn leave(&mut self, now: Instant, code: VarInt, reason: CloseReason) {
        // Nothing of them is read any more: what they hold of the peer's window is better used.
        for quic in self.outgoing.values().filter_map(|out| out.quic) {
            let _ = self.conn.send_stream(quic).reset(close::code(CANCELLED));
        }
        self.deadline = Some(close::linger(now, &self.conn));
        self.stage = Stage::Leaving { code, reason };
        self.forget_streams();
    }

    /// Ends the connection, and says why to the service.
    pub(super) fn end(&mut self, now: Instant, code: VarInt, reason: CloseReason) {
        let words = Bytes::copy_from_slice(reason.reason.as_bytes());
        self.conn.close(now, code, words);
        self.over(reason);
    }

    fn over(&mut self, reason: CloseReason) {
        let reason = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return,
            // What the peer made of it does not matter any more.
            Stage::Leaving { reason, .. } => reason,
            _ => reason,
        };
        self.deadline = None;
        self.forget_streams();
        if self.known {
            self.events.push_back(Event::Closed(reason));
        }
    }

    fn forget_streams(&mut self) {
        self.incoming
            .retain(|_, what| matches!(what, Incoming::Connect));
        self.outgoing.clear();
        self.ours.retain(|quic, _| Some(*quic) == self.connect);
        self.early.clear();
        self.waiting.iter_mut().for_each(VecDeque::clear);
    }
}
