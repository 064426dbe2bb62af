//! The meeting's lease and its log, as the store has them.

use std::time::Duration;

use bytes::Bytes;
use darktower_placement::{Held, Logged, Renewal};
use darktower_store::Written;
use darktower_wire::ids::Fence;
use tokio::time::timeout;

use super::{Over, Shard};
use crate::measure;

/// Renewing the lease may take so long: participants' pings wait meanwhile, and a store that hangs must not make
/// them think that their controller is gone.
const RENEW_WITHIN: Duration = Duration::from_millis(300);

/// By a failover that was over before anybody missed the store.
const FORGOT: &str = "the state store has forgotten changes of the meeting that it had acknowledged; they are written anew";

impl Shard {
    pub(super) async fn persist(&mut self, delta: Bytes) {
        if !self.tenure.appends() {
            return;
        }
        let number = self.tenure.next_number();
        let state = self.shared.directory.state();
        let appended = state
            .append_delta(self.id, self.tenure.fence(), number, delta)
            .await;
        let logged = self.logged(appended, "the meeting's log cannot be written");
        self.tenure.appended(logged);
        self.note_loss();
    }

    pub(super) async fn save(&mut self) {
        let number = self.tenure.next_number();
        let state = self.shared.directory.state();
        let snapshot = self.meeting.snapshot();
        let written = state
            .write_snapshot(self.id, self.tenure.fence(), number, snapshot)
            .await;
        let logged = self.logged(written, "the meeting's snapshot cannot be written");
        if self.tenure.saved(logged) {
            tracing::info!("the meeting's log is whole again");
        }
        self.note_loss();
    }

    fn logged(&self, written: Result<Written, darktower_store::Error>, failure: &str) -> Logged {
        match written {
            Ok(Written::Yes) => Logged::Yes,
            Ok(Written::Fenced) => Logged::Fenced,
            Ok(Written::OutOfTurn) => {
                tracing::warn!("{FORGOT}");
                measure::unsaved();
                Logged::OutOfTurn
            }
            Err(error) => {
                match self.tenure.is_unsaved() {
                    false => tracing::warn!(%error, "{failure}"),
                    true => tracing::debug!(%error, "{failure}"),
                }
                measure::unsaved();
                Logged::Failed
            }
        }
    }

    pub(super) fn note_loss(&mut self) {
        if self.tenure.is_lost() {
            self.over = Some(Over::Lost);
        }
    }

    pub(super) async fn renew(&mut self) {
        let directory = &self.shared.directory;
        let (node, ttl) = (directory.node(), directory.lease_ttl());
        let lease = directory.state().acquire_lease(self.id, node, ttl);
        let lease = match timeout(RENEW_WITHIN, lease).await {
            Ok(Ok(lease)) => Some(Held {
                owner: lease.owner,
                fence: lease.fence,
                written: lease.written,
            }),
            Err(_) => {
                tracing::debug!("the lease cannot be renewed in time");
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the lease cannot be renewed");
                None
            }
        };
        let was_unsaved = self.tenure.is_unsaved();
        match self.tenure.renewed(lease) {
            Renewal::Same if self.tenure.is_unsaved() && !was_unsaved => {
                tracing::warn!("{FORGOT}");
                measure::unsaved();
            }
            Renewal::Same => {}
            Renewal::Regained(fence) => {
                if !self.regain(fence).await {
                    return;
                }
            }
            Renewal::Not => return self.note_loss(),
        }
        if self.tenure.is_unsaved() {
            self.save().await;
        }
    }

    /// The lease had run out and is ours again: unless somebody had the meeting meanwhile.
    /// Whether it is.
    async fn regain(&mut self, fence: Fence) -> bool {
        let directory = &self.shared.directory;
        let log = match directory.state().load_meeting(self.id).await {
            Ok(log) => log,
            Err(error) => {
                // The next renewal finds the same.
                tracing::debug!(%error, "the meeting's log cannot be read");
                return false;
            }
        };
        if !self.tenure.regained(fence, log.fence) {
            directory.release(self.id, fence).await;
            self.note_loss();
            return false;
        }
        let handlers: Vec<_> = self.handlers.keys().copied().collect();
        for handler in handlers {
            self.sync(handler).await;
        }
        true
    }
}
