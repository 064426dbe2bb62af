//! A `darktower` process behind relays.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use darktower_client::file::Clip;
use darktower_link::Conditions;
use darktower_link::relay::{Config, Relay};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// From the start of the process to its word that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The whole system as a participant meets it: everything goes through a relay.
pub struct System {
    http: Relay,
    signal: Relay,
    media: Relay,
    media_to: SocketAddr,
    /// Killed when dropped.
    process: Child,
    dir: TempDir,
}

impl System {
    /// Starts the program at `darktower` with all three services.
    pub async fn start(darktower: &Path) -> anyhow::Result<Self> {
        Self::start_in(darktower, &[]).await
    }

    /// The same with more variables in its environment.
    pub async fn start_in(darktower: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (signal_to, media_to) = (free_udp()?, free_udp()?);
        let signal = Relay::start(Config::new(signal_to))?;
        let media = Relay::start(Config::new(media_to))?;
        let settings = settings(
            dir.path(),
            (signal_to, signal.addr()),
            (media_to, media.addr()),
        );
        let file = dir.path().join("darktower.toml");
        std::fs::write(&file, settings)?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut process = Command::new(darktower)
            .current_dir(dir.path())
            .env("DARKTOWER_CONFIG", &file)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", darktower.display()))?;
        let out = process.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let port = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(port) = line.strip_prefix("open http://localhost:") {
                    return Ok(port.trim_end_matches('/').parse::<u16>()?);
                }
            }
            let log = std::fs::read_to_string(dir.path().join("log"))?;
            bail!("darktower stopped before it was ready: {log}")
        };
        let port = timeout(READY_WITHIN, port).await;
        let port = port.context("darktower was not ready in time")??;
        // A full pipe would stop the process.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let http = Relay::start(Config::new(SocketAddr::from(([127, 0, 0, 1], port))))?;
        Ok(Self {
            http,
            signal,
            media,
            media_to,
            process,
            dir,
        })
    }

    /// Base URL of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.http.addr())
    }

    /// Where the media handler listens, behind all relays.
    pub fn media(&self) -> SocketAddr {
        self.media_to
    }

    /// From now on every way has this round-trip time.
    pub fn set_round_trip(&self, rtt: Duration) -> anyhow::Result<()> {
        let half = Conditions::delayed(rtt / 2);
        for relay in [&self.http, &self.signal, &self.media] {
            relay.set(half, half)?;
        }
        Ok(())
    }

    /// 640x360 VP8 at 30 frames a second with a key frame each second, made by ffmpeg.
    pub async fn camera(&self) -> anyhow::Result<Arc<Clip>> {
        let path = self.dir.path().join("camera.ivf");
        let arguments = "-hide_banner -loglevel error -y -f lavfi -i testsrc=size=640x360:rate=30 \
                         -t 4 -c:v libvpx -b:v 700k -g 30 -deadline realtime -cpu-used 8";
        let made = Command::new("ffmpeg")
            .args(arguments.split_whitespace())
            .arg(&path)
            .stdin(Stdio::null())
            .status()
            .await
            .context("cannot start ffmpeg")?;
        anyhow::ensure!(made.success(), "ffmpeg failed: {made}");
        Ok(Arc::new(Clip::open(&path)?))
    }

    /// Ends the process, at once: nothing is measured about that.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("cannot stop darktower")
    }
}

/// The `darktower` beside the running program, unless `DARKTOWER_BIN` names another.
pub fn default_program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("DARKTOWER_BIN") {
        return Ok(path.into());
    }
    Ok(std::env::current_exe()?.with_file_name("darktower"))
}

/// A port that was free a moment ago: services must know theirs before they tell it to anybody.
fn free_udp() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?)
}

type Way = (SocketAddr, SocketAddr);

fn settings(dir: &Path, (signal, to_signal): Way, (media, to_media): Way) -> String {
    let data = dir.join("data");
    let many = "lookups_per_second = 10000\nlookup_burst = 10000\n\
                creations_per_second = 1000\ncreation_burst = 1000";
    format!(
        "[node]\ndata_dir = {data:?}\n\
         [global]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n{many}\n\
         [meeting]\nlisten = \"{signal}\"\npublic_url = \"https://{to_signal}/v1/signal\"\n\
         [media]\nlisten = \"{media}\"\npublic_url = \"https://{to_media}/v1/media\"\n"
    )
}
