//! A congestion controller that lets something through now and then while nothing is heard.
//!
//! The rule is `darktower_media`'s.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darktower_media::path::Patience;
use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Makes them around those of another factory.
pub(crate) struct PatientConfig(pub(crate) Arc<dyn ControllerFactory + Send + Sync>);

impl ControllerFactory for PatientConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Patient {
            inner: self.0.clone().build(now, mtu),
            origin: now,
            patience: Patience::new(Duration::ZERO),
        })
    }
}

struct Patient {
    inner: Box<dyn Controller>,
    origin: Instant,
    patience: Patience,
}

impl Controller for Patient {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet: u64) {
        self.patience.sent(now - self.origin, bytes);
        self.inner.on_sent(now, bytes, last_packet);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        let at = now - self.origin;
        self.patience
            .acked(at, sent.saturating_duration_since(self.origin), rtt.get());
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
        self.patience.heard(now - self.origin, in_flight);
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        self.patience.lost(lost);
        self.inner.on_congestion_event(now, sent, persistent, lost);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.inner.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        self.patience
            .window(self.origin.elapsed(), self.inner.window())
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            ..*self
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn::congestion::NewRenoConfig;

    #[test]
    fn a_window_opens_in_silence_and_closes_with_the_first_answer() {
        let factory = Arc::new(PatientConfig(Arc::new(NewRenoConfig::default())));
        let then = Instant::now() - Duration::from_secs(1);
        let mut patient = factory.build(then, 1200);
        let window = patient.window();
        assert_eq!(
            window,
            patient.initial_window(),
            "nothing waits for an answer"
        );
        patient.on_sent(then, 1200, 0);
        let silent = patient.window();
        assert!(silent > window, "{silent}");
        assert!(patient.clone_box().window() >= silent);
        patient.on_end_acks(Instant::now(), 1200, true, Some(0));
        assert_eq!(patient.window(), window);
        patient.on_end_acks(then, 0, true, Some(0));
        assert_eq!(patient.window(), window, "nothing is on the way");
    }
}
