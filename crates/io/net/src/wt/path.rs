//! `darktower_media`'s [`Path`] under each connection, as its congestion controller.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darktower_media::path::{Config, Path, Rtt};
use quinn_proto::RttEstimator;
use quinn_proto::congestion as quic;

/// The path as session and connection share it. Both run on one thread, so nobody ever waits for the lock; it stands
/// here because the QUIC implementation wants its controllers `Sync`.
#[derive(Clone)]
pub struct SharedPath {
    origin: Instant,
    path: Arc<Mutex<Path>>,
}

impl SharedPath {
    /// The path, to look at or to speak to.
    pub fn get(&self) -> MutexGuard<'_, Path> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }
}

/// Makes paths for the connections of one endpoint and remembers the newest, for the session that it belongs to. A
/// connection that moves to another network begins with a new one.
///
/// It is what QUIC's own connections take, for tests that drive those without an [`Endpoint`](super::Endpoint).
pub struct Paths {
    origin: Instant,
    config: Config,
    newest: Mutex<Option<SharedPath>>,
}

impl Paths {
    /// Their time is since `origin`.
    pub fn new(origin: Instant, config: Config) -> Arc<Self> {
        let newest = Mutex::new(None);
        Arc::new(Self {
            origin,
            config,
            newest,
        })
    }

    /// What was made since the last call.
    pub fn take(&self) -> Option<SharedPath> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.take()
    }
}

impl quic::ControllerFactory for Paths {
    fn build(self: Arc<Self>, now: Instant, _mtu: u16) -> Box<dyn quic::Controller> {
        let since = now.saturating_duration_since(self.origin);
        let path = Path::new(self.config, since);
        let initial = path.window();
        let shared = SharedPath {
            origin: self.origin,
            path: Arc::new(Mutex::new(path)),
        };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(shared.clone());
        Box::new(Adapter { shared, initial })
    }
}

struct Adapter {
    shared: SharedPath,
    initial: u64,
}

impl quic::Controller for Adapter {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet: u64) {
        let now = self.shared.at(now);
        self.shared.get().sent(now, bytes);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        let (now, sent) = (self.shared.at(now), self.shared.at(sent));
        let rtt = Rtt {
            min: rtt.min(),
            smoothed: rtt.get(),
        };
        self.shared.get().acked(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        _now: Instant,
        in_flight: u64,
        _app_limited: bool,
        _largest: Option<u64>,
    ) {
        self.shared.get().remaining(in_flight);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        let (now, sent) = (self.shared.at(now), self.shared.at(sent));
        let ecn = lost == 0;
        self.shared
            .get()
            .congested(now, sent, lost, ecn, persistent);
    }

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        self.shared.get().window()
    }

    fn clone_box(&self) -> Box<dyn quic::Controller> {
        // The path is the same but for a port: so is what is known of it.
        Box::new(Self {
            shared: self.shared.clone(),
            initial: self.initial,
        })
    }

    fn initial_window(&self) -> u64 {
        self.initial
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
