//! A state store that is late, silent or full while meetings go on: whoever asks is answered soon, nobody in a meeting
//! notices anything, and all is well again when the store is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use darktower_cluster_tests::{Bot, Place, WITHIN, http};
use darktower_link::Conditions;
use darktower_link::relay::{Config, Relay};
use darktower_servers::Redis;
use serde_json::json;

/// An answer takes no longer, whatever it is.
const SOON: Duration = Duration::from_millis(1500);
/// Of a camera's thirty pictures a second, this many at least come each second.
const FLOWS: u64 = 15;

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Late,
    Silent,
    Full,
}

struct House {
    redis: Redis,
    relay: Relay,
}

impl House {
    fn has(&self, trouble: Option<Trouble>) {
        let late = Conditions::delayed(Duration::from_secs(2));
        let conditions = match trouble {
            Some(Trouble::Late) => late,
            Some(Trouble::Silent) => Conditions {
                blackout: true,
                ..Conditions::default()
            },
            Some(Trouble::Full) | None => Conditions::default(),
        };
        self.relay.set(conditions, conditions).expect("it relays");
        let most = match trouble {
            Some(Trouble::Full) => "1",
            _ => "0",
        };
        self.redis.ask(&["CONFIG", "SET", "maxmemory", most]);
    }
}

/// How a meeting is created, and one that is there looked up: the status of each, and how long both took at most.
fn ask(api: SocketAddr, known: &str) -> ([u16; 2], Duration) {
    let began = Instant::now();
    let created = http::post(api, "/api/v1/meetings", &json!({}));
    let first = began.elapsed();
    let found = http::get(api, &format!("/api/v1/meetings/{known}"), &[]);
    for answer in [&created, &found] {
        let header = answer.header.to_lowercase();
        let is_told = answer.status < 300 || header.contains("retry-after: ");
        assert!(is_told, "{answer:?}");
    }
    let longest = first.max(began.elapsed() - first);
    ([created.status, found.status], longest)
}

#[test]
fn a_state_store_in_trouble_is_no_trouble_of_who_is_in_a_meeting() {
    let place = Place::new();
    let redis = Redis::start();
    let to = SocketAddr::from(([127, 0, 0, 1], redis.port()));
    let relay = Relay::start(Config::new(to)).expect("a relay");
    let url = format!("redis://{}", relay.addr());
    let house = House { redis, relay };
    let limit = "100000";
    let apart = place.apart_on(&[
        ("DARKTOWER_STATE__URL", &url),
        ("DARKTOWER_GLOBAL__CREATIONS_PER_SECOND", limit),
        ("DARKTOWER_GLOBAL__CREATION_BURST", limit),
    ]);
    let made = http::post(apart.api, "/api/v1/meetings", &json!({})).json();
    let code = made["meeting"]["code"].as_str().expect("a code");
    let _films = Bot::join(apart.api, code, &["--camera"]);
    let mut sees = Bot::join(apart.api, code, &[]);
    let until = Instant::now() + WITHIN;
    while sees.opened() == 0 {
        assert!(Instant::now() < until, "no picture comes");
    }
    for trouble in [Trouble::Late, Trouble::Silent, Trouble::Full] {
        house.has(Some(trouble));
        let mut opened = sees.opened();
        // Longer than a lease lasts, and a node in the registry.
        for _ in 0..5 {
            let (said, took) = ask(apart.api, code);
            assert!(took < SOON, "{trouble:?}: {said:?} after {took:?}");
            let now = sees.opened();
            assert!(now >= opened + FLOWS, "{trouble:?}: {opened} and {now}");
            opened = now;
        }
        house.has(None);
        let until = Instant::now() + WITHIN;
        while ask(apart.api, code).0 != [201, 200] {
            assert!(Instant::now() < until, "{trouble:?} is never over");
        }
    }
}
