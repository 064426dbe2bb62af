//! The ends of a meeting against one another, against a hostile controller, and against the vectors.

mod frames;
mod groups;
mod hostile;
mod vectors;
mod world;
