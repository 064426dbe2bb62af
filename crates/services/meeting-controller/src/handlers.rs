//! The media handlers: one long call to each, for all meetings that are on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::rpc::media_handler_client::MediaHandlerClient;
use darktower_cluster::rpc::{self, MediaCommand, MediaEvent, media_command, media_event};
use darktower_cluster::trace::TraceContext;
use darktower_cluster::{candidate, grpc};
use darktower_meeting::meeting::MediaOrder;
use darktower_placement::{CALL_WITHIN, Candidate, End, HEARTBEAT, Health, Recent, SILENT, Watch};
use darktower_store::{Node, Service};
use darktower_wire::ids::{Fence, MeetingId, NodeId};
use darktower_wire::signal::Layer;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::shard::Event;
use crate::{Shared, measure};

/// Commands that may wait for one handler.
const COMMANDS: usize = 8192;

/// All links that are in use, and where meetings were placed a moment ago.
#[derive(Default)]
pub(crate) struct Handlers {
    links: Mutex<BTreeMap<NodeId, Link>>,
    recent: Mutex<Recent>,
}

/// The way to one handler. Whoever is on it is told to say everything whenever the
/// call begins anew; what is said while there is none is lost, and is part of that.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    node: NodeId,
    commands: mpsc::Sender<MediaCommand>,
    meetings: Mutex<BTreeMap<MeetingId, mpsc::Sender<Event>>>,
    gone: CancellationToken,
    watch: Mutex<Watch>,
    /// Of the watch's time.
    origin: Instant,
    /// How media comes through it.
    media: Mutex<Health>,
}

impl Handlers {
    /// How calls to this node and media through it do.
    pub(crate) fn health(&self, node: NodeId) -> Health {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.get(&node).filter(|link| !link.0.gone.is_cancelled());
        link.map_or(Health::Sound, Link::health)
    }

    /// One is better than it was: meetings on those that are not well may go there.
    pub(crate) fn look_again(&self) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let ailing = |link: &&Link| link.health() != Health::Sound;
        for link in links.values().filter(ailing) {
            link.tell(|| Event::Look);
        }
    }

    /// The handlers among these nodes as a placement weighs them: with what was placed on them and is not in their
    /// reports yet, since the meetings of one that died go on at once and all would see the same idle handler.
    pub(crate) fn candidates<'a>(&self, now: Duration, nodes: &'a [Node]) -> Vec<Candidate<'a>> {
        let handlers = nodes.iter().filter(|node| node.service == Service::Media);
        let mut candidates: Vec<_> = handlers
            .map(|node| candidate(node, self.health(node.id)))
            .collect();
        self.recent().count_in(now, &mut candidates);
        candidates
    }

    /// A meeting of so many participants is on this handler from now on.
    pub(crate) fn placed(&self, now: Duration, node: NodeId, size: u32) {
        let mut recent = self.recent();
        if size == 0 {
            recent.meeting(now, node);
        }
        (0..size).for_each(|_| recent.join(now, node));
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link to this node; made where there is none.
    pub(crate) fn link(&self, shared: &Arc<Shared>, node: &Node) -> Link {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
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
            watch: Mutex::default(),
            origin: shared.origin,
            media: Mutex::default(),
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
                called = self.call(&shared, &url, &mut to_say) => called,
                () = shared.stopping.cancelled() => break,
            };
            let end = called
                .as_ref()
                .map_or_else(CallError::end, |()| End::Refused);
            if let Err(error) = called {
                tracing::info!(handler = %node, %error, "the call to a media handler ended");
            }
            let (again, health) = {
                let mut watch = self.watch();
                (watch.ended(self.now(), end), watch.health())
            };
            if again.is_worse {
                tracing::warn!(handler = %node, ?health, "a media handler does not answer");
                self.tell(|| Event::Look);
            }
            if again.after.is_zero() {
                continue;
            }
            let rest = async {
                // What is said meanwhile is said anew at the next call.
                loop {
                    if to_say.recv().await.is_none() {
                        return std::future::pending::<()>().await;
                    }
                }
            };
            let over = timeout(again.after, rest).await;
            debug_assert!(over.is_err());
        }
        self.0.gone.cancel();
    }

    async fn call(
        &self,
        shared: &Shared,
        url: &str,
        to_say: &mut mpsc::Receiver<MediaCommand>,
    ) -> Result<(), CallError> {
        let channel = grpc::connect_lazy_to(&shared.trust, url)?;
        let (commands, stream) = mpsc::channel(64);
        let mut client = MediaHandlerClient::new(channel);
        let call = client.control(ReceiverStream::new(stream));
        let answer = timeout(CALL_WITHIN, call).await;
        let mut events = answer.map_err(|_| CallError::NotTaken)??.into_inner();
        if self.watch().taken(self.now()) {
            shared.handlers.look_again();
        }
        tracing::info!(handler = %self.0.node, "a media handler is there");
        measure::handler(true);
        self.ask_for_everything();
        let outcome = self.talk(shared, &commands, to_say, &mut events).await;
        measure::handler(false);
        outcome
    }

    async fn talk(
        &self,
        shared: &Shared,
        commands: &mpsc::Sender<MediaCommand>,
        to_say: &mut mpsc::Receiver<MediaCommand>,
        events: &mut tonic::Streaming<MediaEvent>,
    ) -> Result<(), CallError> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sequence = 0;
        loop {
            let command = tokio::select! {
                biased;
                event = events.next() => {
                    if self.watch().heard(self.now()) {
                        tracing::info!(handler = %self.0.node, "a media handler answers again");
                        shared.handlers.look_again();
                    }
                    match event {
                        Some(event) => self.event(event.map_err(CallError::Broke)?).await,
                        None => return Err(CallError::Ended),
                    }
                    continue;
                }
                Some(command) = to_say.recv() => command,
                _ = beat.tick() => {
                    if self.watch().is_silent(self.now()) {
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

    fn health(&self) -> Health {
        let media = *self.media();
        self.watch().health().max(media)
    }

    /// Media came through it.
    pub(crate) fn forwarded(&self) {
        self.watch().forwarded(self.now());
    }

    /// How media comes through it now, as the probe finds; told to the meetings on it where that is worse than before.
    pub(crate) fn set_media(&self, health: Health) {
        let before = std::mem::replace(&mut *self.media(), health);
        if health > before {
            self.tell(|| Event::Look);
        }
    }

    fn media(&self) -> MutexGuard<'_, Health> {
        self.0.media.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All meetings here say everything; a busy one's inbox is waited for, but
    /// not by the call.
    fn ask_for_everything(&self) {
        let node = self.0.node;
        self.tell(move || Event::Sync { node });
    }

    fn tell(&self, event: impl Fn() -> Event + Send + 'static) {
        let meetings: Vec<_> = self.meetings().values().cloned().collect();
        tokio::spawn(async move {
            for events in meetings {
                if events.send(event()).await.is_err() {
                    tracing::debug!("a meeting went away before it heard of its handler");
                }
            }
        });
    }

    fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner)
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
    #[error("it does not take the call")]
    NotTaken,
    #[error("it does not answer")]
    Silent,
    #[error("it hung up")]
    Ended,
    #[error("the call broke: {0}")]
    Broke(tonic::Status),
}

impl CallError {
    /// What that says of the handler.
    fn end(&self) -> End {
        match self {
            Self::NotTaken | Self::Silent => End::Silent,
            Self::Url(_) | Self::Status(_) | Self::Ended | Self::Broke(_) => End::Refused,
        }
    }
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
            screen,
            layers,
            via,
        } => Body::Track(rpc::Track {
            id: track.0,
            seat: seat.to_vec().into(),
            video,
            screen,
            layers: layers.into_iter().map(track_layer).collect(),
            via: via.map_or_else(Bytes::new, |node| node.to_vec().into()),
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
        MediaOrder::Trunk {
            node,
            ticket_sha256,
        } => Body::Trunk(rpc::Trunk {
            node: node.to_vec().into(),
            ticket_sha256,
        }),
        MediaOrder::Neighbour {
            node,
            url,
            certificate_sha256,
            ticket,
        } => Body::Neighbour(rpc::Neighbour {
            node: node.to_vec().into(),
            url,
            certificate_sha256,
            ticket: ticket.0,
        }),
        MediaOrder::MeetingOver => Body::MeetingOver(rpc::MeetingOver {}),
    }
}

fn track_layer(layer: Layer) -> rpc::TrackLayer {
    rpc::TrackLayer {
        width_px: layer.width_px,
        height_px: layer.height_px,
        max_bitrate_bps: layer.max_bitrate_bps,
        temporal_layers: layer.temporal_layers,
    }
}
