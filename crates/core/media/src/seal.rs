//! What the ends' keys do for a frame, asked for through traits so that this
//! crate never links a cipher.

use darktower_wire::ids::ParticipantId;

/// Seals this end's frames.
pub trait Sealer {
    /// Appends `plain`, sealed with `header` as associated data, to `out`. False
    /// where there is no key to seal with yet; `out` is then left as it was.
    fn seal(&mut self, header: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool;
}

/// Opens the others' frames.
pub trait Opener {
    /// Appends the plaintext of `sealed`, which must have been sealed by `owner`
    /// with `header` as associated data, to `out`.
    fn open(
        &mut self,
        owner: ParticipantId,
        header: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError>;
}

/// Why a frame could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sealed in an epoch that this end has not installed yet: keep it for a moment.
    #[error("sealed in an epoch that is still to come")]
    EpochAhead,
    /// Sealed in an epoch whose keys are wiped, or before this end joined.
    #[error("sealed in an epoch that is gone")]
    EpochGone,
    /// The key id is not one of the track's owner.
    #[error("sealed by somebody else than the track's owner")]
    WrongSender,
    /// Header or payload were changed.
    #[error("the authentication tag does not fit")]
    BadTag,
    /// Not a sealed frame at all.
    #[error("not a sealed frame")]
    Malformed,
}
