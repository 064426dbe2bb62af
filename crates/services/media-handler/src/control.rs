//! What meeting controllers say, by gRPC.

use std::pin::Pin;
use std::sync::Arc;

use darktower_cluster::rpc::media_handler_server::MediaHandler;
use darktower_cluster::rpc::{MediaCommand, MediaEvent, media_command, media_event};
use darktower_cluster::trace::TraceContext;
use darktower_media::Kind;
use darktower_media::forwarder::Command;
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, ParseError, ParticipantId, TrackId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::directory::Directory;
use crate::shard::{Event, Events};
use crate::{Shared, measure};

/// Events that may wait for one controller. One that listens so badly says
/// everything anew when it comes back, and so learns what it missed.
const EVENTS: usize = 1024;

pub(crate) struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
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
        let (shared, commands) = (self.shared.clone(), request.into_inner());
        tokio::spawn(listen(shared, commands, events));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn listen(shared: Arc<Shared>, mut commands: Streaming<MediaCommand>, events: Events) {
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
                tracing::debug!(
                    meeting_id = %meeting,
                    trace_id = %trace.trace_id(),
                    span_id = %trace.span_id(),
                    ?fence,
                    ?command,
                    "command"
                );
                let from = events.clone();
                let event = Event::Command {
                    fence,
                    command,
                    from,
                };
                Directory::send(&shared, meeting, event).await;
            }
            Err(error) => {
                measure::refused("command", Code::Malformed);
                tracing::error!(%error, "a meeting controller sent a malformed command");
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BadCommand {
    #[error(transparent)]
    Id(#[from] ParseError),
    #[error("a ticket's hash is not 32 bytes long")]
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
                hash => Some(hash.try_into().map_err(|_| BadCommand::Ticket)?),
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
            layers: u8::try_from(it.layers).unwrap_or(u8::MAX),
        },
        Body::TrackGone(it) => Command::TrackGone { id: TrackId(it.id) },
        Body::Subscription(it) => Command::Subscription {
            seat: seat(&it.seat)?,
            track: TrackId(it.track),
            wanted: it.wanted,
        },
        Body::MeetingOver(_) => Command::Over,
        Body::SyncBegin(_) => Command::SyncBegin,
        Body::SyncEnd(_) => Command::SyncEnd,
        Body::Heartbeat(_) => return Err(BadCommand::Body),
    };
    Ok((meeting, fence, command))
}
