//! The repository's own chores: generate, tidy, check.
fn main() {}
