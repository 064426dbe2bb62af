//! A WebTransport session: streams, datagrams, close.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quinn::ConnectionError;
use web_transport_quinn as wt;

use crate::error::{CloseReason, ClosedBy, DatagramError};
use crate::stream::{RecvStream, SendStream};

/// A closed connection sends its last packet when its driver next runs: it is looked for this often, at this distance.
const LAST_PACKET_LOOKS: usize = 10;
const LAST_PACKET_STEP: Duration = Duration::from_millis(5);

/// One WebTransport session on its own QUIC connection. Clones share it; dropping the last one closes it with code 0.
#[derive(Clone, Debug)]
pub struct Session(Arc<Handle>);

/// Exists so that the last [`Session`] closes, while streams may outlive it.
#[derive(Debug)]
struct Handle(Arc<Shared>);

/// What a session shares with its streams.
#[derive(Debug)]
pub(crate) struct Shared {
    wt: wt::Session,
    closed_here: OnceLock<CloseReason>,
    /// Known once [`Session::closed`] has looked closer.
    lost: OnceLock<CloseReason>,
}

/// What the QUIC connection knows about its path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Smallest round-trip time seen.
    pub min_rtt: Duration,
    /// Bytes that may be in flight.
    pub cwnd: u64,
    /// What the congestion controller would send at, in bytes per second, where it says.
    pub pacing_rate: Option<u64>,
    /// Packets sent.
    pub sent_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Bytes declared lost.
    pub lost_bytes: u64,
    /// Times the congestion window was cut.
    pub congestion_events: u64,
    /// Largest UDP payload, in bytes.
    pub mtu: u16,
}

impl Session {
    pub(crate) fn new(wt: wt::Session) -> Self {
        Self(Arc::new(Handle(Arc::new(Shared {
            wt,
            closed_here: OnceLock::new(),
            lost: OnceLock::new(),
        }))))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// Opens a stream to the peer. Waits while the peer's stream limit is reached. Not cancel-safe: a dropped call
    /// may leave an empty stream behind.
    pub async fn open_uni(&self) -> Result<SendStream, CloseReason> {
        let shared = self.shared();
        let stream = shared.wt.open_uni().await.map_err(|e| shared.reason(e))?;
        Ok(SendStream::new(stream, shared.clone()))
    }

    /// Opens a stream in both directions; see [`Session::open_uni`].
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), CloseReason> {
        let shared = self.shared();
        let (send, recv) = shared.wt.open_bi().await.map_err(|e| shared.reason(e))?;
        Ok((
            SendStream::new(send, shared.clone()),
            RecvStream::new(recv, shared.clone()),
        ))
    }

    /// The next stream the peer opened. Cancel-safe.
    pub async fn accept_uni(&self) -> Result<RecvStream, CloseReason> {
        let shared = self.shared();
        let stream = shared.wt.accept_uni().await.map_err(|e| shared.reason(e))?;
        Ok(RecvStream::new(stream, shared.clone()))
    }

    /// The next stream the peer opened in both directions. Cancel-safe.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), CloseReason> {
        let shared = self.shared();
        let (send, recv) = shared.wt.accept_bi().await.map_err(|e| shared.reason(e))?;
        Ok((
            SendStream::new(send, shared.clone()),
            RecvStream::new(recv, shared.clone()),
        ))
    }

    /// Queues a datagram (RFC 9221) of at most [`Session::max_datagram_size`] bytes. Where the path is too slow the
    /// oldest queued ones are dropped.
    pub fn send_datagram(&self, payload: Bytes) -> Result<(), DatagramError> {
        use quinn::SendDatagramError as E;
        let shared = self.shared();
        shared.wt.send_datagram(payload).map_err(|e| match e {
            wt::SessionError::SendDatagramError(E::TooLarge) => DatagramError::TooLarge,
            wt::SessionError::SendDatagramError(E::UnsupportedByPeer | E::Disabled) => {
                DatagramError::Unsupported
            }
            other => shared.reason(other).into(),
        })
    }

    /// The next datagram. Cancel-safe.
    pub async fn recv_datagram(&self) -> Result<Bytes, DatagramError> {
        let shared = self.shared();
        loop {
            match shared.wt.read_datagram().await {
                Ok(payload) => return Ok(payload),
                // For a session that does not exist on this connection: to be dropped (RFC 9297 §2.1).
                Err(wt::SessionError::WebTransportError(wt::WebTransportError::UnknownSession)) => {
                }
                Err(error) => return Err(shared.reason(error).into()),
            }
        }
    }

    /// Largest datagram payload the path takes now, in bytes; 0 if the peer takes none.
    pub fn max_datagram_size(&self) -> usize {
        self.shared().wt.max_datagram_size()
    }

    /// Closes the session. The peer is told code and reason (CLOSE_WEBTRANSPORT_SESSION), for which the connection
    /// lingers up to three round trips, at least 100 ms; [`Session::closed`] waits for it. The first close counts.
    pub fn close(&self, code: u32, reason: &str) {
        self.shared().close(code, reason);
    }

    /// Waits until the connection is gone. This is the authority on who ended it: the error of another call may say
    /// "peer" of a connection that was lost.
    pub async fn closed(&self) -> CloseReason {
        let shared = self.shared();
        let error = shared.wt.closed().await;
        let reason = shared.reason(error.clone());
        if reason.by == ClosedBy::Peer && !shared.peer_is_heard(&error).await {
            let _ = shared.lost.set(CloseReason {
                code: 0,
                reason: "connection lost".into(),
                by: ClosedBy::Lost,
            });
        }
        shared.reason(error)
    }

    /// The peer's address now; it changes when the peer moves to another network.
    pub fn peer(&self) -> SocketAddr {
        self.shared().wt.remote_address()
    }

    /// Statistics of the path.
    pub fn stats(&self) -> PathStats {
        let wt = &self.shared().wt;
        let conn: &quinn::Connection = wt.deref();
        let rate = conn.congestion_state().metrics().pacing_rate;
        PathStats::of(&conn.stats(), conn.stats().path.min_rtt, rate)
    }
}

impl PathStats {
    /// `rate` is in bits per second.
    pub(crate) fn of(stats: &quinn::ConnectionStats, min_rtt: Duration, rate: Option<u64>) -> Self {
        Self {
            rtt: stats.path.rtt,
            min_rtt,
            cwnd: stats.path.cwnd,
            pacing_rate: rate.map(|b| b / 8),
            sent_packets: stats.path.sent_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            congestion_events: stats.path.congestion_events,
            mtu: stats.path.current_mtu,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(0, "");
    }
}

impl Shared {
    fn close(&self, code: u32, reason: &str) {
        if self.conn().close_reason().is_some() {
            return;
        }
        let here = CloseReason {
            code,
            reason: reason.to_owned(),
            by: ClosedBy::Here,
        };
        if self.closed_here.set(here).is_ok() {
            self.wt.close(code, reason.as_bytes());
        }
    }

    fn conn(&self) -> &quinn::Connection {
        &self.wt
    }

    /// Our words for why the session is over.
    pub(crate) fn reason(&self, error: wt::SessionError) -> CloseReason {
        if let Some(known) = self.closed_here.get().or(self.lost.get()) {
            return known.clone();
        }
        let (code, reason, by) = match (told(error), self.conn().close_reason()) {
            (Some((code, reason)), _) => (code, reason, ClosedBy::Peer),
            // The CONNECT stream ended and nothing was said.
            (None, Some(ConnectionError::LocallyClosed) | None) => {
                (0, String::new(), ClosedBy::Peer)
            }
            (None, Some(ConnectionError::ApplicationClosed(close))) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                (0, reason, ClosedBy::Peer)
            }
            (None, Some(other)) => (0, other.to_string(), ClosedBy::Lost),
        };
        CloseReason { code, reason, by }
    }

    /// Whether a peer that said nothing did end the session. The WebTransport layer answers any end of the CONNECT
    /// stream by closing the connection, which hides its own reason; but a lost connection sends no more packets.
    async fn peer_is_heard(&self, error: &wt::SessionError) -> bool {
        if told(error.clone()).is_some() {
            return true;
        }
        for _ in 0..LAST_PACKET_LOOKS {
            let stats = self.conn().stats();
            if stats.frame_rx.connection_close > 0 || stats.frame_tx.connection_close > 0 {
                return true;
            }
            tokio::time::sleep(LAST_PACKET_STEP).await;
        }
        false
    }
}

/// Code and words of the peer's close.
fn told(error: wt::SessionError) -> Option<(u32, String)> {
    match error {
        wt::SessionError::WebTransportError(wt::WebTransportError::Closed(code, reason)) => {
            Some((code, reason))
        }
        _ => None,
    }
}
