//! The ends of a meeting against one another, against a hostile controller, and against the vectors.

// Clippy takes the helpers of an integration test for something else than a test.
#![allow(clippy::unwrap_used)]

mod frames;
mod groups;
mod hostile;
mod vectors;
mod world;
