//! One attendance of one meeting: its session, its tracks, its keys and its two
//! links, and what each has to tell the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_e2ee::LinkSecret;
use darktower_media::{Kind, Publisher, Subscriber, publisher, subscriber};
use darktower_meeting::session::{self, KeyEvent, KeySaid, Phase};
use darktower_meeting::{Session, session::Input as Told};
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_SIGNAL};
use darktower_wire::ids::{Epoch, ParticipantId, TrackId};
use darktower_wire::signal::{self, KeyState, ServerMessage, TrackDescription};
use prost::Message;

use crate::access::Access;
use crate::command::{Command, Encoded, TrackOffer};
use crate::keys::{Installed, Keys, Reply, Step};
use crate::media_link::{CONTROL_STREAM, Effect, MediaLink};
use crate::output::{Event, Link, Output, StreamId};
use crate::participant::Input;
use crate::picture;
use crate::seals::{OpenWith, SealWith};
use crate::state::State;

/// The stream that all signalling travels on: the first this end opens.
const SIGNAL_STREAM: StreamId = 0;

/// An own track as its publisher offered it.
#[derive(Debug)]
struct Offer {
    kind: Kind,
    layers: u8,
}

pub(crate) struct Attendance {
    pub(crate) access: Access,
    pub(crate) me: ParticipantId,
    pub(crate) session: Session,
    pub(crate) keys: Keys,
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    pub(crate) media: MediaLink,
    /// Reads the signalling stream; anew with each connection.
    signalling: Decoder,
    traceparent: String,
    offers: BTreeMap<u32, Offer>,
    /// The group as last told in the lobby.
    lobby_keys: Option<KeyState>,
    /// Others' tracks as the subscriber was told of them.
    followed: BTreeMap<TrackId, subscriber::Track>,
    /// Names as last shown, to tell who came and went; `None` before joining.
    present: Option<BTreeMap<ParticipantId, String>>,
    /// Why the keys kept this end out, where they did.
    pub(crate) failure: Option<Code>,
    /// Said to the session once it is drained.
    to_session: VecDeque<Told>,
    outputs: VecDeque<Output>,
}

impl std::fmt::Debug for Attendance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attendance")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

impl Attendance {
    /// Opens both links and waits in the lobby.
    pub(crate) fn enter(
        now: Duration,
        wall: u64,
        access: Access,
        link_secret: Option<String>,
        traceparent: String,
    ) -> Result<Self, Code> {
        let me = access.participant_id;
        let session = Session::new(session::Config::default(), seed(me));
        let mut this = Self::new(wall, access, me, session, link_secret, traceparent)?;
        this.media.try_door(now, &this.access.media);
        this.tell(now, wall, Told::EnterLobby);
        this.drain_media(now);
        Ok(this)
    }

    /// Takes the seat again that an earlier life of this page left.
    pub(crate) fn resume(
        now: Duration,
        wall: u64,
        access: Access,
        resume: &str,
        link_secret: Option<String>,
        traceparent: String,
    ) -> Result<Self, Code> {
        let resume = URL_SAFE_NO_PAD
            .decode(resume)
            .map_err(|_| Code::ResumeUnknown)?;
        let (me, token) = resume.split_at_checked(16).ok_or(Code::ResumeUnknown)?;
        let me = ParticipantId::from_slice(me).map_err(|_| Code::ResumeUnknown)?;
        let config = session::Config::default();
        let session = Session::resume(now, config, seed(me), Bytes::copy_from_slice(token));
        let mut this = Self::new(wall, access, me, session, link_secret, traceparent)?;
        this.drain_session(now, wall);
        Ok(this)
    }

    fn new(
        wall: u64,
        access: Access,
        me: ParticipantId,
        session: Session,
        link_secret: Option<String>,
        traceparent: String,
    ) -> Result<Self, Code> {
        let link = match link_secret {
            Some(text) => {
                Some(LinkSecret::from_fragment(&text).map_err(|_| Code::LinkSecretNeeded)?)
            }
            None => None,
        };
        if access.meeting.key_in_link && link.is_none() {
            return Err(Code::LinkSecretNeeded);
        }
        let link = link.filter(|_| access.meeting.key_in_link);
        let keys = Keys::new(me, access.meeting.id, link).map_err(|_| Code::Internal)?;
        let first_group = publisher::first_group(wall);
        Ok(Self {
            me,
            session,
            keys,
            publisher: Publisher::new(publisher::Config::default(), first_group),
            subscriber: Subscriber::new(subscriber::Config::default()),
            media: MediaLink::new(traceparent.clone()),
            signalling: Decoder::new(MAX_SIGNAL),
            traceparent,
            offers: BTreeMap::new(),
            lobby_keys: Some(access.key.to_state()),
            followed: BTreeMap::new(),
            present: None,
            failure: None,
            to_session: VecDeque::new(),
            outputs: VecDeque::new(),
            access,
        })
    }

    pub(crate) fn state(&self) -> State {
        picture::of(self)
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadlines = [
            self.session.deadline(),
            self.keys.deadline(),
            self.publisher.deadline(),
            self.subscriber.deadline(),
            self.media.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Closes whatever is open, without a farewell: another attendance begins.
    pub(crate) fn abandon(&mut self, now: Duration) {
        if self.session.state().link != session::Link::Down {
            self.outputs.push_back(Output::Close {
                link: Link::Signal,
                code: Code::Left,
            });
        }
        self.media.leave(Code::Left);
        self.drain_media(now);
    }

    pub(crate) fn handle(&mut self, now: Duration, wall: u64, input: Input) {
        match input {
            Input::Tick => self.tick(now, wall),
            Input::Command(command) => self.command(now, wall, command),
            Input::LinkUp { link, max_datagram } => self.link_up(now, wall, link, max_datagram),
            Input::LinkDown { link, code } => self.link_down(now, wall, link, code),
            Input::StreamData {
                link: Link::Signal,
                stream: SIGNAL_STREAM,
                bytes,
                ..
            } => {
                self.signalled(now, wall, &bytes);
            }
            // The controller opens no streams; a later version might.
            Input::StreamData {
                link: Link::Signal, ..
            } => {}
            Input::StreamData {
                link: Link::Media,
                stream: CONTROL_STREAM,
                bytes,
                ..
            } => {
                if let Err(code) = self.media.control(now, &bytes) {
                    self.outputs.push_back(Output::Close {
                        link: Link::Media,
                        code,
                    });
                    self.link_down(now, wall, Link::Media, code);
                }
            }
            Input::StreamData {
                link: Link::Media,
                stream,
                bytes,
                fin,
            } => {
                self.media.heard(now);
                self.subscribed(now, subscriber::Input::StreamData { stream, bytes, fin });
            }
            Input::StreamReset {
                link: Link::Media,
                stream,
            } if stream % 2 == 1 => {
                self.subscribed(now, subscriber::Input::StreamReset { stream });
            }
            Input::StreamReset { .. } => {}
            Input::Backlog {
                link: Link::Media,
                stream,
                bytes,
            } => {
                if let Some(stream) = published_stream(stream) {
                    self.publish(now, publisher::Input::Backlog { stream, bytes });
                }
            }
            Input::Backlog { .. } => {}
            Input::Datagram(bytes) => {
                self.media.heard(now);
                self.subscribed(now, subscriber::Input::Datagram(bytes));
            }
            Input::KeyFrameWanted(track) => {
                self.subscribed(now, subscriber::Input::DecoderFailed(track));
            }
        }
        self.drain_media(now);
    }

    pub(crate) fn encoded(&mut self, now: Duration, encoded: Encoded<'_>) {
        let frame = publisher::Encoded {
            handle: encoded.handle,
            layer: encoded.layer,
            temporal: encoded.temporal,
            key: encoded.key,
            capture_us: encoded.capture_us,
            level: encoded.level,
            data: encoded.chunk,
        };
        // What is not sent is counted by the publisher, and a key frame asked
        // for where one is needed to go on.
        let _ = self
            .publisher
            .frame(now, frame, &mut SealWith(self.keys.sealer()));
        self.drain_publisher();
    }

    fn tick(&mut self, now: Duration, wall: u64) {
        self.keys.tick(now);
        self.media.tick(now);
        self.publish(now, publisher::Input::Tick);
        self.subscribed(now, subscriber::Input::Tick);
        self.tell(now, wall, Told::Tick);
    }

    fn command(&mut self, now: Duration, wall: u64, command: Command) {
        let told = match command {
            Command::Join {
                name,
                tracks,
                traceparent,
            } => {
                if !traceparent.is_empty() {
                    self.traceparent = traceparent;
                }
                let publish = tracks.iter().map(|track| self.offer(track)).collect();
                let key = match self.keys.join(self.lobby_keys.as_ref(), wall) {
                    Ok(commit) => Some(commit),
                    // The join is still worth asking for: its answer brings newer
                    // state to build on.
                    Err(_) => None,
                };
                Told::Join { name, publish, key }
            }
            Command::Publish { track } => Told::Publish(self.offer(&track)),
            Command::Unpublish { handle } => {
                self.offers.remove(&handle);
                self.publish(now, publisher::Input::Unpublished { handle });
                Told::Unpublish { handle }
            }
            Command::Mute { handle, muted } => Told::SetMuted { handle, muted },
            Command::Subscribe { track, wanted } => Told::Subscribe {
                track: TrackId(track),
                wanted,
            },
            Command::Remove { participant } => Told::Remove(participant),
            Command::End => Told::EndMeeting,
            Command::Leave => Told::Leave,
            // Those begin an attendance; this one has begun.
            Command::Enter { .. } | Command::Resume { .. } => return,
        };
        self.tell(now, wall, told);
    }

    fn offer(&mut self, track: &TrackOffer) -> signal::Publish {
        let kind = if track.source.is_video() {
            Kind::Video
        } else {
            Kind::Audio
        };
        self.offers.insert(track.handle, Offer { kind, layers: 1 });
        signal::Publish {
            description: track.description().encode_to_vec().into(),
            muted: track.muted,
            handle: track.handle,
        }
    }

    fn link_up(&mut self, now: Duration, wall: u64, link: Link, max_datagram: usize) {
        match link {
            Link::Signal => {
                self.signalling = Decoder::new(MAX_SIGNAL);
                self.outputs.push_back(Output::OpenBi {
                    link,
                    stream: SIGNAL_STREAM,
                });
                self.tell(now, wall, Told::Connected);
            }
            Link::Media => {
                self.media.up(now);
                self.drain_media(now);
                self.publish(now, publisher::Input::Connected { max_datagram });
                self.subscribed(now, subscriber::Input::Connected);
                self.outputs.push_back(Output::Changed);
            }
        }
    }

    fn link_down(&mut self, now: Duration, wall: u64, link: Link, code: Code) {
        match link {
            Link::Signal => {
                let unknown = matches!(code, Code::ConnectFailed | Code::ConnectionLost);
                let code = (!unknown).then_some(code);
                self.tell(now, wall, Told::Disconnected { code });
            }
            Link::Media => {
                self.media.down(now, code);
                self.media_gone(now);
            }
        }
    }

    /// All streams of the media link are gone with it.
    fn media_gone(&mut self, now: Duration) {
        self.publish(now, publisher::Input::Disconnected);
        self.subscribed(now, subscriber::Input::Disconnected);
        self.outputs.push_back(Output::Changed);
    }

    fn signalled(&mut self, now: Duration, wall: u64, bytes: &[u8]) {
        self.signalling.push(bytes);
        loop {
            match self.signalling.next_message::<ServerMessage>() {
                Ok(Some(message)) => self.tell(now, wall, Told::Message(message)),
                Ok(None) => return,
                Err(_) => {
                    let code = Code::Malformed;
                    self.outputs.push_back(Output::Close {
                        link: Link::Signal,
                        code,
                    });
                    return self.tell(now, wall, Told::Disconnected { code: None });
                }
            }
        }
    }

    /// Says something to the session and does what it decides, in its order.
    fn tell(&mut self, now: Duration, wall: u64, told: Told) {
        self.session.handle(now, told);
        self.drain_session(now, wall);
    }

    fn drain_session(&mut self, now: Duration, wall: u64) {
        loop {
            while let Some(output) = self.session.poll() {
                self.perform(now, wall, output);
            }
            match self.to_session.pop_front() {
                Some(told) => self.session.handle(now, told),
                None => return,
            }
        }
    }

    fn perform(&mut self, now: Duration, wall: u64, output: session::Output) {
        match output {
            session::Output::Connect { resume } => {
                let url = self.signal_url(resume);
                let certificate_sha256 = self.access.signal.certificate_sha256.clone();
                let link = Link::Signal;
                self.outputs.push_back(Output::Connect {
                    link,
                    url,
                    certificate_sha256,
                });
            }
            session::Output::Disconnect { code } => {
                self.outputs.push_back(Output::Close {
                    link: Link::Signal,
                    code,
                });
            }
            session::Output::Send(mut message) => {
                message.traceparent.clone_from(&self.traceparent);
                self.outputs.push_back(Output::Write {
                    link: Link::Signal,
                    stream: SIGNAL_STREAM,
                    bytes: framing::encode(&message),
                    fin: false,
                });
            }
            session::Output::Changed => self.changed(now),
            session::Output::Published { handle, track } => {
                if let Some(offer) = self.offers.get(&handle) {
                    let Offer { kind, layers } = *offer;
                    self.publish(
                        now,
                        publisher::Input::Published {
                            handle,
                            track,
                            kind,
                            layers,
                        },
                    );
                }
            }
            session::Output::MediaAssigned(assignment) => {
                self.media.assigned(now, &assignment);
                self.drain_media(now);
            }
            session::Output::Keys(event) => self.key_event(now, wall, event),
            session::Output::Refused { code, .. } => {
                let event = Event::Refused {
                    code: code.name(),
                    number: code.number(),
                };
                self.outputs.push_back(Output::Event(event));
            }
        }
    }

    fn signal_url(&self, resume: Option<Bytes>) -> String {
        let door = &self.access.signal;
        let mut url = match resume {
            Some(token) => format!("{}?resume={}", door.url, URL_SAFE_NO_PAD.encode(token)),
            None => format!("{}?token={}", door.url, door.token),
        };
        if !self.traceparent.is_empty() {
            url.push_str("&traceparent=");
            url.push_str(&self.traceparent);
        }
        url
    }

    /// The session's picture changed: follow the others' tracks, tell who came
    /// and went.
    fn changed(&mut self, now: Duration) {
        let state = self.session.state();
        if state.phase.is_final() {
            self.media.leave(Code::Left);
            self.drain_media(now);
        }
        let followed = followed(self.session.state(), self.me);
        let gone: Vec<_> = self
            .followed
            .keys()
            .filter(|id| !followed.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.subscribed(now, subscriber::Input::TrackGone(id));
        }
        for (id, track) in &followed {
            if self.followed.get(id) != Some(track) {
                self.subscribed(now, subscriber::Input::Track(*track));
            }
        }
        self.followed = followed;
        self.tell_who_came_and_went();
        self.outputs.push_back(Output::Changed);
    }

    fn tell_who_came_and_went(&mut self) {
        let state = self.session.state();
        if !matches!(state.phase, Phase::Joined | Phase::Reconnecting) {
            return;
        }
        let names: BTreeMap<_, _> = state
            .participants
            .iter()
            .map(|(id, one)| (*id, one.name.clone()))
            .collect();
        if let Some(present) = &self.present {
            for (_, name) in names.iter().filter(|(id, _)| !present.contains_key(id)) {
                self.outputs
                    .push_back(Output::Event(Event::Joined { name: name.clone() }));
            }
            for (_, name) in present.iter().filter(|(id, _)| !names.contains_key(id)) {
                self.outputs
                    .push_back(Output::Event(Event::Left { name: name.clone() }));
            }
        }
        self.present = Some(names);
    }

    fn key_event(&mut self, now: Duration, wall: u64, event: KeyEvent) {
        let inside = matches!(
            self.session.state().phase,
            Phase::Joined | Phase::Reconnecting
        );
        let step = match event {
            KeyEvent::Found | KeyEvent::State(_) if !inside => {
                self.lobby_keys = match event {
                    KeyEvent::State(state) => Some(state),
                    _ => None,
                };
                return;
            }
            KeyEvent::Found => self.keys.refused(wall, None, true),
            KeyEvent::State(state) => self.keys.refused(wall, Some(&state), true),
            KeyEvent::Committed { epoch, commit, .. } => {
                self.keys.committed(now, wall, Epoch(epoch), &commit)
            }
            KeyEvent::OwnAccepted { epoch } => self.keys.accepted(now, Epoch(epoch)),
            KeyEvent::Refused {
                code,
                state,
                resync,
            } => {
                if code == Code::CommitRefused {
                    self.keys.count_refusal();
                }
                self.keys.refused(wall, state.as_ref(), resync)
            }
            KeyEvent::RemoveWanted(participants) => self.keys.remove(wall, &participants),
            KeyEvent::GroupInfoWanted => self.keys.group_info(),
        };
        // Whatever went wrong with the group, the way back is to join it anew.
        let step = step.unwrap_or_else(|_| {
            self.keys.count_refusal();
            Step::resync()
        });
        if self.keys.is_locked_out() {
            return self.lock_out(now);
        }
        for reply in step.replies {
            self.to_session.push_back(Told::Key(said(reply)));
        }
        if let Some(Installed { epoch, newcomers }) = step.installed {
            if newcomers {
                self.publish(now, publisher::Input::MembersAdded);
            }
            self.subscribed(now, subscriber::Input::EpochInstalled);
            self.outputs
                .push_back(Output::Event(Event::Epoch { epoch: epoch.0 }));
            self.outputs.push_back(Output::Changed);
        }
    }

    /// The group does not let this end in: without keys there is nothing to see.
    fn lock_out(&mut self, now: Duration) {
        self.failure = Some(match self.access.meeting.key_in_link {
            true => Code::LinkSecretNeeded,
            false => Code::CommitRefused,
        });
        self.to_session.push_back(Told::Leave);
        self.media.leave(Code::Left);
        self.drain_media(now);
    }

    fn publish(&mut self, now: Duration, input: publisher::Input) {
        self.publisher.handle(now, input);
        self.drain_publisher();
    }

    fn drain_publisher(&mut self) {
        let link = Link::Media;
        while let Some(output) = self.publisher.poll() {
            let output = match output {
                publisher::Output::OpenStream { stream, priority } => Output::OpenUni {
                    link,
                    stream: stream_of(stream),
                    priority,
                },
                publisher::Output::Write { stream, bytes, fin } => Output::Write {
                    link,
                    stream: stream_of(stream),
                    bytes,
                    fin,
                },
                publisher::Output::Reset { stream, code } => Output::Reset {
                    link,
                    stream: stream_of(stream),
                    code,
                },
                publisher::Output::Datagram(bytes) => Output::Datagram(bytes),
                publisher::Output::KeyFrame { handle, layer } => Output::KeyFrame { handle, layer },
            };
            self.outputs.push_back(output);
        }
    }

    fn subscribed(&mut self, now: Duration, input: subscriber::Input) {
        self.subscriber
            .handle(now, input, &mut OpenWith(self.keys.keyring()));
        while let Some(output) = self.subscriber.poll() {
            let output = match output {
                subscriber::Output::Frame(opened) => self.decode(opened),
                subscriber::Output::KeyFrameWanted { track, layer } => {
                    self.media.want_key_frame(track.0, layer);
                    continue;
                }
                subscriber::Output::Stop { stream, code } => Output::Stop {
                    link: Link::Media,
                    stream,
                    code,
                },
            };
            self.outputs.push_back(output);
        }
    }

    fn decode(&self, opened: subscriber::Opened) -> Output {
        let subscriber::Opened {
            header,
            data: chunk,
        } = opened;
        let (track, capture_us) = (header.track, header.capture_us);
        let video = self
            .followed
            .get(&track)
            .is_some_and(|known| known.kind == Kind::Video);
        match video {
            true => Output::Video {
                track,
                layer: header.layer,
                key: header.key,
                capture_us,
                chunk,
            },
            false => Output::Audio {
                track,
                capture_us,
                level: header.level,
                chunk,
            },
        }
    }

    /// Performs what the media link wants.
    fn drain_media(&mut self, now: Duration) {
        let link = Link::Media;
        while let Some(effect) = self.media.effect() {
            match effect {
                Effect::Connect {
                    url,
                    certificate_sha256,
                } => {
                    self.media_gone(now);
                    self.outputs.push_back(Output::Connect {
                        link,
                        url,
                        certificate_sha256,
                    });
                }
                Effect::Close(code) => {
                    self.outputs.push_back(Output::Close { link, code });
                    self.media_gone(now);
                }
                Effect::OpenControl(bytes) => {
                    let stream = CONTROL_STREAM;
                    self.outputs.push_back(Output::OpenBi { link, stream });
                    self.outputs.push_back(Output::Write {
                        link,
                        stream,
                        bytes,
                        fin: false,
                    });
                }
                Effect::WriteControl(bytes) => {
                    let stream = CONTROL_STREAM;
                    self.outputs.push_back(Output::Write {
                        link,
                        stream,
                        bytes,
                        fin: false,
                    });
                }
                Effect::KeyFrameWanted { track, layer } => {
                    let track = TrackId(track);
                    self.publish(now, publisher::Input::KeyFrameWanted { track, layer });
                }
            }
        }
    }
}

/// Where the publisher's streams stand among the link's: even, after the
/// control stream.
fn stream_of(published: u64) -> StreamId {
    2 + 2 * published
}

fn published_stream(stream: StreamId) -> Option<u64> {
    (stream >= 2 && stream.is_multiple_of(2)).then(|| stream / 2 - 1)
}

/// Spreads a crowd's attempts to come back; needs no secrecy.
fn seed(me: ParticipantId) -> u64 {
    me.0.iter()
        .fold(0, |seed, byte| seed << 8 ^ seed >> 56 ^ u64::from(*byte))
}

fn said(reply: Reply) -> KeySaid {
    match reply {
        Reply::Commit(commit) => KeySaid::Commit(commit),
        Reply::Answer { epoch, accepted } => KeySaid::Answer {
            epoch: epoch.0,
            accepted,
        },
        Reply::GroupInfo { epoch, group_info } => KeySaid::GroupInfo {
            epoch: epoch.0,
            group_info: group_info.into(),
        },
        Reply::Resync => KeySaid::Resync,
    }
}

/// The others' tracks that are to be opened and decoded.
fn followed(state: &session::State, me: ParticipantId) -> BTreeMap<TrackId, subscriber::Track> {
    let others = state.participants.iter().filter(|(id, _)| **id != me);
    let tracks = others.flat_map(|(owner, one)| one.tracks.iter().map(move |it| (*owner, it)));
    let wanted = tracks.filter(|(_, (id, _))| !state.unwanted.contains(id));
    wanted
        .filter_map(|(owner, (id, track))| {
            let description = TrackDescription::decode(&track.description[..]).ok()?;
            let kind = match description.kind() {
                signal::Kind::Audio => Kind::Audio,
                signal::Kind::Video => Kind::Video,
                signal::Kind::Unspecified => return None,
            };
            Some((
                *id,
                subscriber::Track {
                    id: *id,
                    owner,
                    kind,
                    muted: track.muted,
                },
            ))
        })
        .collect()
}
