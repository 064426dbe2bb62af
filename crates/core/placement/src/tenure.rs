//! What an owner knows of its lease and of its meeting's log.

use darktower_wire::ids::{Fence, NodeId};

/// Deltas on one snapshot, before a new one is written: bounds the log and the
/// time it takes to come back from it.
const DELTAS: usize = 256;

/// One node's ownership of one meeting, from taking the lease to losing it.
///
/// The meeting's memory is the live truth and the log its copy. A log that lacks something
/// is made whole by a snapshot; an owner whose writes are fenced has lost the meeting, and
/// nothing it decided since may be told to anybody.
///
/// Tries to write are numbered. A store that fails over has forgotten what it acknowledged
/// last, and may do so faster than anybody sees it gone: its log then ends with another
/// number than the last that stood.
#[derive(Debug)]
pub struct Tenure {
    node: NodeId,
    fence: Fence,
    /// Of the last try to write.
    number: u64,
    deltas: usize,
    is_unsaved: bool,
    is_due: bool,
    is_lost: bool,
}

/// What became of a write to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// It stands.
    Yes,
    /// A newer fence exists.
    Fenced,
    /// The store answers, and its log does not end with the write before.
    OutOfTurn,
    /// Nobody knows.
    Failed,
}

/// A store's answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Who has the lease, where anybody does.
    pub owner: Option<NodeId>,
    /// The owner's fence.
    pub fence: Fence,
    /// Number of the last write that the log holds.
    pub written: u64,
}

/// What a renewal of the lease means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// As before; whether the log is, says [`Tenure::is_unsaved`].
    Same,
    /// It had run out and is this node's again, with a new fence. Others may have had it
    /// meanwhile: read the log's fence and tell [`Tenure::regained`] before anything else.
    Regained(Fence),
    /// Another has it, or the store does not answer.
    Not,
}

impl Tenure {
    /// The lease is `node`'s, with this fence, and the log ends with the write of this number.
    pub fn new(node: NodeId, fence: Fence, number: u64) -> Self {
        Self {
            node,
            fence,
            number,
            deltas: 0,
            is_unsaved: false,
            is_due: false,
            is_lost: false,
        }
    }

    /// Who owns it.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The fence to write and to order with.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Of the last try to write, whatever became of it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number to write with next; each is used once.
    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Whether changes are appended one by one; else the next snapshot has them.
    pub fn appends(&self) -> bool {
        !self.is_unsaved && !self.is_lost
    }

    /// The log lacks something: a snapshot has to be written.
    pub fn is_unsaved(&self) -> bool {
        self.is_unsaved
    }

    /// Another owns the meeting: wind up, and tell nobody what was decided since.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether a snapshot is to be written now: the log is long enough for one, or has turned out to lack something
    /// while the store answers.
    pub fn wants_snapshot(&self) -> bool {
        self.is_due && !self.is_lost
    }

    /// A change was appended, or not.
    pub fn appended(&mut self, logged: Logged) {
        match logged {
            Logged::Yes => {
                self.deltas += 1;
                self.is_due = self.deltas >= DELTAS;
            }
            Logged::Fenced => self.is_lost = true,
            Logged::OutOfTurn => (self.is_unsaved, self.is_due) = (true, true),
            // The meeting goes on; the whole of it is written when the store is back.
            Logged::Failed => self.is_unsaved = true,
        }
    }

    /// A snapshot was written, or not. True where the log is whole again by it.
    pub fn saved(&mut self, logged: Logged) -> bool {
        // Where it failed, the next try is that of a renewal.
        self.is_due = false;
        match logged {
            Logged::Yes => {
                self.deltas = 0;
                return core::mem::take(&mut self.is_unsaved);
            }
            Logged::Fenced => self.is_lost = true,
            Logged::OutOfTurn | Logged::Failed => self.is_unsaved = true,
        }
        false
    }

    /// The store's answer to a renewal; `None` where there was none.
    pub fn renewed(&mut self, lease: Option<Held>) -> Renewal {
        match lease {
            Some(held) if held.owner == Some(self.node) && held.fence == self.fence => {
                self.is_unsaved |= held.written != self.number;
                Renewal::Same
            }
            Some(held) if held.owner == Some(self.node) => Renewal::Regained(held.fence),
            Some(_) => {
                self.is_lost = true;
                Renewal::Not
            }
            None => {
                // A store that comes back may have lost what it acknowledged last.
                self.is_unsaved = true;
                Renewal::Not
            }
        }
    }

    /// The lease was free and is this node's again as `fence`; `written` is the fence of
    /// the log's last writer. Where that was another, the log is the truth and this node's
    /// memory is not. False where the tenure is lost by it.
    pub fn regained(&mut self, fence: Fence, written: Fence) -> bool {
        if written > self.fence {
            self.is_lost = true;
            return false;
        }
        self.fence = fence;
        self.is_unsaved = true;
        true
    }

    /// A handler, or anybody else, knows a newer owner.
    pub fn fenced(&mut self) {
        self.is_lost = true;
    }
}
