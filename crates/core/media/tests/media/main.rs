//! Both ends of the media plane and the handler between them, in virtual time.

mod forwarding;
mod meeting;
mod pair;
mod properties;
mod receiving;
mod sealing;
mod sending;
mod stopped;
