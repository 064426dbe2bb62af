//! The key epoch that this end holds, and what it is known by.

use std::collections::BTreeMap;

use bytes::Bytes;
use darktower_wire::signal;

/// Numbers alone do not tell epochs apart: where two controllers each thought that they owned the meeting, both may have
/// led to the same number.
#[derive(Debug, Default)]
pub(super) struct Held {
    epoch: Option<u64>,
    known_by: Bytes,
    /// By epoch, of others' commits that this end was given and has not answered.
    offered: BTreeMap<u64, Bytes>,
}

impl Held {
    pub(super) fn is_none(&self) -> bool {
        self.epoch.is_none()
    }

    /// Another's commit that leads to `epoch` was given to this end.
    pub(super) fn offer(&mut self, epoch: u64, known_by: Bytes) {
        self.offered.insert(epoch, known_by);
    }

    /// This end went along with what was offered last.
    pub(super) fn follow(&mut self, epoch: u64) {
        if let Some(known_by) = self.offered.remove(&epoch) {
            self.install(epoch, known_by);
        }
    }

    /// This end holds `epoch` now.
    pub(super) fn install(&mut self, epoch: u64, known_by: Bytes) {
        self.epoch = Some(epoch);
        self.known_by = known_by;
        self.offered = self.offered.split_off(&epoch.saturating_add(1));
    }

    /// The keys are worthless.
    pub(super) fn lose(&mut self) {
        *self = Self::default();
    }

    pub(super) fn resume(&self) -> signal::Resume {
        signal::Resume {
            epoch: self.epoch.unwrap_or_default(),
            keys_lost: self.is_none(),
            epoch_sha256: self.known_by.clone(),
        }
    }
}
