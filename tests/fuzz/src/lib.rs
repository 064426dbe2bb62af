//! One function per decoder that takes any bytes: [`TARGETS`]. It panics where a decoder breaks a promise, and returns
//! whatever the bytes are.
//!
//! It must not hold expected values or rules of its own beyond those promises. Two things call it: the replay of the
//! checked-in corpora with each test run (`tests/corpus.rs`), and the fuzzer that grows them (`libfuzzer/`, a workspace
//! of its own; `make fuzz DECODER=media`).
//!
//! Start with [`media::run`].

pub mod access;
pub mod commits;
pub mod control;
pub mod media;
pub mod mls;
pub mod names;
pub mod participant;
pub mod sframe;
pub mod signal;

/// What the fuzzer calls.
pub type Run = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Run)] = &[
    ("access", access::run),
    ("commits", commits::run),
    ("control", control::run),
    ("media", media::run),
    ("mls", mls::run),
    ("names", names::run),
    ("participant", participant::run),
    ("sframe", sframe::run),
    ("signal", signal::run),
];
