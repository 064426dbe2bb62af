//! One meeting: waits for its inbox, its deadline or its lease; handles; performs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use darktower_cluster::trace::TraceContext;
use darktower_meeting::Meeting;
use darktower_meeting::meeting::{Credential, Entropy, Input, MediaOrder, Output, SessionId};
use darktower_placement::{Balance, Homes, Tenure};
use darktower_store::Node;
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use darktower_wire::signal::{
    self, ClientMessage, ServerMessage, client_message, server_message::Body,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::handlers::Link;
use crate::session::Outgoing;
use crate::{Shared, elsewhere, measure};

mod log;
mod place;

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
    /// A handler does not answer, or does again.
    Look,
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
    tenure: Tenure,
    events: mpsc::WeakSender<Event>,
    outlets: BTreeMap<SessionId, Outlet>,
    handlers: BTreeMap<NodeId, Link>,
    homes: Homes,
    balance: Balance,
    /// Of the message at hand.
    trace: TraceContext,
    /// There is another controller that takes meetings.
    can_move: bool,
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
    /// Another one carries far less.
    Moved,
}

pub(crate) fn spawn(
    shared: Arc<Shared>,
    meeting: Meeting,
    tenure: Tenure,
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
        tenure,
        events,
        outlets: BTreeMap::new(),
        handlers: BTreeMap::new(),
        homes: Homes::default(),
        balance: Balance::default(),
        trace: TraceContext::root(),
        can_move: false,
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
        let draining = self.shared.draining.clone();
        self.look_around(&nodes.borrow_and_update().clone());
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
                _ = renew.tick() => {
                    self.renew().await;
                    let seen = self.shared.nodes.borrow().clone();
                    self.place(&seen);
                    self.perform().await;
                    self.look_for_balance(&seen);
                }
                changed = nodes.changed() => match changed {
                    Ok(()) => {
                        let seen = nodes.borrow_and_update().clone();
                        self.look_around(&seen);
                        self.perform().await;
                    }
                    Err(_) => self.over = Some(Over::Drained),
                },
                // Where nobody else can take it, it stays until people have left.
                () = draining.cancelled(), if self.can_move => self.over = Some(Over::Drained),
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
                tracing::debug!(session = session.0, request = message.request, "message");
                let span = self.enter_trace(&message);
                let message = *message;
                let handled = self.handle(Input::Message { session, message });
                handled.instrument(span).await;
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
            Event::Look => {
                let nodes = self.shared.nodes.borrow().clone();
                self.look_around(&nodes);
                self.perform().await;
            }
            Event::Fenced => {
                self.tenure.fenced();
                self.over = Some(Over::Lost);
            }
        }
    }

    /// From here on the work is of the trace that the message names. The coming
    /// of a participant is a span of it; all that is said would be many times as
    /// many, and hangs on whatever the participant calls its own span.
    fn enter_trace(&mut self, message: &ClientMessage) -> tracing::Span {
        use client_message::Body;
        if let Ok(trace) = message.traceparent.parse() {
            self.trace = trace;
        }
        match &message.body {
            Some(Body::Join(_)) => {
                self.trace = self.trace.child();
                darktower_cluster::span!("join", self.trace, meeting_id = %self.id)
            }
            Some(Body::Resume(_)) => {
                self.trace = self.trace.child();
                darktower_cluster::span!("resume", self.trace, meeting_id = %self.id)
            }
            _ => tracing::Span::none(),
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
        let media_node = self.meeting.handler_for(participant);
        // The spare one is used as soon as somebody comes.
        let media_node = media_node.filter(|_| !self.handlers.is_empty());
        Ok(Described {
            description,
            media_node,
        })
    }

    async fn handle(&mut self, input: Input) {
        self.meeting.handle(self.shared.now(), input);
        self.perform().await;
    }

    /// Performs what was decided, in order. What was decided on a meeting that turns out to
    /// be another's is told to nobody.
    async fn perform(&mut self) {
        while let Some(output) = self.meeting.poll() {
            match output {
                Output::Persist(delta) => self.persist(delta).await,
                _ if self.tenure.is_lost() => {}
                Output::Media { to, order } => self.tell_handler(to, order).await,
                Output::Sync { node } => self.use_handler(node).await,
                Output::Unheard { node } => self.leave_unheard(node),
                Output::Send { session, message } => self.send(session, message),
                Output::Close { session, code } => self.close(session, code),
                Output::Over { ended } => {
                    self.over = Some(match ended {
                        true => Over::Ended,
                        false => Over::Empty,
                    });
                }
            }
        }
        if self.tenure.wants_snapshot() {
            self.save().await;
        }
        while let Some(report) = self.meeting.poll_report() {
            if !self.tenure.is_lost() {
                self.shared.reports.hand_in(self.id, report, self.trace);
            }
        }
    }

    fn close(&mut self, session: SessionId, code: Code) {
        // Dropping the outlet would overtake what waits in it.
        if let Some(outlet) = self.outlets.remove(&session)
            && outlet.outgoing.try_send(Outgoing::Close(code)).is_err()
        {
            outlet.overrun.cancel();
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
            assignment.url = elsewhere::reachable(&assignment.url, host);
        }
        let others = match &mut message.body {
            Some(Body::Lobby(lobby)) => lobby.elsewhere.as_mut(),
            Some(Body::Joined(joined)) => joined.elsewhere.as_mut(),
            Some(Body::Elsewhere(elsewhere)) => Some(elsewhere),
            _ => None,
        };
        if let (Some(others), Some(host)) = (others, &outlet.host) {
            elsewhere::make_reachable(others, host);
        }
        if outlet
            .outgoing
            .try_send(Outgoing::Message(Box::new(message)))
            .is_err()
        {
            outlet.overrun.cancel();
        }
    }

    /// The nodes are these now.
    fn look_around(&mut self, nodes: &[Node]) {
        let others = self.others(nodes, false);
        self.can_move = !others.is_empty();
        let now = self.shared.now();
        self.meeting.handle(now, Input::Elsewhere(others));
        self.place(nodes);
    }

    fn others(&self, nodes: &[Node], goes: bool) -> Vec<signal::Controller> {
        let own = self.shared.directory.node();
        elsewhere::list(nodes, own, self.id, &self.shared.config.region, goes)
    }

    /// Leaves this controller where it carries much more than others.
    fn look_for_balance(&mut self, nodes: &[Node]) {
        let own = self.shared.directory.node();
        let region = &self.shared.config.region;
        let size = self.meeting.description().participants;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let controllers = elsewhere::controllers(nodes);
        let now = self.shared.now();
        let there = self
            .balance
            .look(now, self.id, &controllers, own, region, size);
        if let Some(there) = there.filter(|_| self.over.is_none()) {
            tracing::info!(controller = %there, "the meeting goes to a controller that carries less");
            measure::moved();
            self.over = Some(Over::Moved);
        }
    }

    /// Who has the meeting instead, and then the others.
    async fn owner_first(&self) -> Vec<signal::Controller> {
        let nodes = self.shared.nodes.borrow().clone();
        let mut to = self.others(&nodes, true);
        match self.shared.directory.state().read_lease(self.id).await {
            Ok(lease) => {
                let owner = nodes.iter().find(|node| Some(node.id) == lease.owner);
                if let Some(owner) = owner.filter(|node| node.id != self.shared.directory.node()) {
                    let owner = elsewhere::of(owner);
                    to.retain(|other| other.url != owner.url);
                    to.insert(0, owner);
                }
            }
            Err(error) => tracing::debug!(%error, "the new owner is not known"),
        }
        to
    }

    /// Tells everybody where to go, and closes. Nothing is persisted for it, and it is told
    /// by one who has lost the meeting as well.
    fn send_away(&mut self, to: Vec<signal::Controller>, code: Code) {
        let now = self.shared.now();
        self.meeting.handle(now, Input::Moved { to, code });
        while let Some(output) = self.meeting.poll() {
            match output {
                Output::Send { session, message } => self.send(session, message),
                Output::Close { session, code } => self.close(session, code),
                Output::Persist(_)
                | Output::Media { .. }
                | Output::Sync { .. }
                | Output::Unheard { .. }
                | Output::Over { .. } => {}
            }
        }
    }

    async fn tell_handler(&mut self, to: NodeId, order: MediaOrder) {
        if let Some(link) = self.handlers.get(&to) {
            link.say(self.id, self.tenure.fence(), self.trace, order)
                .await;
        }
    }

    async fn sync(&mut self, node: NodeId) {
        if let Some(link) = self.handlers.get(&node) {
            let orders = self.meeting.media_orders(node);
            let fence = self.tenure.fence();
            link.sync(self.id, fence, self.trace, orders).await;
        }
    }

    /// Whoever opens the meeting next finds everything in its log, also where the store has forgotten something since the
    /// last renewal: one more finds out.
    async fn leave_it_whole(&mut self) {
        self.renew().await;
        if self.tenure.is_unsaved() && !self.tenure.is_lost() {
            self.save().await;
        }
    }

    async fn wind_up(mut self) {
        if matches!(
            self.over,
            Some(Over::Ended | Over::Drained | Over::Moved) | None
        ) {
            self.leave_it_whole().await;
        }
        let over = self.over.unwrap_or(Over::Drained);
        for link in self.handlers.values() {
            link.leave(self.id);
        }
        let shared = self.shared.clone();
        let directory = &shared.directory;
        match over {
            Over::Lost => {
                let to = self.owner_first().await;
                self.send_away(to, Code::NotOwner);
            }
            Over::Empty => {
                let forgotten = directory
                    .state()
                    .forget_meeting(self.id, self.tenure.fence())
                    .await;
                if let Err(error) = forgotten {
                    tracing::info!(%error, "the log of an empty meeting was not dropped; it will expire");
                }
                directory.release(self.id, self.tenure.fence()).await;
                self.send_away(Vec::new(), Code::Unavailable);
            }
            Over::Ended => {
                directory.release(self.id, self.tenure.fence()).await;
            }
            Over::Drained | Over::Moved => {
                directory.release(self.id, self.tenure.fence()).await;
                let to = self.others(&shared.nodes.borrow().clone(), true);
                self.send_away(to, Code::Draining);
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

/// How long a caller waits for a meeting's answer at the most.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);
