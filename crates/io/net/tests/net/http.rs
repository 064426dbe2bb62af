use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::{Buf, Bytes};
use darktower_net::http::{Config, Limits, Server, Transport};
use darktower_net::{BindError, Certs};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::{ANY, Duration, SocketAddr, certs, soon};

/// A TLS client that takes what `certs` shows as its root.
pub(crate) fn trusting(certs: &Certs, alpn: &[&[u8]]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let pem = certs.shown_pem();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config
}

fn router() -> Router {
    Router::new()
        .route("/echo", post(|body: Bytes| async move { body }))
        .route(
            "/who",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/unread", post(|| async { StatusCode::NO_CONTENT }))
}

fn serve(certs: &Certs, router: Router, limits: Limits) -> Server {
    let config = Config {
        addr: ANY,
        transport: Transport::TlsAndHttp3(certs.clone()),
        limits,
    };
    Server::bind(config, router).unwrap()
}

type Answer = Result<(Response<()>, Vec<u8>), String>;

/// One request on a connection of its own.
async fn ask(certs: &Certs, addr: SocketAddr, version: u8, request: Request<Bytes>) -> Answer {
    match version {
        3 => ask_h3(certs, addr, request).await,
        _ => ask_tcp(certs, addr, version, request).await,
    }
}

async fn tls(
    certs: &Certs,
    addr: SocketAddr,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trusting(certs, &[alpn])));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    stream
}

async fn ask_tcp(certs: &Certs, addr: SocketAddr, version: u8, request: Request<Bytes>) -> Answer {
    let alpn: &[u8] = if version == 2 { b"h2" } else { b"http/1.1" };
    let io = TokioIo::new(tls(certs, addr, alpn).await);
    let request = request.map(Full::new);
    let words = |e: hyper::Error| e.to_string();
    let response = if version == 2 {
        let (mut send, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(words)?;
        tokio::spawn(conn);
        send.send_request(request).await
    } else {
        let (mut send, conn) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(words)?;
        tokio::spawn(conn);
        send.send_request(request).await
    };
    let (head, body) = response.map_err(words)?.into_parts();
    let body = body.collect().await.map_err(words)?.to_bytes();
    Ok((Response::from_parts(head, ()), body.to_vec()))
}

async fn ask_h3(certs: &Certs, addr: SocketAddr, request: Request<Bytes>) -> Answer {
    let mut endpoint = quinn::Endpoint::client(ANY).unwrap();
    endpoint.set_default_client_config(crate::bounds::raw_config(certs));
    let conn = endpoint
        .connect(addr, "localhost")
        .unwrap()
        .await
        .map_err(|e| e.to_string())?;
    let (mut driver, mut send) = h3::client::new(h3_quinn::Connection::new(conn))
        .await
        .map_err(|e| e.to_string())?;
    let answer = async {
        let words = |e: h3::error::StreamError| e.to_string();
        let (head, body) = request.into_parts();
        let mut stream = send
            .send_request(Request::from_parts(head, ()))
            .await
            .map_err(words)?;
        // The server may answer and stop the body early.
        let sent = match stream.send_data(body).await {
            Ok(()) => stream.finish().await,
            Err(error) => Err(error),
        };
        let response = stream
            .recv_response()
            .await
            .map_err(|e| format!("{e} {sent:?}"))?;
        let mut body = Vec::new();
        while let Some(mut data) = stream.recv_data().await.map_err(words)? {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        Ok((response, body))
    };
    tokio::select! {
        answer = answer => answer,
        end = std::future::poll_fn(|cx| driver.poll_close(cx)) => Err(end.to_string()),
    }
}

fn get_request(addr: SocketAddr, path: &str) -> Request<Bytes> {
    Request::get(format!("https://{addr}{path}"))
        .body(Bytes::new())
        .unwrap()
}

fn post_request(addr: SocketAddr, path: &str, body: Bytes) -> Request<Bytes> {
    Request::post(format!("https://{addr}{path}"))
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn one_router_answers_on_all_three_versions() {
    let certs = certs();
    let server = serve(&certs, router(), Limits::default());
    let addr = server.local_addr();
    let big: Bytes = (0..900_000u32).map(|n| (n % 241) as u8).collect();
    for version in [1, 2, 3] {
        let request = post_request(addr, "/echo", big.clone());
        let (head, body) = soon("echo", ask(&certs, addr, version, request))
            .await
            .unwrap();
        assert_eq!(head.status(), 200, "version {version}");
        assert!(body == big, "version {version}");
        assert_eq!(head.headers()["content-length"], "900000");
        let told = head.headers().get("alt-svc").map(|v| v.to_str().unwrap());
        let expected = format!("h3=\":{}\"; ma=86400", addr.port());
        assert_eq!(told, (version < 3).then_some(expected.as_str()));

        let request = get_request(addr, "/who");
        let (_, body) = soon("who", ask(&certs, addr, version, request))
            .await
            .unwrap();
        assert_eq!(body, b"127.0.0.1");

        let request = get_request(addr, "/nowhere");
        let (head, _) = soon("404", ask(&certs, addr, version, request))
            .await
            .unwrap();
        assert_eq!(head.status(), 404);
    }
}

#[tokio::test]
async fn bodies_and_headers_are_bounded_on_all_three_versions() {
    let certs = certs();
    let limits = Limits {
        body_bytes: 1000,
        ..Limits::default()
    };
    let server = serve(&certs, router(), limits);
    let addr = server.local_addr();
    for version in [1, 2, 3] {
        let fits = post_request(addr, "/echo", Bytes::from(vec![1; 1000]));
        let (head, _) = soon("fits", ask(&certs, addr, version, fits))
            .await
            .unwrap();
        assert_eq!(head.status(), 200);
        let too_big = post_request(addr, "/echo", Bytes::from(vec![1; 1001]));
        let (head, _) = soon("too big", ask(&certs, addr, version, too_big))
            .await
            .unwrap();
        assert_eq!(head.status(), 413, "version {version}");
        let mut long = get_request(addr, "/who");
        long.headers_mut()
            .insert("x-long", "a".repeat(100_000).parse().unwrap());
        let answer = soon("long header", ask(&certs, addr, version, long)).await;
        let refused = answer.map_or(true, |(head, _)| head.status() == 431);
        assert!(refused, "version {version}");
        // The server is well.
        let (head, _) = soon("who", ask(&certs, addr, version, get_request(addr, "/who")))
            .await
            .unwrap();
        assert_eq!(head.status(), 200);
    }
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let certs = certs();
    let limits = Limits {
        header_within: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = serve(&certs, router(), limits);
    let addr = server.local_addr();
    let begun = Instant::now();
    let slow = async {
        // Not a byte of the TLS handshake.
        let mut silent = TcpStream::connect(addr).await.unwrap();
        assert_eq!(silent.read(&mut [0; 64]).await.unwrap_or(0), 0);
        for (alpn, words) in [
            (&b"http/1.1"[..], &b""[..]),
            (b"h2", b""),
            (b"http/1.1", b"GET /who HTTP/1.1\r\nHost: "),
        ] {
            let mut stream = tls(&certs, addr, alpn).await;
            stream.write_all(words).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    };
    soon("all let go", slow).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn plain_is_for_loopback_only() {
    for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let config = Config {
            addr: addr.parse().unwrap(),
            transport: Transport::Plain,
            limits: Limits::default(),
        };
        let refused = Server::bind(config, router()).err().unwrap();
        assert!(matches!(refused, BindError::PlainNotLoopback(_)));
        assert!(refused.to_string().contains("loopback"));
    }
    let config = Config {
        addr: ANY,
        transport: Transport::Plain,
        limits: Limits::default(),
    };
    let server = Server::bind(config, router()).unwrap();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon("answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"));
    assert!(!answer.contains("alt-svc"));
}

#[tokio::test]
async fn a_drain_lets_requests_at_hand_finish() {
    let certs = certs();
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = {
        let (arrived, go_on) = (arrived.clone(), go_on.clone());
        Router::new().route(
            "/slow",
            get(move || async move {
                arrived.notify_one();
                go_on.notified().await;
                Body::from("done")
            }),
        )
    };
    for version in [1, 2, 3] {
        let server = serve(&certs, router.clone(), Limits::default());
        let addr = server.local_addr();
        let drain = async {
            tokio::join!(
                ask(&certs, addr, version, get_request(addr, "/slow")),
                async {
                    arrived.notified().await;
                    tokio::join!(server.stop(Duration::from_secs(8)), async {
                        go_on.notify_one();
                    });
                }
            )
        };
        let (answer, ()) = soon("drain", drain).await;
        assert_eq!(answer.unwrap().1, b"done", "version {version}");
        assert!(TcpStream::connect(addr).await.is_err());
    }
}

#[tokio::test]
async fn an_unread_body_does_not_hold_the_answer() {
    let certs = certs();
    let server = serve(&certs, router(), Limits::default());
    let addr = server.local_addr();
    for version in [1, 2, 3] {
        let request = post_request(addr, "/unread", Bytes::from(vec![1; 500_000]));
        let (head, _) = soon("answer", ask(&certs, addr, version, request))
            .await
            .unwrap();
        assert_eq!(head.status(), 204, "version {version}");
    }
}
