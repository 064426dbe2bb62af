//! Whom a handler lets in, and what it says that it carries.

use core::time::Duration;

/// A full handler takes so many probes more: it is not deaf. Whoever else says that it is one gains little, for they are
/// few.
const PROBES: usize = 64;
/// So many trunks it takes, full or not: those on it are seen elsewhere.
const TRUNKS: usize = 1024;
/// Who was refused for want of room comes again after 7 s at most.
const COMES_AGAIN: Duration = Duration::from_secs(8);

/// Who asks for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A participant.
    Participant,
    /// A controller that looks whether media passes.
    Probe,
    /// Another handler.
    Trunk,
}

/// The door of one handler.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    capacity: u32,
    /// When somebody was last refused for want of room.
    refused: Option<Duration>,
}

impl Door {
    /// Of a handler that takes so many participants.
    pub fn new(capacity: u32) -> Self {
        Self {
            capacity,
            refused: None,
        }
    }

    /// Whether the caller gets in, where so many sessions of participants, the caller's among them, and so many trunks are
    /// there.
    pub fn opens(
        &mut self,
        now: Duration,
        caller: Caller,
        participants: usize,
        trunks: usize,
    ) -> bool {
        let capacity = self.capacity as usize;
        let opens = match caller {
            Caller::Participant => participants <= capacity,
            Caller::Probe => participants <= capacity + PROBES,
            Caller::Trunk => trunks < TRUNKS,
        };
        if !opens {
            self.refused = Some(now);
        }
        opens
    }

    /// What it carries: one more than it takes while somebody who was refused comes again and again.
    pub fn load(&self, now: Duration, participants: usize) -> u32 {
        let is_crowded = self.refused.is_some_and(|at| now < at + COMES_AGAIN);
        match is_crowded {
            true => self.capacity.saturating_add(1),
            false => u32::try_from(participants)
                .unwrap_or(u32::MAX)
                .min(self.capacity),
        }
    }
}
