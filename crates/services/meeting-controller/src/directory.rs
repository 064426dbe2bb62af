//! Which meetings live here, and how they come here: by lease (`owner.rs`), from the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use darktower_meeting::Meeting;
use darktower_placement::Tenure;
use darktower_store::{Lease, MeetingLog, StateStore, Written};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use darktower_wire::signal;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::shard::{self, Event};
use crate::{Shared, measure, owner};

/// Events that may wait for a meeting.
const INBOX: usize = 1024;

type Slot = Arc<AsyncMutex<Option<mpsc::Sender<Event>>>>;

/// The meeting cannot be had here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotHere {
    pub(crate) code: Code,
    /// Who has it, where that is known.
    pub(crate) owner: Option<NodeId>,
}

impl From<Code> for NotHere {
    fn from(code: Code) -> Self {
        Self { code, owner: None }
    }
}

/// The meetings of this controller.
pub(crate) struct Directory {
    node: NodeId,
    state: Arc<dyn StateStore>,
    lease_ttl: Duration,
    shared: Weak<Shared>,
    slots: Mutex<BTreeMap<MeetingId, Slot>>,
}

impl Directory {
    pub(crate) fn new(
        node: NodeId,
        state: Arc<dyn StateStore>,
        lease_ttl: Duration,
        shared: Weak<Shared>,
    ) -> Self {
        Self {
            node,
            state,
            lease_ttl,
            shared,
            slots: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    /// The meeting, where it lives here or can be taken over from the log.
    pub(crate) async fn find(&self, id: MeetingId) -> Result<mpsc::Sender<Event>, NotHere> {
        self.bring(id, None).await
    }

    /// The meeting, opened where it is not.
    pub(crate) async fn open(
        &self,
        id: MeetingId,
        record: signal::Meeting,
    ) -> Result<mpsc::Sender<Event>, NotHere> {
        self.bring(id, Some(record)).await
    }

    async fn bring(
        &self,
        id: MeetingId,
        record: Option<signal::Meeting>,
    ) -> Result<mpsc::Sender<Event>, NotHere> {
        let slot = self.slots().entry(id).or_default().clone();
        let mut living = slot.lock().await;
        if let Some(events) = living.as_ref().filter(|events| !events.is_closed()) {
            return Ok(events.clone());
        }
        let outcome = self.awaken(id, record).await;
        match outcome {
            Ok(events) => {
                *living = Some(events.clone());
                Ok(events)
            }
            Err(not_here) => {
                *living = None;
                drop(living);
                drop(slot);
                self.tidy(id);
                Err(not_here)
            }
        }
    }

    async fn awaken(
        &self,
        id: MeetingId,
        record: Option<signal::Meeting>,
    ) -> Result<mpsc::Sender<Event>, NotHere> {
        let shared = self.shared.upgrade().ok_or(Code::Draining)?;
        if shared.draining.is_cancelled() {
            return Err(Code::Draining.into());
        }
        let lease = owner::take(&shared, id).await?;
        let (meeting, number) = match self.load(&shared, id, record, lease).await {
            Ok(loaded) => loaded,
            Err(code) => {
                let released = self.state.release_lease(id, self.node, lease.fence).await;
                if let Err(error) = released {
                    tracing::info!(meeting_id = %id, %error, "a lease was not given back; it will expire");
                }
                return Err(code.into());
            }
        };
        let (events, inbox) = mpsc::channel(INBOX);
        let tenure = Tenure::new(self.node, lease.fence, number);
        shard::spawn(shared, meeting, tenure, inbox, events.downgrade());
        Ok(events)
    }

    /// The meeting, and the number of its log's last write.
    async fn load(
        &self,
        shared: &Shared,
        id: MeetingId,
        record: Option<signal::Meeting>,
        lease: Lease,
    ) -> Result<(Meeting, u64), Code> {
        let log = self.state.load_meeting(id).await;
        let log = log.map_err(|error| error.code())?;
        let (now, wall_ms) = (shared.now(), shared.wall.now_ms());
        let config = shared.config.meeting();
        if !log.snapshot.is_empty() {
            let restored = restore(config, &log, now, wall_ms);
            let mut meeting = restored.map_err(|error| {
                tracing::error!(meeting_id = %id, %error, "a meeting's log cannot be read");
                Code::Internal
            })?;
            if let Some(code) = meeting.ended() {
                return Err(code);
            }
            meeting.handle(now, darktower_meeting::meeting::Input::TakenOver);
            tracing::info!(meeting_id = %id, fence = lease.fence.0, "meeting taken over");
            measure::opened("taken_over");
            return Ok((meeting, log.number));
        }
        let record = record.ok_or(Code::MeetingUnknown)?;
        let meeting =
            Meeting::new(config, record, now, wall_ms).map_err(|_| Code::MeetingUnknown)?;
        let number = log.number + 1;
        let written = self
            .state
            .write_snapshot(id, lease.fence, number, meeting.snapshot())
            .await;
        match written.map_err(|error| error.code())? {
            Written::Yes => {}
            Written::Fenced | Written::OutOfTurn => return Err(Code::NotOwner),
        }
        tracing::info!(meeting_id = %id, fence = lease.fence.0, "meeting opened");
        measure::opened("new");
        Ok((meeting, number))
    }

    /// Whether the meeting lives here now.
    pub(crate) fn holds(&self, id: MeetingId) -> bool {
        let slot = self.slots().get(&id).cloned();
        slot.is_some_and(|slot| {
            let living = slot.try_lock();
            living.is_ok_and(|living| living.as_ref().is_some_and(|events| !events.is_closed()))
        })
    }

    /// Forgets the slot of a meeting that does not live here, unless somebody is
    /// about to open it.
    pub(crate) fn tidy(&self, id: MeetingId) {
        let mut slots = self.slots();
        let is_idle = slots.get(&id).is_some_and(|slot| {
            Arc::strong_count(slot) == 1
                && slot
                    .try_lock()
                    .is_ok_and(|living| living.as_ref().is_none_or(mpsc::Sender::is_closed))
        });
        if is_idle {
            slots.remove(&id);
        }
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<MeetingId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> &Arc<dyn StateStore> {
        &self.state
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.lease_ttl
    }

    /// Gives up a meeting's lease: others may have it at once.
    pub(crate) async fn release(&self, id: MeetingId, fence: Fence) {
        if let Err(error) = self.state.release_lease(id, self.node, fence).await {
            tracing::info!(meeting_id = %id, %error, "a lease was not given back; it will expire");
        }
    }
}

fn restore(
    config: darktower_meeting::meeting::Config,
    log: &MeetingLog,
    now: Duration,
    wall_ms: u64,
) -> Result<Meeting, darktower_meeting::meeting::RestoreError> {
    let deltas = log.deltas.iter().map(|delta| &delta[..]);
    Meeting::restore(config, &log.snapshot, deltas, now, wall_ms)
}
