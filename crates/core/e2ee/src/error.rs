//! Everything that can be wrong with a group message.

use darktower_wire::ids::{Epoch, ParticipantId};
use mls_rs::error::MlsError;

/// Why a group operation was refused. The group is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an MLS message of the kind expected.
    #[error("not a message of this kind")]
    Malformed,
    /// A commit for another epoch than the present one: late, or ahead of others still on their way.
    #[error("commit for epoch {theirs:?}, but the group is in {ours:?}")]
    WrongEpoch {
        /// The group's epoch.
        ours: Epoch,
        /// The commit's epoch.
        theirs: Epoch,
    },
    /// A message of another group.
    #[error("message of another group")]
    WrongGroup,
    /// A newcomer left the link's secret out although the group demands it.
    #[error("joined without the link's secret")]
    LinkSecretMissing,
    /// The commit names a pre-shared key that this link does not have.
    #[error("joined with a secret that this link does not have")]
    LinkSecretUnknown,
    /// The commit does something that this group does not allow.
    #[error("commit does what this group does not allow")]
    NotAllowed,
    /// A newcomer would take away another participant than its own former self.
    #[error("newcomer removes another participant")]
    RemovesAnother,
    /// The participant or one of its keys is in the group already.
    #[error("already in the group, at leaf {0}")]
    Duplicate(u32),
    /// A credential that is not a participant id of 16 bytes.
    #[error("credential is not a participant id")]
    BadIdentity,
    /// A signature or membership tag does not fit.
    #[error("signature does not fit")]
    BadSignature,
    /// The commit's secrets lead elsewhere than ours: a wrong link secret, a broken or a forged commit.
    #[error("the commit leads to other keys than ours")]
    KeysDiffer,
    /// This commit removed us. The group is of no more use.
    #[error("removed from the group")]
    Removed,
    /// There is no own commit pending (for this epoch).
    #[error("no own commit is pending")]
    NothingPending,
    /// An own commit is pending already.
    #[error("an own commit is pending already")]
    Pending,
    /// Not a member of the group.
    #[error("{0} is not in the group")]
    UnknownParticipant(ParticipantId),
    /// The keys of this epoch were given out before.
    #[error("the keys of this epoch were given out before")]
    KeysTaken,
    /// The link's fragment is not a secret.
    #[error("not a link secret")]
    BadFragment,
    /// No entropy, or a failure inside the cryptography.
    #[error("cryptography failed: {0}")]
    Crypto(String),
    /// Refused by the rules of MLS (RFC 9420).
    #[error("refused by MLS: {0}")]
    Mls(String),
}

impl From<MlsError> for Error {
    fn from(error: MlsError) -> Self {
        match error {
            MlsError::SerializationError(_) | MlsError::UnexpectedMessageType => Self::Malformed,
            MlsError::GroupIdMismatch => Self::WrongGroup,
            MlsError::MissingRequiredPsk => Self::LinkSecretUnknown,
            MlsError::ExternalCommitRemovesOtherIdentity
            | MlsError::ExternalCommitWithMoreThanOneRemove => Self::RemovesAnother,
            MlsError::DuplicateLeafData(leaf) => Self::Duplicate(leaf),
            MlsError::IdentityProviderError(_) => Self::BadIdentity,
            MlsError::InvalidSignature | MlsError::InvalidMembershipTag => Self::BadSignature,
            MlsError::InvalidConfirmationTag => Self::KeysDiffer,
            MlsError::MlsRulesError(_) => Self::NotAllowed,
            MlsError::PendingCommitNotFound => Self::NothingPending,
            MlsError::ExistingPendingCommit => Self::Pending,
            MlsError::ExporterDeleted => Self::KeysTaken,
            MlsError::CryptoProviderError(_) => Self::Crypto(format!("{error:?}")),
            other => Self::Mls(format!("{other:?}")),
        }
    }
}
