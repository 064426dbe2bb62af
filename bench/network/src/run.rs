//! One scenario over the real program.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use darktower_client::synthetic::clock;
use darktower_client::{Api, CreateMeeting, Invitation};
use darktower_load::system::System;
use darktower_network::record::{Person, Record};
use darktower_network::scenario::{Part, Scenario};
use darktower_network::world::{camera_track, microphone_track};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::cast::{Actor, Beginning};
use crate::relay::{Relay, Waited};

/// Time for those who are there from the beginning to join, and for each of them.
const PREPARE: Duration = Duration::from_secs(2);
const PREPARE_EACH: Duration = Duration::from_millis(500);

/// Plays a scenario in a new meeting of the program.
pub(crate) async fn play(
    system: &System,
    scenario: &Scenario,
    seed: u64,
) -> anyhow::Result<Record> {
    let origin = Instant::now();
    let early = scenario.cast.iter().filter(|part| part.joins.is_zero());
    let lead = PREPARE + PREPARE_EACH * early.count() as u32;
    let beginning = Beginning(clock() + lead);
    let begins = origin + lead;
    let mut relays = Vec::new();
    for (at, path) in (0..).zip(&scenario.links) {
        let conditions = (path.up, path.down);
        relays.push(Relay::start(
            system.media(),
            conditions,
            100 * seed + at,
            origin,
        )?);
    }
    let invitation = found(&system.url()).await?;
    let mut actors: BTreeMap<usize, Actor> = BTreeMap::new();
    let mut late = JoinSet::new();
    for (number, part) in scenario.cast.iter().enumerate() {
        let relay = relays.get(part.link).context("no such link")?;
        let (server, invitation) = (system.url(), invitation.clone());
        let (part, via): (Part, _) = (part.clone(), relay.addr());
        if part.joins.is_zero() {
            let joined = Actor::join(&server, &invitation, (number, &part), via, beginning);
            actors.insert(
                number,
                joined.await.with_context(|| format!("part {number}"))?,
            );
        } else {
            late.spawn(async move {
                sleep_until((begins + part.joins).into()).await;
                let joined = Actor::join(&server, &invitation, (number, &part), via, beginning);
                (number, joined.await)
            });
        }
    }
    anyhow::ensure!(Instant::now() < begins, "joining took too long");
    let mut changes: Vec<_> = (scenario.links.iter().zip(&relays))
        .flat_map(|(path, relay)| path.changes.iter().map(move |change| (change, relay)))
        .collect();
    changes.sort_by_key(|((at, ..), _)| *at);
    for (&(at, up, down), relay) in changes {
        sleep_until((begins + at).into()).await;
        relay.set(up, down)?;
    }
    sleep_until((begins + scenario.length).into()).await;
    while let Some(joined) = late.join_next().await {
        let (number, actor) = joined?;
        actors.insert(number, actor.with_context(|| format!("part {number}"))?);
    }
    let mut names = BTreeMap::new();
    for (number, actor) in &actors {
        let part = &scenario.cast[*number];
        let camera = part.camera.then(|| camera_track(*number).0);
        let voice = part.voice.as_ref().map(|_| microphone_track(*number).0);
        names.extend(
            actor
                .tracks
                .iter()
                .copied()
                .zip(camera.into_iter().chain(voice)),
        );
    }
    let mut leaving = JoinSet::new();
    for (number, actor) in actors {
        leaving.spawn(async move { (number, actor.leave().await) });
    }
    let mut people = vec![Person::default(); scenario.cast.len()];
    while let Some(left) = leaving.join_next().await {
        let (number, person) = left?;
        people[number] = renamed(person, &names);
    }
    let mut queues = Vec::new();
    for relay in relays {
        let (up, down) = relay.finish()?;
        queues.extend([since(up, lead), since(down, lead)]);
    }
    let length = scenario.length;
    Ok(Record {
        length,
        people,
        queues,
    })
}

/// A new meeting whose keys need the link.
async fn found(server: &str) -> anyhow::Result<Invitation> {
    let api = Api::new(server)?;
    let wanted = CreateMeeting {
        key_in_link: Some(true),
        ..CreateMeeting::default()
    };
    let created = api.create_meeting(&wanted).await?;
    Invitation::with_new_secret(&created.meeting.code).context("no randomness")
}

/// Tracks by the numbers that the scenario's rows know them by.
fn renamed(person: Person, names: &BTreeMap<u32, u32>) -> Person {
    let name = |track: u32| names.get(&track).copied().unwrap_or(track);
    let all = |tracks: Vec<u32>| tracks.into_iter().map(name).collect();
    Person {
        pictures: person
            .pictures
            .into_iter()
            .map(|(it, of)| (name(it), of))
            .collect(),
        sounds: person
            .sounds
            .into_iter()
            .map(|(it, of)| (name(it), of))
            .collect(),
        said: person
            .said
            .into_iter()
            .map(|(it, of)| (name(it), of))
            .collect(),
        paused: person
            .paused
            .into_iter()
            .map(|(at, it)| (at, all(it)))
            .collect(),
        speakers: person
            .speakers
            .into_iter()
            .map(|(at, it)| (at, all(it)))
            .collect(),
        ..person
    }
}

fn since(waited: Waited, lead: Duration) -> Waited {
    let after = waited.into_iter().filter(|(at, _)| *at >= lead);
    after.map(|(at, waited)| (at - lead, waited)).collect()
}
