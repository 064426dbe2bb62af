//! What the endpoint, the peer and time make happen in a session.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{Dir, Event as QuicEvent, Side, StreamEvent, StreamId as QuicStream, VarInt};

use super::{Event, Session, Stage, StreamId};
use crate::error::{CloseReason, ClosedBy};
use crate::wt::h3::{self, Opening, Purpose};
use crate::wt::incoming::{self, Incoming, Progress};
use crate::wt::outgoing::Stopped;
use crate::wt::{Request, close};

/// The client's CONNECT stream, among the names of its own: the service's begin behind it.
const CONNECT: StreamId = StreamId(0);

impl Session {
    /// Takes in what has happened to the connection.
    pub(in crate::wt) fn pump(&mut self, now: Instant) {
        self.greet(now);
        while let Some(event) = self.conn.poll() {
            match event {
                QuicEvent::Stream(event) => self.stream_event(now, event),
                QuicEvent::DatagramReceived => self.datagrams(),
                QuicEvent::ConnectionLost { reason } => self.over(close::reason(&reason)),
                QuicEvent::Connected
                | QuicEvent::HandshakeDataReady
                | QuicEvent::DatagramsUnblocked => {}
            }
        }
    }

    /// When [`Session::timeout`] must be called at the latest.
    pub(in crate::wt) fn next_timeout(&mut self) -> Option<Instant> {
        let own = self.deadline.into_iter().chain(self.unopened.deadline());
        own.chain(self.conn.poll_timeout()).min()
    }

    pub(in crate::wt) fn timeout(&mut self, now: Instant) {
        if self.conn.poll_timeout().is_some_and(|at| at <= now) {
            self.conn.handle_timeout(now);
        }
        while let Some(quic) = self.unopened.overdue(now) {
            let Some(stream) = self.name(quic) else {
                continue;
            };
            if let Some(Incoming::Opening(_)) = self.incoming.get(&stream) {
                self.ignore(stream, quic, h3::STREAM_CREATION_ERROR);
            }
        }
        if self.deadline.is_none_or(|at| now < at) {
            return;
        }
        match &self.stage {
            Stage::Leaving { code, reason } => {
                let (code, reason) = (*code, reason.clone());
                self.end(now, code, reason);
            }
            Stage::Greeting | Stage::Asked => {
                self.fail(now, h3::REQUEST_INCOMPLETE, "no CONNECT in time");
            }
            Stage::Open | Stage::Over => self.deadline = None,
        }
    }

    /// The request was not understood, or there was none.
    fn fail(&mut self, now: Instant, code: u32, why: &str) {
        let reason = CloseReason {
            code: 0,
            reason: why.to_owned(),
            by: ClosedBy::Lost,
        };
        self.end(now, code.into(), reason);
    }

    /// Says our SETTINGS, as soon as streams can be opened: at a server before the handshake is over, for a browser
    /// sends its CONNECT only once it has them. At a client then CONNECT, once it has the server's.
    fn greet(&mut self, now: Instant) {
        if !self.greeted {
            let Some(control) = self.conn.streams().open(Dir::Uni) else {
                return;
            };
            self.greeted = true;
            let mut send = self.conn.send_stream(control);
            // SETTINGS fit into any window that a peer can offer and still speak HTTP/3.
            let _ = send.write_chunks(&mut [h3::settings()]);
        }
        let asks = self.conn.side() == Side::Client && self.peer_greeted && self.connect.is_none();
        if !asks {
            return;
        }
        let Some(request) = &self.request else { return };
        let mut bytes = BytesMut::new();
        if request.encode(&mut bytes).is_err() {
            return self.fail(now, h3::MESSAGE_ERROR, "the request cannot be written");
        }
        let Some(connect) = self.conn.streams().open(Dir::Bi) else {
            return;
        };
        let mut send = self.conn.send_stream(connect);
        let _ = send.write_chunks(&mut [bytes.freeze()]);
        self.connect = Some(connect);
        self.ours.insert(connect, CONNECT);
        self.incoming.insert(CONNECT, Incoming::Connect);
    }

    /// Our name for a stream; none for one of ours that is over, or that the service never sees.
    fn name(&self, quic: QuicStream) -> Option<StreamId> {
        match quic.initiator() == self.conn.side() {
            true => self.ours.get(&quic).copied(),
            false => Some(StreamId(VarInt::from(quic).into_inner())),
        }
    }

    fn stream_event(&mut self, now: Instant, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => {
                while let Some(quic) = self.conn.streams().accept(dir) {
                    let stream = StreamId(VarInt::from(quic).into_inner());
                    let opening = Incoming::Opening(Opening::default());
                    self.incoming.insert(stream, opening);
                    self.readable(now, stream, quic);
                }
            }
            StreamEvent::Readable { id } => {
                if let Some(stream) = self.name(id) {
                    self.readable(now, stream, id);
                }
            }
            StreamEvent::Writable { id } if self.connect == Some(id) => {
                if let Some(farewell) = &mut self.farewell {
                    // An error says that the peer does not wait for it.
                    let _ = farewell.flush(&mut self.conn);
                }
            }
            StreamEvent::Writable { id } => {
                if let Some(stream) = self.name(id) {
                    self.flush(stream);
                }
            }
            StreamEvent::Finished { id } => {
                let stream = self.name(id);
                self.forget(id);
                if let Some(stream) = stream
                    && self.outgoing.remove(&stream).is_some()
                {
                    self.events.push_back(Event::Delivered(stream));
                }
            }
            StreamEvent::Stopped { id, error_code } => {
                let stream = self.name(id);
                // Answered by a reset (RFC 9000 §3.5); an error says that it is over already.
                let _ = self.conn.send_stream(id).reset(error_code);
                self.forget(id);
                if let Some(stream) = stream
                    && self.outgoing.remove(&stream).is_some()
                {
                    let code = web_transport_proto::error_from_http3(error_code.into_inner());
                    self.events.push_back(Event::Stopped { stream, code });
                }
            }
            StreamEvent::Available { dir } => {
                self.greet(now);
                self.open_waiting(dir);
            }
        }
    }

    /// Forgets the name of a one-way stream of ours that is over. Of one in both directions, something may still come.
    fn forget(&mut self, quic: QuicStream) {
        if quic.dir() == Dir::Uni {
            self.ours.remove(&quic);
        }
    }

    fn flush(&mut self, stream: StreamId) {
        let Some(out) = self.outgoing.get_mut(&stream) else {
            return;
        };
        match out.flush(&mut self.conn) {
            Ok(0) => {}
            Ok(bytes) => self.events.push_back(Event::Drained { stream, bytes }),
            // Its own event says so.
            Err(Stopped) => {}
        }
    }

    fn datagrams(&mut self) {
        while let Some(datagram) = self.conn.datagrams().recv() {
            // One that is not the session's is to be dropped (RFC 9297 §2.1).
            let front = &self.fronts.datagram;
            if matches!(self.stage, Stage::Open) && datagram.starts_with(front) {
                self.events.push_back(Event::Datagram(datagram));
            }
        }
    }

    fn readable(&mut self, now: Instant, stream: StreamId, quic: QuicStream) {
        let Some(what) = self.incoming.get_mut(&stream) else {
            return;
        };
        match what {
            // What came early is announced when the session opens.
            Incoming::Data(_) if matches!(self.stage, Stage::Open) => {
                self.events.push_back(Event::Readable(stream));
            }
            Incoming::Data(_) => {}
            Incoming::Opening(opening) => {
                let was_silent = opening.bytes().is_empty();
                match incoming::read_opening(&mut self.conn, quic, opening) {
                    Ok(purpose) => self.opened(now, stream, quic, purpose),
                    Err(Progress::Waits) => {
                        if was_silent && !opening.bytes().is_empty() {
                            self.unopened.push(now, quic);
                        }
                    }
                    Err(_) => {
                        self.incoming.remove(&stream);
                    }
                }
            }
            Incoming::Control(kept) => {
                incoming::read(&mut self.conn, quic, usize::MAX, |bytes| {
                    kept.extend_from_slice(&bytes);
                    false
                });
                match h3::read_settings(kept) {
                    None => {}
                    Some(Err(why)) => self.fail(now, h3::SETTINGS_ERROR, why),
                    Some(Ok(())) => {
                        self.peer_greeted = true;
                        self.incoming.insert(stream, Incoming::Ignored);
                        self.greet(now);
                        self.requested();
                        self.rest(now);
                    }
                }
            }
            Incoming::Connect => self.connect_readable(now, quic),
            Incoming::Ignored => {
                incoming::read(&mut self.conn, quic, usize::MAX, |_| false);
            }
        }
    }

    fn opened(&mut self, now: Instant, stream: StreamId, quic: QuicStream, purpose: Purpose) {
        let session = self
            .connect
            .map(|connect| VarInt::from(connect).into_inner());
        match purpose {
            Purpose::Session(number) if session.is_none_or(|own| own == number) => {
                self.incoming.insert(stream, Incoming::Data(quic));
                match self.stage {
                    Stage::Open => self.announce(stream, quic),
                    _ => self.early.push((stream, quic)),
                }
            }
            Purpose::Session(_) => self.ignore(stream, quic, h3::ID_ERROR),
            Purpose::Control if !self.peer_greeted => {
                self.incoming.insert(stream, Incoming::Control(vec![0]));
                self.readable(now, stream, quic);
            }
            Purpose::Control => self.fail(now, h3::STREAM_CREATION_ERROR, "two control streams"),
            Purpose::Qpack => {
                self.incoming.insert(stream, Incoming::Ignored);
                self.readable(now, stream, quic);
            }
            Purpose::Request if self.conn.side() == Side::Server && self.connect.is_none() => {
                if let Some(Incoming::Opening(opening)) = self.incoming.get(&stream) {
                    self.asked.extend_from_slice(opening.bytes());
                }
                self.connect = Some(quic);
                self.incoming.insert(stream, Incoming::Connect);
                self.readable(now, stream, quic);
            }
            Purpose::Request => {
                // One session a connection. Errors say that the peer did not wait for the answer.
                let _ = self
                    .conn
                    .send_stream(quic)
                    .reset(h3::REQUEST_REJECTED.into());
                self.ignore(stream, quic, h3::REQUEST_REJECTED);
            }
            Purpose::Unknown => self.ignore(stream, quic, h3::STREAM_CREATION_ERROR),
        }
    }

    fn ignore(&mut self, stream: StreamId, quic: QuicStream, code: u32) {
        self.incoming.remove(&stream);
        // An error says that the stream is over already.
        let _ = self.conn.recv_stream(quic).stop(code.into());
    }

    fn connect_readable(&mut self, now: Instant, quic: QuicStream) {
        let mut bytes: Vec<Bytes> = Vec::new();
        let progress = incoming::read(&mut self.conn, quic, usize::MAX, |chunk| {
            bytes.push(chunk);
            false
        });
        for chunk in bytes {
            match self.stage {
                Stage::Greeting => self.asked.extend_from_slice(&chunk),
                Stage::Asked | Stage::Open => self.capsule(now, &chunk),
                // Read, so that the peer's word that it has left comes through.
                Stage::Leaving { .. } | Stage::Over => {}
            }
        }
        if matches!(self.stage, Stage::Greeting) {
            match self.conn.side() {
                Side::Server => self.read_request(now),
                Side::Client => self.read_answer(now, quic),
            }
        }
        match (progress, &self.stage) {
            (Progress::Waits | Progress::Gone, _) | (_, Stage::Over) => {}
            (_, Stage::Greeting) => self.fail(now, h3::REQUEST_INCOMPLETE, "no whole CONNECT"),
            (_, Stage::Leaving { code, reason }) => {
                // The peer has read the close and closed its side.
                let (code, reason) = (*code, reason.clone());
                self.end(now, code, reason);
            }
            (_, Stage::Asked | Stage::Open) => self.peer_closed(now, 0, String::new()),
        }
    }

    fn read_request(&mut self, now: Instant) {
        if self.request.is_some() {
            return;
        }
        match h3::read_request(&self.asked) {
            None => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "no valid CONNECT");
                self.fail(now, h3::MESSAGE_ERROR, "no valid CONNECT");
            }
            Some(Ok((request, len))) => {
                self.request = Some(request);
                self.asked.drain(..len);
                self.requested();
                self.rest(now);
            }
        }
    }

    /// Hands a request up, once the peer has also said its SETTINGS.
    fn requested(&mut self) {
        if self.conn.side() == Side::Client || !self.peer_greeted {
            return;
        }
        let Some(request) = self.request.take() else {
            return;
        };
        self.stage = Stage::Asked;
        self.known = true;
        let peer = self.conn.remote_address();
        let request = Request::new(request.url, request.headers, peer);
        self.events.push_back(Event::Requested(request));
    }

    fn read_answer(&mut self, now: Instant, connect: QuicStream) {
        match h3::read_response(&self.asked) {
            None => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "no valid answer to CONNECT");
                self.fail(now, h3::MESSAGE_ERROR, "no valid answer to CONNECT");
            }
            Some(Ok((Some(status), _))) => {
                self.events.push_back(Event::Refused(status));
                self.known = false;
                self.fail(now, h3::NO_ERROR, "refused");
            }
            Some(Ok((None, len))) => {
                self.asked.drain(..len);
                self.events.push_back(Event::Opened);
                self.open(connect);
                self.rest(now);
            }
        }
    }

    /// What came behind the request or the answer is capsules.
    fn rest(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Asked | Stage::Open) {
            let rest = std::mem::take(&mut self.asked);
            self.capsule(now, &rest);
        }
    }

    fn capsule(&mut self, now: Instant, bytes: &[u8]) {
        match self.capsules.push(bytes) {
            Ok(None) => {}
            Ok(Some((code, reason))) => self.peer_closed(now, code, reason),
            Err(why) => self.fail(now, h3::MESSAGE_ERROR, why),
        }
    }

    fn peer_closed(&mut self, now: Instant, code: u32, reason: String) {
        let by = ClosedBy::Peer;
        let reason = CloseReason { code, reason, by };
        self.end(now, close::code(code), reason);
    }
}
