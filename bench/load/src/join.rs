//! One join, cut into stages.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use darktower_client::file::Clip;
use darktower_client::{
    Api, Client, Command, CreateMeeting, Event, Events, Invitation, Link, Notice, Phase, Track,
};
use darktower_cluster::trace::TraceContext;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::tree::{self, Step};

/// A join that takes longer has failed.
const JOIN_WITHIN: Duration = Duration::from_secs(15);

/// When each stage was reached, in milliseconds since the click. Links come up side by side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stages {
    /// The API has answered where the meeting is.
    pub lookup_ms: f64,
    /// The signalling session is open.
    pub signal_up_ms: f64,
    /// The media session is open.
    pub media_up_ms: f64,
    /// The controller has answered the join.
    pub joined_ms: f64,
    /// The epoch that this participant is a member of is installed.
    pub epoch_ms: f64,
    /// The first picture of somebody else is opened.
    pub first_frame_ms: f64,
}

/// Somebody who is in the meeting and shows a picture.
pub struct Publisher {
    invitation: Invitation,
    client: Client,
    player: JoinHandle<()>,
    reader: JoinHandle<()>,
}

impl Publisher {
    /// Creates a meeting whose keys need the link, joins it, and plays `clip`.
    pub async fn start(server: &str, clip: Arc<Clip>) -> anyhow::Result<Self> {
        let api = Api::new(server)?;
        let wanted = CreateMeeting {
            key_in_link: Some(true),
            ..CreateMeeting::default()
        };
        let created = api.create_meeting(&wanted).await?;
        let invitation = Invitation::with_new_secret(&created.meeting.code);
        let invitation = invitation.context("no randomness")?;
        let access = api.lookup(&invitation.code, None).await?;
        let (client, mut events) = Client::enter(access, invitation.secret.clone());
        let tracks = client.join("Publisher", vec![clip.offer("camera")]).await?;
        let track = tracks.into_iter().next().context("no track")?;
        let ready = timeout(JOIN_WITHIN, track.ready()).await;
        ready.context("the publisher is not in the meeting")??;
        let player = tokio::spawn(play(track, clip));
        let reader = tokio::spawn(async move { while events.next().await.is_some() {} });
        Ok(Self {
            invitation,
            client,
            player,
            reader,
        })
    }

    /// The way into its meeting.
    pub fn invitation(&self) -> &Invitation {
        &self.invitation
    }

    /// Waits until nobody else is in the meeting or its key group.
    pub async fn alone(&self) -> anyhow::Result<()> {
        let alone = self.client.reach(|state| {
            let others = state.participants.iter().filter(|it| !it.me).count();
            others == 0 && state.e2ee.members == 1
        });
        timeout(JOIN_WITHIN, alone).await.context("not alone")??;
        Ok(())
    }

    /// Leaves.
    pub async fn stop(self) {
        self.player.abort();
        self.client.leave().await;
        self.reader.abort();
    }
}

async fn play(track: Track, clip: Arc<Clip>) {
    let begin = track.client().now();
    track.play(&clip, begin).await;
}

/// One join as the newcomer saw it, and what its trace is known by.
#[derive(Debug, Clone)]
pub struct Join {
    /// When it got how far.
    pub stages: Stages,
    clicked: SystemTime,
    /// What was told along with the lookup, both links, and the join.
    lookup: TraceContext,
    links: TraceContext,
    join: TraceContext,
}

/// Joins from nothing but the link and a connection to the API, as a page has one that it came by; leaves again.
pub async fn cold(server: &str, invitation: &Invitation) -> anyhow::Result<Join> {
    let api = Api::new(server)?;
    api.health().await?;
    let lookup = TraceContext::root();
    let (links, join) = (lookup.child(), lookup.child());
    let (of_lookup, of_links) = (lookup.to_string(), links.to_string());
    let wish = Command::Join {
        name: "Newcomer".to_owned(),
        tracks: Vec::new(),
        traceparent: join.to_string(),
    };

    let (click, clicked) = (tokio::time::Instant::now(), SystemTime::now());
    let code = &invitation.code;
    let access = api.lookup_traced(code, None, &of_lookup).await?;
    let looked_up = click.elapsed();
    let secret = invitation.secret.clone();
    let (client, mut events) = Client::enter_traced(access, secret, of_links);
    client.wish(wish).await?;
    // Events count from the entering.
    let before = click.elapsed().saturating_sub(client.now());
    let stages = timeout(JOIN_WITHIN, stages(&mut events, looked_up, before)).await;
    client.leave().await;
    Ok(Join {
        stages: stages.context("no picture in time")??,
        clicked,
        lookup,
        links,
        join,
    })
}

impl Join {
    /// Spans without which its trace is not complete.
    pub const WANTED: [&str; 4] = ["http_request", "session", "join", "media session"];

    /// Its trace id.
    pub fn trace(&self) -> String {
        self.lookup.trace_id()
    }

    /// What its tree of spans is drawn from.
    pub fn steps(&self, title: String) -> tree::Join {
        let Stages {
            lookup_ms,
            signal_up_ms,
            media_up_ms,
            joined_ms,
            epoch_ms,
            first_frame_ms,
        } = self.stages;
        let step = |name: &str, span: String, began_ms, ended_ms| Step {
            name: name.to_owned(),
            span,
            began_ms,
            ended_ms,
        };
        let up = signal_up_ms.max(media_up_ms);
        // Told in one breath, in either order.
        let joined_ms = joined_ms.min(epoch_ms);
        let clicked = self.clicked.duration_since(UNIX_EPOCH).unwrap_or_default();
        tree::Join {
            title,
            trace: self.trace(),
            click_unix_ms: clicked.as_secs_f64() * 1000.0,
            total_ms: first_frame_ms,
            steps: vec![
                step("lookup", self.lookup.span_id(), 0.0, lookup_ms),
                step("links open", self.links.span_id(), lookup_ms, up),
                step("signalling", String::new(), lookup_ms, signal_up_ms),
                step("media", String::new(), lookup_ms, media_up_ms),
                step("join", self.join.span_id(), signal_up_ms, joined_ms),
                step("keys", String::new(), joined_ms, epoch_ms),
                step("first frame", String::new(), epoch_ms, first_frame_ms),
            ],
        }
    }
}

async fn stages(
    events: &mut Events,
    looked_up: Duration,
    before: Duration,
) -> anyhow::Result<Stages> {
    let ms = |at: Duration| (before + at).as_secs_f64() * 1000.0;
    let (mut signal_up, mut media_up, mut joined, mut epoch) = (None, None, None, None);
    loop {
        match events.next().await.context("the participant is gone")? {
            Event::Up { link, at } => {
                let up = match link {
                    Link::Signal => &mut signal_up,
                    Link::Media => &mut media_up,
                };
                up.get_or_insert(ms(at));
            }
            Event::Phase { phase, at } => match phase {
                Phase::Joined => {
                    joined.get_or_insert(ms(at));
                }
                Phase::Failed | Phase::Ended => anyhow::bail!("could not join: {phase:?}"),
                _ => {}
            },
            Event::Notice {
                notice: Notice::Epoch { .. },
                at,
            } => {
                epoch.get_or_insert(ms(at));
            }
            Event::Frame(frame) if frame.video => {
                return Ok(Stages {
                    lookup_ms: looked_up.as_secs_f64() * 1000.0,
                    signal_up_ms: signal_up.context("a picture without signalling")?,
                    media_up_ms: media_up.context("a picture without media session")?,
                    joined_ms: joined.context("a picture before joining")?,
                    epoch_ms: epoch.context("a picture without keys")?,
                    first_frame_ms: ms(frame.at),
                });
            }
            Event::Frame(_) | Event::Down { .. } | Event::Notice { .. } => {}
        }
    }
}
