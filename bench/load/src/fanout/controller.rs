//! The meeting controller's end of the handler's gRPC interface: says what should be, listens to what is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use darktower_cluster::grpc;
use darktower_cluster::rpc::media_command::Body;
use darktower_cluster::rpc::media_handler_client::MediaHandlerClient;
use darktower_cluster::rpc::{self, MediaCommand, MediaEvent, media_event};
use darktower_media::Kind;
use darktower_wire::ids::{MeetingId, ParticipantId, TrackId};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::scene::Meeting;

const FENCE: u64 = 1;
/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// A call to the handler.
pub struct Controller {
    commands: mpsc::Sender<MediaCommand>,
    connected: watch::Receiver<u64>,
    lost: Arc<AtomicU64>,
}

impl Controller {
    /// Calls the handler at `grpc_url`.
    pub async fn call(grpc_url: &str) -> anyhow::Result<Self> {
        let (commands, queue) = mpsc::channel(1024);
        let mut client = MediaHandlerClient::new(grpc::connect_lazy(grpc_url)?);
        let called = timeout(WITHIN, client.control(ReceiverStream::new(queue))).await;
        let mut events = called.context("the handler does not answer")??.into_inner();
        let (seen, connected) = watch::channel(0);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        tokio::spawn(async move {
            while let Ok(Some(event)) = events.message().await {
                match event {
                    MediaEvent {
                        body: Some(media_event::Body::SeatConnected(_)),
                        ..
                    } => seen.send_modify(|count| *count += 1),
                    MediaEvent {
                        body: Some(media_event::Body::SeatDisconnected(_)),
                        ..
                    } => {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        });
        Ok(Self {
            commands,
            connected,
            lost,
        })
    }

    async fn say(&self, meeting: MeetingId, body: Body) -> anyhow::Result<()> {
        let command = MediaCommand {
            meeting_id: Bytes::copy_from_slice(&meeting.0),
            fence: FENCE,
            traceparent: String::new(),
            body: Some(body),
        };
        let said = timeout(WITHIN, self.commands.send(command)).await;
        said.context("the handler takes no commands")?
            .context("the handler has hung up")
    }

    /// Seats everybody, announces all tracks, and says who gets which.
    pub async fn open(&self, meeting: &Meeting) -> anyhow::Result<()> {
        for member in &meeting.members {
            let joined = rpc::Seat {
                seat: seat(member.seat),
                ticket_sha256: Bytes::new(),
                joined: true,
            };
            self.say(meeting.id, Body::Seat(joined)).await?;
            for track in &member.tracks {
                let track = rpc::Track {
                    id: track.id.0,
                    seat: seat(member.seat),
                    video: track.kind == Kind::Video,
                    screen: false,
                    via: Default::default(),
                    layers: track.layer().into_iter().collect(),
                };
                self.say(meeting.id, Body::Track(track)).await?;
            }
        }
        let steered = meeting.members.iter();
        for member in steered.filter(|member| member.watch.is_said_by_controller()) {
            for (track, owner) in meeting.tracks() {
                let wanted = member.watch.wants(track, 0);
                if owner != member.seat && !wanted {
                    self.subscribe(meeting.id, member.seat, track, false)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Says whether one seat gets one track.
    pub async fn subscribe(
        &self,
        meeting: MeetingId,
        who: ParticipantId,
        track: TrackId,
        wanted: bool,
    ) -> anyhow::Result<()> {
        let subscription = rpc::Subscription {
            seat: seat(who),
            track: track.0,
            wanted,
        };
        self.say(meeting, Body::Subscription(subscription)).await
    }

    /// Waits until the handler has said of so many seats that they are connected, since the call.
    pub async fn connected(&mut self, seats: u64) -> anyhow::Result<()> {
        let reached = self.connected.wait_for(|count| *count >= seats);
        let reached = timeout(WITHIN, reached).await.map(|it| it.map(|_| ()));
        match reached {
            Ok(reached) => reached.context("the handler has hung up"),
            Err(_) => anyhow::bail!("{} of {seats} seats connected", *self.connected.borrow()),
        }
    }

    /// Seats of which the handler has said that their session ended.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn seat(who: ParticipantId) -> Bytes {
    Bytes::copy_from_slice(&who.0)
}
