//! Both ends of the IO-free WebTransport, over a link and a clock of our own.

mod bounds;
mod pair;
mod session;
