//! Every byte that is said between two parts of Dark Tower: ids, media frame
//! headers, signalling messages, token claims and the table of error codes.
//!
//! It must not do anything: no IO, no clock, no rule about meetings or layers.
//! It encodes, decodes and names. Decoders never panic and never allocate more
//! than the input they were given.
//!
//! Start with [`media::Header`] (what a forwarded frame looks like),
//! [`signal`] (what participant and controller say) and [`Code`] (everything
//! that can go wrong). The normative texts are `docs/protocol/*.md`.

pub mod code;
pub mod datagram;
pub mod framing;
pub mod ids;
pub mod media;
pub mod mls;
pub mod secret;
pub mod token;
pub mod varint;
#[cfg(feature = "vectors")]
pub mod vectors;

/// Messages between participant and meeting controller, generated from
/// `proto/signal/v1/signal.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[path = "gen/darktower.signal.v1.rs"]
pub mod signal;

/// Messages on the control stream of a media session, generated from
/// `proto/media/v1/media.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[path = "gen/darktower.media.v1.rs"]
pub mod media_control;

pub use code::Code;
pub use secret::Secret;
pub use varint::DecodeError;
