//! One media session: its control stream, and what its two sides have to do when.

use std::time::Duration;

use bytes::Bytes;
use darktower_media::Bitrate;
use darktower_media::demand::View;
use darktower_media::forwarder::SessionId;
use darktower_media::path::{Loss, Upkeep};
use darktower_net::wt::{Progress, Session as Wt, SessionKey, StreamId};
use darktower_net::{CloseReason, ClosedBy};
use darktower_wire::Code;
use darktower_wire::datagram;
use darktower_wire::framing::{self, FramingError, MAX_MEDIA_CONTROL};
use darktower_wire::ids::{MeetingId, ParticipantId, TrackId};
use darktower_wire::media_control::{
    ClientControl, Drain, Pong, ServerControl, Welcome, client_control, server_control,
};

use crate::Shared;
use crate::door::Place;
use crate::egress::Outgoing;
use crate::ingress::{Ingress, Taken};
use crate::measure::Tally;
use crate::timers::Armed;

/// Bytes of control messages that may wait for one who does not read them.
const MAX_UNSAID: usize = 64 * 1024;

/// What somebody asks of the meeting, or makes known to it.
pub(crate) enum Wanted {
    KeyFrame(TrackId, u8),
    Layers(TrackId, u16),
    Demand(Vec<View>),
    Path(Bitrate, Loss),
}

/// What a session wants done beyond itself.
#[derive(Default)]
pub(crate) struct Upward {
    pub(crate) frames: Vec<Taken>,
    pub(crate) wanted: Vec<Wanted>,
}

/// One media session, on the shard of its connection.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: SessionKey,
    pub(crate) meeting: MeetingId,
    pub(crate) span: tracing::Span,
    pub(crate) armed: Armed,
    pub(crate) touched: bool,
    /// Why it must end.
    pub(crate) ending: Option<Code>,
    /// Whether it is to be told to go elsewhere.
    pub(crate) drains: bool,
    /// The seat that it takes with its Hello, where it did not at once.
    pub(crate) waits: Option<ParticipantId>,
    /// What it is to be told, in order.
    pub(crate) says: Vec<server_control::Body>,
    /// What its path needs, and when.
    pub(crate) upkeep: Upkeep,
    ingress: Ingress,
    outgoing: Outgoing,
    control: Option<StreamId>,
    decoder: framing::Decoder,
    _place: Place,
    /// Until when Hello must have been said; `None` once it has.
    hello_by: Option<Duration>,
    unsaid: usize,
}

impl Session {
    pub(crate) fn new(
        now: Duration,
        shared: &Shared,
        id: SessionId,
        key: SessionKey,
        meeting: MeetingId,
        (is_trunk, place): (bool, Place),
        span: tracing::Span,
    ) -> Self {
        Self {
            id,
            key,
            meeting,
            span,
            armed: Armed::default(),
            touched: false,
            _place: place,
            ending: None,
            drains: false,
            waits: None,
            says: Vec::new(),
            upkeep: Upkeep::new(now),
            ingress: Ingress::new(now, shared),
            outgoing: Outgoing::new(shared, is_trunk),
            control: None,
            decoder: framing::Decoder::new(MAX_MEDIA_CONTROL),
            hello_by: Some(now + shared.config.hello_within),
            unsaid: 0,
        }
    }

    /// The seat that it takes now.
    pub(crate) fn takes_seat(&mut self) -> Option<ParticipantId> {
        self.waits.take_if(|_| self.hello_by.is_none())
    }

    /// What the meeting has for it.
    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// The participant has opened a stream.
    pub(crate) fn opened(
        &mut self,
        now: Duration,
        wt: &mut Wt,
        stream: StreamId,
        bidirectional: bool,
    ) {
        match (bidirectional, self.control) {
            (false, _) => self.ingress.opened(now, stream),
            (true, None) => {
                self.control = Some(stream);
                // What is said goes before pictures, or a full window would keep it back.
                wt.set_priority(stream, i32::MAX);
            }
            // There is but one control stream.
            (true, Some(_)) => {
                wt.stop(stream, Code::TooManyStreams.number());
                wt.reset(stream, Code::TooManyStreams.number());
            }
        }
    }

    /// Something of a stream can be read. An error is the session's end.
    pub(crate) fn readable(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &mut Wt,
        stream: StreamId,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        match self.control == Some(stream) {
            true => self.converse(shared, wt, stream, upward),
            false => {
                let taken = &mut upward.frames;
                self.ingress.read(now, shared, tally, wt, stream, taken)
            }
        }
    }

    /// A datagram came, with the session's number in front.
    pub(crate) fn datagram(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &Wt,
        bytes: Bytes,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        let front = wt.datagram_front().len();
        let taken = &mut upward.frames;
        self.ingress
            .datagram(now, shared, tally, (bytes, front), taken)
    }

    /// The connection has taken bytes of a stream that had to wait.
    pub(crate) fn drained(&mut self, now: Duration, stream: StreamId, bytes: usize) {
        match self.control == Some(stream) {
            true => self.unsaid = self.unsaid.saturating_sub(bytes),
            false => self.outgoing.drained(now, stream, bytes),
        }
    }

    fn converse(
        &mut self,
        shared: &Shared,
        wt: &mut Wt,
        stream: StreamId,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        let (decoder, ingress) = (&mut self.decoder, &mut self.ingress);
        let progress = wt.read(stream, |chunk| {
            ingress.spend(chunk.len());
            decoder.push(&chunk);
        });
        loop {
            match self.decoder.next_message::<ClientControl>() {
                Ok(None) => break,
                Ok(Some(message)) => self.heard(shared, wt, message, upward)?,
                Err(error) => return Err(lie(&error)),
            }
        }
        match progress {
            Progress::Waits | Progress::Gone => Ok(()),
            Progress::Ended => Err(Code::Left),
            Progress::Reset(_) => Err(Code::ConnectionLost),
        }
    }

    fn heard(
        &mut self,
        shared: &Shared,
        wt: &mut Wt,
        message: ClientControl,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        use client_control::Body;
        let waits = self.hello_by.is_some();
        match message.body {
            Some(Body::Hello(_)) if waits => {
                self.hello_by = None;
                self.drains |= shared.draining.is_cancelled();
                self.say(wt, server_control::Body::Welcome(Welcome {}))
            }
            Some(Body::Hello(_)) => Err(Code::OutOfOrder),
            _ if waits => Err(Code::OutOfOrder),
            Some(Body::KeyFrameWanted(wanted)) => {
                let layer = u8::try_from(wanted.layer).map_err(|_| Code::Malformed)?;
                let track = TrackId(wanted.track);
                upward.wanted.push(Wanted::KeyFrame(track, layer));
                Ok(())
            }
            Some(Body::LayersWanted(wanted)) => {
                let layers = u16::try_from(wanted.layers).map_err(|_| Code::Malformed)?;
                let track = TrackId(wanted.track);
                upward.wanted.push(Wanted::Layers(track, layers));
                Ok(())
            }
            Some(Body::Ping(ping)) => {
                let sent_us = ping.sent_us;
                self.say(wt, server_control::Body::Pong(Pong { sent_us }))
            }
            Some(Body::Demand(demand)) => {
                let views = demand.views.iter().map(|view| View {
                    track: TrackId(view.track),
                    width_px: view.width_px,
                    height_px: view.height_px,
                    pinned: view.pinned,
                });
                upward.wanted.push(Wanted::Demand(views.collect()));
                Ok(())
            }
            // A message of a later version.
            None => Ok(()),
        }
    }

    /// Writes what has been given to it since the last time. An error is the session's end.
    pub(crate) fn perform(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &mut Wt,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        self.outgoing.perform(now, shared, tally, wt)?;
        self.attend_path(now, wt, upward);
        if self.hello_by.is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.drains) {
            self.say(wt, server_control::Body::Drain(Drain {}))?;
        }
        if let Some(feedback) = self.ingress.arrivals.poll(now) {
            self.says
                .push(server_control::Body::Feedback(feedback.into()));
        }
        for body in std::mem::take(&mut self.says) {
            self.say(wt, body)?;
        }
        Ok(())
    }

    /// Lets the path be tested, and tells what it is believed to carry.
    fn attend_path(&mut self, now: Duration, wt: &mut Wt, upward: &mut Upward) {
        if !self.upkeep.is_due(now) {
            return;
        }
        let upkeep = &mut self.upkeep;
        let chores = wt.path(|path| upkeep.attend(now, path)).flatten();
        let Some(chores) = chores else { return };
        wt.set_send_window(chores.hold);
        if chores.padding > 0
            && let Err(error) = wt.send_datagram(&datagram::padding(chores.padding))
        {
            tracing::trace!(%error, "no padding");
        }
        if let Some((estimate, loss)) = chores.belief {
            self.outgoing.path(estimate, loss);
            if chores.is_news {
                upward.wanted.push(Wanted::Path(estimate, loss));
            }
        }
    }

    fn say(&mut self, wt: &mut Wt, body: server_control::Body) -> Result<(), Code> {
        let (Some(control), None) = (self.control, self.hello_by) else {
            return Ok(());
        };
        let bytes = framing::encode(&ServerControl { body: Some(body) });
        let len = bytes.len();
        self.unsaid += len - wt.write(control, bytes).min(len);
        match self.unsaid > MAX_UNSAID {
            true => Err(Code::SlowReader),
            false => Ok(()),
        }
    }

    /// When [`Session::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        [
            self.hello_by,
            self.upkeep.deadline(),
            self.ingress.arrivals.deadline(),
            self.ingress.deadline(),
            self.outgoing.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &mut Wt,
        upward: &mut Upward,
    ) -> Result<(), Code> {
        if self.hello_by.is_some_and(|by| now >= by) {
            return Err(Code::AuthenticationTimeout);
        }
        for stream in self.ingress.tick(now, shared, wt)? {
            let taken = &mut upward.frames;
            self.ingress.read(now, shared, tally, wt, stream, taken)?;
        }
        self.outgoing.tick(now, wt);
        Ok(())
    }
}

fn lie(error: &FramingError) -> Code {
    tracing::debug!(%error, "malformed control message");
    match error {
        FramingError::Length(darktower_wire::DecodeError::TooLarge { .. }) => Code::TooLarge,
        _ => Code::Malformed,
    }
}

/// What a lost session is counted and reported under.
pub(crate) fn code_of(reason: &CloseReason) -> Code {
    match reason.by {
        ClosedBy::Peer | ClosedBy::Here => Code::from_number(reason.code).unwrap_or(Code::Left),
        ClosedBy::Lost => Code::ConnectionLost,
    }
}
