//! Two regions on one state store and one database: a meeting lives where it is asked for, and elsewhere only when nobody
//! is left there.

use std::net::SocketAddr;
use std::time::Instant;

use darktower_cluster_tests::{Place, Process, WITHIN, address, http};
use darktower_servers::{Postgres, Redis};
use serde_json::{Value, json};

/// One process of each kind, all in one region.
struct Region {
    api: SocketAddr,
    _global: Process,
    meeting: Process,
    media: Process,
    /// Where signalling and media come in.
    doors: [String; 2],
}

impl Region {
    fn start(place: &Place, name: &str, stores: &[(&str, &str)]) -> Self {
        let region = ["GLOBAL", "MEETING", "MEDIA"].map(|it| format!("DARKTOWER_{it}__REGION"));
        let mut settings = stores.to_vec();
        settings.extend(region.iter().map(|setting| (setting.as_str(), name)));
        settings.push(("DARKTOWER_CLUSTER__DEVELOPMENT", "true"));
        let start = |kind| place.start(kind, &settings);
        let (mut global, mut meeting, mut media) =
            (start("global"), start("meeting"), start("media"));
        let ready = [global.ready(), meeting.ready(), media.ready()];
        let doors = [("signal", &ready[1]), ("media", &ready[2])];
        Self {
            api: address(&ready[0], "http"),
            _global: global,
            meeting,
            media,
            doors: doors.map(|(door, ready)| address(ready, door).to_string()),
        }
    }

    fn create(&self) -> String {
        let made = http::post(self.api, "/api/v1/meetings", &json!({}));
        assert_eq!(made.status, 201, "{made:?}");
        text(&made.json()["meeting"]["code"])
    }

    /// Where somebody who asks here is sent for a meeting: signalling and media.
    fn sends_to(&self, code: &str) -> [String; 2] {
        let answer = http::get(self.api, &format!("/api/v1/meetings/{code}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        ["signal", "media"].map(|link| {
            let url = text(&answer[link]["url"]);
            url.split('/').nth(2).expect("a host").to_owned()
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Waits until it holds; each look is a request.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
    }
}

#[test]
fn a_meeting_is_where_it_was_asked_for_and_goes_elsewhere_when_nobody_is_left_there() {
    let place = Place::new();
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (database, state) = (postgres.url(&postgres.database()), redis.url());
    let stores = [
        ("DARKTOWER_STATE__URL", state.as_str()),
        ("DARKTOWER_DATABASE__URL", database.as_str()),
        ("DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND", "100000"),
        ("DARKTOWER_GLOBAL__LOOKUP_BURST", "100000"),
    ];
    let mut process = Process::start(&["migrate"], place.path(), &stores);
    assert_eq!(process.exit().code(), Some(0));
    let (mut east, west) = (
        Region::start(&place, "east", &stores),
        Region::start(&place, "west", &stores),
    );
    // Each knows of the other.
    for _ in 0..4 {
        for (here, there) in [(&east, &west), (&west, &east)] {
            let code = here.create();
            assert_eq!(here.sends_to(&code), here.doors);
            eventually("one asked elsewhere is sent to where it lives", || {
                there.sends_to(&code) == here.doors
            });
        }
    }
    let code = east.create();
    assert_eq!(east.sends_to(&code), east.doors);
    east.media.kill();
    east.media.exit();
    let expected = [east.doors[0].clone(), west.doors[1].clone()];
    eventually("its media goes to the other region", || {
        east.sends_to(&code) == expected
    });
    east.meeting.kill();
    east.meeting.exit();
    eventually("all of it is in the other region", || {
        let answer = http::get(east.api, &format!("/api/v1/meetings/{code}"), &[]);
        answer.status == 200 && east.sends_to(&code) == west.doors
    });
    assert_eq!(east.sends_to(&east.create()), west.doors);
}
