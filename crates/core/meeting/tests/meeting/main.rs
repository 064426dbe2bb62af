//! Both ends of the signalling conversation, over a virtual link and clock.

mod elsewhere;
mod keys;
mod pair;
mod random;
mod spread;
mod world;
