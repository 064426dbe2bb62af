//! What meeting controllers say, by gRPC.

use std::pin::Pin;
use std::sync::Arc;

use darktower_cluster::rpc::media_handler_server::MediaHandler;
use darktower_cluster::rpc::{MediaCommand, MediaEvent, TrackLayer, media_command, media_event};
use darktower_cluster::trace::TraceContext;
use darktower_media::forwarder::{Command, Trunk};
use darktower_media::{Bitrate, Kind, LayerShape, Shape};
use darktower_net::plane::Inlet;
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParseError, ParticipantId, TrackId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::directory::home;
use crate::meeting::Events;
use crate::shard::Message;
use crate::{Shared, measure};

/// Events that may wait for one controller. One that listens so badly says
/// everything anew when it comes back, and so learns what it missed.
const EVENTS: usize = 1024;

pub(crate) struct Control {
    shared: Arc<Shared>,
    inlets: Arc<[Inlet<Message>]>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>, inlets: Arc<[Inlet<Message>]>) -> Self {
        Self { shared, inlets }
    }
}

#[tonic::async_trait]
impl MediaHandler for Control {
    type ControlStream = Pin<Box<dyn Stream<Item = Result<MediaEvent, Status>> + Send>>;

    async fn control(
        &self,
        request: Request<Streaming<MediaCommand>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (shared, inlets) = (self.shared.clone(), self.inlets.clone());
        tokio::spawn(listen(shared, inlets, request.into_inner(), events));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn listen(
    shared: Arc<Shared>,
    inlets: Arc<[Inlet<Message>]>,
    mut commands: Streaming<MediaCommand>,
    events: Events,
) {
    tracing::info!("a meeting controller is there");
    loop {
        let next = tokio::select! {
            next = commands.next() => next,
            () = shared.stopping.cancelled() => None,
            () = events.closed() => None,
        };
        let command = match next {
            Some(Ok(command)) => command,
            Some(Err(status)) => {
                tracing::info!(%status, "the meeting controller is gone");
                return;
            }
            None => {
                tracing::info!("the meeting controller is gone");
                return;
            }
        };
        if let Some(media_command::Body::Heartbeat(heartbeat)) = command.body {
            let body = Some(media_event::Body::Heartbeat(heartbeat));
            let meeting_id = command.meeting_id;
            let answer = Ok(MediaEvent { meeting_id, body });
            if events.try_send(answer).is_err() {
                tracing::debug!("a heartbeat went unanswered: the controller does not listen");
            }
            continue;
        }
        let trace = TraceContext::continued(Some(&command.traceparent));
        match parse(command) {
            Ok((meeting, fence, command)) => {
                let kind = kind(&command);
                let span =
                    darktower_cluster::span!("media command", trace, meeting_id = %meeting, kind);
                span.in_scope(|| tracing::debug!(?fence, ?command, "command"));
                let from = events.clone();
                let message = Message::Command {
                    meeting,
                    fence,
                    command,
                    from,
                };
                let inlet = &inlets[home(meeting, inlets.len())];
                if inlet.send(message).instrument(span).await.is_err() {
                    tracing::debug!("the handler has stopped");
                    return;
                }
            }
            Err(error) => {
                measure::refused("command", Code::Malformed);
                tracing::error!(%error, "a meeting controller sent a malformed command");
            }
        }
    }
}

/// What a command is about, for the trace.
fn kind(command: &Command) -> &'static str {
    match command {
        Command::Seat { .. } => "seat",
        Command::SeatGone { .. } => "seat gone",
        Command::Track { .. } => "track",
        Command::TrackGone { .. } => "track gone",
        Command::Subscription { .. } => "subscription",
        Command::Trunk { .. } => "trunk",
        Command::Neighbour { .. } => "neighbour",
        Command::Over => "over",
        Command::SyncBegin => "sync begin",
        Command::SyncEnd => "sync end",
    }
}

#[derive(Debug, thiserror::Error)]
enum BadCommand {
    #[error(transparent)]
    Id(#[from] ParseError),
    #[error("a ticket or a hash is not 32 bytes long")]
    Ticket,
    #[error("it has no body that is known here")]
    Body,
}

fn parse(command: MediaCommand) -> Result<(MeetingId, Fence, Command), BadCommand> {
    use media_command::Body;
    let meeting = MeetingId::from_slice(&command.meeting_id)?;
    let fence = Fence(command.fence);
    let seat = |bytes: &[u8]| ParticipantId::from_slice(bytes);
    let command = match command.body.ok_or(BadCommand::Body)? {
        Body::Seat(it) => Command::Seat {
            seat: seat(&it.seat)?,
            ticket: match &it.ticket_sha256[..] {
                [] => None,
                hash => Some(ticket(hash)?),
            },
            joined: it.joined,
        },
        Body::SeatGone(it) => Command::SeatGone {
            seat: seat(&it.seat)?,
            code: Code::from_number(it.code).unwrap_or(Code::Left),
        },
        Body::Track(it) => Command::Track {
            id: TrackId(it.id),
            seat: seat(&it.seat)?,
            kind: match it.video {
                true => Kind::Video,
                false => Kind::Audio,
            },
            shape: Shape {
                screen: it.screen,
                layers: it.layers.iter().map(layer).collect(),
            },
            via: match &it.via[..] {
                [] => None,
                node => Some(NodeId::from_slice(node)?),
            },
        },
        Body::TrackGone(it) => Command::TrackGone { id: TrackId(it.id) },
        Body::Subscription(it) => Command::Subscription {
            seat: seat(&it.seat)?,
            track: TrackId(it.track),
            wanted: it.wanted,
        },
        Body::Trunk(it) => Command::Trunk {
            node: NodeId::from_slice(&it.node)?,
            ticket: ticket(&it.ticket_sha256)?,
        },
        Body::Neighbour(it) => Command::Neighbour {
            node: NodeId::from_slice(&it.node)?,
            trunk: Trunk {
                url: it.url,
                certificate_sha256: it
                    .certificate_sha256
                    .iter()
                    .map(|hash| ticket(hash))
                    .collect::<Result<_, _>>()?,
                ticket: ticket(&it.ticket)?.into(),
            },
        },
        Body::MeetingOver(_) => Command::Over,
        Body::SyncBegin(_) => Command::SyncBegin,
        Body::SyncEnd(_) => Command::SyncEnd,
        Body::Heartbeat(_) => return Err(BadCommand::Body),
    };
    Ok((meeting, fence, command))
}

/// A ticket, or a hash.
fn ticket(bytes: &[u8]) -> Result<[u8; 32], BadCommand> {
    bytes.try_into().map_err(|_| BadCommand::Ticket)
}

fn layer(it: &TrackLayer) -> LayerShape {
    LayerShape {
        width_px: it.width_px,
        height_px: it.height_px,
        max_bitrate: Bitrate::from_bps(it.max_bitrate_bps.into()),
        temporal_layers: u8::try_from(it.temporal_layers.max(1)).unwrap_or(u8::MAX),
    }
}
