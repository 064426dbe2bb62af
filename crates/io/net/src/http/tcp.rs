//! HTTP/1.1 and HTTP/2 on TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Shared;

/// After accept failed for want of descriptors: let some connection end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the server drains.
pub(super) async fn listen(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
) {
    let tls = tls.map(TlsAcceptor::from);
    let accept = async {
        // The semaphore is never closed.
        while let Ok(permit) = shared.room.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (tls, shared) = (tls.clone(), shared.clone());
                    let tasks = shared.tasks.clone();
                    tasks.spawn(async move {
                        let stopped = shared.stopped.clone();
                        tokio::select! {
                            () = stopped.cancelled() => {}
                            () = connection(stream, peer, tls, shared) => {}
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a TCP connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = shared.draining.cancelled() => {}
        () = accept => {}
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return serve(stream, peer, false, shared).await;
    };
    match timeout(shared.limits.header_within, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, peer, http2, shared).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake too slow"),
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, http2: bool, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits;
    // HTTP/2 has no time-out for a peer that never says a word.
    let mut stream = BufReader::new(stream);
    match timeout(limits.header_within, stream.fill_buf()).await {
        Ok(Ok(first)) if !first.is_empty() => {}
        _ => return tracing::debug!(%peer, "connected and said nothing"),
    }
    let service = service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let answered: Result<axum::response::Response<Body>, _> =
                shared.answer(peer, request).await;
            answered.map(|mut response| {
                shared.announce(&mut response);
                response
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_within)
        .max_buf_size((limits.header_bytes as usize).max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.requests)
        .keep_alive_interval(limits.write_within)
        .keep_alive_timeout(limits.write_within);
    // What was agreed in the handshake is not up for guessing, and guessing has no time-out.
    let builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}
