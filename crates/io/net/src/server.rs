//! The WebTransport server: accepts, bounds, hands up, drains.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::StatusCode;
use quinn::VarInt;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web_transport_quinn as wt;

use crate::admission::{Admission, Verdict};
use crate::cert::Certs;
use crate::error::{BindError, CloseReason, ClosedBy};
use crate::session::Session;
use crate::tuning::Tuning;
use crate::{tls, udp};

/// H3_NO_ERROR (RFC 9114 §8.1).
pub(crate) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// H3_REQUEST_REJECTED: nothing was done, trying elsewhere is safe.
const REQUEST_REJECTED: VarInt = VarInt::from_u32(0x10b);
/// H3_REQUEST_INCOMPLETE.
const REQUEST_INCOMPLETE: VarInt = VarInt::from_u32(0x10d);
/// H3_MESSAGE_ERROR.
const MESSAGE_ERROR: VarInt = VarInt::from_u32(0x10e);
/// How long a rejected peer gets to read the answer.
const REJECT_LINGER: Duration = Duration::from_secs(1);
/// How long the last packets of a closing endpoint may take.
pub(crate) const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// What a WebTransport server is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// What it shows.
    pub certs: Certs,
    /// What strangers may cost.
    pub limits: Limits,
    /// How its connections behave.
    pub tuning: Tuning,
    /// Secret from which stateless resets are made; the same across restarts, so that clients of a process that died
    /// notice at once. Random if absent.
    pub reset_key: Option<[u8; 32]>,
}

impl Config {
    /// Defaults everywhere else.
    pub fn new(addr: SocketAddr, certs: Certs) -> Self {
        Self {
            addr,
            certs,
            limits: Limits::default(),
            tuning: Tuning::default(),
            reset_key: None,
        }
    }
}

/// What strangers may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first packet to CONNECT, and again from [`Incoming::accept`] to its end.
    pub authenticate_within: Duration,
    /// Connections between first packet and CONNECT; more are refused.
    pub handshakes: usize,
    /// From this many handshakes on, peers must first prove their address, which costs them a round trip.
    pub retry_above: usize,
    /// Connections of one IPv4 address or IPv6 /64, handshakes included; more are refused.
    pub per_address: usize,
    /// Bytes kept of a connection that we have not looked at yet.
    pub incoming_buffer: u64,
    /// Bytes kept of all of them.
    pub incoming_buffer_total: u64,
    /// Sessions that were announced and not yet taken by [`Server::accept`]; more are refused.
    pub backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            authenticate_within: Duration::from_secs(2),
            handshakes: 1024,
            retry_above: 256,
            // A company or a load generator behind one address still fits.
            per_address: 2048,
            incoming_buffer: 64 << 10,
            incoming_buffer_total: 16 << 20,
            backlog: 256,
        }
    }
}

/// A WebTransport server.
pub struct Server {
    endpoint: quinn::Endpoint,
    addr: SocketAddr,
    incoming: AsyncMutex<mpsc::Receiver<Incoming>>,
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    admission: Mutex<Admission>,
    draining: CancellationToken,
    /// One per connection, from first packet to last.
    connections: TaskTracker,
}

impl Server {
    /// Starts to listen. Call it inside a tokio runtime.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let Config {
            addr,
            certs,
            limits,
            tuning,
            reset_key,
        } = config;
        let mut server = tuning.server(tls::server(&certs, &[tls::H3])?)?;
        server
            .max_incoming(limits.handshakes)
            .incoming_buffer_size(limits.incoming_buffer)
            .incoming_buffer_size_total(limits.incoming_buffer_total);
        let endpoint = udp::endpoint(addr, Some(server), reset_key.as_ref())?;
        let addr = endpoint
            .local_addr()
            .map_err(|source| BindError::Address { addr, source })?;
        let shared = Arc::new(Shared {
            limits,
            admission: Mutex::new(Admission::new(limits)),
            draining: CancellationToken::new(),
            connections: TaskTracker::new(),
        });
        let (announce, incoming) = mpsc::channel(limits.backlog.max(1));
        tokio::spawn(listen(endpoint.clone(), shared.clone(), announce));
        Ok(Self {
            endpoint,
            addr,
            incoming: AsyncMutex::new(incoming),
            shared,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next peer that asks for a session; `None` once the server stops. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut incoming = self.incoming.lock().await;
        tokio::select! {
            biased;
            () = self.shared.draining.cancelled() => None,
            next = incoming.recv() => next,
        }
    }

    /// Connections that are open, handshakes included.
    pub fn connections(&self) -> usize {
        self.shared.connections.len()
    }

    /// Refuses newcomers from now on, waits up to `grace` for the services to close their sessions, then closes what
    /// is left and gives up the port.
    pub async fn stop(&self, grace: Duration) {
        self.shared.draining.cancel();
        self.shared.connections.close();
        {
            // Those that no one took are told at once.
            let mut incoming = self.incoming.lock().await;
            incoming.close();
            while incoming.try_recv().is_ok() {}
        }
        if timeout(grace, self.shared.connections.wait())
            .await
            .is_err()
        {
            tracing::info!(
                left = self.connections(),
                "closing the sessions that are left"
            );
        }
        close(&self.endpoint).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.endpoint.close(NO_ERROR, b"");
    }
}

/// Closes what is open and waits, bounded, until the peers were told.
pub(crate) async fn close(endpoint: &quinn::Endpoint) {
    endpoint.close(NO_ERROR, b"stopped");
    if timeout(CLOSE_LINGER, endpoint.wait_idle()).await.is_err() {
        tracing::debug!("some peers never acknowledged the close");
    }
}

async fn listen(endpoint: quinn::Endpoint, shared: Arc<Shared>, announce: mpsc::Sender<Incoming>) {
    while let Some(incoming) = endpoint.accept().await {
        let from = incoming.remote_address().ip();
        // A refusal, unlike silence, lets a client go on to the next server at once.
        if shared.draining.is_cancelled() {
            incoming.refuse();
            continue;
        }
        let verdict = shared
            .admission()
            .arrive(from, incoming.remote_address_validated());
        match verdict {
            Verdict::Refuse => {
                tracing::debug!(%from, "connection refused: too many");
                incoming.refuse();
            }
            Verdict::Retry => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Verdict::Admit => {
                let seat = Counted::new(shared.clone(), from);
                shared
                    .connections
                    .spawn(greet(incoming, seat, announce.clone()));
            }
        }
    }
}

/// One connection, from its first packet until it is gone.
async fn greet(incoming: quinn::Incoming, mut seat: Counted, announce: mpsc::Sender<Incoming>) {
    let within = seat.shared.limits.authenticate_within;
    let deadline = Instant::now() + within;
    let conn = match incoming.accept().map(quinn::Connecting::into_0rtt) {
        // Not 0-RTT data but our SETTINGS in 0.5-RTT: a browser waits for them before it sends CONNECT.
        Ok(Ok((conn, _))) => conn,
        Ok(Err(_)) => return,
        Err(error) => return tracing::debug!(%error, "handshake failed"),
    };
    match timeout_at(deadline, wt::Request::accept(conn.clone())).await {
        Ok(Ok(request)) => {
            seat.shook();
            let incoming = Incoming {
                request: Some(request),
                answer_within: within,
            };
            // Full: the service is drowning; dropping it rejects.
            if announce.try_send(incoming).is_err() {
                tracing::warn!("session refused: backlog full");
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "no valid CONNECT");
            conn.close(MESSAGE_ERROR, b"no valid CONNECT");
        }
        Err(_) => {
            tracing::debug!("no CONNECT in time");
            conn.close(REQUEST_INCOMPLETE, b"no CONNECT in time");
        }
    }
    seat.shook();
    conn.closed().await;
}

impl Shared {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the counts, given back on drop.
struct Counted {
    shared: Arc<Shared>,
    from: IpAddr,
    shaking: bool,
}

impl Counted {
    fn new(shared: Arc<Shared>, from: IpAddr) -> Self {
        let shaking = true;
        Self {
            shared,
            from,
            shaking,
        }
    }

    fn shook(&mut self) {
        if std::mem::take(&mut self.shaking) {
            self.shared.admission().shook();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shook();
        self.shared.admission().left(self.from);
    }
}

/// A peer that asks for a session. Dropped unanswered, its connection is closed.
pub struct Incoming {
    /// Present until answered.
    request: Option<wt::Request>,
    answer_within: Duration,
}

impl Incoming {
    fn url(&self) -> Option<&url::Url> {
        self.request.as_ref().map(|r| &r.url)
    }

    /// Path of the URL, percent-encoded, with its leading slash.
    pub fn path(&self) -> &str {
        self.url().map_or("", url::Url::path)
    }

    /// Query of the URL, percent-encoded, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.url().and_then(url::Url::query)
    }

    /// The first value of a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.url()?.query_pairs();
        pairs.find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }

    /// The host that the peer asked for, as it knows this server: a name or an address, without the port.
    pub fn host(&self) -> Option<&str> {
        self.url().and_then(url::Url::host_str)
    }

    /// The page's origin; browsers always say it, native clients need not.
    pub fn origin(&self) -> Option<&str> {
        self.header("origin")
    }

    /// A request header, such as `traceparent`; `None` if absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.as_ref()?.headers.get(name)?.to_str().ok()
    }

    /// The peer's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        Some(self.request.as_ref()?.conn().remote_address())
    }

    /// Gives it a session: answers 200. Streams opened right after arrive with the answer.
    pub async fn accept(mut self) -> Result<Session, CloseReason> {
        let failed = |reason: String| CloseReason {
            code: 0,
            reason,
            by: ClosedBy::Lost,
        };
        let Some(request) = self.request.take() else {
            return Err(failed("answered before".into()));
        };
        let conn = request.conn().clone();
        match timeout(self.answer_within, request.ok()).await {
            Ok(Ok(session)) => Ok(Session::new(session)),
            Ok(Err(error)) => {
                conn.close(REQUEST_INCOMPLETE, b"");
                Err(failed(error.to_string()))
            }
            Err(_) => {
                conn.close(REQUEST_INCOMPLETE, b"");
                Err(failed("the answer could not be sent in time".into()))
            }
        }
    }

    /// Refuses it with an HTTP status (a browser's page sees only that opening failed). Waits, at most a second,
    /// until the peer has read it.
    pub async fn reject(mut self, status: u16) {
        let Some(request) = self.request.take() else {
            return;
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let conn = request.conn().clone();
        let told = timeout(REJECT_LINGER, async {
            if request.reject(status).await.is_ok() {
                conn.closed().await;
            }
        });
        if told.await.is_err() {
            conn.close(NO_ERROR, b"");
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            request.conn().close(REQUEST_REJECTED, b"");
        }
    }
}

impl std::fmt::Debug for Incoming {
    /// Without the query, which may carry a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("path", &self.path())
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
