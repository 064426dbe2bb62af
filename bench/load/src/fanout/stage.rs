//! A handler, a controller's call, load threads, and what is measured with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::controller::Controller;
use super::engine::{Engine, Entrant, Reading, Server};
use super::process::{Handler, Settings};
use super::scene::Meeting;
use super::tally::{Faults, Tally};
use super::usage::{Usage, resident_kb};

/// Sessions on one socket of the client: few enough that a burst fits the kernel's buffer, and that several shards of
/// the handler get their share of the sockets.
const SESSIONS_PER_PORT: usize = 32;
/// Frames that are still under way when a measurement ends get this long.
const LATE: Duration = Duration::from_secs(2);
/// Until everybody has joined.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Times that a second's frames may fail to arrive in full before it is measured all the same.
const MOST_WARMING: usize = 30;
/// Windows of who gets what move this often.
const PERIOD: Duration = Duration::from_secs(1);

/// Load threads and their sockets.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Threads.
    pub threads: usize,
    /// Sessions that may come, over all threads.
    pub sessions: usize,
}

/// What was measured over a stretch of time.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How long.
    pub time: Duration,
    /// CPU of the serving process.
    pub cpu: Duration,
    /// How long threads of the serving process waited for a core.
    pub waited: Duration,
    /// CPU of the load threads.
    pub client_cpu: Duration,
    /// Whole video and audio frames received meanwhile.
    pub whole: [u64; 2],
    /// Of the frames that were sent meanwhile.
    pub tally: Tally,
    /// Memory of the serving process per session, above what it took before the first, in kB.
    pub kb_per_session: f64,
    /// Memory of the serving process, in kB.
    pub resident_kb: u64,
    /// What was not as it should be since the sessions began, theirs and the handler's word of ended sessions.
    pub faults: Faults,
    /// Tracks that the handler held back at the end, believing paths too narrow, over all subscribers.
    pub held_back: u64,
    /// The narrowest path as the handler believed at the end, in bits a second, where it said so of any.
    pub narrowest_bps: Option<u64>,
    /// Why the first sessions ended that did.
    pub endings: Vec<String>,
}

impl Measured {
    /// Cores that the serving process kept busy.
    pub fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Cores that the serving process could have kept busy besides, had they been free.
    pub fn waited_cores(&self) -> f64 {
        self.waited.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Cores that the load threads kept busy.
    pub fn client_cores(&self) -> f64 {
        self.client_cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    /// CPU of the serving process per `frames`, in microseconds.
    pub fn us_per(&self, frames: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / frames.max(1) as f64
    }
}

/// Everything that runs for one row.
pub struct Stage {
    /// The serving process.
    pub handler: Handler,
    controller: Controller,
    engines: Vec<Engine>,
    sessions: u64,
    empty_kb: u64,
    period: u32,
}

impl Stage {
    /// Starts a handler and the load threads; nobody has joined.
    pub async fn open(program: &Path, settings: &Settings, client: Client) -> anyhow::Result<Self> {
        let handler = Handler::start(program, settings).await?;
        let controller = Controller::call(&handler.grpc_url).await?;
        let server = Server {
            addr: handler.addr,
            certificates: handler.certificates.clone(),
        };
        let origin = Instant::now();
        let ports = client.sessions.div_ceil(SESSIONS_PER_PORT * client.threads);
        let engines = (0..client.threads)
            .map(|_| Engine::start(server.clone(), ports.max(1), origin))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let empty_kb = resident_kb(handler.pid)?;
        Ok(Self {
            handler,
            controller,
            engines,
            sessions: 0,
            empty_kb,
            period: 0,
        })
    }

    /// Opens meetings and lets everybody join; back when all are connected.
    pub async fn enter(&mut self, meetings: &[Meeting]) -> anyhow::Result<()> {
        let mut entrants: Vec<Vec<Entrant>> = self.engines.iter().map(|_| Vec::new()).collect();
        for (number, meeting) in meetings.iter().enumerate() {
            self.controller.open(meeting).await?;
            let tracks = meeting.members.iter().flat_map(|member| &member.tracks);
            let known = tracks.map(|track| (track.id, *track));
            let known: Arc<BTreeMap<_, _>> = Arc::new(known.collect());
            // One who misbehaves has the last thread alone, so that the others' time is theirs.
            let abusers = usize::from(meeting.members.iter().any(|it| it.abuse.is_some()));
            for (seat, member) in meeting.members.iter().enumerate() {
                let last = entrants.len() - 1;
                let thread = match meetings.len() {
                    _ if member.abuse.is_some() => last,
                    1 => seat % (last + 1 - abusers).max(1),
                    _ => number % (last + 1),
                };
                entrants[thread].push(Entrant {
                    token: self.handler.token(meeting.id, member.seat)?,
                    member: member.clone(),
                    known: known.clone(),
                });
                self.sessions += 1;
            }
        }
        for (engine, entrants) in self.engines.iter().zip(entrants) {
            engine.join(entrants)?;
        }
        let deadline = Instant::now() + JOIN_WITHIN;
        loop {
            let reading = self.read(0, 0)?;
            anyhow::ensure!(
                reading.faults.ended == 0,
                "sessions end: {:?}",
                reading.endings
            );
            if reading.up == self.sessions {
                break;
            }
            let (up, all) = (reading.up, self.sessions);
            anyhow::ensure!(Instant::now() < deadline, "{up} of {all} sessions are open");
            tokio::time::sleep(LOOK).await;
        }
        self.controller.connected(self.sessions).await
    }

    /// Everybody sends from now on.
    pub fn play(&self) -> anyhow::Result<()> {
        self.engines.iter().try_for_each(Engine::play)
    }

    /// Who is to misbehave does so from now on, or no more.
    pub fn abuse(&self, on: bool) -> anyhow::Result<()> {
        self.engines.iter().try_for_each(|engine| engine.abuse(on))
    }

    /// Lets `time` pass without measuring, and more until all arrives, for a handler may have to learn what paths carry.
    /// `moving`: the meeting whose windows move meanwhile.
    pub async fn warm(&mut self, time: Duration, moving: Option<&Meeting>) -> anyhow::Result<()> {
        self.pass(time, moving).await?;
        for _ in 0..MOST_WARMING {
            let from = self.next_period(moving).await?;
            tokio::time::sleep(PERIOD).await;
            let to = self.next_period(moving).await?;
            if self.settled(from, to).await?.tally.missing() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Measures for `time`.
    pub async fn measure(
        &mut self,
        time: Duration,
        moving: Option<&Meeting>,
    ) -> anyhow::Result<Measured> {
        let first = self.next_period(moving).await?;
        let (before, used) = (self.read(0, 0)?, Usage::of(self.handler.pid)?);
        let began = Instant::now();
        self.pass(time, moving).await?;
        let time = began.elapsed();
        let usage = Usage::of(self.handler.pid)?;
        let cpu = usage.since(&used)?;
        let after = self.read(0, 0)?;
        let resident_kb = resident_kb(self.handler.pid)?;
        let end = self.next_period(moving).await?;
        let all = self.settled(first, end).await?;
        let grown = resident_kb.saturating_sub(self.empty_kb) as f64;
        Ok(Measured {
            time,
            cpu,
            waited: usage.waited_since(&used),
            client_cpu: after.cpu.saturating_sub(before.cpu),
            whole: [0, 1].map(|kind| after.whole[kind] - before.whole[kind]),
            tally: all.tally,
            kb_per_session: grown / self.sessions.max(1) as f64,
            resident_kb,
            faults: Faults {
                ended: all.faults.ended.max(self.controller.lost()),
                ..all.faults
            },
            held_back: after.held_back,
            narrowest_bps: after.narrowest_bps,
            endings: all.endings,
        })
    }

    /// Memory of the serving process per session, above what it took before the first, in kB.
    pub fn kb_per_session(&self) -> anyhow::Result<f64> {
        let grown = resident_kb(self.handler.pid)?.saturating_sub(self.empty_kb);
        Ok(grown as f64 / self.sessions.max(1) as f64)
    }

    /// Ends all of it; fails where the handler had ended before.
    pub async fn close(self) -> anyhow::Result<()> {
        for engine in self.engines {
            engine.stop()?;
        }
        self.handler.stop().await
    }

    async fn pass(&mut self, time: Duration, moving: Option<&Meeting>) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match moving {
                None => tokio::time::sleep(left).await,
                Some(_) => tokio::time::sleep(left.min(PERIOD)).await,
            }
            if left <= PERIOD || moving.is_none() {
                return Ok(());
            }
            self.next_period(moving).await?;
        }
    }

    /// Begins a period: the number of it.
    async fn next_period(&mut self, moving: Option<&Meeting>) -> anyhow::Result<u32> {
        self.period += 1;
        if let Some(meeting) = moving {
            let steered = meeting.members.iter();
            for member in steered.filter(|it| it.watch.is_said_by_controller()) {
                for (track, owner) in meeting.tracks() {
                    let wanted = |period| owner != member.seat && member.watch.wants(track, period);
                    let (had, wants) = (wanted(self.period - 1), wanted(self.period));
                    if had != wants {
                        let controller = &self.controller;
                        let said = controller.subscribe(meeting.id, member.seat, track, wants);
                        said.await?;
                    }
                }
            }
        }
        for engine in &self.engines {
            engine.begin(self.period)?;
        }
        Ok(self.period)
    }

    /// What came of these periods, once all of it has or can no more.
    async fn settled(&self, from: u32, to: u32) -> anyhow::Result<Reading> {
        let deadline = Instant::now() + LATE;
        loop {
            let reading = self.read(from, to)?;
            if reading.tally.missing() == 0 || Instant::now() >= deadline {
                return Ok(reading);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn read(&self, from: u32, to: u32) -> anyhow::Result<Reading> {
        let mut sum = Reading::default();
        for engine in &self.engines {
            let one = engine.read(from, to).context("reading a load thread")?;
            sum.up += one.up;
            sum.cpu += one.cpu;
            sum.held_back += one.held_back;
            sum.narrowest_bps = [sum.narrowest_bps, one.narrowest_bps]
                .into_iter()
                .flatten()
                .min();
            for (mine, theirs) in sum.whole.iter_mut().zip(one.whole) {
                *mine += theirs;
            }
            sum.tally.merge(&one.tally);
            sum.faults.merge(&one.faults);
            sum.endings.extend(one.endings);
        }
        Ok(sum)
    }
}
