//! Every byte that is said between two parts of Dark Tower.
