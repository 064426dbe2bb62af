//! An entry into the key group: the commit that brings one participant in, and
//! the group it will then be in.

use std::cell::OnceCell;

use darktower_e2ee::{Error, Group, Identity, LinkSecret};
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal::{KeyCommit, KeyState};

/// Who enters what, with which secret.
pub(crate) struct Entrant {
    participant: ParticipantId,
    /// Made with the first entry: it takes a browser 20 ms, in which links can be opened.
    identity: OnceCell<Identity>,
    meeting: MeetingId,
    link: Option<LinkSecret>,
}

/// A commit for the controller to judge, and the group it leads to.
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) commit: KeyCommit,
}

impl Entrant {
    pub(crate) fn new(
        participant: ParticipantId,
        meeting: MeetingId,
        link: Option<LinkSecret>,
    ) -> Self {
        Self {
            participant,
            identity: OnceCell::new(),
            meeting,
            link,
        }
    }

    /// Another participant with the same link.
    pub(crate) fn like(&self, participant: ParticipantId) -> Self {
        Self::new(participant, self.meeting, self.link.clone())
    }

    fn identity(&self) -> Result<Identity, Error> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity.clone());
        }
        let identity = Identity::new(self.participant)?;
        Ok(self.identity.get_or_init(|| identity).clone())
    }

    /// An entry into the group of `state`, or the founding of one where there
    /// is none. Takes most of what a join computes: 20 ms in a browser, more in
    /// large groups.
    pub(crate) fn entry(&self, state: Option<&KeyState>, wall: u64) -> Result<Entry, Error> {
        let (identity, link) = (self.identity()?, self.link.as_ref());
        match state.filter(|state| state.founded) {
            Some(state) => {
                let (group, commit) = Group::join(identity, &state.group_info, link, wall)?;
                let commit = KeyCommit {
                    epoch: state.epoch,
                    commit: commit.message,
                    group_info: commit.group_info,
                    leaf: commit.leaf,
                    founding: false,
                };
                Ok(Entry { group, commit })
            }
            None => {
                let group = Group::found(identity, self.meeting, link, wall)?;
                let commit = KeyCommit {
                    epoch: 0,
                    group_info: group.group_info()?,
                    leaf: group.leaf(),
                    founding: true,
                    ..KeyCommit::default()
                };
                Ok(Entry { group, commit })
            }
        }
    }
}
