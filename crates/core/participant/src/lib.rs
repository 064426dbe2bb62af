//! The participant: session, tracks and keys of one end, composed.
//!
//! The same code runs in the native client and, as WASM, in the browser's
//! worker. It owns what neither `darktower_meeting`, `darktower_media` nor
//! `darktower_e2ee` may know of one another: which key event follows from which
//! message, who owns a track whose frame is to be opened, which connection is
//! opened when.
//!
//! It must not do IO or read a clock, and it holds no rule that one of the three
//! could hold alone. No server links it.
//!
//! Start with [`Participant`]: [`Command`]s and network [`Input`]s go in,
//! [`Output`]s come out, [`Participant::state`] is what a screen shows.

mod access;
mod attendance;
mod command;
mod decodable;
mod entry;
mod keys;
mod lobby;
mod media_link;
mod output;
mod participant;
mod picture;
mod reception;
mod seals;
mod state;

pub use access::{Access, Door, KeyFacts, MeetingFacts};
pub use command::{Command, Encoded, LayerOffer, TrackOffer, TrackSource, View};
pub use output::{Event, Link, Output, StreamId};
pub use participant::{Input, Participant};
pub use state::{
    Counters, Estimates, KeysState, LinkState, Links, Me, MeetingState, OwnTrack, ParticipantState,
    Phase, Problem, State, TrackState,
};
