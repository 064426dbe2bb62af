//! What the handler counts, as dashboards would see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::sync::Notify;

/// Counters by what was refused and why.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, Arc<Count>>>);

#[derive(Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
        TOLD.notify_waiters();
    }
    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Recorder for &'static Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| label.value().to_owned());
        let name: Vec<_> = std::iter::once(key.name().to_owned())
            .chain(labels)
            .collect();
        let mut counts = self.0.lock().expect("counts");
        Counter::from_arc(counts.entry(name.join(" ")).or_default().clone())
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

static TOLD: Notify = Notify::const_new();
static COUNTS: OnceLock<&'static Counts> = OnceLock::new();

/// Begins to count, for all tests of this process.
pub(crate) fn begin() {
    COUNTS.get_or_init(|| {
        let counts: &'static Counts = Box::leak(Box::default());
        metrics::set_global_recorder(counts).expect("the only recorder");
        counts
    });
}

/// How often something was refused for this reason.
pub(crate) fn refused(what: &str, code: &str) -> u64 {
    count(&format!("darktower_media_refused_total {what} {code}"))
}

/// Waits until so many frames have come, by participants or by trunks.
pub(crate) async fn received(frames: u64) {
    loop {
        let mut told = std::pin::pin!(TOLD.notified());
        told.as_mut().enable();
        if count("darktower_media_frames_received_total") >= frames {
            return;
        }
        told.await;
    }
}

fn count(name: &str) -> u64 {
    let counts = COUNTS.get().expect("begun").0.lock().expect("counts");
    counts
        .get(name)
        .map_or(0, |count| count.0.load(Ordering::Relaxed))
}
