//! One meeting, several sessions, links with a delay, one virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_meeting::meeting::{self, Credential, Entropy, MediaOrder, Meeting, SessionId};
use darktower_meeting::session::{self, Phase, Session, What};
use darktower_wire::Code;
use darktower_wire::ids::{NodeId, ParticipantId};
use darktower_wire::signal::{self, ClientMessage, ServerMessage, server_message::Body};
use darktower_wire::token::Role;

use crate::keys::Owner;
use crate::mutes::Mutes;

pub(crate) const MEETING: [u8; 16] = [7; 16];
pub(crate) const WALL: u64 = 1_790_000_000_000;
pub(crate) const DELAY: Duration = Duration::from_millis(20);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "messages are most of what comes")]
enum Up {
    Message(ClientMessage),
    Closed,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "messages are most of what comes")]
enum Down {
    Connected,
    Message(ServerMessage),
    Closed(Code),
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) id: ParticipantId,
    role: Role,
    pub(crate) session: Session,
    pub(crate) owner: Owner,
    pub(crate) live: Option<SessionId>,
    /// Being opened beside it.
    pub(crate) beside: Option<SessionId>,
    beside_stands: bool,
    up: VecDeque<(Duration, SessionId, Up)>,
    down: VecDeque<(Duration, SessionId, Down)>,
    pub(crate) refused: Vec<(What, Code)>,
    /// Nothing arrives in either direction.
    pub(crate) cut: bool,
    asked: BTreeMap<u64, ()>,
    pub(crate) assigned: Vec<signal::MediaAssignment>,
    pub(crate) founds: u32,
    /// Where it connected to, attempt by attempt; empty for the API's controller.
    pub(crate) doors: Vec<String>,
    /// Its token has opened a session.
    pub(crate) used: bool,
    /// How often it wanted the API to be asked again.
    pub(crate) lookups: u32,
    /// Offered once it is in the meeting.
    later: Vec<signal::Publish>,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) meeting: Meeting,
    pub(crate) ends: Vec<End>,
    next_session: u64,
    pub(crate) snapshot: Bytes,
    pub(crate) deltas: Vec<Bytes>,
    pub(crate) media: Vec<(NodeId, MediaOrder)>,
    /// Handlers that everything was to be said to.
    pub(crate) synced: Vec<NodeId>,
    /// Handlers that were to be left because nobody hears them.
    pub(crate) unheard: Vec<NodeId>,
    pub(crate) over: Option<bool>,
    /// A token opens one session.
    pub(crate) is_strict: bool,
    /// Each time that somebody is told that another is away, or that it is not.
    pub(crate) told_away: Vec<bool>,
    pub(crate) config: meeting::Config,
    /// Judges each view of each end.
    pub(crate) mutes: Mutes,
}

pub(crate) fn info(max: u32) -> signal::Meeting {
    signal::Meeting {
        id: MEETING.to_vec().into(),
        code: "abc-defg-hij".into(),
        title: "Tuesday".into(),
        max_participants: max,
        key_in_link: true,
    }
}

pub(crate) fn publish(handle: u32) -> signal::Publish {
    use prost::Message as _;
    let description = signal::TrackDescription {
        kind: signal::Kind::Video.into(),
        source: signal::Source::Camera.into(),
        codec: "vp8".into(),
        label: handle.to_string(),
        ..Default::default()
    };
    signal::Publish {
        description: description.encode_to_vec().into(),
        muted: false,
        handle,
    }
}

impl World {
    pub(crate) fn new(max: u32) -> Self {
        Self::with(meeting::Config::default(), max)
    }

    pub(crate) fn with(config: meeting::Config, max: u32) -> Self {
        let meeting =
            Meeting::new(config.clone(), info(max), Duration::ZERO, WALL).expect("a meeting");
        Self {
            now: Duration::ZERO,
            snapshot: meeting.snapshot(),
            meeting,
            ends: Vec::new(),
            next_session: 1,
            deltas: Vec::new(),
            media: Vec::new(),
            synced: Vec::new(),
            unheard: Vec::new(),
            over: None,
            is_strict: false,
            told_away: Vec::new(),
            config,
            mutes: Mutes::default(),
        }
    }

    /// A participant that has done nothing yet.
    pub(crate) fn add(&mut self, role: Role) -> usize {
        let n = self.ends.len();
        let id = ParticipantId([n as u8 + 1; 16]);
        self.ends.push(End {
            id,
            role,
            session: Session::new(session::Config::default(), n as u64 * 77 + 5),
            owner: Owner::new(id),
            live: None,
            beside: None,
            beside_stands: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            refused: Vec::new(),
            cut: false,
            asked: BTreeMap::new(),
            assigned: Vec::new(),
            founds: 0,
            doors: Vec::new(),
            used: false,
            lookups: 0,
            later: Vec::new(),
        });
        n
    }

    pub(crate) fn say(&mut self, end: usize, input: session::Input) {
        let state = self.ends[end].session.state();
        // Who is out wishes nothing any more.
        if !state.phase.is_final() {
            self.mutes.wished(end, &state.own_tracks, &input);
        }
        self.ends[end].session.handle(self.now, input);
        self.drain(end);
    }

    /// The page is loaded anew: who was there comes back with the resume token and without keys, and offers what it had,
    /// as it wished it to be; before it is back, or after.
    pub(crate) fn reload(&mut self, n: usize, is_early: bool) {
        let state = self.ends[n].session.state();
        let Some(token) = state.resume_token.clone() else {
            return;
        };
        let offers = state.own_tracks.keys().map(|handle| signal::Publish {
            muted: self.mutes.wish(n, *handle),
            ..publish(*handle)
        });
        let offers: Vec<_> = offers.collect();
        self.hang_up(n);
        let (at, end) = (self.now + DELAY, &mut self.ends[n]);
        if let Some(session) = end.beside.take() {
            end.up.push_back((at, session, Up::Closed));
        }
        end.owner = end.owner.without_keys();
        end.later = Vec::new();
        let seed = n as u64 * 77 + 5;
        end.session = Session::resume(self.now, session::Config::default(), seed, token);
        match is_early {
            true => offers
                .into_iter()
                .for_each(|offer| self.say(n, session::Input::Publish(offer))),
            false => {
                end.later = offers;
                self.drain(n);
            }
        }
    }

    /// What is shown at this end is what the others wished, late at most; and what it wished itself, at once.
    fn look(&mut self, viewer: usize) {
        let state = self.ends[viewer].session.state();
        for (id, attendance) in &state.participants {
            let Some(owner) = self.ends.iter().position(|end| end.id == *id) else {
                continue;
            };
            for (track, shown) in &attendance.tracks {
                match viewer == owner {
                    true => self.mutes.own(viewer, *track, shown, &state.own_tracks),
                    false => self.mutes.seen(viewer, owner, shown),
                }
            }
        }
    }

    pub(crate) fn join(&mut self, end: usize, tracks: &[u32]) {
        self.say(
            end,
            session::Input::Join {
                name: format!("P{end}"),
                publish: tracks.iter().map(|handle| publish(*handle)).collect(),
                key: None,
            },
        );
    }

    /// Adds a participant and waits until it has keys.
    pub(crate) fn joined(&mut self, role: Role) -> usize {
        let end = self.add(role);
        self.join(end, &[1]);
        self.until(|world| world.ends[end].owner.group.is_some());
        end
    }

    pub(crate) fn phase(&self, end: usize) -> Phase {
        self.ends[end].session.state().phase
    }

    pub(crate) fn tell(&mut self, input: meeting::Input) {
        self.meeting.handle(self.now, input);
        self.drain_meeting();
    }

    /// The connection breaks; both ends learn of it at once.
    pub(crate) fn break_link(&mut self, end: usize) {
        if let Some(session) = self.ends[end].live.take() {
            self.ends[end].up.clear();
            self.ends[end].down.clear();
            self.ends[end].asked.clear();
            self.tell(meeting::Input::Closed { session });
            self.say(end, session::Input::Disconnected { code: None });
        }
    }

    /// Things arrive again. A stream that lost something in between is no stream
    /// any more: the connection is gone.
    pub(crate) fn heal(&mut self, end: usize) {
        if std::mem::take(&mut self.ends[end].cut) {
            self.break_link(end);
        }
    }

    /// Nothing of what was in memory survives but the log, and all connections are lost.
    pub(crate) fn take_over(&mut self) {
        self.take_over_quietly();
        for end in 0..self.ends.len() {
            if self.ends[end].live.take().is_some() {
                self.ends[end].up.clear();
                self.ends[end].down.clear();
                self.ends[end].asked.clear();
                self.say(end, session::Input::Disconnected { code: None });
            }
        }
    }

    /// Nothing of what was in memory survives but the log.
    pub(crate) fn take_over_quietly(&mut self) {
        let deltas: Vec<&[u8]> = self.deltas.iter().map(|delta| &delta[..]).collect();
        let wall = WALL + self.now.as_millis() as u64;
        let restored =
            Meeting::restore(self.config.clone(), &self.snapshot, deltas, self.now, wall)
                .expect("a readable log");
        assert_eq!(restored.snapshot(), self.meeting.snapshot());
        self.meeting = restored;
        self.tell(meeting::Input::TakenOver);
    }

    /// Another controller goes on from an older snapshot, as one that lost what this one wrote.
    pub(crate) fn fork(&mut self, snapshot: Bytes) {
        let wall = WALL + self.now.as_millis() as u64;
        self.meeting = Meeting::restore(self.config.clone(), &snapshot, [], self.now, wall)
            .expect("a readable snapshot");
        self.snapshot = snapshot;
        self.deltas.clear();
        self.tell(meeting::Input::TakenOver);
    }

    pub(crate) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let limit = self.now + Duration::from_secs(600);
        while !done(self) {
            assert!(
                self.step(limit),
                "not reached: {:#?}",
                self.ends
                    .iter()
                    .map(|end| end.session.state())
                    .collect::<Vec<_>>()
            );
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
        self.now = limit;
    }

    /// To the next thing that happens, if that is not after `limit`.
    fn step(&mut self, limit: Duration) -> bool {
        let links = self.ends.iter().flat_map(|end| {
            let up = end.up.front().map(|(at, ..)| *at);
            let down = end.down.front().map(|(at, ..)| *at);
            [up, down, end.session.deadline()]
        });
        let next = links.chain([self.meeting.deadline()]).flatten().min();
        let Some(next) = next.filter(|next| *next <= limit) else {
            return false;
        };
        self.now = self.now.max(next);
        for end in 0..self.ends.len() {
            while let Some((_, session, down)) = pop(&mut self.ends[end].down, self.now) {
                self.arrive(end, session, down);
            }
            while let Some((_, session, up)) = pop(&mut self.ends[end].up, self.now) {
                if self.ends[end].cut && !matches!(up, Up::Closed) {
                    continue;
                }
                self.tell(match up {
                    Up::Message(message) => meeting::Input::Message { session, message },
                    Up::Closed => meeting::Input::Closed { session },
                });
            }
            let due = self.ends[end].session.deadline();
            if due.is_some_and(|due| due <= self.now) {
                self.say(end, session::Input::Tick);
            }
        }
        if self.meeting.deadline().is_some_and(|due| due <= self.now) {
            self.tell(meeting::Input::Tick);
        }
        true
    }

    fn arrive(&mut self, end: usize, session: SessionId, down: Down) {
        let one = &self.ends[end];
        if one.cut || ![one.live, one.beside].contains(&Some(session)) {
            return;
        }
        if one.beside == Some(session) {
            return match down {
                Down::Connected => {
                    self.ends[end].beside_stands = true;
                    self.say(end, session::Input::Beside);
                }
                Down::Closed(_) => self.ends[end].beside = None,
                Down::Message(_) => {}
            };
        }
        match down {
            Down::Connected => self.say(end, session::Input::Connected),
            Down::Message(message) => {
                self.ends[end].asked.remove(&message.reply_to);
                self.say(end, session::Input::Message(message));
            }
            Down::Closed(code) => {
                self.ends[end].live = None;
                self.ends[end].asked.clear();
                self.say(end, session::Input::Disconnected { code: Some(code) });
            }
        }
    }

    fn hang_up(&mut self, end: usize) {
        let (at, end) = (self.now + DELAY, &mut self.ends[end]);
        end.asked.clear();
        if let Some(session) = end.live.take() {
            end.up.push_back((at, session, Up::Closed));
        }
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.ends[n].session.poll() {
            let at = self.now + DELAY;
            match output {
                session::Output::Connect { beside, resume, to } => {
                    let door = to.map(|to| to.url).unwrap_or_default();
                    self.ends[n].doors.push(door);
                    let session = SessionId(self.next_session);
                    self.next_session += 1;
                    let end = &mut self.ends[n];
                    end.beside_stands = false;
                    match beside {
                        true => end.beside = Some(session),
                        false => end.live = Some(session),
                    }
                    let credential = match resume {
                        Some(token) => Credential::Resume(token.0),
                        None => Credential::Token {
                            participant: end.id,
                            role: end.role,
                        },
                    };
                    if end.cut {
                        continue;
                    }
                    end.down.push_back((at + DELAY, session, Down::Connected));
                    let is_token = matches!(credential, Credential::Token { .. });
                    if is_token && std::mem::replace(&mut end.used, true) && self.is_strict {
                        let refused = Down::Closed(Code::TokenReplayed);
                        end.down.push_back((at + DELAY, session, refused));
                        continue;
                    }
                    let entropy = Entropy {
                        resume: [self.next_session as u8; 32],
                        ticket: [self.next_session as u8 ^ 0x55; 32],
                    };
                    self.tell(meeting::Input::Opened {
                        session,
                        credential,
                        entropy,
                    });
                }
                session::Output::Keep => {
                    let end = &mut self.ends[n];
                    if let Some(session) = end.beside.take() {
                        end.up.push_back((at, session, Up::Closed));
                    }
                }
                session::Output::Replace => {
                    self.hang_up(n);
                    let end = &mut self.ends[n];
                    end.live = end.beside.take();
                    if std::mem::take(&mut end.beside_stands) {
                        self.say(n, session::Input::Connected);
                    }
                }
                session::Output::Disconnect { .. } => self.hang_up(n),
                session::Output::Send(message) => {
                    let end = &mut self.ends[n];
                    if let Some(session) = end.live {
                        if message.request != 0 {
                            end.asked.insert(message.request, ());
                        }
                        end.up.push_back((at, session, Up::Message(message)));
                    }
                }
                session::Output::Keys(event) => {
                    if event == session::KeyEvent::Found {
                        self.ends[n].founds += 1;
                    }
                    // In the lobby the join will carry the commit.
                    if self.phase(n) == Phase::Joined {
                        for said in self.ends[n].owner.on(MEETING, event) {
                            self.ends[n]
                                .session
                                .handle(self.now, session::Input::Key(said));
                        }
                    }
                }
                session::Output::Refused { what, code, .. } => {
                    self.ends[n].refused.push((what, code));
                }
                session::Output::MediaAssigned(assigned) => self.ends[n].assigned.push(assigned),
                session::Output::LookUp => self.ends[n].lookups += 1,
                session::Output::Changed => {
                    self.look(n);
                    if self.phase(n) == Phase::Joined {
                        for offer in std::mem::take(&mut self.ends[n].later) {
                            self.say(n, session::Input::Publish(offer));
                        }
                    }
                }
                session::Output::Published { .. } => {}
            }
        }
    }

    fn drain_meeting(&mut self) {
        while let Some(output) = self.meeting.poll() {
            let at = self.now + DELAY;
            match output {
                meeting::Output::Persist(delta) => self.deltas.push(delta),
                meeting::Output::Media { to, order } => self.media.push((to, order)),
                meeting::Output::Sync { node } => self.synced.push(node),
                meeting::Output::Unheard { node } => self.unheard.push(node),
                meeting::Output::Send { session, message } => {
                    if let Some(Body::ParticipantChanged(changed)) = &message.body {
                        self.told_away.push(changed.away);
                    }
                    if let Some(end) = self.end_of(session) {
                        end.down.push_back((at, session, Down::Message(message)));
                    }
                }
                meeting::Output::Close { session, code } => {
                    if let Some(end) = self.end_of(session) {
                        end.down.push_back((at, session, Down::Closed(code)));
                    }
                }
                meeting::Output::Over { ended } => self.over = Some(ended),
            }
        }
        let deltas: Vec<&[u8]> = self.deltas.iter().map(|delta| &delta[..]).collect();
        let wall = WALL + self.now.as_millis() as u64;
        let restored =
            Meeting::restore(self.config.clone(), &self.snapshot, deltas, self.now, wall)
                .expect("a readable log");
        assert_eq!(
            restored.snapshot(),
            self.meeting.snapshot(),
            "restore is exact"
        );
        if self.deltas.len() > 20 {
            self.snapshot = self.meeting.snapshot();
            self.deltas.clear();
        }
    }

    fn end_of(&mut self, session: SessionId) -> Option<&mut End> {
        self.ends.iter_mut().find(|end| end.live == Some(session))
    }

    /// All who are in the meeting hold the same keys, the group is exactly they,
    /// and every request of theirs was answered.
    pub(crate) fn assert_settled(&self) {
        let joined: Vec<_> = self
            .ends
            .iter()
            .filter(|end| end.session.state().phase == Phase::Joined)
            .collect();
        let Some(first) = joined.first() else {
            return;
        };
        let group = first.owner.group.as_ref().expect("keys");
        let mut members: Vec<_> = group.leaves.iter().flatten().copied().collect();
        members.sort();
        let mut seats: Vec<_> = first.session.state().participants.keys().copied().collect();
        seats.sort();
        assert_eq!(members, seats, "the group is the roster");
        for end in &joined {
            let own = end.owner.group.as_ref().expect("keys");
            assert_eq!(
                (own.epoch, own.digest),
                (group.epoch, group.digest),
                "one history"
            );
            assert_eq!(
                end.session.state().participants,
                first.session.state().participants
            );
            let waiting: Vec<_> = end.asked.keys().collect();
            assert!(waiting.is_empty(), "unanswered: {waiting:?}");
            let state = end.session.state();
            let me = state.me.expect("it is in the meeting");
            if !state.decodes.is_empty() {
                assert_eq!(state.participants[&me].decodes, state.decodes);
            }
            for own in state.own_tracks.values() {
                let track = own.track.expect("it is published");
                let shown = &state.participants[&me].tracks[&track];
                assert_eq!(shown.muted, own.muted, "shown as wished");
            }
        }
        let (epoch, _) = self.meeting.description().keys.expect("a group");
        assert_eq!(epoch, group.epoch);
    }
}

fn pop<T>(
    queue: &mut VecDeque<(Duration, SessionId, T)>,
    now: Duration,
) -> Option<(Duration, SessionId, T)> {
    queue
        .front()
        .is_some_and(|(at, ..)| *at <= now)
        .then(|| queue.pop_front())
        .flatten()
}
