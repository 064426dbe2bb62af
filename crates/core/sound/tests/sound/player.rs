//! What is heard of a track, sample by sample.

use std::time::Duration;

use darktower_sound::mixer::Mixer;
use darktower_sound::player::{Heading, Player};
use darktower_sound::playout::Report;
use darktower_sound::{RATE, Sample};

use crate::script::{Arrival, Path, speech};
use crate::signal::{loudness, pitch, steepest, tone};

const QUANTUM: usize = 128;
const PACKET: usize = 960;

/// Plays packets of a tone as they arrive, in quanta of the audio thread.
fn play(arrivals: &[Arrival], hz: f64) -> (Vec<Sample>, Report) {
    let mut player = Player::new();
    let (from, to) = (arrivals[0].0, arrivals[arrivals.len() - 1].0);
    let mut out = vec![[0.0; 2]; ((to - from).as_secs_f64() * f64::from(RATE)) as usize];
    let mut next = arrivals.iter().peekable();
    let mut now = from;
    for (at, quantum) in out.chunks_mut(QUANTUM).enumerate() {
        now = from + Duration::from_nanos((at * QUANTUM) as u64 * 1_000_000_000 / u64::from(RATE));
        while let Some((at, one)) = next.next_if(|(at, _)| *at <= now) {
            let heading = Heading {
                number: one.number,
                capture_us: one.capture_us,
                rest: one.rest,
            };
            let sound = tone(hz, one.number as usize * PACKET, PACKET);
            player.push(*at, heading, sound);
        }
        player.pull(now, quantum);
    }
    (out, player.report(now))
}

/// A tone of half of full scale is as steep as this, and a cross-fade not much more.
fn no_click(hz: f64) -> f32 {
    (0.5 * hz * std::f64::consts::TAU / f64::from(RATE)) as f32 * 1.5 + 0.01
}

#[test]
fn an_even_flow_is_heard_as_it_was() {
    let (out, report) = play(&Path::default().carry(&speech(5)), 440.0);
    assert_eq!(report.concealed_us, 0);
    let middle = &out[RATE as usize..4 * RATE as usize];
    assert!((pitch(middle) - 440.0).abs() < 1.0);
    assert!((loudness(middle) - 0.3536).abs() < 0.001);
    assert!(steepest(&out) < no_click(440.0), "{}", steepest(&out));
}

#[test]
fn lost_packets_of_a_tone_neither_click_nor_change_its_pitch() {
    for (loss, redundancy) in [(0.01, 0), (0.05, 0), (0.1, 0), (0.2, 0), (0.2, 2)] {
        let path = Path {
            loss,
            redundancy,
            ..Path::default()
        };
        let (out, report) = play(&path.carry(&speech(20)), 220.0);
        let says = format!("loss {loss}: {}, {report:?}", steepest(&out));
        assert!(steepest(&out) < no_click(220.0), "{says}");
        let middle = &out[RATE as usize..19 * RATE as usize];
        assert!((pitch(middle) - 220.0).abs() < 6.0, "{says}");
        assert!(loudness(middle) > 0.28, "{says}");
    }
}

#[test]
fn jitter_is_played_without_clicks_at_the_same_pitch() {
    let path = Path {
        jitter_us: 60_000.0,
        ..Path::default()
    };
    let (out, report) = play(&path.carry(&speech(20)), 440.0);
    assert!(report.stretched > 10, "{report:?}");
    assert!(steepest(&out) < no_click(440.0), "{}", steepest(&out));
    assert!((pitch(&out[RATE as usize..19 * RATE as usize]) - 440.0).abs() < 5.0);
}

#[test]
fn what_is_missing_for_long_fades_to_silence() {
    let path = Path {
        stall: Some((2_000_000, 500_000)),
        ..Path::default()
    };
    let (out, _) = play(&path.carry(&speech(4)), 440.0);
    let quiet = out
        .chunks(RATE as usize / 10)
        .filter(|part| loudness(part) < 1e-4);
    assert!(quiet.count() >= 3);
    assert!(steepest(&out) < no_click(440.0), "{}", steepest(&out));
}

#[test]
fn a_pause_sounds_like_the_room_it_is_in() {
    let mut player = Player::new();
    let room = |number: u64| -> Vec<Sample> {
        let noise = crate::signal::noise(number, 0.003, PACKET);
        noise.into_iter().map(|sample| [sample; 2]).collect()
    };
    let at = Duration::from_millis;
    for n in 0..100 {
        let heading = Heading {
            number: n,
            capture_us: n * 20_000,
            rest: n >= 97,
        };
        player.push(at(n * 20), heading, room(n));
        player.pull(at(n * 20), &mut [[0.0; 2]; PACKET]);
    }
    let mut pause = vec![[0.0; 2]; RATE as usize];
    player.pull(at(2000), &mut pause);
    for part in pause.chunks(RATE as usize / 10) {
        let loud = loudness(part) / loudness(&room(0));
        assert!(
            (0.7..1.3).contains(&loud),
            "{loud} times as loud as the room"
        );
    }
    assert_eq!(player.report(at(3000)).concealed_us, 0);
}

#[test]
fn several_voices_add_up_and_never_exceed_full_scale() {
    let mut mixer = Mixer::new();
    for track in [3, 1, 2] {
        for n in 0..4 {
            let heading = Heading {
                number: n,
                capture_us: n * 20_000,
                rest: false,
            };
            let loud = vec![[0.9, -0.9]; PACKET];
            assert!(mixer.push(Duration::ZERO, track, heading, loud));
        }
    }
    let mut out = vec![[0.0; 2]; 4 * PACKET];
    mixer.mix(Duration::from_millis(40), &mut out);
    let (mut least, mut most) = (0f32, 0f32);
    for [left, right] in &out {
        most = most.max(*left);
        least = least.min(*right);
    }
    assert!((0.9..=1.0).contains(&most), "{most}");
    assert!((-1.0..=-0.9).contains(&least), "{least}");
    mixer.forget(1);
    let tracks: Vec<u32> = mixer
        .reports(Duration::ZERO)
        .map(|(track, _)| track)
        .collect();
    assert_eq!(tracks, [2, 3]);
}
