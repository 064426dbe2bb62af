//! The participant core as one WASM module with a plain bytes ABI: numbers and
//! memory in, numbers and memory out.
//!
//! It must not hold a rule: it turns calls into [`darktower_participant`]
//! inputs and outputs into records. One instance is one participant. The
//! TypeScript that calls it owns effects and never parses what travels.
//!
//! Start with [`Core`]; `abi.rs` is the same by pointer, and
//! `web/sdk/src/worker/core.ts` its other side.

mod abi;
mod core;
#[cfg(target_arch = "wasm32")]
mod host;
mod record;

pub use crate::core::Core;
pub use crate::record::{Kind, Record};
