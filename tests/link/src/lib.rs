//! The network the tests control: a seeded UDP and TCP relay.
