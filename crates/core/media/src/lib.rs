//! What goes where: forwarding, publishing and subscribing to tracks.
