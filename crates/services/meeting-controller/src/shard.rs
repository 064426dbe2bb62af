//! One meeting: waits for its inbox, its deadline or its lease; handles; performs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::trace::TraceContext;
use darktower_meeting::Meeting;
use darktower_meeting::meeting::{Credential, Entropy, Input, MediaOrder, Output, SessionId};
use darktower_placement::Candidate;
use darktower_store::{Node, Service, Written};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParticipantId};
use darktower_wire::signal::{self, ClientMessage, ServerMessage, server_message::Body};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::handlers::Link;
use crate::session::Outgoing;
use crate::{Shared, measure};

/// Deltas on one snapshot, before a new one is written: bounds the log and the
/// time it takes to come back from it.
const DELTAS: usize = 256;

/// What reaches a meeting.
pub(crate) enum Event {
    Opened {
        session: SessionId,
        credential: Credential,
        entropy: Entropy,
        outlet: Outlet,
        trace: TraceContext,
    },
    Message {
        session: SessionId,
        message: Box<ClientMessage>,
    },
    Malformed {
        session: SessionId,
        code: Code,
    },
    Closed {
        session: SessionId,
    },
    Describe {
        participant: Option<ParticipantId>,
        answer: oneshot::Sender<Result<Described, Code>>,
    },
    End {
        answer: oneshot::Sender<()>,
    },
    /// The handler's connection is new: everything has to be said to it.
    Sync {
        node: NodeId,
    },
    /// Somebody with a newer fence owns the meeting.
    Fenced,
}

/// What a global controller wants to know.
pub(crate) struct Described {
    pub(crate) description: darktower_meeting::meeting::Description,
    pub(crate) media_node: Option<NodeId>,
}

/// The way to a session.
pub(crate) struct Outlet {
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    /// It reads too slowly.
    pub(crate) overrun: CancellationToken,
    /// By which name it knows this machine.
    pub(crate) host: Option<String>,
}

struct Shard {
    shared: Arc<Shared>,
    id: MeetingId,
    meeting: Meeting,
    fence: Fence,
    events: mpsc::WeakSender<Event>,
    outlets: BTreeMap<SessionId, Outlet>,
    handler: Option<(NodeId, Link)>,
    /// Of the message at hand.
    trace: TraceContext,
    deltas: usize,
    /// The log lacks something: a snapshot has to be written.
    unsaved: bool,
    over: Option<Over>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Nobody is left; the log may go.
    Empty,
    /// Ended; the log stays to say so.
    Ended,
    /// Another controller owns it now.
    Lost,
    /// This controller goes away.
    Drained,
}

pub(crate) fn spawn(
    shared: Arc<Shared>,
    meeting: Meeting,
    fence: Fence,
    inbox: mpsc::Receiver<Event>,
    events: mpsc::WeakSender<Event>,
) {
    let id = meeting.id();
    // It outlives by far the join that opened it, so it is no part of that trace.
    let span = tracing::info_span!(parent: None, "meeting", meeting_id = %id);
    let shard = Shard {
        shared: shared.clone(),
        id,
        meeting,
        fence,
        events,
        outlets: BTreeMap::new(),
        handler: None,
        trace: TraceContext::root(),
        deltas: 0,
        unsaved: false,
        over: None,
    };
    shared.shards.spawn(shard.run(inbox).instrument(span));
}

impl Shard {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut nodes = self.shared.nodes.clone();
        let mut renew = tokio::time::interval(self.shared.directory.lease_ttl() / 3);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.shared.stopping.clone();
        self.place(&nodes.borrow_and_update().clone());
        self.perform().await;
        while self.over.is_none() {
            let deadline = self.meeting.deadline();
            let wait = deadline.map(|at| self.shared.origin + at);
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.event(event).await,
                    None => self.over = Some(Over::Drained),
                },
                () = sleep_until(wait) => self.handle(Input::Tick).await,
                _ = renew.tick() => self.renew().await,
                changed = nodes.changed() => match changed {
                    Ok(()) => {
                        let seen = nodes.borrow_and_update().clone();
                        self.place(&seen);
                        self.perform().await;
                    }
                    Err(_) => self.over = Some(Over::Drained),
                },
                () = stopping.cancelled() => self.over = Some(Over::Drained),
            }
        }
        // What is still in the inbox finds it closed, and its sender another way.
        drop(inbox);
        self.wind_up().await;
    }

    async fn event(&mut self, event: Event) {
        let began = Instant::now();
        match event {
            Event::Opened {
                session,
                credential,
                entropy,
                outlet,
                trace,
            } => {
                self.trace = trace;
                self.outlets.insert(session, outlet);
                let opened = Input::Opened {
                    session,
                    credential,
                    entropy,
                };
                self.handle(opened).await;
            }
            Event::Message { session, message } => {
                if let Ok(trace) = message.traceparent.parse::<TraceContext>() {
                    self.trace = trace.child();
                }
                tracing::debug!(session = session.0, request = message.request, "message");
                let message = *message;
                self.handle(Input::Message { session, message }).await;
                measure::handled(began.elapsed());
            }
            Event::Malformed { session, code } => {
                self.handle(Input::Malformed { session, code }).await;
            }
            Event::Closed { session } => {
                self.outlets.remove(&session);
                self.handle(Input::Closed { session }).await;
            }
            Event::Describe {
                participant,
                answer,
            } => {
                let described = self.describe(participant);
                if answer.send(described).is_err() {
                    tracing::debug!("whoever asked for a description did not wait for it");
                }
            }
            Event::End { answer } => {
                self.handle(Input::End).await;
                if answer.send(()).is_err() {
                    tracing::debug!("whoever ended the meeting did not wait for it");
                }
            }
            Event::Sync { node } => self.sync(node).await,
            Event::Fenced => self.over = Some(Over::Lost),
        }
    }

    fn describe(&self, participant: Option<ParticipantId>) -> Result<Described, Code> {
        if let Some(code) = self.meeting.ended() {
            return Err(code);
        }
        let description = self.meeting.description();
        let is_seated = participant.is_some_and(|id| self.meeting.has_seat(id));
        if description.full && !is_seated {
            return Err(Code::MeetingFull);
        }
        let media_node = self.handler.as_ref().map(|(node, _)| *node);
        Ok(Described {
            description,
            media_node,
        })
    }

    async fn handle(&mut self, input: Input) {
        self.meeting.handle(self.shared.now(), input);
        self.perform().await;
    }

    /// Performs what was decided, in order.
    async fn perform(&mut self) {
        while let Some(output) = self.meeting.poll() {
            match output {
                Output::Persist(delta) => self.persist(delta).await,
                Output::Media(order) => self.tell_handler(order).await,
                Output::Send { session, message } => self.send(session, message),
                Output::Close { session, code } => {
                    // Dropping the outlet would overtake what waits in it.
                    if let Some(outlet) = self.outlets.remove(&session)
                        && outlet.outgoing.try_send(Outgoing::Close(code)).is_err()
                    {
                        outlet.overrun.cancel();
                    }
                }
                Output::Over { ended } => {
                    self.over = Some(match ended {
                        true => Over::Ended,
                        false => Over::Empty,
                    });
                }
            }
        }
        if self.deltas >= DELTAS {
            self.save().await;
        }
    }

    fn send(&mut self, session: SessionId, mut message: ServerMessage) {
        let Some(outlet) = self.outlets.get(&session) else {
            return;
        };
        let assignment = match &mut message.body {
            Some(Body::Lobby(lobby)) => lobby.media.as_mut(),
            Some(Body::Joined(joined)) => joined.media.as_mut(),
            Some(Body::Media(assignment)) => Some(assignment),
            _ => None,
        };
        if let (Some(assignment), Some(host)) = (assignment, &outlet.host) {
            assignment.url = reachable(&assignment.url, host);
        }
        if outlet
            .outgoing
            .try_send(Outgoing::Message(Box::new(message)))
            .is_err()
        {
            outlet.overrun.cancel();
        }
    }

    async fn persist(&mut self, delta: Bytes) {
        if self.unsaved {
            return;
        }
        let state = self.shared.directory.state();
        match state.append_delta(self.id, self.fence, delta).await {
            Ok(Written::Yes) => self.deltas += 1,
            Ok(Written::Fenced) => self.over = Some(Over::Lost),
            Err(error) => {
                // The meeting goes on; the whole of it is written when the store is back.
                tracing::warn!(%error, "the meeting's log cannot be written");
                measure::unsaved();
                self.unsaved = true;
            }
        }
    }

    async fn save(&mut self) {
        let state = self.shared.directory.state();
        let snapshot = self.meeting.snapshot();
        match state.write_snapshot(self.id, self.fence, snapshot).await {
            Ok(Written::Yes) => {
                if std::mem::take(&mut self.unsaved) {
                    tracing::info!("the meeting's log is whole again");
                }
                self.deltas = 0;
            }
            Ok(Written::Fenced) => self.over = Some(Over::Lost),
            Err(error) => {
                tracing::debug!(%error, "the meeting's snapshot cannot be written");
                measure::unsaved();
                self.unsaved = true;
            }
        }
    }

    async fn renew(&mut self) {
        let directory = &self.shared.directory;
        let (node, ttl) = (directory.node(), directory.lease_ttl());
        match directory.state().acquire_lease(self.id, node, ttl).await {
            Ok(lease) if lease.owner == Some(node) => {
                if lease.fence != self.fence {
                    // It had run out and nobody took it.
                    self.fence = lease.fence;
                    self.unsaved = true;
                    if let Some((handler, _)) = &self.handler {
                        let handler = *handler;
                        self.sync(handler).await;
                    }
                }
                if self.unsaved {
                    self.save().await;
                }
            }
            Ok(_) => self.over = Some(Over::Lost),
            Err(error) => tracing::debug!(%error, "the lease cannot be renewed"),
        }
    }

    /// Keeps the meeting on a handler that is there.
    fn place(&mut self, nodes: &[Node]) {
        let handlers = nodes.iter().filter(|node| node.service == Service::Media);
        let is_there = |id: NodeId| handlers.clone().any(|node| node.id == id);
        if self.handler.as_ref().is_some_and(|(id, _)| is_there(*id)) {
            return;
        }
        let candidates: Vec<_> = handlers
            .clone()
            .map(|node| Candidate {
                id: node.id,
                region: &node.region,
                capacity: node.capacity,
                load: node.load,
                draining: node.draining,
            })
            .collect();
        let region = &self.shared.config.region;
        let best = darktower_placement::rank(self.id, &candidates, region);
        let chosen = best
            .first()
            .and_then(|id| handlers.clone().find(|node| node.id == *id));
        let Some(events) = self.events.upgrade() else {
            return;
        };
        if let Some((_, former)) = self.handler.take() {
            former.leave(self.id);
        }
        let assignment = chosen.map(|node| {
            tracing::info!(handler = %node.id, "meeting placed");
            let link = self.shared.handlers.link(&self.shared, node);
            link.enter(self.id, events);
            self.handler = Some((node.id, link));
            signal::MediaAssignment {
                url: node.public_url.clone(),
                certificate_sha256: node
                    .certificate_sha256
                    .iter()
                    .map(|hash| Bytes::copy_from_slice(hash))
                    .collect(),
                ticket: Bytes::new(),
            }
        });
        self.meeting
            .handle(self.shared.now(), Input::Handler(assignment));
    }

    async fn tell_handler(&mut self, order: MediaOrder) {
        if let Some((_, link)) = &self.handler {
            link.say(self.id, self.fence, self.trace, order).await;
        }
    }

    async fn sync(&mut self, node: NodeId) {
        if let Some((_, link)) = self.handler.as_ref().filter(|(id, _)| *id == node) {
            let orders = self.meeting.media_orders();
            link.sync(self.id, self.fence, self.trace, orders).await;
        }
    }

    async fn wind_up(mut self) {
        let over = self.over.unwrap_or(Over::Drained);
        let code = match over {
            Over::Lost => Code::NotOwner,
            Over::Drained => Code::Draining,
            Over::Empty | Over::Ended => Code::Unavailable,
        };
        for outlet in std::mem::take(&mut self.outlets).into_values() {
            if outlet.outgoing.try_send(Outgoing::Close(code)).is_err() {
                outlet.overrun.cancel();
            }
        }
        if let Some((_, link)) = &self.handler {
            link.leave(self.id);
        }
        let shared = self.shared.clone();
        let directory = &shared.directory;
        match over {
            Over::Lost => {}
            Over::Empty => {
                let forgotten = directory.state().forget_meeting(self.id, self.fence).await;
                if let Err(error) = forgotten {
                    tracing::info!(%error, "the log of an empty meeting was not dropped; it will expire");
                }
                directory.release(self.id, self.fence).await;
            }
            Over::Ended | Over::Drained => {
                if self.unsaved {
                    self.save().await;
                }
                directory.release(self.id, self.fence).await;
            }
        }
        tracing::info!(?over, "meeting closed here");
        directory.tidy(self.id);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The URL with a host that the participant can reach, where the node listens on
/// all addresses and so knows none: the one it reached this controller by.
fn reachable(url: &str, host: &str) -> String {
    let host = match host {
        "localhost" => "127.0.0.1",
        host => host,
    };
    url.replacen("//0.0.0.0", &format!("//{host}"), 1)
        .replacen("//[::]", &format!("//{host}"), 1)
}

/// How long a caller waits for a meeting's answer at the most.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);
