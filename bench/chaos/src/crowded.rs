//! The row of two handlers of three that die: the third one takes as many as it takes, the others are told why they
//! wait, and get in by themselves as soon as there is room.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use crate::Arguments;
use crate::crowd::{Crowd, Meeting, Person};
use crate::play::{Outcome, until};
use crate::rows::Row;
use crate::system::System;

/// As long nobody comes or goes who need not; and where times are not what is looked at.
const STEADY: Duration = Duration::from_secs(5);
const STEADY_UNTIMED: Duration = Duration::from_secs(1);
/// Who waits tries again each seven seconds at most, and then gets in.
const TRIES_AGAIN: Duration = Duration::from_secs(10);
/// The meetings of a crowded handler go to others one after the other, within 13 s of its coming; where some of them went
/// in the same moment, one has to go again.
const GOES_ELSEWHERE: Duration = Duration::from_secs(40);
/// Each controller has a meeting of two on each handler.
const PROBES: usize = 6;

/// What a handler takes, where so many participants are in all: three of five, beside the probes.
pub(crate) fn capacity(participants: usize) -> usize {
    PROBES + participants * 3 / 5
}

fn is_in(person: &Person) -> bool {
    person.media() == (true, None)
}

/// It waits, and its screen can say why.
fn waits(person: &Person) -> bool {
    person.media() == (false, Some("overloaded"))
}

/// Plays it.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..arguments.repeat {
        // A browser would be one more than there are places for.
        let mut crowd = Crowd::begin(&system, arguments, false).await?;
        let meetings = &mut crowd.meetings;
        once(row, &mut system, meetings, arguments, &mut outcome).await?;
        crowd.leave().await?;
    }
    Ok(outcome)
}

async fn once(
    row: &Row,
    system: &mut System,
    meetings: &mut [Meeting],
    arguments: &Arguments,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let all = arguments.meetings * arguments.people;
    let room = capacity(all) - PROBES;
    let steady = match arguments.untimed {
        true => STEADY_UNTIMED,
        false => STEADY,
    };
    let before = Instant::now();
    let all_in = until(before, GOES_ELSEWHERE, || full(meetings) == all);
    anyhow::ensure!(all_in.await.is_some(), "there is no room for all");
    sleep(steady).await;
    people(meetings).for_each(Person::reset);
    let began = Instant::now();
    for mut dead in system.handlers.drain(1..) {
        dead.process.kill();
        dead.process.exit();
    }
    // Everybody is in or told why not.
    let told = |meetings: &[Meeting]| people(meetings).all(|person| is_in(person) || waits(person));
    let is_told = until(began, row.bound * 2, || {
        told(meetings) && full(meetings) == room
    })
    .await;
    match is_told {
        Some(took) => outcome.samples.push(took),
        None => outcome.note(format!(
            "{}: {} of {all} are in, {} know why not",
            row.name,
            full(meetings),
            people(meetings).filter(|person| waits(person)).count()
        )),
    }
    let since = Instant::now();
    let are_in: Vec<_> = people(meetings).map(is_in).collect();
    let broke = until(since, steady, || {
        people(meetings).map(is_in).ne(are_in.iter().copied())
    });
    if broke.await.is_some() {
        outcome.note(format!("{}: somebody came or went for nothing", row.name));
    }
    for (person, _) in people(meetings).zip(&are_in).filter(|(_, is_in)| **is_in) {
        if person.media_ups() > 1 {
            let ups = person.media_ups();
            outcome.note(format!("{}: one changed its handler {ups} times", row.name));
        }
    }
    // One of them leaves: another gets in.
    let leaver = meetings.iter_mut().find_map(|meeting| {
        let at = meeting.people.iter().position(is_in)?;
        Some(meeting.people.remove(at))
    });
    let leaver = leaver.context("nobody is in")?;
    let id = leaver.identity().me.unwrap_or_default();
    leaver.leave().await;
    people(meetings).for_each(|person| person.left(&id));
    let left = Instant::now();
    if until(left, TRIES_AGAIN, || full(meetings) == room)
        .await
        .is_none()
    {
        outcome.note(format!(
            "{}: nobody came to the place of who left",
            row.name
        ));
    }
    // Others come: all get in.
    system.fill()?;
    let came = Instant::now();
    let sees = |meetings: &[Meeting]| {
        let mut people = people(meetings);
        people.all(|person| is_in(person) && person.flows(crate::play::FLOWS))
    };
    if until(came, GOES_ELSEWHERE, || sees(meetings))
        .await
        .is_none()
    {
        let rest = all - 1 - full(meetings);
        outcome.note(format!("{}: {rest} wait though there is room", row.name));
    }
    Ok(())
}

fn full(meetings: &[Meeting]) -> usize {
    people(meetings).filter(|person| is_in(person)).count()
}

fn people(meetings: &[Meeting]) -> impl Iterator<Item = &Person> {
    meetings.iter().flat_map(|meeting| &meeting.people)
}
