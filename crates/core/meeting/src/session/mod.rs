//! The participant's end of the conversation.

mod api;
mod connection;
mod doors;
mod farewell;
mod held;
mod inbox;
mod race;
mod reconnect;
mod token;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use darktower_wire::ids::TrackId;
use darktower_wire::signal::{self, ClientMessage, KeyCommit, Publish, client_message::Body};
use darktower_wire::{Code, Secret};

pub use api::{
    Attendance, Config, Failure, Input, KeyEvent, KeySaid, Link, Output, OwnTrack, Phase, State,
    TrackState, What,
};
use connection::{Connection, Need};
use doors::Doors;
use farewell::Farewell;
use held::Held;
pub use race::Race;

use crate::fingerprint;

/// A participant's end of the signalling conversation. See [`Input`] for what it
/// can be told and [`Output`] for what it decides.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    shown: State,
    connection: Connection,
    doors: Doors,
    outputs: VecDeque<Output>,
    next_request: u64,
    asked: BTreeMap<u64, Asked>,
    /// The join that was asked for, until it is answered.
    join: Option<Join>,
    held: Held,
    /// The own commit without an answer.
    commit: Option<OwnCommit>,
    /// Handles whose mute state changed before their tracks had an id.
    changed_unpublished: BTreeSet<u32>,
    seat_ttl: Option<Duration>,
    /// The join token opens nothing any more.
    is_spent: bool,
    /// Give up then, unless connected.
    give_up_at: Option<Duration>,
    /// The leave that was said should be answered by then.
    leave_by: Option<Duration>,
    /// Left, and nobody said that it was heard.
    farewell: Option<Farewell>,
}

#[derive(Debug, Clone)]
struct Join {
    name: String,
    publish: Vec<Publish>,
    key: Option<KeyCommit>,
}

/// An own commit under way.
#[derive(Debug, Clone)]
struct OwnCommit {
    request: u64,
    /// The epoch it leads to, and what that is known by.
    epoch: u64,
    known_by: Bytes,
}

/// A request without an answer.
#[derive(Debug, Clone)]
struct Asked {
    what: What,
    /// Said again after a resume, where that does no harm.
    again: Option<Body>,
}

impl Session {
    /// A session that has not begun. `seed` spreads a crowd's attempts to come
    /// back; it needs no secrecy.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            state: State::default(),
            shown: State::default(),
            connection: Connection::new(seed),
            doors: Doors::default(),
            outputs: VecDeque::new(),
            next_request: 1,
            asked: BTreeMap::new(),
            join: None,
            held: Held::default(),
            commit: None,
            changed_unpublished: BTreeSet::new(),
            seat_ttl: None,
            is_spent: false,
            give_up_at: None,
            leave_by: None,
            farewell: None,
        }
    }

    /// A session that takes a held seat again after this end lost its memory (a
    /// page was loaded anew): the keys are lost, the tracks it left are taken
    /// back. It connects at once.
    pub fn resume(now: Duration, config: Config, seed: u64, resume_token: Secret<Bytes>) -> Self {
        let mut session = Self::new(config, seed);
        session.state.phase = Phase::Reconnecting;
        session.state.resume_token = Some(resume_token);
        session.connect(now);
        session.work(now);
        session
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Connected => self.connected(now),
            Input::Beside => self.connection.beside(now),
            Input::Disconnected { code } => self.disconnected(now, code),
            Input::Message(message) => self.message(now, message),
            Input::Found => self.found(now),
            Input::Admitted { key } => self.admitted(now, key),
            Input::Tick => {}
            command if !self.state.phase.is_final() => self.command(now, command),
            _ => {}
        }
        self.work(now);
    }

    /// Something came by another way than this connection at `at`: where the
    /// controller is silent meanwhile, it is not the network's fault.
    pub fn path_heard(&mut self, at: Duration) {
        self.connection.path_heard(at);
    }

    /// Whether to ask the controller more often whether it is there: what the network is like is in doubt.
    pub fn watch(&mut self, closely: bool) {
        self.connection.watch(closely);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.state != self.shown {
            self.shown = self.state.clone();
            return Some(Output::Changed);
        }
        None
    }

    /// Call [`Session::handle`] with [`Input::Tick`] no later than this.
    pub fn deadline(&self) -> Option<Duration> {
        let connection = self.connection.deadline(&self.config)?;
        let farewell = self.farewell.as_ref().map(|it| it.until);
        let others = [self.leave_by, farewell, self.give_up_at];
        others.into_iter().flatten().chain([connection]).min()
    }

    /// The session as it may be shown.
    pub fn state(&self) -> &State {
        &self.state
    }

    fn command(&mut self, now: Duration, command: Input) {
        match command {
            Input::EnterLobby => {
                if self.state.phase == Phase::Idle {
                    self.state.phase = Phase::Connecting;
                    self.connect(now);
                }
            }
            Input::Join { name, publish, key } => {
                self.ask_to_join(now, Join { name, publish, key })
            }
            Input::Leave => self.leave(now),
            Input::Publish(publish) => {
                if self.state.own_tracks.contains_key(&publish.handle) {
                    return self.refuse(What::Publish(publish.handle), "the handle is in use");
                }
                self.keep_own(&publish);
                if self.is_talking() {
                    self.send_publish(publish);
                }
            }
            Input::Unpublish { handle } => {
                let Some(own) = self.state.own_tracks.remove(&handle) else {
                    return self.refuse(What::Track, "there is no such handle");
                };
                // Without an id yet, the answer that brings it takes it back.
                if let Some(track) = own.track {
                    self.unpublish(track);
                }
            }
            Input::SetMuted { handle, muted } => {
                let Some(own) = self.state.own_tracks.get_mut(&handle) else {
                    return self.refuse(What::Track, "there is no such handle");
                };
                own.muted = muted;
                match own.track {
                    Some(track) => self.set_muted(track, muted),
                    None => self.set_muted_unpublished(handle, muted),
                }
            }
            Input::Subscribe { track, wanted } => {
                if wanted {
                    self.state.unwanted.remove(&track);
                } else {
                    self.state.unwanted.insert(track);
                }
                let body = Body::Subscribe(signal::Subscribe {
                    track: track.0,
                    wanted,
                });
                self.ask(What::Subscribe(track), body, true);
            }
            Input::Decodes(decodes) => {
                self.state.decodes = decodes;
                if self.is_talking() {
                    self.say_decodes();
                }
            }
            Input::Remove(participant) => {
                let body = Body::RemoveParticipant(signal::RemoveParticipant {
                    participant_id: participant.to_vec().into(),
                });
                self.ask(What::Remove, body, true);
            }
            Input::EndMeeting => {
                self.ask(
                    What::EndMeeting,
                    Body::EndMeeting(signal::EndMeeting {}),
                    true,
                );
            }
            Input::Key(said) => self.key_said(said),
            Input::MediaSilent => {
                if self.is_talking() {
                    self.say(Body::MediaSilent(signal::MediaSilent {}));
                }
            }
            Input::Connected
            | Input::Beside
            | Input::Disconnected { .. }
            | Input::Found
            | Input::Admitted { .. }
            | Input::Message(_)
            | Input::Tick => {}
        }
    }

    fn ask_to_join(&mut self, now: Duration, join: Join) {
        if !matches!(
            self.state.phase,
            Phase::Idle | Phase::Connecting | Phase::Lobby
        ) {
            return self.refuse(What::Join, "joined or joining already");
        }
        self.state.name.clone_from(&join.name);
        self.state.error = None;
        for publish in &join.publish {
            self.keep_own(publish);
        }
        self.join = Some(join);
        let was = std::mem::replace(&mut self.state.phase, Phase::Joining);
        if self.connection.is_idle() {
            self.connect(now);
        } else if self.connection.is_up() || was == Phase::Lobby {
            self.send_join();
        }
    }

    fn send_join(&mut self) {
        let Some(join) = self.join.clone() else {
            return;
        };
        self.note_commit(join.key.as_ref());
        let body = Body::Join(signal::Join {
            name: join.name,
            publish: join.publish,
            key: join.key,
            decodes: self.state.decodes.clone(),
        });
        self.ask(What::Join, body, false);
    }

    fn key_said(&mut self, said: KeySaid) {
        match said {
            KeySaid::Commit(commit) => {
                if !self.is_talking() {
                    // It would be stale by the time it could be sent.
                    return self.key_event(KeyEvent::Refused {
                        code: Code::ConnectionLost,
                        state: None,
                        resync: false,
                    });
                }
                self.note_commit(Some(&commit));
                self.ask(What::Key, Body::KeyCommit(commit), false);
            }
            KeySaid::Answer { epoch, accepted } => {
                if accepted {
                    self.held.follow(epoch);
                }
                self.say(Body::KeyAnswer(signal::KeyAnswer { epoch, accepted }));
            }
            KeySaid::GroupInfo { epoch, group_info } => {
                self.say(Body::KeyGroupInfo(signal::KeyGroupInfo {
                    epoch,
                    group_info,
                }));
            }
            KeySaid::Resync => {
                self.held.lose();
                self.commit = None;
                if self.is_talking() {
                    self.ask(What::Key, Body::KeyResync(signal::KeyResync {}), false);
                }
            }
        }
    }

    /// It is over. With `told`, the connection closes when that was answered.
    fn finish(&mut self, phase: Phase, code: Option<Code>, told: bool) {
        self.state.phase = phase;
        self.state.error = code.map(|code| Failure {
            code,
            detail: code.description().to_owned(),
        });
        self.state.resume_token = None;
        self.is_spent = false;
        self.give_up_at = None;
        self.join = None;
        self.commit = None;
        if told {
            return;
        }
        self.leave_by = None;
        self.farewell = None;
        self.asked.clear();
        if self.connection.is_open() && code.is_none_or(|code| code == Code::MeetingEnded) {
            self.outputs
                .push_back(Output::Disconnect { code: Code::Left });
        }
        self.connection.stop();
    }

    /// Whatever the time demands.
    fn work(&mut self, now: Duration) {
        self.work_on_farewell(now);
        if self.give_up_at.is_some_and(|at| now >= at) {
            let seat = self.state.phase == Phase::Reconnecting;
            if self.connection.is_open() {
                self.disconnect(Code::TimedOut);
            }
            let code = match seat {
                true => Code::SeatExpired,
                false => Code::ConnectFailed,
            };
            self.finish(Phase::Failed, Some(code), false);
        }
        while let Some(need) = self.connection.next_need(now, &self.config) {
            match need {
                Need::Connect if self.is_spent => {
                    self.outputs.push_back(Output::LookUp);
                    self.connection.lost(now, &self.config);
                }
                Need::Connect => self.try_next_door(false),
                Need::Race if !self.may_race() => {}
                Need::Race => {
                    if !self.has_seat() {
                        self.doors.leave_here();
                    }
                    if self.doors.are_all_shut() {
                        self.outputs.push_back(Output::LookUp);
                    }
                    self.try_next_door(true);
                }
                Need::Replace => self.outputs.push_back(Output::Replace),
                Need::Ping => self.say(Body::Ping(signal::Ping {
                    sent_us: now.as_micros() as u64,
                })),
                Need::Lost => {
                    if self.connection.is_peer_gone(now, &self.config) {
                        self.doors.leave_here();
                    }
                    if !self.lost(now) {
                        self.disconnect(Code::ConnectionLost);
                    }
                }
            }
        }
        self.state.link = self.connection.link(now, &self.config);
    }

    /// In the meeting, with a connection.
    fn is_talking(&self) -> bool {
        self.state.phase == Phase::Joined && self.connection.is_up()
    }

    /// Asks for something; without a connection, or where the answer gets lost,
    /// again after the resume if `again`.
    fn ask(&mut self, what: What, body: Body, again: bool) {
        let request = self.next_request;
        self.next_request += 1;
        let first = matches!(what, What::Lobby | What::Join);
        if self.connection.is_up() && (first || self.is_talking()) {
            self.send(request, body.clone());
        } else if !again {
            return;
        }
        let again = again.then_some(body);
        self.asked.insert(request, Asked { what, again });
    }

    /// The next request carries this commit.
    fn note_commit(&mut self, commit: Option<&KeyCommit>) {
        let request = self.next_request;
        self.commit = commit.map(|commit| OwnCommit {
            request,
            epoch: leads_to(commit),
            known_by: fingerprint::leads_to(commit),
        });
    }

    /// Says something that wants no answer.
    fn say(&mut self, body: Body) {
        if self.connection.is_up() {
            self.send(0, body);
        }
    }

    fn send(&mut self, request: u64, body: Body) {
        self.outputs.push_back(Output::Send(ClientMessage {
            request,
            body: Some(body),
            ..ClientMessage::default()
        }));
    }

    /// Says what this end decodes, where that is known here and not on the roster. It wants no answer: a controller of a
    /// former release would refuse it.
    fn say_decodes(&mut self) {
        let decodes = self.state.decodes.clone();
        let own = self
            .state
            .me
            .and_then(|me| self.state.participants.get_mut(&me));
        if let Some(own) = own.filter(|own| !decodes.is_empty() && own.decodes != decodes) {
            own.decodes.clone_from(&decodes);
            self.say(Body::SetDecodes(signal::SetDecodes { decodes }));
        }
    }

    fn send_publish(&mut self, publish: Publish) {
        self.ask(What::Publish(publish.handle), Body::Publish(publish), false);
    }

    fn unpublish(&mut self, track: TrackId) {
        if let Some(shown) = self.own_shown() {
            shown.remove(&track);
        }
        let body = Body::Unpublish(signal::Unpublish { track: track.0 });
        self.ask(What::Track, body, true);
    }

    /// Without a connection, the resume says it.
    fn set_muted(&mut self, track: TrackId, muted: bool) {
        if let Some(shown) = self.own_shown().and_then(|tracks| tracks.get_mut(&track)) {
            shown.muted = muted;
        }
        let body = Body::SetMuted(signal::SetMuted {
            track: track.0,
            muted,
        });
        self.ask(What::Track, body, false);
    }

    /// The answer that brings the track's id is under way, or will be: a join that is said again says this.
    fn set_muted_unpublished(&mut self, handle: u32, muted: bool) {
        self.changed_unpublished.insert(handle);
        let in_join = self.join.iter_mut().flat_map(|join| &mut join.publish);
        for publish in in_join.filter(|publish| publish.handle == handle) {
            publish.muted = muted;
        }
    }

    /// The own tracks as they are on the roster.
    fn own_shown(&mut self) -> Option<&mut BTreeMap<TrackId, TrackState>> {
        let me = self.state.participants.get_mut(&self.state.me?)?;
        Some(&mut me.tracks)
    }

    fn keep_own(&mut self, publish: &Publish) {
        let own = OwnTrack {
            track: None,
            description: publish.description.clone(),
            muted: publish.muted,
        };
        self.state.own_tracks.insert(publish.handle, own);
    }

    fn key_event(&mut self, event: KeyEvent) {
        self.outputs.push_back(Output::Keys(event));
    }

    fn refuse(&mut self, what: What, detail: &str) {
        self.outputs.push_back(Output::Refused {
            what,
            code: Code::OutOfOrder,
            detail: detail.to_owned(),
        });
    }
}

/// The epoch a commit leads to.
fn leads_to(commit: &KeyCommit) -> u64 {
    match commit.founding {
        true => 0,
        false => commit.epoch.saturating_add(1),
    }
}
