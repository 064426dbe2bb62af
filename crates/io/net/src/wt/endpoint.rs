//! The sessions of one socket, without the socket.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{ClientConfig, ConnectionHandle, DatagramEvent, EcnCodepoint, EndpointConfig};
use quinn_proto::{Connection, Incoming, ServerConfig};
use url::Url;
use web_transport_proto::ConnectRequest;

use super::h3;
use super::ids::shard_of;
use super::path::Paths;
use super::session::{Event, Session, SessionKey};
use crate::admission::{Admission, Verdict};
use crate::error::{CloseReason, ClosedBy, ConnectError};
use crate::server::Limits;

/// Marks of explicit congestion notification (RFC 3168 §5, RFC 9331).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECN-capable.
    Ect0,
    /// ECN-capable, for L4S.
    Ect1,
    /// Congestion experienced.
    Ce,
}

/// A UDP datagram that came.
#[derive(Debug)]
pub struct Received {
    /// From whom.
    pub from: SocketAddr,
    /// To which of our addresses, where that is known.
    pub to: Option<IpAddr>,
    /// How it was marked.
    pub ecn: Option<Ecn>,
    /// Its payload.
    pub payload: BytesMut,
}

impl Received {
    /// The shard that its connection lives on, where it says so: endpoints of one [`Serving`](super::Serving) hand
    /// one another what the kernel has brought to the wrong one, as after a peer's move to another network.
    pub fn shard(&self) -> Option<u8> {
        shard_of(&self.payload)
    }
}

/// UDP datagrams to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: SocketAddr,
    /// From which of our addresses, where that matters.
    pub from: Option<IpAddr>,
    /// How to mark them.
    pub ecn: Option<Ecn>,
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of each datagram but the last, where there are several.
    pub segment: Option<usize>,
}

/// Who may come in.
pub(super) struct Door {
    pub(super) limits: Limits,
    pub(super) admission: Arc<Mutex<Admission>>,
}

impl Door {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place.
struct Slot {
    turn: u32,
    held: Option<Held>,
}

struct Held {
    session: Session,
    /// Under whose address it is counted, and whether still as a handshake.
    counted: Option<(IpAddr, bool)>,
    /// Its entry among the timers: no later than it is due.
    armed: Option<Instant>,
    touched: bool,
    dirty: bool,
}

/// All sessions of one socket.
///
/// After input has been handed over, take events with [`Endpoint::poll`] until there is none, then transmits until
/// there is none, and come back at [`Endpoint::deadline`].
pub struct Endpoint {
    quic: quinn_proto::Endpoint,
    client: Option<ClientConfig>,
    door: Option<Door>,
    paths: Option<Arc<Paths>>,
    /// By the QUIC implementation's own handle.
    slots: Vec<Slot>,
    open: usize,
    draining: bool,
    /// Sessions to which something has happened.
    touched: VecDeque<u32>,
    /// Sessions that may have something to send.
    dirty: VecDeque<u32>,
    /// Those of them that wait for more to send, and until when.
    held_back: VecDeque<(Instant, u32)>,
    hold: Duration,
    /// Those that send now.
    ready: VecDeque<u32>,
    /// When which session is due: one entry for each that has one, so that it stays small enough for the cache.
    timers: BTreeSet<(Instant, u32)>,
    events: VecDeque<(SessionKey, Event)>,
    /// Answers that no connection gives.
    answers: VecDeque<(Transmit, Bytes)>,
}

impl Endpoint {
    pub(super) fn new(
        config: EndpointConfig,
        server: Option<(ServerConfig, Door)>,
        client: Option<ClientConfig>,
        paths: Option<Arc<Paths>>,
    ) -> Self {
        let (server, door) = server.unzip();
        Self {
            // The sockets forbid fragments, so the path's MTU may be looked for.
            quic: quinn_proto::Endpoint::new(Arc::new(config), server.map(Arc::new), true, None),
            client,
            door,
            paths,
            slots: Vec::new(),
            open: 0,
            draining: false,
            touched: VecDeque::new(),
            dirty: VecDeque::new(),
            held_back: VecDeque::new(),
            hold: Duration::ZERO,
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// At a client: asks `url`'s server at `to` for a session, with these headers. [`Event::Opened`] or another says
    /// what came of it.
    pub fn connect(
        &mut self,
        now: Instant,
        to: SocketAddr,
        url: &Url,
        headers: http::HeaderMap,
    ) -> Result<SessionKey, ConnectError> {
        let refused = |what: &str| ConnectError::Url(format!("{what} in {:?}", url.host_str()));
        let config = self.client.clone();
        let config = config.ok_or_else(|| refused("a server does not call"))?;
        let name = match url.host().ok_or_else(|| refused("no host"))? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(ip) => ip.to_string(),
            url::Host::Ipv6(ip) => ip.to_string(),
        };
        let (handle, conn) = self
            .quic
            .connect(now, config, to, &name)
            .map_err(|error| ConnectError::Connection(error.to_string()))?;
        let request = ConnectRequest::new(url.clone()).with_headers(headers);
        Ok(self.hold(handle, conn, Some(request), None))
    }

    /// A datagram came.
    pub fn receive(&mut self, now: Instant, received: Received) {
        let Received {
            from,
            to,
            ecn,
            payload,
        } = received;
        let ecn = ecn.map(|ecn| match ecn {
            Ecn::Ect0 => EcnCodepoint::Ect0,
            Ecn::Ect1 => EcnCodepoint::Ect1,
            Ecn::Ce => EcnCodepoint::Ce,
        });
        let mut answer = Vec::new();
        match self.quic.handle(now, from, to, ecn, payload, &mut answer) {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(held) = held(&mut self.slots, handle.0) {
                    held.session.conn.handle_event(event);
                    if let Some(moved) = self.paths.as_ref().and_then(|paths| paths.take()) {
                        if let Some(former) = &held.session.path {
                            moved.get().follow(&former.get());
                        }
                        held.session.path = Some(moved);
                    }
                    touch(&mut self.touched, held, handle.0 as u32);
                    soil(&mut self.dirty, held, handle.0 as u32);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.arrive(now, incoming, answer),
            Some(DatagramEvent::Response(transmit)) => self.answer(&transmit, answer),
        }
    }

    fn answer(&mut self, transmit: &quinn_proto::Transmit, bytes: Vec<u8>) {
        self.answers
            .push_back((translated(transmit), Bytes::from(bytes)));
    }

    fn arrive(&mut self, now: Instant, incoming: Incoming, mut buffer: Vec<u8>) {
        let from = incoming.remote_address().ip();
        let verdict = match &self.door {
            // A refusal, unlike silence, lets a client go on to the next server at once.
            Some(door) if !self.draining => door
                .admission()
                .arrive(from, incoming.remote_address_validated()),
            _ => Verdict::Refuse,
        };
        match verdict {
            Verdict::Refuse => {
                tracing::debug!(%from, "connection refused");
                let transmit = self.quic.refuse(incoming, &mut buffer);
                self.answer(&transmit, buffer);
            }
            Verdict::Retry => match self.quic.retry(incoming, &mut buffer) {
                Ok(transmit) => self.answer(&transmit, buffer),
                Err(error) => {
                    let transmit = self.quic.refuse(error.into_incoming(), &mut buffer);
                    self.answer(&transmit, buffer);
                }
            },
            Verdict::Admit => match self.quic.accept(incoming, now, &mut buffer, None) {
                Ok((handle, conn)) => {
                    let key = self.hold(handle, conn, None, Some(from));
                    let limits = self.door.as_ref().map(|door| door.limits);
                    if let (Some(held), Some(limits)) = (held(&mut self.slots, key.slot()), limits)
                    {
                        held.session.deadline = Some(now + limits.authenticate_within);
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %error.cause, "handshake failed");
                    if let Some(door) = &self.door {
                        door.admission().shook();
                        door.admission().left(from);
                    }
                    if let Some(transmit) = error.response {
                        self.answer(&transmit, buffer);
                    }
                }
            },
        }
    }

    fn hold(
        &mut self,
        handle: ConnectionHandle,
        conn: Connection,
        request: Option<ConnectRequest>,
        from: Option<IpAddr>,
    ) -> SessionKey {
        let mut session = Session::new(conn, request);
        session.path = self.paths.as_ref().and_then(|paths| paths.take());
        while self.slots.len() <= handle.0 {
            self.slots.push(Slot {
                turn: 0,
                held: None,
            });
        }
        let slot = handle.0 as u32;
        let place = &mut self.slots[handle.0];
        place.turn = place.turn.wrapping_add(1);
        let held = place.held.insert(Held {
            session,
            counted: from.map(|from| (from, true)),
            armed: None,
            touched: false,
            dirty: false,
        });
        touch(&mut self.touched, held, slot);
        soil(&mut self.dirty, held, slot);
        self.open += 1;
        let turn = place.turn;
        SessionKey { slot, turn }
    }

    /// A session, to act on it. What it then has to send is looked for.
    pub fn session(&mut self, key: SessionKey) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key.slot())?;
        let held = slot.held.as_mut().filter(|_| slot.turn == key.turn)?;
        soil(&mut self.dirty, held, key.slot);
        if !held.session.events.is_empty() {
            touch(&mut self.touched, held, key.slot);
        }
        Some(&mut held.session)
    }

    /// The next fact of a session.
    pub fn poll(&mut self, now: Instant) -> Option<(SessionKey, Event)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let slot = self.touched.pop_front()?;
            let place = self.slots.get_mut(slot as usize)?;
            let turn = place.turn;
            let Some(held) = place.held.as_mut() else {
                continue;
            };
            held.touched = false;
            held.session.pump(now);
            let key = SessionKey { slot, turn };
            if let (Some((_, shaking @ true)), Some(door)) = (&mut held.counted, &self.door)
                && (held.session.is_asked() || held.session.is_over())
            {
                *shaking = false;
                door.admission().shook();
                // How long the service takes to answer is its own affair.
                held.session.deadline = None;
            }
            let events = held.session.events.drain(..);
            self.events.extend(events.map(|event| (key, event)));
            soil(&mut self.dirty, held, slot);
        }
    }

    /// Datagrams to be sent, at most `segments` at once, appended to an empty buffer.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some((transmit, bytes)) = self.answers.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(transmit);
        }
        self.release_due(now);
        while let Some(&slot) = self.ready.front() {
            if let Some(held) = held(&mut self.slots, slot as usize) {
                let conn = &mut held.session.conn;
                if let Some(transmit) = conn.poll_transmit(now, segments.max(1), buffer) {
                    return Some(translated(&transmit));
                }
            }
            self.ready.pop_front();
            self.settle(slot);
            self.release_due(now);
        }
        None
    }

    /// From now on, what sessions have to send waits this long for more of it. Those that are not open do not wait.
    pub fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
    }

    fn release_due(&mut self, now: Instant) {
        while let Some(slot) = self.dirty.pop_front() {
            let open = held(&mut self.slots, slot as usize).is_some_and(|h| h.session.is_open());
            match open && !self.hold.is_zero() {
                true => self.held_back.push_back((now + self.hold, slot)),
                false => self.ready.push_back(slot),
            }
        }
        while let Some((_, slot)) = self.held_back.pop_front_if(|(at, _)| *at <= now) {
            self.ready.push_back(slot);
        }
    }

    /// A session has nothing more to send now: what follows from that.
    fn settle(&mut self, slot: u32) {
        let Some(held) = held(&mut self.slots, slot as usize) else {
            return;
        };
        held.dirty = false;
        let handle = ConnectionHandle(slot as usize);
        let mut gone = false;
        while let Some(event) = held.session.conn.poll_endpoint_events() {
            gone |= event.is_drained();
            if let Some(event) = self.quic.handle_event(handle, event) {
                held.session.conn.handle_event(event);
                soil(&mut self.dirty, held, slot);
            }
        }
        if gone {
            return self.release(slot);
        }
        if let Some(at) = held.session.next_timeout()
            && held.armed.is_none_or(|armed| at < armed)
        {
            if let Some(armed) = held.armed.replace(at) {
                self.timers.remove(&(armed, slot));
            }
            self.timers.insert((at, slot));
        }
    }

    fn release(&mut self, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize) else {
            return;
        };
        let turn = place.turn;
        let Some(mut held) = place.held.take() else {
            return;
        };
        self.open -= 1;
        if let Some(armed) = held.armed {
            self.timers.remove(&(armed, slot));
        }
        if let (Some((from, shaking)), Some(door)) = (held.counted, &self.door) {
            let mut admission = door.admission();
            if shaking {
                admission.shook();
            }
            admission.left(from);
        }
        let key = SessionKey { slot, turn };
        let events = held.session.events.drain(..);
        self.events.extend(events.map(|event| (key, event)));
    }

    /// Call [`Endpoint::timeout`] no later than this.
    pub fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let held_back = self.held_back.front().map(|(at, _)| *at);
        timer.into_iter().chain(held_back).min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(held) = held(&mut self.slots, slot as usize) else {
                continue;
            };
            held.armed = None;
            match held.session.next_timeout() {
                Some(due) if due <= now => {
                    held.session.timeout(now);
                    touch(&mut self.touched, held, slot);
                    soil(&mut self.dirty, held, slot);
                }
                // It has been put off since: most are, with every packet.
                Some(due) => {
                    held.armed = Some(due);
                    self.timers.insert((due, slot));
                }
                None => {}
            }
        }
    }

    /// Refuses newcomers from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Closes every connection at once. Peers that have not been told more read that the server stopped.
    pub fn close(&mut self, now: Instant) {
        self.draining = true;
        for (slot, place) in (0..).zip(&mut self.slots) {
            if let Some(held) = &mut place.held {
                let reason = CloseReason {
                    code: 0,
                    reason: "stopped".to_owned(),
                    by: ClosedBy::Here,
                };
                held.session.end(now, h3::NO_ERROR.into(), reason);
                touch(&mut self.touched, held, slot);
                soil(&mut self.dirty, held, slot);
            }
        }
    }

    /// Connections that are open, handshakes and those that take their leave included.
    pub fn connections(&self) -> usize {
        self.open
    }
}

fn held(slots: &mut [Slot], slot: usize) -> Option<&mut Held> {
    slots.get_mut(slot)?.held.as_mut()
}

fn touch(touched: &mut VecDeque<u32>, held: &mut Held, slot: u32) {
    if !std::mem::replace(&mut held.touched, true) {
        touched.push_back(slot);
    }
}

fn soil(dirty: &mut VecDeque<u32>, held: &mut Held, slot: u32) {
    if !std::mem::replace(&mut held.dirty, true) {
        dirty.push_back(slot);
    }
}

fn translated(transmit: &quinn_proto::Transmit) -> Transmit {
    Transmit {
        to: transmit.destination,
        from: transmit.src_ip,
        ecn: transmit.ecn.map(|ecn| match ecn {
            EcnCodepoint::Ect0 => Ecn::Ect0,
            EcnCodepoint::Ect1 => Ecn::Ect1,
            EcnCodepoint::Ce => Ecn::Ce,
        }),
        len: transmit.size,
        segment: transmit.segment_size,
    }
}
