//! Spans of the program under measurement: a small collector of OTLP over gRPC in this process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster::grpc::{self, Serving};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Spans kept; more are counted and thrown away. A run of the bench makes some thousands.
const MOST: usize = 200_000;
/// A span is exported in the batch after its end; a session's ends when the one who leaves is gone.
const ARRIVE_WITHIN: Duration = Duration::from_secs(15);

/// How often the program exports, in milliseconds: the standard's variable and a value that a bench can wait for.
pub const EXPORT_EVERY: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "200");

/// A finished span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The span it is within; empty where it is not known.
    pub parent: String,
    /// What it is.
    pub name: String,
    /// Which part of the house it is of.
    pub component: String,
    /// What it says besides, without ids.
    pub about: String,
    /// Nanoseconds of Unix time.
    pub began_ns: u64,
    /// Nanoseconds of Unix time.
    pub ended_ns: u64,
}

#[derive(Default)]
struct Store {
    traces: BTreeMap<String, Vec<Span>>,
    kept: usize,
    thrown_away: usize,
}

struct Inbox {
    store: Mutex<Store>,
    batches: watch::Sender<u64>,
}

/// The collector; spans arrive as long as it is held.
pub struct Collector {
    serving: Serving,
    inbox: Arc<Inbox>,
}

impl Collector {
    /// Listens on a free port of the loopback.
    pub async fn start() -> anyhow::Result<Self> {
        let inbox = Arc::new(Inbox {
            store: Mutex::default(),
            batches: watch::Sender::new(0),
        });
        let routes = Routes::new(TraceServiceServer::new(Door(inbox.clone())));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let serving = grpc::serve(listen, routes).await;
        let serving = serving.context("the collector cannot listen")?;
        Ok(Self { serving, inbox })
    }

    /// What the program has to be told as `telemetry.otlp_endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.serving.addr())
    }

    /// All spans of a trace, once one of each name in `wanted` has arrived.
    pub async fn trace(&self, trace: &str, wanted: &[&str]) -> anyhow::Result<Vec<Span>> {
        let mut batches = self.inbox.batches.subscribe();
        let complete = batches.wait_for(|_| self.inbox.missing(trace, wanted).is_empty());
        let arrived = timeout(ARRIVE_WITHIN, complete).await.is_ok();
        anyhow::ensure!(
            arrived,
            "no span {:?} of trace {trace} came in time",
            self.inbox.missing(trace, wanted)
        );
        let store = self.inbox.store();
        anyhow::ensure!(
            store.thrown_away == 0,
            "{} spans found no room",
            store.thrown_away
        );
        Ok(store.traces.get(trace).cloned().unwrap_or_default())
    }
}

impl Inbox {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing<'a>(&self, trace: &str, wanted: &[&'a str]) -> Vec<&'a str> {
        let store = self.store();
        let spans = store.traces.get(trace).map_or(&[][..], Vec::as_slice);
        let is_there = |name: &str| spans.iter().any(|span| span.name == name);
        let missing = wanted.iter().filter(|name| !is_there(name));
        missing.copied().collect()
    }

    fn take(&self, span: otlp::Span, component: &str) {
        let mut store = self.store();
        if store.kept == MOST {
            store.thrown_away += 1;
            return;
        }
        store.kept += 1;
        let trace = hex(&span.trace_id);
        store.traces.entry(trace).or_default().push(Span {
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            about: about(&span),
            name: span.name,
            component: component.to_owned(),
            began_ns: span.start_time_unix_nano,
            ended_ns: span.end_time_unix_nano,
        });
    }
}

struct Door(Arc<Inbox>);

#[tonic::async_trait]
impl TraceService for Door {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        for scoped in resources.into_iter().flat_map(|it| it.scope_spans) {
            let component = scoped.scope.map(|it| it.name).unwrap_or_default();
            for span in scoped.spans {
                self.0.take(span, &component);
            }
        }
        self.0.batches.send_modify(|batches| *batches += 1);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// What a reader of the tree has use for; ids are the same in the whole of it.
fn about(span: &otlp::Span) -> String {
    let said = span
        .attributes
        .iter()
        .filter(|it| !it.key.ends_with("_id"))
        .filter_map(|it| match it.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            _ => None,
        });
    said.collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};

    use super::*;

    fn batch(name: &str, id: u8) -> ExportTraceServiceRequest {
        let text = |key: &str, text: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(text.into())),
            }),
            ..KeyValue::default()
        };
        let span = otlp::Span {
            trace_id: vec![0xab; 16],
            span_id: vec![id; 8],
            parent_span_id: vec![1; 8],
            name: name.into(),
            start_time_unix_nano: 10,
            end_time_unix_nano: 20,
            attributes: vec![text("meeting_id", "cd"), text("kind", "seat")],
            ..otlp::Span::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![otlp::ResourceSpans {
                scope_spans: vec![otlp::ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "media-handler".into(),
                        ..InstrumentationScope::default()
                    }),
                    spans: vec![span],
                    ..otlp::ScopeSpans::default()
                }],
                ..otlp::ResourceSpans::default()
            }],
        }
    }

    #[tokio::test]
    async fn a_trace_is_given_out_once_it_is_complete() {
        let collector = Collector::start().await.unwrap();
        let mut exporter = TraceServiceClient::connect(collector.endpoint())
            .await
            .unwrap();
        exporter.export(batch("command", 2)).await.unwrap();
        let trace = "ab".repeat(16);
        let complete = async { collector.trace(&trace, &["session", "command"]).await };
        let rest = async { exporter.export(batch("session", 3)).await };
        let (spans, rest) = tokio::join!(complete, rest);
        rest.unwrap();
        let spans = spans.unwrap();
        let expected = Span {
            id: "02".repeat(8),
            parent: "01".repeat(8),
            name: "command".into(),
            component: "media-handler".into(),
            about: "seat".into(),
            began_ns: 10,
            ended_ns: 20,
        };
        assert_eq!((spans.len(), &spans[0]), (2, &expected));
    }
}
