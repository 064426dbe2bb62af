//! How services find and call one another.
