//! The participant: session, tracks and keys of one end, composed.
