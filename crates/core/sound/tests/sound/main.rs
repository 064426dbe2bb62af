//! Sound in virtual time: conditions as scripts, signals as arithmetic.

mod gate;
mod player;
mod playout;
mod properties;
mod script;
mod signal;
mod stretch;
mod voice;
