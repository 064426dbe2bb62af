//! `core.wasm`: the exports of `darktower-web-core`, linked for the browser, with `env.host_random` and
//! `env.host_panic` as its only imports.
//!
//! It must not hold code of its own, besides the check of the vectors that tests ask for. Start in `../src/abi.rs`.

pub use darktower_web_core::*;

#[cfg(feature = "vectors")]
mod vectors;
