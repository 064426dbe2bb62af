//! Where meetings and tickets are found.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darktower_media::forwarder::TicketHash;
use darktower_wire::ids::{MeetingId, ParticipantId};
use tokio::sync::Notify;

/// Whose a ticket or a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) meeting: MeetingId,
    pub(crate) seat: ParticipantId,
    /// It is another handler, whose session is a trunk.
    pub(crate) is_trunk: bool,
}

#[derive(Default)]
pub(crate) struct Directory {
    tickets: Mutex<BTreeMap<TicketHash, Holder>>,
    ticket_known: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shard, of so many, that a meeting lives on. Ids are random, so this spreads them, and nobody has to be asked.
pub(crate) fn home(meeting: MeetingId, shards: usize) -> usize {
    let [.., a, b] = meeting.0;
    usize::from(u16::from_be_bytes([a, b])) % shards.max(1)
}

impl Directory {
    pub(crate) fn ticket(&self, ticket: TicketHash, of: Option<Holder>) {
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
    pub(crate) async fn holder(&self, ticket: &TicketHash, patience: Duration) -> Option<Holder> {
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
