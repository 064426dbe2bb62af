//! HTTP in front of one `axum::Router`: 1.1 and 2 over TLS on TCP, 3 on UDP at the same port; or plain 1.1, on
//! loopback only, for development.
//!
//! Handlers find the peer's address as the extension `ConnectInfo<SocketAddr>`. Requests on a connection that served
//! a page come without new handshakes, so keep-alive is on everywhere.

mod h3;
mod tcp;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http_body_util::Limited;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::cert::Certs;
use crate::error::BindError;
use crate::tuning::Tuning;
use crate::{server, tls, udp};

/// How often a pair of TCP and UDP ports is looked for when port 0 was asked for.
const PORT_TRIES: usize = 16;

/// What an HTTP server is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
    /// What strangers may cost.
    pub limits: Limits,
}

/// How an HTTP server is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    /// HTTP/1.1 without TLS; refused on an address that is not loopback.
    Plain,
    /// HTTP/1.1 and HTTP/2 over TLS 1.3.
    Tls(Certs),
    /// These and HTTP/3 on the UDP port of the same number, announced by Alt-Svc (RFC 7838).
    TlsAndHttp3(Certs),
}

/// What strangers may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections, and HTTP/3 connections, at a time each. Newcomers wait or are refused.
    pub connections: usize,
    /// Requests at a time on one HTTP/2 or HTTP/3 connection.
    pub requests: u32,
    /// TLS handshake, and from the start of a request to the end of its header; an idle HTTP/1.1 connection too.
    pub header_within: Duration,
    /// A response that the peer does not take for this long is given up (HTTP/3); an HTTP/2 peer must answer a ping
    /// in it.
    pub write_within: Duration,
    /// Bytes of a request's header.
    pub header_bytes: u32,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 128,
            header_within: Duration::from_secs(10),
            write_within: Duration::from_secs(20),
            header_bytes: 16 << 10,
            body_bytes: 1 << 20,
        }
    }
}

/// A running HTTP server.
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    quic: Option<quinn::Endpoint>,
}

/// What all connections see.
struct Shared {
    limits: Limits,
    router: Router,
    alt_svc: Option<HeaderValue>,
    /// Permits for TCP connections.
    room: Arc<Semaphore>,
    /// No new connections; open ones end after the request at hand.
    draining: CancellationToken,
    /// Out of patience: connections end now.
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts to serve `router`. Call it inside a tokio runtime.
    pub fn bind(config: Config, router: Router) -> Result<Self, BindError> {
        let Config {
            addr,
            transport,
            limits,
        } = config;
        let (tcp, quic, tls, alt_svc) = match &transport {
            Transport::Plain if !addr.ip().to_canonical().is_loopback() => {
                return Err(BindError::PlainNotLoopback(addr));
            }
            Transport::Plain => (listen(addr)?, None, None, None),
            Transport::Tls(certs) => (listen(addr)?, None, Some(certs), None),
            Transport::TlsAndHttp3(certs) => {
                let (tcp, quic) = listen_both(addr, certs, &limits)?;
                let port = bound(&tcp, addr)?.port();
                let alt_svc = HeaderValue::try_from(format!("h3=\":{port}\"; ma=86400"))
                    .map_err(|_| BindError::Config("port"))?;
                (tcp, Some(quic), Some(certs), Some(alt_svc))
            }
        };
        let tls = tls
            .map(|certs| tls::server(certs, &[b"h2", b"http/1.1"]))
            .transpose()?
            .map(Arc::new);
        let addr = bound(&tcp, addr)?;
        let shared = Arc::new(Shared {
            limits,
            router,
            alt_svc,
            room: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(tcp::listen(tcp, tls, shared.clone()));
        if let Some(endpoint) = &quic {
            // Not among the tasks that a drain waits for: it goes on refusing meanwhile.
            tokio::spawn(h3::listen(endpoint.clone(), shared.clone()));
        }
        Ok(Self { addr, shared, quic })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no new connection from now on, lets requests at hand finish for up to `grace`, then ends everything.
    pub async fn stop(&self, grace: Duration) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if timeout(grace, self.shared.tasks.wait()).await.is_err() {
            tracing::info!(
                left = self.shared.tasks.len(),
                "ending the connections that are left"
            );
        }
        self.shared.stopped.cancel();
        if let Some(endpoint) = &self.quic {
            server::close(endpoint).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.stopped.cancel();
        if let Some(endpoint) = &self.quic {
            endpoint.close(server::NO_ERROR, b"");
        }
    }
}

impl Shared {
    /// One request, whatever it came by.
    async fn answer<B>(
        &self,
        peer: SocketAddr,
        request: Request<B>,
    ) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = self.limits.body_bytes;
        if request.body().size_hint().lower() > limit as u64 {
            let mut response = Response::new(Body::from("request body too large\n"));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(response);
        }
        let mut request = request.map(|body| Body::new(Limited::new(body, limit)));
        request.extensions_mut().insert(ConnectInfo(peer));
        self.router.clone().call(request).await
    }

    /// Adds what a response on TCP says about HTTP/3.
    fn announce(&self, response: &mut Response<Body>) {
        if let Some(value) = &self.alt_svc {
            response
                .headers_mut()
                .insert(header::ALT_SVC, value.clone());
        }
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, BindError> {
    let fail = |source| BindError::Address { addr, source };
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .map_err(fail)?;
    let prepare = || {
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // A restart must not wait for old connections to be forgotten.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1024)
    };
    prepare().map_err(fail)?;
    TcpListener::from_std(socket.into()).map_err(fail)
}

/// TCP and UDP at one port; for port 0 one that is free for both.
fn listen_both(
    addr: SocketAddr,
    certs: &Certs,
    limits: &Limits,
) -> Result<(TcpListener, quinn::Endpoint), BindError> {
    let tuning = Tuning {
        max_uni_streams: 8,
        max_bi_streams: limits.requests,
        idle_timeout: Duration::from_secs(30),
        keep_alive: Duration::from_secs(10),
        ..Tuning::default()
    };
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp = listen(addr)?;
        let mut config = tuning.server(tls::server(certs, &[tls::H3])?)?;
        let bounds = server::Limits::default();
        config
            .max_incoming(bounds.handshakes)
            .incoming_buffer_size(bounds.incoming_buffer)
            .incoming_buffer_size_total(bounds.incoming_buffer_total);
        match udp::endpoint(bound(&tcp, addr)?, Some(config), None) {
            Ok(quic) => return Ok((tcp, quic)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn bound(tcp: &TcpListener, addr: SocketAddr) -> Result<SocketAddr, BindError> {
    tcp.local_addr()
        .map_err(|source| BindError::Address { addr, source })
}
