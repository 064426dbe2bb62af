//! Holds the native and the WASM build to the same vectors ([`check`]), and to one another ([`End`]: two of them, one
//! from each build, share a meeting).
//!
//! It must not know how a vector is made or hold an expected value: those are in the files of `proto/vectors`. It is
//! linked by tests and by the WASM module that tests ask for, never by what is shipped.
//!
//! Start with [`check`]; `scripts/check-web-core.mjs` runs the same against the WASM build.

mod end;

pub use end::End;

/// Checks the vector file called `name` and says how many cases it has, or which one failed and how.
///
/// The name decides whose vectors these are: `wire-*` are the wire's, `sframe-*` and `mls-*` the ends',
/// `sound-*` those of what is heard.
pub fn check(name: &str, json: &str) -> Result<usize, String> {
    match name.split('-').next() {
        Some("wire") => darktower_wire::vectors::check(json),
        Some("sound") => darktower_sound::vectors::check(json),
        Some("sframe" | "mls") => darktower_e2ee::vectors::check(json),
        _ => Err("nobody knows vectors of this name".into()),
    }
}
