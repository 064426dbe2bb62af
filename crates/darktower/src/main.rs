//! The Dark Tower program.
fn main() {}
