//! The WebTransport client, for native participants and tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::{Host, Url};
use web_transport_quinn as wt;

use crate::cert::Fingerprint;
use crate::error::{BindError, ConnectError};
use crate::session::Session;
use crate::tuning::Tuning;
use crate::{server, tls, udp};

/// From the call to the session.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Head start of one address of a host over the next (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Which server certificates a client believes.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Exactly those with one of these SHA-256 hashes.
    Hashes(Vec<Fingerprint>),
    /// Those that the system's certification authorities vouch for.
    System,
    /// Those that the authorities in this PEM text vouch for.
    Pem(String),
}

/// UDP ports that several clients connect from, one per address family. Each holds some MiB of buffers: clients that
/// come and go share them.
#[derive(Clone, Default)]
pub struct Ports(Arc<Mutex<[Option<quinn::Endpoint>; 2]>>);

impl Ports {
    /// What went wrong with one is not to stay: it is bound anew at the next use.
    fn forget(&self, broken: &quinn::Endpoint) {
        let addr = broken.local_addr().ok();
        for held in self.endpoints().iter_mut() {
            let is_it = |held: &mut quinn::Endpoint| held.local_addr().ok() == addr;
            drop(held.take_if(is_it));
        }
    }

    /// Bound at first use: IPv4, IPv6.
    fn endpoints(&self) -> MutexGuard<'_, [Option<quinn::Endpoint>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to WebTransport servers from one UDP port per address family.
pub struct Client {
    config: quinn::ClientConfig,
    /// Where packets come from; any address of the machine where it says none.
    local: Option<IpAddr>,
    ports: Ports,
}

impl Client {
    /// A client that trusts `trust`. Call it inside a tokio runtime.
    pub fn new(trust: ServerTrust, tuning: &Tuning) -> Result<Self, BindError> {
        Self::with_ports(Ports::default(), trust, tuning)
    }

    /// The same from ports that others use as well.
    pub fn with_ports(
        ports: Ports,
        trust: ServerTrust,
        tuning: &Tuning,
    ) -> Result<Self, BindError> {
        Ok(Self {
            config: tuning.client(tls::client(trust)?)?,
            local: None,
            ports,
        })
    }

    /// The same from one address of this machine: for load that shall look like that of several hosts. Reaches nothing
    /// of the other address family.
    pub fn from_address(
        trust: ServerTrust,
        tuning: &Tuning,
        local: IpAddr,
    ) -> Result<Self, BindError> {
        Ok(Self {
            local: Some(local),
            ..Self::new(trust, tuning)?
        })
    }

    /// Opens a session at `url` (`https://host:port/path?query`), sending `headers` with CONNECT. A host with several
    /// addresses is tried on all of them, staggered; the first that answers wins. Takes at most 10 s.
    pub async fn connect(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Result<Session, ConnectError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let bad = |what: String| ConnectError::Url(format!("header {name}: {what}"));
            map.append(
                HeaderName::try_from(*name).map_err(|e| bad(e.to_string()))?,
                HeaderValue::try_from(*value).map_err(|e| bad(e.to_string()))?,
            );
        }
        let request = wt::proto::ConnectRequest::new(url.clone()).with_headers(map);
        timeout(CONNECT_WITHIN, async {
            let conn = self.reach(url).await?;
            let session = wt::Session::connect(conn, request).await?;
            Ok(Session::new(session))
        })
        .await
        .unwrap_or(Err(ConnectError::TimedOut))
    }

    /// Closes every session from this client's ports and waits, at most a second, until the peers were told.
    pub async fn stop(&self) {
        let endpoints = self.ports.endpoints().clone();
        for endpoint in endpoints.iter().flatten() {
            server::close(endpoint).await;
        }
    }

    async fn reach(&self, url: &Url) -> Result<quinn::Connection, ConnectError> {
        let bad = |what: &str| ConnectError::Url(format!("{what} in {:?}", url.host_str()));
        if url.scheme() != "https" {
            return Err(bad("scheme is not https"));
        }
        let port = url.port_or_known_default().ok_or_else(|| bad("no port"))?;
        let (name, addrs) = match url.host().ok_or_else(|| bad("no host"))? {
            Host::Ipv4(ip) => (ip.to_string(), vec![SocketAddr::from((ip, port))]),
            Host::Ipv6(ip) => (ip.to_string(), vec![SocketAddr::from((ip, port))]),
            Host::Domain(name) => {
                let resolve = |what: String| ConnectError::Resolve {
                    host: name.to_owned(),
                    what,
                };
                let found = tokio::net::lookup_host((name, port)).await;
                let addrs: Vec<_> = found.map_err(|e| resolve(e.to_string()))?.collect();
                if addrs.is_empty() {
                    return Err(resolve("no address".into()));
                }
                (name.to_owned(), addrs)
            }
        };
        let mut last = ConnectError::TimedOut;
        let mut attempts = JoinSet::new();
        for (addr, turn) in addrs.into_iter().zip(0..) {
            let endpoint = match self.endpoint(addr.ip()) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    last = error.into();
                    continue;
                }
            };
            let (config, name, ports) = (self.config.clone(), name.clone(), self.ports.clone());
            attempts.spawn(async move {
                sleep(HEAD_START * turn).await;
                let connecting = endpoint.connect_with(config, addr, &name).map_err(|e| {
                    if e == quinn::ConnectError::EndpointStopping {
                        ports.forget(&endpoint);
                    }
                    ConnectError::Connection(e.to_string())
                })?;
                Ok::<_, ConnectError>(connecting.await?)
            });
        }
        while let Some(done) = attempts.join_next().await {
            match done {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => last = error,
                Err(error) => last = ConnectError::Connection(error.to_string()),
            }
        }
        Err(last)
    }

    fn endpoint(&self, to: IpAddr) -> Result<quinn::Endpoint, BindError> {
        let (slot, any) = match to {
            IpAddr::V4(_) => (0, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => (1, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        };
        let from = self.local.unwrap_or(any);
        let held = &mut self.ports.endpoints()[slot];
        match held {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(held
                .insert(udp::endpoint(SocketAddr::new(from, 0), None, None)?)
                .clone()),
        }
    }
}

impl From<quinn::ConnectionError> for ConnectError {
    fn from(error: quinn::ConnectionError) -> Self {
        match &error {
            quinn::ConnectionError::TimedOut => Self::TimedOut,
            quinn::ConnectionError::TransportError(e) if is_certificate_alert(e.code.into()) => {
                Self::Untrusted(e.reason.clone())
            }
            _ => Self::Connection(error.to_string()),
        }
    }
}

/// CRYPTO_ERROR (RFC 9001 §4.8) with an alert from bad_certificate (42) to access_denied (49) (RFC 8446 §6.2).
fn is_certificate_alert(code: u64) -> bool {
    (0x12a..=0x131).contains(&code)
}

impl From<wt::ClientError> for ConnectError {
    fn from(error: wt::ClientError) -> Self {
        use wt::proto::ConnectError as Proto;
        match error {
            wt::ClientError::Connection(e) => e.into(),
            wt::ClientError::HttpError(
                wt::ConnectError::ErrorStatus(status)
                | wt::ConnectError::ProtoError(Proto::WrongStatus(Some(status))),
            ) => Self::Rejected(status.as_u16()),
            wt::ClientError::HttpError(wt::ConnectError::ConnectionError(e)) => e.into(),
            other => Self::Connection(other.to_string()),
        }
    }
}
