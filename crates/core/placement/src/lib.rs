//! Who serves what: the view of the nodes and the choice among them.
//!
//! It must not know how nodes are found or called; it is told what they say of
//! themselves and answers with an order of preference. The same view gives the
//! same answer everywhere, without anybody asking anybody.
//!
//! Start with [`rank`].

use darktower_wire::ids::{MeetingId, NodeId};

/// A node's share of the average load above which others come first: bounds
/// how uneven the hash may be (consistent hashing with bounded loads).
const OVERLOAD_PERCENT: u64 = 125;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Which.
    pub id: NodeId,
    /// Where it stands.
    pub region: &'a str,
    /// How much it takes, in its own unit; 0 where it does not say.
    pub capacity: u32,
    /// How much it carries.
    pub load: u32,
    /// It is going away.
    pub draining: bool,
}

/// The candidates for a meeting, the best first.
///
/// Rendezvous hashing, so that a node that comes or goes moves only its own
/// meetings; nodes of `region` before the others, those loaded well above the
/// average after the rest, the full after those. Nodes that are draining are left
/// out, unless there are only such: a last resort beats none.
pub fn rank(meeting: MeetingId, candidates: &[Candidate<'_>], region: &str) -> Vec<NodeId> {
    let staying = candidates.iter().filter(|node| !node.draining).count();
    let eligible: Vec<_> = candidates
        .iter()
        .filter(|node| staying == 0 || !node.draining)
        .collect();
    let capacity: u64 = eligible.iter().map(|node| u64::from(node.capacity)).sum();
    let load: u64 = eligible.iter().map(|node| u64::from(node.load)).sum();
    let mut ranked: Vec<_> = eligible
        .into_iter()
        .map(|node| {
            let full = node.capacity != 0 && node.load >= node.capacity;
            // load / capacity > percent * (all load + 1) / all capacity, without division.
            let own = u128::from(node.load) * 100 * u128::from(capacity);
            let bound =
                u128::from(OVERLOAD_PERCENT) * u128::from(load + 1) * u128::from(node.capacity);
            let overloaded = node.capacity != 0 && own > bound;
            let elsewhere = node.region != region;
            let score = u64::MAX - score(meeting, node.id);
            ((full, elsewhere, overloaded), score, node.id)
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, _, id)| id).collect()
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
