//! The participant's end of the key agreement: the group as agreed, the group
//! as hoped for while the controller decides, and the frame keys that follow
//! from it. The controller's part is in `darktower_meeting`.

use std::collections::BTreeSet;
use std::time::Duration;

use darktower_e2ee::{Error, Group, Keyring, Sealer};
use darktower_wire::ids::{Epoch, ParticipantId};
use darktower_wire::signal::{KeyCommit, KeyState};

use crate::entry::{Entrant, Entry};
use crate::lobby::Lobby;
use crate::state::KeysState;

/// What has to be told to the controller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Commit(KeyCommit),
    Answer {
        epoch: Epoch,
        accepted: bool,
    },
    GroupInfo {
        epoch: Epoch,
        group_info: bytes::Bytes,
    },
    Resync,
}

/// Frame keys of an epoch are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) epoch: Epoch,
    /// Somebody is in this epoch who could not open the one before.
    pub(crate) newcomers: bool,
}

/// What a step led to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) replies: Vec<Reply>,
    pub(crate) installed: Option<Installed>,
}

impl Step {
    /// Nothing but the wish to join the group anew.
    pub(crate) fn resync() -> Self {
        Self::reply(Reply::Resync)
    }

    fn reply(reply: Reply) -> Self {
        Self {
            replies: vec![reply],
            installed: None,
        }
    }
}

/// Entries that the members may refuse in a row. More mean that the group will
/// never take this end in, most likely because it lacks the secret of the link.
/// Entries lost to others who were faster do not count.
const MAX_REFUSED: u32 = 3;

/// One participant's keys in one meeting.
pub(crate) struct Keys {
    entrant: Entrant,
    lobby: Lobby,
    /// The group that the controller has confirmed this end to be in.
    group: Option<Group>,
    /// Made by an own external or founding commit that is not decided yet.
    hoped: Option<Group>,
    /// Entries refused since frame keys were last installed.
    refused: u32,
    /// Whom the controller wants removed, until the group has done it.
    unwanted: BTreeSet<ParticipantId>,
    keyring: Keyring,
    sealer: Option<Sealer>,
    /// Texts a screen shows, made once per epoch.
    shown: KeysState,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Of a participant that knows `state` of the group before it is there.
    pub(crate) fn new(entrant: Entrant, state: Option<KeyState>) -> Self {
        Self {
            entrant,
            lobby: Lobby::new(state),
            group: None,
            hoped: None,
            refused: 0,
            unwanted: BTreeSet::new(),
            keyring: Keyring::new(),
            sealer: None,
            shown: KeysState::default(),
        }
    }

    /// The same for another participant, as whom this end comes; it was in no group.
    pub(crate) fn begin_anew(&mut self, participant: ParticipantId, state: KeyState) {
        *self = Self::new(self.entrant.like(participant), Some(state));
    }

    pub(crate) fn shown(&self) -> &KeysState {
        &self.shown
    }

    pub(crate) fn sealer(&mut self) -> Option<&mut Sealer> {
        self.sealer.as_mut()
    }

    pub(crate) fn keyring(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// The group does not let this end in.
    pub(crate) fn is_locked_out(&self) -> bool {
        self.refused > MAX_REFUSED
    }

    /// An own commit was refused by others, or could not even be made.
    pub(crate) fn count_refusal(&mut self) {
        self.refused += 1;
    }

    /// Where the keys are while nobody has asked to join.
    pub(crate) fn lobby(&mut self) -> &mut Lobby {
        &mut self.lobby
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadlines = [self.keyring.deadline(), self.lobby.deadline()];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) fn tick(&mut self, now: Duration, wall: u64) {
        self.keyring.tick(now);
        self.lobby.tick(now, wall, &self.entrant);
    }

    /// The commit that goes with the wish to join.
    pub(crate) fn enter(&mut self, wall: u64) -> Result<KeyCommit, Error> {
        let entry = self.lobby.enter(wall, &self.entrant)?;
        Ok(self.hope(entry))
    }

    /// A commit that brings this end into the group of `state`, or founds one
    /// where there is none.
    fn join(&mut self, state: Option<&KeyState>, wall: u64) -> Result<KeyCommit, Error> {
        let entry = self.entrant.entry(state, wall)?;
        Ok(self.hope(entry))
    }

    /// Whatever was hoped for before is given up.
    fn hope(&mut self, Entry { group, commit }: Entry) -> KeyCommit {
        self.hoped = Some(group);
        commit
    }

    /// The controller took this end's commit that leads to `epoch`.
    pub(crate) fn accepted(&mut self, now: Duration, epoch: Epoch) -> Result<Step, Error> {
        if let Some(hoped) = self.hoped.take_if(|hoped| hoped.epoch() == epoch) {
            self.group = Some(hoped);
            // An own entry makes everybody else a newcomer to our frames, and
            // our first frames are key frames anyway.
            return self.install(now, true, true);
        }
        let Some(group) = &mut self.group else {
            return Ok(Step::reply(Reply::Resync));
        };
        let newcomers = !group.accept_own(epoch)?.added.is_empty();
        self.install(now, newcomers, false)
    }

    /// Another member's commit won its epoch.
    pub(crate) fn committed(
        &mut self,
        now: Duration,
        wall: u64,
        epoch: Epoch,
        commit: &[u8],
    ) -> Result<Step, Error> {
        // While our own entry is undecided there is nothing to apply it to; the
        // decision brings the newer state.
        let Some(group) = &mut self.group else {
            return Ok(Step::default());
        };
        if epoch != group.epoch().next() {
            return Ok(Step::reply(Reply::Resync));
        }
        match group.process(commit, wall) {
            Ok(change) => {
                for newcomer in &change.added {
                    self.unwanted.remove(&newcomer.participant);
                }
                let mut step = self.install(now, !change.added.is_empty(), false)?;
                step.replies.insert(
                    0,
                    Reply::Answer {
                        epoch,
                        accepted: true,
                    },
                );
                if let Some(reply) = self.remove_unwanted(wall)? {
                    step.replies.push(reply);
                }
                Ok(step)
            }
            Err(Error::Removed) => {
                self.forget();
                Ok(Step::reply(Reply::Resync))
            }
            Err(_) => Ok(Step::reply(Reply::Answer {
                epoch,
                accepted: false,
            })),
        }
    }

    /// This end's commit was not taken.
    pub(crate) fn refused(
        &mut self,
        wall: u64,
        state: Option<&KeyState>,
        resync: bool,
    ) -> Result<Step, Error> {
        self.hoped = None;
        if let Some(group) = &mut self.group {
            group.discard_pending();
        }
        if resync {
            // What was wanted of the group that is left is said anew, where it still is.
            self.unwanted.clear();
        }
        if resync || self.group.is_none() {
            return Ok(Step::reply(Reply::Commit(self.join(state, wall)?)));
        }
        Ok(Step::default())
    }

    /// The controller wants these participants out of the group.
    pub(crate) fn remove(
        &mut self,
        wall: u64,
        participants: &[ParticipantId],
    ) -> Result<Step, Error> {
        self.unwanted.extend(participants);
        let replies = self.remove_unwanted(wall)?.into_iter().collect();
        Ok(Step {
            replies,
            installed: None,
        })
    }

    /// The controller wants the group's public state.
    pub(crate) fn group_info(&self) -> Result<Step, Error> {
        let Some(group) = &self.group else {
            return Ok(Step::default());
        };
        let group_info = group.group_info()?;
        Ok(Step::reply(Reply::GroupInfo {
            epoch: group.epoch(),
            group_info,
        }))
    }

    fn remove_unwanted(&mut self, wall: u64) -> Result<Option<Reply>, Error> {
        let Some(group) = &mut self.group else {
            return Ok(None);
        };
        self.unwanted
            .retain(|participant| group.leaf_of(*participant).is_some());
        if self.unwanted.is_empty() || group.pending().is_some() {
            return Ok(None);
        }
        let unwanted: Vec<_> = self.unwanted.iter().copied().collect();
        let epoch = group.epoch();
        let commit = group.remove(&unwanted, wall)?;
        Ok(Some(Reply::Commit(KeyCommit {
            epoch: epoch.0,
            commit: commit.message,
            group_info: commit.group_info,
            leaf: commit.leaf,
            founding: false,
        })))
    }

    fn install(&mut self, now: Duration, newcomers: bool, entered: bool) -> Result<Step, Error> {
        let Some(group) = &mut self.group else {
            return Ok(Step::default());
        };
        let keys = group.keys()?;
        self.refused = 0;
        let epoch = keys.epoch;
        self.keyring.install(now, keys.opening);
        match &mut self.sealer {
            Some(sealer) if entered => sealer.restart(keys.sealing),
            Some(sealer) => sealer.switch(keys.sealing),
            None => self.sealer = Some(Sealer::new(keys.sealing)),
        }
        self.shown = KeysState {
            ready: true,
            epoch: epoch.0,
            code: group.verification_code()?.to_string(),
            members: group.members().len(),
        };
        Ok(Step {
            replies: Vec::new(),
            installed: Some(Installed { epoch, newcomers }),
        })
    }

    fn forget(&mut self) {
        self.group = None;
        self.hoped = None;
        self.shown = KeysState::default();
    }
}
