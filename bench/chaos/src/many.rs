//! The row of a controller that dies with hundreds of participants: all of them go to others at once.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::Arguments;
use crate::crowd::Crowd;
use crate::devices::Devices;
use crate::held::{forget_peak, peak, resident};
use crate::play::{Outcome, until};
use crate::rows::Row;
use crate::steady::{FLOWS, QUIET};
use crate::system::System;
use crate::tell::percentile;

/// Meetings, and participants of each, all on one controller. One of each films.
const MEETINGS: usize = 50;
const PEOPLE: usize = 10;
/// 99 of 100 are in their meetings again by then.
const NEARLY_ALL: Duration = Duration::from_secs(5);

/// Where they come to, a controller's queues are bounded: for each of them it holds no more than this at any time, beside
/// what it held before.
const EACH: f64 = 128.0 * 1024.0;

/// Plays it, each time with meetings of its own.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let devices = block_in_place(Devices::of_many)?;
    for _ in 0..arguments.repeats(row) {
        system.only_one_controller();
        let mut crowd = Crowd::of(&system, MEETINGS, PEOPLE, &devices).await?;
        if arguments.browser {
            crowd.is_looked_on(&system).await?;
        }
        block_in_place(|| system.fill())?;
        let before = crowd.settles(row, QUIET, &mut outcome).await?;
        let addr = system.controllers.first().map(|node| node.addr);
        let mut held = 0.0;
        let others = system.controllers.iter();
        for node in others.filter(|node| Some(node.addr) != addr) {
            forget_peak(&node.process)?;
            held += resident(&node.process)?;
        }
        let began = Instant::now();
        let struck = system.strike(row.victim, row.blow, addr).await?;
        let are_back = || crowd.people().all(|person| person.back().is_some());
        until(began, row.bound * 2, are_back).await;
        sleep(QUIET).await;
        crowd.are_the_same(row, &before, &mut outcome);
        for person in crowd.people() {
            match person.back() {
                Some(at) => outcome.samples.push(at - began),
                None => outcome.note(format!("{}: one never came back", row.name)),
            }
            if person.media_ups() > 0 || !person.flows(FLOWS) {
                outcome.note(format!("{}: media of somebody was disturbed", row.name));
            }
            let gaps = person.gaps().into_iter();
            outcome.gap = gaps.fold(outcome.gap, Duration::max);
        }
        crowd.look_at_browser(row, &mut outcome).await?;
        let peaks = system.controllers.iter().map(|node| peak(&node.process));
        let peaks: f64 = peaks.sum::<anyhow::Result<_>>()?;
        let each = (peaks - held) / (MEETINGS * PEOPLE) as f64;
        outcome.told.push(format!(
            "controllers held at most {:.0} KiB more for each",
            each / 1024.0
        ));
        if each > EACH {
            outcome.note(format!("{}: controllers held too much", row.name));
        }
        block_in_place(|| system.mend(struck))?;
        crowd.leave().await?;
    }
    let mut sorted = outcome.samples.clone();
    sorted.sort();
    let nearly_all = percentile(&sorted, 99).unwrap_or(f64::INFINITY);
    outcome
        .told
        .push(format!("99 of 100 within {nearly_all:.0} ms"));
    if nearly_all > NEARLY_ALL.as_secs_f64() * 1000.0 && !arguments.untimed {
        outcome.note(format!("{}: that is longer than {NEARLY_ALL:?}", row.name));
    }
    Ok(outcome)
}
