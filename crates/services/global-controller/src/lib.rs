//! The HTTP API: meetings, tokens and the way to a controller.
