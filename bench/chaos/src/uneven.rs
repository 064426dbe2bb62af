//! The row of controllers that come: meetings of the one that carried everything go there, and nobody notices.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::Arguments;
use crate::crowd::Crowd;
use crate::play::Outcome;
use crate::rows::Row;
use crate::steady::{FLOWS, QUIET};
use crate::system::System;

/// How often it is looked where the meetings are.
const LOOK: Duration = Duration::from_millis(200);
/// More than so many percent of all participants are too many for one of three.
const EVEN_PERCENT: usize = 60;
/// Whoever goes is in the meeting again by then.
const OUT: Duration = Duration::from_secs(1);

/// What a controller takes, where so many participants are in all: one alone has work enough.
pub(crate) fn capacity(participants: usize) -> usize {
    participants * 2
}

/// Plays it, each time with meetings that begin on one controller.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..arguments.repeats(row) {
        system.only_one_controller();
        let mut crowd = Crowd::begin(&system, arguments).await?;
        let before = crowd.settles(row, QUIET, &mut outcome).await?;
        let began = Instant::now();
        block_in_place(|| system.fill())?;
        let mut even = false;
        while !even && began.elapsed() < row.bound * 2 {
            sleep(LOOK).await;
            even = is_even(&system, &crowd).await?;
        }
        match even {
            true => outcome.samples.push(began.elapsed()),
            false => outcome.note(format!("{}: one still carries much more", row.name)),
        }
        sleep(QUIET).await;
        crowd.are_the_same(row, &before, &mut outcome);
        for person in crowd.people() {
            if person.media_ups() > 0 || !person.flows(FLOWS) {
                outcome.note(format!("{}: media of somebody was disturbed", row.name));
            }
            if person.was_lost() && person.out().is_none_or(|out| out > OUT) {
                let out = person.out();
                outcome.note(format!("{}: somebody was out for {out:?}", row.name));
            }
            let gaps = person.gaps().into_iter();
            outcome.gap = gaps.fold(outcome.gap, Duration::max);
        }
        crowd.look_at_browser(row, &mut outcome).await?;
        crowd.leave().await?;
    }
    Ok(outcome)
}

async fn is_even(system: &System, crowd: &Crowd) -> anyhow::Result<bool> {
    let mut on = BTreeMap::<_, usize>::new();
    for meeting in &crowd.meetings {
        let (controller, _) = meeting.places(&system.api()).await?;
        *on.entry(controller).or_default() += meeting.people.len();
    }
    let all: usize = on.values().sum();
    Ok(on.values().all(|people| people * 100 <= all * EVEN_PERCENT))
}
