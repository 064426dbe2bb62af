//! Who was admitted, written behind the answer: a join does not wait for a disk.

use std::sync::Arc;

use darktower_store::Database;
use darktower_store::database::Participation;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Admissions that may wait to be written; more are counted and let go.
const ROOM: usize = 4096;

/// The end that hands in.
#[derive(Debug, Clone)]
pub(crate) struct Journal(mpsc::Sender<Participation>);

impl Journal {
    /// A journal, and the task that writes it until every end is gone.
    pub(crate) fn start(database: Arc<dyn Database>) -> (Self, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel(ROOM);
        let task = tokio::spawn(async move {
            while let Some(participation) = receiver.recv().await {
                if let Err(error) = database.admit(&participation).await {
                    metrics::counter!("darktower_global_admissions_lost_total").increment(1);
                    tracing::warn!(%error, "an admission could not be noted");
                }
            }
        });
        (Self(sender), task)
    }

    pub(crate) fn admit(&self, participation: Participation) {
        if self.0.try_send(participation).is_err() {
            metrics::counter!("darktower_global_admissions_lost_total").increment(1);
        }
    }
}
