//! Both ends of the media plane and the handler between them, in virtual time.

mod forwarding;
mod meeting;
mod pair;
mod stopped;
mod properties;
mod receiving;
mod sealing;
mod sending;
