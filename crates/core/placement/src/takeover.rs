//! Taking a meeting's lease, step by step: from nobody, or from an owner that is gone.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::ids::{Fence, NodeId};

use crate::{Answer, Claim, claim};

/// How long an owner has to say that it holds a meeting.
const HOLD_WITHIN: Duration = Duration::from_millis(400);

/// The same of one that has been silent once: it may leave the registry meanwhile.
const HOLD_AGAIN_WITHIN: Duration = Duration::from_millis(100);

/// Between two looks at an owner that may be gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A lease that has run out is seen so much later at the most.
const AFTER_TTL: Duration = Duration::from_secs(1);

/// One attempt of a node to have a meeting. Do what [`Takeover::step`] says and tell what
/// came of it, until it says [`Step::Done`]. It waits where the owner may be gone, at most
/// until its lease must have run out.
#[derive(Debug)]
pub struct Takeover {
    node: NodeId,
    until: Duration,
    was_silent: bool,
    step: Step,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take the lease for this node where it is free; tell [`Takeover::leased`].
    Acquire,
    /// Look this node up in the registry and, where it is there, ask it whether it holds
    /// the meeting, for so long; tell [`Takeover::asked`].
    Ask(NodeId, Duration),
    /// Give the lease back in its owner's name; tell [`Takeover::given_back`].
    GiveBack(NodeId, Fence),
    /// Come back after this long and tell [`Takeover::waited`].
    Wait(Duration),
    /// It is decided.
    Done(Outcome),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The lease is this node's, with this fence.
    Mine(Fence),
    /// Another has the meeting.
    Theirs(NodeId),
    /// It cannot be had now.
    Refused(Code),
}

impl Takeover {
    /// An attempt of `node`, where leases hold for `ttl`.
    pub fn new(now: Duration, node: NodeId, ttl: Duration) -> Self {
        Self {
            node,
            until: now + ttl + AFTER_TTL,
            was_silent: false,
            step: Step::Acquire,
        }
    }

    /// What is to be done.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The store's answer to [`Step::Acquire`]: who holds the lease, and the fence.
    pub fn leased(&mut self, owner: Option<NodeId>, fence: Fence) {
        self.step = match owner {
            Some(owner) if owner == self.node => Step::Done(Outcome::Mine(fence)),
            Some(owner) => Step::Ask(owner, self.patience()),
            None => Step::Done(Outcome::Refused(Code::Unavailable)),
        };
    }

    /// What came of [`Step::Ask`]: whether the registry knows the node (`None` where the
    /// registry does not answer: then the lease decides), and the node's answer. `fence` is
    /// the lease's. A node that `is_draining` waits for nothing.
    pub fn asked(
        &mut self,
        now: Duration,
        fence: Fence,
        is_registered: Option<bool>,
        answer: Answer,
        is_draining: bool,
    ) {
        let Step::Ask(owner, _) = self.step else {
            return;
        };
        self.was_silent |= answer == Answer::Silent;
        let claim = match is_registered {
            Some(is_registered) => claim(owner, is_registered, answer),
            None => Claim::Wait,
        };
        self.step = match claim {
            Claim::GoThere => Step::Done(Outcome::Theirs(owner)),
            Claim::Take => Step::GiveBack(owner, fence),
            Claim::Wait if now >= self.until || is_draining => {
                Step::Done(Outcome::Refused(Code::NotOwner))
            }
            Claim::Wait => Step::Wait(LOOK_AGAIN),
        };
    }

    fn patience(&self) -> Duration {
        match self.was_silent {
            true => HOLD_AGAIN_WITHIN,
            false => HOLD_WITHIN,
        }
    }

    /// [`Step::GiveBack`] is done.
    pub fn given_back(&mut self) {
        self.step = Step::Acquire;
    }

    /// [`Step::Wait`] is over.
    pub fn waited(&mut self) {
        self.step = Step::Acquire;
    }
}
