//! What is measured: a Redis and the three services, each a process of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster_tests::{Process, address};
use darktower_load::fanout::usage::{Usage, resident_kb};
use darktower_servers::Redis;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::redis::Stats;

const ANY: &str = "127.0.0.1:0";
/// All of the load comes from one machine.
const UNLIMITED: &str = "1000000";

/// All of them, gone when dropped.
pub(crate) struct System {
    redis: Redis,
    redis_pid: u32,
    global: Process,
    meeting: Process,
    media: Process,
    api: SocketAddr,
    _directory: TempDir,
}

/// Who is accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Meeting,
    Global,
    Media,
    Redis,
    /// This process: the load.
    Client,
}

const ALL: [Who; 5] = [
    Who::Meeting,
    Who::Global,
    Who::Media,
    Who::Redis,
    Who::Client,
];

/// Everybody's account at one moment.
pub(crate) struct Reading {
    at: Instant,
    usage: [Usage; ALL.len()],
    pub(crate) redis: Stats,
}

/// From one reading to another.
pub(crate) struct Spent {
    /// How long it was.
    pub(crate) time: Duration,
    cpu: [Duration; ALL.len()],
    waited: [Duration; ALL.len()],
    /// What Redis was asked meanwhile.
    pub(crate) redis: Stats,
}

impl System {
    /// Starts all and waits until they are ready.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let redis = Redis::start();
        let state = redis.url();
        let settings = [
            ("DARKTOWER_STATE__URL", state.as_str()),
            ("DARKTOWER_GLOBAL__HTTP", ANY),
            ("DARKTOWER_GLOBAL__HTTPS", ANY),
            ("DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND", UNLIMITED),
            ("DARKTOWER_GLOBAL__LOOKUP_BURST", UNLIMITED),
            ("DARKTOWER_GLOBAL__CREATIONS_PER_SECOND", UNLIMITED),
            ("DARKTOWER_GLOBAL__CREATION_BURST", UNLIMITED),
            ("DARKTOWER_MEETING__LISTEN", ANY),
            ("DARKTOWER_MEDIA__LISTEN", ANY),
        ];
        let start = |role| Process::start(&[role], directory.path(), &settings);
        let mut global = start("global");
        let api = address(&global.ready(), "http");
        let (mut meeting, mut media) = (start("meeting"), start("media"));
        meeting.ready();
        media.ready();
        let server = redis.ask(&["INFO", "server"]);
        let pid = server.lines().find_map(|it| it.strip_prefix("process_id:"));
        let redis_pid = pid.context("Redis has no process")?.trim().parse()?;
        Ok(Self {
            redis,
            redis_pid,
            global,
            meeting,
            media,
            api,
            _directory: directory,
        })
    }

    /// Where the API is.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.api)
    }

    fn pid(&self, who: Who) -> u32 {
        match who {
            Who::Meeting => self.meeting.id(),
            Who::Global => self.global.id(),
            Who::Media => self.media.id(),
            Who::Redis => self.redis_pid,
            Who::Client => std::process::id(),
        }
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self, who: Who) -> anyhow::Result<f64> {
        Ok(resident_kb(self.pid(who))? as f64 / 1024.0)
    }

    /// The accounts as they are now.
    pub(crate) fn read(&self) -> anyhow::Result<Reading> {
        let mut usage: [Usage; ALL.len()] = Default::default();
        for (usage, who) in usage.iter_mut().zip(ALL) {
            *usage = Usage::of(self.pid(who))?;
        }
        Ok(Reading {
            at: Instant::now(),
            usage,
            redis: Stats::read(&self.redis.ask(&["INFO", "commandstats"])),
        })
    }
}

impl Reading {
    /// What was spent since `before`.
    pub(crate) fn since(&self, before: &Self) -> anyhow::Result<Spent> {
        let (mut cpu, mut waited) = ([Duration::ZERO; ALL.len()], [Duration::ZERO; ALL.len()]);
        for (at, who) in ALL.iter().enumerate() {
            let used = self.usage[at].since(&before.usage[at]);
            cpu[at] = used.with_context(|| format!("{who:?}"))?;
            waited[at] = self.usage[at].waited_since(&before.usage[at]);
        }
        Ok(Spent {
            time: self.at - before.at,
            cpu,
            waited,
            redis: self.redis.since(&before.redis),
        })
    }
}

impl Spent {
    fn of(&self, times: &[Duration; ALL.len()], who: Who) -> f64 {
        let at = ALL.iter().position(|it| *it == who);
        at.map_or(0.0, |at| times[at].as_secs_f64())
    }

    /// Cores that it kept busy.
    pub(crate) fn cores(&self, who: Who) -> f64 {
        self.of(&self.cpu, who) / self.time.as_secs_f64()
    }

    /// Cores that it could have kept busy besides, had they been free.
    pub(crate) fn waited_cores(&self, who: Who) -> f64 {
        self.of(&self.waited, who) / self.time.as_secs_f64()
    }

    /// CPU of it for each of `count`, in milliseconds.
    pub(crate) fn cpu_ms_per(&self, who: Who, count: u64) -> f64 {
        self.of(&self.cpu, who) * 1000.0 / count.max(1) as f64
    }
}
