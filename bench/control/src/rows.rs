//! What is measured, in order, and the JSON line of each.

use std::sync::Arc;
use std::time::Duration;

use darktower_load::fanout::tally::Delays;
use serde::Serialize;
use tokio::time::sleep;

use crate::crowd::{Crowd, Joins, Pace, Question, ask};
use crate::system::{Spent, System, Who};

/// Participants of each meeting.
pub(crate) const PEOPLE: usize = 4;
/// Loops that ask the API.
const ASKING: usize = 8;
/// Joins of `join-burst` that are under way at a time.
const AT_ONCE: usize = 32;
/// Meetings of `redis-per-join`.
const FEW: usize = 20;

/// How it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Meetings, step by step.
    pub(crate) meetings: Vec<usize>,
    /// Joins a second.
    pub(crate) joins_per_second: u32,
    /// How long each step is held.
    pub(crate) hold: Duration,
    /// How long the API is asked each question.
    pub(crate) asking: Duration,
    /// Meetings of `join-burst` besides; 0: no such row.
    pub(crate) burst: usize,
}

/// A row for `bench/results`.
pub(crate) trait Line {
    /// The row as JSON.
    fn json(&self) -> anyhow::Result<String>;
}

impl<T: Serialize> Line for T {
    fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

#[derive(Serialize)]
struct PerJoin {
    bench: &'static str,
    row: &'static str,
    joins: u64,
    requests_per_join: f64,
    commands_per_join: f64,
    redis_us_per_join: f64,
    requests_per_meeting_second: f64,
}

#[derive(Serialize)]
struct Join {
    bench: &'static str,
    row: &'static str,
    meetings: usize,
    joins: u64,
    failed: u64,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    lookup_p99_ms: Option<f64>,
    connected_p99_ms: Option<f64>,
    commits_again: u64,
    controller_cpu_ms_per_join: f64,
    controller_cores: f64,
    controller_waited_cores: f64,
    global_cpu_ms_per_join: f64,
    client_cores: f64,
}

#[derive(Serialize)]
struct Carry {
    bench: &'static str,
    row: &'static str,
    meetings: usize,
    participants: u64,
    lost: u64,
    seconds: f64,
    controller_cores: f64,
    controller_waited_cores: f64,
    controller_mib: f64,
    controller_kib_per_participant: f64,
    messages_in_per_second: f64,
    messages_out_per_second: f64,
    ping_p50_ms: Option<f64>,
    ping_p99_ms: Option<f64>,
    redis_requests_per_second: f64,
    redis_commands_per_second: f64,
    redis_cores: f64,
    redis_mib: f64,
    handler_cores: f64,
    handler_mib: f64,
    global_cores: f64,
    client_cores: f64,
}

#[derive(Serialize)]
struct Api {
    bench: &'static str,
    row: &'static str,
    meetings: usize,
    connections: usize,
    answers: u64,
    failed: u64,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    global_cpu_ms_per_answer: f64,
    global_cores: f64,
    global_waited_cores: f64,
    controller_cpu_ms_per_answer: f64,
    redis_requests_per_answer: f64,
    client_cores: f64,
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn ms(delays: &Delays, share: f64) -> Option<f64> {
    delays.quantile_ms(share).map(rounded)
}

/// Runs everything; each row goes to `tell` as soon as it is there. How many joins and questions failed, and how many
/// participants were lost.
pub(crate) async fn run(
    plan: &Plan,
    mut tell: impl FnMut(&dyn Line) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut failed = 0;
    let system = System::start()?;
    let empty_mib = system.resident_mib(Who::Meeting)?;
    let crowd = Crowd::new(&system.api()).await?;
    let period = Duration::from_secs(1) / plan.joins_per_second.max(1);
    tell(&redis_per_join(&system, &crowd).await?)?;
    for meetings in &plan.meetings {
        let new = crowd.create(*meetings).await?;
        let rounds = (0..PEOPLE).flat_map(|_| &new);
        let before = system.read()?;
        let joins = crowd.join(rounds, Pace::Every(period)).await?;
        let spent = system.read()?.since(&before)?;
        failed += joins.failed;
        tell(&join("join", *meetings, &joins, &spent))?;
        tell(&carry(plan, &system, &crowd, *meetings, empty_mib).await?)?;
        for (row, what) in [("lookup", Question::Lookup), ("token", Question::Token)] {
            let before = system.read()?;
            let answers = ask(&crowd, what, ASKING, plan.asking).await?;
            let spent = system.read()?.since(&before)?;
            let count = answers.count;
            failed += answers.failed;
            tell(&Api {
                bench: "control",
                row,
                meetings: *meetings,
                connections: ASKING,
                answers: count,
                failed: answers.failed,
                per_second: rounded(count as f64 / spent.time.as_secs_f64()),
                p50_ms: ms(&answers.delays, 0.5),
                p99_ms: ms(&answers.delays, 0.99),
                global_cpu_ms_per_answer: rounded(spent.cpu_ms_per(Who::Global, count)),
                global_cores: rounded(spent.cores(Who::Global)),
                global_waited_cores: rounded(spent.waited_cores(Who::Global)),
                controller_cpu_ms_per_answer: rounded(spent.cpu_ms_per(Who::Meeting, count)),
                redis_requests_per_answer: rounded(
                    spent.redis.requests as f64 / count.max(1) as f64,
                ),
                client_cores: rounded(spent.cores(Who::Client)),
            })?;
        }
    }
    if plan.burst > 0 {
        let meetings = plan.meetings.iter().copied().max().unwrap_or(FEW) + plan.burst;
        let new = crowd.create(meetings).await?;
        let rounds = (0..PEOPLE).flat_map(|_| &new);
        let before = system.read()?;
        let joins = crowd.join(rounds, Pace::AtOnce(AT_ONCE)).await?;
        let spent = system.read()?.since(&before)?;
        failed += joins.failed;
        tell(&join("join-burst", meetings, &joins, &spent))?;
    }
    let (_, lost) = crowd.people();
    crowd.end();
    Ok(failed + lost)
}

/// What Redis is asked for a join into a meeting that is there, beyond what meetings cost by being there.
async fn redis_per_join(system: &System, crowd: &Arc<Crowd>) -> anyhow::Result<PerJoin> {
    let period = Duration::from_millis(100);
    let new = crowd.create(FEW).await?;
    crowd.join(&new, Pace::Every(period)).await?;
    let others = || (1..PEOPLE).flat_map(|_| &new);
    let time = period * u32::try_from(others().count())?;
    let before = system.read()?;
    sleep(time).await;
    let quiet = system.read()?.since(&before)?;
    let before = system.read()?;
    let joins = crowd.join(others(), Pace::Every(period)).await?;
    let busy = system.read()?.since(&before)?;
    anyhow::ensure!(joins.failed == 0, "joins failed: {:?}", joins.first_error);
    // The second takes a little longer than the first.
    let share = busy.time.as_secs_f64() / quiet.time.as_secs_f64();
    let each =
        |busy: u64, quiet: u64| rounded((busy as f64 - quiet as f64 * share) / joins.count as f64);
    Ok(PerJoin {
        bench: "control",
        row: "redis-per-join",
        joins: joins.count,
        requests_per_join: each(busy.redis.requests, quiet.redis.requests),
        commands_per_join: each(busy.redis.commands, quiet.redis.commands),
        redis_us_per_join: each(busy.redis.us, quiet.redis.us),
        requests_per_meeting_second: rounded(
            quiet.redis.requests as f64 / quiet.time.as_secs_f64() / FEW as f64,
        ),
    })
}

fn join(row: &'static str, meetings: usize, joins: &Joins, spent: &Spent) -> Join {
    if let Some(error) = &joins.first_error {
        crate::progress(&format!("joins failed, the first: {error}"));
    }
    Join {
        bench: "control",
        row,
        meetings,
        joins: joins.count,
        failed: joins.failed,
        per_second: rounded(joins.count as f64 / spent.time.as_secs_f64()),
        p50_ms: ms(&joins.done, 0.5),
        p99_ms: ms(&joins.done, 0.99),
        lookup_p99_ms: ms(&joins.looked_up, 0.99),
        connected_p99_ms: ms(&joins.connected, 0.99),
        commits_again: joins.again,
        controller_cpu_ms_per_join: rounded(spent.cpu_ms_per(Who::Meeting, joins.count)),
        controller_cores: rounded(spent.cores(Who::Meeting)),
        controller_waited_cores: rounded(spent.waited_cores(Who::Meeting)),
        global_cpu_ms_per_join: rounded(spent.cpu_ms_per(Who::Global, joins.count)),
        client_cores: rounded(spent.cores(Who::Client)),
    }
}

async fn carry(
    plan: &Plan,
    system: &System,
    crowd: &Crowd,
    meetings: usize,
    empty_mib: f64,
) -> anyhow::Result<Carry> {
    crowd.take_pings();
    let (before, messages) = (system.read()?, crowd.messages());
    sleep(plan.hold).await;
    let (spent, after) = (system.read()?.since(&before)?, crowd.messages());
    let pings = crowd.take_pings();
    let (present, lost) = crowd.people();
    let seconds = spent.time.as_secs_f64();
    let per_second = |count: u64| rounded(count as f64 / seconds);
    let controller_mib = system.resident_mib(Who::Meeting)?;
    let grown = (controller_mib - empty_mib) * 1024.0;
    Ok(Carry {
        bench: "control",
        row: "carry",
        meetings,
        participants: present - lost,
        lost,
        seconds: rounded(seconds),
        controller_cores: rounded(spent.cores(Who::Meeting)),
        controller_waited_cores: rounded(spent.waited_cores(Who::Meeting)),
        controller_mib: rounded(controller_mib),
        controller_kib_per_participant: rounded(grown / present.max(1) as f64),
        messages_in_per_second: per_second(after.0 - messages.0),
        messages_out_per_second: per_second(after.1 - messages.1),
        ping_p50_ms: ms(&pings, 0.5),
        ping_p99_ms: ms(&pings, 0.99),
        redis_requests_per_second: per_second(spent.redis.requests),
        redis_commands_per_second: per_second(spent.redis.commands),
        redis_cores: rounded(spent.cores(Who::Redis)),
        redis_mib: rounded(system.resident_mib(Who::Redis)?),
        handler_cores: rounded(spent.cores(Who::Media)),
        handler_mib: rounded(system.resident_mib(Who::Media)?),
        global_cores: rounded(spent.cores(Who::Global)),
        client_cores: rounded(spent.cores(Who::Client)),
    })
}
