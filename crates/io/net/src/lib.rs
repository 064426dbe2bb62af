//! The effects of QUIC, WebTransport and HTTP, without rules.
//!
//! What it is: endpoints that accept and connect, sessions with streams and datagrams, HTTP/1.1, 2 and 3 in front
//! of one `axum::Router`, the certificates they all show, and bounds on what a stranger may cost us. Everything
//! above speaks this small API, so that the QUIC implementation beneath can be replaced: none of its types appear here.
//!
//! What it must not do: know a meeting, a token, a track or an origin allow-list. It hands the facts of an
//! incoming session up ([`Incoming`]) and performs what it is told. Length-prefixed framing is `darktower_wire::frame`.
//!
//! Where to start: [`Server`] and [`Client`] give a [`Session`]; [`wt`] is the same without IO, for loops of one's
//! own; [`http::Server`] serves a router; [`Certs`] is what all servers share.
//!
//! Invariant: a stream whose sender was dropped without [`SendStream::finish`] is reset, never finished, so a reader
//! never takes half a message for a whole one. Reads are ordered only.

mod admission;
pub mod cert;
mod client;
mod error;
pub mod http;
mod patient;
pub mod plane;
mod server;
mod session;
mod stream;
mod tls;
mod tuning;
mod udp;
pub mod wt;

pub use cert::{Certs, Fingerprint};
pub use client::{Client, Ports, ServerTrust};
pub use error::{
    BindError, CertError, CloseReason, ClosedBy, ConnectError, DatagramError, ReadError, WriteError,
};
pub use server::{Config, Incoming, Limits, Server};
pub use session::{PathStats, Session};
pub use stream::{CANCELLED, RecvStream, SendStream};
pub use tuning::{Congestion, Tuning};

/// The URL type that [`Client::connect`] takes.
pub use url::Url;
