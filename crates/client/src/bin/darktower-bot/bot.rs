//! One bot: from the lookup to its summary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::file::Clip;
use darktower_client::synthetic::{self, Camera, Microphone};
use darktower_client::{
    Api, Client, Event, Events, Frame, Invitation, Phase, State, Track, TrackOffer, Via,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::order::{Mine, Order};
use crate::say;
use crate::seen::{Expected, Tracks};

/// What all bots of a process do.
pub(crate) struct Plan {
    pub(crate) server: String,
    pub(crate) invitation: Invitation,
    pub(crate) token: Option<String>,
    pub(crate) clips: Vec<Arc<Clip>>,
    pub(crate) camera: bool,
    pub(crate) microphone: bool,
    pub(crate) media_via: Option<SocketAddr>,
    pub(crate) stay: Option<Duration>,
    pub(crate) expected: Expected,
    pub(crate) expect_tracks: usize,
}

struct Bot {
    number: usize,
    plan: Arc<Plan>,
    client: Client,
    /// When the join was asked for, on the client's clock.
    clicked: Duration,
    own: BTreeMap<u32, (Arc<Track>, AbortHandle)>,
    tracks: Tracks,
    has_joined: bool,
    epoch: (u64, String),
}

/// How the day ends.
enum End {
    Leave,
    Vanish,
}

/// Runs one bot; whether all that was expected has come.
pub(crate) async fn run(
    number: usize,
    name: String,
    plan: Arc<Plan>,
    mut orders: Mine,
) -> anyhow::Result<bool> {
    let api = Api::new(&plan.server)?;
    let code = &plan.invitation.code;
    let access = api.lookup(code, plan.token.as_deref()).await;
    let access = access.inspect_err(|error| {
        let code = error.code().map(|it| it.name());
        say(
            number,
            "error",
            json!({"code": code, "detail": error.to_string()}),
        );
    })?;
    let via = plan.media_via.map_or(Via::Themselves, Via::Media);
    let secret = plan.invitation.secret.clone();
    let (client, mut events) = Client::enter_via(access, secret, String::new(), via);
    client.look_up_at(api).await?;
    let clicked = client.now();
    let clips = plan.clips.iter().map(|clip| offer(clip));
    let camera = plan.camera.then(synthetic::camera_offer);
    let microphone = plan.microphone.then(synthetic::microphone_offer);
    let offers = clips.chain(camera).chain(microphone).collect();
    let tracks = client.join(&name, offers).await?;
    let mut bot = Bot {
        number,
        client,
        clicked,
        own: BTreeMap::new(),
        tracks: Tracks::default(),
        has_joined: false,
        epoch: (0, String::new()),
        plan,
    };
    let clips = bot.plan.clips.clone();
    let mut tracks = tracks.into_iter();
    for (clip, track) in clips.iter().zip(tracks.by_ref()) {
        bot.play(track, clip);
    }
    // Cameras of several bots differ.
    let camera = bot
        .plan
        .camera
        .then(|| Camera::new(&synthetic::camera_shape(), number as u64));
    if let Some(camera) = camera
        && let Some(track) = tracks.next()
    {
        bot.film(track, camera);
    }
    if let Some(track) = tracks.next() {
        bot.speak(track);
    }
    let end = bot.stay(&mut events, &mut orders).await?;
    bot.finish(end).await
}

fn offer(clip: &Clip) -> TrackOffer {
    clip.offer(if clip.is_video() {
        "camera file"
    } else {
        "microphone file"
    })
}

impl Bot {
    fn play(&mut self, track: Track, clip: &Arc<Clip>) {
        let (track, clip) = (Arc::new(track), Arc::clone(clip));
        let (player, clicked) = (Arc::clone(&track), self.clicked);
        let task = tokio::spawn(async move {
            // Its tracks share one begin, so that sound and picture belong together.
            if player.ready().await.is_ok() {
                let late = player.client().now() - clicked;
                let round = Duration::from_millis(20 * (1 + late.as_millis() as u64 / 20));
                player.play(&clip, clicked + round).await;
            }
        });
        self.own
            .insert(track.handle(), (track, task.abort_handle()));
    }

    fn film(&mut self, track: Track, camera: Camera) {
        let track = Arc::new(track);
        let (filming, number) = (Arc::clone(&track), self.number);
        let task = tokio::spawn(async move {
            if filming.ready().await.is_ok() {
                let from = filming.client().now();
                let told = |_, layer, bps| {
                    say(number, "encode", json!({"layer": layer, "bps": bps}));
                };
                filming.film(camera, from, told).await;
            }
        });
        self.own
            .insert(track.handle(), (track, task.abort_handle()));
    }

    fn speak(&mut self, track: Track) {
        let track = Arc::new(track);
        let speaking = Arc::clone(&track);
        let task = tokio::spawn(async move {
            if speaking.ready().await.is_ok() {
                let from = speaking.client().now();
                let voice = Microphone::new(vec![(Duration::ZERO, Some(25))]);
                speaking.speak(voice, from, |_, _, _| {}).await;
            }
        });
        self.own
            .insert(track.handle(), (track, task.abort_handle()));
    }

    async fn stay(&mut self, events: &mut Events, orders: &mut Mine) -> anyhow::Result<End> {
        let mut state = self.client.state();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut terminate = signal(SignalKind::terminate())?;
        let until = self.plan.stay.map(|stay| Instant::now() + stay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        if self.heard(event) {
                            return Ok(End::Leave);
                        }
                    }
                    None => return Ok(End::Leave),
                },
                changed = state.changed() => {
                    changed?;
                    let shown = state.borrow_and_update().clone();
                    self.shown(&shown);
                }
                order = orders.next() => {
                    if let Some(end) = self.ordered(order).await? {
                        return Ok(end);
                    }
                }
                _ = second.tick(), if self.has_joined => self.count("counters").await?,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Ok(End::Leave);
                }
                told = tokio::signal::ctrl_c() => {
                    told?;
                    return Ok(End::Leave);
                }
                _ = terminate.recv() => return Ok(End::Leave),
            }
        }
    }

    /// Whether the participant is out for good.
    fn heard(&mut self, event: Event) -> bool {
        match event {
            Event::Frame(frame) => self.frame(&frame),
            Event::Up { link, at } => {
                let link = format!("{link:?}").to_lowercase();
                self.say_at("link", at, json!({"link": link, "up": true}));
            }
            Event::Down { link, at } => {
                let link = format!("{link:?}").to_lowercase();
                self.say_at("link", at, json!({"link": link, "up": false}));
            }
            Event::Phase { phase, at } => {
                self.say_at("phase", at, json!({"phase": phase}));
                if phase == Phase::Joined && !self.has_joined {
                    self.has_joined = true;
                    let state = self.client.state().borrow().clone();
                    let me = state.me.map(|it| it.id);
                    let code = state.meeting.map(|it| it.code);
                    let handles: Vec<_> = self.own.keys().collect();
                    let facts = json!({"participant": me, "meeting": code, "handles": handles});
                    self.say_at("joined", at, facts);
                }
                return matches!(phase, Phase::Left | Phase::Ended | Phase::Failed);
            }
            Event::Notice { notice, at } => self.say_at("notice", at, json!({"notice": notice})),
        }
        false
    }

    fn frame(&mut self, frame: &Frame) {
        let state = self.client.state();
        let codec = match self.tracks.of(frame.track) {
            // The description does not change: asked for once a second at most.
            Some(seen) if seen.frames % 30 != 0 => None,
            _ => codec_of(&state.borrow(), frame.track.0),
        };
        let known = &self.plan.expected;
        if self.tracks.check(frame, codec.as_deref(), known) {
            let facts = json!({
                "track": frame.track.0,
                "owner": frame.owner.map(|it| it.to_string()),
                "kind": if frame.video { "video" } else { "audio" },
                "codec": codec,
                "key": frame.key,
            });
            self.say_at("first_frame", frame.at, facts);
        }
    }

    fn shown(&mut self, state: &State) {
        let epoch = (state.e2ee.epoch, state.e2ee.code.clone());
        if state.e2ee.ready && epoch != self.epoch {
            let facts = json!({
                "epoch": epoch.0,
                "code": epoch.1,
                "members": state.e2ee.members,
            });
            self.epoch = epoch;
            self.say_at("epoch", self.client.now(), facts);
        }
    }

    /// Carries out an order; how to end, if that is what it says.
    async fn ordered(&mut self, order: Order) -> anyhow::Result<Option<End>> {
        match order {
            Order::Leave => return Ok(Some(End::Leave)),
            Order::Vanish => return Ok(Some(End::Vanish)),
            Order::NoMore => return Ok(self.plan.stay.is_none().then_some(End::Leave)),
            Order::State => {
                let state = json!(self.client.refresh().await?);
                self.say_at("state", self.client.now(), json!({"state": state}));
            }
            Order::Publish(file) => self.publish(&file).await?,
            Order::Mute { handle, muted } => match self.own.get(&handle) {
                Some((track, _)) => track.mute(muted).await?,
                None => self.refuse("no such handle"),
            },
            Order::Unpublish { handle } => match self.own.remove(&handle) {
                Some((track, task)) => {
                    task.abort();
                    track.unpublish().await?;
                }
                None => self.refuse("no such handle"),
            },
            Order::Wish(command) => self.client.wish(command).await?,
            Order::NotUnderstood(why) => self.refuse(&why),
        }
        Ok(None)
    }

    async fn publish(&mut self, file: &Path) -> anyhow::Result<()> {
        match Clip::open(file) {
            Ok(clip) => {
                let track = self.client.publish(offer(&clip)).await?;
                let handle = track.handle();
                self.play(track, &Arc::new(clip));
                self.say_at("published", self.client.now(), json!({"handle": handle}));
            }
            Err(error) => self.refuse(&error.to_string()),
        }
        Ok(())
    }

    fn refuse(&self, why: &str) {
        self.say_at("error", self.client.now(), json!({"detail": why}));
    }

    async fn count(&mut self, event: &str) -> anyhow::Result<()> {
        let counters = self.client.refresh().await?.counters;
        let now = self.client.now();
        let tracks = self.tracks.show(now, now.saturating_sub(self.clicked));
        self.say_at(event, now, json!({"counters": counters, "tracks": tracks}));
        Ok(())
    }

    async fn finish(mut self, end: End) -> anyhow::Result<bool> {
        let state = self
            .client
            .refresh()
            .await
            .context("the participant is gone")?;
        let now = self.client.now();
        let enough = self.tracks.with_frames() >= self.plan.expect_tracks;
        let ok = self.has_joined && enough && self.tracks.is_well(&self.plan.expected);
        let facts = json!({
            "ok": ok,
            "joined": self.has_joined,
            "error": state.error,
            "epoch": state.e2ee.epoch,
            "code": state.e2ee.code,
            "counters": state.counters,
            "tracks": self.tracks.show(now, now.saturating_sub(self.clicked)),
        });
        for (_, task) in self.own.values() {
            task.abort();
        }
        match end {
            End::Leave => self.client.leave().await,
            End::Vanish => self.client.clone().vanish().await,
        }
        self.say_at("summary", now, facts);
        Ok(ok)
    }

    fn say_at(&self, event: &str, at: Duration, mut facts: Value) {
        let since = at.saturating_sub(self.clicked).as_secs_f64() * 1000.0;
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("t_ms".to_owned(), json!((since * 10.0).round() / 10.0));
        }
        say(self.number, event, facts);
    }
}

fn codec_of(state: &State, track: u32) -> Option<String> {
    let mut tracks = state.participants.iter().flat_map(|it| &it.tracks);
    tracks.find(|it| it.id == track).map(|it| it.codec.clone())
}
