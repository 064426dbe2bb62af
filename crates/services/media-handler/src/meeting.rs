//! One meeting: its forwarder, and what it decides done.
//!
//! All wiring between [`Forwarder`] and the rest is here: inputs in [`Meeting::take`], outputs in [`Meeting::perform`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::rpc::{
    FenceRefused, MediaEvent, SeatConnected, SeatDisconnected, media_event::Body,
};
use darktower_media::Bitrate;
use darktower_media::demand::View;
use darktower_media::forwarder::{
    self, Command, Delivery, Forwarder, Input, Output, SessionId, Trunk,
};
use darktower_media::path::Loss;
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, ParticipantId, TrackId};
use tokio::sync::mpsc;
use tonic::Status;

use crate::directory::Holder;
use crate::ingress::Taken;
use crate::measure;
use crate::packet::Packet;
use crate::reach::{Reach, ToSession};
use crate::say;
use crate::timers::Armed;
use crate::trunk::{self, Dialled, News};

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
    },
    Closed {
        session: SessionId,
        code: Code,
    },
    Frame {
        session: SessionId,
        taken: Taken,
    },
    KeyFrameWanted {
        session: SessionId,
        track: TrackId,
        layer: u8,
    },
    LayersWanted {
        session: SessionId,
        track: TrackId,
        layers: u16,
    },
    Trunk {
        session: SessionId,
        news: News,
    },
    Demand {
        session: SessionId,
        views: Vec<View>,
    },
    Path {
        session: SessionId,
        estimate: Bitrate,
        loss: Loss,
    },
}

/// One meeting, on its home shard.
pub(crate) struct Meeting {
    id: MeetingId,
    core: Forwarder<Packet>,
    deliveries: Vec<Delivery<Packet>>,
    present: BTreeSet<SessionId>,
    /// To other handlers.
    trunks: BTreeMap<SessionId, Dialled>,
    /// The newest owner that has spoken, and when.
    controller: Option<(Fence, Events)>,
    heard: Duration,
    over: bool,
    kept: (usize, usize),
    looked: Duration,
    pub(crate) armed: Armed,
    pub(crate) touched: bool,
}

impl Meeting {
    pub(crate) fn new(now: Duration, id: MeetingId, config: forwarder::Config) -> Self {
        tracing::debug!(meeting_id = %id, "meeting opened");
        Self {
            id,
            core: Forwarder::new(config),
            deliveries: Vec::new(),
            present: BTreeSet::new(),
            trunks: BTreeMap::new(),
            controller: None,
            heard: now,
            over: false,
            kept: (0, 0),
            looked: now,
            armed: Armed::default(),
            touched: false,
        }
    }

    /// Something happened to it.
    pub(crate) fn take(&mut self, now: Duration, event: Event, reach: &mut Reach) {
        let input = match event {
            Event::Frame { session, taken } => return self.frame(now, session, &taken, reach),
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
                    return self.refuse_fence(&from);
                }
                let former = self.controller.replace((fence, from));
                self.tell_former(former);
                self.heard = now;
                Input::Command { fence, command }
            }
            Event::Opened { session, seat } => {
                self.present.insert(session);
                Input::SessionOpened { session, seat }
            }
            Event::Closed { session, code } => {
                self.present.remove(&session);
                Input::SessionClosed { session, code }
            }
            Event::KeyFrameWanted {
                session,
                track,
                layer,
            } => Input::KeyFrameWanted {
                session,
                track,
                layer,
            },
            Event::LayersWanted {
                session,
                track,
                layers,
            } => Input::LayersWanted {
                session,
                track,
                layers,
            },
            Event::Trunk { session, news } => match news {
                News::Up => Input::TrunkOpened { session },
                News::Frames(frames) => {
                    for taken in &frames {
                        self.frame(now, session, taken, reach);
                    }
                    return;
                }
                News::Down => {
                    self.trunks.remove(&session);
                    Input::TrunkClosed { session }
                }
            },
            Event::Demand { session, views } => Input::Demand { session, views },
            Event::Path {
                session,
                estimate,
                loss,
            } => Input::Path {
                session,
                estimate,
                loss,
            },
        };
        self.core.handle(now, input);
        self.perform(now, reach);
    }

    fn frame(&mut self, now: Duration, session: SessionId, taken: &Taken, reach: &mut Reach) {
        let Self {
            core, deliveries, ..
        } = self;
        let Taken {
            kind,
            header,
            packet,
        } = taken;
        let done = core.on_frame(now, session, *kind, header, packet, deliveries);
        if let Err(code) = done {
            measure::refused("frame", code);
            tracing::trace!(session = session.0, code = code.name(), "frame refused");
        }
        for delivery in deliveries.drain(..) {
            reach.deliver(now, delivery);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration, reach: &mut Reach) {
        self.looked = now;
        self.core.handle(now, Input::Tick);
        self.perform(now, reach);
    }

    /// When [`Meeting::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Duration {
        let look = self.looked + LOOK;
        self.core.deadline().map_or(look, |at| at.min(look))
    }

    fn perform(&mut self, now: Duration, reach: &mut Reach) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Deliver(delivery) => reach.deliver(now, delivery),
                Output::End { session, track } => reach.tell(now, session, ToSession::End(track)),
                Output::KeyFrameWanted {
                    session,
                    track,
                    layer,
                } => {
                    measure::key_frame_request();
                    self.tell(now, session, say::key_frame_wanted(track, layer), reach);
                }
                Output::LayersWanted {
                    session,
                    track,
                    layers,
                } => self.tell(now, session, say::layers_wanted(track, layers), reach),
                Output::Dial { session, trunk } => self.dial(session, trunk, reach),
                Output::HangUp { session } => {
                    self.trunks.remove(&session);
                }
                Output::Speakers { session, tracks } => {
                    reach.tell(now, session, say::speakers(&tracks));
                }
                Output::Allocation {
                    session,
                    estimate,
                    shares,
                } => reach.tell(now, session, say::allocation(estimate, &shares)),
                Output::Probe { session, to } => reach.tell(now, session, ToSession::Probe(to)),
                Output::Close { session, code } => {
                    self.present.remove(&session);
                    reach.tell(now, session, ToSession::Close(code));
                }
                Output::Refused { session, code } => {
                    measure::refused("request", code);
                    tracing::debug!(session = session.0, code = code.name(), "request refused");
                }
                Output::TicketKnown {
                    ticket,
                    seat,
                    is_trunk,
                } => {
                    let holder = Holder {
                        meeting: self.id,
                        seat,
                        is_trunk,
                    };
                    reach.shared.directory.ticket(ticket, Some(holder));
                }
                Output::TicketGone { ticket } => reach.shared.directory.ticket(ticket, None),
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
        if self.core.is_idle() {
            // The seats of a meeting come before its sessions or after; a moment later
            // there is nothing left to wait for.
            self.over |= self.controller.is_some() && now >= self.heard + LOOK;
        }
    }

    fn dial(&mut self, session: SessionId, trunk: Trunk, reach: &Reach) {
        let shared = &reach.shared;
        // Meetings live on shards that stand.
        let Some(inlet) = shared.home(self.id) else {
            return;
        };
        let dialled = trunk::dial(shared, inlet, self.id, session, trunk);
        self.trunks.insert(session, dialled);
    }

    /// Tells a publisher something, or the handler that it is on.
    fn tell(&mut self, now: Duration, session: SessionId, what: ToSession, reach: &mut Reach) {
        if !session.is_dialled() {
            return reach.tell(now, session, what);
        }
        let Some(dialled) = self.trunks.get(&session) else {
            return;
        };
        if say::by_trunk(what).is_some_and(|body| !dialled.say(body)) {
            // It is dialled anew, and told everything then.
            self.trunks.remove(&session);
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

    /// An owner that cannot reach the state store learns here alone that there is a newer one.
    fn tell_former(&self, former: Option<(Fence, Events)>) {
        if let (Some((was, events)), Some((newest, from))) = (former, &self.controller)
            && was < *newest
            && !events.same_channel(from)
        {
            self.refuse_fence(&events);
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
            meeting_id: Bytes::copy_from_slice(&self.id.0),
            body: Some(body),
        }
    }

    /// Whether nobody needs it any more.
    pub(crate) fn is_needless(&self, now: Duration, forget_after: Duration) -> bool {
        let forgotten = now >= self.heard + forget_after;
        self.present.is_empty() && (self.over || forgotten)
    }

    /// Its tickets open nothing any more.
    pub(crate) fn end(&mut self, now: Duration, reach: &mut Reach) {
        let fence = self
            .controller
            .as_ref()
            .map_or(Fence(0), |(fence, _)| *fence);
        let command = Command::Over;
        self.core.handle(now, Input::Command { fence, command });
        self.perform(now, reach);
        self.count();
        tracing::debug!(meeting_id = %self.id, "meeting closed");
    }

    /// Tells how much it keeps, where that has changed.
    pub(crate) fn count(&mut self) {
        let (_, tracks, cached) = self.core.sizes();
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

impl Drop for Meeting {
    fn drop(&mut self) {
        let (tracks, cached) = self.kept;
        measure::kept(-(tracks as f64), -(cached as f64));
    }
}
