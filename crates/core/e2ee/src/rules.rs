//! What this group allows beyond the rules of MLS: who may be in it, and what a commit may do.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use darktower_wire::ids::ParticipantId;
use mls_rs::error::{IntoAnyError, MlsError};
use mls_rs::group::{GroupContext, Roster};
use mls_rs::identity::basic::BasicCredential;
use mls_rs::identity::{CredentialType, SigningIdentity};
use mls_rs::mls_rules::{
    CommitDirection, CommitOptions, CommitSource, EncryptionOptions, ProposalBundle,
};
use mls_rs::time::MlsTime;
use mls_rs::{ExtensionList, IdentityProvider, MlsRules};
use mls_rs_core::identity::MemberValidationContext;

use crate::error::Error;

/// The participant that a credential names, if it is one of ours.
pub(crate) fn participant_of(signing: &SigningIdentity) -> Result<ParticipantId, BadIdentity> {
    let basic = signing.credential.as_basic().ok_or(BadIdentity)?;
    ParticipantId::from_slice(basic.identifier()).map_err(|_| BadIdentity)
}

/// A credential is valid when it is basic and holds 16 bytes; it stands for the same participant when they are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Participants;

#[derive(Debug)]
pub(crate) struct BadIdentity;

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credential is not a participant id")
    }
}

impl IntoAnyError for BadIdentity {}

impl IdentityProvider for Participants {
    type Error = BadIdentity;

    fn validate_member(
        &self,
        signing: &SigningIdentity,
        _: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), BadIdentity> {
        participant_of(signing).map(drop)
    }

    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), BadIdentity> {
        // Nobody outside speaks to the group.
        Err(BadIdentity)
    }

    fn identity(
        &self,
        signing: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<Vec<u8>, BadIdentity> {
        participant_of(signing).map(ParticipantId::to_vec)
    }

    fn valid_successor(
        &self,
        former: &SigningIdentity,
        latter: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, BadIdentity> {
        Ok(participant_of(former)? == participant_of(latter)?)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![BasicCredential::credential_type()]
    }
}

/// What a commit may do: a newcomer adds itself, with the link's secret if there is one, and may take its own former
/// leaf away; a member removes others or refreshes its keys. Nothing else, so there is nothing else to get wrong.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    link_demanded: bool,
    /// mls-rs hands on that the rules refused, not why.
    refusal: Arc<Mutex<Option<Error>>>,
}

#[derive(Debug)]
pub(crate) struct Refused;

impl IntoAnyError for Refused {}

impl Rules {
    pub(crate) fn new(link_demanded: bool) -> Self {
        Self {
            link_demanded,
            refusal: Arc::default(),
        }
    }

    pub(crate) fn take_refusal(&self) -> Option<Error> {
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn judge(&self, source: &CommitSource, proposals: &ProposalBundle) -> Result<(), Error> {
        let removals = proposals.remove_proposals().len();
        let secrets = proposals.psk_proposals().len();
        match source {
            CommitSource::NewMember(_) => {
                let inits = proposals.external_init_proposals().len();
                if self.link_demanded && secrets == 0 {
                    return Err(Error::LinkSecretMissing);
                }
                if inits != 1
                    || removals > 1
                    || secrets > 1
                    || proposals.length() != inits + removals + secrets
                {
                    return Err(Error::NotAllowed);
                }
            }
            CommitSource::ExistingMember(_) => {
                if proposals.length() != removals {
                    return Err(Error::NotAllowed);
                }
            }
        }
        Ok(())
    }
}

impl MlsRules for Rules {
    type Error = Refused;

    fn filter_proposals(
        &self,
        _: CommitDirection,
        source: CommitSource,
        _: &Roster<'_>,
        _: &GroupContext,
        proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Refused> {
        match self.judge(&source, &proposals) {
            Ok(()) => Ok(proposals),
            Err(error) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(Refused)
            }
        }
    }

    fn commit_options(
        &self,
        _: &Roster<'_>,
        _: &GroupContext,
        _: &ProposalBundle,
    ) -> Result<CommitOptions, Refused> {
        Ok(CommitOptions::new()
            .with_path_required(true)
            .with_ratchet_tree_extension(true)
            .with_allow_external_commit(true))
    }

    fn encryption_options(
        &self,
        _: &Roster<'_>,
        _: &GroupContext,
    ) -> Result<EncryptionOptions, Refused> {
        Ok(EncryptionOptions::default())
    }
}

impl Rules {
    /// The refusal behind an error of mls-rs: our own reason if the rules gave one.
    pub(crate) fn explain(&self, error: MlsError) -> Error {
        let refusal = self.take_refusal();
        match error {
            MlsError::MlsRulesError(_) => refusal.unwrap_or(Error::NotAllowed),
            other => other.into(),
        }
    }
}
