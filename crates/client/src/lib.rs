//! A native participant: the participant core with native effects.
//!
//! The same [`darktower_participant::Participant`] that the browser's worker runs, with WebTransport by
//! `darktower-net` and a tokio task around it: for bots, load, tests and programs of third parties.
//!
//! It must not decide anything about a meeting: what to say when is the core's, this performs it. One task owns the
//! core and never waits for a peer; every stream has a task of its own that may.
//!
//! Start with [`Api`], which knows where a meeting is, and [`Client::enter`]; `examples/` is the manual.
//! [`file::Clip`] and [`Track::play`] publish an encoded file as if it were a camera or a microphone.

mod api;
mod client;
mod encoders;
pub mod file;
mod invitation;
mod link;
mod play;
mod shell;
mod stream;
pub mod synthetic;
mod via;

pub use api::{Api, ApiError, CreateMeeting, Created, HttpProblem};
pub use client::{Chunk, Client, Event, Events, Frame, Gone, Track};
pub use encoders::Asked;
pub use invitation::{Invitation, InvitationError};
pub use via::Via;

pub use darktower_participant::{
    Access, Command, Counters, Event as Notice, LayerOffer, Link, LinkState, Phase, State,
    TrackOffer, TrackSource, View,
};
pub use darktower_wire::Code;
pub use darktower_wire::ids::{ParticipantId, TrackId};
pub use darktower_wire::media::AudioLevel;
