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
    /// Whom it has let in and who has not left; probes among the participants.
    participants: usize,
    trunks: usize,
    /// When somebody was last refused for want of room.
    refused: Option<Duration>,
}

impl Door {
    /// Of a handler that takes so many participants.
    pub fn new(capacity: u32) -> Self {
        Self {
            capacity,
            participants: 0,
            trunks: 0,
            refused: None,
        }
    }

    /// Whether the caller gets in, which takes a place until it has [left](Self::left). Who is refused takes none: two
    /// who come for the last place in one moment must not both be kept out by the other.
    pub fn opens(&mut self, now: Duration, caller: Caller) -> bool {
        let capacity = self.capacity as usize;
        let opens = match caller {
            Caller::Participant => self.participants < capacity,
            Caller::Probe => self.participants < capacity + PROBES,
            Caller::Trunk => self.trunks < TRUNKS,
        };
        match opens {
            true => *self.places(caller) += 1,
            false => self.refused = Some(now),
        }
        opens
    }

    /// One whom it let in has left.
    pub fn left(&mut self, caller: Caller) {
        let places = self.places(caller);
        *places = places.saturating_sub(1);
    }

    fn places(&mut self, caller: Caller) -> &mut usize {
        match caller {
            Caller::Participant | Caller::Probe => &mut self.participants,
            Caller::Trunk => &mut self.trunks,
        }
    }

    /// What it carries: one more than it takes while somebody who was refused comes again and again.
    pub fn load(&self, now: Duration) -> u32 {
        let is_crowded = self.refused.is_some_and(|at| now < at + COMES_AGAIN);
        match is_crowded {
            true => self.capacity.saturating_add(1),
            false => u32::try_from(self.participants)
                .unwrap_or(u32::MAX)
                .min(self.capacity),
        }
    }
}
