//! One shard: sessions whose connections are here, and meetings whose home is here.
//!
//! A session whose meeting is here too is served by direct calls; else frames and facts hop between the two shards,
//! all of a turn in one message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use darktower_cluster::trace::{TRACEPARENT, TraceContext};
use darktower_media::Bitrate;
use darktower_media::forwarder::{Command, Delivery, SessionId};
use darktower_net::wt::{Event as WtEvent, Request, SessionKey};
use darktower_net::{CloseReason, plane};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId};

use crate::directory::{Holder, home};
use crate::door::{self, Place, Refusal};
use crate::measure::Tally;
use crate::meeting::{Event, Events, Meeting};
use crate::reach::{Hop, Reach};
use crate::session::{Session, Upward, Wanted, code_of};
use crate::timers::Timers;
use crate::trunk::News;
use crate::{Shared, measure};

/// What a participant says that its path to a former handler carried, in bits a second.
const CARRIED: &str = "carried_bps";
/// It is opened beside one that is silent and may not be gone.
const BESIDE: &str = "beside";

/// How often counts are told.
const TELL: Duration = Duration::from_millis(500);
/// How soon what did not fit into another shard's inbox is offered again.
const AGAIN: Duration = Duration::from_millis(1);

/// What a shard is told.
pub(crate) enum Message {
    /// A controller speaks of a meeting whose home is here.
    Command {
        meeting: MeetingId,
        fence: Fence,
        command: Command,
        from: Events,
    },
    /// Whose session it is that was asked for.
    Known {
        session: SessionKey,
        who: Result<Holder, Code>,
    },
    /// Of a trunk that a meeting whose home is here has dialled.
    Trunk {
        meeting: MeetingId,
        session: SessionId,
        news: News,
    },
    /// From another shard.
    Hops(Vec<Hop>),
    /// Tell participants to go elsewhere.
    Drain,
    /// Close everything.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session(usize),
    Meeting(MeetingId),
    Tell,
}

struct Asked {
    trace: TraceContext,
    beside: bool,
    place: Place,
}

/// One shard.
pub(crate) struct Shard {
    shared: Arc<Shared>,
    index: usize,
    reach: Reach,
    meetings: BTreeMap<MeetingId, Meeting>,
    touched: Vec<MeetingId>,
    /// Requests whose answer is awaited.
    asked: BTreeMap<SessionKey, Asked>,
    timers: Timers<Due>,
    upward: Upward,
    tally: Tally,
    tell_at: Duration,
    stopping: bool,
}

impl Shard {
    pub(crate) fn new(shared: Arc<Shared>, index: usize) -> Self {
        let shards = shared.shards;
        Self {
            index,
            reach: Reach::new(shared.clone(), index, shards),
            meetings: BTreeMap::new(),
            touched: Vec::new(),
            asked: BTreeMap::new(),
            timers: Timers::default(),
            upward: Upward::default(),
            tally: Tally::default(),
            tell_at: Duration::ZERO,
            stopping: false,
            shared,
        }
    }
}

type Io<'a> = plane::Io<'a, Message>;

impl plane::App for Shard {
    type Message = Message;

    fn event(&mut self, io: &mut Io<'_>, key: SessionKey, event: WtEvent) {
        let now = self.shared.at(io.now());
        match event {
            WtEvent::Requested(request) => self.requested(io, key, &request),
            WtEvent::Closed(reason) => self.closed(now, key, &reason),
            event => {
                let Self {
                    shared,
                    reach,
                    tally,
                    upward,
                    ..
                } = self;
                let (Some(session), Some(wt)) = (reach.at(key), io.session(key)) else {
                    return;
                };
                let done = match event {
                    WtEvent::Stream {
                        stream,
                        bidirectional,
                    } => {
                        session.opened(now, wt, stream, bidirectional);
                        session.readable(now, shared, tally, wt, stream, upward)
                    }
                    WtEvent::Readable(stream) => {
                        session.readable(now, shared, tally, wt, stream, upward)
                    }
                    WtEvent::Datagram(bytes) => {
                        session.datagram(now, shared, tally, wt, bytes, upward)
                    }
                    WtEvent::Drained { stream, bytes } => {
                        session.drained(now, stream, bytes);
                        Ok(())
                    }
                    WtEvent::Delivered(stream) => {
                        session.outgoing().delivered(stream);
                        Ok(())
                    }
                    WtEvent::Stopped { stream, .. } => {
                        session.outgoing().stopped(now, stream);
                        Ok(())
                    }
                    _ => Ok(()),
                };
                if let Err(code) = done {
                    session.ending.get_or_insert(code);
                }
                let seated = session.takes_seat();
                let (session, meeting) = (session.id, session.meeting);
                self.reach.touch(key.slot());
                if let Some(seat) = seated {
                    self.happens(now, meeting, Event::Opened { session, seat });
                }
                self.bring(now, key);
            }
        }
    }

    fn message(&mut self, io: &mut Io<'_>, message: Message) {
        let now = self.shared.at(io.now());
        match message {
            Message::Command {
                meeting,
                fence,
                command,
                from,
            } => {
                let event = Event::Command {
                    fence,
                    command,
                    from,
                };
                self.happens(now, meeting, event);
            }
            Message::Known { session, who } => self.known(io, session, who),
            // One that has ended has no use for it.
            Message::Trunk {
                meeting,
                session,
                news,
            } => {
                if let News::Frames(frames) = &news {
                    for taken in frames {
                        self.tally.received(taken.packet.frame_len());
                    }
                    // The sessions that they are forwarded to may all be another shard's.
                    self.tell_soon(now);
                }
                if self.meetings.contains_key(&meeting) {
                    self.happens(now, meeting, Event::Trunk { session, news });
                }
            }
            Message::Hops(hops) => {
                for hop in hops {
                    self.hopped(now, hop);
                }
            }
            Message::Drain => {
                for session in self.reach.all() {
                    session.drains = true;
                }
                self.touch_all();
            }
            Message::Stop => {
                self.stopping = true;
                for session in self.reach.all() {
                    session.ending.get_or_insert(Code::Draining);
                }
                self.touch_all();
                for (key, _) in std::mem::take(&mut self.asked) {
                    self.refuse(io, key, Code::Draining);
                }
            }
        }
    }

    fn settle(&mut self, io: &mut Io<'_>) {
        let now = self.shared.at(io.now());
        while let Some((at, due)) = self.timers.due(now) {
            self.due(io, now, at, due);
        }
        // What ends a session may change its meeting, and what ends a meeting its sessions.
        loop {
            if let Some(slot) = self.reach.touched.pop() {
                self.settle_session(io, now, slot);
            } else if let Some(id) = self.touched.pop() {
                self.settle_meeting(now, id);
            } else {
                break;
            }
        }
        self.reach
            .send(|shard, hops| match io.offer(shard, Message::Hops(hops)) {
                Err(Message::Hops(back)) => Err(back),
                _ => Ok(()),
            });
    }

    fn deadline(&self) -> Option<Instant> {
        if self.reach.is_held_up() {
            return Some(Instant::now() + AGAIN);
        }
        self.timers.next().map(|at| self.shared.origin + at)
    }
}

impl Shard {
    fn requested(&mut self, io: &mut Io<'_>, key: SessionKey, request: &Request) {
        self.shared.came();
        let trace = request.parameter(TRACEPARENT);
        let trace = TraceContext::continued(trace.as_deref().or(request.header(TRACEPARENT)));
        let (credential, place) = match door::look(&self.shared, request) {
            Ok(admitted) => admitted,
            Err(Refusal::Status(status)) => {
                measure::refused("session", Code::NotFound);
                let now = io.now();
                if let Some(wt) = io.session(key) {
                    wt.refuse(now, status);
                }
                return;
            }
            Err(Refusal::Code(code)) => {
                told_off(&trace, code);
                return self.refuse(io, key, code);
            }
        };
        if self.stopping {
            return self.refuse(io, key, Code::Draining);
        }
        let carried = request.parameter(CARRIED);
        let carried = carried.and_then(|bps| bps.parse().ok());
        if let (Some(bps), Some(wt)) = (carried, io.session(key)) {
            wt.path(|path| path.hear_of(Bitrate::from_bps(bps)));
        }
        let beside = request.parameter(BESIDE).is_some();
        let asked = Asked {
            trace,
            beside,
            place,
        };
        self.asked.insert(key, asked);
        let (shared, inlet) = (self.shared.clone(), io.inlet());
        self.shared.runtime.spawn(async move {
            let who = door::authenticate(&shared, credential).await;
            // Refused only where the handler has stopped.
            let _ = inlet.send(Message::Known { session: key, who }).await;
        });
    }

    fn refuse(&mut self, io: &mut Io<'_>, key: SessionKey, code: Code) {
        let now = io.now();
        if let Some(wt) = io.session(key) {
            wt.accept();
            wt.close(now, code.number(), code.name());
        }
    }

    fn known(&mut self, io: &mut Io<'_>, key: SessionKey, who: Result<Holder, Code>) {
        let Some(asked) = self.asked.remove(&key) else {
            return;
        };
        let Asked {
            trace,
            beside,
            place,
        } = asked;
        let holder = match who {
            Ok(holder) => holder,
            Err(code) => {
                told_off(&trace, code);
                return self.refuse(io, key, code);
            }
        };
        let Holder {
            meeting,
            seat,
            is_trunk,
        } = holder;
        let now = self.shared.at(io.now());
        let Some(wt) = io.session(key) else { return };
        wt.accept();
        let span = tracing::info_span!(
            "media session",
            meeting_id = %meeting,
            participant_id = %seat,
            trace_id = %trace.trace_id(),
            span_id = %trace.span_id(),
        );
        let id = self.reach.number(key);
        span.in_scope(|| tracing::info!(session = id.0, "media session opened"));
        let admitted = (is_trunk, place);
        let mut session = Session::new(now, &self.shared, id, key, meeting, admitted, span);
        session.waits = beside.then_some(seat);
        self.reach.insert(session);
        let session = id;
        if !beside {
            self.happens(now, meeting, Event::Opened { session, seat });
        }
    }

    /// The connection is gone, and with it, if it still was, the session.
    fn closed(&mut self, now: Duration, key: SessionKey, reason: &CloseReason) {
        self.shared.went();
        self.asked.remove(&key);
        if let Some(session) = self.reach.remove(key) {
            self.ended(now, &session, code_of(reason));
        }
    }

    fn ended(&mut self, now: Duration, session: &Session, code: Code) {
        measure::session_closed(code);
        let id = session.id;
        session.span.in_scope(|| {
            tracing::info!(session = id.0, code = code.name(), "media session closed");
        });
        let closed = Event::Closed { session: id, code };
        self.happens(now, session.meeting, closed);
    }

    /// Brings what a session wants to its meeting.
    fn bring(&mut self, now: Duration, key: SessionKey) {
        if self.upward.frames.is_empty() && self.upward.wanted.is_empty() {
            return;
        }
        let Some(session) = self.reach.at(key) else {
            return;
        };
        let (meeting, session) = (session.meeting, session.id);
        let mut upward = std::mem::take(&mut self.upward);
        for taken in upward.frames.drain(..) {
            self.happens(now, meeting, Event::Frame { session, taken });
        }
        for wanted in upward.wanted.drain(..) {
            let event = match wanted {
                Wanted::KeyFrame(track, layer) => Event::KeyFrameWanted {
                    session,
                    track,
                    layer,
                },
                Wanted::Layers(track, layers) => Event::LayersWanted {
                    session,
                    track,
                    layers,
                },
                Wanted::Demand(views) => Event::Demand { session, views },
                Wanted::Path(estimate, loss) => Event::Path {
                    session,
                    estimate,
                    loss,
                },
            };
            self.happens(now, meeting, event);
        }
        // Its memory is used again.
        self.upward = upward;
    }

    /// Something happens to a meeting, here or at its home.
    fn happens(&mut self, now: Duration, meeting: MeetingId, event: Event) {
        let shard = home(meeting, self.shared.shards);
        if shard != self.index {
            return self.reach.hop(shard, Hop::Meeting { meeting, event });
        }
        let there = self.meetings.entry(meeting).or_insert_with(|| {
            self.shared.meetings.fetch_add(1, Ordering::Relaxed);
            Meeting::new(now, meeting, self.shared.config.forwarding())
        });
        there.take(now, event, &mut self.reach);
        if !std::mem::replace(&mut there.touched, true) {
            self.touched.push(meeting);
        }
    }

    fn hopped(&mut self, now: Duration, hop: Hop) {
        match hop {
            Hop::Meeting { meeting, event } => self.happens(now, meeting, event),
            Hop::Session { session, what } => self.reach.told(now, session, what),
            Hop::Frame {
                kind,
                header,
                packet,
                to,
            } => {
                for session in to {
                    let payload = packet.clone();
                    let delivery = Delivery {
                        session,
                        kind,
                        header,
                        payload,
                    };
                    self.reach.deliver(now, delivery);
                }
            }
        }
    }

    fn touch_all(&mut self) {
        let slots: Vec<_> = self.reach.all().map(|session| session.key.slot()).collect();
        for slot in slots {
            self.reach.touch(slot);
        }
    }

    fn due(&mut self, io: &mut Io<'_>, now: Duration, at: Duration, due: Due) {
        match due {
            Due::Session(slot) => {
                let Self {
                    shared,
                    reach,
                    tally,
                    upward,
                    ..
                } = self;
                let Some(session) = reach.place(slot) else {
                    return;
                };
                session.armed.looked(at);
                let key = session.key;
                if let Some(wt) = io.session(key)
                    && let Err(code) = session.tick(now, shared, tally, wt, upward)
                {
                    session.ending.get_or_insert(code);
                }
                self.reach.touch(slot);
                self.bring(now, key);
            }
            Due::Meeting(id) => {
                let Some(meeting) = self.meetings.get_mut(&id) else {
                    return;
                };
                meeting.armed.looked(at);
                if meeting.deadline() <= now {
                    meeting.tick(now, &mut self.reach);
                }
                if !std::mem::replace(&mut meeting.touched, true) {
                    self.touched.push(id);
                }
            }
            Due::Tell => self.tally.tell(),
        }
    }

    /// What was counted is told in a while.
    fn tell_soon(&mut self, now: Duration) {
        if self.tell_at <= now {
            self.tell_at = now + TELL;
            let mut once = Default::default();
            self.timers.arm(&mut once, Some(self.tell_at), Due::Tell);
        }
    }

    /// Does what a session has to do now, and says when it must be looked at again.
    fn settle_session(&mut self, io: &mut Io<'_>, now: Duration, slot: usize) {
        let Self {
            shared,
            reach,
            tally,
            timers,
            upward,
            ..
        } = self;
        let Some(session) = reach.place(slot) else {
            return;
        };
        session.touched = false;
        let key = session.key;
        if let Some(wt) = io.session(key)
            && let Err(code) = session.perform(now, shared, tally, wt, upward)
        {
            session.ending.get_or_insert(code);
        }
        let Some(code) = session.ending else {
            let at = session.deadline();
            timers.arm(&mut session.armed, at, Due::Session(slot));
            self.tell_soon(now);
            return self.bring(now, key);
        };
        let at = io.now();
        if let Some(wt) = io.session(key) {
            wt.close(at, code.number(), code.name());
        }
        if let Some(session) = self.reach.remove(key) {
            self.ended(now, &session, code);
        }
    }

    fn settle_meeting(&mut self, now: Duration, id: MeetingId) {
        let Some(meeting) = self.meetings.get_mut(&id) else {
            return;
        };
        meeting.touched = false;
        meeting.count();
        // A handler that stops leaves that, or it would tell its sessions that the meeting has ended.
        if meeting.is_needless(now, self.shared.config.forget_after) && !self.stopping {
            meeting.end(now, &mut self.reach);
            self.meetings.remove(&id);
            self.shared.meetings.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let at = Some(meeting.deadline());
        self.timers.arm(&mut meeting.armed, at, Due::Meeting(id));
    }
}

fn told_off(trace: &TraceContext, code: Code) {
    measure::refused("session", code);
    tracing::info!(
        trace_id = %trace.trace_id(),
        code = code.name(),
        "media session refused"
    );
}
