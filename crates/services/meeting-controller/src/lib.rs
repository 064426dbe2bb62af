//! The signalling service: one Meeting core and its effects.
