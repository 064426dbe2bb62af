//! What one epoch of the group gives to the frames: one key to seal with, one to open everybody else's.

use std::fmt;
use std::sync::Arc;

use darktower_wire::ids::{Epoch, ParticipantId};
use zeroize::Zeroizing;

use crate::header::kid_of;
use crate::sframe::{BASE_KEY, FrameKey};

/// The frame keys of one epoch, as [`Group::keys`](crate::Group::keys) gives them out, once.
#[derive(Debug)]
pub struct EpochKeys {
    /// The epoch they belong to.
    pub epoch: Epoch,
    /// For this participant's [`Sealer`](crate::Sealer).
    pub sealing: SealingKey,
    /// For the [`Keyring`](crate::Keyring).
    pub opening: OpeningKeys,
}

/// The right to seal as one leaf in one epoch. It cannot be copied: two sealers would reuse nonces.
pub struct SealingKey {
    pub(crate) epoch: Epoch,
    pub(crate) kid: u64,
    pub(crate) key: FrameKey,
}

/// The means to open what any member seals in one epoch.
pub struct OpeningKeys {
    pub(crate) epoch: Epoch,
    pub(crate) base_key: Zeroizing<[u8; BASE_KEY]>,
    /// The member at each leaf, `None` where it is blank.
    pub(crate) members: Arc<[Option<ParticipantId>]>,
}

impl EpochKeys {
    /// Makes the keys of `epoch` for the member at `leaf` out of MLS's exporter secret (RFC 9605 §5.2).
    pub(crate) fn new(
        epoch: Epoch,
        leaf: u32,
        base_key: Zeroizing<[u8; BASE_KEY]>,
        members: Arc<[Option<ParticipantId>]>,
    ) -> Self {
        let kid = kid_of(leaf, epoch.0);
        Self {
            epoch,
            sealing: SealingKey {
                epoch,
                kid,
                key: FrameKey::derive(kid, &base_key),
            },
            opening: OpeningKeys {
                epoch,
                base_key,
                members,
            },
        }
    }
}

impl OpeningKeys {
    /// The epoch these keys open.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl SealingKey {
    /// The epoch this key seals in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("epoch", &self.epoch.0)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OpeningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpeningKeys")
            .field("epoch", &self.epoch.0)
            .finish_non_exhaustive()
    }
}
