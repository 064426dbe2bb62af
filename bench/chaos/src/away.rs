//! Rows of a participant that is gone for a while: its own line is cut, or its process stands still, as a laptop does that
//! is closed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster_tests::Process;
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, interval, sleep, timeout};

use darktower_client::State;

use crate::Arguments;
use crate::crowd::{Crowd, Meeting, Person, Standing};
use crate::devices::Devices;
use crate::line::Line;
use crate::play::Outcome;
use crate::rows::{Blow, Row};
use crate::steady::QUIET;
use crate::system::System;

/// The name of one in a process of its own; nobody else in the meeting has it.
const NAME: &str = "Sleeper";
const LOOK: Duration = Duration::from_millis(20);
/// Coming to a meeting takes no longer.
const WITHIN: Duration = Duration::from_secs(20);
/// How long that process stays at most.
const STAYS_S: &str = "1200";

/// Plays it, in all meetings at once. One of each meeting is who is gone.
pub(crate) async fn row(
    row: &Row,
    held: bool,
    system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let (Blow::Sleep(gone) | Blow::Outage(gone)) = row.blow else {
        anyhow::bail!("{} is about somebody who is gone", row.name);
    };
    let mut outcome = Outcome::default();
    let devices = block_in_place(Devices::make)?;
    let (meetings, others) = (arguments.meetings, arguments.people - 1);
    let mut crowd = Crowd::of(&system, meetings, others, &devices).await?;
    if arguments.browser {
        crowd.is_looked_on(&system).await?;
    }
    for _ in 0..arguments.repeats(row) {
        let mut sleepers = Vec::new();
        for meeting in &crowd.meetings {
            sleepers.push(Sleeper::join(row, &system, meeting, &devices).await?);
        }
        come(row, &mut crowd, &sleepers, None, &mut outcome).await?;
        let before = crowd.settles(row, QUIET, &mut outcome).await?;
        for sleeper in &sleepers {
            sleeper.body.goes()?;
        }
        sleep(gone).await;
        for sleeper in &sleepers {
            sleeper.body.returns()?;
        }
        match held {
            true => {
                come(
                    row,
                    &mut crowd,
                    &sleepers,
                    Some(Instant::now()),
                    &mut outcome,
                )
                .await?;
                sleep(QUIET).await;
                crowd.are_the_same(row, &before, &mut outcome);
                let told = [Standing::Here, Standing::Away, Standing::Here];
                were_told(row, &mut crowd, &mut sleepers, &told, &mut outcome).await?;
            }
            false => {
                let told = [Standing::Here, Standing::Away, Standing::Gone];
                were_told(row, &mut crowd, &mut sleepers, &told, &mut outcome).await?;
                sleepers =
                    come_anew(row, &system, &mut crowd, sleepers, &devices, &mut outcome).await?;
            }
        }
        let gaps = crowd.people().flat_map(Person::gaps);
        outcome.gap = gaps.fold(outcome.gap, Duration::max);
        crowd.look_at_browser(row, &mut outcome).await?;
        for (meeting, sleeper) in crowd.meetings.iter().zip(sleepers) {
            sleeper.leave(meeting).await?;
        }
    }
    crowd.leave().await?;
    Ok(outcome)
}

/// All of these come as somebody new.
async fn come_anew(
    row: &Row,
    system: &System,
    crowd: &mut Crowd,
    gone: Vec<Sleeper>,
    devices: &Devices,
    outcome: &mut Outcome,
) -> anyhow::Result<Vec<Sleeper>> {
    let (mut anew, began) = (Vec::new(), Instant::now());
    for (meeting, sleeper) in crowd.meetings.iter().zip(gone) {
        let again = Sleeper::join(row, system, meeting, devices).await?;
        if again.id == sleeper.id {
            let id = &again.id;
            outcome.note(format!("{}: {id} came back to a seat given up", row.name));
        }
        meeting
            .people
            .iter()
            .for_each(|person| person.left(&sleeper.id));
        anew.push(again);
    }
    come(row, crowd, &anew, Some(began), outcome).await?;
    Ok(anew)
}

/// Waits until everybody of their meetings sees them; `since` says from when on that is measured. They are no part of
/// what the others are held to.
async fn come(
    row: &Row,
    crowd: &mut Crowd,
    sleepers: &[Sleeper],
    since: Option<Instant>,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let then = since.unwrap_or_else(Instant::now);
    let mut eyes = Vec::new();
    for (meeting, sleeper) in crowd.meetings.iter().zip(sleepers) {
        for person in &meeting.people {
            person.sets_apart(&sleeper.id);
            eyes.push((person, &sleeper.id));
        }
    }
    let mut browser = match (&mut crowd.onlooker, sleepers.first()) {
        (Some(onlooker), Some(sleeper)) => {
            onlooker.sets_apart(&sleeper.id);
            Some((onlooker, &sleeper.id))
        }
        _ => None,
    };
    let mut seen = Vec::new();
    let mut look = interval(LOOK);
    while then.elapsed() < row.bound * 2 && (!eyes.is_empty() || browser.is_some()) {
        look.tick().await;
        let before = eyes.len();
        eyes.retain(|(person, id)| !person.sees_one_since(id, then));
        seen.extend((eyes.len()..before).map(|_| then.elapsed()));
        if let Some((onlooker, id)) = &mut browser
            && onlooker.sees_one_since(id, then).await?
        {
            seen.push(then.elapsed());
            browser = None;
        }
    }
    for _ in 0..eyes.len() + usize::from(browser.is_some()) {
        outcome.note(format!("{}: nothing was seen of who slept", row.name));
    }
    if since.is_some() {
        outcome.samples.extend(seen);
    }
    Ok(())
}

/// Each of the others must have been told `wanted` of who slept until now.
async fn were_told(
    row: &Row,
    crowd: &mut Crowd,
    sleepers: &mut [Sleeper],
    wanted: &[Standing],
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut told = Vec::new();
    if let (Some(onlooker), Some(sleeper)) = (&mut crowd.onlooker, sleepers.first()) {
        let report = onlooker.report().await?;
        told.push(report.standings(&sleeper.id).to_vec());
    }
    for sleeper in sleepers {
        told.extend(sleeper.told().await?);
    }
    for was in told {
        if was != wanted {
            outcome.note(format!("{}: somebody was told {was:?} of it", row.name));
        }
    }
    Ok(())
}

/// A participant that goes and returns, and what the others are told of it.
struct Sleeper {
    body: Body,
    id: String,
    watches: Vec<JoinHandle<Vec<Standing>>>,
    over: watch::Sender<bool>,
}

/// What is there of it.
enum Body {
    /// A process of its own, which can stand still. Killed, where it has not ended by itself, when this goes.
    Laptop(Process),
    /// A participant beside the others, whose line can be cut.
    Remote { person: Box<Person>, line: Line },
}

impl Body {
    /// Nobody hears of it from now on.
    fn goes(&self) -> anyhow::Result<()> {
        match self {
            Self::Laptop(process) => process.pause(),
            Self::Remote { line, .. } => line.cut(true)?,
        }
        Ok(())
    }

    fn returns(&self) -> anyhow::Result<()> {
        match self {
            Self::Laptop(process) => process.wake(),
            Self::Remote { line, .. } => line.cut(false)?,
        }
        Ok(())
    }
}

impl Sleeper {
    /// Waits until all of the meeting know it.
    async fn join(
        row: &Row,
        system: &System,
        meeting: &Meeting,
        devices: &Devices,
    ) -> anyhow::Result<Self> {
        let (body, id) = match row.blow {
            Blow::Outage(_) => remote(system, meeting, devices).await?,
            _ => laptop(system, meeting, devices).await?,
        };
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
            body,
            id,
            watches,
            over,
        })
    }

    /// What each of the others was told of it until now.
    async fn told(&mut self) -> anyhow::Result<Vec<Vec<Standing>>> {
        // Whoever watches may have seen the meeting end.
        let _watched = self.over.send(true);
        let mut told = Vec::new();
        for watch in self.watches.drain(..) {
            told.push(watch.await?);
        }
        Ok(told)
    }

    /// Waits until nobody of the meeting knows it any more.
    async fn leave(self, meeting: &Meeting) -> anyhow::Result<()> {
        // Whoever drops a process kills it, and it is to say its farewell first.
        let mut leaving = None;
        match self.body {
            Body::Laptop(process) => leaving.insert(process).terminate(),
            Body::Remote { person, .. } => person.leave().await,
        }
        for person in &meeting.people {
            let gone = |state: &State| state.participants.iter().all(|it| it.id != self.id);
            let told = timeout(WITHIN, person.client.reach(gone)).await;
            told.context("somebody was not told that it left")??;
            person.left(&self.id);
        }
        drop(leaving);
        Ok(())
    }
}

/// Somebody comes in a process of its own: and by which id the others know it.
async fn laptop(
    system: &System,
    meeting: &Meeting,
    devices: &Devices,
) -> anyhow::Result<(Body, String)> {
    let first = meeting.people.first().context("nobody is there")?;
    let ids = |state: &State| -> BTreeSet<String> {
        let named = state.participants.iter().filter(|it| it.name == NAME);
        named.map(|it| it.id.clone()).collect()
    };
    let before = ids(&first.client.state().borrow());
    let camera = devices.camera_file();
    let process = Process::start_bot(&[
        "--server",
        &system.api(),
        "--meeting",
        &meeting.code,
        "--name",
        NAME,
        "--video",
        camera.to_str().context("a path in UTF-8")?,
        "--seconds",
        STAYS_S,
    ]);
    let came = |state: &State| ids(state).difference(&before).next().is_some();
    let state = timeout(WITHIN, first.client.reach(came)).await;
    let state = state.context("it did not come")??;
    let id = ids(&state).difference(&before).next().cloned();
    Ok((Body::Laptop(process), id.context("it has gone again")?))
}

/// Somebody comes by a line of its own.
async fn remote(
    system: &System,
    meeting: &Meeting,
    devices: &Devices,
) -> anyhow::Result<(Body, String)> {
    let line = Line::lay(system)?;
    let (api, ways) = (line.api(), line.ways());
    let number = meeting.people.len();
    let person = Person::join(&api, &ways, &meeting.code, number, Some(devices));
    let person = Box::new(person.await?);
    let id = person.identity().me.context("it is not in the meeting")?;
    Ok((Body::Remote { person, line }, id))
}

/// What one of the others is told of `id`, one entry for each change.
async fn told(
    mut states: watch::Receiver<State>,
    id: String,
    mut over: watch::Receiver<bool>,
) -> Vec<Standing> {
    let mut all = Vec::new();
    loop {
        let now = {
            let state = states.borrow_and_update();
            match state.participants.iter().find(|it| it.id == id) {
                None => Standing::Gone,
                Some(it) if it.away => Standing::Away,
                Some(_) => Standing::Here,
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
