//! The controller end.
/// x
#[derive(Debug)]
pub struct Meeting;
