//! One join, cut into stages.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use darktower_client::file::Clip;
use darktower_client::{
    Api, Client, CreateMeeting, Event, Events, Invitation, Link, Notice, Phase, Track,
};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

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

/// Joins from nothing but the link and a connection to the API, as a page has one that it came by; leaves again.
pub async fn cold(server: &str, invitation: &Invitation) -> anyhow::Result<Stages> {
    let api = Api::new(server)?;
    api.health().await?;

    let click = tokio::time::Instant::now();
    let access = api.lookup(&invitation.code, None).await?;
    let looked_up = click.elapsed();
    let (client, mut events) = Client::enter(access, invitation.secret.clone());
    client.join("Newcomer", Vec::new()).await?;
    // Events count from the entering.
    let before = click.elapsed().saturating_sub(client.now());
    let stages = timeout(JOIN_WITHIN, stages(&mut events, looked_up, before)).await;
    client.leave().await;
    stages.context("no picture in time")?
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
