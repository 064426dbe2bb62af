//! WebTransport over HTTP/3 over QUIC without IO: datagrams and time go in, datagrams and events come out.
//!
//! Both ends are here. An [`Endpoint`] holds the connections of one socket; each carries one [`Session`]. Whoever
//! drives it (`plane`, a load generator, a test in virtual time) hands over what came ([`Endpoint::receive`]), takes
//! the events, reads and writes by the session's verbs, and sends what [`Endpoint::poll_transmit`] gives, once for all
//! that was written since the last time: the fewer and the larger the transmits, the cheaper.
//!
//! It must not read a clock, open a socket, know an origin or a token. No type of the QUIC implementation is shown.
//!
//! Where to start: [`Serving`] or [`Calling`] makes an [`Endpoint`]; then [`Event`] and [`Session`].
//!
//! Invariant: reads are ordered; a header may be cut anywhere and may come before the session is open; nothing that a
//! peer can make grow is unbounded.

mod close;
mod endpoint;
mod h3;
mod ids;
mod incoming;
mod outgoing;
mod path;
mod request;
mod session;
mod setup;

pub use endpoint::{Ecn, Endpoint, Received, Transmit};
pub use incoming::Progress;
pub use path::{Paths, SharedPath};
pub use request::Request;
pub use session::{Event, Session, SessionKey, StreamId};
pub use setup::{Calling, Serving};
