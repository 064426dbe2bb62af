//! Who serves what: the view of the nodes and the choice among them.
//!
//! It must not know how nodes are found or called; it is told what they say of
//! themselves and answers with an order of preference. The same view gives the
//! same answer everywhere, without anybody asking anybody.
//!
//! Start with [`rank`] and [`keep_or_choose`]. [`Homes`] says on which handlers a meeting is, [`Room`] when it leaves a full one, [`spare`] where newcomers go when it is too large for one, [`Balance`] when a meeting leaves a controller
//! that carries much more than others, [`Recent`] counts in what was assigned a moment ago,
//! [`Plane`] judges whether media comes through a handler, and how much of it. [`Takeover`] is the way to a meeting's lease,
//! [`Tenure`] what its owner knows of lease and log, [`Watch`] what a controller knows of a
//! handler, [`View`] what a node knows of the others, [`Oddities`] what of that nobody should believe, [`Skew`] what it knows
//! of its own clock.

mod balance;
mod claim;
mod homes;
mod loss;
mod oddities;
mod plane;
mod recent;
mod room;
mod skew;
mod spell;
mod spread;
mod takeover;
mod tenure;
mod view;
mod watch;

use darktower_wire::ids::{MeetingId, NodeId};

pub use balance::Balance;
pub use claim::{Answer, Claim, claim};
pub use homes::{Homes, Rehoming, Seating};
pub use oddities::{Oddities, Oddity};
pub use plane::{Plane, Probe, Way};
pub use recent::Recent;
pub use room::Room;
pub use skew::{Clock, Skew};
pub use spread::spare;
pub use takeover::{Outcome, Step, Takeover};
pub use tenure::{Held, Logged, Renewal, Tenure};
pub use view::View;
pub use watch::{Again, CALL_WITHIN, End, HEARTBEAT, LEAVE_AFTER, RETRY, SILENT, Watch};

/// How many other controllers participants are told of: whoever finds none of them asks the API.
const OTHERS: usize = 4;

/// Controllers asked for one lookup before it fails.
const ASKED: usize = 3;

/// A node's share of the average load above which others come first: bounds
/// how uneven the hash may be (consistent hashing with bounded loads).
const OVERLOAD_PERCENT: u64 = 125;

/// The most that a node is believed to take: ten times what the largest machines do. Who claims more was configured by a
/// slip of the pen, and would make the average, and with it everybody's bound, meaningless.
pub const MOST_CAPACITY: u32 = 100_000;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Which.
    pub id: NodeId,
    /// Where it stands.
    pub region: &'a str,
    /// How much it takes, in its own unit; 0 where it does not say, which more than [`MOST_CAPACITY`] counts as.
    pub capacity: u32,
    /// How much it carries; more than it takes where some come again and again in vain.
    pub load: u32,
    /// It is going away.
    pub draining: bool,
    /// How it is, as far as the one who chooses knows.
    pub health: Health,
}

impl Candidate<'_> {
    /// As one to go to. What is draining, or cannot be told that somebody comes, is of as little use as what does not
    /// answer.
    fn standing(&self) -> Health {
        match self.health {
            _ if self.draining => Health::Silent,
            Health::Cut => Health::Silent,
            health => health,
        }
    }

    /// How much it is believed to take; 0 where nobody knows.
    fn takes(&self) -> u32 {
        match self.capacity {
            ..=MOST_CAPACITY => self.capacity,
            _ => 0,
        }
    }

    /// Whether so many fit.
    fn has_room_for(&self, size: u32) -> bool {
        self.takes() == 0 || self.load.saturating_add(size) <= self.takes()
    }

    /// Whether some are refused there.
    fn is_crowded(&self) -> bool {
        self.takes() != 0 && self.load > self.takes()
    }

    /// Whether what is on it is better off there for a while than moved.
    fn is_waited_for(&self) -> bool {
        !self.draining && matches!(self.health, Health::Shaky | Health::Cut)
    }
}

/// How well a node serves whoever looks at it, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Health {
    /// Nothing is known against it.
    #[default]
    Sound,
    /// It serves, and much of what goes through it is lost.
    Lossy,
    /// It did not answer a while ago and does now: what is on it stays, and nothing new comes while others are well.
    Shaky,
    /// It serves and cannot be told anything: what is on it stays for a moment.
    Cut,
    /// It does not answer, or nothing comes through it.
    Silent,
}

/// The candidates for a meeting, the best first.
///
/// Rendezvous hashing, so that a node that comes or goes moves only its own
/// meetings; nodes of `region` before the others, those loaded well above the
/// average after the rest, the full after those. Nodes that are draining are left
/// out, unless there are only such: a last resort beats none.
pub fn rank(meeting: MeetingId, candidates: &[Candidate<'_>], region: &str) -> Vec<NodeId> {
    rank_for(meeting, candidates, region, 1)
}

/// The same for a meeting of so many participants: those where it does not fit come last, the one with most room first.
fn rank_for(
    meeting: MeetingId,
    candidates: &[Candidate<'_>],
    region: &str,
    size: u32,
) -> Vec<NodeId> {
    let staying = candidates.iter().filter(|node| !node.draining).count();
    let eligible: Vec<_> = candidates
        .iter()
        .filter(|node| staying == 0 || !node.draining)
        .collect();
    let capacity: u64 = eligible.iter().map(|node| u64::from(node.takes())).sum();
    // One that claims to carry more than it can must not make the average, and with it everybody's bound, meaningless.
    let carried = |node: &&Candidate<'_>| match node.takes() {
        0 => 0,
        capacity => u64::from(node.load.min(capacity)),
    };
    let load: u64 = eligible.iter().map(carried).sum();
    let mut ranked: Vec<_> = eligible
        .into_iter()
        .map(|node| {
            let lacks_room = !node.has_room_for(size.max(1));
            let room = node.takes().saturating_sub(node.load);
            let full = lacks_room.then_some(u32::MAX - room);
            // load / capacity > percent * (all load + 1) / all capacity, without division.
            let own = u128::from(node.load) * 100 * u128::from(capacity);
            let bound =
                u128::from(OVERLOAD_PERCENT) * u128::from(load + 1) * u128::from(node.takes());
            let overloaded = node.takes() != 0 && own > bound;
            let elsewhere = node.region != region;
            let score = u64::MAX - score(meeting, node.id);
            ((full, elsewhere, overloaded), score, node.id)
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, _, id)| id).collect()
}

/// The other controllers that take a meeting where `own` is gone, the best first. Their
/// load counts only where somebody `goes` there now: a list that participants keep should
/// not change with it.
pub fn others(
    meeting: MeetingId,
    controllers: &[Candidate<'_>],
    own: NodeId,
    region: &str,
    goes: bool,
) -> Vec<NodeId> {
    let others = controllers
        .iter()
        .filter(|node| node.id != own && !node.draining);
    let others: Vec<_> = others
        .map(|node| Candidate {
            capacity: if goes { node.capacity } else { 0 },
            load: if goes { node.load } else { 0 },
            ..node.clone()
        })
        .collect();
    let mut ranked = rank(meeting, &others, region);
    ranked.truncate(OTHERS);
    ranked
}

/// The controllers to ask about a meeting, in order: its owner wherever there is one,
/// draining or not; then the others as they are placed, which all who ask agree on.
pub fn ask_in_order(
    meeting: MeetingId,
    controllers: &[Candidate<'_>],
    owner: Option<NodeId>,
    region: &str,
) -> Vec<NodeId> {
    let owner = owner.filter(|owner| controllers.iter().any(|node| node.id == *owner));
    let ranked = rank(meeting, controllers, region);
    let others = ranked.into_iter().filter(|id| Some(*id) != owner);
    owner.into_iter().chain(others).take(ASKED).collect()
}

/// Where a meeting that is on `current` should be. It stays there while that one is
/// sound, or may be so in a moment, and not going away: moving costs everybody a moment. It goes only to one that is
/// better off: the last that could serve is never given up for nothing. So many
/// participants go along, and it goes where they fit; where they fit nowhere, to the most room.
pub fn keep_or_choose(
    meeting: MeetingId,
    candidates: &[Candidate<'_>],
    region: &str,
    current: Option<NodeId>,
    size: u32,
) -> Option<NodeId> {
    let current = candidates.iter().find(|node| Some(node.id) == current);
    let best = candidates.iter().map(Candidate::standing).min()?;
    let stays = |node: &&Candidate<'_>| node.standing() == best || node.is_waited_for();
    if let Some(node) = current.filter(stays) {
        return Some(node.id);
    }
    let best = candidates.iter().filter(|node| node.standing() == best);
    let best: Vec<_> = best.cloned().collect();
    rank_for(meeting, &best, region, size).into_iter().next()
}

/// FNV-1a over both ids, spread over all bits by SplitMix64's last steps. Nobody
/// gains by steering it: ids are random and not the participants' to choose.
fn score(meeting: MeetingId, node: NodeId) -> u64 {
    let bytes = meeting.0.iter().chain(&node.0);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
