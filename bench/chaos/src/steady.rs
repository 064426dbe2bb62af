//! Everybody sees everybody: waited for before a blow, and looked at after it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::crowd::{Crowd, Identity, Meeting, Person};
use crate::onlooker::{Onlooker, Report};
use crate::play::{Outcome, until};
use crate::rows::Row;

/// Quiet time before a blow, in which everything flows, and after everybody is back: what is broken shows, and a gap
/// that begins late counts.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// A flow without a frame for longer has stopped.
pub(crate) const FLOWS: Duration = Duration::from_millis(400);
/// The same at a browser, which draws what it gets on processors that have everything else to do.
const FLOWS_AT_BROWSER: Duration = Duration::from_secs(1);
/// Everything flows by then.
const FLOWS_BY: Duration = Duration::from_secs(20);
/// How often a browser is asked.
const LOOK: Duration = Duration::from_millis(20);

impl Crowd {
    /// Waits until everybody has seen everybody for a while; what they see counts from then on. Who is with whom.
    pub(crate) async fn settles(
        &mut self,
        row: &Row,
        quiet: Duration,
        outcome: &mut Outcome,
    ) -> anyhow::Result<Vec<Identity>> {
        sleep(quiet).await;
        // Who came last may not have been shown all pictures yet.
        let flows = || self.people().all(|person| person.flows(FLOWS));
        if until(Instant::now(), FLOWS_BY, flows).await.is_none() {
            outcome.note(format!("{}: not everybody sees everybody before", row.name));
        }
        if !self.browser_comes_to_see_all(FLOWS_BY).await? {
            let name = row.name;
            outcome.note(format!("{name}: the browser does not see everybody before"));
        }
        let before = self.people().map(Person::identity).collect();
        self.people().for_each(Person::reset);
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.reset().await?;
        }
        Ok(before)
    }

    /// Everybody must be who they were, with whom they were.
    pub(crate) fn are_the_same(&self, row: &Row, before: &[Identity], outcome: &mut Outcome) {
        for (person, before) in self.people().zip(before) {
            let now = person.identity();
            if now != *before {
                outcome.note(format!("{}: {before:?} became {now:?}", row.name));
            }
        }
    }

    /// Whether pictures of everybody come at the browser within this time, if there is one.
    pub(crate) async fn browser_comes_to_see_all(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<bool> {
        let (Some(onlooker), Some(first)) = (&mut self.onlooker, self.meetings.first()) else {
            return Ok(true);
        };
        let begun = Instant::now();
        while !sees_all(&onlooker.report().await?, first) {
            if begun.elapsed() > within {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }

    /// What must hold for the browser, if there is one.
    pub(crate) async fn look_at_browser(
        &mut self,
        row: &Row,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        match (&mut self.onlooker, self.meetings.first()) {
            (Some(onlooker), Some(first)) => look_at(row, onlooker, first, outcome).await,
            _ => Ok(()),
        }
    }
}

/// Pictures of everybody who films in this meeting come at the browser.
fn sees_all(report: &Report, meeting: &Meeting) -> bool {
    report.senders() >= meeting.films() && report.lasting() <= FLOWS_AT_BROWSER
}

async fn look_at(
    row: &Row,
    onlooker: &mut Onlooker,
    meeting: &Meeting,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let report = onlooker.report().await?;
    if !onlooker.is_same(&report) {
        outcome.note(format!("{}: the browser is another: {report:?}", row.name));
    }
    if !sees_all(&report, meeting) {
        outcome.note(format!(
            "{}: the browser does not see everybody: {report:?}",
            row.name
        ));
    }
    let people = meeting.people.iter();
    let apart: Vec<_> = people
        .filter_map(|person| person.gap_apart(onlooker.id()))
        .collect();
    let seen = apart.iter().copied().max();
    let gap = report.longest().max(seen.unwrap_or(Duration::MAX));
    if gap > row.at_browser() {
        let there = report.in_words();
        let who = format!("{}: the browser", row.name);
        let slow = format!("{who} was not seen for {apart:?} by the others; it had {there}");
        outcome.slow.push(slow);
    }
    outcome.browser.push(gap);
    Ok(())
}
