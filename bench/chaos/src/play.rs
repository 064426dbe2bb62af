//! One row, again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::slice::from_ref;
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::{Api, CreateMeeting};
use darktower_cluster_tests::http;
use serde_json::json;
use tokio::task::block_in_place;
use tokio::time::{Instant, interval, timeout};

use crate::Arguments;
use crate::askers::Asker;
use crate::crowd::{Crowd, Identity, Meeting, places};
use crate::rows::{Blow, Ground, Measure, Row, Victim};
use crate::steady::{FLOWS, QUIET};
use crate::system::System;
use crate::visited::Visited;

/// Quiet time where times are not what is looked at.
const QUIET_UNTIMED: Duration = Duration::from_millis(500);
/// How often it is looked whether everybody is back.
const LOOK: Duration = Duration::from_millis(20);
/// How often somebody comes to a meeting.
const NEWCOMERS: Duration = Duration::from_millis(250);
/// Meetings that are created to see that none comes to a handler.
const NEW_MEETINGS: usize = 12;
/// A handler through which media comes again gets meetings by then, also one that failed again and again: it is asked
/// for up to forty good probes.
const RETURNS: Duration = Duration::from_secs(60);
/// What a state store lost is there again so long after it is back.
const REWRITTEN: Duration = Duration::from_secs(5);

/// What came of a row.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Duration>,
    /// The longest gap of media.
    pub(crate) gap: Duration,
    /// The longest gaps of pictures between the browser and anybody else, one for each blow.
    pub(crate) browser: Vec<Duration>,
    /// Where it was longer than it may be.
    pub(crate) slow: Vec<String>,
    /// What else was measured.
    pub(crate) told: Vec<String>,
    /// What must not be.
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    /// Whether the row holds.
    pub(crate) fn is_ok(&self, row: &Row) -> bool {
        self.problems.is_empty() && self.is_timely(row)
    }

    /// Whether no bound of time was passed.
    pub(crate) fn is_timely(&self, row: &Row) -> bool {
        let longest = self.samples.iter().max();
        longest.is_some_and(|longest| *longest <= row.bound)
            && self.gap <= row.gap
            && self.browser.iter().all(|gap| *gap <= row.at_browser())
    }

    pub(crate) fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// Plays it.
pub(crate) async fn row(
    row: &Row,
    mut system: System,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let mut crowd = Crowd::begin(&system, arguments).await?;
    let askers = askers(row, &system, &crowd.meetings);
    let visited = match row.ground {
        Ground::Cluster => Some(Visited::begin(&system).await?),
        _ => None,
    };
    let quiet = match arguments.untimed {
        true => QUIET_UNTIMED,
        false => QUIET,
    };
    let mut outcome = Outcome::default();
    if row.ground == Ground::Spread && crowd.meetings.iter().any(|meeting| meeting.handlers() < 2) {
        outcome.note(format!("{}: a meeting is on one handler", row.name));
    }
    for _ in 0..arguments.repeats(row) {
        let beside = (&askers[..], visited.as_ref());
        once(row, &mut system, &mut crowd, beside, quiet, &mut outcome).await?;
    }
    if let Some(servers) = &system.servers {
        let lost = servers.lost(&askers);
        let told: usize = askers.iter().map(|asker| asker.codes().len()).sum();
        if told == 0 || !lost.is_empty() {
            outcome.note(format!("{}: of {told} rows are lost: {lost:?}", row.name));
        }
    }
    if let Some(visited) = visited {
        visited.leave().await;
    }
    crowd.leave().await?;
    Ok(outcome)
}

async fn once(
    row: &Row,
    system: &mut System,
    crowd: &mut Crowd,
    (askers, visited): (&[Asker], Option<&Visited>),
    quiet: Duration,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let before = crowd.settles(row, quiet, outcome).await?;
    let meetings = &crowd.meetings;
    let (victim, concerned) = aim(row, system, meetings).await?;
    let people = || concerned.iter().flat_map(|meeting| &meeting.people);
    let globals = system.apis();
    let owners = match (row.victim, row.blow) {
        (Victim::Controller, Blow::Cut) => system.watch_owners(&concerned)?,
        _ => Vec::new(),
    };
    let began = Instant::now();
    let struck = system.strike(row.victim, row.blow, victim).await?;
    let healed = Instant::now();
    askers.iter().for_each(Asker::reset);
    if row.measure == Measure::Known {
        for server in &globals {
            for meeting in meetings {
                match meeting.lookup(from_ref(server), row.bound).await {
                    Some(took) => outcome.samples.push(took),
                    None => outcome.note(format!("{}: {server} does not answer", row.name)),
                }
            }
            match refused(server) {
                Ok(took) => outcome.samples.push(took),
                Err(problem) => outcome.note(format!("{}: {problem}", row.name)),
            }
        }
    }
    if let (Measure::Create, Some(visited)) = (row.measure, visited) {
        taken_up(row, &globals, meetings.len(), visited, began, outcome).await;
    }
    if row.measure == Measure::Avoided {
        avoided(row, &globals, &concerned, victim, began, outcome).await?;
    }
    let is_back = || match row.measure {
        Measure::Avoided => people().all(|person| person.sees_again()),
        Measure::Back => people().all(|person| person.back().is_some()),
        Measure::Gap => people().all(|person| person.sees_again()),
        Measure::Through => people().all(|person| person.sees_since(healed)),
        Measure::Still(time) | Measure::Kept(time) => began.elapsed() > time,
        Measure::Lookup | Measure::Written => {
            askers.iter().all(|asker| asker.well_since().is_some())
        }
        Measure::Known
        | Measure::Create
        | Measure::Told
        | Measure::AllBack
        | Measure::Evened
        | Measure::Soaked
        | Measure::Seat { .. }
        | Measure::Rolled { .. } => true,
    };
    let mut look = interval(LOOK);
    let patience = match row.measure {
        Measure::Still(time) | Measure::Kept(time) => time * 2,
        _ => row.bound * 2,
    };
    let mut newcomers = interval(NEWCOMERS);
    while !is_back() && began.elapsed() < patience {
        tokio::select! {
            _ = look.tick() => {}
            // Whoever comes finds out that a controller is gone of which nobody in the meeting knows.
            _ = newcomers.tick(), if row.blow == Blow::Cut => {
                for meeting in &concerned {
                    let _told = meeting.lookup(&globals, NEWCOMERS).await;
                }
            }
        }
    }
    tokio::time::sleep(quiet).await;
    for asker in askers {
        match asker.well_since() {
            Some(at) => outcome.samples.push(at - began),
            None => outcome.note(format!(
                "{}: one is not answered: {:?}",
                row.name,
                asker.failed()
            )),
        }
    }
    for person in people() {
        match row.measure {
            Measure::Back => match person.back() {
                Some(at) => outcome.samples.push(at - began),
                None => outcome.note(format!("{}: one never came back", row.name)),
            },
            Measure::Gap | Measure::Through | Measure::Still(_) | Measure::Kept(_) => {
                outcome.samples.extend(person.gaps());
            }
            _ => {}
        }
    }
    if matches!(row.measure, Measure::Kept(_)) {
        let mut used = false;
        for _ in 0..NEW_MEETINGS {
            used |= is_used(&globals, victim).await?;
        }
        if !used {
            outcome.note(format!("{}: no new meeting came to it", row.name));
        }
    }
    block_in_place(|| system.mend(struck))?;
    if row.measure == Measure::Avoided {
        let healed = Instant::now();
        while !is_used(&globals, victim).await? {
            if healed.elapsed() > RETURNS {
                outcome.note(format!("{}: no meeting came to it once healed", row.name));
                break;
            }
        }
    }
    if let (Victim::Masters, Some(visited)) = (row.victim, visited) {
        let healed = Instant::now();
        for entered in visited.enter(&globals, healed, REWRITTEN).await {
            match entered {
                Some(took) => outcome
                    .told
                    .push(format!("joined {took:.1?} after all were back")),
                None => outcome.note(format!("{}: a meeting is lost", row.name)),
            }
        }
    }
    tokio::time::sleep(quiet).await;
    if !owners.is_empty() {
        system.has_stepped_down(victim, owners.len())?;
    }
    for owners in owners {
        if let Err(problem) = owners.changed_in_order().await {
            outcome.note(format!("{}: {problem:#}", row.name));
        }
    }
    judge(row, &concerned, meetings, &before, outcome);
    crowd.look_at_browser(row, outcome).await
}

/// How long it took since `began` until it holds; `None` where that is longer than `within`.
pub(crate) async fn until(
    began: Instant,
    within: Duration,
    holds: impl Fn() -> bool,
) -> Option<Duration> {
    while !holds() {
        if began.elapsed() > within {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
    Some(began.elapsed())
}

/// Until newcomers to the meetings concerned are sent elsewhere; new meetings are, too.
async fn avoided(
    row: &Row,
    globals: &[String],
    concerned: &[&Meeting],
    victim: Option<SocketAddr>,
    began: Instant,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let server = globals.first().context("there is no global controller")?;
    for meeting in concerned {
        while Some(meeting.places(server).await?.1) == victim && began.elapsed() < row.bound * 2 {
            tokio::time::sleep(LOOK).await;
        }
        outcome.samples.push(began.elapsed());
    }
    // Each controller judges by itself.
    tokio::time::sleep_until(began + row.bound).await;
    for _ in 0..NEW_MEETINGS {
        if is_used(globals, victim).await? {
            outcome.note(format!("{}: a new meeting came to it", row.name));
        }
    }
    Ok(())
}

/// Until as many meetings can be created as there are, and those that are visited joined.
async fn taken_up(
    row: &Row,
    globals: &[String],
    meetings: usize,
    visited: &Visited,
    began: Instant,
    outcome: &mut Outcome,
) {
    let within = row.bound * 2;
    let create = async {
        let mut all = Vec::new();
        for _ in 0..meetings {
            let at = created(globals, began, within).await;
            all.push(at.map(|at| at - began));
        }
        all
    };
    let (entered, created) = tokio::join!(visited.enter(globals, began, within), create);
    for took in entered.into_iter().chain(created) {
        match took {
            Some(took) => outcome.samples.push(took),
            None => outcome.note(format!(
                "{}: a meeting cannot be created or joined",
                row.name
            )),
        }
    }
}

/// Whether a meeting that is created now comes to this handler.
async fn is_used(globals: &[String], handler: Option<SocketAddr>) -> anyhow::Result<bool> {
    let server = globals.first().context("there is no global controller")?;
    let (api, wanted) = (Api::new(server)?, CreateMeeting::default());
    let code = api.create_meeting(&wanted).await?.meeting.code;
    Ok(Some(places(server, &code).await?.1) == handler)
}

/// Who asks all the time.
fn askers(row: &Row, system: &System, meetings: &[Meeting]) -> Vec<Asker> {
    let newcomer = |meeting: &Meeting| Asker::newcomer(system.api(), meeting.code.clone());
    match row.measure {
        Measure::Lookup => meetings.iter().map(newcomer).collect(),
        Measure::Written => system.apis().into_iter().map(Asker::writer).collect(),
        _ => Vec::new(),
    }
}

/// How long it takes until a meeting is refused with 503 and a time to come again.
fn refused(server: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let addr = server.trim_start_matches("http://").parse()?;
    let answer = block_in_place(|| http::post(addr, "/api/v1/meetings", &json!({})));
    let says_when = answer.header.to_lowercase().contains("\r\nretry-after: ");
    anyhow::ensure!(
        answer.status == 503 && says_when,
        "a meeting was not refused with 503 and a time: {answer:?}"
    );
    Ok(began.elapsed())
}

/// When a meeting was created, and its controller took it.
async fn created(globals: &[String], began: Instant, within: Duration) -> Option<Instant> {
    let wanted = CreateMeeting::default();
    for server in globals.iter().cycle() {
        let asked = async {
            let api = Api::new(server)?;
            let code = api.create_meeting(&wanted).await?.meeting.code;
            api.lookup(&code, None).await
        };
        if let Ok(Ok(_)) = timeout(Duration::from_secs(1), asked).await {
            return Some(Instant::now());
        }
        if began.elapsed() > within {
            break;
        }
    }
    None
}

/// The process that most meetings are on, and those.
async fn aim<'a>(
    row: &Row,
    system: &System,
    meetings: &'a [Meeting],
) -> anyhow::Result<(Option<SocketAddr>, Vec<&'a Meeting>)> {
    let mut on: BTreeMap<SocketAddr, Vec<&Meeting>> = BTreeMap::new();
    for meeting in meetings {
        let (controller, handler) = meeting.places(&system.api()).await?;
        let place = match row.victim {
            Victim::Controller => controller,
            Victim::Handler => handler,
            // Nobody who is in a meeting is concerned.
            Victim::Global => return Ok((Some(system.globals[0].addr), Vec::new())),
            Victim::Participant
            | Victim::Release
            | Victim::Each
            | Victim::Controllers
            | Victim::Handlers => {
                anyhow::bail!("that is played elsewhere")
            }
            Victim::Paths | Victim::Masters => return Ok((None, meetings.iter().collect())),
            Victim::Database | Victim::Primary | Victim::PrimaryServer | Victim::Master => {
                return Ok((None, Vec::new()));
            }
        };
        on.entry(place).or_default().push(meeting);
    }
    let most = on.into_iter().max_by_key(|(_, meetings)| meetings.len());
    let (addr, concerned) = most.ok_or_else(|| anyhow::anyhow!("there is no meeting"))?;
    if (row.ground, row.victim) == (Ground::Spread, Victim::Handler) {
        return Ok((Some(addr), meetings.iter().collect()));
    }
    Ok((Some(addr), concerned))
}

/// What must hold for everybody, concerned or not.
fn judge(
    row: &Row,
    concerned: &[&Meeting],
    meetings: &[Meeting],
    before: &[Identity],
    outcome: &mut Outcome,
) {
    let mut before = before.iter();
    for meeting in meetings {
        let is_concerned = concerned.iter().any(|it| it.code == meeting.code);
        for (number, person) in meeting.people.iter().enumerate() {
            let who = format!("{}: person {number} of {}", row.name, meeting.code);
            let now = person.identity();
            if before.next() != Some(&now) {
                outcome.note(format!("{who} is another, or with others: {now:?}"));
            }
            let stays = matches!(
                row.measure,
                Measure::Through | Measure::Still(_) | Measure::Kept(_)
            );
            if (stays || !is_concerned) && (person.was_lost() || person.media_ups() > 0) {
                outcome.note(format!("{who} was disturbed for nothing"));
            }
            let moves = matches!(row.measure, Measure::Gap | Measure::Avoided);
            let once = u32::from(moves);
            if person.media_ups() > once {
                outcome.note(format!(
                    "{who} changed its handler {} times",
                    person.media_ups()
                ));
            }
            let gap = person.gaps().into_iter().max().unwrap_or_default();
            let is_sample = matches!(
                row.measure,
                Measure::Gap | Measure::Through | Measure::Still(_) | Measure::Kept(_)
            );
            if is_sample && is_concerned && gap > row.bound {
                outcome
                    .slow
                    .push(format!("{who}: {}", person.slow(row.bound)));
            }
            if !is_sample || !is_concerned {
                outcome.gap = outcome.gap.max(gap);
                if gap > row.gap {
                    outcome
                        .slow
                        .push(format!("{who}: media stood still for {gap:?}"));
                }
            }
            if !person.flows(FLOWS) {
                outcome.note(format!("{who} does not see everybody"));
            }
        }
    }
}
