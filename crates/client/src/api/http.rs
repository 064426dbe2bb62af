//! One HTTP/1.1 connection, opened when needed and kept.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use darktower_net::Url;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::ApiError;

/// Larger than any real answer: the largest holds a key group of some hundred members.
const MAX_ANSWER: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Connection {
    tls: bool,
    host: String,
    port: u16,
    /// `host:port` as the server is to be called.
    authority: String,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Connection {
    pub(super) fn new(base: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::Url(base.to_owned());
        let url = Url::parse(base).map_err(|_| bad())?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(bad()),
        };
        let host = url.host_str().ok_or_else(bad)?;
        let port = url.port_or_known_default().ok_or_else(bad)?;
        Ok(Self {
            tls,
            // An IPv6 address is written with brackets in a URL, and without them elsewhere.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: format!("{host}:{port}"),
            sender: Mutex::new(None),
        })
    }

    /// Asks, over the kept connection if it still stands.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Vec<u8>>,
        traceparent: &str,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if !traceparent.is_empty() {
            request = request.header("traceparent", traceparent);
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| ApiError::Url(path.to_owned()))?;

        let mut held = self.sender.lock().await;
        let mut kept = held.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => ApiError::Http(*error),
            Err(error) if error.is::<LengthLimitError>() => ApiError::TooLarge,
            Err(error) => ApiError::Connect(io::Error::other(error)),
        })?;
        *held = Some(sender);
        Ok((status, body.to_bytes()))
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, ApiError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        if !self.tls {
            return begin(tcp).await;
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| ApiError::Url(self.host.clone()))?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        begin(tls.await?).await
    }
}

async fn begin<T>(io: T) -> Result<SendRequest<Full<Bytes>>, ApiError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // Its error is what the request on it ends with; it stops when the sender is dropped.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender)
}
