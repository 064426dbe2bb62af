//! Sound in more or less time.

use darktower_sound::Sample;
use darktower_sound::stretch::Stretch;

use crate::signal::{loudness, noise, pitch, steepest, tone, voice};

const PACKET: usize = 960;

fn stretched(sound: &[Sample], speed: f32) -> Vec<Sample> {
    let (mut stretch, mut out) = (Stretch::new(), Vec::new());
    for packet in sound.chunks_exact(PACKET) {
        stretch.run(packet, speed, &mut out);
    }
    out
}

fn both_ears(samples: Vec<f32>) -> Vec<Sample> {
    samples.into_iter().map(|sample| [sample; 2]).collect()
}

const SPEEDS: [f32; 6] = [0.85, 0.9, 0.97, 1.03, 1.1, 1.15];

#[test]
fn at_its_own_speed_sound_is_untouched() {
    let sound = tone(440.0, 0, PACKET * 50);
    assert_eq!(stretched(&sound, 1.0), sound);
}

#[test]
fn tones_keep_their_pitch_their_loudness_and_the_time_asked_for() {
    for hz in [110.0, 220.0, 441.0, 1000.0, 3000.0] {
        let sound = tone(hz, 0, PACKET * 500);
        for speed in SPEEDS {
            let out = stretched(&sound, speed);
            let length = out.len() as f64 * f64::from(speed) / sound.len() as f64;
            assert!((length - 1.0).abs() < 0.01, "{hz} Hz × {speed}: {length}");
            let heard = pitch(&out);
            assert!(
                (heard / hz - 1.0).abs() < 0.005,
                "{hz} Hz × {speed}: {heard} Hz"
            );
            let steep = steepest(&out) / steepest(&sound);
            assert!(steep < 1.3, "{hz} Hz × {speed}: {steep} times as steep");
            let loud = loudness(&out) / loudness(&sound);
            assert!((0.95..1.05).contains(&loud), "{hz} Hz × {speed}: {loud}");
        }
    }
}

#[test]
fn voices_and_noise_take_the_time_asked_for_without_clicks() {
    let voices = [85.0, 120.0, 240.0].map(|hz| both_ears(voice(hz, 1.0, 10.0)));
    let sounds = voices
        .into_iter()
        .chain([both_ears(noise(5, 0.1, PACKET * 500))]);
    for (at, sound) in sounds.enumerate() {
        for speed in SPEEDS {
            let out = stretched(&sound, speed);
            let length = out.len() as f64 * f64::from(speed) / sound.len() as f64;
            assert!((length - 1.0).abs() < 0.01, "{at} × {speed}: {length}");
            let steep = steepest(&out) / steepest(&sound);
            assert!(steep < 1.3, "{at} × {speed}: {steep} times as steep");
        }
    }
}

#[test]
fn short_packets_and_nonsense_pass() {
    let mut out = Vec::new();
    let mut stretch = Stretch::new();
    for speed in [0.0, f32::NAN, f32::INFINITY, -1.0, 1e9, 0.85] {
        for length in [0, 1, 7, 120, 240, 480] {
            stretch.run(&tone(440.0, 0, length), speed, &mut out);
        }
    }
    assert!(out.iter().flatten().all(|sample| sample.abs() <= 1.0));
}
