//! `/metrics` over plain HTTP, for a process that serves no HTTP otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Config, Error};

/// The content type of Prometheus' text format.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A running listener; dropping it stops it.
#[derive(Debug)]
pub struct MetricsListener {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MetricsListener {
    /// Listens where `config` says and answers from `prometheus`.
    pub async fn start(config: &Config, prometheus: PrometheusHandle) -> Result<Self, Error> {
        let wanted: SocketAddr = config
            .metrics_listen
            .parse()
            .map_err(|_| Error::Address(config.metrics_listen.clone()))?;
        let listener = tokio::net::TcpListener::bind(wanted).await?;
        let address = listener.local_addr()?;
        let answer = get(move || {
            let text = prometheus.render();
            async move { ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text) }
        });
        let router = Router::new().route("/metrics", answer);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async move {
                // A dropped sender stops the listener just as a said stop does.
                let _either = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the metrics listener failed");
            }
        });
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests and lets open ones end within `grace`.
    pub async fn stop(self, grace: Duration) {
        drop(self.stop);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(grace, self.task).await.is_err() {
            abort.abort();
        }
    }
}
