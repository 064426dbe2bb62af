//! Both ends of the media plane and the handler between them, in virtual time.

mod meeting;
mod pair;
mod sealing;
