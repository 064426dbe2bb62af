//! Where meetings and tickets are found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darktower_media::forwarder::TicketHash;
use darktower_wire::ids::{MeetingId, ParticipantId};
use tokio::sync::{Notify, mpsc};

use crate::Shared;
use crate::shard::{self, Event};

/// Events that may wait for one meeting; who brings more waits with them.
const INBOX: usize = 1024;

/// A shard that ends just as something comes for it is started anew; one that ends
/// so often cannot run, as in a runtime that shuts down.
const MOST_TRIES: usize = 8;

#[derive(Default)]
pub(crate) struct Directory {
    meetings: Mutex<BTreeMap<MeetingId, mpsc::Sender<Event>>>,
    tickets: Mutex<BTreeMap<TicketHash, (MeetingId, ParticipantId)>>,
    ticket_known: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// Brings an event to its meeting's shard, which is started where there is none. In
    /// a handler that stops, nothing is started any more and events are dropped.
    pub(crate) async fn send(shared: &Arc<Shared>, meeting: MeetingId, mut event: Event) {
        for _ in 0..MOST_TRIES {
            if shared.stopping.is_cancelled() {
                return;
            }
            let inbox = shared.directory.inbox(shared, meeting);
            match inbox.send(event).await {
                Ok(()) => return,
                // The shard ended in this very moment.
                Err(back) => event = back.0,
            }
        }
        tracing::error!(meeting_id = %meeting, "the meeting's shard does not run");
    }

    /// The inbox of a meeting.
    pub(crate) fn inbox(&self, shared: &Arc<Shared>, meeting: MeetingId) -> mpsc::Sender<Event> {
        let mut meetings = lock(&self.meetings);
        if let Some(inbox) = meetings.get(&meeting)
            && !inbox.is_closed()
        {
            return inbox.clone();
        }
        let (inbox, events) = mpsc::channel(INBOX);
        meetings.insert(meeting, inbox.clone());
        shared
            .shards
            .spawn(shard::run(shared.clone(), meeting, events));
        inbox
    }

    /// Removes a meeting, unless something has just come for it.
    pub(crate) fn forget(&self, meeting: MeetingId, events: &mut mpsc::Receiver<Event>) -> bool {
        let mut meetings = lock(&self.meetings);
        if !events.is_empty() {
            return false;
        }
        events.close();
        meetings.remove(&meeting);
        true
    }

    pub(crate) fn ticket(&self, ticket: TicketHash, of: Option<(MeetingId, ParticipantId)>) {
        match of {
            Some(of) => {
                lock(&self.tickets).insert(ticket, of);
                self.ticket_known.notify_waiters();
            }
            None => {
                lock(&self.tickets).remove(&ticket);
            }
        }
    }

    /// Whose ticket this is, waiting a moment for a word that may be on its way.
    pub(crate) async fn holder(
        &self,
        ticket: &TicketHash,
        patience: Duration,
    ) -> Option<(MeetingId, ParticipantId)> {
        let look = async {
            loop {
                let mut known = std::pin::pin!(self.ticket_known.notified());
                known.as_mut().enable();
                if let Some(of) = lock(&self.tickets).get(ticket) {
                    return *of;
                }
                known.await;
            }
        };
        tokio::time::timeout(patience, look).await.ok()
    }
}
