//! Who is here: both ends of the signalling conversation.
//!
//! [`Meeting`] is the controller's end: one per meeting, it keeps the roster,
//! the seats, the tracks, and the order of key commits. [`Session`] is a
//! participant's end: it connects, joins, stays alive, resumes.
//!
//! It must not do IO, read a clock, make random numbers or open an end-to-end
//! key: bytes that belong to the key group are relayed by their clear frame
//! alone. Time is a [`core::time::Duration`] since an origin of the shell's.
//!
//! Start with [`meeting::Input`] and [`session::Input`]: what each end can be
//! told. The normative text of the conversation is `docs/protocol/signal.md`.

mod fingerprint;
pub mod meeting;
pub mod session;

pub use meeting::Meeting;
pub use session::Session;
