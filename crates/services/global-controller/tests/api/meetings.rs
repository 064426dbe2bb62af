//! A meeting's life: created, joined, ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use darktower_cluster::token::{Jwks, Verifier};
use darktower_store::conformance::eventually;
use darktower_store::{Database, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingCode, MeetingId, NodeId, ParticipantId};
use darktower_wire::token::{Audience, Role};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, Says, request};

fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

async fn verifier(house: &House) -> Verifier {
    let published = house.get("/.well-known/jwks.json").await;
    assert_eq!(published.header("content-type"), "application/jwk-set+json");
    Verifier::of_keys(&serde_json::from_value::<Jwks>(published.json).unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn created_meeting_is_joined_by_code_and_by_id() {
    let house = House::new().await;
    let wanted = json!({"title": " Plan ", "max_participants": 5, "key_in_link": false});
    let created = house.post("/api/v1/meetings", &wanted).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.header("cache-control"), "no-store");
    let meeting = &created.json["meeting"];
    assert_eq!(
        created.header("location"),
        format!("/api/v1/meetings/{}", text(&meeting["id"]))
    );
    assert_eq!(
        (text(&meeting["title"]), &meeting["max_participants"]),
        ("Plan", &json!(5))
    );
    assert_eq!(meeting["key_in_link"], false);
    assert_eq!(created.json["expires_in"], 300);
    let id: MeetingId = text(&meeting["id"]).parse().unwrap();
    let code: MeetingCode = text(&meeting["code"]).parse().unwrap();

    let verifier = verifier(&house).await;
    let upper = code.to_string().to_uppercase();
    for name in [code.to_string(), upper, id.to_string()] {
        let joined = house.get(&format!("/api/v1/meetings/{name}")).await;
        assert_eq!(joined.status(), StatusCode::OK, "{:?}", joined.body);
        assert_eq!(joined.header("cache-control"), "no-store");
        let answer = joined.json;
        assert_eq!(answer["role"], "guest");
        assert_eq!(answer["signal"]["url"], "https://127.0.0.1:4433/v1/signal");
        assert_eq!(answer["media"]["url"], "https://127.0.0.1:4434/v1/media");
        assert_eq!(
            answer["media"]["certificate_sha256"],
            json!([STANDARD.encode([7; 32])])
        );
        let key = json!({"founded": true, "epoch": 3, "group_info": STANDARD.encode("public")});
        assert_eq!(answer["key"], key);
        let who: ParticipantId = text(&answer["participant_id"]).parse().unwrap();
        for (link, audience, other) in [
            ("signal", Audience::Meeting, Audience::Media),
            ("media", Audience::Media, Audience::Api),
        ] {
            let token = text(&answer[link]["token"]);
            let claims = verifier.verify(token, audience, now_s()).unwrap();
            assert_eq!(
                (claims.sub, claims.meeting, claims.role),
                (who, id, Role::Guest)
            );
            assert!(verifier.verify(token, other, now_s()).is_err());
        }
    }
    eventually("all three are in the history", async || {
        house.database.participations(id, 10).await.unwrap().len() == 3
    })
    .await;
}

#[tokio::test]
async fn host_comes_as_the_participant_its_token_names() {
    let house = House::new().await;
    let created = house.create().await;
    let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
    let token = text(&created["access_token"]);
    let first = house.bearing(Method::GET, &path, token).await.json;
    let again = house.bearing(Method::GET, &path, token).await.json;
    assert_eq!(first["role"], "host");
    assert_eq!(first["participant_id"], again["participant_id"]);
    let claims = verifier(&house).await;
    let claims = claims.verify(text(&first["signal"]["token"]), Audience::Meeting, now_s());
    assert_eq!(claims.unwrap().role, Role::Host);
}

#[tokio::test]
async fn ended_meeting_takes_nobody_in_and_ends_again() {
    let house = House::new().await;
    let created = house.create().await;
    let id = text(&created["meeting"]["id"]);
    let path = format!("/api/v1/meetings/{id}");
    let meeting: MeetingId = id.parse().unwrap();
    let owner = NodeId([0x22; 16]);
    let minute = std::time::Duration::from_secs(60);
    house
        .state
        .acquire_lease(meeting, owner, minute)
        .await
        .unwrap();
    let token = text(&created["access_token"]);

    // The controller cannot: nobody comes in all the same, and trying again ends it.
    house.peer.say(Says::Refuses(Code::Overloaded));
    house
        .bearing(Method::DELETE, &path, token)
        .await
        .is_problem(Code::Overloaded);
    house.get(&path).await.is_problem(Code::MeetingEnded);
    house.peer.say(Says::Described);
    let ended = house.bearing(Method::DELETE, &path, token).await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);

    let grant = json!({"grant_type": "host_key", "meeting": id, "host_key": created["host_key"]});
    house
        .post("/api/v1/auth/token", &grant)
        .await
        .is_problem(Code::MeetingEnded);
    let log = house.database.audit_log(meeting, 10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["meeting.created", "meeting.ended"]);
    assert_eq!(log[0].actor, log[1].actor);
}

#[tokio::test]
async fn the_trace_goes_on_to_the_controller_and_back() {
    let house = House::new().await;
    let created = house.create().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
    let mut asked = request(Method::GET, &path);
    let header = format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap();
    asked.headers_mut().insert("traceparent", header);
    let answer = house.ask(asked).await;
    assert!(
        answer
            .header("traceparent")
            .starts_with(&format!("00-{trace}-"))
    );
    let heard = house.peer.heard.lock().unwrap().clone();
    assert_eq!(heard, [format!("describe {trace}")]);
}

#[tokio::test]
async fn full_meeting_takes_no_newcomer_but_whoever_may_have_a_seat() {
    let house = House::new().await;
    let created = house.create().await;
    let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
    house.peer.say(Says::Participants(100));
    house.get(&path).await.is_problem(Code::MeetingFull);
    let token = text(&created["access_token"]);
    let host = house.bearing(Method::GET, &path, token).await;
    assert_eq!(host.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_owner_is_asked_first_and_others_when_one_fails() {
    let house = House::new().await;
    // Nobody listens there: every meeting that hashes to these goes on to the next.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = closed.local_addr().unwrap();
    drop(closed);
    for n in [1, 2] {
        house.add_controller(NodeId([n; 16]), nowhere).await;
    }
    house.sees(3, 1).await;
    for _ in 0..8 {
        let created = house.create().await;
        let path = format!("/api/v1/meetings/{}", text(&created["meeting"]["code"]));
        assert_eq!(house.get(&path).await.status(), StatusCode::OK);
    }
    let created = house.create().await;
    let id: MeetingId = text(&created["meeting"]["id"]).parse().unwrap();
    let minute = std::time::Duration::from_secs(60);
    house
        .state
        .acquire_lease(id, NodeId([0x22; 16]), minute)
        .await
        .unwrap();
    let before = house.peer.heard.lock().unwrap().len();
    assert_eq!(
        house.get(&format!("/api/v1/meetings/{id}")).await.status(),
        StatusCode::OK
    );
    assert_eq!(house.peer.heard.lock().unwrap().len(), before + 1);
}
