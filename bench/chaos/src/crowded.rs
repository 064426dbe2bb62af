//! The row of two handlers of three that die: the third one takes as many as it takes, the others are told why they
//! wait, and get in by themselves as soon as there is room.

use std::time::Duration;

use anyhow::Context as _;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::Arguments;
use crate::crowd::{Crowd, Person};
use crate::play::Outcome;
use crate::rows::Row;
use crate::steady::FLOWS;
use crate::system::System;

/// How often it is looked how they stand.
const LOOK: Duration = Duration::from_millis(20);

/// As long nobody comes or goes who need not; and where times are not what is looked at.
const STEADY: Duration = Duration::from_secs(5);
const STEADY_UNTIMED: Duration = Duration::from_secs(1);
/// Who waits tries again each six seconds at most, and then gets in.
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

/// How somebody stands with the handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    In,
    /// It waits, and its screen can say why.
    Waits,
    Nowhere,
}

impl Place {
    fn of(media: (bool, Option<&str>)) -> Self {
        match media {
            (true, None) => Self::In,
            (false, Some("overloaded")) => Self::Waits,
            _ => Self::Nowhere,
        }
    }
}

/// How everybody stands, who is at a browser last.
async fn places(crowd: &mut Crowd) -> anyhow::Result<Vec<Place>> {
    let mut places: Vec<_> = crowd.people().map(|it| Place::of(it.media())).collect();
    if let Some(onlooker) = &mut crowd.onlooker {
        places.push(Place::of(onlooker.report().await?.media()));
    }
    Ok(places)
}

/// So many stand so.
fn count(places: &[Place], so: Place) -> usize {
    places.iter().filter(|place| **place == so).count()
}

/// How long it took since `began` until they stand as they should; `Err` says how they do where that is longer than
/// `within`.
async fn until(
    crowd: &mut Crowd,
    began: Instant,
    within: Duration,
    holds: impl Fn(&[Place]) -> bool,
) -> anyhow::Result<Result<Duration, Vec<Place>>> {
    loop {
        let places = places(crowd).await?;
        if holds(&places) {
            return Ok(Ok(began.elapsed()));
        }
        if began.elapsed() > within {
            return Ok(Err(places));
        }
        sleep(LOOK).await;
    }
}

/// Plays it.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..arguments.repeats(row) {
        let mut crowd = Crowd::begin(&system, arguments).await?;
        once(row, &mut system, &mut crowd, arguments, &mut outcome).await?;
        crowd.leave().await?;
    }
    Ok(outcome)
}

async fn once(
    row: &Row,
    system: &mut System,
    crowd: &mut Crowd,
    arguments: &Arguments,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let all = arguments.participants();
    let room = capacity(all) - PROBES;
    let steady = match arguments.untimed {
        true => STEADY_UNTIMED,
        false => STEADY,
    };
    let all_in = |places: &[Place]| count(places, Place::In) == all;
    let before = until(crowd, Instant::now(), GOES_ELSEWHERE, all_in).await?;
    anyhow::ensure!(before.is_ok(), "there is no room for all: {before:?}");
    crowd.settles(row, steady, outcome).await?;
    let began = Instant::now();
    for mut dead in system.handlers.drain(1..) {
        dead.process.kill();
        dead.process.exit();
    }
    // Everybody is in or told why not.
    let is_told = |places: &[Place]| {
        count(places, Place::In) == room && count(places, Place::Waits) == all - room
    };
    match until(crowd, began, row.bound * 2, is_told).await? {
        Ok(took) => outcome.samples.push(took),
        Err(places) => outcome.note(format!("{}: {places:?}, {room} may be in", row.name)),
    }
    let stand = places(crowd).await?;
    let moved = |places: &[Place]| places != stand;
    let since = Instant::now();
    if until(crowd, since, steady, moved).await?.is_ok() {
        outcome.note(format!("{}: somebody came or went for nothing", row.name));
    }
    let are_in = crowd.people().zip(&stand);
    for (person, _) in are_in.filter(|(_, place)| **place == Place::In) {
        if person.media_ups() > 1 {
            let ups = person.media_ups();
            outcome.note(format!("{}: one changed its handler {ups} times", row.name));
        }
    }
    // One of them leaves: another gets in.
    let leaver = crowd.meetings.iter_mut().find_map(|meeting| {
        let is_in = |person: &Person| Place::of(person.media()) == Place::In;
        let at = meeting.people.iter().position(is_in)?;
        Some(meeting.people.remove(at))
    });
    let leaver = leaver.context("nobody is in")?;
    let id = leaver.identity().me.unwrap_or_default();
    leaver.leave().await;
    crowd.people().for_each(|person| person.left(&id));
    let full = |places: &[Place]| count(places, Place::In) == room;
    let came = until(crowd, Instant::now(), TRIES_AGAIN, full).await?;
    if let Err(places) = came {
        let name = row.name;
        outcome.note(format!(
            "{name}: nobody came to the place of who left: {places:?}"
        ));
    }
    // Others come: all get in.
    block_in_place(|| system.fill())?;
    let came = Instant::now();
    let all_in = |places: &[Place]| count(places, Place::In) == all - 1;
    if let Err(places) = until(crowd, came, GOES_ELSEWHERE, all_in).await? {
        let name = row.name;
        outcome.note(format!(
            "{name}: somebody waits though there is room: {places:?}"
        ));
    }
    let flows = || crowd.people().all(|person| person.flows(FLOWS));
    if crate::play::until(came, GOES_ELSEWHERE, flows)
        .await
        .is_none()
    {
        outcome.note(format!("{}: not everybody sees everybody after", row.name));
    }
    if !crowd.browser_comes_to_see_all(GOES_ELSEWHERE).await? {
        let name = row.name;
        outcome.note(format!("{name}: the browser does not see everybody after"));
    }
    Ok(())
}
