//! `sound.wasm`: `darktower-sound` behind plain calls, for the audio thread (the mixer of what is heard) and the media
//! worker (the ears of what is captured). It imports nothing.
//!
//! It must not hold a rule. Sound is planar `f32` at 48 kHz; times are seconds of the caller's clock; numbers and capture
//! times are whole and below 2^53. Start with [`snd_push`] and [`snd_mix`], or with [`snd_ear`] and [`snd_hear`];
//! `web/sdk/src/audio/sound.ts` is the other side.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use darktower_sound::Sample;
use darktower_sound::gate::{Gate, Kind, Turn};
use darktower_sound::mixer::Mixer;
use darktower_sound::player::Heading;
use darktower_sound::voice::Detector;

/// Numbers in one track's report.
const REPORT: usize = 12;

struct Instance {
    input: Vec<f32>,
    output: Vec<f32>,
    mixed: Vec<Sample>,
    reports: Vec<f64>,
    mixer: Mixer,
    ears: BTreeMap<u32, (Detector, Gate)>,
    next_ear: u32,
}

static INSTANCE: Mutex<Instance> = Mutex::new(Instance {
    input: Vec::new(),
    output: Vec::new(),
    mixed: Vec::new(),
    reports: Vec::new(),
    mixer: Mixer::new(),
    ears: BTreeMap::new(),
    next_ear: 1,
});

fn instance() -> MutexGuard<'static, Instance> {
    INSTANCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is no time is the beginning of it.
fn time(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9) as u64)
}

/// Room for so many numbers of sound, to be filled before [`snd_push`] or [`snd_hear`].
#[unsafe(no_mangle)]
extern "C" fn snd_input(count: usize) -> *mut f32 {
    let mut instance = instance();
    instance.input.clear();
    instance.input.resize(count, 0.0);
    instance.input.as_mut_ptr()
}

/// Takes the packet in the input, of one channel or two of `samples` each. 1 where it may still be heard.
#[unsafe(no_mangle)]
extern "C" fn snd_push(
    now: f64,
    track: u32,
    number: f64,
    capture_us: f64,
    rest: u32,
    samples: usize,
    channels: usize,
) -> u32 {
    let mut instance = instance();
    let left = instance.input.get(..samples).unwrap_or_default();
    let right = match channels {
        2 => instance.input.get(samples..2 * samples).unwrap_or_default(),
        _ => left,
    };
    let sound = left.iter().zip(right).map(|(l, r)| [*l, *r]).collect();
    let heading = Heading {
        number: number as u64,
        capture_us: capture_us as u64,
        rest: rest != 0,
    };
    u32::from(instance.mixer.push(time(now), track, heading, sound))
}

/// The track ended.
#[unsafe(no_mangle)]
extern "C" fn snd_forget(track: u32) {
    instance().mixer.forget(track);
}

/// Where the next `samples` of everybody lie: the left ear's, then the right one's. Valid until the next call.
#[unsafe(no_mangle)]
extern "C" fn snd_mix(now: f64, samples: usize) -> *const f32 {
    let mut instance = instance();
    let Instance {
        mixer,
        mixed,
        output,
        ..
    } = &mut *instance;
    mixed.resize(samples, [0.0; 2]);
    mixer.mix(time(now), mixed);
    output.clear();
    for ear in 0..2 {
        output.extend(mixed.iter().map(|sample| sample[ear]));
    }
    output.as_ptr()
}

/// How many tracks there are. Their accounts lie at [`snd_reports`], so many numbers each: track, capture time that is
/// heard (−1: none), delay, target, buffered (µs), played, late, lost, skipped, underruns, concealed (µs), stretched.
#[unsafe(no_mangle)]
extern "C" fn snd_report(now: f64) -> usize {
    let mut instance = instance();
    let Instance { mixer, reports, .. } = &mut *instance;
    reports.clear();
    for (track, report) in mixer.reports(time(now)) {
        reports.extend_from_slice(&[
            f64::from(track),
            report.playing_us.map_or(-1.0, |us| us as f64),
            report.delay_us as f64,
            report.target_us as f64,
            report.buffered_us as f64,
            report.played as f64,
            report.late as f64,
            report.lost as f64,
            report.skipped as f64,
            report.underruns as f64,
            report.concealed_us as f64,
            report.stretched as f64,
        ]);
    }
    reports.len() / REPORT
}

/// Where the accounts of the last [`snd_report`] lie.
#[unsafe(no_mangle)]
extern "C" fn snd_reports() -> *const f64 {
    instance().reports.as_ptr()
}

/// Ears for one own track: 0 a microphone, else any other sound. The number stands for them.
#[unsafe(no_mangle)]
extern "C" fn snd_ear(kind: u32) -> u32 {
    let kind = if kind == 0 { Kind::Voice } else { Kind::Sound };
    let mut instance = instance();
    let ear = instance.next_ear;
    instance.next_ear = ear.wrapping_add(1);
    let ears = (Detector::new(), Gate::new(kind));
    instance.ears.insert(ear, ears);
    ear
}

/// Judges the packet of 20 ms in the input, one channel: bits 0 to 6 its level, 7 a voice, 8 and 9 what becomes of it (0
/// sent, 1 sent as rest, 2 not sent).
#[unsafe(no_mangle)]
extern "C" fn snd_hear(ear: u32, samples: usize, muted: u32) -> u32 {
    let mut instance = instance();
    let Instance { input, ears, .. } = &mut *instance;
    let Some((detector, gate)) = ears.get_mut(&ear) else {
        return 127;
    };
    let heard = detector.take(input.get(..samples).unwrap_or_default());
    let turn = match gate.take(heard, muted != 0) {
        Turn::Send => 0,
        Turn::Rest => 1,
        Turn::Pause => 2,
    };
    u32::from(heard.minus_dbov) | u32::from(heard.voice) << 7 | turn << 8
}

/// The own track ended.
#[unsafe(no_mangle)]
extern "C" fn snd_ear_end(ear: u32) {
    instance().ears.remove(&ear);
}
