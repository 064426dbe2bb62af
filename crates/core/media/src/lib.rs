//! What goes where: the media plane without its sockets.
//!
//! Both ends of the conversation live here. [`Publisher`] cuts a participant's
//! encoded frames into groups and sends them; [`Forwarder`] (one per meeting, in
//! the media handler) decides which session gets which frame, and [`Egress`] (one
//! per session) what of it may still be written; [`Subscriber`] turns streams and
//! datagrams back into decodable frames.
//!
//! It must not do IO, read a clock, or know a key: sealing and opening are asked of
//! [`Sealer`] and [`Opener`], so a handler that links this crate holds no cipher.
//! It knows seats and tracks, never names or roles.
//!
//! Start with [`Publisher::frame`], [`Forwarder::on_frame`], [`Egress::push`] and
//! [`Subscriber::handle`]; [`door::Door`] says whom a handler lets in. Time is a [`core::time::Duration`] since an origin that
//! the shell chooses. Normative text: `docs/protocol/media.md`.
//!
//! Invariant: nothing here waits for one missing frame or stream. Every wait has a
//! deadline, after which the gap is skipped and, for video, a key frame asked for.

pub mod allocate;
pub mod allowance;
pub mod arrivals;
mod ask;
pub mod demand;
pub mod door;
pub mod egress;
pub mod forwarder;
pub mod path;
pub mod publisher;
mod rate;
mod repeat;
mod seal;
mod shape;
pub mod speakers;
pub mod subscriber;
pub mod uplink;

pub use egress::Egress;
pub use forwarder::Forwarder;
pub use publisher::Publisher;
pub use rate::Bitrate;
pub use seal::{OpenError, Opener, Sealer};
pub use shape::{LayerShape, Shape};
pub use subscriber::Subscriber;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Datagrams, each frame for itself.
    Audio,
    /// A stream for each group.
    Video,
}
