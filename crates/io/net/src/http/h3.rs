//! HTTP/3: the bridge between `h3` and the router. Bodies are streamed in both directions.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h3::error::{Code, StreamError};
use ::h3::quic::BidiStream;
use ::h3::server::{RequestResolver, RequestStream};
use ::http::{HeaderName, Response, header};
use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::Shared;
use crate::server::NO_ERROR;

/// How long a drained connection stays for its last packets, at least.
const DRAIN_LINGER: Duration = Duration::from_millis(250);

type Connection = ::h3::server::Connection<h3_quinn::Connection, Bytes>;
type Resolver = RequestResolver<h3_quinn::Connection, Bytes>;
type Stream = <h3_quinn::Connection as ::h3::quic::OpenStreams<Bytes>>::BidiStream;
type Receiving = RequestStream<<Stream as BidiStream<Bytes>>::RecvStream, Bytes>;
type Sending = RequestStream<<Stream as BidiStream<Bytes>>::SendStream, Bytes>;

/// Fields about one TCP connection, which HTTP/3 forbids (RFC 9114 §4.2).
const CONNECTION_FIELDS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Accepts until the server drains, refuses until it stops.
pub(super) async fn listen(endpoint: quinn::Endpoint, shared: Arc<Shared>) {
    loop {
        let incoming = tokio::select! {
            () = shared.stopped.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let full = endpoint.open_connections() >= shared.limits.connections;
        if full || shared.draining.is_cancelled() {
            incoming.refuse();
            continue;
        }
        shared.tasks.spawn(connection(incoming, shared.clone()));
    }
}

async fn connection(incoming: quinn::Incoming, shared: Arc<Shared>) {
    let peer = incoming.remote_address();
    let conn = match incoming.accept().map(quinn::Connecting::into_0rtt) {
        Ok(Ok((conn, _))) => conn,
        Ok(Err(_)) => return,
        Err(error) => return tracing::debug!(%peer, %error, "handshake failed"),
    };
    let setup = async {
        ::h3::server::builder()
            .max_field_section_size(shared.limits.header_bytes.into())
            .build(h3_quinn::Connection::new(conn.clone()))
            .await
    };
    match timeout(shared.limits.header_within, setup).await {
        Ok(Ok(mut http)) => tokio::select! {
            () = shared.stopped.cancelled() => {}
            () = serve(&mut http, peer, &shared) => {
                // The last response may still be on its way, and dropping `http` closes the connection.
                let linger = DRAIN_LINGER.max(conn.rtt() * 3);
                if timeout(linger, conn.closed()).await.is_err() {
                    tracing::trace!(%peer, "closing a drained HTTP/3 connection");
                }
            }
        },
        Ok(Err(error)) => tracing::debug!(%peer, %error, "HTTP/3 setup failed"),
        Err(_) => tracing::debug!(%peer, "HTTP/3 setup too slow"),
    }
    conn.close(NO_ERROR, b"");
}

async fn serve(http: &mut Connection, peer: SocketAddr, shared: &Arc<Shared>) {
    let requests = TaskTracker::new();
    let mut draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = http.accept() => accepted,
            () = shared.draining.cancelled(), if !draining => {
                draining = true;
                requests.close();
                // GOAWAY: what is on its way is served, nothing more.
                if let Err(error) = http.shutdown(0).await {
                    return tracing::debug!(%peer, %error, "HTTP/3 connection ended");
                }
                continue;
            }
            () = requests.wait(), if draining => return,
        };
        match accepted {
            Ok(Some(resolver)) => {
                requests.spawn(request(resolver, peer, shared.clone()));
            }
            Ok(None) => break,
            Err(error) => return tracing::debug!(%peer, %error, "HTTP/3 connection ended"),
        }
    }
    requests.close();
    requests.wait().await;
}

/// One request on its stream. Errors concern that stream only.
async fn request(resolver: Resolver, peer: SocketAddr, shared: Arc<Shared>) {
    let limits = shared.limits;
    let (request, stream) = match timeout(limits.header_within, resolver.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "HTTP/3 request refused"),
        // Dropped, the stream is reset.
        Err(_) => return tracing::debug!(%peer, "HTTP/3 request header too slow"),
    };
    let (mut send, recv) = stream.split();
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let body = RequestBody {
        recv,
        declared,
        data_over: false,
        over: false,
    };
    let Ok(response) = shared.answer(peer, request.map(|()| body)).await;
    if let Err(error) = respond(&mut send, response, limits.write_within).await {
        tracing::debug!(%peer, error, "HTTP/3 response not delivered");
        send.stop_stream(Code::H3_INTERNAL_ERROR);
    }
}

async fn respond(
    send: &mut Sending,
    response: Response<Body>,
    within: Duration,
) -> Result<(), String> {
    async fn bounded(
        within: Duration,
        step: impl Future<Output = Result<(), StreamError>>,
    ) -> Result<(), String> {
        match timeout(within, step).await {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err("the peer does not read".into()),
        }
    }
    let (mut head, mut body) = response.into_parts();
    for field in &CONNECTION_FIELDS {
        head.headers.remove(field);
    }
    // As in HTTP/1.1 and 2, a length that is known is said.
    if let Some(length) = body.size_hint().exact()
        && head.status != ::http::StatusCode::NO_CONTENT
        && !head.status.is_informational()
    {
        head.headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    bounded(within, send.send_response(Response::from_parts(head, ()))).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| e.to_string())?;
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => bounded(within, send.send_data(data)).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    bounded(within, send.send_trailers(trailers)).await?;
                }
            }
        }
    }
    bounded(within, send.finish()).await
}

/// A request body read from the stream as the handler asks for it.
struct RequestBody {
    recv: Receiving,
    /// What Content-Length says.
    declared: Option<u64>,
    data_over: bool,
    over: bool,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        if !this.data_over {
            match ready!(this.recv.poll_recv_data(cx)) {
                Ok(Some(mut data)) => {
                    let data = data.copy_to_bytes(data.remaining());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(None) => this.data_over = true,
                Err(error) => {
                    (this.data_over, this.over) = (true, true);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        if this.over {
            return Poll::Ready(None);
        }
        let trailers = ready!(this.recv.poll_recv_trailers(cx));
        this.over = true;
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|t| Ok(Frame::trailers(t))),
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match self.declared {
            // A lower bound only: it is the peer's word.
            Some(declared) if !self.data_over => {
                let mut hint = SizeHint::new();
                hint.set_lower(declared);
                hint
            }
            _ => SizeHint::default(),
        }
    }
}
