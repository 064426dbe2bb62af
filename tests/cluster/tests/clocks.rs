//! Clocks that are minutes apart, of processes that think so (`libfaketime`).

use darktower_cluster_tests::{Place, Process, address, http};
use darktower_servers::Redis;
use serde_json::Value;

const LIBRARY: &str = "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1";
const ANY: &str = "127.0.0.1:0";

/// A process of this service whose wall clock is apart by `minutes`.
fn apart(place: &Place, service: &str, redis: &str, minutes: i64) -> Process {
    let offset = format!("FAKETIME={minutes:+}m");
    // Not by the program of that name, which would be killed in place of its child.
    let by = ["env", LIBRARY, "FAKETIME_DONT_FAKE_MONOTONIC=1", &offset];
    let settings = [
        ("DARKTOWER_STATE__URL", redis),
        ("DARKTOWER_GLOBAL__HTTP", ANY),
        ("DARKTOWER_GLOBAL__HTTPS", ANY),
        ("DARKTOWER_MEETING__LISTEN", ANY),
    ];
    Process::start_by(&by, &[service], place.path(), &settings)
}

fn is_of_clocks(line: &Value) -> bool {
    let says = line["message"].as_str().unwrap_or_default();
    line["level"] == "WARN" && says.contains("follow a time server")
}

/// A global controller that is behind signs tokens that have run out, of which nobody but its operator can be told.
#[test]
fn whose_clock_is_minutes_apart_says_so_and_what_to_do() {
    let place = Place::new();
    let redis = Redis::start();
    for (service, minutes) in [("global", -6), ("meeting", 6)] {
        let mut process = apart(&place, service, &redis.url(), minutes);
        let told = process.log(is_of_clocks);
        let ahead_ms = told["metadata"]["ahead_ms"].as_i64().expect("a number");
        assert!((ahead_ms - minutes * 60_000).abs() < 2_000, "{told}");
        let ready = process.ready();
        if service == "global" {
            let metrics = http::get(address(&ready, "http"), "/metrics", &[]).body;
            let line = "darktower_clock_ahead_seconds -3";
            assert!(metrics.contains(line), "{metrics}");
        }
        process.terminate();
        assert!(
            !process.last_words().contains("follow a time server"),
            "once"
        );
    }
    let mut right = place.start("meeting", &[("DARKTOWER_STATE__URL", &redis.url())]);
    right.ready();
    right.terminate();
    let says = right.last_words();
    assert!(!says.contains("follow a time server"), "{says}");
}
