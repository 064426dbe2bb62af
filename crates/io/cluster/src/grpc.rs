//! The gRPC server and channels of every service, and how codes and traces travel on them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use darktower_wire::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::metadata::MetadataValue;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

use crate::Trust;
use crate::trace::{TRACEPARENT, TraceContext};

/// Metadata key of the code's number.
pub const CODE: &str = "darktower-code";

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A silent peer is noticed after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A gRPC server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Serving {
    addr: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

/// Serves `routes` on `listen` (port 0 picks a free one) in clear, to everybody who reaches it.
pub async fn serve(listen: SocketAddr, routes: Routes) -> io::Result<Serving> {
    serve_to(&Trust::default(), listen, routes).await
}

/// The same, to those whom `trust` believes; others are answered [`Code::Unauthenticated`] at most.
pub async fn serve_to(trust: &Trust, listen: SocketAddr, routes: Routes) -> io::Result<Serving> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let cut = CancellationToken::new();
    let cuts = cut.clone();
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .map(move |accepted| {
            accepted.map(|stream| Connection {
                stream,
                cut: Box::pin(cuts.clone().cancelled_owned()),
            })
        });
    let mut server = Server::builder();
    if let Some(tls) = trust.server() {
        server = server.tls_config(tls).map_err(io::Error::other)?;
    }
    let is_checked = trust.is_checked();
    let known = move |request: Request<()>| match request.peer_certs() {
        None if is_checked => Err(status(
            Code::Unauthenticated,
            "services show a certificate of this cluster",
        )),
        _ => Ok(request),
    };
    let server = server
        .layer(InterceptorLayer::new(known))
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%addr, %error, "the gRPC server failed");
        }
    });
    Ok(Serving {
        addr,
        stop,
        cut,
        task,
    })
}

impl Serving {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops taking calls, lets those under way end within `grace`, then cuts them.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.cut.cancel();
            self.task.abort();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
        self.task.abort();
    }
}

/// An accepted connection that can be cut: the server waits for calls that
/// last (a watch, a control call) as long as their clients like.
struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

/// The URL by which a process on `host` reaches a server at `addr`.
pub fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

/// The same, for a server of [`serve_to`].
pub fn url_in(trust: &Trust, addr: SocketAddr) -> String {
    match trust.is_checked() {
        true => format!("https://{addr}"),
        false => url(addr),
    }
}

/// A service's address is no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the URL of a gRPC service; one looks like http://127.0.0.1:7000, or \
     https:// where the cluster has certificates"
)]
pub struct BadUrl(pub String);

/// One channel to each peer, opened when first used and again when it broke.
#[derive(Debug, Default)]
pub struct Channels {
    trust: Trust,
    open: Mutex<BTreeMap<String, Channel>>,
}

/// Peers remembered at once; those beyond it are dialled anew each time.
const MOST_CHANNELS: usize = 1024;

impl Channels {
    /// None yet, to peers that `trust` believes.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            ..Self::default()
        }
    }

    /// The channel to the service at `url`. Does not wait for a connection.
    pub fn get(&self, url: &str) -> Result<Channel, BadUrl> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(url) {
            return Ok(channel.clone());
        }
        let channel = connect_lazy_to(&self.trust, url)?;
        if open.len() < MOST_CHANNELS {
            open.insert(url.to_owned(), channel.clone());
        }
        Ok(channel)
    }

    /// Forgets the channel to a node that has gone.
    pub fn forget(&self, url: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(url);
    }
}

/// A channel to the service at `url` (`http://…`, or `grpc://…` for the same), in clear.
pub fn connect_lazy(url: &str) -> Result<Channel, BadUrl> {
    connect_lazy_to(&Trust::default(), url)
}

/// A channel to the service at `url`. With a trust that is checked that is `https://…` (or `grpc://…`) and nothing else:
/// whoever can write to the registry cannot have us speak in clear.
pub fn connect_lazy_to(trust: &Trust, url: &str) -> Result<Channel, BadUrl> {
    let bad = || BadUrl(url.to_owned());
    let scheme = if trust.is_checked() { "https" } else { "http" };
    let target = match url.strip_prefix("grpc://") {
        Some(rest) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    };
    let mut endpoint = Endpoint::from_shared(target).map_err(|_| bad())?;
    if let Some(tls) = trust.client() {
        endpoint = endpoint.tls_config(tls).map_err(|_| bad())?;
    }
    let uri = endpoint.uri();
    if uri.scheme_str() != Some(scheme) || uri.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// A request that has to be answered within `deadline`, caused by the work of `trace`.
pub fn request<T>(message: T, trace: TraceContext, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    if let Ok(value) = trace.to_string().parse() {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    request
}

/// The trace a request continues.
pub fn trace_of<T>(request: &Request<T>) -> TraceContext {
    let header = request.metadata().get(TRACEPARENT);
    TraceContext::continued(header.and_then(|value| value.to_str().ok()))
}

/// The status that says `code`.
pub fn status(code: Code, detail: impl Into<String>) -> Status {
    let mut status = Status::new(tonic::Code::from_i32(code.grpc_status()), detail);
    status
        .metadata_mut()
        .insert(CODE, MetadataValue::from(code.number()));
    status
}

/// The code a status says; the nearest one where it comes from gRPC itself.
pub fn code_of(status: &Status) -> Code {
    let said = status.metadata().get(CODE);
    let number = said.and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(code) = number.and_then(Code::from_number) {
        return code;
    }
    match status.code() {
        tonic::Code::Ok => Code::Left,
        // A deadline that passed on our own side shows as cancelled.
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Code::TimedOut,
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::ResourceExhausted => Code::Overloaded,
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::Malformed,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::Unimplemented => Code::Unsupported,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
        tonic::Code::PermissionDenied => Code::Forbidden,
        tonic::Code::FailedPrecondition | tonic::Code::AlreadyExists | tonic::Code::Aborted => {
            Code::OutOfOrder
        }
        tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::DataLoss => Code::Internal,
    }
}

/// Whether nobody listens where the call went: the process is gone, not slow.
pub fn is_refused(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_as_a_status() {
        for code in Code::ALL {
            assert_eq!(code_of(&status(*code, "why")), *code);
        }
        assert_eq!(code_of(&Status::unavailable("gone")), Code::Unavailable);
        assert_eq!(
            code_of(&Status::cancelled("Timeout expired")),
            Code::TimedOut
        );
    }

    #[tokio::test]
    async fn only_urls_of_grpc_services_are_taken() {
        for url in ["grpc://127.0.0.1:7000", "http://localhost:1"] {
            assert!(connect_lazy(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "redis://x:1",
            "127.0.0.1:7000",
            "http://",
            "grpc://",
            "a b",
        ] {
            assert!(connect_lazy(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_dead_process_refuses_and_a_mute_one_does_not() {
        use crate::rpc::meeting_controller_client::MeetingControllerClient;
        let hold = async |addr: SocketAddr| {
            let mut client = MeetingControllerClient::new(connect_lazy(&url(addr)).unwrap());
            let asked = request(
                crate::rpc::HoldRequest::default(),
                TraceContext::root(),
                Duration::from_millis(300),
            );
            client.hold(asked).await.unwrap_err()
        };
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = mute.local_addr().unwrap();
        assert!(!is_refused(&hold(addr).await));
        drop(mute);
        assert!(is_refused(&hold(addr).await));
        assert!(!is_refused(&status(Code::Unavailable, "said by a service")));
    }

    #[test]
    fn the_trace_goes_along() {
        let trace = TraceContext::root();
        let sent = request((), trace, Duration::from_secs(1));
        assert_eq!(trace_of(&sent).trace_id(), trace.trace_id());
    }
}
