//! A seal that shows what it is asked for: not secret, but each change is seen.

use darktower_media::{OpenError, Opener, Sealer};
use darktower_wire::ids::ParticipantId;

pub(crate) const ALICE: ParticipantId = ParticipantId([1; 16]);
pub(crate) const BOB: ParticipantId = ParticipantId([2; 16]);
pub(crate) const CAROL: ParticipantId = ParticipantId([3; 16]);

/// One end's keys: seals in `epoch`, opens `first..=epoch`.
pub(crate) struct Keys {
    pub(crate) owner: ParticipantId,
    pub(crate) first: u8,
    pub(crate) epoch: Option<u8>,
}

impl Keys {
    pub(crate) fn of(owner: ParticipantId) -> Self {
        Self {
            owner,
            first: 1,
            epoch: Some(1),
        }
    }
}

fn tag(owner: u8, epoch: u8, header: &[u8], plain: &[u8]) -> u8 {
    let all = [owner, epoch]
        .into_iter()
        .chain(header.iter().copied())
        .chain(plain.iter().copied());
    all.fold(7, |sum: u8, byte| sum.rotate_left(1) ^ byte)
}

impl Sealer for Keys {
    fn seal(&mut self, header: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(epoch) = self.epoch else {
            return false;
        };
        let owner = self.owner.0[0];
        out.extend([owner, epoch, tag(owner, epoch, header, plain)]);
        out.extend(plain);
        true
    }
}

impl Opener for Keys {
    fn open(
        &mut self,
        owner: ParticipantId,
        header: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let [sender, epoch, seen, plain @ ..] = sealed else {
            return Err(OpenError::Malformed);
        };
        if *sender != owner.0[0] {
            return Err(OpenError::WrongSender);
        }
        if self.epoch.is_none_or(|newest| *epoch > newest) {
            return Err(OpenError::EpochAhead);
        }
        if *epoch < self.first {
            return Err(OpenError::EpochGone);
        }
        if tag(*sender, *epoch, header, plain) != *seen {
            return Err(OpenError::BadTag);
        }
        out.extend(plain);
        Ok(())
    }
}
