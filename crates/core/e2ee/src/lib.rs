//! What only the ends know: the MLS group, the key schedule and SFrame.
//!
//! It must not do IO, read a clock or hold a lock over time: messages are bytes in and bytes out, time comes in as an
//! argument. The one effect is entropy (`getrandom`). No server crate links it; a test on the build graph holds that.
//! `docs/protocol/e2ee.md` is the normative text.
//!
//! The shape, which native client and browser share:
//! ```
//! use std::time::Duration;
//! use darktower_e2ee::{Group, Identity, Keyring, LinkSecret, Sealer};
//! use darktower_wire::ids::{MeetingId, ParticipantId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (a, b) = (ParticipantId([1; 16]), ParticipantId([2; 16]));
//! let wall = 1_790_000_000_000; // unix milliseconds
//! let now = Duration::ZERO; // monotone, the shell's
//! let link = LinkSecret::generate()?; // goes into the link's fragment: link.to_fragment()
//!
//! // The first participant founds the group and uploads its public state.
//! let mut alice = Group::found(Identity::new(a)?, MeetingId([7; 16]), Some(&link), wall)?;
//! let public_state = alice.group_info()?;
//!
//! // A newcomer joins by a commit of its own. The controller relays it, unless another commit was first; then the
//! // newcomer joins again with newer public state. Nothing is sealed before the controller has accepted the commit.
//! let (mut bob, commit) = Group::join(Identity::new(b)?, &public_state, Some(&link), wall)?;
//! let change = alice.process(&commit.message, wall)?;
//! assert_eq!((change.epoch, change.added[0].participant), (commit.epoch, b));
//! assert_eq!(alice.verification_code()?, bob.verification_code()?);
//!
//! // Once per epoch the group gives out its frame keys: one half to seal with, one half to open with.
//! let keys = alice.keys()?;
//! let mut sealer = Sealer::new(keys.sealing); // later epochs: sealer.switch(keys.sealing)
//! let mut sealed = Vec::new();
//! sealer.seal(b"media header", b"a picture", &mut sealed)?;
//!
//! let mut keyring = Keyring::new();
//! keyring.install(now, bob.keys()?.opening); // the former epoch is wiped 10 s later: deadline(), tick(now)
//! let mut opened = Vec::new();
//! keyring.open(a, b"media header", &sealed, &mut opened)?;
//! assert_eq!(opened, b"a picture");
//! # Ok(())
//! # }
//! ```
//! Leaving: a remaining member calls [`Group::remove`], sends [`Commit::message`], and calls [`Group::accept_own`] when
//! the controller took it or [`Group::discard_pending`] when another commit was first (then processes that one and
//! removes again). Any error of [`Group::process`] but [`Error::WrongEpoch`] and [`Error::Malformed`] from a commit that
//! others accepted means the ways have parted: ask for the public state and [`Group::join`] again (same [`Identity`]).

mod code;
mod error;
mod group;
mod header;
mod identity;
mod keyring;
mod keys;
mod rules;
mod seal;
mod sframe;
#[cfg(feature = "vectors")]
pub mod vectors;

pub use code::VerificationCode;
pub use error::Error;
pub use group::{Commit, EpochChange, Group, Member};
pub use header::{EPOCH_BITS, Header, MAX_HEADER, kid_of};
pub use identity::{Identity, LinkSecret};
pub use keyring::{Keyring, OpenError, Opened, RETENTION};
pub use keys::{EpochKeys, OpeningKeys, SealingKey};
pub use seal::{MAX_OVERHEAD, SealError, Sealer};
