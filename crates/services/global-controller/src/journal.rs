//! Who was admitted and what was done, written behind the answer: a join does not wait for a disk, nor for a database that
//! is away for a while.

use std::sync::Arc;
use std::time::Duration;

use darktower_store::database::{AuditEntry, Participation};
use darktower_store::{Database, Error};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Entries that may wait to be written, some hundred bytes each; more are counted and let go.
const ROOM: usize = 32_768;

/// Before what could not be written is tried again, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The end that hands in.
#[derive(Debug, Clone)]
pub(crate) struct Journal(mpsc::Sender<Entry>);

#[derive(Debug)]
enum Entry {
    Admitted(Participation),
    Audit(AuditEntry),
}

impl Journal {
    /// A journal, and the task that writes it until every end is gone.
    pub(crate) fn start(database: Arc<dyn Database>) -> (Self, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel(ROOM);
        let task = tokio::spawn(async move {
            while let Some(entry) = receiver.recv().await {
                if let Err(error) = keep_writing(&*database, &entry).await {
                    lost(&entry);
                    tracing::warn!(%error, "an entry of the journal cannot be written");
                }
            }
        });
        (Self(sender), task)
    }

    /// Somebody was let in.
    pub(crate) fn admit(&self, participation: Participation) {
        self.hand_in(Entry::Admitted(participation));
    }

    /// Something was done that is not done again where this fails.
    pub(crate) fn audit(&self, entry: AuditEntry) {
        self.hand_in(Entry::Audit(entry));
    }

    fn hand_in(&self, entry: Entry) {
        if let Err(refused) = self.0.try_send(entry) {
            lost(&refused.into_inner());
        }
    }
}

fn lost(entry: &Entry) {
    let counter = match entry {
        Entry::Admitted(_) => metrics::counter!("darktower_global_admissions_lost_total"),
        Entry::Audit(_) => metrics::counter!("darktower_global_audit_lost_total"),
    };
    counter.increment(1);
}

/// Tries until it is written, or never can be.
async fn keep_writing(database: &dyn Database, entry: &Entry) -> Result<(), Error> {
    let mut pause = PAUSE;
    loop {
        let written = match entry {
            Entry::Admitted(participation) => database.admit(participation).await,
            Entry::Audit(entry) => database.audit(entry).await,
        };
        match written {
            Err(error) if error.is_passing() => {
                if pause == PAUSE {
                    tracing::warn!(%error, "the journal cannot be written yet");
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            written => return written,
        }
    }
}
