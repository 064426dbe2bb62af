//! Both ends of the signalling conversation, over a virtual link and clock.

mod away;
mod decodes;
mod elsewhere;
mod keys;
mod mutes;
mod pair;
mod random;
mod reports;
mod spread;
mod token;
mod unheard;
mod world;
