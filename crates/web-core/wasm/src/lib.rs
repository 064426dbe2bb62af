//! `core.wasm`: the exports of `darktower-web-core`, linked for the browser, with `env.host_random` and
//! `env.host_panic` as its only imports.
//!
//! It must not hold code of its own, besides the check of the vectors that tests ask for. Start in `../src/abi.rs`.

// Nothing is called from here: its exports are what the module is for.
extern crate darktower_web_core as _;

#[cfg(feature = "vectors")]
mod vectors;
