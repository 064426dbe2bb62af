//! Callers of the services' gRPC whom the cluster does not know: refused by each service, with nothing changed.

use std::path::PathBuf;
use std::process::{Command, Output};

use darktower_cluster_tests::{Place, http};
use darktower_servers::{Authority, Port};
use serde_json::json;

/// Unauthenticated, as gRPC numbers it.
const REFUSED: &str = "grpc-status: 16";
/// What a service answers to a call of a method, which shows these: a chain and a key.
fn call(port: &Port, method: &str, shown: Option<&[PathBuf]>) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--http2"]);
    curl.args(["--max-time", "20", "--dump-header", "-"]);
    curl.args(["--header", "content-type: application/grpc"]);
    curl.args(["--header", "te: trailers"]);
    // Who calls is judged before what is said.
    curl.args(["--request", "POST"]);
    if let Some([chain, key, ..]) = shown {
        curl.arg("--cert").arg(chain).arg("--key").arg(key);
    }
    let at = format!("https://127.0.0.1:{}", port.number());
    curl.arg(format!("{at}/darktower.cluster.v1.{method}"));
    curl.output().expect("curl is there")
}

#[test]
fn each_service_refuses_who_shows_no_certificate_or_one_of_another_authority() {
    let place = Place::new();
    let ports = [Port::take(), Port::take(), Port::take(), Port::take()];
    let places = ports
        .each_ref()
        .map(|port| format!("127.0.0.1:{}", port.number()));
    let [global, state, meeting, media] = places.each_ref().map(String::as_str);
    let apart = place.apart_with(&[
        ("DARKTOWER_CLUSTER__DEVELOPMENT", "true"),
        ("DARKTOWER_GLOBAL__GRPC_LISTEN", global),
        ("DARKTOWER_STATE__LISTEN", state),
        ("DARKTOWER_MEETING__GRPC_LISTEN", meeting),
        ("DARKTOWER_MEDIA__GRPC_LISTEN", media),
    ]);
    let made = http::post(apart.api, "/api/v1/meetings", &json!({}));
    assert_eq!(made.status, 201, "{made:?}");
    let stranger = Authority::new().issue(place.path());
    let [global, state, meeting, media] = &ports;
    let methods = [
        (global, "GlobalController/Report"),
        (state, "State/ListNodes"),
        (meeting, "MeetingController/Describe"),
        (meeting, "MeetingController/End"),
        (media, "MediaHandler/Control"),
    ];
    for (port, method) in methods {
        let said = call(port, method, None);
        let out = String::from_utf8_lossy(&said.stdout).to_lowercase();
        assert!(out.contains(REFUSED), "{method}: {said:?}");
        // A certificate that nobody here vouches for is no way in at all.
        let said = call(port, method, Some(&stranger));
        let out = String::from_utf8_lossy(&said.stdout);
        assert!(
            !said.status.success() && out.is_empty(),
            "{method}: {said:?}"
        );
    }
    // Those who know one another have heard of nothing.
    let code = made.json()["meeting"]["code"].clone();
    let path = format!("/api/v1/meetings/{}", code.as_str().expect("a code"));
    let asked = http::get(apart.api, &path, &[]);
    assert_eq!(asked.status, 200, "{asked:?}");
}
