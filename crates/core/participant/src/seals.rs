//! The participant's frame keys as the media core asks for them.

use darktower_e2ee as e2ee;
use darktower_media::{OpenError, Opener, Sealer};
use darktower_wire::ids::ParticipantId;

/// Seals with the present epoch's key, where there is one.
pub(crate) struct SealWith<'a>(pub(crate) Option<&'a mut e2ee::Sealer>);

impl Sealer for SealWith<'_> {
    fn seal(&mut self, header: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
        self.0
            .as_mut()
            .is_some_and(|sealer| sealer.seal(header, plain, out).is_ok())
    }
}

/// Opens with the keys of the epochs at hand.
pub(crate) struct OpenWith<'a>(pub(crate) &'a mut e2ee::Keyring);

impl Opener for OpenWith<'_> {
    fn open(
        &mut self,
        owner: ParticipantId,
        header: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        match self.0.open(owner, header, sealed, out) {
            Ok(_) => Ok(()),
            Err(e2ee::OpenError::UnknownEpoch { newer: true }) => Err(OpenError::EpochAhead),
            Err(e2ee::OpenError::UnknownEpoch { newer: false }) => Err(OpenError::EpochGone),
            Err(e2ee::OpenError::UnknownSender | e2ee::OpenError::WrongSender) => {
                Err(OpenError::WrongSender)
            }
            Err(e2ee::OpenError::BadTag) => Err(OpenError::BadTag),
            Err(e2ee::OpenError::Truncated | e2ee::OpenError::Malformed) => {
                Err(OpenError::Malformed)
            }
        }
    }
}
