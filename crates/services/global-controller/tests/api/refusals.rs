//! Everything that goes wrong is told by a code, and harms nobody else.

use std::time::{Duration, Instant};

use darktower_store::StateStore;
use darktower_wire::Code;
use http::{Method, StatusCode};
use serde_json::json;

use crate::house::{HANDLER, House, Says, json as with_json, request};

const MEETINGS: &str = "/api/v1/meetings";

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let house = House::new().await;
    house
        .get("/api/v1/nothing")
        .await
        .is_problem(Code::NotFound);
    house
        .get("/favicon.nothing")
        .await
        .is_problem(Code::NotFound);
    house
        .ask(request(Method::POST, "/elsewhere"))
        .await
        .is_problem(Code::NotFound);
    house
        .get("/api/v1/meetings/abc-defg-hij")
        .await
        .is_problem(Code::MeetingUnknown);
    let id = "0af7651916cd43dd8448eb211c80319c";
    house
        .get(&format!("{MEETINGS}/{id}"))
        .await
        .is_problem(Code::MeetingUnknown);
    for malformed in ["abc", "abc-defg-hi1", "abcd-efg-hij", "%00", "abc%20defghi"] {
        house
            .get(&format!("{MEETINGS}/{malformed}"))
            .await
            .is_problem(Code::CodeMalformed);
    }
}

#[tokio::test]
async fn another_method_is_told_which_would_do() {
    let house = House::new().await;
    let refused = house.ask(request(Method::PUT, MEETINGS)).await;
    refused.is_problem(Code::MethodNotAllowed);
    assert_eq!(refused.header("allow"), "POST");
    house
        .ask(request(Method::POST, "/api/v1/health"))
        .await
        .is_problem(Code::MethodNotAllowed);
}

#[tokio::test]
async fn a_body_is_checked_before_anything_is_done() {
    let house = House::new().await;
    let post = async |body: &str| house.ask(with_json(Method::POST, MEETINGS, body)).await;
    for malformed in [
        "",
        "{",
        "[]",
        r#"{"titel":"x"}"#,
        r#"{"max_participants":1}"#,
        r#"{"max_participants":101}"#,
        r#"{"max_participants":-1}"#,
        r#"{"max_participants":99999999999}"#,
        r#"{"title":"a\u0000b"}"#,
        r#"{"key_in_link":"yes"}"#,
    ] {
        post(malformed).await.is_problem(Code::Malformed);
    }
    let long = json!({"title": "x".repeat(201)}).to_string();
    post(&long).await.is_problem(Code::Malformed);
    let huge = json!({"title": "x".repeat(70_000)}).to_string();
    post(&huge).await.is_problem(Code::TooLarge);
    let mut text = with_json(Method::POST, MEETINGS, "{}");
    text.headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    house
        .ask(text)
        .await
        .is_problem_with(Code::Unsupported, 415);
    let grant = json!({"grant_type": "password", "meeting": "abc-defg-hij"});
    house
        .post("/api/v1/auth/token", &grant)
        .await
        .is_problem(Code::Malformed);
    house.create().await;
}

#[tokio::test]
async fn without_a_controller_or_handler_joining_says_which() {
    let house = House::with(|config| config.describe_timeout = Duration::from_millis(300)).await;
    let health = house.get("/api/v1/health").await;
    assert_eq!(
        (health.status(), &health.json["status"]),
        (StatusCode::OK, &json!("degraded"))
    );
    let created = house.create().await;
    let path = format!(
        "{MEETINGS}/{}",
        created["meeting"]["code"].as_str().unwrap()
    );
    house.get(&path).await.is_problem(Code::NoController);
    house.add_nodes().await;
    assert_eq!(house.get("/api/v1/health").await.json["status"], "ok");
    assert_eq!(house.get(&path).await.status(), StatusCode::OK);

    house.peer.say(Says::Nothing);
    let asked = Instant::now();
    house.get(&path).await.is_problem(Code::NoController);
    assert!(asked.elapsed() < Duration::from_secs(3));
    for (said, told) in [
        (Code::NoHandler, Code::NoHandler),
        (Code::NotOwner, Code::NoController),
        (Code::Internal, Code::NoController),
        (Code::Overloaded, Code::Overloaded),
        (Code::MeetingFull, Code::MeetingFull),
    ] {
        house.peer.say(Says::Refuses(said));
        house.get(&path).await.is_problem(told);
    }
    house.peer.say(Says::Described);
    house.state.remove_node(HANDLER).await.unwrap();
    house.sees(1, 0).await;
    house.get(&path).await.is_problem(Code::NoHandler);
    // The last it says of a meeting.
    house.peer.say(Says::Refuses(Code::MeetingEnded));
    house.get(&path).await.is_problem(Code::MeetingEnded);
}

#[tokio::test]
async fn without_the_database_it_says_so_and_stays_up() {
    let house = House::new().await;
    house.close_database().await;
    let refused = house.post(MEETINGS, &json!({})).await;
    refused.is_problem(Code::Unavailable);
    house
        .get(&format!("{MEETINGS}/abc-defg-hij"))
        .await
        .is_problem(Code::Unavailable);
    let health = house.get("/api/v1/health").await;
    assert_eq!(
        (health.status(), &health.json["database"]),
        (StatusCode::OK, &json!(false))
    );
    assert_eq!(
        house.get("/.well-known/jwks.json").await.status(),
        StatusCode::OK
    );
}

/// Who is in a meeting, or about to be, does not lean on the database.
#[tokio::test]
async fn without_the_database_meetings_that_are_known_go_on() {
    let house = House::new().await;
    let created = house.create().await;
    let path = format!(
        "{MEETINGS}/{}",
        created["meeting"]["code"].as_str().unwrap()
    );
    let ended = house.create().await;
    let id = ended["meeting"]["id"].as_str().unwrap();
    let of_ended = format!("{MEETINGS}/{id}");
    let host = ended["access_token"].as_str().unwrap();
    let gone = house.bearing(Method::DELETE, &of_ended, host).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    house.close_database().await;
    for _ in 0..2 {
        let joined = house.get(&path).await;
        assert_eq!(joined.status(), StatusCode::OK);
        assert!(
            joined.json["signal"]["token"].is_string(),
            "{:?}",
            joined.json
        );
    }
    house.get(&of_ended).await.is_problem(Code::MeetingEnded);
    let guest = json!({"grant_type": "guest", "meeting": created["meeting"]["code"]});
    let token = house.post("/api/v1/auth/token", &guest).await;
    assert_eq!(token.status(), StatusCode::OK);
    house
        .post(MEETINGS, &json!({}))
        .await
        .is_problem(Code::Unavailable);
    let unknown = format!("{MEETINGS}/abc-defg-hij");
    house.get(&unknown).await.is_problem(Code::Unavailable);
}

#[tokio::test]
async fn whoever_asks_too_often_waits() {
    let house = House::with(|config| {
        (config.creations_per_second, config.creation_burst) = (1, 2);
        (config.lookups_per_second, config.lookup_burst) = (1, 3);
    })
    .await;
    for _ in 0..2 {
        house.create().await;
    }
    house
        .post(MEETINGS, &json!({}))
        .await
        .is_problem(Code::RateLimited);
    for _ in 0..3 {
        house
            .get(&format!("{MEETINGS}/abc-defg-hij"))
            .await
            .is_problem(Code::MeetingUnknown);
    }
    house
        .get(&format!("{MEETINGS}/abc-defg-hij"))
        .await
        .is_problem(Code::RateLimited);
    let guess = json!({"grant_type": "host_key", "meeting": "abc-defg-hij", "host_key": "x"});
    house
        .post("/api/v1/auth/token", &guess)
        .await
        .is_problem(Code::RateLimited);
    assert_eq!(house.get("/api/v1/health").await.status(), StatusCode::OK);
}

/// One who asks another instance each time is counted all the same.
#[tokio::test]
async fn whoever_asks_all_instances_in_turn_waits() {
    let house = House::with(|config| {
        (config.creations_per_second, config.creation_burst) = (1, 2);
    })
    .await;
    // What others have counted in ten seconds: as many as one of them lets through.
    let window = Duration::from_secs(60);
    for _ in 0..11 {
        let counted = house.state.count("creations/127.0.0.1", window).await;
        counted.unwrap();
    }
    house.create().await;
    house
        .post(MEETINGS, &json!({}))
        .await
        .is_problem(Code::RateLimited);
}

#[tokio::test]
async fn a_request_has_its_time_and_no_more() {
    let house = House::with(|config| config.request_timeout = Duration::from_millis(300)).await;
    house.add_nodes().await;
    let created = house.create().await;
    house.peer.say(Says::Nothing);
    let path = format!(
        "{MEETINGS}/{}",
        created["meeting"]["code"].as_str().unwrap()
    );
    house.get(&path).await.is_problem(Code::TimedOut);
}
