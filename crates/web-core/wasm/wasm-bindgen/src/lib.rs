//! Stands in for wasm-bindgen, whose generated glue and imports the module does not want.
//!
//! The crates below the core ask it for two things: random bytes (getrandom) and the time (mls-rs, when nobody tells
//! it, which the core always does). Both are given here; the attribute refuses anything else at build time.

#![no_std]

pub use wasm_bindgen_macro::wasm_bindgen;

/// What the attribute is usually imported with.
pub mod prelude {
    pub use super::{JsValue, wasm_bindgen};
}

/// An error value; there is none to carry.
#[derive(Debug)]
pub struct JsValue;

/// What the attribute's expansions call.
#[doc(hidden)]
pub mod host {
    use core::mem::MaybeUninit;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn host_random(pointer: *mut u8, len: usize);
    }

    /// Fills `buffer` from the host's cryptographic source, which does not fail but by a trap.
    pub fn random(buffer: &mut [MaybeUninit<u8>]) {
        // SAFETY: the host writes `len` bytes at `pointer` and keeps neither.
        unsafe { host_random(buffer.as_mut_ptr().cast(), buffer.len()) }
    }

    /// Nobody may ask for the time: the core is told it.
    pub fn date_now() -> f64 {
        panic!("the core was to be told the time")
    }
}
