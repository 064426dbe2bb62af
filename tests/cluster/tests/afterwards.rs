//! What is known of a meeting when it is over, whatever was away when it happened.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use darktower_cluster_tests::{Apart, Place, Process, WITHIN, http, program};
use darktower_servers::{Postgres, Redis};
use serde_json::{Value, json};

/// A participant that does what it is told.
struct Bot {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    id: String,
}

impl Bot {
    /// One that is in the meeting, as the bearer of `token` if it has one.
    fn join(api: SocketAddr, made: &Value, token: Option<&str>) -> Self {
        let mut bot = Command::new(program("darktower-bot", "DARKTOWER_BOT"));
        bot.args(["--server", &format!("http://{api}")]);
        let code = text(&made["meeting"]["code"]);
        bot.args(["--meeting", &format!("{code}#k=AAECAwQFBgcICQoLDA0ODw")]);
        bot.args(token.iter().flat_map(|token| ["--token", token]));
        let bot = bot.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = bot.expect("the bot starts");
        let out = child.stdout.take().expect("its output");
        let mut bot = Self {
            child,
            says: BufReader::new(out).lines(),
            id: String::new(),
        };
        bot.id = text(&bot.until("joined")["participant"]);
        bot
    }

    fn until(&mut self, event: &str) -> Value {
        for line in self.says.by_ref() {
            let line = line.expect("a line");
            let said: Value = serde_json::from_str(&line).expect("JSON");
            assert_ne!(said["event"], "error", "{said}");
            if said["event"] == event {
                return said;
            }
        }
        panic!("the bot ends without {event}");
    }

    fn told(&mut self, order: &Value) {
        let orders = self.child.stdin.as_mut().expect("its orders");
        writeln!(orders, "{order}").expect("it reads");
    }

    /// Until it is out, by itself.
    fn ends(mut self) {
        self.until("summary");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

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
        Bot::join(self.apart.api, made, token)
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
