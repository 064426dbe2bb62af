//! Samples of durations are kept one by one until somebody reads the numbers. Where nobody does, they are counted into
//! their buckets all the same, so that they do not pile up.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

/// How long samples are kept at the most.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Counts for as long as it is there.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Its end is told by its going.
    _here: mpsc::Sender<()>,
}

impl Upkeep {
    /// Counts what there is `every` so often, and says so to `counted`.
    pub(crate) fn start(
        prometheus: PrometheusHandle,
        every: Duration,
        mut counted: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (here, gone) = mpsc::channel();
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                while gone.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    prometheus.run_upkeep();
                    counted();
                }
            })?;
        Ok(Self { _here: here })
    }
}
