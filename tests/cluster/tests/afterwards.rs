//! What is known of a meeting when it is over, whatever was away when it happened.

use std::time::Instant;

use darktower_cluster_tests::{Apart, Bot, Place, Process, WITHIN, http};
use darktower_servers::{Postgres, Redis};
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Three processes and their stores.
struct House {
    apart: Apart,
    postgres: Postgres,
    redis: Redis,
    database: String,
}

impl House {
    fn new(place: &Place) -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let name = postgres.database();
        let (database, state) = (postgres.url(&name), redis.url());
        let stores = [
            ("DARKTOWER_STATE__URL", state.as_str()),
            ("DARKTOWER_DATABASE__URL", database.as_str()),
        ];
        let mut process = Process::start(&["migrate"], place.path(), &stores);
        assert_eq!(process.exit().code(), Some(0));
        Self {
            apart: place.apart_on(&stores),
            postgres,
            redis,
            database: name,
        }
    }

    fn create(&self) -> Value {
        http::post(self.apart.api, "/api/v1/meetings", &json!({})).json()
    }

    fn join(&self, made: &Value, token: Option<&str>) -> Bot {
        let token: Vec<_> = token.iter().flat_map(|token| ["--token", token]).collect();
        Bot::join(self.apart.api, &text(&made["meeting"]["code"]), &token)
    }

    /// Waits until the database answers so.
    fn knows(&self, sql: &str, answer: &str) {
        let until = Instant::now() + WITHIN;
        loop {
            let says = self.postgres.ask(&self.database, sql);
            if says == answer {
                return;
            }
            assert!(Instant::now() < until, "{says}");
        }
    }
}

/// The end is told by the host in the meeting, while the database is away; then the state store forgets everything.
#[test]
fn a_meeting_that_its_host_ended_stays_ended_though_the_state_store_forgets() {
    let place = Place::new();
    let mut house = House::new(&place);
    let made = house.create();
    let mut host = house.join(&made, Some(&text(&made["access_token"])));
    let id = host.id.clone();
    house.postgres.kill();
    host.told(&json!({"do": "end"}));
    host.ends();
    let says = "what happened in meetings cannot be written yet";
    house.apart.meeting.log(|line| line["message"] == says);
    house.postgres.start_again();
    house.knows(
        "SELECT count(*) FROM meetings WHERE ended_ms IS NOT NULL",
        "1\n",
    );
    house.knows(
        "SELECT action, encode(actor, 'hex') FROM audit_log ORDER BY id DESC LIMIT 1",
        &format!("meeting.ended|{id}\n"),
    );
    house.redis.kill();
    house.redis.start_again();
    let path = format!("/api/v1/meetings/{}", text(&made["meeting"]["code"]));
    let until = Instant::now() + WITHIN;
    loop {
        let asked = http::get(house.apart.api, &path, &[]);
        assert_ne!(asked.status, 200, "{asked:?}");
        if asked.json()["code"] == "meeting_ended" {
            break;
        }
        assert!(Instant::now() < until, "{asked:?}");
    }
}

/// Of three in a meeting one came, one left and one was removed while the database was away.
#[test]
fn who_was_in_a_meeting_until_when_is_known_though_the_database_was_away() {
    let place = Place::new();
    let mut house = House::new(&place);
    let made = house.create();
    let mut host = house.join(&made, Some(&text(&made["access_token"])));
    let mut leaves = house.join(&made, None);
    house.knows("SELECT count(*) FROM participations", "2\n");
    house.postgres.kill();
    let removed = house.join(&made, None);
    let whom = removed.id.clone();
    leaves.told(&json!({"do": "leave"}));
    leaves.ends();
    host.told(&json!({"do": "remove", "participant": whom}));
    removed.ends();
    let says = "what happened in meetings cannot be written yet";
    house.apart.meeting.log(|line| line["message"] == says);
    let says = "the journal cannot be written yet";
    house.apart.global.log(|line| line["message"] == says);
    house.postgres.start_again();
    let over = "SELECT count(*) FROM participations WHERE left_ms >= admitted_ms";
    house.knows(over, "2\n");
    house.knows(
        "SELECT action, encode(actor, 'hex') FROM audit_log ORDER BY id DESC LIMIT 1",
        &format!("participant.removed {whom}|{}\n", host.id),
    );
    host.told(&json!({"do": "end"}));
    host.ends();
    house.knows(over, "3\n");
    house.knows("SELECT count(*) FROM participations", "3\n");
}
