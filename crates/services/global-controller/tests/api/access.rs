//! Who may what.

use darktower_wire::Code;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, request};

const TOKEN: &str = "/api/v1/auth/token";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn host_key_gives_the_hosts_rights_again_and_again_but_in_one_meeting() {
    let house = House::new().await;
    let (mine, other) = (house.create().await, house.create().await);
    let grant = |meeting: &Value, key: &Value| json!({"grant_type": "host_key", "meeting": meeting["meeting"]["code"], "host_key": key});
    let first = house.post(TOKEN, &grant(&mine, &mine["host_key"])).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(
        (text(&first.json["role"]), &first.json["expires_in"]),
        ("host", &json!(300))
    );
    // The key is the host's for good; each token is another.
    let again = house.post(TOKEN, &grant(&mine, &mine["host_key"])).await;
    assert_ne!(again.json["access_token"], first.json["access_token"]);
    house
        .post(TOKEN, &grant(&other, &mine["host_key"]))
        .await
        .is_problem(Code::Forbidden);
    for wrong in [json!(""), json!("x"), mine["access_token"].clone()] {
        house
            .post(TOKEN, &grant(&mine, &wrong))
            .await
            .is_problem(Code::Forbidden);
    }
    let path = |meeting: &Value| format!("/api/v1/meetings/{}", text(&meeting["meeting"]["id"]));
    let token = text(&again.json["access_token"]);
    let strange = house.bearing(Method::DELETE, &path(&other), token).await;
    strange.is_problem(Code::Forbidden);
    house
        .bearing(Method::GET, &path(&other), token)
        .await
        .is_problem(Code::Forbidden);
    let ended = house.bearing(Method::DELETE, &path(&mine), token).await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn only_the_host_ends_a_meeting() {
    let house = House::new().await;
    let created = house.create().await;
    let code = text(&created["meeting"]["code"]);
    let path = format!("/api/v1/meetings/{code}");
    let guest = house
        .post(TOKEN, &json!({"grant_type": "guest", "meeting": code}))
        .await;
    assert_eq!(guest.json["role"], "guest");
    let guest = text(&guest.json["access_token"]);
    house
        .bearing(Method::DELETE, &path, guest)
        .await
        .is_problem(Code::Forbidden);
    let nobody = house.ask(request(Method::DELETE, &path)).await;
    nobody.is_problem(Code::Unauthenticated);
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_bad_token_is_refused_and_never_ignored() {
    let house = House::new().await;
    let created = house.create().await;
    let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
    let token = text(&created["access_token"]);
    let joined = house.get(&path).await.json;
    // A token for another service opens nothing here.
    let signal = text(&joined["signal"]["token"]);
    house
        .bearing(Method::GET, &path, signal)
        .await
        .is_problem(Code::WrongAudience);
    let tampered = format!("{}A", &token[..token.len() - 1]);
    let tampered = if tampered == token {
        format!("{}B", &token[..token.len() - 1])
    } else {
        tampered
    };
    house
        .bearing(Method::GET, &path, &tampered)
        .await
        .is_problem(Code::TokenInvalid);
    for garbage in ["x", "a.b.c", &"x".repeat(6000)] {
        house
            .bearing(Method::GET, &path, garbage)
            .await
            .is_problem(Code::TokenInvalid);
    }
    house
        .bearing(Method::GET, &path, "")
        .await
        .is_problem(Code::Unauthenticated);
    let mut basic = request(Method::GET, &path);
    basic
        .headers_mut()
        .insert("authorization", "Basic eDp5".parse().unwrap());
    house.ask(basic).await.is_problem(Code::Unauthenticated);
}

#[tokio::test]
async fn a_replaced_key_is_published_with_the_new_one() {
    let house = House::new().await;
    let created = house.create().await;
    let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
    house.running.rotate_token_key().unwrap();
    let keys = house.get("/.well-known/jwks.json").await.json;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let old = text(&created["access_token"]);
    assert_eq!(
        house.bearing(Method::GET, &path, old).await.status(),
        StatusCode::OK
    );
    let new = house.create().await;
    let path = format!("/api/v1/meetings/{}", text(&new["meeting"]["code"]));
    let joined = house
        .bearing(Method::GET, &path, text(&new["access_token"]))
        .await;
    assert_eq!(joined.status(), StatusCode::OK);
}
