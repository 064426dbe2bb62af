use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_sdk::trace::{InMemorySpanExporterBuilder, SimpleSpanProcessor};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing_subscriber::prelude::*;

use crate::export::Export;
use crate::line;
use crate::recorder::Recorder;
use crate::upkeep::Upkeep;
use crate::{Config, MetricsListener};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What `work` logs, as JSON.
fn logged(export: Option<Export>, work: impl FnOnce()) -> Vec<Value> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&bytes);
    let recorder = Recorder::new(
        Box::new(move |line| sink.lock().unwrap().extend_from_slice(line)),
        export,
    );
    tracing::subscriber::with_default(tracing_subscriber::registry().with(recorder), work);
    let text = String::from_utf8(bytes.lock().unwrap().clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_line_has_every_field() {
    let lines = logged(None, || tracing::warn!(count = 3, "plain"));
    let line = lines[0].as_object().unwrap();
    let mut names: Vec<&str> = line.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "component",
            "level",
            "meeting_id",
            "message",
            "metadata",
            "participant_id",
            "span_id",
            "timestamp",
            "trace_id"
        ]
    );
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["component"], "telemetry");
    assert_eq!(line["message"], "plain");
    assert_eq!(line["metadata"], json!({"count": 3}));
    assert_eq!(line["trace_id"], Value::Null);
}

#[test]
fn one_trace_goes_through_all_spans() {
    let lines = logged(None, || {
        let outer = tracing::info_span!(
            "join",
            trace_id = TRACE,
            span_id = "b7ad6b7169203331",
            meeting_id = "m1",
            participant_id = tracing::field::Empty
        );
        let _outer = outer.enter();
        outer.record("participant_id", "p1");
        tracing::info!("outside");
        let inner = tracing::info_span!("seat", layer = 2);
        let _inner = inner.enter();
        tracing::info!(participant_id = "p2", "inside");
    });
    assert_eq!(lines[0]["trace_id"], TRACE);
    assert_eq!(lines[0]["span_id"], "b7ad6b7169203331");
    assert_eq!(lines[0]["meeting_id"], "m1");
    assert_eq!(lines[0]["participant_id"], "p1");
    assert_eq!(lines[1]["trace_id"], TRACE);
    assert_ne!(lines[1]["span_id"], "b7ad6b7169203331");
    assert_eq!(lines[1]["participant_id"], "p2");
    assert_eq!(lines[1]["metadata"], json!({"layer": 2, "span": "seat"}));
}

#[test]
fn an_event_may_say_where_it_belongs() {
    let lines = logged(None, || {
        tracing::info!(trace_id = TRACE, span_id = "b7ad6b7169203331", "end");
    });
    assert_eq!(lines[0]["trace_id"], TRACE);
    assert_eq!(lines[0]["span_id"], "b7ad6b7169203331");
    assert_eq!(lines[0]["metadata"], json!({}));
}

#[test]
fn a_span_without_a_trace_begins_one() {
    let lines = logged(None, || {
        for _ in 0..2 {
            tracing::info_span!("work").in_scope(|| tracing::info!("x"));
        }
    });
    let trace = |line: &Value| line["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(trace(&lines[0]).len(), 32);
    assert_ne!(trace(&lines[0]), trace(&lines[1]));
}

#[test]
fn exported_spans_carry_the_ids_of_the_log() {
    let memory = InMemorySpanExporterBuilder::new().build();
    let export = Export::through(SimpleSpanProcessor::new(memory.clone()));
    let lines = logged(Some(export), || {
        let outer = tracing::info_span!(
            "describe",
            trace_id = TRACE,
            span_id = "b7ad6b7169203331",
            parent_span_id = "00f067aa0ba902b7",
            meeting_id = "m1"
        );
        let _outer = outer.enter();
        tracing::info_span!("store").in_scope(|| tracing::info!("read"));
    });
    let spans = memory.get_finished_spans().unwrap();
    let (store, describe) = (&spans[0], &spans[1]);
    assert_eq!(store.name, "store");
    assert_eq!(store.span_context.trace_id().to_string(), TRACE);
    assert_eq!(
        store.span_context.span_id().to_string(),
        lines[0]["span_id"]
    );
    assert_eq!(store.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(describe.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(
        describe
            .attributes
            .iter()
            .any(|a| a.key.as_str() == "meeting_id")
    );
    assert!(describe.end_time >= describe.start_time);
}

#[test]
fn time_is_written_as_rfc_3339() {
    let at = |seconds, micros| {
        line::timestamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
    };
    assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(at(951_827_696, 7), "2000-02-29T12:34:56.000007Z");
    assert_eq!(at(1_795_401_480, 0), "2026-11-23T02:38:00.000000Z");
    assert_eq!(
        line::component("darktower_media_handler::shard"),
        "media-handler"
    );
}

#[tokio::test]
async fn metrics_are_served() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("darktower_test_things_total").increment(2);
    });
    let listener = MetricsListener::start(&Config::default(), handle)
        .await
        .unwrap();
    let mut socket = tokio::net::TcpStream::connect(listener.address())
        .await
        .unwrap();
    socket
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(answer.contains("darktower_test_things_total 2"));
    listener.stop(Duration::from_secs(5)).await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// 8 million of them would be 64 MiB.
#[test]
fn samples_that_nobody_reads_do_not_pile_up() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new()
        .set_buckets(&[0.5])
        .unwrap()
        .build_recorder();
    let (counted, rounds) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let upkeep = Upkeep::start(recorder.handle(), Duration::from_millis(1), move || {
        // Neither end waits for the other when the test is over.
        let _told = (counted.send(()), may_go_on.recv());
    });
    let upkeep = upkeep.unwrap();
    let before = resident_kib();
    metrics::with_local_recorder(&recorder, || {
        let samples = metrics::histogram!("darktower_test_seconds");
        for _ in 0..40 {
            rounds.recv().unwrap();
            for _ in 0..200_000 {
                samples.record(0.1);
            }
            go_on.send(()).unwrap();
        }
        rounds.recv().unwrap();
    });
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    drop((upkeep, go_on));
    let text = recorder.handle().render();
    assert!(
        text.contains("darktower_test_seconds_count 8000000"),
        "{text}"
    );
}

#[test]
fn an_unusable_level_is_named() {
    let config = Config {
        level: "loud=very".to_owned(),
        ..Config::default()
    };
    let error = crate::Telemetry::install(&config, "test").unwrap_err();
    assert!(error.to_string().contains("loud=very"));
}

#[test]
fn libraries_that_print_tokens_are_silent_at_every_level() {
    use tracing::Level;
    for level in ["trace", "debug,web_transport_quinn=trace"] {
        let targets = super::targets(level).unwrap();
        assert!(targets.would_enable("darktower_net", &Level::DEBUG));
        for library in ["web_transport_quinn", "web_transport_proto"] {
            assert!(
                !targets.would_enable(library, &Level::WARN),
                "{library} at {level}"
            );
        }
    }
}
