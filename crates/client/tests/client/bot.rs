//! The program: two bots in one process, and one that is told what to do.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::house::{House, PATIENCE};

struct Bot {
    process: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    read: Vec<Value>,
}

impl Bot {
    fn start(house: &House, meeting: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_darktower-bot"))
            .current_dir(house.dir.path())
            .args(["--server", &house.url, "--meeting", meeting])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = process.stdout.take().unwrap();
        Self {
            orders: process.stdin.take().unwrap(),
            lines: BufReader::new(out).lines(),
            read: Vec::new(),
            process,
        }
    }

    async fn order(&mut self, order: Value) {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.unwrap();
    }

    /// A line as wished, of those already read or the next.
    async fn line(&mut self, wished: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.read.iter().find(|line| wished(line)) {
            return line.clone();
        }
        self.next_line(wished).await
    }

    /// The next line as wished that has not been read.
    async fn next_line(&mut self, wished: impl Fn(&Value) -> bool) -> Value {
        let reading = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line: Value = serde_json::from_str(&line.expect("the bot has ended")).unwrap();
                self.read.push(line.clone());
                if wished(&line) {
                    return line;
                }
            }
        };
        let found = timeout(PATIENCE, reading).await.ok();
        found.unwrap_or_else(|| panic!("no such line: {:#?}", self.read))
    }
}

fn is(event: &str) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_check_what_they_hear_and_do_what_they_are_told() {
    let house = House::start().await;
    house.camera();
    house.microphone();
    let invitation = house.meeting().await;
    let meeting = format!("{}#k={}", invitation.code, invitation.secret.unwrap());
    let files = ["--video", "camera.ivf", "--audio", "microphone.ogg"];
    let expected = [
        "--expect-file",
        "camera.ivf",
        "--expect-file",
        "microphone.ogg",
    ];
    let two = ["--count", "2", "--expect-tracks", "2"];
    let mut pair = Bot::start(&house, &meeting, &[&files[..], &expected, &two].concat());
    let frames = |line: &Value| line["event"] == "first_frame" && line["kind"] == "video";
    pair.line(frames).await;

    let mut third = Bot::start(
        &house,
        &meeting,
        &["--name", "Third", "--audio", "microphone.ogg"],
    );
    let joined = third.line(is("joined")).await;
    assert_eq!(joined["handles"], json!([1]));
    third.line(|it| it["members"] == 3).await;
    third.line(frames).await;
    third.order(json!({"do": "nonsense"})).await;
    third.line(is("error")).await;
    third
        .order(json!({"do": "publish", "file": "camera.ivf"}))
        .await;
    assert_eq!(third.line(is("published")).await["handle"], 2);
    let owner = &joined["participant"];
    pair.line(|it| frames(it) && it["owner"] == *owner).await;
    third
        .order(json!({"do": "mute", "handle": 2, "muted": true}))
        .await;
    third.order(json!({"do": "state"})).await;
    let state = third.line(is("state")).await;
    assert_eq!(state["state"]["phase"], "joined");
    third.order(json!({"do": "leave"})).await;
    assert_eq!(third.line(is("summary")).await["ok"], true);
    assert!(third.process.wait().await.unwrap().success());

    pair.line(|it| it["event"] == "epoch" && it["members"] == 2)
        .await;
    pair.order(json!({"do": "leave"})).await;
    for _ in 0..2 {
        let summary = pair.next_line(is("summary")).await;
        assert_eq!(summary["ok"], true, "{summary}");
        assert_eq!(summary["counters"]["refused_header"], 0, "{summary}");
    }
    assert!(pair.process.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_film_and_speak_without_files() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let meeting = format!("{}#k={}", invitation.code, invitation.secret.unwrap());
    let mut actor = Bot::start(&house, &meeting, &["--camera", "--microphone"]);
    actor.line(is("joined")).await;
    let mut viewer = Bot::start(&house, &meeting, &["--expect-tracks", "2"]);
    // A second later both tracks have said what their marks say.
    let marked = |line: &Value| {
        let tracks = line["tracks"].as_array().map_or(&[][..], Vec::as_slice);
        let of = |kind: &str| {
            let found = tracks.iter().find(|track| track["kind"] == kind);
            found.map(|track| track["marked"].clone())
        };
        match (of("video"), of("audio")) {
            (Some(video), Some(audio)) => {
                video["delay_p50_ms"].is_u64() && audio["missing"].is_u64()
            }
            _ => false,
        }
    };
    viewer.line(marked).await;
    // Until it is said otherwise a track is shown in 640 x 360: its middle layer.
    let middle = |line: &Value| {
        let tracks = line["tracks"].as_array().map_or(&[][..], Vec::as_slice);
        tracks.iter().any(|track| track["marked"]["layer"] == 1)
    };
    viewer.line(middle).await;
    viewer.order(json!({"do": "leave"})).await;
    let summary = viewer.line(is("summary")).await;
    assert_eq!(summary["ok"], true, "{summary}");
    let encode = |line: &Value| line["event"] == "encode" && line["bps"].is_u64();
    actor.line(encode).await;
}
