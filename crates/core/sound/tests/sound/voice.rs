//! What is taken for a voice.

use darktower_sound::RATE;
use darktower_sound::level::minus_dbov;
use darktower_sound::voice::{Detector, Heard};

use crate::signal;

const PACKET: usize = 960;

fn listen(detector: &mut Detector, samples: &[f32]) -> Vec<Heard> {
    let packets = samples.chunks_exact(PACKET);
    packets.map(|packet| detector.take(packet)).collect()
}

/// Share of packets taken for a voice, of those from `from` on.
fn voiced(heard: &[Heard], from: usize) -> f64 {
    let count = heard[from..].iter().filter(|one| one.voice).count();
    count as f64 / heard[from..].len() as f64
}

fn mix(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(a, b)| a + b).collect()
}

#[test]
fn the_level_is_that_of_rfc_6464() {
    assert_eq!(minus_dbov(&[0.0; PACKET]), 127);
    assert_eq!(minus_dbov(&[1.0; PACKET]), 0);
    assert_eq!(minus_dbov(&[]), 127);
    assert_eq!(minus_dbov(&[f32::NAN; 10]), 127);
    assert_eq!(minus_dbov(&[1e9; 10]), 0);
    let sine: Vec<f32> = (0..PACKET).map(|n| (n as f32 / 5.0).sin()).collect();
    assert_eq!(minus_dbov(&sine), 3);
}

#[test]
fn voices_high_and_low_near_and_far_are_heard() {
    for pitch in [85.0, 120.0, 210.0, 300.0] {
        for amplitude in [1.0, 0.1, 0.03] {
            let speech = signal::voice(pitch, amplitude, 10.0);
            let room = signal::noise(1, 0.0005, speech.len());
            let heard = listen(&mut Detector::new(), &mix(&speech, &room));
            // Four fifths of the time words are spoken, and the flag outlasts them.
            let share = voiced(&heard, 0);
            assert!(
                share > 0.75,
                "{pitch} Hz at {amplitude}: {share} of the time"
            );
        }
    }
}

#[test]
fn a_word_opens_at_once_and_the_flag_ends_after_it() {
    let mut detector = Detector::new();
    listen(&mut detector, &signal::noise(1, 0.0005, 3 * RATE as usize));
    let speech = signal::voice(120.0, 0.3, 2.5);
    let room = signal::noise(2, 0.0005, speech.len());
    let heard = listen(&mut detector, &mix(&speech, &room));
    let stands_out = heard.iter().position(|one| one.stands_out);
    let voice = heard.iter().position(|one| one.voice);
    assert!(
        stands_out.is_some_and(|at| at <= 3),
        "stands out at {stands_out:?}"
    );
    assert!(voice.is_some_and(|at| at <= 6), "a voice at {voice:?}");
    assert!(!heard[heard.len() - 1].voice);
}

#[test]
fn noise_hum_and_clicks_are_no_voices() {
    let seconds = 10 * RATE as usize;
    let hum: Vec<f32> = (0..seconds)
        .map(|n| 0.02 * (n as f32 * 100.0 * std::f32::consts::TAU / RATE as f32).sin())
        .collect();
    let mut clicks = signal::noise(3, 0.0005, seconds);
    for at in (0..seconds).step_by(RATE as usize / 3) {
        for (sample, click) in clicks[at..].iter_mut().zip(signal::noise(4, 0.3, 300)) {
            *sample += click;
        }
    }
    let cases = [
        ("a quiet room", signal::noise(1, 0.0005, seconds), 0.0),
        ("a fan", signal::noise(2, 0.01, seconds), 0.0),
        ("hum", mix(&hum, &signal::noise(1, 0.0005, seconds)), 0.0),
        ("typing", clicks, 0.05),
        ("nothing at all", vec![0.0; seconds], 0.0),
    ];
    for (name, samples, most) in cases {
        let heard = listen(&mut Detector::new(), &samples);
        // Three seconds to get to know a room.
        let share = voiced(&heard, 150);
        assert!(share <= most, "{name} is a voice {share} of the time");
    }
}

#[test]
fn a_voice_beside_a_fan_is_heard() {
    let speech = signal::voice(120.0, 0.5, 15.0);
    let fan = signal::noise(2, 0.005, speech.len());
    let mut detector = Detector::new();
    listen(&mut detector, &fan[..3 * RATE as usize]);
    let share = voiced(&listen(&mut detector, &mix(&speech, &fan)), 0);
    assert!(share > 0.7, "{share} of the time");
}

#[test]
fn a_tone_is_a_voice_while_it_swells_and_not_for_long_while_it_is_steady() {
    let tone = signal::tone(440.0, 0, 60 * RATE as usize);
    let swell = |n: usize| 0.6 - 0.4 * (n as f32 * 4.0 * std::f32::consts::TAU / RATE as f32).cos();
    let swelling: Vec<f32> = (0..tone.len()).map(|n| tone[n][0] * swell(n)).collect();
    assert!(voiced(&listen(&mut Detector::new(), &swelling), 10) > 0.99);
    let steady: Vec<f32> = tone.iter().map(|sample| sample[0]).collect();
    assert_eq!(voiced(&listen(&mut Detector::new(), &steady), 500), 0.0);
}
