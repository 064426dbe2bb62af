//! The media handlers: one long call to each, for all meetings that are on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::grpc;
use darktower_cluster::rpc::media_handler_client::MediaHandlerClient;
use darktower_cluster::rpc::{self, MediaCommand, MediaEvent, media_command, media_event};
use darktower_cluster::trace::TraceContext;
use darktower_meeting::meeting::MediaOrder;
use darktower_store::Node;
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::shard::Event;
use crate::{Shared, measure};

/// Commands that may wait for one handler.
const COMMANDS: usize = 8192;
const HEARTBEAT: Duration = Duration::from_millis(250);
/// A handler silent for this long is called anew.
const SILENT: Duration = Duration::from_millis(1500);
const CALL_WITHIN: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);

/// All links that are in use.
#[derive(Default)]
pub(crate) struct Handlers(Mutex<BTreeMap<NodeId, Link>>);

/// The way to one handler. Whoever is on it is told to say everything whenever the
/// call begins anew; what is said while there is none is lost, and is part of that.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    node: NodeId,
    commands: mpsc::Sender<MediaCommand>,
    meetings: Mutex<BTreeMap<MeetingId, mpsc::Sender<Event>>>,
    gone: CancellationToken,
}

impl Handlers {
    /// The link to this node; made where there is none.
    pub(crate) fn link(&self, shared: &Arc<Shared>, node: &Node) -> Link {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = links
            .get(&node.id)
            .filter(|link| !link.0.gone.is_cancelled());
        if let Some(link) = known {
            return link.clone();
        }
        let (commands, to_say) = mpsc::channel(COMMANDS);
        let link = Link(Arc::new(Inner {
            node: node.id,
            commands,
            meetings: Mutex::default(),
            gone: CancellationToken::new(),
        }));
        links.retain(|_, link| !link.0.gone.is_cancelled());
        links.insert(node.id, link.clone());
        let upkeep = link
            .clone()
            .keep(shared.clone(), node.grpc_url.clone(), to_say);
        shared.links.spawn(upkeep);
        link
    }
}

impl Link {
    /// The meeting is on this handler now; it is asked to say everything.
    pub(crate) fn enter(&self, meeting: MeetingId, events: mpsc::Sender<Event>) {
        let node = self.0.node;
        if events.try_send(Event::Sync { node }).is_err() {
            tracing::debug!(meeting_id = %meeting, "the meeting is busy; the handler's next call syncs it");
        }
        self.meetings().insert(meeting, events);
    }

    /// The meeting is not on this handler any more, or not ours to speak for.
    pub(crate) fn leave(&self, meeting: MeetingId) {
        self.meetings().remove(&meeting);
    }

    pub(crate) async fn say(
        &self,
        meeting: MeetingId,
        fence: Fence,
        trace: TraceContext,
        order: MediaOrder,
    ) {
        let body = body(order);
        self.send(command(meeting, fence, trace, body)).await;
    }

    /// Everything that should be there for a meeting.
    pub(crate) async fn sync(
        &self,
        meeting: MeetingId,
        fence: Fence,
        trace: TraceContext,
        orders: Vec<MediaOrder>,
    ) {
        let begin = media_command::Body::SyncBegin(rpc::SyncBegin {});
        let end = media_command::Body::SyncEnd(rpc::SyncEnd {});
        let orders = orders.into_iter().map(body);
        for body in std::iter::once(begin).chain(orders).chain([end]) {
            self.send(command(meeting, fence, trace, body)).await;
        }
    }

    async fn send(&self, command: MediaCommand) {
        if self.0.commands.send(command).await.is_err() {
            tracing::debug!("a command to a handler that is gone");
        }
    }

    /// Calls again and again, as long as a meeting is here or the node is there.
    async fn keep(
        self,
        shared: Arc<Shared>,
        url: String,
        mut to_say: mpsc::Receiver<MediaCommand>,
    ) {
        let mut nodes = shared.nodes.clone();
        while !shared.stopping.is_cancelled() {
            let node = self.0.node;
            let is_there = nodes
                .borrow_and_update()
                .iter()
                .any(|other| other.id == node);
            if !is_there && self.meetings().is_empty() {
                break;
            }
            let called = tokio::select! {
                called = self.call(&url, &mut to_say) => called,
                () = shared.stopping.cancelled() => break,
            };
            if let Err(error) = called {
                tracing::info!(handler = %node, %error, "the call to a media handler ended");
            }
            let rest = async {
                // What is said meanwhile is said anew at the next call.
                loop {
                    if to_say.recv().await.is_none() {
                        return std::future::pending::<()>().await;
                    }
                }
            };
            let over = timeout(RETRY, rest).await;
            debug_assert!(over.is_err());
        }
        self.0.gone.cancel();
    }

    async fn call(
        &self,
        url: &str,
        to_say: &mut mpsc::Receiver<MediaCommand>,
    ) -> Result<(), CallError> {
        let channel = grpc::connect_lazy(url)?;
        let (commands, stream) = mpsc::channel(64);
        let mut client = MediaHandlerClient::new(channel);
        let call = client.control(ReceiverStream::new(stream));
        let answer = timeout(CALL_WITHIN, call).await;
        let mut events = answer.map_err(|_| CallError::Silent)??.into_inner();
        tracing::info!(handler = %self.0.node, "a media handler is there");
        measure::handler(true);
        self.ask_for_everything();
        let outcome = self.talk(&commands, to_say, &mut events).await;
        measure::handler(false);
        outcome
    }

    async fn talk(
        &self,
        commands: &mpsc::Sender<MediaCommand>,
        to_say: &mut mpsc::Receiver<MediaCommand>,
        events: &mut tonic::Streaming<MediaEvent>,
    ) -> Result<(), CallError> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sequence, mut heard) = (0, Instant::now());
        loop {
            let command = tokio::select! {
                biased;
                event = events.next() => {
                    heard = Instant::now();
                    match event {
                        Some(event) => self.event(event?).await,
                        None => return Err(CallError::Ended),
                    }
                    continue;
                }
                Some(command) = to_say.recv() => command,
                _ = beat.tick() => {
                    if heard.elapsed() > SILENT {
                        return Err(CallError::Silent);
                    }
                    sequence += 1;
                    let heartbeat = rpc::Heartbeat { sequence };
                    MediaCommand {
                        body: Some(media_command::Body::Heartbeat(heartbeat)),
                        ..MediaCommand::default()
                    }
                }
            };
            let sent = timeout(SILENT, commands.send(command)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Err(CallError::Silent);
            }
        }
    }

    async fn event(&self, event: MediaEvent) {
        match event.body {
            Some(media_event::Body::FenceRefused(refused)) => {
                let Ok(meeting) = MeetingId::from_slice(&event.meeting_id) else {
                    return;
                };
                tracing::info!(meeting_id = %meeting, newest = refused.newest, "a handler knows a newer owner");
                let events = self.meetings().get(&meeting).cloned();
                if let Some(events) = events
                    && events.send(Event::Fenced).await.is_err()
                {
                    tracing::debug!("the meeting is gone already");
                }
            }
            Some(media_event::Body::SeatConnected(_) | media_event::Body::SeatDisconnected(_)) => {
                tracing::debug!("a seat's media session came or went");
            }
            Some(media_event::Body::Heartbeat(_)) | None => {}
        }
    }

    /// All meetings here say everything; a busy one's inbox is waited for, but
    /// not by the call.
    fn ask_for_everything(&self) {
        let node = self.0.node;
        let meetings: Vec<_> = self.meetings().values().cloned().collect();
        tokio::spawn(async move {
            for events in meetings {
                if events.send(Event::Sync { node }).await.is_err() {
                    tracing::debug!("a meeting went away before its handler came");
                }
            }
        });
    }

    fn meetings(&self) -> MutexGuard<'_, BTreeMap<MeetingId, mpsc::Sender<Event>>> {
        self.0
            .meetings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a call ended.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Url(#[from] grpc::BadUrl),
    #[error(transparent)]
    Status(#[from] tonic::Status),
    #[error("it does not answer")]
    Silent,
    #[error("it hung up")]
    Ended,
}

fn command(
    meeting: MeetingId,
    fence: Fence,
    trace: TraceContext,
    body: media_command::Body,
) -> MediaCommand {
    MediaCommand {
        meeting_id: meeting.to_vec().into(),
        fence: fence.0,
        traceparent: trace.to_string(),
        body: Some(body),
    }
}

fn body(order: MediaOrder) -> media_command::Body {
    use media_command::Body;
    match order {
        MediaOrder::Seat {
            seat,
            ticket_sha256,
            joined,
        } => Body::Seat(rpc::Seat {
            seat: seat.to_vec().into(),
            ticket_sha256: Bytes::into(ticket_sha256),
            joined,
        }),
        MediaOrder::SeatGone { seat, code } => Body::SeatGone(rpc::SeatGone {
            seat: seat.to_vec().into(),
            code: code.number(),
        }),
        MediaOrder::Track {
            track,
            seat,
            video,
            layers,
        } => Body::Track(rpc::Track {
            id: track.0,
            seat: seat.to_vec().into(),
            video,
            layers,
        }),
        MediaOrder::TrackGone { track } => Body::TrackGone(rpc::TrackGone { id: track.0 }),
        MediaOrder::Subscription {
            seat,
            track,
            wanted,
        } => Body::Subscription(rpc::Subscription {
            seat: seat.to_vec().into(),
            track: track.0,
            wanted,
        }),
        MediaOrder::MeetingOver => Body::MeetingOver(rpc::MeetingOver {}),
    }
}
