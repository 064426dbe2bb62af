//! The forwarding service: one Forwarder core and its effects.
