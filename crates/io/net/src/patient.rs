//! A congestion controller that lets something through now and then while nothing is heard.
//!
//! QUIC's own probes come ever more rarely, up to as late after an outage as it lasted (RFC 9002 §6.2.1), and behind a
//! full window nothing else leaves. The rule is `darktower_media`'s.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darktower_media::path::trickle;
use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Makes them around those of another factory.
pub(crate) struct PatientConfig(pub(crate) Arc<dyn ControllerFactory + Send + Sync>);

impl ControllerFactory for PatientConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Patient {
            inner: self.0.clone().build(now, mtu),
            silent_since: now,
            is_waiting: false,
            rtt: Duration::ZERO,
        })
    }
}

struct Patient {
    inner: Box<dyn Controller>,
    /// The last acknowledgement, or the first packet that waits for one.
    silent_since: Instant,
    is_waiting: bool,
    rtt: Duration,
}

impl Controller for Patient {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet: u64) {
        if !self.is_waiting {
            self.is_waiting = true;
            self.silent_since = now;
        }
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
        self.rtt = rtt.get();
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
        self.silent_since = now;
        self.is_waiting = in_flight > 0;
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        self.inner.on_congestion_event(now, sent, persistent, lost);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.inner.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        let trickle = match self.is_waiting {
            true => trickle(self.silent_since.elapsed(), self.rtt),
            false => 0,
        };
        self.inner.window() + trickle
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
