//! Key messages as far as a controller reads them: a clear frame, and bytes it cannot read.
//!
//! A controller orders commits by group id, epoch and sender and relays the rest. Real commits cost the participant some
//! milliseconds each, which on one machine would be the limit of what is measured; these are as long as real ones (of
//! suite 2, as the ends make them) and cost nothing.

use bytes::Bytes;
use darktower_wire::signal::{KeyCommit, KeyState};

/// A GroupInfo without leaves, and what each leaf adds.
const INFO_BYTES: usize = 300;
const LEAF_BYTES: usize = 330;
/// A commit of a newcomer.
const COMMIT_BYTES: usize = 900;

/// What is known of a group from its public state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    id: Vec<u8>,
    pub(crate) epoch: u64,
    leaves: u32,
}

/// The first of a meeting founds its group.
pub(crate) fn found(meeting: [u8; 16], participant: [u8; 16]) -> (Group, KeyCommit) {
    let group = Group {
        id: [meeting, participant].concat(),
        epoch: 0,
        leaves: 1,
    };
    let commit = KeyCommit {
        group_info: group.info(),
        founding: true,
        ..KeyCommit::default()
    };
    (group, commit)
}

/// Comes into a group by an external commit on the state that was told; `None` where that is no GroupInfo of this bench.
pub(crate) fn join(state: &KeyState) -> Option<(Group, KeyCommit)> {
    let base = Group::read(&state.group_info)?;
    let next = Group {
        id: base.id.clone(),
        epoch: base.epoch + 1,
        leaves: base.leaves + 1,
    };
    // MLS 1.0, PublicMessage, group id, epoch, from a newcomer; no authenticated data, a commit, no proposals.
    let mut commit = vec![0, 1, 0, 1, base.id.len() as u8];
    commit.extend_from_slice(&base.id);
    commit.extend_from_slice(&base.epoch.to_be_bytes());
    commit.extend_from_slice(&[4, 0, 3, 0]);
    commit.resize(COMMIT_BYTES, 0x5a);
    let commit = KeyCommit {
        epoch: base.epoch,
        commit: commit.into(),
        group_info: next.info(),
        leaf: base.leaves,
        founding: false,
    };
    Some((next, commit))
}

impl Group {
    /// The public state: GroupInfo's clear frame, how many leaves, and as many bytes as those take.
    pub(crate) fn info(&self) -> Bytes {
        let mut bytes = vec![0, 1, 0, 4, 0, 1, 0, 2, self.id.len() as u8];
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.leaves.to_be_bytes());
        bytes.resize(INFO_BYTES + LEAF_BYTES * self.leaves as usize, 0xa5);
        bytes.into()
    }

    /// Somebody else has come in.
    pub(crate) fn follow(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.leaves += 1;
    }

    fn read(info: &[u8]) -> Option<Self> {
        let (id, epoch) = darktower_wire::mls::group_info_frame(info).ok()?;
        let after = 9 + id.len() + 8;
        let leaves = info.get(after..after + 4)?.try_into().ok()?;
        Some(Self {
            id: id.to_vec(),
            epoch,
            leaves: u32::from_be_bytes(leaves),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use darktower_wire::mls::{Committer, commit_frame, removed_leaves};

    #[test]
    fn frames_are_what_a_controller_reads() {
        let (group, founding) = found([7; 16], [1; 16]);
        assert!(founding.founding);
        let state = KeyState {
            founded: true,
            group_info: founding.group_info,
            ..KeyState::default()
        };
        let (next, commit) = join(&state).unwrap();
        let frame = commit_frame(&commit.commit).unwrap();
        assert_eq!((frame.group, frame.epoch), (&group.id[..], 0));
        assert_eq!(frame.committer, Committer::Newcomer);
        assert!(removed_leaves(&commit.commit).unwrap().is_empty());
        assert_eq!(Group::read(&commit.group_info), Some(next));
        assert_eq!(commit.leaf, 1);
    }
}
