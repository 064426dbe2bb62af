use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use super::codec::{check, vp8, vp9};
use super::*;

fn ffmpeg(arguments: &str, out: &Path) -> Clip {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(out)
        .status()
        .unwrap();
    assert!(made.success());
    Clip::open(out).unwrap()
}

fn picture(codec: &str) -> Clip {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc=size=320x180:rate=30 -t 2 -g 15 -deadline realtime";
    let arguments = format!("{source} -cpu-used 8 -c:v {codec}");
    ffmpeg(&arguments, &dir.path().join("clip.ivf"))
}

fn sound() -> Clip {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 2 -c:a libopus";
    ffmpeg(arguments, &dir.path().join("clip.ogg"))
}

#[test]
fn reads_what_ffmpeg_makes() {
    for (name, codec, read) in [
        ("libvpx", "vp8", vp8 as fn(&[u8]) -> _),
        ("libvpx-vp9", "vp09.00.31.08", vp9),
    ] {
        let clip = picture(name);
        assert_eq!(clip.codec, codec);
        let (width, height) = (320, 180);
        assert_eq!(clip.format, Format::Video { width, height });
        let off = clip.length.abs_diff(Duration::from_secs(2));
        assert!(off < Duration::from_micros(10), "{name}: {off:?}");
        let keys = clip.chunks.iter().enumerate().filter(|(_, it)| it.key);
        let keys: Vec<_> = keys.map(|(place, _)| place).collect();
        assert_eq!(keys, [0, 15, 30, 45], "{name}");
        for place in keys {
            let facts = read(&clip.chunks[place].bytes).unwrap();
            assert_eq!(facts.size, Some((320, 180)), "{name}");
        }
    }
    let clip = sound();
    assert_eq!(clip.codec, "opus");
    assert!((2000..2100).contains(&clip.length.as_millis()), "{clip:?}");
    assert!(clip.chunks.iter().all(|it| it.key));
    assert_eq!(clip.chunks[1].at, Duration::from_millis(20));
}

#[test]
fn plays_in_a_loop_without_a_jump_and_skips_to_key_frames() {
    let clip = Arc::new(picture("libvpx"));
    let mut playback = Playback::new(Arc::clone(&clip));
    for n in 0..150_u32 {
        let due = playback.due();
        let expected = Duration::from_secs(2) * n / 60;
        assert!(
            due.abs_diff(expected) < Duration::from_micros(100),
            "{n}: {due:?}"
        );
        assert_eq!(*playback.take(), clip.chunks[n as usize % 60]);
    }
    // At 30 now: a key frame, so there is nothing to skip.
    playback.skip_to_key();
    assert_eq!(*playback.take(), clip.chunks[30]);
    let due = playback.due();
    playback.skip_to_key();
    assert_eq!(playback.due(), due);
    assert_eq!(*playback.take(), clip.chunks[45]);
    playback.skip_to_key();
    assert_eq!(*playback.take(), clip.chunks[0]);
    let due = playback.due();
    playback.skip_to_key();
    assert_eq!(*playback.take_early(), clip.chunks[15]);
    assert_eq!(playback.due(), due);
    assert_eq!(*playback.take(), clip.chunks[16]);
}

#[test]
fn a_cut_file_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.ivf");
    let arguments = "-f lavfi -i testsrc=size=64x64:rate=30 -t 0.1 -c:v libvpx";
    ffmpeg(arguments, &path);
    let whole = std::fs::read(&path).unwrap();
    for end in 0..whole.len() {
        // Some cuts fall between two frames.
        if let Err(error) = Clip::read(Bytes::copy_from_slice(&whole[..end])) {
            assert!(!error.to_string().is_empty());
        }
    }
    assert!(matches!(
        Clip::read(Bytes::from_static(b"RIFF")),
        Err(ClipError::UnknownContainer)
    ));
}

proptest! {
    #[test]
    fn any_bytes_have_an_outcome(kind in 0..3_usize, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let fronts: [&[u8]; 3] = [b"DKIF\0\0\x20\0VP80", b"OggS\0\x02\0\0\0\0\0\0\0\0\0", b""];
        let bytes = [fronts[kind], &tail].concat();
        let _ = Clip::read(Bytes::from(bytes.clone()));
        for codec in ["vp8", "vp09.00.31.08", "opus", "av01"] {
            let _ = check(codec, &bytes);
        }
    }
}
