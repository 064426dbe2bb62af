//! A meeting's members and a controller that is honest: it relays each commit to everybody.

use darktower_e2ee::{Commit, Group, Identity, LinkSecret, VerificationCode};
use darktower_wire::ids::{MeetingId, ParticipantId};

/// 2026-11, in unix milliseconds.
pub(crate) const WALL: u64 = 1_795_000_000_000;
pub(crate) const MEETING: MeetingId = MeetingId([0xda; 16]);

pub(crate) fn participant(n: u8) -> ParticipantId {
    ParticipantId([n; 16])
}

pub(crate) fn identity(n: u8) -> Identity {
    Identity::new(participant(n)).unwrap()
}

pub(crate) struct World {
    pub(crate) link: Option<LinkSecret>,
    pub(crate) groups: Vec<Group>,
    next: u8,
}

impl World {
    /// A meeting of `count` members, everybody joined one after the other.
    pub(crate) fn of(count: usize, link: Option<LinkSecret>) -> Self {
        let founder = Group::found(identity(0), MEETING, link.as_ref(), WALL).unwrap();
        let mut world = Self {
            link,
            groups: vec![founder],
            next: 1,
        };
        while world.groups.len() < count {
            world.join();
        }
        world
    }

    pub(crate) fn with_link(count: usize) -> Self {
        Self::of(count, Some(LinkSecret::generate().unwrap()))
    }

    /// One more joins, on the public state of the member at `via`.
    pub(crate) fn join_via(&mut self, via: usize) {
        let id = identity(self.next);
        self.next += 1;
        let info = self.groups[via].group_info().unwrap();
        let (group, commit) = Group::join(id, &info, self.link.as_ref(), WALL).unwrap();
        for member in &mut self.groups {
            let change = member.process(&commit.message, WALL).unwrap();
            assert_eq!(change.epoch, commit.epoch);
            assert_eq!(change.committer.leaf, commit.leaf);
            assert_eq!(change.added, [change.committer]);
            assert_eq!(change.removed, []);
        }
        self.groups.push(group);
    }

    pub(crate) fn join(&mut self) {
        self.join_via(0);
    }

    /// `by` takes out `gone`; the commit comes back to its maker through the controller too. Gives back the group of
    /// the one removed, which did not hear of it.
    pub(crate) fn remove(&mut self, by: usize, gone: usize) -> Group {
        let id = self.groups[gone].participant();
        let commit = self.groups[by].remove(&[id], WALL).unwrap();
        let removed = self.groups.remove(gone);
        self.relay(&commit);
        removed
    }

    pub(crate) fn relay(&mut self, commit: &Commit) {
        for member in &mut self.groups {
            let change = member.process(&commit.message, WALL).unwrap();
            assert_eq!(change.epoch, commit.epoch);
        }
    }

    /// The member at `at` lost its state and comes back.
    pub(crate) fn resync(&mut self, at: usize, via: usize) {
        let id = Identity::new(self.groups[at].participant()).unwrap();
        let info = self.groups[via].group_info().unwrap();
        self.groups.remove(at);
        let (group, commit) = Group::join(id, &info, self.link.as_ref(), WALL).unwrap();
        self.relay(&commit);
        self.groups.push(group);
    }

    /// Everybody agrees on epoch, members and code; the code comes back.
    pub(crate) fn agreed(&self) -> VerificationCode {
        let code = self.groups[0].verification_code().unwrap();
        for group in &self.groups {
            assert_eq!(group.epoch(), self.groups[0].epoch());
            assert_eq!(group.members(), self.groups[0].members());
            assert_eq!(group.verification_code().unwrap(), code);
            assert_eq!(group.leaf_of(group.participant()), Some(group.leaf()));
        }
        assert_eq!(self.groups[0].members().len(), self.groups.len());
        code
    }
}
