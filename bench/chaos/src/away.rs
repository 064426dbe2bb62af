//! Rows of a participant that is gone for a while: its process stands still, as a laptop does that is closed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster_tests::Process;
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, interval, sleep, timeout};

use darktower_client::State;

use crate::Arguments;
use crate::crowd::{Meeting, Person};
use crate::devices::Devices;
use crate::play::{Outcome, QUIET};
use crate::rows::{Blow, Row};
use crate::system::System;

/// Its name; nobody else in the meeting has it.
const NAME: &str = "Sleeper";
/// The others: who has to be told.
const OTHERS: usize = 2;
const LOOK: Duration = Duration::from_millis(20);
/// Coming to a meeting takes no longer.
const WITHIN: Duration = Duration::from_secs(20);
/// How long the sleeper's process stays at most.
const STAYS_S: &str = "1200";

/// How somebody stands on the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Here,
    Away,
    Gone,
}

/// Plays it, in all meetings at once.
pub(crate) async fn row(
    row: &Row,
    held: bool,
    system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let Blow::Sleep(gone) = row.blow else {
        anyhow::bail!("{} is about somebody who sleeps", row.name);
    };
    let mut outcome = Outcome::default();
    let mut meetings = Vec::new();
    let devices = block_in_place(Devices::make)?;
    for _ in 0..arguments.meetings {
        let (api, ways) = (system.api(), system.ways());
        meetings.push(Meeting::begin(&api, &ways, OTHERS, Some(&devices)).await?);
    }
    for _ in 0..arguments.repeat {
        let mut sleepers = Vec::new();
        for meeting in &meetings {
            sleepers.push(Sleeper::join(&system.api(), meeting).await?);
        }
        sleep(QUIET).await;
        for sleeper in &sleepers {
            sleeper.process.pause();
        }
        sleep(gone).await;
        for sleeper in &sleepers {
            sleeper.process.wake();
        }
        match held {
            true => return_all(row, &meetings, sleepers, &mut outcome).await?,
            false => come_anew(row, &meetings, sleepers, &system.api(), &mut outcome).await?,
        }
    }
    for meeting in meetings {
        meeting.leave().await;
    }
    Ok(outcome)
}

/// Each is the one that it was, and each of the others was told once that it was away and once that it is back.
async fn return_all(
    row: &Row,
    meetings: &[Meeting],
    sleepers: Vec<Sleeper>,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let woke = Instant::now();
    for (meeting, sleeper) in meetings.iter().zip(&sleepers) {
        seen(row, meeting, &sleeper.id, woke, outcome).await;
    }
    sleep(QUIET).await;
    for sleeper in sleepers {
        sleeper
            .was_told(row, &[Seen::Here, Seen::Away, Seen::Here], outcome)
            .await?;
    }
    Ok(())
}

/// The seat of each is given up, which each of the others was told once; and it comes as somebody new.
async fn come_anew(
    row: &Row,
    meetings: &[Meeting],
    sleepers: Vec<Sleeper>,
    server: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    for (meeting, sleeper) in meetings.iter().zip(sleepers) {
        let id = sleeper.id.clone();
        sleeper
            .was_told(row, &[Seen::Here, Seen::Away, Seen::Gone], outcome)
            .await?;
        let began = Instant::now();
        let again = Sleeper::join(server, meeting).await?;
        if again.id == id {
            outcome.note(format!("{}: {id} came back to a seat given up", row.name));
        }
        seen(row, meeting, &again.id, began, outcome).await;
    }
    Ok(())
}

/// How long it takes from `then` until everybody of the meeting sees `id`.
async fn seen(row: &Row, meeting: &Meeting, id: &str, then: Instant, outcome: &mut Outcome) {
    for person in &meeting.people {
        match seen_since(person, id, then, row.bound * 2).await {
            Some(at) => outcome.samples.push(at - then),
            None => outcome.note(format!("{}: nothing was seen of {id}", row.name)),
        }
    }
}

/// When something of `id` came after `then`.
async fn seen_since(person: &Person, id: &str, then: Instant, within: Duration) -> Option<Instant> {
    let mut look = interval(LOOK);
    while then.elapsed() < within {
        look.tick().await;
        if person.sees_one_since(id, then) {
            return Some(Instant::now());
        }
    }
    None
}

/// A participant in a process of its own, and what the others are told of it.
struct Sleeper {
    /// Killed, where it has not ended by itself, when this goes.
    process: Process,
    id: String,
    watches: Vec<JoinHandle<Vec<Seen>>>,
    over: watch::Sender<bool>,
}

impl Sleeper {
    /// Waits until all of the meeting know it.
    async fn join(server: &str, meeting: &Meeting) -> anyhow::Result<Self> {
        let first = meeting.people.first().context("nobody is there")?;
        let ids = |state: &State| -> BTreeSet<String> {
            let named = state.participants.iter().filter(|it| it.name == NAME);
            named.map(|it| it.id.clone()).collect()
        };
        let before = ids(&first.client.state().borrow());
        let process = Process::start_bot(&[
            "--server",
            server,
            "--meeting",
            &meeting.code,
            "--name",
            NAME,
            "--camera",
            "--seconds",
            STAYS_S,
        ]);
        let came = |state: &State| ids(state).difference(&before).next().is_some();
        let state = timeout(WITHIN, first.client.reach(came)).await;
        let state = state.context("it did not come")??;
        let id = ids(&state).difference(&before).next().cloned();
        let id = id.context("it has gone again")?;
        let (over, is_over) = watch::channel(false);
        let mut watches = Vec::new();
        for person in &meeting.people {
            let here = |state: &State| state.participants.iter().any(|it| it.id == id);
            let known = timeout(WITHIN, person.client.reach(here)).await;
            known.context("somebody was not told that it came")??;
            let states = person.client.state();
            watches.push(tokio::spawn(told(states, id.clone(), is_over.clone())));
        }
        Ok(Self {
            process,
            id,
            watches,
            over,
        })
    }

    /// Ends it. Each of the others must have been told `wanted` of it until now.
    async fn was_told(
        self,
        row: &Row,
        wanted: &[Seen],
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        // Whoever watches may have seen the meeting end.
        let _watched = self.over.send(true);
        for watch in self.watches {
            let was = watch.await?;
            if was != wanted {
                let id = &self.id;
                outcome.note(format!("{}: another was told {was:?} of {id}", row.name));
            }
        }
        Ok(())
    }
}

/// What one of the others is told of `id`, one entry for each change.
async fn told(
    mut states: watch::Receiver<State>,
    id: String,
    mut over: watch::Receiver<bool>,
) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let now = {
            let state = states.borrow_and_update();
            match state.participants.iter().find(|it| it.id == id) {
                None => Seen::Gone,
                Some(it) if it.away => Seen::Away,
                Some(_) => Seen::Here,
            }
        };
        if all.last() != Some(&now) {
            all.push(now);
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() {
                return all;
            },
            _ = over.changed() => return all,
        }
    }
}
