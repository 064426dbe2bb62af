//! What participants film and say: a clip that a browser can decode, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::file::{Clip, Playback};
use darktower_client::{AudioLevel, Chunk, Track};
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

/// The small layer of a browser's camera, as many receivers on few processors take it; a key frame each two seconds in any
/// case.
const PICTURES: &str = "-f lavfi -i testsrc=size=320x180:rate=30:duration=4 \
    -c:v libvpx -deadline realtime -cpu-used 8 -b:v 150k -g 60 -f ivf";
/// One tone, as long.
const SOUND: &str =
    "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=4 -c:a libopus -b:a 24k -f ogg";
/// Everybody who speaks does so at this level.
const LOUD: AudioLevel = AudioLevel {
    minus_dbov: 30,
    voice: true,
};

/// Where there are hundreds of participants: what a slow share of a screen costs.
const FEW_PICTURES: &str = "-f lavfi -i testsrc=size=320x180:rate=10:duration=4 \
    -c:v libvpx -deadline realtime -cpu-used 8 -b:v 50k -g 20 -f ivf";

const CAMERA: &str = "camera.ivf";

/// Of the loudest three all are heard.
const SPEAKERS: usize = 2;

/// A camera and a microphone, and how many of a meeting have one.
#[derive(Debug, Clone)]
pub(crate) struct Devices {
    pub(crate) camera: Arc<Clip>,
    pub(crate) microphone: Arc<Clip>,
    pub(crate) films: usize,
    pub(crate) speaks: usize,
    /// Where the clips are.
    directory: Arc<TempDir>,
}

impl Devices {
    /// Everybody films, and two speak.
    pub(crate) fn make() -> anyhow::Result<Self> {
        Self::encoded(PICTURES, usize::MAX, SPEAKERS)
    }

    /// One films.
    pub(crate) fn of_many() -> anyhow::Result<Self> {
        Self::encoded(FEW_PICTURES, 1, 0)
    }

    fn encoded(pictures: &str, films: usize, speaks: usize) -> anyhow::Result<Self> {
        let directory = TempDir::new().context("a directory")?;
        let clip = |how: &str, name: &str| encoded(how, &directory.path().join(name));
        Ok(Self {
            camera: clip(pictures, CAMERA)?,
            microphone: clip(SOUND, "microphone.ogg")?,
            films,
            speaks,
            directory: Arc::new(directory),
        })
    }

    /// What the camera sees, for another process.
    pub(crate) fn camera_file(&self) -> PathBuf {
        self.directory.path().join(CAMERA)
    }
}

/// By ffmpeg.
fn encoded(how: &str, to: &Path) -> anyhow::Result<Arc<Clip>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "error"]);
    let done = ffmpeg.args(how.split_whitespace()).arg(to).status();
    let done = done.context("ffmpeg does not start: `make setup` installs it")?;
    anyhow::ensure!(done.success(), "ffmpeg made no {}", to.display());
    Ok(Arc::new(Clip::open(to)?))
}

/// Says what is in the clip, over and over, from `from` on.
pub(crate) async fn speak(track: Track, clip: Arc<Clip>, from: Duration) {
    let mut playback = Playback::new(clip);
    loop {
        let due = from + playback.due();
        sleep_until(Instant::now() + due.saturating_sub(track.client().now())).await;
        let sent = track.send(Chunk {
            bytes: playback.take().bytes.clone(),
            key: true,
            layer: 0,
            temporal: 0,
            captured: due,
            level: Some(LOUD),
        });
        if sent.await.is_err() {
            return;
        }
    }
}
