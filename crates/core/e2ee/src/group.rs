//! The MLS group (RFC 9420) of one meeting, as one participant holds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_wire::ids::{Epoch, MeetingId, ParticipantId};
use mls_rs::client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules};
use mls_rs::extension::built_in::RatchetTreeExt;
use mls_rs::group::{CommitEffect, CommitMessageDescription, ReceivedMessage};
use mls_rs::time::MlsTime;
use mls_rs::{CipherSuite, Client, ExtensionList, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use zeroize::Zeroizing;

use crate::code::VerificationCode;
use crate::error::Error;
use crate::identity::{Identity, LinkSecret, random};
use crate::keys::EpochKeys;
use crate::rules::{Participants, Rules, participant_of};
use crate::sframe::BASE_KEY;

/// Cipher suite 2: DHKEM(P-256, HKDF-SHA256), AES-128-GCM, SHA-256, ECDSA P-256.
pub(crate) const SUITE: CipherSuite = CipherSuite::P256_AES128;

/// RFC 9605 §5.2.
const EXPORTER_LABEL: &[u8] = b"SFrame 1.0 Base Key";

/// The founder's leaf is valid from a day before its making, because others' clocks may be behind; a year long, because
/// what ends a meeting is not its keys.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
const LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

type Config = WithMlsRules<
    Rules,
    WithIdentityProvider<Participants, WithCryptoProvider<RustCryptoProvider, BaseConfig>>,
>;

/// One participant's end of the meeting's MLS group.
pub struct Group {
    mls: mls_rs::Group<Config>,
    rules: Rules,
    participant: ParticipantId,
    pending: Option<Pending>,
}

struct Pending {
    epoch: Epoch,
    message: Bytes,
}

/// A commit of our own making, for the controller to order and relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The `MLSMessage` that every member has to process.
    pub message: Bytes,
    /// The group's public state after it (`MLSMessage` with a `GroupInfo`, tree and external key included): what the next
    /// newcomer needs.
    pub group_info: Bytes,
    /// The epoch it leads to.
    pub epoch: Epoch,
    /// Our own leaf in that epoch.
    pub leaf: u32,
}

/// A participant and where it stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Leaf index.
    pub leaf: u32,
    /// Who is there.
    pub participant: ParticipantId,
}

/// What a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochChange {
    /// The epoch it led to.
    pub epoch: Epoch,
    /// Who made it, at the leaf it has now.
    pub committer: Member,
    /// Who was not in the group before, by leaf. Somebody who came back to another leaf is in `added` and `removed`.
    pub added: Vec<Member>,
    /// Who is not in the group any more, by former leaf.
    pub removed: Vec<Member>,
}

impl Group {
    /// Founds the meeting's group, with nobody else in it. `wall` is wall-clock time in unix milliseconds. With `link`,
    /// each newcomer has to know the link's secret.
    pub fn found(
        identity: Identity,
        meeting: MeetingId,
        link: Option<&LinkSecret>,
        wall: u64,
    ) -> Result<Self, Error> {
        // A group founded anew for the same meeting must never be taken for the former one.
        let mut id = vec![0; 32];
        random(&mut id)?;
        id[..16].copy_from_slice(&meeting.0);
        let rules = Rules::new(link.is_some());
        let now = MlsTime::from(Duration::from_millis(wall).saturating_sub(CLOCK_SKEW));
        let mls = client(&identity, &rules, link).create_group_with_id(
            id,
            ExtensionList::new(),
            ExtensionList::new(),
            Some(now),
        )?;
        Ok(Self {
            mls,
            rules,
            participant: identity.participant,
            pending: None,
        })
    }

    /// Joins by an external commit (RFC 9420 §12.4.3.2) built on the public state `group_info`. A leaf that this
    /// participant still has in the group is replaced, so this is the way back after a lost state as well.
    ///
    /// The result is tentative until the controller accepts the commit. If it was late, drop the group and join again.
    pub fn join(
        identity: Identity,
        group_info: &[u8],
        link: Option<&LinkSecret>,
        wall: u64,
    ) -> Result<(Self, Commit), Error> {
        let group_info = MlsMessage::from_bytes(group_info)?;
        let rules = Rules::new(link.is_some());
        let mut builder = client(&identity, &rules, link)
            .external_commit_builder()?
            .commit_time(MlsTime::from(Duration::from_millis(wall)));
        if link.is_some() {
            builder = builder.with_external_psk(LinkSecret::psk_id());
        }
        if let Some(former) = former_leaf(&group_info, identity.participant)? {
            builder = builder.with_removal(former);
        }
        let (mls, message) = builder
            .build(group_info)
            .map_err(|error| rules.explain(error))?;
        let group = Self {
            mls,
            rules,
            participant: identity.participant,
            pending: None,
        };
        let commit = Commit {
            message: message.to_bytes()?.into(),
            group_info: group.group_info()?,
            epoch: group.epoch(),
            leaf: group.leaf(),
        };
        Ok((group, commit))
    }

    /// A commit that takes `participants` out. It stays pending until [`accept_own`](Self::accept_own),
    /// [`discard_pending`](Self::discard_pending), or another commit is processed.
    pub fn remove(&mut self, participants: &[ParticipantId], wall: u64) -> Result<Commit, Error> {
        let leaves: Vec<u32> = participants
            .iter()
            .map(|&participant| {
                self.leaf_of(participant)
                    .ok_or(Error::UnknownParticipant(participant))
            })
            .collect::<Result<_, _>>()?;
        self.commit(&leaves, wall)
    }

    /// A commit that changes nobody but refreshes our own keys, so that what was stolen before opens nothing after.
    /// Pending like [`remove`](Self::remove).
    pub fn refresh(&mut self, wall: u64) -> Result<Commit, Error> {
        self.commit(&[], wall)
    }

    fn commit(&mut self, leaves: &[u32], wall: u64) -> Result<Commit, Error> {
        if self.pending.is_some() {
            return Err(Error::Pending);
        }
        let mut builder = self
            .mls
            .commit_builder()
            .commit_time(MlsTime::from(Duration::from_millis(wall)));
        for &leaf in leaves {
            builder = builder.remove_member(leaf)?;
        }
        let output = builder.build().map_err(|error| self.rules.explain(error))?;
        let group_info = output
            .external_commit_group_info
            .ok_or_else(|| Error::Mls("no public state for the new epoch".into()))?;
        let commit = Commit {
            message: output.commit_message.to_bytes()?.into(),
            group_info: group_info.to_bytes()?.into(),
            epoch: self.epoch().next(),
            leaf: self.leaf(),
        };
        self.pending = Some(Pending {
            epoch: commit.epoch,
            message: commit.message.clone(),
        });
        Ok(commit)
    }

    /// The controller accepted our pending commit, the one that leads to `epoch`.
    pub fn accept_own(&mut self, epoch: Epoch) -> Result<EpochChange, Error> {
        if self
            .pending
            .as_ref()
            .is_none_or(|pending| pending.epoch != epoch)
        {
            return Err(Error::NothingPending);
        }
        let before = self.members();
        let applied = self.mls.apply_pending_commit()?;
        self.pending = None;
        self.change(&before, &applied)
    }

    /// Our pending commit was not taken. It has to be made anew in the epoch that won.
    pub fn discard_pending(&mut self) {
        self.mls.clear_pending_commit();
        self.pending = None;
    }

    /// Applies a commit that the controller relayed. Our own pending commit coming back is [`accept_own`](Self::accept_own);
    /// any other in its place discards it.
    ///
    /// On an error the group is as it was, except on [`Error::Removed`], after which it is of no more use.
    pub fn process(&mut self, commit: &[u8], wall: u64) -> Result<EpochChange, Error> {
        if let Some(pending) = &self.pending
            && pending.message == commit
        {
            return self.accept_own(pending.epoch);
        }
        let message = MlsMessage::from_bytes(commit)?;
        // An MlsMessage that is not a commit, a group info for instance, has an epoch or a group as well.
        if message
            .group_id()
            .is_none_or(|id| id != self.mls.group_id())
        {
            return Err(if message.group_id().is_some() {
                Error::WrongGroup
            } else {
                Error::Malformed
            });
        }
        let ours = self.epoch();
        match message.epoch().map(Epoch) {
            Some(theirs) if theirs == ours => {}
            Some(theirs) => return Err(Error::WrongEpoch { ours, theirs }),
            None => return Err(Error::Malformed),
        }
        let before = self.members();
        let now = MlsTime::from(Duration::from_millis(wall));
        let received = self
            .mls
            .process_incoming_message_with_time(message, now)
            .map_err(|error| self.rules.explain(error))?;
        let ReceivedMessage::Commit(applied) = received else {
            return Err(Error::Malformed);
        };
        self.pending = None;
        self.change(&before, &applied)
    }

    fn change(
        &self,
        before: &[Member],
        applied: &CommitMessageDescription,
    ) -> Result<EpochChange, Error> {
        if !matches!(applied.effect, CommitEffect::NewEpoch(_)) {
            return Err(Error::Removed);
        }
        let after = self.members();
        let only_in = |these: &[Member], those: &[Member]| -> Vec<Member> {
            these
                .iter()
                .filter(|member| those.binary_search(member).is_err())
                .copied()
                .collect()
        };
        let committer = after.iter().find(|member| member.leaf == applied.committer);
        Ok(EpochChange {
            epoch: self.epoch(),
            committer: *committer.ok_or(Error::BadIdentity)?,
            added: only_in(&after, before),
            removed: only_in(before, &after),
        })
    }

    /// The frame keys of the present epoch. They are given out once; the group itself then forgets them, so that two
    /// sealers with the same key cannot come to be and a stolen group opens no earlier frame of the epoch.
    pub fn keys(&mut self) -> Result<EpochKeys, Error> {
        let secret = self.mls.export_secret(EXPORTER_LABEL, b"", BASE_KEY)?;
        self.mls.delete_exporter();
        let mut base_key = Zeroizing::new([0; BASE_KEY]);
        base_key.copy_from_slice(secret.as_bytes());
        let members = self.members();
        let width = members.last().map_or(0, |member| member.leaf as usize + 1);
        let mut leaves = vec![None; width];
        for member in members {
            leaves[member.leaf as usize] = Some(member.participant);
        }
        Ok(EpochKeys::new(
            self.epoch(),
            self.leaf(),
            base_key,
            Arc::from(leaves),
        ))
    }

    /// The code of the present epoch that all members see alike.
    pub fn verification_code(&self) -> Result<VerificationCode, Error> {
        let authenticator = self.mls.epoch_authenticator()?;
        VerificationCode::from_authenticator(authenticator.as_bytes())
            .ok_or_else(|| Error::Crypto("authenticator is too short".into()))
    }

    /// The group's public state in the present epoch, for newcomers: tree and external key included.
    pub fn group_info(&self) -> Result<Bytes, Error> {
        let message = self.mls.group_info_message_allowing_ext_commit(true)?;
        Ok(message.to_bytes()?.into())
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.mls.current_epoch())
    }

    /// Everybody in the group, ourselves included, by leaf.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .mls
            .roster()
            .members_iter()
            .filter_map(|member| {
                // No other credential passes validation.
                let participant = participant_of(&member.signing_identity).ok()?;
                Some(Member {
                    leaf: member.index,
                    participant,
                })
            })
            .collect();
        members.sort_unstable();
        members
    }

    /// The leaf of `participant`, if it is in the group.
    pub fn leaf_of(&self, participant: ParticipantId) -> Option<u32> {
        let members = self.members();
        members
            .iter()
            .find(|member| member.participant == participant)
            .map(|member| member.leaf)
    }

    /// Our own leaf.
    pub fn leaf(&self) -> u32 {
        self.mls.current_member_index()
    }

    /// Who we are in this group.
    pub fn participant(&self) -> ParticipantId {
        self.participant
    }

    /// The epoch our own pending commit leads to, if there is one.
    pub fn pending(&self) -> Option<Epoch> {
        self.pending.as_ref().map(|pending| pending.epoch)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("participant", &self.participant)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

fn client(identity: &Identity, rules: &Rules, link: Option<&LinkSecret>) -> Client<Config> {
    let builder = Client::builder()
        .crypto_provider(RustCryptoProvider::with_enabled_cipher_suites(vec![SUITE]))
        .identity_provider(Participants)
        .mls_rules(rules.clone())
        .key_package_lifetime(LIFETIME)
        .signing_identity(identity.signing.clone(), identity.signer.clone(), SUITE);
    match link {
        Some(link) => builder.psk(LinkSecret::psk_id(), link.psk()).build(),
        None => builder.build(),
    }
}

/// The leaf that `participant` has in the tree of a `GroupInfo`.
fn former_leaf(group_info: &MlsMessage, participant: ParticipantId) -> Result<Option<u32>, Error> {
    let group_info = group_info.as_group_info().ok_or(Error::Malformed)?;
    let tree = group_info
        .extensions()
        .get_as::<RatchetTreeExt>()
        .map_err(|_| Error::Malformed)?
        .ok_or(Error::Malformed)?;
    let former =
        tree.tree_data.roster().members_iter().find(|member| {
            participant_of(&member.signing_identity).is_ok_and(|id| id == participant)
        });
    Ok(former.map(|member| member.index))
}

#[cfg(test)]
mod tests;
