//! One join is one trace, from the click through every service.

use std::collections::BTreeSet;
use std::path::PathBuf;

use darktower_load::join::{self, Join, Publisher};
use darktower_load::spans::{Collector, EXPORT_EVERY};
use darktower_load::system::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_is_one_trace_through_all_services() {
    let program = std::env::var_os("DARKTOWER_BIN").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../target/debug/darktower"
            ))
        },
        PathBuf::from,
    );
    let collector = Collector::start().await.expect("a collector");
    let endpoint = collector.endpoint();
    let exporting = [
        ("DARKTOWER_TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
        EXPORT_EVERY,
    ];
    let system = System::start_in(&program, &exporting)
        .await
        .expect("a system");
    let clip = system.camera().await.expect("a clip");
    let publisher = Publisher::start(&system.url(), clip)
        .await
        .expect("a publisher");
    let joined = join::cold(&system.url(), publisher.invitation())
        .await
        .expect("a join");
    let spans = collector
        .trace(&joined.trace(), &Join::WANTED)
        .await
        .expect("its spans");
    let components: BTreeSet<_> = spans.iter().map(|span| span.component.as_str()).collect();
    for service in ["global-controller", "meeting-controller", "media-handler"] {
        assert!(components.contains(service), "{service} of {components:?}");
    }
    publisher.stop().await;
    system.stop().await.expect("an end");
}
