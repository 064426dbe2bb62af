//! Both ends of the media plane and the handler between them, in virtual time.

mod allocating;
mod browser;
mod doors;
mod forwarding;
mod halls;
mod layers;
mod meeting;
mod pair;
mod paths;
mod properties;
mod receiving;
mod repeating;
mod reports;
mod sealing;
mod sending;
mod silences;
mod slow;
mod speaking;
mod stage;
mod stopped;
mod transport;
mod trunks;
mod two;
mod uplinks;
