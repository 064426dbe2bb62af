//! One meeting: its forwarder, and what it decides done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::rpc::{
    FenceRefused, MediaEvent, SeatConnected, SeatDisconnected, media_event::Body,
};
use darktower_media::Kind;
use darktower_media::forwarder::{self, Command, Delivery, Forwarder, Input, Output, SessionId};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, ParticipantId, TrackId};
use darktower_wire::media::{Frame, Header};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{Shared, measure};

/// How often a meeting looks whether anybody still needs it.
const LOOK: Duration = Duration::from_secs(10);

/// Where a controller's events go.
pub(crate) type Events = mpsc::Sender<Result<MediaEvent, Status>>;

/// What happens to a meeting.
pub(crate) enum Event {
    Command {
        fence: Fence,
        command: Command,
        from: Events,
    },
    Opened {
        session: SessionId,
        seat: ParticipantId,
        outlet: Outlet,
    },
    Closed {
        session: SessionId,
        code: Code,
    },
    Frame {
        session: SessionId,
        kind: Kind,
        frame: Frame,
    },
    KeyFrameWanted {
        session: SessionId,
        track: TrackId,
    },
}

/// What a meeting gives to one of its sessions.
pub(crate) enum ToSession {
    Frame {
        kind: Kind,
        header: Header,
        bytes: Bytes,
    },
    End(TrackId),
    KeyFrameWanted {
        track: TrackId,
        layer: u8,
    },
    Close(Code),
}

/// The way to one session. Never waits.
pub(crate) struct Outlet {
    pub(crate) inbox: mpsc::Sender<ToSession>,
    /// It does not even take what is given to it: cut it off.
    pub(crate) overrun: CancellationToken,
}

impl Outlet {
    fn give(&self, what: ToSession) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbox.try_send(what) {
            self.overrun.cancel();
        }
    }
}

struct Shard {
    shared: Arc<Shared>,
    meeting: MeetingId,
    core: Forwarder<Bytes>,
    deliveries: Vec<Delivery<Bytes>>,
    outlets: BTreeMap<SessionId, Outlet>,
    /// The newest owner that has spoken, and when.
    controller: Option<(Fence, Events)>,
    heard: Duration,
    over: bool,
    kept: (usize, usize),
}

#[tracing::instrument(skip_all, fields(meeting_id = %meeting))]
pub(crate) async fn run(
    shared: Arc<Shared>,
    meeting: MeetingId,
    mut events: mpsc::Receiver<Event>,
) {
    let mut shard = Shard {
        meeting,
        core: Forwarder::new(forwarder::Config::default()),
        deliveries: Vec::new(),
        outlets: BTreeMap::new(),
        controller: None,
        heard: shared.now(),
        over: false,
        kept: (0, 0),
        shared,
    };
    tracing::debug!("meeting opened");
    let stopping = shard.shared.stopping.clone();
    loop {
        let look = shard.shared.now() + LOOK;
        let wake = shard.core.deadline().unwrap_or(look).min(look);
        let event = tokio::select! {
            event = events.recv() => event,
            () = tokio::time::sleep_until(shard.shared.origin + wake) => None,
            () = stopping.cancelled() => break,
        };
        let now = shard.shared.now();
        match event {
            Some(event) => shard.take(now, event),
            None => shard.core.handle(now, Input::Tick),
        }
        shard.perform(now);
        if shard.is_needless(now) && shard.shared.directory.forget(meeting, &mut events) {
            break;
        }
    }
    // Its tickets open nothing any more. A handler that stops leaves that, or it
    // would tell its sessions that the meeting has ended.
    if !stopping.is_cancelled() {
        let fence = shard
            .controller
            .as_ref()
            .map_or(Fence(0), |(fence, _)| *fence);
        let (now, command) = (shard.shared.now(), Command::Over);
        shard.core.handle(now, Input::Command { fence, command });
        shard.perform(now);
    }
    shard.kept(0, 0);
    tracing::debug!("meeting closed");
}

impl Shard {
    fn take(&mut self, now: Duration, event: Event) {
        let input = match event {
            Event::Frame {
                session,
                kind,
                frame,
            } => return self.frame(now, session, kind, frame),
            Event::Command {
                fence,
                command,
                from,
            } => {
                if self
                    .controller
                    .as_ref()
                    .is_some_and(|(newest, _)| fence < *newest)
                {
                    self.refuse_fence(&from);
                    return;
                }
                self.controller = Some((fence, from));
                self.heard = now;
                Input::Command { fence, command }
            }
            Event::Opened {
                session,
                seat,
                outlet,
            } => {
                self.outlets.insert(session, outlet);
                Input::SessionOpened { session, seat }
            }
            Event::Closed { session, code } => {
                self.outlets.remove(&session);
                Input::SessionClosed { session, code }
            }
            Event::KeyFrameWanted { session, track } => Input::KeyFrameWanted { session, track },
        };
        self.core.handle(now, input);
    }

    fn frame(&mut self, now: Duration, session: SessionId, kind: Kind, frame: Frame) {
        let Self {
            core,
            deliveries,
            outlets,
            ..
        } = self;
        let taken = core.on_frame(now, session, kind, &frame.header, &frame.bytes, deliveries);
        if let Err(code) = taken {
            measure::refused("frame", code);
            tracing::trace!(session = session.0, code = code.name(), "frame refused");
        }
        for delivery in deliveries.drain(..) {
            give(outlets, delivery);
        }
    }

    fn perform(&mut self, now: Duration) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Deliver(delivery) => give(&self.outlets, delivery),
                Output::End { session, track } => self.tell(session, ToSession::End(track)),
                Output::KeyFrameWanted {
                    session,
                    track,
                    layer,
                } => {
                    measure::key_frame_request();
                    self.tell(session, ToSession::KeyFrameWanted { track, layer });
                }
                Output::Close { session, code } => {
                    self.tell(session, ToSession::Close(code));
                    self.outlets.remove(&session);
                }
                Output::Refused { session, code } => {
                    measure::refused("request", code);
                    tracing::debug!(session = session.0, code = code.name(), "request refused");
                }
                Output::TicketKnown { ticket, seat } => {
                    let of = Some((self.meeting, seat));
                    self.shared.directory.ticket(ticket, of);
                }
                Output::TicketGone { ticket } => self.shared.directory.ticket(ticket, None),
                Output::SeatConnected { seat } => {
                    let seat = Bytes::copy_from_slice(&seat.0);
                    self.report(Body::SeatConnected(SeatConnected { seat }));
                }
                Output::SeatDisconnected { seat, code } => {
                    let (seat, code) = (Bytes::copy_from_slice(&seat.0), code.number());
                    self.report(Body::SeatDisconnected(SeatDisconnected { seat, code }));
                }
                Output::FenceRefused { newest } => {
                    let newest = newest.0;
                    self.report(Body::FenceRefused(FenceRefused { newest }));
                }
                Output::Over => self.over = true,
            }
        }
        let (_, tracks, cached) = self.core.sizes();
        self.kept(tracks, cached);
        if self.core.is_idle() {
            // The seats of a meeting come before its sessions or after; a moment later
            // there is nothing left to wait for.
            self.over |= self.controller.is_some() && now >= self.heard + LOOK;
        }
    }

    fn tell(&self, session: SessionId, what: ToSession) {
        if let Some(outlet) = self.outlets.get(&session) {
            outlet.give(what);
        }
    }

    /// Tells the meeting's controller; one that does not listen learns it when it
    /// says everything anew.
    fn report(&self, body: Body) {
        if let Some((_, events)) = &self.controller
            && events.try_send(Ok(self.event(body))).is_err()
        {
            tracing::debug!("the meeting controller does not listen");
        }
    }

    fn refuse_fence(&self, from: &Events) {
        let newest = self.controller.as_ref().map_or(0, |(newest, _)| newest.0);
        measure::refused("command", Code::FenceStale);
        let event = self.event(Body::FenceRefused(FenceRefused { newest }));
        if from.try_send(Ok(event)).is_err() {
            tracing::debug!("a former meeting controller does not listen");
        }
    }

    fn event(&self, body: Body) -> MediaEvent {
        MediaEvent {
            meeting_id: Bytes::copy_from_slice(&self.meeting.0),
            body: Some(body),
        }
    }

    fn is_needless(&self, now: Duration) -> bool {
        let forgotten = now >= self.heard + self.shared.config.forget_after;
        self.outlets.is_empty() && (self.over || forgotten)
    }

    fn kept(&mut self, tracks: usize, cached: usize) {
        if self.kept != (tracks, cached) {
            let (had_tracks, had_cached) = self.kept;
            measure::kept(
                tracks as f64 - had_tracks as f64,
                cached as f64 - had_cached as f64,
            );
            self.kept = (tracks, cached);
        }
    }
}

fn give(outlets: &BTreeMap<SessionId, Outlet>, delivery: Delivery<Bytes>) {
    if let Some(outlet) = outlets.get(&delivery.session) {
        outlet.give(ToSession::Frame {
            kind: delivery.kind,
            header: delivery.header,
            bytes: delivery.payload,
        });
    }
}
