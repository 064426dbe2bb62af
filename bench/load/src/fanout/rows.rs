//! The rows: who is there, for how long, and what is made of it.

use std::path::PathBuf;
use std::time::Duration;

use darktower_media::Kind;

use super::abuse::{Abuse, BadInput};
use super::floor::{self, Floor};
use super::process::Settings;
use super::row::{About, Cores, Crowd, Idle, Row, Soak};
use super::scene::{self, AUDIO_BYTES, Meeting, Steering, TILE_BYTES, VIDEO_BYTES};
use super::stage::{Client, Measured, Stage};

/// Before a measurement: congestion windows open, caches fill, MTU discovery ends.
const WARM: Duration = Duration::from_secs(3);
/// After more have joined.
const SETTLE: Duration = Duration::from_millis(1500);
/// For each of the two floor probes around a row.
const PROBE: Duration = Duration::from_secs(2);
/// A step of the filling holds when this share came, and no later than [`HELD_MS`].
const HELD: f64 = 0.9995;
const HELD_MS: f64 = 250.0;
/// Busy beyond this is full.
const FULL: f64 = 0.95;
/// Busy beyond this, and overrun by what joined last.
const NEARLY_FULL: f64 = 0.85;
/// Steps of the filling; each takes some seconds.
const MOST_STEPS: usize = 12;
const PEOPLE: u32 = 10;
/// Where a core's part is filled: meetings of ten are a third of it.
const FEW: u32 = 4;
/// A handler is patient with one who sends too much for ten seconds: what comes then is seen, too.
const ABUSE: Duration = Duration::from_secs(15);
/// Of a machine of few cores the load needs most.
const CORE_PER_SHARD: f64 = 0.35;
/// Between two lines about a soak.
const STRETCH: Duration = Duration::from_secs(10);

/// How rows are run.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The program.
    pub program: PathBuf,
    /// How long each row is measured.
    pub time: Duration,
    /// Threads that forward; `None`: what the program takes by itself.
    pub shards: Option<usize>,
    /// Load threads.
    pub threads: usize,
    /// Who says what a subscriber of `lastn-150x150` gets.
    pub steering: Steering,
    /// Says what is going on.
    pub progress: fn(&str),
}

impl Bench {
    async fn stage(&self, settings: &Settings, sessions: usize) -> anyhow::Result<Stage> {
        let client = Client {
            threads: self.threads,
            sessions,
        };
        Stage::open(&self.program, settings, client).await
    }

    fn settings(&self) -> Settings {
        Settings {
            shards: self.shards,
            cores: None,
        }
    }

    fn floor(&self, bytes: usize) -> anyhow::Result<Floor> {
        let floor = floor::probe(bytes, PROBE)?;
        (self.progress)(&format!(
            "floor: {:.2} us for {bytes} B in {} packets",
            floor.us_per_frame, floor.packets
        ));
        Ok(floor)
    }

    /// One meeting with a fixed cast.
    async fn fixed(
        &self,
        row: &'static str,
        meeting: Meeting,
        (kind, bytes): (Kind, usize),
        moves: bool,
    ) -> anyhow::Result<Row> {
        let sessions = meeting.members.len();
        let before = self.floor(bytes)?;
        let mut stage = self.stage(&self.settings(), sessions).await?;
        stage.enter(std::slice::from_ref(&meeting)).await?;
        (self.progress)(&format!("{row}: {sessions} sessions are open"));
        stage.play()?;
        let moving = moves.then_some(&meeting);
        stage.warm(WARM, moving).await?;
        let measured = stage.measure(self.time, moving).await?;
        if measured.faults.ended > 0 {
            let (ended, why) = (measured.faults.ended, &measured.endings);
            (self.progress)(&format!("{row}: {ended} sessions ended: {why:?}"));
        }
        stage.close().await?;
        let floor = between(before, self.floor(bytes)?);
        let about = About {
            row,
            kind,
            shards: self.shards,
            meetings: 1,
            sessions,
        };
        Ok(Row::new(about, &measured, floor))
    }

    /// One camera for 100.
    pub async fn video(&self) -> anyhow::Result<Row> {
        let meeting = scene::video_to_many(1, 100);
        let what = (Kind::Video, VIDEO_BYTES);
        self.fixed("video-1x100", meeting, what, false).await
    }

    /// One microphone for 1,000.
    pub async fn audio(&self) -> anyhow::Result<Row> {
        let meeting = scene::audio_to_many(1, 1000);
        let what = (Kind::Audio, AUDIO_BYTES);
        self.fixed("audio-1x1000", meeting, what, false).await
    }

    /// 150 who all send a tile; each gets 25 at a time.
    pub async fn last_n(&self) -> anyhow::Result<Row> {
        let meeting = scene::last_n(1, 150, 25, self.steering);
        let what = (Kind::Video, TILE_BYTES);
        self.fixed("lastn-150x150", meeting, what, true).await
    }

    /// Ten-way meetings until the server's cores are full.
    pub async fn ten_way(&self, together: bool) -> anyhow::Result<Row> {
        let row = match together {
            true => "ten-way-together",
            false => "ten-way",
        };
        let before = self.floor(VIDEO_BYTES)?;
        let settings = self.settings();
        let filling = self.fill(row, &settings, PEOPLE, together).await?;
        let floor = between(before, self.floor(VIDEO_BYTES)?);
        let about = About {
            row,
            kind: Kind::Video,
            shards: self.shards,
            meetings: filling.meetings,
            sessions: filling.meetings * PEOPLE as usize,
        };
        let row = Row::new(about, &filling.full, floor);
        Ok(row.filled(filling.limit, &filling.at_70, filling.broken))
    }

    /// Meetings of four until it is full, with one shard and with two, each of which may have the same part of a core.
    pub async fn cores(&self) -> anyhow::Result<[Cores; 2]> {
        let settings = |shards: usize| Settings {
            shards: Some(shards),
            cores: Some(shards as f64 * CORE_PER_SHARD),
        };
        let one = self.fill("cores", &settings(1), FEW, false).await?;
        let one = Cores::new(1, &one.full, one.limit, None);
        let two = self.fill("cores", &settings(2), FEW, false).await?;
        let two = Cores::new(2, &two.full, two.limit, Some(&one));
        Ok([one, two])
    }

    async fn fill(
        &self,
        row: &str,
        settings: &Settings,
        people: u32,
        together: bool,
    ) -> anyhow::Result<Filling> {
        let all = std::thread::available_parallelism()?.get();
        let shards = settings.shards.unwrap_or(all).min(all) as f64;
        let room = settings.cores.unwrap_or(shards);
        let mut stage = self.stage(settings, 400).await?;
        let (mut there, mut wanted) = (0_u32, 2_u32);
        let mut held: Vec<(u32, Measured)> = Vec::new();
        let mut broken = None;
        let mut limit = "steps";
        for _ in 0..MOST_STEPS {
            let new: Vec<_> = (there..wanted)
                .map(|number| scene::everybody(number, people, together))
                .collect();
            stage.enter(&new).await?;
            there = wanted;
            stage.play()?;
            stage.warm(SETTLE, None).await?;
            let measured = stage.measure(self.time / 2, None).await?;
            let (share, client) = (measured.cores() / room, measured.client_cores());
            let delivered = measured.tally.delivered().unwrap_or(0.0);
            let p99 = measured.tally.video.delays.quantile_ms(0.99);
            (self.progress)(&format!(
                "{row}: {there} meetings: server {:.2} cores, client {client:.2}, {:.2} us a video frame, \
                 delivered {delivered:.5}, p99 {:.1} ms, {} held back, narrowest path {} kbit/s",
                measured.cores(),
                measured.us_per(measured.whole[0]),
                p99.unwrap_or(f64::NAN),
                measured.held_back,
                measured.narrowest_bps.map_or(0, |bps| bps / 1000),
            ));
            let ended = measured.faults.ended > 0;
            if ended || delivered < HELD || p99.is_none_or(|ms| ms > HELD_MS) {
                broken = Some(there as usize);
                // Where nothing holds, the row says how far it is from that.
                if held.is_empty() {
                    held.push((there, measured));
                }
                limit = match () {
                    () if client > FULL * self.threads as f64 => "client",
                    () if share > NEARLY_FULL => "server",
                    // Nobody was busy, and yet it did not hold: somebody else had the cores.
                    () => "machine",
                };
                break;
            }
            held.push((there, measured));
            if client > FULL * self.threads as f64 {
                limit = "client";
                break;
            }
            if share > FULL {
                limit = "server";
                break;
            }
            wanted = next(there, share);
        }
        stage.close().await?;
        let off = |(_, it): &&(u32, Measured)| (it.cores() / room - 0.7).abs();
        let at_70 = held.iter().min_by(|a, b| off(a).total_cmp(&off(b)));
        let nothing = || anyhow::anyhow!("not even two meetings hold");
        let at_70 = at_70.ok_or_else(nothing)?.1.clone();
        let (meetings, full) = held.pop().ok_or_else(nothing)?;
        Ok(Filling {
            meetings: meetings as usize,
            full,
            at_70,
            limit,
            broken,
        })
    }

    /// Ten who meet, before one more misbehaves and meanwhile.
    pub async fn bad_input(&self, what: Abuse) -> anyhow::Result<BadInput> {
        let meeting = scene::with_abuser(1, what);
        let client = Client {
            threads: self.threads + 1,
            sessions: meeting.members.len(),
        };
        let mut stage = Stage::open(&self.program, &self.settings(), client).await?;
        stage.enter(std::slice::from_ref(&meeting)).await?;
        stage.play()?;
        stage.warm(WARM, None).await?;
        let before = stage.measure(self.time, None).await?;
        stage.abuse(true)?;
        let meanwhile = stage.measure(ABUSE, None).await;
        // Where a load thread has failed, its own word for it comes first.
        stage.close().await?;
        Ok(BadInput::new(what, &before, &meanwhile?))
    }

    /// Sessions that wait for something to happen.
    pub async fn idle(&self, sessions: u32) -> anyhow::Result<Idle> {
        let mut stage = self.stage(&self.settings(), sessions as usize).await?;
        stage.enter(&[scene::idle(1, sessions)]).await?;
        stage.warm(WARM, None).await?;
        let measured = stage.measure(self.time, None).await?;
        let kb = stage.kb_per_session()?;
        stage.close().await?;
        Ok(Idle::new(sessions as usize, kb, measured.cores()))
    }

    /// More than 1,000 streams for `time`.
    pub async fn soak(&self, time: Duration) -> anyhow::Result<Soak> {
        let meetings: Vec<_> = (0..84).map(|n| scene::everybody(n, 3, false)).collect();
        let members = || meetings.iter().flat_map(|meeting| &meeting.members);
        let tracks = || members().flat_map(|member| &member.tracks);
        let crowd = Crowd {
            streams: tracks().map(|track| track.audience as usize).sum(),
            tracks: tracks().count(),
            sessions: members().count(),
        };
        let mut stage = self.stage(&self.settings(), crowd.sessions).await?;
        stage.enter(&meetings).await?;
        stage.play()?;
        stage.warm(WARM, None).await?;
        let mut stretches: Vec<Measured> = Vec::new();
        let mut left = time;
        while !left.is_zero() {
            let now = left.min(STRETCH);
            left -= now;
            let measured = stage.measure(now, None).await?;
            (self.progress)(&format!(
                "soak: {} streams, {} s left, {:.2} cores, {} frames missing, {} kB resident",
                crowd.streams,
                left.as_secs(),
                measured.cores(),
                measured.tally.missing(),
                measured.resident_kb,
            ));
            stretches.push(measured);
        }
        stage.close().await?;
        Ok(Soak::new(crowd, &stretches))
    }
}

struct Filling {
    meetings: usize,
    full: Measured,
    /// Where the server was nearest to 70 % of what it may use.
    at_70: Measured,
    /// What ended the filling.
    limit: &'static str,
    /// Meetings at which it no longer held.
    broken: Option<usize>,
}

/// To 70 % first, where the delay is asked for, then to the brim.
fn next(there: u32, share: f64) -> u32 {
    let aim = match share < 0.62 {
        true => 0.7,
        false => 1.0,
    };
    let wanted = (f64::from(there) * aim / share.max(0.01)).round() as u32;
    wanted.clamp(there + 1, there * 3)
}

fn between(before: Floor, after: Floor) -> Floor {
    Floor {
        us_per_frame: (before.us_per_frame + after.us_per_frame) / 2.0,
        frames: before.frames + after.frames,
        packets: before.packets,
    }
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn filling_aims_at_70_percent_and_then_at_the_brim() {
        assert_eq!(next(2, 0.1), 6, "not more than three times as many");
        assert_eq!(next(6, 0.3), 14);
        assert_eq!(next(14, 0.7), 20);
        assert_eq!(next(20, 0.99), 21);
    }
}
