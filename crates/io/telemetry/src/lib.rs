//! How the services are seen: one JSON line for each thing worth telling, one
//! trace from the click to the first frame, numbers for Prometheus.
//!
//! What it is: the subscriber behind `tracing` ([`Telemetry::install`]), the
//! recorder behind `metrics`, and an HTTP listener for the numbers
//! ([`MetricsListener`]) where no service has one already.
//!
//! What it must not do: know a meeting, or decide what is worth telling.
//!
//! Where to start: [`Telemetry::install`]; the shape of a line is in [`line`].
//!
//! Invariant: trace ids are in the log whether or not spans are exported. A
//! span that names `trace_id` and `span_id` keeps them; any other belongs to
//! the trace of the span around it, or begins one.

pub mod line;

mod export;
mod listener;
mod recorder;
#[cfg(test)]
mod tests;
mod upkeep;

use std::io::Write as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use export::Export;
pub use listener::{MetricsListener, PROMETHEUS_TEXT};
pub use metrics_exporter_prometheus::PrometheusHandle;
use recorder::Recorder;
use upkeep::Upkeep;

/// What is told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged: a level, or levels by component
    /// (`info,darktower_media_handler=debug`).
    pub level: String,
    /// Where finished spans go by OTLP over gRPC (`http://127.0.0.1:4317`);
    /// empty: nowhere.
    pub otlp_endpoint: String,
    /// Where `/metrics` is served by a process without the HTTP API.
    pub metrics_listen: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            otlp_endpoint: String::new(),
            metrics_listen: "127.0.0.1:0".to_owned(),
        }
    }
}

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `telemetry.level` is not understood.
    #[error("telemetry.level `{0}` is neither a level nor a list of component=level")]
    Level(String),
    /// `telemetry.otlp_endpoint` cannot be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Endpoint(String),
    /// `telemetry.metrics_listen` is no address.
    #[error("telemetry.metrics_listen `{0}` is not an address like 127.0.0.1:9464")]
    Address(String),
    /// The address of the metrics cannot be listened on.
    #[error("telemetry.metrics_listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The system has no thread to spare.
    #[error("telemetry has no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// Somebody else in this process collects already.
    #[error("telemetry is installed already")]
    Twice,
}

/// What was installed; spans are exported until it is shut down.
#[derive(Debug)]
pub struct Telemetry {
    prometheus: PrometheusHandle,
    export: Option<Export>,
    _upkeep: Upkeep,
}

/// Upper bounds of the buckets of every duration, in seconds: from a wake-up
/// of the scheduler to a person's patience.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Who may log what. These libraries print whole CONNECT requests, the tokens in
/// their URLs included, and warn of every closed tab: never more than errors.
fn targets(level: &str) -> Result<Targets, Error> {
    let targets: Targets = level.parse().map_err(|_| Error::Level(level.to_owned()))?;
    Ok(targets
        .with_target("web_transport_quinn", LevelFilter::ERROR)
        .with_target("web_transport_proto", LevelFilter::ERROR))
}

impl Telemetry {
    /// Installs log, traces and metrics for this process, which says in spans
    /// that it is `service`. With an OTLP endpoint it has to be called within
    /// a tokio runtime.
    pub fn install(config: &Config, service: &'static str) -> Result<Self, Error> {
        let targets = targets(&config.level)?;
        let export = match config.otlp_endpoint.as_str() {
            "" => None,
            endpoint => Some(Export::to(endpoint, service)?),
        };
        let recorder = Recorder::new(Box::new(to_stderr), export.clone());
        tracing_subscriber::registry()
            .with(recorder.with_filter(targets))
            .try_init()
            .map_err(|_| Error::Twice)?;
        let prometheus = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|_| Error::Twice)?;
        let upkeep = Upkeep::start(prometheus.clone(), upkeep::EVERY, || ());
        Ok(Self {
            _upkeep: upkeep.map_err(Error::Thread)?,
            prometheus,
            export,
        })
    }

    /// The text that Prometheus reads.
    pub fn prometheus(&self) -> PrometheusHandle {
        self.prometheus.clone()
    }

    /// Sends what is left of the spans; blocks up to a few seconds.
    pub fn shutdown(self) {
        if let Some(export) = self.export {
            export.shutdown();
        }
    }
}

/// One write for each line, so that lines of several threads never mix.
fn to_stderr(line: &[u8]) {
    // Nobody is left to tell when the log itself cannot be written.
    let _told = std::io::stderr().lock().write_all(line);
}
