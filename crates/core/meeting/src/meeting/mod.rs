//! The controller's end of the conversation: one meeting.
//!
//! What must survive the controller is in the records (`record.rs`), changed by nothing but
//! [`record::Change`]s, each of which is persisted before it is acknowledged. Who is
//! connected, and what was asked of whom, is here and is rebuilt by resuming ends.

mod api;
mod decodes;
mod handlers;
mod key_faults;
mod key_requests;
mod keys;
mod record;
mod seats;
mod silence;
mod tracks;
mod unheard;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use darktower_wire::signal::{
    self, ServerMessage, client_message::Body as Asked, server_message::Body,
};
use darktower_wire::{Code, Secret};
use prost::Message as _;

pub use api::{
    Config, Credential, Description, Entropy, Handler, Happened, Input, MediaOrder, Output, Report,
    RestoreError, SessionId, Spare, resume_token_meeting, resume_token_participant,
};
use handlers::Handlers;
use keys::KeyRequests;
use record::{Change, Entry, Records};
use silence::Silence;
use unheard::Unheard;

/// The controller's end of the signalling conversation of one meeting. See
/// [`Input`] for what it can be told and [`Output`] for what it decides.
#[derive(Debug)]
pub struct Meeting {
    config: Config,
    id: MeetingId,
    records: Records,
    /// Wall time less monotone time, in unix milliseconds.
    wall_origin_ms: u64,
    now: Duration,
    sessions: BTreeMap<SessionId, Session>,
    /// The session on each taken seat.
    seated: BTreeMap<ParticipantId, SessionId>,
    handlers: Handlers,
    unheard: Unheard,
    elsewhere: Vec<signal::Controller>,
    keys: KeyRequests,
    /// Nobody has been here since.
    empty_since: Option<Duration>,
    over: bool,
    outputs: VecDeque<Output>,
    reports: VecDeque<Report>,
}

#[derive(Debug)]
struct Session {
    participant: ParticipantId,
    role: signal::Role,
    stage: Stage,
    /// The media handler that it was told of in the lobby, where newcomers go to another by now.
    home: Option<NodeId>,
    entropy: api::Entropy,
    /// The resume token it came with.
    token: Option<Secret<Bytes>>,
    heard: Duration,
    silence: Silence,
    /// When its allowance of messages is whole again.
    spent_until: Duration,
    /// Commits that were sent and not answered, in order.
    awaiting: VecDeque<Awaiting>,
    /// It was told to join the group again and has not yet.
    resyncing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Awaiting {
    serial: u64,
    epoch: u64,
    /// The commit was voided since.
    voided: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was said.
    Opened,
    Lobby,
    Joined,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
struct From {
    session: SessionId,
    request: u64,
    participant: ParticipantId,
}

impl Meeting {
    /// A meeting that nobody has been in. `wall_ms` is unix time at `now`.
    /// Fails where `meeting.id` is no meeting id.
    pub fn new(
        config: Config,
        meeting: signal::Meeting,
        now: Duration,
        wall_ms: u64,
    ) -> Result<Self, darktower_wire::ids::ParseError> {
        let id = MeetingId::from_slice(&meeting.id)?;
        let records = Records {
            meeting: Some(meeting),
            ..Records::default()
        };
        Ok(Self::with(config, id, records, now, wall_ms))
    }

    /// The meeting that a snapshot and the deltas persisted after it describe.
    /// Say [`Input::TakenOver`] to begin with it.
    pub fn restore<'a>(
        config: Config,
        snapshot: &[u8],
        deltas: impl IntoIterator<Item = &'a [u8]>,
        now: Duration,
        wall_ms: u64,
    ) -> Result<Self, RestoreError> {
        let mut records = Records::decode(snapshot)?;
        for delta in deltas {
            if let Some(change) = Entry::decode(delta)?.change {
                records.apply(change);
            }
        }
        let id = records.meeting.as_ref().map(|meeting| &meeting.id[..]);
        let id =
            MeetingId::from_slice(id.unwrap_or_default()).map_err(|_| RestoreError::Nameless)?;
        Ok(Self::with(config, id, records, now, wall_ms))
    }

    fn with(config: Config, id: MeetingId, records: Records, now: Duration, wall_ms: u64) -> Self {
        Self {
            config,
            id,
            wall_origin_ms: wall_ms.saturating_sub(now.as_millis() as u64),
            now,
            sessions: BTreeMap::new(),
            seated: BTreeMap::new(),
            handlers: Handlers::default(),
            unheard: Unheard::default(),
            elsewhere: Vec::new(),
            keys: KeyRequests::default(),
            empty_since: Some(now),
            over: false,
            outputs: VecDeque::new(),
            reports: VecDeque::new(),
            records,
        }
    }

    /// Everything that must survive this controller. Deltas persisted before it
    /// are part of it.
    pub fn snapshot(&self) -> Bytes {
        self.records.encode_to_vec().into()
    }

    /// Which meeting it is.
    pub fn id(&self) -> MeetingId {
        self.id
    }

    /// The code the meeting ended with, where it has ended.
    pub fn ended(&self) -> Option<Code> {
        let number = self.records.ended.checked_sub(1)?;
        Some(Code::from_number(number).unwrap_or(Code::MeetingEnded))
    }

    /// What a newcomer needs to know.
    pub fn description(&self) -> Description {
        let keys = self.records.keys.as_ref();
        Description {
            participants: self.records.seats.len(),
            full: self.is_full(),
            keys: keys.map(|keys| (keys.epoch(), keys.group_info().clone())),
        }
    }

    /// Whether this participant has a seat, taken or held.
    pub fn has_seat(&self, participant: ParticipantId) -> bool {
        self.records.seat(participant).is_some()
    }

    /// A fact arrived at `now`.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Opened {
                session,
                credential,
                entropy,
            } => self.opened(session, credential, entropy),
            Input::Message { session, message } => self.message(session, message),
            Input::Malformed { session, code } => self.close(session, code),
            Input::Closed { session } => self.closed(session),
            Input::Handler(handler) => self.handler(handler),
            Input::Rehomed { from, to } => self.rehomed(from, to),
            Input::Spare(spare) => self.spare_is(spare),
            Input::Elsewhere(controllers) => self.elsewhere(controllers),
            Input::Moved { to, code } => self.moved(to, code),
            Input::End => self.end(None),
            Input::TakenOver => self.taken_over(),
            Input::Tick => {}
        }
        self.on_time();
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing that is to be known for good. Every decision that led to it comes before
    /// it, so what is not persisted any more is not reported.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Call [`Meeting::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        let sessions = self.sessions.values();
        let silent = sessions.map(|session| session.judged_at(&self.config));
        let seats = self.records.seats.iter().filter(|seat| self.is_held(seat));
        let seats = seats.map(|seat| self.at_wall(seat.away_until_ms));
        let empty = self.empty_since.map(|since| since + self.config.empty_for);
        silent
            .chain(seats)
            .chain(empty)
            .chain(self.keys.deadline(&self.config))
            .min()
    }

    fn message(&mut self, session: SessionId, message: signal::ClientMessage) {
        let now = self.now;
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.spent_until = entry.spent_until.max(now) + self.config.message_every;
        let allowance = self.config.message_every * self.config.message_burst;
        if entry.spent_until > now + allowance {
            return self.close(session, Code::RateLimited);
        }
        let from = From {
            session,
            request: message.request,
            participant: entry.participant,
        };
        let stage = entry.stage;
        self.heard(session);
        // No feature is defined yet that a message may demand.
        if !message.must_understand.is_empty() {
            return self.refuse(from, Code::Unsupported, "unknown must_understand");
        }
        let Some(body) = message.body else {
            return self.refuse(from, Code::Unsupported, "unknown message");
        };
        match (body, stage) {
            (Asked::Ping(ping), _) => {
                let sent_us = ping.sent_us;
                self.answer(from, Body::Pong(signal::Pong { sent_us }));
            }
            (Asked::Leave(_), _) => self.leave(from),
            (Asked::Hello(_), Stage::Opened | Stage::Lobby) => self.hello(from),
            (Asked::Join(join), Stage::Opened | Stage::Lobby) => self.join(from, join),
            (Asked::Resume(resume), Stage::Opened) => self.resume(from, resume),
            (Asked::Hello(_) | Asked::Join(_), Stage::Joined) => {
                self.refuse(from, Code::AlreadyJoined, "");
            }
            (Asked::Resume(_), _) => self.refuse(from, Code::OutOfOrder, "resume comes first"),
            (_, Stage::Opened | Stage::Lobby) => self.refuse(from, Code::NotJoined, ""),
            (Asked::Publish(publish), Stage::Joined) => self.publish(from, publish),
            (Asked::Unpublish(unpublish), Stage::Joined) => self.unpublish(from, unpublish),
            (Asked::SetMuted(muted), Stage::Joined) => self.set_muted(from, muted),
            (Asked::Subscribe(subscribe), Stage::Joined) => self.subscribe(from, subscribe),
            (Asked::RemoveParticipant(remove), Stage::Joined) => self.remove(from, remove),
            (Asked::EndMeeting(_), Stage::Joined) => self.end_by(from),
            (Asked::KeyCommit(commit), Stage::Joined) => self.key_commit(from, commit),
            (Asked::KeyAnswer(answer), Stage::Joined) => self.key_answer(from, answer),
            (Asked::KeyGroupInfo(info), Stage::Joined) => self.key_group_info(from, info),
            (Asked::KeyResync(_), Stage::Joined) => self.key_resync(from),
            (Asked::MediaSilent(_), Stage::Joined) => self.media_silent(from),
            (Asked::SetDecodes(set), Stage::Joined) => self.set_decodes(from, set),
        }
    }

    fn on_time(&mut self) {
        if self.over {
            return;
        }
        self.judge_silence();
        self.expire_seats();
        self.leave_empty_handlers();
        self.review_keys();
        let is_empty = self.sessions.is_empty() && self.records.seats.is_empty();
        match (is_empty, self.empty_since) {
            (false, _) => self.empty_since = None,
            (true, None) => self.empty_since = Some(self.now),
            (true, Some(_)) => {}
        }
        let ended = self.records.ended != 0;
        let empty = |since| self.now >= since + self.config.empty_for;
        if ended || self.empty_since.is_some_and(empty) {
            self.over = true;
            self.media_everywhere(&MediaOrder::MeetingOver);
            self.outputs.push_back(Output::Over { ended });
        }
    }

    fn elsewhere(&mut self, controllers: Vec<signal::Controller>) {
        if self.elsewhere == controllers {
            return;
        }
        self.elsewhere = controllers;
        self.tell_elsewhere(false);
    }

    fn moved(&mut self, to: Vec<signal::Controller>, code: Code) {
        self.over = true;
        self.elsewhere = to;
        self.tell_elsewhere(true);
        for session in std::mem::take(&mut self.sessions).into_keys() {
            self.outputs.push_back(Output::Close { session, code });
        }
        self.seated.clear();
    }

    fn tell_elsewhere(&mut self, moved: bool) {
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            let elsewhere = signal::Elsewhere {
                moved,
                ..self.others()
            };
            self.send(session, 0, 0, Body::Elsewhere(elsewhere));
        }
    }

    /// Who takes the meeting where this controller is gone.
    fn others(&self) -> signal::Elsewhere {
        signal::Elsewhere {
            controllers: self.elsewhere.clone(),
            moved: false,
        }
    }

    /// Changes the records: at once here, and in the log before what follows.
    fn change(&mut self, change: Change) {
        let entry = Entry {
            change: Some(change),
        };
        self.outputs
            .push_back(Output::Persist(entry.encode_to_vec().into()));
        if let Some(change) = entry.change {
            self.records.apply(change);
        }
    }

    fn report(&mut self, what: Happened) {
        let at_ms = self.wall_ms();
        self.reports.push_back(Report { at_ms, what });
    }

    fn send(&mut self, session: SessionId, reply_to: u64, sequence: u64, body: Body) {
        self.outputs.push_back(Output::Send {
            session,
            message: ServerMessage {
                reply_to,
                sequence,
                body: Some(body),
                ..ServerMessage::default()
            },
        });
    }

    fn answer(&mut self, from: From, body: Body) {
        self.send(from.session, from.request, 0, body);
    }

    /// Done, to those who want to know.
    fn done(&mut self, from: From) {
        if from.request != 0 {
            self.answer(from, Body::Done(signal::Done {}));
        }
    }

    fn refuse(&mut self, from: From, code: Code, detail: &str) {
        let detail = match detail {
            "" => code.description(),
            detail => detail,
        };
        self.answer(
            from,
            Body::Refused(signal::Refused {
                code: code.number(),
                detail: detail.to_owned(),
            }),
        );
    }

    /// Tells everybody in the meeting but `except` of a change of the picture.
    fn broadcast(&mut self, except: Option<ParticipantId>, body: &Body) {
        let sequence = self.records.sequence;
        let told = self.seated.iter().filter(|(id, _)| Some(**id) != except);
        let told: Vec<_> = told.map(|(_, session)| *session).collect();
        for session in told {
            self.send(session, 0, sequence, body.clone());
        }
    }

    fn wall_ms(&self) -> u64 {
        self.wall_origin_ms
            .saturating_add(self.now.as_millis() as u64)
    }

    fn at_wall(&self, wall_ms: u64) -> Duration {
        Duration::from_millis(wall_ms.saturating_sub(self.wall_origin_ms))
    }
}
