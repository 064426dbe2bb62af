//! The same meeting, held by one process and by three.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use darktower_cluster_tests::{Place, http, program};
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
