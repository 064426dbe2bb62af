//! What is said of a measurement: one line for people, one JSON line for `bench/results`.

use std::fmt;

use darktower_media::Kind;
use serde::Serialize;

use super::floor::Floor;
use super::stage::Measured;
use super::tally::Delays;

fn rounded(value: f64, digits: i32) -> f64 {
    let by = 10_f64.powi(digits);
    (value * by).round() / by
}

/// A row about forwarding.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    bench: &'static str,
    row: &'static str,
    /// CPU of the serving process per frame that a subscriber got whole: per video frame where there is video (what
    /// audio costs is in it), else per audio frame.
    pub us_per_frame: f64,
    floor_us: f64,
    ratio: f64,
    /// Got of what should have come, each frame once.
    pub delivered: f64,
    delay_p50_ms: Option<f64>,
    /// Of 100 frames, 99 were no later.
    pub delay_p99_ms: Option<f64>,
    kb_per_subscriber: f64,
    shards: Option<usize>,
    meetings: usize,
    sessions: usize,
    seconds: f64,
    frames_per_second: f64,
    /// Cores the serving process kept busy.
    pub cores: f64,
    waited_cores: f64,
    client_cores: f64,
    missing: u64,
    repeated: u64,
    broken: u64,
    gaps: u64,
    resets: u64,
    ended: u64,
    unsent: u64,
    held_back: u64,
    narrowest_kbps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_delay_p99_ms: Option<f64>,
    /// Where the server was given more, step by step.
    #[serde(skip_serializing_if = "Option::is_none")]
    filled: Option<Filled>,
}

/// What filling a core found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filled {
    /// What ended the filling.
    pub limit: &'static str,
    /// Cores that were busy where the row's delays were measured: at about 70 % of what the server may use.
    pub delay_at_cores: f64,
    /// The same delay where the server was fullest.
    pub full_delay_p99_ms: Option<f64>,
    /// Meetings at which it no longer held, where it came to that.
    pub breaks_at_meetings: Option<usize>,
}

/// Of what, and by how many, a row is.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name.
    pub row: &'static str,
    /// What is counted.
    pub kind: Kind,
    /// Threads that forward, where that was said.
    pub shards: Option<usize>,
    /// Meetings.
    pub meetings: usize,
    /// Sessions in all.
    pub sessions: usize,
}

impl Row {
    /// Of one measurement.
    pub fn new(about: About, measured: &Measured, floor: Floor) -> Self {
        let (count, whole) = match about.kind {
            Kind::Video => (&measured.tally.video, measured.whole[0]),
            Kind::Audio => (&measured.tally.audio, measured.whole[1]),
        };
        let us = measured.us_per(whole);
        let audio = &measured.tally.audio.delays;
        let other = audio
            .quantile_ms(0.99)
            .filter(|_| about.kind == Kind::Video);
        let ms = |value: f64| rounded(value, 2);
        Self {
            bench: "fanout",
            row: about.row,
            us_per_frame: rounded(us, 2),
            floor_us: rounded(floor.us_per_frame, 2),
            ratio: rounded(us / floor.us_per_frame, 2),
            delivered: rounded(measured.tally.delivered().unwrap_or(0.0), 6),
            delay_p50_ms: count.delays.quantile_ms(0.5).map(ms),
            delay_p99_ms: count.delays.quantile_ms(0.99).map(ms),
            kb_per_subscriber: rounded(measured.kb_per_session, 1),
            shards: about.shards,
            meetings: about.meetings,
            sessions: about.sessions,
            seconds: rounded(measured.time.as_secs_f64(), 1),
            frames_per_second: rounded(whole as f64 / measured.time.as_secs_f64(), 0),
            cores: rounded(measured.cores(), 3),
            waited_cores: rounded(measured.waited_cores(), 3),
            client_cores: rounded(measured.client_cores(), 3),
            missing: measured.tally.missing(),
            repeated: measured.faults.repeated,
            broken: measured.faults.broken,
            gaps: measured.faults.gaps,
            resets: measured.faults.resets,
            ended: measured.faults.ended,
            unsent: measured.faults.unsent,
            held_back: measured.held_back,
            narrowest_kbps: measured.narrowest_bps.map(|bps| bps / 1000),
            audio_delay_p99_ms: other.map(ms),
            filled: None,
        }
    }

    /// With what filling a core found; the delays are those of `at_70`.
    pub fn filled(
        mut self,
        limit: &'static str,
        at_70: &Measured,
        breaks_at: Option<usize>,
    ) -> Self {
        let full_delay_p99_ms = self.delay_p99_ms;
        let ms = |delays: &Delays, share| delays.quantile_ms(share).map(|ms| rounded(ms, 2));
        self.delay_p50_ms = ms(&at_70.tally.video.delays, 0.5);
        self.delay_p99_ms = ms(&at_70.tally.video.delays, 0.99);
        self.audio_delay_p99_ms = ms(&at_70.tally.audio.delays, 0.99);
        self.filled = Some(Filled {
            limit,
            delay_at_cores: rounded(at_70.cores(), 3),
            full_delay_p99_ms,
            breaks_at_meetings: breaks_at,
        });
        self
    }

    /// The table's head.
    pub fn head() -> &'static str {
        "row              shards sessions  frames/s | us/frame  floor  ratio | delivered  delay p50    p99 ms | cores waited client  kB/session"
    }
}

fn shown<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} {:>6} {:>8} {:>9} | {:>8.2} {:>6.2} {:>6.2} | {:>9.6} {:>10} {:>9} | {:>5.2} {:>6.2} {:>6.2} {:>11.1}",
            self.row,
            shown(self.shards),
            self.sessions,
            self.frames_per_second,
            self.us_per_frame,
            self.floor_us,
            self.ratio,
            self.delivered,
            shown(self.delay_p50_ms),
            shown(self.delay_p99_ms),
            self.cores,
            self.waited_cores,
            self.client_cores,
            self.kb_per_subscriber,
        )
    }
}

/// Sessions that neither send nor get anything.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    bench: &'static str,
    row: &'static str,
    sessions: usize,
    kb_per_subscriber: f64,
    cores: f64,
}

impl Idle {
    /// Of so many sessions.
    pub fn new(sessions: usize, kb_per_session: f64, cores: f64) -> Self {
        Self {
            bench: "fanout",
            row: "idle",
            sessions,
            kb_per_subscriber: rounded(kb_per_session, 1),
            cores: rounded(cores, 4),
        }
    }
}

/// How throughput grows with shards.
#[derive(Debug, Clone, Serialize)]
pub struct Cores {
    bench: &'static str,
    row: &'static str,
    shards: usize,
    frames_per_second: f64,
    frames_per_cpu_second: f64,
    cores: f64,
    client_cores: f64,
    limit: &'static str,
    /// Throughput over that of one shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput_ratio: Option<f64>,
    /// Frames for a second of CPU over those of one shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    efficiency_ratio: Option<f64>,
}

impl Cores {
    /// Of the fullest a handler with `shards` could be; `one`: the same of one shard.
    pub fn new(shards: usize, full: &Measured, limit: &'static str, one: Option<&Self>) -> Self {
        let whole = full.whole[0] as f64;
        let (rate, efficiency) = (
            whole / full.time.as_secs_f64(),
            whole / full.cpu.as_secs_f64(),
        );
        Self {
            bench: "fanout",
            row: "cores",
            shards,
            frames_per_second: rounded(rate, 0),
            frames_per_cpu_second: rounded(efficiency, 0),
            cores: rounded(full.cores(), 2),
            client_cores: rounded(full.client_cores(), 2),
            limit,
            throughput_ratio: one.map(|one| rounded(rate / one.frames_per_second, 2)),
            efficiency_ratio: one.map(|one| rounded(efficiency / one.frames_per_cpu_second, 2)),
        }
    }
}

/// Many streams for a long time.
#[derive(Debug, Clone, Serialize)]
pub struct Soak {
    bench: &'static str,
    row: &'static str,
    /// Tracks that the handler forwards to a subscriber.
    streams: usize,
    /// Tracks that it takes in.
    tracks: usize,
    sessions: usize,
    seconds: f64,
    frames: u64,
    lost: u64,
    delivered: f64,
    us_per_frame: f64,
    delay_p99_ms: Option<f64>,
    repeated: u64,
    broken: u64,
    gaps: u64,
    resets: u64,
    ended: u64,
    unsent: u64,
    resident_kb_first: u64,
    resident_kb_last: u64,
}

/// How many a soak is about.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Tracks forwarded to a subscriber.
    pub streams: usize,
    /// Tracks taken in.
    pub tracks: usize,
    /// Sessions.
    pub sessions: usize,
}

impl Soak {
    /// Of stretches measured one after the other.
    pub fn new(crowd: Crowd, stretches: &[Measured]) -> Self {
        let mut tally = super::tally::Tally::default();
        stretches.iter().for_each(|it| tally.merge(&it.tally));
        let seconds: f64 = stretches.iter().map(|it| it.time.as_secs_f64()).sum();
        let cpu: f64 = stretches.iter().map(|it| it.cpu.as_secs_f64()).sum();
        let video: u64 = stretches.iter().map(|it| it.whole[0]).sum();
        let mut delays = tally.video.delays.clone();
        delays.merge(&tally.audio.delays);
        let faults = stretches.last().map(|it| it.faults).unwrap_or_default();
        Self {
            bench: "fanout",
            row: "soak",
            streams: crowd.streams,
            tracks: crowd.tracks,
            sessions: crowd.sessions,
            seconds: rounded(seconds, 1),
            frames: tally.video.got + tally.audio.got,
            lost: tally.missing(),
            delivered: rounded(tally.delivered().unwrap_or(0.0), 7),
            us_per_frame: rounded(cpu * 1e6 / video.max(1) as f64, 2),
            delay_p99_ms: delays.quantile_ms(0.99).map(|ms| rounded(ms, 2)),
            repeated: faults.repeated,
            broken: faults.broken,
            gaps: faults.gaps,
            resets: faults.resets,
            ended: faults.ended,
            unsent: faults.unsent,
            resident_kb_first: stretches.first().map_or(0, |it| it.resident_kb),
            resident_kb_last: stretches.last().map_or(0, |it| it.resident_kb),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fanout::tally::{Faults, Tally};

    fn measured() -> Measured {
        let mut tally = Tally::default();
        tally.video.expected = 1000;
        tally.video.got = 999;
        for us in 1..=999 {
            tally.video.delays.add(us);
        }
        Measured {
            time: Duration::from_secs(2),
            cpu: Duration::from_millis(20),
            waited: Duration::from_millis(1),
            client_cpu: Duration::from_millis(10),
            whole: [1000, 0],
            tally,
            kb_per_session: 123.456,
            resident_kb: 5000,
            faults: Faults::default(),
            held_back: 0,
            narrowest_bps: None,
            endings: Vec::new(),
        }
    }

    #[test]
    fn a_row_divides_cpu_by_what_came_whole() {
        let about = About {
            row: "video-1x100",
            kind: Kind::Video,
            shards: Some(1),
            meetings: 1,
            sessions: 101,
        };
        let floor = Floor {
            us_per_frame: 10.0,
            frames: 100,
            packets: 5,
        };
        let row = Row::new(about, &measured(), floor);
        let json = serde_json::to_string(&row).unwrap();
        let start = r#"{"bench":"fanout","row":"video-1x100","us_per_frame":20.0,"floor_us":10.0,"ratio":2.0,"delivered":0.999,"delay_p50_ms":0.5"#;
        assert!(json.starts_with(start), "{json}");
        assert!(json.contains(r#""kb_per_subscriber":123.5"#), "{json}");
        assert!(json.contains(r#""missing":1"#), "{json}");
        assert!(!json.contains("filled"), "{json}");
        assert!(row.to_string().contains("20.00"));
    }

    #[test]
    fn two_shards_are_compared_with_one() {
        let one = Cores::new(1, &measured(), "server", None);
        let mut twice = measured();
        twice.whole = [1900, 0];
        twice.cpu = Duration::from_millis(40);
        let two = Cores::new(2, &twice, "client", Some(&one));
        assert_eq!(two.throughput_ratio, Some(1.9));
        assert_eq!(two.efficiency_ratio, Some(0.95));
    }

    #[test]
    fn a_soak_adds_its_stretches_up() {
        let crowd = Crowd {
            streams: 1008,
            tracks: 336,
            sessions: 168,
        };
        let soak = Soak::new(crowd, &[measured(), measured()]);
        assert_eq!((soak.frames, soak.lost), (1998, 2));
        assert_eq!(soak.us_per_frame, 20.0);
    }
}
