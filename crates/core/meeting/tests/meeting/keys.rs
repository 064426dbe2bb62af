//! Key bytes that satisfy the clear frames and know which history they belong
//! to: a group is the digest of its commits, and a commit names the digest it
//! was built on. So a member that follows the wrong history is found out.

use std::collections::BTreeSet;

use bytes::Bytes;
use darktower_meeting::session::{KeyEvent, KeySaid};
use darktower_wire::ids::ParticipantId;
use darktower_wire::signal::KeyCommit;
use darktower_wire::varint::{self, Reader};

/// One end's group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) digest: u64,
    pub(crate) leaf: u32,
    pub(crate) leaves: Vec<Option<ParticipantId>>,
}

/// The owner of one participant's keys.
#[derive(Debug)]
pub(crate) struct Owner {
    me: ParticipantId,
    nonce: u64,
    pub(crate) group: Option<Group>,
    pending: Option<(Group, KeyCommit)>,
    /// Makes commits that nobody accepts.
    pub(crate) poisoned: bool,
    /// Refuses every commit.
    pub(crate) refuses: bool,
    remove: BTreeSet<ParticipantId>,
    pub(crate) accepted: u32,
}

impl Owner {
    pub(crate) fn new(me: ParticipantId) -> Self {
        Self {
            me,
            nonce: 0,
            group: None,
            pending: None,
            poisoned: false,
            refuses: false,
            remove: BTreeSet::new(),
            accepted: 0,
        }
    }

    /// The same, after its keys were lost; what it makes from now on is still unlike what it made before.
    pub(crate) fn without_keys(&self) -> Self {
        Self {
            nonce: self.nonce,
            ..Self::new(self.me)
        }
    }

    pub(crate) fn found(&mut self, meeting: [u8; 16]) -> KeyCommit {
        self.nonce += 1;
        let mut id = meeting.to_vec();
        id.extend_from_slice(&self.me.0);
        id[31] ^= self.nonce as u8;
        let group = Group {
            digest: mix(self.nonce, &self.me.0),
            id,
            epoch: 0,
            leaf: 0,
            leaves: vec![Some(self.me)],
        };
        let commit = KeyCommit {
            group_info: group_info(&group),
            founding: true,
            ..KeyCommit::default()
        };
        self.pending = Some((group, commit.clone()));
        commit
    }

    /// An external commit on a group's public state.
    pub(crate) fn join(&mut self, group_info: &[u8]) -> KeyCommit {
        let mut group = read_group_info(group_info);
        let base = group.clone();
        for leaf in group
            .leaves
            .iter_mut()
            .filter(|leaf| **leaf == Some(self.me))
        {
            *leaf = None;
        }
        let free = group.leaves.iter().position(Option::is_none);
        let leaf = free.unwrap_or(group.leaves.len());
        match free {
            Some(at) => group.leaves[at] = Some(self.me),
            None => group.leaves.push(Some(self.me)),
        }
        group.leaf = leaf as u32;
        self.commit(base, group, 4)
    }

    fn commit(&mut self, base: Group, mut next: Group, sender: u8) -> KeyCommit {
        self.nonce += 1;
        let mut bytes = vec![0, 1, 0, 1, base.id.len() as u8];
        bytes.extend_from_slice(&base.id);
        bytes.extend_from_slice(&base.epoch.to_be_bytes());
        bytes.push(sender);
        if sender == 1 {
            bytes.extend_from_slice(&base.leaf.to_be_bytes());
        }
        // No authenticated data; a commit; its removals by value.
        bytes.extend_from_slice(&[0, 3]);
        let mut proposals = Vec::new();
        for (leaf, _) in base.leaves.iter().enumerate().filter(|(leaf, was)| {
            sender == 1 && was.is_some() && next.leaves.get(*leaf) == Some(&None)
        }) {
            proposals.extend_from_slice(&[1, 0, 3]);
            proposals.extend_from_slice(&(leaf as u32).to_be_bytes());
        }
        varint::put(&mut bytes, proposals.len() as u64);
        bytes.extend_from_slice(&proposals);
        bytes.push(u8::from(self.poisoned));
        bytes.extend_from_slice(&base.digest.to_be_bytes());
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        bytes.extend_from_slice(&self.me.0);
        for leaf in &next.leaves {
            bytes.extend_from_slice(&leaf.unwrap_or_default().0);
        }
        next.epoch = base.epoch + 1;
        next.digest = mix(base.digest, &bytes);
        let commit = KeyCommit {
            epoch: base.epoch,
            group_info: group_info(&next),
            leaf: next.leaf,
            founding: false,
            commit: bytes.into(),
        };
        self.pending = Some((next, commit.clone()));
        commit
    }

    fn process(&mut self, commit: &[u8]) -> bool {
        let Some(group) = &mut self.group else {
            return false;
        };
        let epoch = u64::from_be_bytes(commit[37..45].try_into().expect("eight bytes"));
        let mut reader = Reader::new(&commit[if commit[45] == 1 { 52 } else { 48 }..]);
        let proposals = reader.varint("proposals").expect("proposals") as usize;
        let at = commit.len() - reader.rest().len() + proposals;
        let base = u64::from_be_bytes(commit[at + 1..at + 9].try_into().expect("eight bytes"));
        if commit[at] != 0 || self.refuses || epoch != group.epoch || base != group.digest {
            return false;
        }
        group.leaves = commit[at + 33..]
            .chunks(16)
            .map(|id| ParticipantId::from_slice(id).expect("an id"))
            .map(|id| (id != ParticipantId::default()).then_some(id))
            .collect();
        group.digest = mix(group.digest, commit);
        group.epoch += 1;
        true
    }

    /// A removal that nobody asked for.
    pub(crate) fn shut_out(&mut self, id: ParticipantId) -> KeyCommit {
        self.remove.insert(id);
        self.removal().expect("both are members")
    }

    fn removal(&mut self) -> Option<KeyCommit> {
        let base = self.group.clone().filter(|_| self.pending.is_none())?;
        let mut next = base.clone();
        let mut any = false;
        for leaf in &mut next.leaves {
            if leaf.is_some_and(|id| self.remove.contains(&id)) {
                *leaf = None;
                any = true;
            }
        }
        self.remove.clear();
        any.then(|| self.commit(base, next, 1))
    }

    /// What the owner says to an event in the meeting.
    pub(crate) fn on(&mut self, meeting: [u8; 16], event: KeyEvent) -> Vec<KeySaid> {
        let mut said = Vec::new();
        match event {
            KeyEvent::Found => {
                self.group = None;
                said.push(KeySaid::Commit(self.found(meeting)));
            }
            KeyEvent::State(state) => {
                self.group = None;
                said.push(KeySaid::Commit(self.join(&state.group_info)));
            }
            KeyEvent::Committed { epoch, commit, .. } => {
                let accepted = self.process(&commit);
                self.accepted += u32::from(accepted);
                said.push(KeySaid::Answer { epoch, accepted });
            }
            KeyEvent::OwnAccepted { .. } => {
                let (group, _) = self.pending.take().expect("a commit is pending");
                self.group = Some(group);
            }
            KeyEvent::Refused { state, resync, .. } => {
                self.pending = None;
                if resync {
                    self.group = None;
                }
                if let (None, Some(state)) = (&self.group, state) {
                    said.push(KeySaid::Commit(match state.founded {
                        true => self.join(&state.group_info),
                        false => self.found(meeting),
                    }));
                }
            }
            KeyEvent::RemoveWanted(ids) => {
                self.remove.extend(ids);
                said.extend(self.removal().map(KeySaid::Commit));
            }
            KeyEvent::GroupInfoWanted => {
                if let Some(group) = &self.group {
                    said.push(KeySaid::GroupInfo {
                        epoch: group.epoch,
                        group_info: group_info(group),
                    });
                }
            }
        }
        said
    }
}

fn group_info(group: &Group) -> Bytes {
    let mut bytes = vec![0, 1, 0, 4, 0, 1, 0, 2, group.id.len() as u8];
    bytes.extend_from_slice(&group.id);
    bytes.extend_from_slice(&group.epoch.to_be_bytes());
    bytes.extend_from_slice(&group.digest.to_be_bytes());
    for leaf in &group.leaves {
        bytes.extend_from_slice(&leaf.unwrap_or_default().0);
    }
    bytes.into()
}

fn read_group_info(bytes: &[u8]) -> Group {
    Group {
        id: bytes[9..41].to_vec(),
        epoch: u64::from_be_bytes(bytes[41..49].try_into().expect("eight bytes")),
        digest: u64::from_be_bytes(bytes[49..57].try_into().expect("eight bytes")),
        leaf: 0,
        leaves: bytes[57..]
            .chunks(16)
            .map(|id| ParticipantId::from_slice(id).expect("an id"))
            .map(|id| (id != ParticipantId::default()).then_some(id))
            .collect(),
    }
}

fn mix(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
