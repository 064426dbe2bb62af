//! The program as an operator meets it.

use darktower_cluster_tests::{Place, Process, http};
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Creates a meeting and asks for the way into it.
fn join_answer(api: std::net::SocketAddr) -> Value {
    let made = http::post(api, "/api/v1/meetings", &json!({"title": "Standup"}));
    assert_eq!(made.status, 201, "{made:?}");
    let code = text(&made.json()["meeting"]["code"]);
    let traceparent = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01");
    let answer = http::get(api, &format!("/api/v1/meetings/{code}"), &[&traceparent]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn assert_usable(answer: &Value) {
    for link in ["signal", "media"] {
        let link = &answer[link];
        assert!(
            text(&link["url"]).starts_with("https://127.0.0.1:"),
            "{answer}"
        );
        assert!(!text(&link["certificate_sha256"][0]).is_empty(), "{answer}");
        assert_eq!(text(&link["token"]).split('.').count(), 3, "{answer}");
    }
    assert_eq!(text(&answer["participant_id"]).len(), 32);
    assert_eq!(answer["key"]["founded"], false);
}

#[test]
fn all_in_one_serves_and_stops() {
    let place = Place::new();
    let (mut process, api) = place.all();
    assert_eq!(http::get(api, "/api/v1/health", &[]).status, 200);
    assert_usable(&join_answer(api));
    let metrics = http::get(api, "/metrics", &[]);
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("darktower_"), "{metrics:?}");
    process.terminate();
    assert_eq!(process.exit().code(), Some(0));
    let port = api.port();
    assert_eq!(process.output(), format!("open http://localhost:{port}\n"));
}

#[test]
fn the_api_is_served_by_tls_1_3_and_advertises_http_3() {
    let place = Place::new();
    let mut process = place.start("all", &[]);
    let ready = process.ready();
    let url = format!("https://{}/api/v1/health", text(&ready["https"]));
    for version in ["--http1.1", "--http2"] {
        let answer = std::process::Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--insecure",
                "--tlsv1.3",
                "--max-time",
                "20",
            ])
            .args(["--include", version, &url])
            .output()
            .expect("curl is there");
        let said = String::from_utf8_lossy(&answer.stdout).to_lowercase();
        assert!(answer.status.success(), "{answer:?}");
        let spoken = format!("http/{} 200", &version[6..]);
        assert!(said.starts_with(&spoken), "{said}");
        assert!(said.contains("alt-svc: h3="), "{said}");
        assert!(said.contains("content-security-policy:"), "{said}");
    }
}

#[test]
fn three_processes_find_one_another() {
    let place = Place::new();
    let mut apart = place.apart();
    assert_usable(&join_answer(apart.api));
    // The lookup that came with a trace is logged under it on both sides.
    for process in [&mut apart.global, &mut apart.meeting] {
        process.log(|line| line["trace_id"] == TRACE);
    }
    for ready in &apart.ready[1..] {
        let metrics = ready["metrics"].as_str().unwrap().parse().unwrap();
        assert_eq!(http::get(metrics, "/metrics", &[]).status, 200);
    }
    for mut process in [apart.global, apart.meeting, apart.media] {
        process.terminate();
        assert_eq!(process.exit().code(), Some(0));
    }
}

#[test]
fn a_wrong_setting_is_refused_in_a_sentence() {
    let place = Place::new();
    let refused = |command: &str, settings: &[(&str, &str)]| {
        let mut process = Process::start(&[command], place.path(), settings);
        assert_eq!(process.exit().code(), Some(2));
        process.last_words()
    };
    let says = refused("all", &[("DARKTOWER_NODE__DATA_DRI", "x")]);
    assert!(
        says.contains("DARKTOWER_NODE__DATA_DRI") && says.contains("data_dir"),
        "{says}"
    );
    let says = refused("all", &[("DARKTOWER_NODE_DATA_DIR", "x")]);
    assert!(says.contains("DARKTOWER_<SECTION>__<KEY>"), "{says}");
    for command in ["meeting", "media"] {
        let says = refused(command, &[]);
        assert!(says.contains("grpc://127.0.0.1:7000"), "{says}");
    }
    std::fs::write(place.path().join("darktower.toml"), "[node]\ncolour = 1\n").unwrap();
    let says = refused("config", &[]);
    assert!(
        says.contains("darktower.toml:2") && says.contains("node.colour"),
        "{says}"
    );
}

#[test]
fn the_settings_in_effect_are_shown() {
    let place = Place::new();
    let settings = [("DARKTOWER_NODE__STOP_WITHIN", "7s")];
    let mut process = Process::start(&["config"], place.path(), &settings);
    assert_eq!(process.exit().code(), Some(0));
    assert!(process.output().contains("stop_within = \"7s\""));
    let mut process = Process::start(&["--version"], place.path(), &[]);
    assert!(process.output().starts_with("darktower "));
    assert_eq!(process.exit().code(), Some(0));
}
