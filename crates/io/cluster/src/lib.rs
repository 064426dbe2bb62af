//! How services find, call and trust one another.
//!
//! What it is: the calls between services ([`rpc`], generated from `proto/cluster/v1`), the gRPC server and channels
//! they run on ([`grpc`]), the trace that goes along ([`trace`]), the registry of nodes ([`Registration`]), the tokens
//! that participants show ([`token`]), and the state store of another process ([`RemoteState`], [`StateService`]).
//!
//! What it must not do: decide where a meeting goes (that is `placement`) or what a role permits (each service).
//!
//! Where to start: [`Registration::start`], [`grpc::serve`], [`grpc::Channels`], [`token::Signer`], [`token::Verifier`],
//! [`Trust`].
//!
//! Invariant: the private token key never leaves a global controller; verifying needs no call to anybody.

pub mod grpc;
mod registration;
mod state;
pub mod token;
pub mod trace;
mod trust;

/// Messages, clients and servers of `proto/cluster/v1/cluster.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
#[path = "gen/darktower.cluster.v1.rs"]
pub mod rpc;

pub use registration::{Registration, Timing, Wall, candidate};
pub use state::{RemoteState, StateService};
pub use trust::{NAME, Trust, TrustError};

use ring::rand::{SecureRandom, SystemRandom};

/// Bytes from the system's random number generator.
///
/// Fails only where the system has none, which is reported and never papered over.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;
