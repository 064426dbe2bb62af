//! One error per operation.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a certificate could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A PEM file holds no certificate, no key, or something malformed.
    #[error("{path}: {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A configured name is not a DNS name or address, or the key was refused.
    #[error("cannot issue a certificate: {0}")]
    Issue(String),
    /// Key and certificate do not belong together or are of a kind we do not speak.
    #[error("certificate refused: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why an endpoint could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Address {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Plain HTTP was asked for on an address that others can reach.
    #[error(
        "refusing plain HTTP on {0}: it is not a loopback address, and tokens would travel in clear; give it a certificate or listen on 127.0.0.1"
    )]
    PlainNotLoopback(SocketAddr),
    /// TLS could not be configured.
    #[error("TLS: {0}")]
    Tls(String),
    /// A limit or tuning value is out of range.
    #[error("configuration: {0}")]
    Config(&'static str),
}

/// Why [`Client::connect`](crate::Client::connect) gave no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an `https` URL with a host.
    #[error("not a WebTransport URL: {0}")]
    Url(String),
    /// The host name has no address.
    #[error("cannot resolve {host}: {what}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        what: String,
    },
    /// The local socket could not be made.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server showed a certificate that is not trusted.
    #[error("server certificate not trusted: {0}")]
    Untrusted(String),
    /// The server answered CONNECT with this HTTP status.
    #[error("rejected with status {0}")]
    Rejected(u16),
    /// The server refused or broke the connection before the session stood.
    #[error("connection failed: {0}")]
    Connection(String),
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// We did, by [`Session::close`](crate::Session::close) or by dropping the last handle.
    Here,
    /// The peer did.
    Peer,
    /// Nobody did: nothing was heard for the idle time-out, the peer has forgotten the connection (it restarted), or
    /// it broke the transport protocol.
    Lost,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session closed ({by:?}, code {code}): {reason}")]
pub struct CloseReason {
    /// The application's code; 0 where none was given.
    pub code: u32,
    /// The application's words, or the transport's where it broke.
    pub reason: String,
    /// Who ended it.
    pub by: ClosedBy,
}

/// Why a write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The peer does not want this stream (STOP_SENDING, RFC 9000 §19.5); `None` when its code is not a WebTransport one.
    #[error("stopped by the peer with code {0:?}")]
    Stopped(Option<u32>),
    /// We already finished or reset it.
    #[error("stream already finished")]
    Finished,
    /// The session is over.
    #[error(transparent)]
    Session(#[from] CloseReason),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The peer gave the stream up (RESET_STREAM, RFC 9000 §19.4); `None` when its code is not a WebTransport one.
    #[error("reset by the peer with code {0:?}")]
    Reset(Option<u32>),
    /// We already stopped it or read it to its end.
    #[error("stream already over")]
    Finished,
    /// The session is over.
    #[error(transparent)]
    Session(#[from] CloseReason),
}

/// Why a datagram was not sent or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Larger than [`Session::max_datagram_size`](crate::Session::max_datagram_size) now is.
    #[error("datagram too large")]
    TooLarge,
    /// The peer takes no datagrams.
    #[error("the peer takes no datagrams")]
    Unsupported,
    /// The session is over.
    #[error(transparent)]
    Session(#[from] CloseReason),
}
