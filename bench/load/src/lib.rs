//! Load and latency measurements with native participants.
