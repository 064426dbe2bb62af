//! Stores that cannot be used: the program says which setting, and what to do, and is not long about it.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use darktower_cluster_tests::{Place, Process, WITHIN, address, http};
use darktower_servers::{Authority, Postgres, Redis, With};
use serde_json::{Value, json};

/// What `darktower all` says before it ends with `code`.
fn refused(place: &Place, settings: &[(&str, &str)], code: i32) -> String {
    let began = Instant::now();
    let mut process = Process::start(&["all"], place.path(), settings);
    let exit = process.exit();
    let says = process.last_words();
    assert_eq!(exit.code(), Some(code), "{says}");
    assert!(began.elapsed() < Duration::from_secs(10), "{says}");
    says
}

#[track_caller]
fn has(says: &str, words: &[&str]) {
    for word in words {
        assert!(says.contains(word), "`{word}` is not in: {says}");
    }
    assert!(
        !says.contains("s3cret") && !says.contains("of-the-test"),
        "{says}"
    );
}

#[test]
fn a_redis_that_cannot_be_used_is_told_by_its_setting() {
    let place = Place::new();
    let file = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let state = |url: &str, more: &[(&str, &str)], code: i32| {
        let mut settings = vec![("DARKTOWER_STATE__URL", url)];
        settings.extend(more);
        refused(&place, &settings, code)
    };
    has(
        &state("valkey://h", &[], 2),
        &["state.url", "redis://host:6379", "memory"],
    );
    has(
        &state("redis-cluster://", &[], 2),
        &["state.url", "redis-cluster://"],
    );
    has(
        &state("redis://u:s3cret@127.0.0.1:1", &[], 1),
        &["state.url redis://***@127.0.0.1:1", "running"],
    );
    let authority = Authority::new();
    let redis = Redis::start_with(With {
        password: Some("s3cret"),
        authority: Some(&authority),
    });
    let url = redis.url();
    has(
        &state(&url, &[], 2),
        &["state.url", "state.authorities_file"],
    );
    let trusted = file("authority.pem", &authority.pem());
    let trust = ("DARKTOWER_STATE__AUTHORITIES_FILE", trusted.as_str());
    has(
        &state(&url, &[trust], 2),
        &["state.url", "state.password_file"],
    );
    let wrong = file("wrong", "guess\n");
    let wrong = ("DARKTOWER_STATE__PASSWORD_FILE", wrong.as_str());
    has(
        &state(&url, &[trust, wrong], 2),
        &["state.url", "state.password_file"],
    );
    let missing = ("DARKTOWER_STATE__PASSWORD_FILE", "/nowhere/s3cre7");
    has(
        &state(&url, &[trust, missing], 2),
        &["state.password_file /nowhere/s3cre7"],
    );
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let silent = format!("redis://{}", silent.local_addr().expect("an address"));
    has(&state(&silent, &[], 1), &["state.url", "TLS"]);
}

#[test]
fn a_postgresql_that_cannot_be_used_is_told_by_its_setting() {
    let place = Place::new();
    let postgres = Postgres::start();
    let name = postgres.database();
    let url = postgres.url(&name);
    let database =
        |url: &str, code: i32| refused(&place, &[("DARKTOWER_DATABASE__URL", url)], code);
    has(
        &database("mysql://h/d", 2),
        &["database.url", "postgres://"],
    );
    has(
        &database(&url, 1),
        &["database.url postgres://***@", "darktower migrate"],
    );
    let wrong = url.replace("of-the-test", "guess");
    has(
        &database(&wrong, 2),
        &["database.url", "database.password_file"],
    );
    has(
        &database("postgres://u:s3cret@127.0.0.1:1/d", 1),
        &["database.url postgres://***@127.0.0.1:1/d", "running"],
    );
    has(
        &database(&format!("{url}?sslmode=require"), 2),
        &["database.url", "sslmode"],
    );
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let silent = format!(
        "postgres://u@{}/d",
        silent.local_addr().expect("an address")
    );
    has(&database(&silent, 1), &["database.url", "in time"]);
}

#[test]
fn a_replica_that_is_meant_otherwise_is_told_by_its_setting_and_one_that_is_away_is_no_hindrance() {
    let place = Place::new();
    let postgres = Postgres::start();
    let url = postgres.url(&postgres.database());
    let database = ("DARKTOWER_DATABASE__URL", url.as_str());
    let mut process = Process::start(&["migrate"], place.path(), &[database]);
    assert_eq!(process.exit().code(), Some(0));
    let with = |replica: &str| {
        let replica = ("DARKTOWER_DATABASE__REPLICA_URL", replica);
        refused(&place, &[database, replica], 2)
    };
    has(
        &with("mysql://h/d"),
        &["database.replica_url", "postgres://"],
    );
    let wrong = url.replace("of-the-test", "guess");
    has(
        &with(&wrong),
        &[
            "database.replica_url postgres://***@",
            "database.password_file",
        ],
    );
    let away = "postgres://u:s3cret@127.0.0.1:1/d";
    let replica = ("DARKTOWER_DATABASE__REPLICA_URL", away);
    let mut process = place.start("all", &[database, replica]);
    let warned = process.log(|line| line.to_string().contains("the primary is asked"));
    has(
        &warned.to_string(),
        &["database.replica_url postgres://***@127.0.0.1:1/d"],
    );
    let api = address(&process.ready(), "http");
    let made = http::post(api, "/api/v1/meetings", &json!({}));
    assert_eq!(made.status, 201, "{made:?}");
    process.terminate();
    assert_eq!(process.exit().code(), Some(0));
}

#[test]
fn the_schema_of_the_embedded_database_is_brought_up_to_date_too() {
    let place = Place::new();
    for _ in 0..2 {
        let mut process = Process::start(&["migrate"], place.path(), &[]);
        assert_eq!(process.exit().code(), Some(0));
        assert_eq!(process.output(), "the database is up to date\n");
    }
    assert!(place.path().join("data/darktower.sqlite").exists());
}

/// `darktower migrate` is killed while it changes the schema of a PostgreSQL: the next one makes it whole.
#[test]
fn a_migration_that_is_killed_half_way_is_made_by_the_next() {
    let place = Place::new();
    let postgres = Postgres::start();
    let name = postgres.database();
    let url = postgres.url(&name);
    let settings = [("DARKTOWER_DATABASE__URL", url.as_str())];
    postgres.ask(&name, "CREATE TABLE schema_changes (version BIGINT PRIMARY KEY, description TEXT NOT NULL, sha256 BYTEA NOT NULL)");
    let holding = postgres.session(
        &name,
        "BEGIN; SET LOCAL client_connection_check_interval = 50; LOCK TABLE schema_changes IN SHARE MODE; \
         SELECT pg_sleep(60);",
    );
    let eventually = |sql: &str, answer: &str| {
        let until = Instant::now() + WITHIN;
        while postgres.ask(&name, sql) != answer {
            assert!(Instant::now() < until, "{sql} is never {answer}");
        }
    };
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'schema_changes'::regclass";
    eventually(held, "1\n");
    let mut killed = Process::start(&["migrate"], place.path(), &settings);
    eventually("SELECT count(*) FROM pg_locks WHERE NOT granted", "1\n");
    killed.kill();
    assert_eq!(killed.exit().code(), None);
    drop(holding);
    let mut next = Process::start(&["migrate"], place.path(), &settings);
    assert_eq!(next.exit().code(), Some(0), "{}", next.last_words());
    assert_eq!(
        next.output(),
        "the database is up to date: 1 change was made\n"
    );
}

/// A disk that is really full: a file system of one megabyte.
#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_heals() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("data")).expect("a directory");
    let prepare = "mount -t tmpfs -o size=1m tmpfs data && head -c 400k /dev/zero >data/filler && exec \"$@\"";
    let by = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        prepare,
        "sh",
    ];
    let any = "127.0.0.1:0";
    let settings = [
        ("DARKTOWER_GLOBAL__HTTP", any),
        ("DARKTOWER_GLOBAL__HTTPS", any),
        ("DARKTOWER_MEETING__LISTEN", any),
        ("DARKTOWER_MEDIA__LISTEN", any),
        ("DARKTOWER_GLOBAL__CREATIONS_PER_SECOND", "100000"),
        ("DARKTOWER_GLOBAL__CREATION_BURST", "100000"),
        ("DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND", "100000"),
        ("DARKTOWER_GLOBAL__LOOKUP_BURST", "100000"),
    ];
    let mut process = Process::start_by(&by, &["all"], place.path(), &settings);
    let api = process.ready()["http"]
        .as_str()
        .expect("an address")
        .parse();
    let api: SocketAddr = api.expect("an address");
    let title = "x".repeat(200);
    let create = || http::post(api, "/api/v1/meetings", &json!({"title": title}));
    let mut made = Vec::new();
    let refused = loop {
        let answer = create();
        if answer.status != 201 {
            break answer;
        }
        made.push(answer.json()["meeting"]["code"].clone());
        assert!(made.len() < 10_000, "the disk is never full");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["code"], "unavailable");
    assert!(
        refused.header.to_lowercase().contains("retry-after"),
        "{refused:?}"
    );
    assert!(made.len() > 5, "{made:?}");
    let kept = || {
        for code in &made {
            let code = code.as_str().expect("a code");
            let answer = http::get(api, &format!("/api/v1/meetings/{code}"), &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    kept();
    process.log(|line| line["level"] == "WARN" && line.to_string().contains("full"));
    let data = place.path().join("data/filler");
    let filler = format!("/proc/{}/root{}", process.id(), data.display());
    std::fs::remove_file(filler).expect("the filler is there");
    assert_eq!(create().status, 201);
    kept();
    process.terminate();
    assert_eq!(process.exit().code(), Some(0));
}

/// Ended in the midst of writing, three times: what was acknowledged is there, and the program starts.
#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let place = Place::new();
    let eager = [
        ("DARKTOWER_GLOBAL__CREATIONS_PER_SECOND", "100000"),
        ("DARKTOWER_GLOBAL__CREATION_BURST", "100000"),
        ("DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND", "100000"),
        ("DARKTOWER_GLOBAL__LOOKUP_BURST", "100000"),
    ];
    let mut made: Vec<String> = Vec::new();
    for round in 1..=3 {
        let mut process = place.start("all", &eager);
        let api = address(&process.ready(), "http");
        for code in &made {
            let answer = http::get(api, &format!("/api/v1/meetings/{code}"), &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let (acknowledged, codes) = channel();
        let writers = [(); 4].map(|()| {
            let acknowledged = acknowledged.clone();
            std::thread::spawn(move || {
                while let Ok(answer) = http::try_post(api, "/api/v1/meetings", &json!({})) {
                    // The last one may be cut short.
                    if let Ok(answer) = serde_json::from_str::<Value>(&answer.body)
                        && let Some(code) = answer["meeting"]["code"].as_str()
                    {
                        acknowledged.send(code.to_owned()).expect("somebody counts");
                    }
                }
            })
        });
        drop(acknowledged);
        for code in &codes {
            made.push(code);
            if made.len() == round * 40 {
                process.kill();
            }
        }
        for writer in writers {
            writer.join().expect("a writer");
        }
        process.exit();
        assert!(made.len() >= round * 40, "{}", made.len());
    }
    let mut process = place.start("all", &eager);
    let api = address(&process.ready(), "http");
    for code in &made {
        let answer = http::get(api, &format!("/api/v1/meetings/{code}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn services_that_do_not_know_one_another_stay_on_this_machine() {
    let place = Place::new();
    let says = refused(
        &place,
        &[("DARKTOWER_MEETING__GRPC_LISTEN", "0.0.0.0:0")],
        2,
    );
    has(
        &says,
        &["meeting.grpc_listen 0.0.0.0:0", "cluster.chain_file"],
    );
    let says = refused(&place, &[("DARKTOWER_CLUSTER__KEY_FILE", "key.pem")], 2);
    has(&says, &["authority_file", "development"]);
    let files = [
        ("DARKTOWER_CLUSTER__CHAIN_FILE", "none.pem"),
        ("DARKTOWER_CLUSTER__KEY_FILE", "none.pem"),
        ("DARKTOWER_CLUSTER__AUTHORITY_FILE", "none.pem"),
    ];
    has(&refused(&place, &files, 2), &["cluster", "none.pem"]);
    std::fs::write(place.path().join("none.pem"), "no certificate").expect("a file");
    has(&refused(&place, &files, 2), &["cluster", "certificates"]);
}

/// PostgreSQL gone: who knows a meeting gets into it, writes are refused at once, and both are well when it is back.
#[test]
fn without_postgresql_known_meetings_go_on_and_writes_say_when_to_come_again() {
    let place = Place::new();
    let mut postgres = Postgres::start();
    let url = postgres.url(&postgres.database());
    let settings = [("DARKTOWER_DATABASE__URL", url.as_str())];
    let mut process = Process::start(&["migrate"], place.path(), &settings);
    assert_eq!(process.exit().code(), Some(0));
    let mut process = place.start("all", &settings);
    let api = process.ready()["http"]
        .as_str()
        .expect("an address")
        .parse();
    let api: SocketAddr = api.expect("an address");
    let create = || http::post(api, "/api/v1/meetings", &json!({}));
    let made = create().json();
    let code = made["meeting"]["code"].as_str().expect("a code");
    let path = format!("/api/v1/meetings/{code}");
    postgres.kill();
    for _ in 0..3 {
        let asked = Instant::now();
        let refused = create();
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(
            refused.header.to_lowercase().contains("retry-after: "),
            "{refused:?}"
        );
        let asked = Instant::now();
        let joined = http::get(api, &path, &[]);
        assert_eq!(joined.status, 200, "{joined:?}");
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
    postgres.start_again();
    let until = Instant::now() + WITHIN;
    while create().status != 201 {
        assert!(Instant::now() < until, "the database is not found again");
    }
    assert_eq!(http::get(api, &path, &[]).status, 200);
    process.terminate();
    assert_eq!(process.exit().code(), Some(0));
}

/// The same with two global controllers, of which one has never heard of the meetings: what it is asked for, it finds
/// noted in the state store.
#[test]
fn without_postgresql_each_global_controller_knows_what_another_created() {
    let place = Place::new();
    let (mut postgres, redis) = (Postgres::start(), Redis::start());
    let (database, state) = (postgres.url(&postgres.database()), redis.url());
    let stores = [
        ("DARKTOWER_STATE__URL", state.as_str()),
        ("DARKTOWER_DATABASE__URL", database.as_str()),
    ];
    let mut process = Process::start(&["migrate"], place.path(), &stores);
    assert_eq!(process.exit().code(), Some(0));
    let apart = place.apart_on(&stores);
    let mut other = place.start("global", &stores);
    let other = address(&other.ready(), "http");
    let create = |api| http::post(api, "/api/v1/meetings", &json!({"title": "Standup"}));
    // One was looked up where it was created, one by nobody, and one has ended.
    let [known, fresh, ended] = [(); 3].map(|()| create(apart.api).json());
    let text = |of: &Value| of.as_str().expect("a text").to_owned();
    let path = |of: &Value, name: &str| format!("/api/v1/meetings/{}", text(&of["meeting"][name]));
    assert_eq!(http::get(apart.api, &path(&known, "code"), &[]).status, 200);
    let bearer = format!("authorization: Bearer {}", text(&ended["access_token"]));
    let end = http::delete(apart.api, &path(&ended, "id"), &[&bearer]);
    assert_eq!(end.status, 204, "{end:?}");
    postgres.kill();
    let soon = |ask: &dyn Fn() -> http::Answer| {
        let asked = Instant::now();
        let answer = ask();
        assert!(asked.elapsed() < Duration::from_secs(1), "{answer:?}");
        answer
    };
    for api in [other, apart.api] {
        for made in [&known, &fresh] {
            for name in ["code", "id"] {
                let joined = soon(&|| http::get(api, &path(made, name), &[]));
                assert_eq!(joined.status, 200, "{joined:?}");
                assert_eq!(joined.json()["meeting"]["title"], "Standup");
            }
            let meeting = &made["meeting"]["code"];
            let grants = [
                json!({"grant_type": "guest", "meeting": meeting}),
                json!({"grant_type": "host_key", "meeting": meeting, "host_key": made["host_key"]}),
            ];
            for grant in grants {
                let token = soon(&|| http::post(api, "/api/v1/auth/token", &grant));
                assert_eq!(token.status, 200, "{token:?}");
            }
            let wrong = json!({"grant_type": "host_key", "meeting": meeting, "host_key": "guess"});
            let refused = soon(&|| http::post(api, "/api/v1/auth/token", &wrong));
            assert_eq!(refused.status, 403, "{refused:?}");
        }
        let gone = soon(&|| http::get(api, &path(&ended, "code"), &[]));
        assert_eq!(gone.json()["code"], "meeting_ended");
        let unknown = soon(&|| http::get(api, "/api/v1/meetings/abc-defg-hij", &[]));
        for refused in [unknown, soon(&|| create(api))] {
            assert_eq!(refused.status, 503, "{refused:?}");
            let header = refused.header.to_lowercase();
            assert!(header.contains("retry-after: "), "{refused:?}");
        }
    }
}
