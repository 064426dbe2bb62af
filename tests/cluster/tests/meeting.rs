//! The same meeting, held by one process and by three.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use darktower_cluster_tests::{Place, Process, http, program};
use darktower_servers::{PgBouncer, Postgres, Redis, RedisCluster, With};
use serde_json::{Value, json};

fn ffmpeg(arguments: &str, out: &Path) {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(out)
        .status()
        .expect("ffmpeg is there");
    assert!(made.success(), "ffmpeg {arguments}");
}

/// A moving picture and a tone.
fn clips(place: &Place) -> [PathBuf; 2] {
    let [video, audio] = ["clip.ivf", "clip.ogg"].map(|name| place.path().join(name));
    ffmpeg(
        "-f lavfi -i testsrc=size=640x360:rate=30 -t 4 -c:v libvpx -b:v 500k -g 30 -deadline realtime",
        &video,
    );
    ffmpeg(
        "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -c:a libopus -b:a 32k",
        &audio,
    );
    [video, audio]
}

/// A participant that plays both clips for a while and checks what it gets.
fn bot(api: SocketAddr, meeting: &str, name: &str, clips: &[PathBuf; 2]) -> Child {
    let [video, audio] = clips;
    Command::new(program("darktower-bot", "DARKTOWER_BOT"))
        .arg("--server")
        .arg(format!("http://{api}"))
        .args(["--meeting", meeting, "--name", name, "--seconds", "8"])
        .arg("--video")
        .arg(video)
        .arg("--audio")
        .arg(audio)
        .arg("--expect-file")
        .arg(video)
        .arg("--expect-file")
        .arg(audio)
        .args(["--expect-tracks", "2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the bot starts")
}

/// Two participants see and hear each other, and share a verification code.
fn hold_a_meeting(api: SocketAddr, place: &Place) {
    let clips = clips(place);
    let made = http::post(api, "/api/v1/meetings", &json!({"title": "Standup"})).json();
    let code = made["meeting"]["code"].as_str().expect("a code");
    let meeting = format!("{code}#k=AAECAwQFBgcICQoLDA0ODw");
    let bots = ["Ada", "Ben"].map(|name| bot(api, &meeting, name, &clips));
    let mut codes = Vec::new();
    for bot in bots {
        let output = bot.wait_with_output().expect("the bot ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines: Vec<Value> = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let of_two = lines.iter().find(|line| line["members"] == 2);
        codes.push(of_two.unwrap_or_else(|| panic!("never two: {said}"))["code"].clone());
    }
    assert_eq!(codes[0], codes[1]);
}

#[test]
fn one_process_holds_a_meeting() {
    let place = Place::new();
    let (mut process, api) = place.all();
    hold_a_meeting(api, &place);
    process.terminate();
    assert_eq!(process.exit().code(), Some(0));
}

#[test]
fn three_processes_hold_the_same_meeting() {
    let place = Place::new();
    let apart = place.apart();
    hold_a_meeting(apart.api, &place);
    for mut process in [apart.global, apart.meeting, apart.media] {
        process.terminate();
        assert_eq!(process.exit().code(), Some(0));
    }
}

/// The schema of the database that `settings` names, brought up to date.
fn migrate(place: &Place, settings: &[(&str, &str)]) -> String {
    let mut process = Process::start(&["migrate"], place.path(), settings);
    let exit = process.exit();
    assert_eq!(exit.code(), Some(0), "{}", process.last_words());
    process.output()
}

#[test]
fn three_processes_on_redis_and_postgresql_hold_the_same_meeting() {
    let place = Place::new();
    let (password, trust) = (place.path().join("password"), place.path().join("pg"));
    std::fs::write(&password, "s3cret\n").expect("a file");
    std::fs::write(&trust, "of-the-test\n").expect("a file");
    let redis = Redis::start_with(With {
        password: Some("s3cret"),
        ..With::default()
    });
    let postgres = Postgres::start();
    let database = postgres.url(&postgres.database());
    let database = database.replace(":of-the-test@", "@");
    let state = redis.url();
    let stores = [
        ("DARKTOWER_STATE__URL", state.as_str()),
        (
            "DARKTOWER_STATE__PASSWORD_FILE",
            password.to_str().expect("a path"),
        ),
        ("DARKTOWER_DATABASE__URL", database.as_str()),
        (
            "DARKTOWER_DATABASE__PASSWORD_FILE",
            trust.to_str().expect("a path"),
        ),
    ];
    assert!(migrate(&place, &stores).contains("1 change was made"));
    assert!(!migrate(&place, &stores).contains("made"));
    let apart = place.apart_on(&stores);
    hold_a_meeting(apart.api, &place);
    for mut process in [apart.global, apart.meeting, apart.media] {
        process.terminate();
        assert_eq!(process.exit().code(), Some(0));
        assert!(!process.last_words().contains("s3cret"));
    }
}

/// What one global controller creates, another one serves; both lean on a cluster and a pooler.
#[test]
fn two_global_controllers_on_a_cluster_and_a_pooler_are_one() {
    let place = Place::new();
    let cluster = RedisCluster::start(0);
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres);
    let (state, database) = (cluster.url(), bouncer.url(&postgres.database()));
    let stores = [
        ("DARKTOWER_STATE__URL", state.as_str()),
        ("DARKTOWER_DATABASE__URL", database.as_str()),
        ("DARKTOWER_DATABASE__POOLER", "true"),
    ];
    migrate(&place, &stores);
    let apart = place.apart_on(&stores);
    let mut other = place.start("global", &stores);
    let other_api = other.ready()["http"].as_str().expect("an address").parse();
    let other_api: SocketAddr = other_api.expect("an address");
    let made = http::post(apart.api, "/api/v1/meetings", &json!({"title": "Standup"})).json();
    let code = made["meeting"]["code"].as_str().expect("a code");
    for api in [apart.api, other_api] {
        let answer = http::get(api, &format!("/api/v1/meetings/{code}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["meeting"]["title"], "Standup");
    }
}

/// A Redis that dies and comes back empty takes nobody out of a meeting, and others come in afterwards.
#[test]
fn a_meeting_outlives_its_redis() {
    let place = Place::new();
    let mut redis = Redis::start();
    let state = redis.url();
    let mut apart = place.apart_on(&[("DARKTOWER_STATE__URL", state.as_str())]);
    let clips = clips(&place);
    let made = http::post(apart.api, "/api/v1/meetings", &json!({"title": "Standup"})).json();
    let code = made["meeting"]["code"].as_str().expect("a code");
    let meeting = format!("{code}#k=AAECAwQFBgcICQoLDA0ODw");
    let mut bots = ["Ada", "Ben"].map(|name| bot(apart.api, &meeting, name, &clips));
    let mut said = bots.each_mut().map(|bot| {
        let out = bot.stdout.take().expect("its output");
        BufReader::new(out)
            .lines()
            .map(|line| line.expect("a line"))
    });
    for said in &mut said {
        let both = |line: String| line.contains("\"members\":2");
        assert!(said.any(both), "they never were two");
    }
    redis.kill();
    apart.meeting.log(|line| {
        line["level"] == "WARN"
            && line["message"]
                .as_str()
                .is_some_and(|says| says.contains("registry"))
    });
    redis.start_again();
    apart
        .meeting
        .log(|line| line["message"] == "the registry answers again");
    for (mut bot, said) in bots.into_iter().zip(said) {
        let last: Vec<_> = said.collect();
        let ended = bot.wait().expect("the bot ends");
        assert!(ended.success(), "{last:?}");
    }
    hold_a_meeting(apart.api, &place);
    apart.meeting.terminate();
    let words = apart.meeting.last_words();
    assert!(!words.contains("meeting taken over"), "{words}");
}

/// With certificates of one authority on gRPC; who has them of another one is no part of it.
#[test]
fn three_processes_that_know_one_another_hold_the_same_meeting() {
    let place = Place::new();
    let known = ("DARKTOWER_CLUSTER__DEVELOPMENT", "true");
    let apart = place.apart_with(&[known]);
    hold_a_meeting(apart.api, &place);
    let state = format!(
        "grpc://{}",
        apart.ready[0]["state"].as_str().expect("an address")
    );
    let elsewhere = Place::new();
    for more in [vec![known], vec![]] {
        let mut settings = vec![("DARKTOWER_STATE__URL", state.as_str())];
        settings.extend(more);
        let mut stranger = elsewhere.start("meeting", &settings);
        assert_eq!(stranger.exit().code(), Some(1));
        let says = stranger.last_words();
        assert!(
            says.contains("state.url grpc://") && says.contains("[cluster]"),
            "{says}"
        );
    }
    for mut process in [apart.global, apart.meeting, apart.media] {
        process.terminate();
        assert_eq!(process.exit().code(), Some(0));
    }
}
