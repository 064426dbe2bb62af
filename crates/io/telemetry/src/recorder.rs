//! The layer behind `tracing`: keeps what spans say, writes events as lines,
//! hands finished spans to the exporter.

use std::time::SystemTime;

use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::export::Export;
use crate::line::{self, Fields};

/// Where a finished line goes.
pub(crate) type Sink = Box<dyn Fn(&[u8]) + Send + Sync>;

/// Which trace a span belongs to and where it hangs; lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    /// 32 digits.
    pub(crate) trace: String,
    /// 16 digits.
    pub(crate) span: String,
    /// 16 digits; empty at the root of a trace.
    pub(crate) parent: String,
}

/// What is kept of an open span.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) ids: Ids,
    pub(crate) fields: Fields,
    pub(crate) began: SystemTime,
}

/// See the module.
pub(crate) struct Recorder {
    sink: Sink,
    export: Option<Export>,
    random: SystemRandom,
}

impl Recorder {
    pub(crate) fn new(sink: Sink, export: Option<Export>) -> Self {
        Self {
            sink,
            export,
            random: SystemRandom::new(),
        }
    }

    /// Fresh hexadecimal digits. Without randomness the trace is lost, the
    /// work is not.
    fn fresh<const BYTES: usize>(&self) -> String {
        let mut bytes = [0xff; BYTES];
        if self.random.fill(&mut bytes).is_err() {
            bytes = [0xff; BYTES];
        }
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The ids a span says it has, else those that follow from the span
    /// around it.
    fn ids(&self, fields: &mut Fields, around: Option<&Ids>) -> Ids {
        let said = fields.take_text("trace_id");
        let parent = fields.take_text("parent_span_id");
        let span = fields
            .take_text("span_id")
            .unwrap_or_else(|| self.fresh::<8>());
        let (trace, hangs_on) = match (said, around) {
            (Some(trace), Some(around)) if trace == around.trace => (trace, around.span.clone()),
            (Some(trace), _) => (trace, String::new()),
            (None, Some(around)) => (around.trace.clone(), around.span.clone()),
            (None, None) => (self.fresh::<16>(), String::new()),
        };
        Ids {
            trace,
            span,
            parent: parent.unwrap_or(hangs_on),
        }
    }
}

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let around = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Kept>().map(|kept| kept.ids.clone())
        });
        let ids = self.ids(&mut fields, around.as_ref());
        let began = SystemTime::now();
        span.extensions_mut().insert(Kept { ids, fields, began });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        if let Some(kept) = extensions.get_mut::<Kept>() {
            values.record(&mut kept.fields);
            if let Some(trace) = kept.fields.take_text("trace_id") {
                kept.ids.trace = trace;
            }
            if let Some(span) = kept.fields.take_text("span_id") {
                kept.ids.span = span;
            }
            if let Some(parent) = kept.fields.take_text("parent_span_id") {
                kept.ids.parent = parent;
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        let mut ids = None;
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                let extensions = span.extensions();
                if let Some(kept) = extensions.get::<Kept>() {
                    fields.0.extend(kept.fields.0.clone());
                    fields.0.insert("span".to_owned(), span.name().into());
                    ids = Some(kept.ids.clone());
                }
            }
        }
        event.record(&mut fields);
        // An event without a span of its own may say where it belongs.
        if let Some(trace) = fields.take_text("trace_id") {
            let span = fields.take_text("span_id").unwrap_or_default();
            let parent = String::new();
            ids = Some(Ids {
                trace,
                span,
                parent,
            });
        }
        let metadata = event.metadata();
        let ids = ids
            .as_ref()
            .map(|ids| (ids.trace.as_str(), ids.span.as_str()));
        let (level, target) = (*metadata.level(), metadata.target());
        (self.sink)(&line::format(SystemTime::now(), level, target, ids, fields));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(export), Some(span)) = (&self.export, context.span(&id)) else {
            return;
        };
        let kept = span.extensions_mut().remove::<Kept>();
        if let Some(kept) = kept {
            let metadata = span.metadata();
            export.span(metadata.name(), metadata.target(), kept, SystemTime::now());
        }
    }
}
