//! Replays the `sound-*.json` files of `proto/vectors`. The native and the WASM build run this same code, so that both
//! make the same samples, bit for bit; what is expected are literals in the files and is made by nothing here.

use core::time::Duration;

use serde_json::Value;

use crate::gate::{Gate, Kind, Turn};
use crate::player::{Heading, Player};
use crate::voice::Detector;
use crate::{Sample, ms, time_of};

/// What the audio thread asks for at once.
const QUANTUM: usize = 128;
const PACKET: usize = ms(20);

/// Checks every case of one vector file (JSON) and says how many there were, or which one failed and how. A section
/// that is not known here is a failure.
pub fn check(json: &str) -> Result<usize, String> {
    let file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let file = file.as_object().ok_or("not an object")?;
    let mut count = 0;
    for (name, cases) in file {
        let outcome: fn(&Value) -> Result<String, String> = match name.as_str() {
            "note" => continue,
            "playout" => play,
            "ears" => hear,
            unknown => return Err(format!("{unknown} is not a kind of vector")),
        };
        let cases = cases.as_array().ok_or("no list of cases")?;
        for case in cases {
            let what = case["name"].as_str().ok_or("a case without a name")?;
            let got = outcome(case).map_err(|error| format!("{what}: {error}"))?;
            if case["expect"] != got.as_str() {
                return Err(format!("{what}: {got} instead of {}", case["expect"]));
            }
        }
        count += cases.len();
    }
    Ok(count)
}

fn number(case: &Value, name: &str) -> Result<u64, String> {
    let value = &case[name];
    value.as_u64().ok_or_else(|| format!("{name}: {value}"))
}

fn numbers(case: &Value, name: &str) -> Result<Vec<u64>, String> {
    let list = case[name].as_array().ok_or_else(|| format!("no {name}"))?;
    let each = list.iter().map(Value::as_u64);
    each.collect::<Option<_>>().ok_or_else(|| name.to_owned())
}

/// Packet `n`: a triangle of `period` samples with a little noise, by whole numbers.
fn sound(n: u64, period: u64, amplitude: f32) -> Vec<Sample> {
    let mut seed = n as u32;
    let sample = |at: u64| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (seed >> 16) as f32 / 65_536.0 - 0.5;
        let phase = (at % period) as f32 / period as f32;
        let triangle = (phase - 0.5).abs() * 4.0 - 1.0;
        [
            amplitude * (triangle + noise * 0.1),
            amplitude * (noise * 0.1 - triangle),
        ]
    };
    let from = n * PACKET as u64;
    (from..from + PACKET as u64).map(sample).collect()
}

/// Plays the packets of a case as they arrive; says the counts and a digest (FNV-1a, 64 bits) of every sample heard.
fn play(case: &Value) -> Result<String, String> {
    let (packets, period) = (number(case, "packets")?, number(case, "period")?.max(1));
    let late_ms = numbers(case, "late_ms")?;
    let (lost, rest) = (numbers(case, "lost")?, numbers(case, "rest")?);
    let late = |n: u64| {
        let at = n as usize % late_ms.len().max(1);
        Duration::from_millis(n * 20 + late_ms.get(at).copied().unwrap_or_default())
    };
    let (mut player, mut digest, mut next) = (Player::new(), 0xcbf2_9ce4_8422_2325u64, 0);
    let mut quantum = [[0.0; 2]; QUANTUM];
    let end = Duration::from_millis(packets * 20 + 200);
    let mut heard = 0;
    while time_of(heard) < end {
        let now = time_of(heard);
        while next < packets && late(next) <= now {
            let heading = Heading {
                number: next,
                capture_us: next * 20_000,
                rest: rest.contains(&next),
            };
            let amplitude = if heading.rest { 0.01 } else { 0.5 };
            if !lost.contains(&next) {
                player.push(now, heading, sound(next, period, amplitude));
            }
            next += 1;
        }
        quantum.fill([0.0; 2]);
        player.pull(now, &mut quantum);
        for byte in quantum.iter().flatten().flat_map(|one| one.to_le_bytes()) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        heard += QUANTUM;
    }
    let report = player.report(time_of(heard));
    Ok(format!(
        "{digest:016x} played {} lost {} concealed {} stretched {} target {}",
        report.played, report.lost, report.concealed_us, report.stretched, report.target_us
    ))
}

/// Judges packets of the loudness given in thousandths; each is told by level, voice (v) and turn (s, r, p).
fn hear(case: &Value) -> Result<String, String> {
    let period = number(case, "period")?.max(1);
    let (mut detector, mut gate) = (Detector::new(), Gate::new(Kind::Voice));
    let mut told = Vec::new();
    for (n, loud) in numbers(case, "loudness")?.iter().enumerate() {
        let packet = sound(n as u64, period, *loud as f32 / 1000.0);
        let left: Vec<f32> = packet.iter().map(|[left, _]| *left).collect();
        let heard = detector.take(&left);
        let turn = match gate.take(heard, false) {
            Turn::Send => 's',
            Turn::Rest => 'r',
            Turn::Pause => 'p',
        };
        let voice = if heard.voice { "v" } else { "" };
        told.push(format!("{}{voice}{turn}", heard.minus_dbov));
    }
    Ok(told.join(" "))
}
