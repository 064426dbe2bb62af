//! The soak: each second somebody comes and somebody goes, each minute something fails, and what the processes hold must
//! not grow.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use darktower_link::Random;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::Arguments;
use crate::crowd::{Crowd, Person};
use crate::held::resident;
use crate::play::Outcome;
use crate::rows::{Blow, Row, Victim};
use crate::steady::FLOWS;
use crate::system::{Node, System};

/// Between two who come, and how long each stays.
const COMES: Duration = Duration::from_secs(1);
const STAYS: Duration = Duration::from_secs(8);
/// Who is not in by then has not joined.
const WITHIN: Duration = Duration::from_secs(20);
/// Between two faults, and how long each lasts.
const FAILS: Duration = Duration::from_secs(60);
const LASTS: Duration = Duration::from_secs(5);
/// What the dice are for that say what fails.
const FAULT: u64 = 1;
/// Between two looks at what the processes hold.
const LOOKS: Duration = Duration::from_secs(5);
/// So much of a process's life is its warm-up.
const WARM_UP: f64 = 0.4;
/// What it holds is flat where the line through the rest rises by no more than this part of its mean, or by so many
/// descriptors: connections come and go.
const FLAT: f64 = 0.05;
const FEW: f64 = 4.0;

/// What may fail; of each kind the first process is left alone, for its life is what is looked at.
const FAULTS: [(Victim, Blow); 8] = [
    (Victim::Controller, Blow::Kill),
    (Victim::Handler, Blow::Kill),
    (Victim::Global, Blow::Kill),
    (Victim::Global, Blow::Pause),
    (Victim::Controller, Blow::Pause),
    (Victim::Handler, Blow::Stop),
    (Victim::Controller, Blow::Stop),
    (Victim::Handler, Blow::Pause),
];

/// What a process held, look by look.
#[derive(Debug, Default)]
struct Life {
    name: &'static str,
    /// Seconds, resident bytes, descriptors.
    looks: Vec<(f64, f64, f64)>,
}

/// Plays it for as long as is asked.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut crowd = Crowd::begin(&system, arguments).await?;
    let who = |crowd: &Crowd| -> Vec<_> {
        let people = crowd.people();
        people.map(|person| person.identity().me).collect()
    };
    let before = who(&crowd);
    let time = Duration::from_secs(arguments.seconds);
    let codes = crowd.meetings.iter().map(|meeting| meeting.code.clone());
    let churn = tokio::spawn(churn(system.api(), codes.collect(), time));
    let seed = arguments.seed.map_or_else(by_the_clock, Ok)?;
    let (lives, failed) = fail(&mut system, time, Random::new(seed, FAULT)).await?;
    let failed: Vec<_> = failed.iter().map(|it| format!("{it:?}")).collect();
    let failed = failed.join(", ");
    outcome.told.push(format!("seed {seed}: {failed}"));
    let visits = churn.await?;
    let all = visits.len();
    for visit in visits {
        match visit {
            Ok(took) => outcome.samples.push(took),
            Err(problem) => outcome.note(format!("{}: {problem:#}", row.name)),
        }
    }
    let joined = outcome.samples.len();
    outcome.told.push(format!("{joined} of {all} joined"));
    if who(&crowd) != before {
        outcome.note(format!("{}: somebody who stayed is another now", row.name));
    }
    if !crowd.people().all(|person| person.flows(FLOWS)) {
        outcome.note(format!("{}: somebody who stayed sees nothing", row.name));
    }
    crowd.look_at_browser(row, &mut outcome).await?;
    for life in lives.values() {
        life.judge(row, time, &mut outcome);
    }
    crowd.leave().await?;
    let nodes = [
        &mut system.globals,
        &mut system.controllers,
        &mut system.handlers,
    ];
    for node in nodes.into_iter().flatten() {
        node.process.terminate();
        let said = block_in_place(|| node.process.last_words());
        if let Some(panic) = said.lines().find(|line| line.contains("panicked at")) {
            outcome.note(format!("{}: {panic}", row.name));
        }
    }
    Ok(outcome)
}

/// Somebody comes each second; how long each took to be in.
async fn churn(api: String, codes: Vec<String>, time: Duration) -> Vec<anyhow::Result<Duration>> {
    let (began, mut comes) = (Instant::now(), interval(COMES));
    let (mut visits, mut done) = (JoinSet::new(), Vec::new());
    let mut turns = codes.into_iter().cycle();
    while began.elapsed() < time {
        comes.tick().await;
        if let Some(code) = turns.next() {
            visits.spawn(visit(api.clone(), code));
        }
        while let Some(Ok(visit)) = visits.try_join_next() {
            done.push(visit);
        }
    }
    done.extend(visits.join_all().await);
    done
}

async fn visit(api: String, code: String) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let person = timeout(WITHIN, Person::visit(&api, &code)).await;
    let person = person.with_context(|| format!("not in within {WITHIN:?}"))??;
    let took = began.elapsed();
    sleep(STAYS).await;
    person.leave().await;
    Ok(took)
}

/// A seed that is another each time.
fn by_the_clock() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Lets something fail each minute, and looks at the processes meanwhile: what they held, and what failed.
async fn fail(
    system: &mut System,
    time: Duration,
    mut random: Random,
) -> anyhow::Result<(BTreeMap<u32, Life>, Vec<(Victim, Blow)>)> {
    let (began, mut looks) = (Instant::now(), interval(LOOKS));
    let (mut lives, mut failed) = (BTreeMap::new(), Vec::new());
    let mut fails = began + FAILS;
    while began.elapsed() < time {
        looks.tick().await;
        look(system, began, &mut lives)?;
        // The last one is over before the end.
        if Instant::now() < fails || began.elapsed() + FAILS / 2 > time {
            continue;
        }
        fails += FAILS;
        let drawn = random.next_u64() % FAULTS.len() as u64;
        let (victim, blow) = FAULTS[usize::try_from(drawn)?];
        failed.push((victim, blow));
        let addr = system.nodes(victim).last().map(|node| node.addr);
        let struck = system.strike(victim, blow, addr).await?;
        sleep(LASTS).await;
        block_in_place(|| system.mend(struck))?;
    }
    Ok((lives, failed))
}

fn look(system: &System, began: Instant, lives: &mut BTreeMap<u32, Life>) -> anyhow::Result<()> {
    let at = began.elapsed().as_secs_f64();
    let kinds = [
        ("global", Victim::Global),
        ("controller", Victim::Controller),
        ("handler", Victim::Handler),
    ];
    for (name, victim) in kinds {
        for Node { process, .. } in system.nodes(victim) {
            let id = process.id();
            let memory = resident(process)?;
            let descriptors = std::fs::read_dir(format!("/proc/{id}/fd"))?.count();
            let life = lives.entry(id).or_insert_with(|| Life {
                name,
                looks: Vec::new(),
            });
            life.looks.push((at, memory, descriptors as f64));
        }
    }
    Ok(())
}

impl Life {
    /// Of those that lived from the beginning to the end.
    fn judge(&self, row: &Row, time: Duration, outcome: &mut Outcome) {
        let warm = time.as_secs_f64() * WARM_UP;
        let rest: Vec<_> = self.looks.iter().filter(|look| look.0 >= warm).collect();
        let lived = |look: &(f64, f64, f64)| look.0 <= LOOKS.as_secs_f64();
        if !self.looks.first().is_some_and(lived) || rest.len() < 8 {
            return;
        }
        let memory = rise(rest.iter().map(|look| (look.0, look.1)));
        let descriptors = rise(rest.iter().map(|look| (look.0, look.2)));
        let name = self.name;
        let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
        outcome.told.push(format!(
            "{name}: {:.1} MiB, rises by {:+.2}; {:.0} descriptors, rise by {:+.1}",
            mebibytes(memory.0),
            mebibytes(memory.1),
            descriptors.0,
            descriptors.1
        ));
        let each = time.as_secs_f64() / 10.0;
        let tenths = (0..10).map(|tenth| {
            let from = f64::from(tenth) * each;
            let looks = self.looks.iter();
            let looks = looks.filter(|look| (from..from + each).contains(&look.0));
            let most = looks.map(|look| look.1).fold(0.0, f64::max);
            format!("{:.2}", mebibytes(most))
        });
        let tenths: Vec<_> = tenths.collect();
        outcome.told.push(format!(
            "    at most, tenth by tenth: {} MiB",
            tenths.join(" ")
        ));
        let both = [("memory", memory, 0.0), ("descriptors", descriptors, FEW)];
        for (what, (mean, rise), least) in both {
            if rise > (mean * FLAT).max(least) {
                outcome.note(format!("{}: {what} of a {name} grows", row.name));
            }
        }
    }
}

/// The mean, and by how much the line of least squares rises from the first to the last.
fn rise(points: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let count = points.clone().count() as f64;
    let sum = |of: &dyn Fn((f64, f64)) -> f64| points.clone().map(of).sum::<f64>();
    let (x, y) = (sum(&|it| it.0) / count, sum(&|it| it.1) / count);
    let above = sum(&|it| (it.0 - x) * (it.1 - y));
    let below = sum(&|it| (it.0 - x) * (it.0 - x));
    let span = points.clone().map(|it| it.0).fold(0.0, f64::max)
        - points.map(|it| it.0).fold(f64::INFINITY, f64::min);
    (y, above / below * span)
}

#[cfg(test)]
mod tests {
    use super::rise;

    #[test]
    fn a_line_rises_by_what_it_rises_and_noise_does_not() {
        let line = (0..10).map(|x| (f64::from(x) * 5.0, f64::from(x) + 100.0));
        let (mean, up) = rise(line);
        assert!(
            (mean - 104.5).abs() < 1e-9 && (up - 9.0).abs() < 1e-9,
            "{mean} {up}"
        );
        let noise = (0..10).map(|x| (f64::from(x), f64::from((x * 7) % 10 % 2)));
        assert!(rise(noise).1.abs() < 0.5);
    }
}
