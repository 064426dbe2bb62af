use std::time::Duration;

use darktower_media::Bitrate;

use super::*;

fn run(camera: &mut Camera, seconds: u32) -> Vec<Picture> {
    let every = camera.every();
    (0..30 * seconds)
        .flat_map(|n| camera.picture(every * n))
        .collect()
}

#[test]
fn a_layer_keeps_its_target_key_frames_included() {
    let mut camera = Camera::new(&camera_shape(), 3);
    for second in 0..10 {
        let of_layer = |frames: &[Picture], layer| -> usize {
            let frames = frames.iter().filter(|one| one.layer == layer);
            frames.map(|one| one.chunk.len()).sum()
        };
        camera.key_frame(2);
        let frames = run(&mut camera, 2);
        let bps = of_layer(&frames, 2) * 8 / 2;
        let target = 1_700_000;
        assert!(
            (target * 85 / 100..target * 115 / 100).contains(&bps),
            "second {second}: {bps}"
        );
    }
}

#[test]
fn a_paused_layer_makes_nothing_and_resumes_with_a_key_frame() {
    let mut camera = Camera::new(&camera_shape(), 3);
    run(&mut camera, 1);
    camera.encode(2, None);
    assert!(run(&mut camera, 1).iter().all(|one| one.layer < 2));
    camera.encode(2, Some(Bitrate::from_kbps(900)));
    let frames = run(&mut camera, 1);
    let first = frames.iter().find(|one| one.layer == 2).unwrap();
    assert!(first.key);
}

#[test]
fn temporal_layers_follow_their_pattern() {
    let mut camera = Camera::new(&camera_shape(), 3);
    let frames = run(&mut camera, 1);
    let top: Vec<_> = frames.iter().filter(|one| one.layer == 2).collect();
    let order: Vec<_> = top.iter().take(8).map(|one| one.temporal).collect();
    assert_eq!(order, [0, 2, 1, 2, 0, 2, 1, 2]);
}

#[test]
fn a_chunk_says_which_it_is() {
    let mark = Mark {
        counter: 7,
        captured: Duration::from_micros(1234),
    };
    assert_eq!(Mark::of(&mark.chunk(100)), Some(mark));
    assert_eq!(mark.chunk(3).len(), MARK);
    assert_eq!(Mark::of(&[1, 2, 3]), None);
}

#[test]
fn a_voice_is_heard_from_when_it_speaks() {
    let seconds = Duration::from_secs;
    let mut mic = Microphone::new(vec![(seconds(1), Some(20)), (seconds(2), None)]);
    assert!(!mic.packet(seconds(0), seconds(9)).1.voice);
    assert_eq!(mic.packet(seconds(1), seconds(9)).1.minus_dbov, 20);
    assert!(!mic.packet(seconds(3), seconds(9)).1.voice);
}
