//! The participants: native ones with a camera and, some of them, a microphone; and what they see.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::{Api, Client, CreateMeeting, Event, Events, LinkState, Phase, State, Via};
use serde::Deserialize;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, timeout};

use crate::Arguments;
use crate::devices::{Devices, speak};
use crate::gaps::Gaps;
use crate::onlooker::Onlooker;
use crate::system::System;

/// Joining takes no longer.
const WITHIN: Duration = Duration::from_secs(20);
/// A newcomer gives a global controller this long before the next one.
const LOOKUP_WITHIN: Duration = Duration::from_secs(1);

/// All meetings, and who is there at a browser.
pub(crate) struct Crowd {
    pub(crate) meetings: Vec<Meeting>,
    pub(crate) onlooker: Option<Onlooker>,
}

impl Crowd {
    /// So many meetings of so many as the command line asks for, and somebody at a browser where it does.
    pub(crate) async fn begin(system: &System, arguments: &Arguments) -> anyhow::Result<Self> {
        let devices = block_in_place(Devices::make)?;
        let (meetings, people) = (arguments.meetings, arguments.people);
        let mut crowd = Self::of(system, meetings, people, &devices).await?;
        if arguments.browser {
            crowd.is_looked_on(system).await?;
        }
        Ok(crowd)
    }

    /// Somebody comes to the first meeting at a browser.
    pub(crate) async fn is_looked_on(&mut self, system: &System) -> anyhow::Result<()> {
        if let Some(meeting) = self.meetings.first() {
            let link = format!("{}/m/{}", system.api(), meeting.code);
            let onlooker = Onlooker::arrive(&link, &system.ways()).await?;
            for person in &meeting.people {
                person.sets_apart(onlooker.id());
                let here =
                    |state: &State| state.participants.iter().any(|it| it.id == onlooker.id());
                let known = timeout(WITHIN, person.client.reach(here)).await;
                known.context("somebody was not told of the browser")??;
            }
            self.onlooker = Some(onlooker);
        }
        Ok(())
    }

    /// So many meetings of so many.
    pub(crate) async fn of(
        system: &System,
        meetings: usize,
        people: usize,
        devices: &Devices,
    ) -> anyhow::Result<Self> {
        let mut crowd = Self {
            meetings: Vec::new(),
            onlooker: None,
        };
        for _ in 0..meetings {
            let (api, ways) = (system.api(), system.ways());
            let meeting = Meeting::begin(&api, &ways, people, Some(devices));
            crowd.meetings.push(meeting.await?);
        }
        Ok(crowd)
    }

    /// Those who are no browsers.
    pub(crate) fn people(&self) -> impl Iterator<Item = &Person> {
        self.meetings.iter().flat_map(|meeting| &meeting.people)
    }

    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        for meeting in self.meetings {
            meeting.leave().await;
        }
        match self.onlooker {
            Some(onlooker) => onlooker.leave().await,
            None => Ok(()),
        }
    }
}

/// A meeting and everybody in it.
pub(crate) struct Meeting {
    /// As the state store names it.
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) people: Vec<Person>,
}

/// How somebody stands on a roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    Here,
    Away,
    Gone,
}

/// A participant that films, and what it saw.
pub(crate) struct Person {
    pub(crate) client: Client,
    /// The handler that it was sent to.
    door: String,
    films: bool,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    gaps: Gaps,
    /// Since the last reset: when it lost the meeting, and when it was in it again.
    lost: Option<Instant>,
    back: Option<Instant>,
    /// Media links opened since by which something came, and when the last was opened: whoever is refused hears that on one
    /// that is open.
    media_ups: u32,
    media_up: Option<Instant>,
    media_is_new: bool,
}

/// What must be the same afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) me: Option<String>,
    pub(crate) roster: BTreeSet<String>,
    pub(crate) epoch: u64,
    pub(crate) code: String,
}

impl Meeting {
    /// Creates a meeting in which everybody sees everybody.
    pub(crate) async fn begin(
        server: &str,
        ways: &Via,
        people: usize,
        devices: Option<&Devices>,
    ) -> anyhow::Result<Self> {
        let mut meeting = Self::create(server).await?;
        meeting.gather(server, ways, people, devices).await?;
        Ok(meeting)
    }

    /// Creates a meeting in which nobody is.
    pub(crate) async fn create(server: &str) -> anyhow::Result<Self> {
        let wanted = CreateMeeting {
            key_in_link: Some(false),
            ..CreateMeeting::default()
        };
        let created = Api::new(server)?.create_meeting(&wanted).await?.meeting;
        Ok(Self {
            id: created.id.to_string(),
            code: created.code,
            people: Vec::new(),
        })
    }

    /// So many come, and see one another.
    pub(crate) async fn gather(
        &mut self,
        server: &str,
        ways: &Via,
        people: usize,
        devices: Option<&Devices>,
    ) -> anyhow::Result<()> {
        for number in 0..people {
            let person = Person::join(server, ways, &self.code, number, devices).await?;
            self.people.push(person);
        }
        let films = devices.map_or(0, |devices| devices.films);
        for (number, person) in self.people.iter().enumerate() {
            let film = films.min(people) - usize::from(number < films);
            let all = |state: &State| {
                let others = state.participants.iter().filter(|other| !other.me);
                others.clone().count() + 1 == people
                    && others.filter(|other| !other.tracks.is_empty()).count() >= film
            };
            let reached = timeout(WITHIN, person.client.reach(all)).await;
            reached.context("not everybody came")??;
        }
        Ok(())
    }

    /// How long a newcomer takes to be told the way by one of these global controllers, tried in turn.
    pub(crate) async fn lookup(&self, globals: &[String], within: Duration) -> Option<Duration> {
        let began = Instant::now();
        for server in globals.iter().cycle() {
            let asked = async { Api::new(server)?.lookup(&self.code, None).await };
            if let Ok(Ok(_)) = timeout(LOOKUP_WITHIN, asked).await {
                return Some(began.elapsed());
            }
            if began.elapsed() > within {
                return None;
            }
        }
        None
    }

    /// Where its controller and its handler are, as a newcomer is told.
    pub(crate) async fn places(&self, server: &str) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        places(server, &self.code).await
    }

    /// How many in it film, those at browsers not counted.
    pub(crate) fn films(&self) -> usize {
        self.people.iter().filter(|person| person.films).count()
    }

    /// On how many handlers it is.
    pub(crate) fn handlers(&self) -> usize {
        let doors: BTreeSet<_> = self.people.iter().map(|person| &person.door).collect();
        doors.len()
    }

    pub(crate) async fn leave(self) {
        for person in self.people {
            person.leave().await;
        }
    }
}

/// Where the controller and the handler of a meeting are, as a newcomer is told.
pub(crate) async fn places(server: &str, code: &str) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let access = Api::new(server)?.lookup(code, None).await?;
    Ok((
        authority(&access.signal.url)?,
        authority(&access.media.url)?,
    ))
}

fn authority(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.split('/').nth(2).context("a URL with a host")?;
    Ok(host.parse()?)
}

impl Person {
    pub(crate) async fn join(
        server: &str,
        ways: &Via,
        code: &str,
        number: usize,
        devices: Option<&Devices>,
    ) -> anyhow::Result<Self> {
        let api = Api::new(server)?;
        let access = api.lookup(code, None).await?;
        let door = access.media.url.clone();
        let (client, events) = Client::enter_via(access, None, String::new(), ways.clone());
        client.look_up_at(api).await?;
        let camera = devices.filter(|devices| number < devices.films);
        let camera = camera.map(|devices| &devices.camera);
        let microphone = devices.filter(|devices| number < devices.speaks);
        let microphone = microphone.map(|devices| &devices.microphone);
        let clips = || camera.into_iter().chain(microphone);
        let offers = clips().map(|clip| clip.offer("clip")).collect();
        let tracks = client.join(&format!("Person {number}"), offers).await?;
        let seen = Arc::default();
        let mut person = Self {
            tasks: vec![tokio::spawn(watch(events, Arc::clone(&seen)))],
            client,
            door,
            films: camera.is_some(),
            seen,
        };
        let from = person.client.now();
        for (track, clip) in tracks.into_iter().zip(clips()) {
            let ready = timeout(WITHIN, track.ready()).await;
            ready.context("a device is not ready")??;
            let clip = Arc::clone(clip);
            person.tasks.push(match clip.is_video() {
                true => tokio::spawn(async move {
                    track.play(&clip, from).await;
                }),
                false => tokio::spawn(speak(track, clip, from)),
            });
        }
        Ok(person)
    }

    /// Somebody who neither films nor speaks, once they are in the meeting and hold its keys.
    pub(crate) async fn visit(server: &str, code: &str) -> anyhow::Result<Self> {
        let visitor = Self::join(server, &Via::default(), code, 0, None).await?;
        let is_in = |state: &State| state.phase == Phase::Joined && state.e2ee.ready;
        visitor.client.reach(is_in).await?;
        Ok(visitor)
    }

    pub(crate) async fn leave(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.client.leave().await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it sees counts from now.
    pub(crate) fn reset(&self) {
        let mut seen = self.seen();
        seen.gaps.reset();
        seen.lost = None;
        seen.back = None;
        seen.media_ups = 0;
        seen.media_up = None;
        seen.media_is_new = false;
    }

    /// When it was in the meeting again, where it was out of it.
    pub(crate) fn back(&self) -> Option<Instant> {
        self.seen().back
    }

    /// How long it was out of the meeting, where it was and is back.
    pub(crate) fn out(&self) -> Option<Duration> {
        let seen = self.seen();
        Some(seen.back?.saturating_duration_since(seen.lost?))
    }

    /// Whether it was out of the meeting.
    pub(crate) fn was_lost(&self) -> bool {
        self.seen().lost.is_some()
    }

    /// Whether it has another media link, and got something of everybody by it.
    pub(crate) fn sees_again(&self) -> bool {
        let seen = self.seen();
        seen.media_up.is_some_and(|then| seen.gaps.all_since(then))
    }

    /// Whether something came of everybody after `then`.
    pub(crate) fn sees_since(&self, then: Instant) -> bool {
        self.seen().gaps.all_since(then)
    }

    /// Whether something came of this one after `then`.
    pub(crate) fn sees_one_since(&self, owner: &str, then: Instant) -> bool {
        self.seen().gaps.any_since(owner, then)
    }

    /// What comes of this one is no gap of the others: it is at a browser or away, and told of by itself.
    pub(crate) fn sets_apart(&self, owner: &str) {
        self.seen().gaps.set_apart(owner);
    }

    /// The longest time since the reset without a new picture of one who is set apart.
    pub(crate) fn gap_apart(&self, owner: &str) -> Option<Duration> {
        self.seen().gaps.longest_apart(owner, Instant::now())
    }

    /// This one has left.
    pub(crate) fn left(&self, owner: &str) {
        self.seen().gaps.left(owner);
    }

    /// Media links opened since the reset by which something came.
    pub(crate) fn media_ups(&self) -> u32 {
        self.seen().media_ups
    }

    /// Whether its media link is up, and by which code it is refused where it is.
    pub(crate) fn media(&self) -> (bool, Option<&'static str>) {
        let links = self.client.state().borrow().links;
        (links.media == LinkState::Up, links.media_refused)
    }

    /// The longest gaps since the reset, of senders that ever sent.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        self.seen()
            .gaps
            .longest(Instant::now())
            .into_values()
            .collect()
    }

    /// Of whom it saw or heard nothing for longer than `bound`, in words.
    pub(crate) fn slow(&self, bound: Duration) -> String {
        let longest = self.seen().gaps.longest(Instant::now());
        let slow = longest.iter().filter(|(_, gap)| **gap > bound);
        let told = slow.map(|((owner, video), gap)| {
            let what = if *video { "pictures" } else { "sound" };
            format!("no {what} of {owner} for {gap:?}")
        });
        let state = self.client.state().borrow().clone();
        format!(
            "{}; {:?}",
            told.collect::<Vec<_>>().join(", "),
            state.estimates
        )
    }

    /// Whether something came of every sender within `within`.
    pub(crate) fn flows(&self, within: Duration) -> bool {
        self.seen().gaps.lasting(Instant::now()) <= within
    }

    /// Who it is and whom it is with.
    pub(crate) fn identity(&self) -> Identity {
        let state = self.client.state().borrow().clone();
        Identity {
            me: state.me.map(|me| me.id),
            roster: state.participants.into_iter().map(|one| one.id).collect(),
            epoch: state.e2ee.epoch,
            code: state.e2ee.code,
        }
    }
}

async fn watch(mut events: Events, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.next().await {
        let now = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Frame(frame) => {
                seen.gaps.came(&frame, now);
                seen.media_ups += u32::from(std::mem::take(&mut seen.media_is_new));
            }
            Event::Phase {
                phase: Phase::Reconnecting,
                ..
            } => {
                seen.lost.get_or_insert(now);
                seen.back = None;
            }
            Event::Phase {
                phase: Phase::Joined,
                ..
            } if seen.lost.is_some() => seen.back = Some(now),
            Event::Up {
                link: darktower_client::Link::Media,
                ..
            } => {
                seen.media_is_new = true;
                seen.media_up = Some(now);
            }
            _ => {}
        }
    }
}
