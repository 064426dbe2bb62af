//! The durable database and the live state store.
