//! Real processes on loopback, held together as a test would.
