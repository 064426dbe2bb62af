//! Finished spans on their way to a collector, by OTLP over gRPC. The ids are
//! those of the log, so both tell one story.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};

use crate::Error;
use crate::line::component;
use crate::recorder::Kept;

/// A queue of finished spans with a thread behind it; full, it drops spans
/// and never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Export(Arc<dyn SpanProcessor>);

impl Export {
    /// Exports to `endpoint` as `service`.
    pub(crate) fn to(endpoint: &str, service: &'static str) -> Result<Self, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            let says = "exporting needs the process's async runtime".to_owned();
            return Err(Error::Endpoint(says));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| Error::Endpoint(error.to_string()))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&Resource::builder().with_service_name(service).build());
        Ok(Self::through(processor))
    }

    /// Exports through `processor`.
    pub(crate) fn through(processor: impl SpanProcessor + 'static) -> Self {
        Self(Arc::new(processor))
    }

    /// Queues one finished span.
    pub(crate) fn span(
        &self,
        name: &'static str,
        target: &'static str,
        kept: Kept,
        ended: SystemTime,
    ) {
        // What the collector could not place is better not sent.
        let (Ok(trace), Ok(span)) = (
            TraceId::from_hex(&kept.ids.trace),
            SpanId::from_hex(&kept.ids.span),
        ) else {
            return;
        };
        let attributes = kept.fields.0.into_iter().map(|(key, value)| {
            let value: Value = match value {
                serde_json::Value::Bool(flag) => flag.into(),
                serde_json::Value::String(text) => text.into(),
                other => match (other.as_i64(), other.as_f64()) {
                    (Some(number), _) => number.into(),
                    (None, Some(number)) => number.into(),
                    (None, None) => other.to_string().into(),
                },
            };
            KeyValue::new(key, value)
        });
        self.0.on_end(SpanData {
            span_context: SpanContext::new(
                trace,
                span,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::from_hex(&kept.ids.parent).unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: kept.began,
            end_time: ended,
            attributes: attributes.collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder(component(target)).build(),
        });
    }

    /// Sends what is queued; blocks until it is sent or given up.
    pub(crate) fn shutdown(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::info!(%error, "the last spans were not exported");
        }
    }
}
