//! Native participants who play the parts of a scenario, and what they see.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::synthetic::{
    Camera, Mark, Microphone, camera_offer, camera_shape, clock, microphone_offer,
};
use darktower_client::{Api, Client, Command, Event, Events, Invitation, Link, State, Via, View};
use darktower_network::record::{Person, Picture, Said, Sample, Setting, Sound};
use darktower_network::scenario::Part;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};

/// Joining takes no longer, even on the worst of the links.
const WITHIN: Duration = Duration::from_secs(20);
/// How often the curves are sampled.
const SAMPLE: Duration = Duration::from_millis(100);

/// The clock of a run, in the words of chunks: time since 1970 at its beginning.
#[derive(Clone, Copy)]
pub(crate) struct Beginning(pub(crate) Duration);

impl Beginning {
    fn since(self, marked: Duration) -> Duration {
        marked.saturating_sub(self.0)
    }
}

type Shared = Arc<Mutex<Person>>;

fn note(person: &Shared, what: impl FnOnce(&mut Person)) {
    what(&mut person.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A participant who is there.
pub(crate) struct Actor {
    client: Client,
    person: Shared,
    tasks: Vec<JoinHandle<()>>,
    /// The ids of its tracks in the meeting, once it has joined.
    pub(crate) tracks: Vec<u32>,
}

impl Actor {
    /// Joins, and begins to film and speak.
    pub(crate) async fn join(
        server: &str,
        invitation: &Invitation,
        (number, part): (usize, &Part),
        via: SocketAddr,
        beginning: Beginning,
    ) -> anyhow::Result<Self> {
        let access = Api::new(server)?.lookup(&invitation.code, None).await?;
        let secret = invitation.secret.clone();
        let (client, events) = Client::enter_via(access, secret, String::new(), Via::Media(via));
        let camera = part.camera.then(camera_offer);
        let microphone = part.voice.as_ref().map(|_| microphone_offer());
        let offers = camera.into_iter().chain(microphone).collect();
        let joined = client.join(&format!("Part {number}"), offers).await?;
        let person = Shared::default();
        let mut actor = Self {
            client,
            person,
            tasks: Vec::new(),
            tracks: Vec::new(),
        };
        actor.tasks.push(tokio::spawn(watch(
            events,
            Arc::clone(&actor.person),
            beginning,
        )));
        let mut tracks = joined.into_iter();
        if part.camera {
            let track = tracks.next().context("no track for the camera")?;
            let id = timeout(WITHIN, track.ready())
                .await
                .context("not ready")??;
            actor.tracks.push(id.0);
            let camera = Camera::new(&camera_shape(), 1 + number as u64);
            let (person, from) = (Arc::clone(&actor.person), actor.client.now());
            actor.tasks.push(tokio::spawn(async move {
                let told = |at, layer, bps| {
                    let (at, bps) = (beginning.since(at), (bps > 0).then_some(u64::from(bps)));
                    note(&person, |it| it.encode.push(Setting { at, layer, bps }));
                };
                track.film(camera, from, told).await;
            }));
        }
        if let Some(speech) = part.voice.clone() {
            let track = tracks.next().context("no track for the microphone")?;
            let id = timeout(WITHIN, track.ready())
                .await
                .context("not ready")??;
            actor.tracks.push(id.0);
            let (now, begins) = (clock(), beginning.0);
            let speech = speech.into_iter().map(|(at, voice)| {
                // The first word counts from the first packet on.
                let from = match at {
                    Duration::ZERO => Duration::ZERO,
                    at => (begins + at).saturating_sub(now),
                };
                (from, voice)
            });
            let microphone = Microphone::new(speech.collect());
            let (person, from) = (Arc::clone(&actor.person), actor.client.now());
            actor.tasks.push(tokio::spawn(async move {
                let told = |at, counter, voice| {
                    let captured = beginning.since(at);
                    let said = Said {
                        captured,
                        counter,
                        voice,
                    };
                    note(&person, |it| it.said.entry(id.0).or_default().push(said));
                };
                track.speak(microphone, from, told).await;
            }));
        }
        actor.show(part);
        let (client, person) = (actor.client.clone(), Arc::clone(&actor.person));
        actor
            .tasks
            .push(tokio::spawn(sample(client, person, beginning)));
        Ok(actor)
    }

    /// Shows every camera that is there, as large as the part says, whoever comes.
    fn show(&mut self, part: &Part) {
        let size = part.shows;
        let client = self.client.clone();
        self.tasks.push(tokio::spawn(async move {
            let mut state = client.state();
            let mut said = None;
            loop {
                let views =
                    size.map_or(Vec::new(), |size| cameras(&state.borrow_and_update(), size));
                if said.as_ref() != Some(&views) {
                    said = Some(views.clone());
                    if client.wish(Command::Show { views }).await.is_err() {
                        return;
                    }
                }
                if state.changed().await.is_err() {
                    return;
                }
            }
        }));
    }

    /// Leaves; what it has seen.
    pub(crate) async fn leave(self) -> Person {
        for task in &self.tasks {
            task.abort();
        }
        let person =
            std::mem::take(&mut *self.person.lock().unwrap_or_else(PoisonError::into_inner));
        self.client.leave().await;
        person
    }
}

fn cameras(state: &State, (width, height): (u32, u32)) -> Vec<View> {
    let others = state.participants.iter().filter(|one| !one.me);
    let tracks = others.flat_map(|one| &one.tracks);
    let cameras = tracks.filter(|track| track.kind == "video");
    cameras
        .map(|track| View {
            track: track.id,
            width,
            height,
            pinned: false,
        })
        .collect()
}

/// Keeps what comes.
async fn watch(mut events: Events, person: Shared, beginning: Beginning) {
    while let Some(event) = events.next().await {
        let at = beginning.since(clock());
        match event {
            Event::Up {
                link: Link::Media, ..
            } => note(&person, |it| it.connected.push(at)),
            Event::Frame(frame) => {
                let Some(mark) = Mark::of(&frame.bytes) else {
                    continue;
                };
                let captured = beginning.since(mark.captured);
                let track = frame.track.0;
                note(&person, |it| {
                    if frame.video {
                        it.pictures.entry(track).or_default().push(Picture {
                            at,
                            captured,
                            layer: frame.layer,
                            temporal: 0,
                            key: frame.key,
                            bytes: frame.bytes.len(),
                        });
                    } else {
                        it.sounds.entry(track).or_default().push(Sound {
                            at,
                            captured,
                            counter: mark.counter,
                        });
                    }
                });
            }
            Event::Up { .. } | Event::Down { .. } | Event::Phase { .. } | Event::Notice { .. } => {}
        }
    }
}

/// Samples what is believed and used.
async fn sample(client: Client, person: Shared, beginning: Beginning) {
    let mut ticks = interval_at(Instant::now() + SAMPLE, SAMPLE);
    let state = client.state();
    let (mut seen, mut heard) = (0, 0);
    let mut told = Vec::new();
    let mut spoke = Vec::new();
    loop {
        ticks.tick().await;
        let at = beginning.since(clock());
        let (estimate, paused, speakers) = {
            let state = state.borrow();
            let tracks = state.participants.iter().flat_map(|one| &one.tracks);
            let paused = tracks.filter(|track| track.paused).map(|track| track.id);
            let paused: Vec<_> = paused.collect();
            (state.estimates.down_bps, paused, state.speakers.clone())
        };
        note(&person, |it| {
            let pictures: usize = it.pictures.values().flatten().map(|one| one.bytes).sum();
            // Sound has one size, which its mark does not say; see the synthetic microphone.
            let sounds = it.sounds.values().map(Vec::len).sum::<usize>() * 80;
            let came = (pictures - seen) + (sounds - heard);
            (seen, heard) = (pictures, sounds);
            it.bytes.push((at, came as u64));
            let first = it.pictures.values().next().and_then(|all| all.last());
            it.curve.push(Sample {
                at,
                estimate_bps: estimate.unwrap_or_default(),
                rate_bps: came as u64 * 80,
                layer: first.map(|picture| picture.layer),
                queue: Duration::ZERO,
            });
            if paused != told {
                it.paused.push((at, paused.clone()));
                told = paused;
            }
            if speakers != spoke {
                it.speakers.push((at, speakers.clone()));
                spoke = speakers;
            }
        });
    }
}
