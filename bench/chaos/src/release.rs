//! Rows of an update: the previous release beside this one, and a rolling restart from one to the other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::Arguments;
use crate::crowd::{Crowd, Meeting, Person};
use crate::play::Outcome;
use crate::rows::{Measure, Row};
use crate::steady::QUIET;
use crate::system::System;

/// The program of the previous release.
const PREVIOUS: &str = "DARKTOWER_PREVIOUS";
/// Between two who come for a moment.
const VISITS: Duration = Duration::from_millis(500);
/// Coming takes no longer.
const WITHIN: Duration = Duration::from_secs(5);

/// What the system of a row begins as, where that is not this release.
pub(crate) fn first(row: &Row) -> anyhow::Result<Option<PathBuf>> {
    match row.measure {
        Measure::Rolled { back: false } => previous().map(Some),
        _ => Ok(None),
    }
}

fn previous() -> anyhow::Result<PathBuf> {
    let program = std::env::var_os(PREVIOUS);
    let says = || format!("{PREVIOUS} names no program: `make chaos PREVIOUS=<commit>` builds it");
    program.map(PathBuf::from).with_context(says)
}

/// Plays it: there, and where it is repeated back and there again.
pub(crate) async fn row(
    row: &Row,
    back: bool,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut crowd = Crowd::begin(&system, arguments).await?;
    // Those who come for a moment would change the roster of the others.
    let visited = Meeting::begin(&system.api(), &system.ways(), 1, None).await?;
    let mut to_previous = back;
    for _ in 0..arguments.repeats(row) {
        let before = crowd.settles(row, QUIET, &mut outcome).await?;
        let visits = visit(system.api(), visited.code.clone());
        let program = to_previous.then(previous).transpose()?;
        system.roll(program).await?;
        sleep(QUIET).await;
        crowd.are_the_same(row, &before, &mut outcome);
        outcome
            .samples
            .extend(crowd.people().flat_map(Person::gaps));
        crowd.look_at_browser(row, &mut outcome).await?;
        let visits = visits.end().await?;
        anyhow::ensure!(visits.came > 0, "nobody came");
        for failed in visits.failed {
            outcome.note(format!(
                "{}: of {} one did not get in: {failed}",
                row.name, visits.came
            ));
        }
        to_previous = !to_previous;
    }
    visited.leave().await;
    crowd.leave().await?;
    Ok(outcome)
}

/// What came of those who came.
#[derive(Debug, Default)]
struct Visits {
    came: usize,
    failed: Vec<String>,
}

struct Visiting {
    over: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<Visits>,
}

impl Visiting {
    async fn end(self) -> anyhow::Result<Visits> {
        // It may have failed, which awaiting it says.
        let _told = self.over.send(true);
        Ok(self.task.await?)
    }
}

/// Somebody comes and goes, again and again.
fn visit(server: String, code: String) -> Visiting {
    let (over, is_over) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(async move {
        let mut visits = Visits::default();
        while !*is_over.borrow() {
            let began = Instant::now();
            visits.came += 1;
            match timeout(WITHIN, Person::visit(&server, &code)).await {
                Ok(Ok(person)) => person.leave().await,
                Ok(Err(error)) => visits.failed.push(format!("{error:#}")),
                Err(_) => visits.failed.push("it took too long".to_owned()),
            }
            sleep(VISITS.saturating_sub(began.elapsed())).await;
        }
        visits
    });
    Visiting { over, task }
}
