//! Whether a meeting whose lease is another's may be taken over before it runs out.

use darktower_wire::ids::NodeId;

/// What came of asking the lease's owner whether it has the meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This node answered, and whether it holds the meeting.
    Said {
        /// Who it is: where the owner was, another may listen today.
        node: NodeId,
        /// Whether the meeting lives there.
        holds: bool,
    },
    /// Nobody listens at its address.
    Refused,
    /// Nothing came in time.
    Silent,
}

/// What to do about a lease that another node owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The owner is gone: give its lease back for it and take it.
    Take,
    /// The owner has the meeting: participants belong there.
    GoThere,
    /// Look again in a moment; at the latest the lease runs out.
    Wait,
}

/// Judges what is known of the owner. Fences make a wrong judgement harmless, not
/// free: everybody in the meeting has to move. So one who is merely slow keeps its
/// meetings while the registry, which gives a silent node 1.6 s, has it.
pub fn claim(owner: NodeId, is_registered: bool, answer: Answer) -> Claim {
    match answer {
        Answer::Said { node, .. } if node != owner => Claim::Take,
        Answer::Said { holds: true, .. } => Claim::GoThere,
        // On its way here or away from here.
        Answer::Said { holds: false, .. } => Claim::Wait,
        Answer::Refused => Claim::Take,
        Answer::Silent if is_registered => Claim::Wait,
        Answer::Silent => Claim::Take,
    }
}
