//! One attendance of one meeting: its session, its tracks, its keys and its two
//! links, and what each has to tell the others.

mod screen;
mod signalling;
mod tracks;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_e2ee::LinkSecret;
use darktower_media::{Kind, Publisher, Shape, Subscriber, publisher, subscriber};
use darktower_meeting::session;
use darktower_meeting::{Session, session::Input as Told};
use darktower_wire::framing::{Decoder, MAX_SIGNAL};
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::signal;
use darktower_wire::{Code, Secret};
use prost::Message;

use crate::access::Access;
use crate::command::{Command, Encoded, TrackOffer};
use crate::decodable::Decodable;
use crate::entry::Entrant;
use crate::keys::Keys;
use crate::media_link::{CONTROL_STREAM, MediaLink};
use crate::output::{Link, Output, StreamId};
use crate::participant::Input;
use crate::picture;
use crate::reception::Reception;
use crate::seals::SealWith;
use crate::state::State;
use tracks::{published_stream, shape_of};

/// The stream that all signalling travels on: the first this end opens.
const SIGNAL_STREAM: StreamId = 0;

/// An own track as its publisher offered it.
#[derive(Debug)]
struct Offer {
    kind: Kind,
    shape: Shape,
}

pub(crate) struct Attendance {
    pub(crate) access: Access,
    pub(crate) me: ParticipantId,
    pub(crate) session: Session,
    pub(crate) keys: Keys,
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    pub(crate) media: MediaLink,
    pub(crate) reception: Reception,
    /// Reads the signalling stream; anew with each connection.
    signalling: Decoder,
    traceparent: String,
    offers: BTreeMap<u32, Offer>,
    /// Others' tracks as the subscriber was told of them.
    followed: BTreeMap<TrackId, subscriber::Track>,
    screen: screen::Screen,
    pub(crate) decodable: Decodable,
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
        link_secret: Option<Secret<String>>,
        traceparent: String,
    ) -> Result<Self, Code> {
        let me = access.participant_id;
        let session = Session::new(session::Config::default(), seed(me));
        let mut this = Self::new(wall, access, me, session, link_secret, traceparent)?;
        this.media.try_door(now, &this.access.media);
        this.tell(now, wall, Told::EnterLobby);
        this.drain_media(now);
        this.keys.lobby().wait(now);
        Ok(this)
    }

    /// Takes the seat again that an earlier life of this page left.
    pub(crate) fn resume(
        now: Duration,
        wall: u64,
        access: Access,
        resume: &str,
        link_secret: Option<Secret<String>>,
        traceparent: String,
    ) -> Result<Self, Code> {
        let resume = URL_SAFE_NO_PAD
            .decode(resume)
            .map_err(|_| Code::ResumeUnknown)?;
        let (me, token) = resume.split_at_checked(16).ok_or(Code::ResumeUnknown)?;
        let me = ParticipantId::from_slice(me).map_err(|_| Code::ResumeUnknown)?;
        let config = session::Config::default();
        let session = Session::resume(now, config, seed(me), Bytes::copy_from_slice(token).into());
        let mut this = Self::new(wall, access, me, session, link_secret, traceparent)?;
        this.drain_session(now, wall);
        Ok(this)
    }

    fn new(
        wall: u64,
        access: Access,
        me: ParticipantId,
        session: Session,
        link_secret: Option<Secret<String>>,
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
        let entrant = Entrant::new(me, access.meeting.id, link);
        let keys = Keys::new(entrant, Some(access.key.to_state()));
        let first_group = publisher::first_group(wall);
        Ok(Self {
            me,
            session,
            keys,
            publisher: Publisher::new(publisher::Config::default(), first_group),
            subscriber: Subscriber::new(subscriber::Config::default()),
            media: MediaLink::new(traceparent.clone()),
            reception: Reception::default(),
            signalling: Decoder::new(MAX_SIGNAL),
            traceparent,
            offers: BTreeMap::new(),
            followed: BTreeMap::new(),
            screen: screen::Screen::default(),
            decodable: Decodable::default(),
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
            self.decodable.deadline(),
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
            Input::Beside(Link::Signal) => self.tell(now, wall, Told::Beside),
            Input::Beside(Link::Media) => self.media.beside(now),
            Input::StreamData {
                link: Link::Signal,
                stream: SIGNAL_STREAM,
                bytes,
                ..
            } => {
                self.signalled(now, wall, &bytes);
                if self.media.controller_heard(now) {
                    self.tell(now, wall, Told::MediaSilent);
                }
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
                self.session.path_heard(now);
                let refused = self.media.refused();
                let heard = self.media.control(now, &bytes);
                if self.media.refused() != refused {
                    self.outputs.push_back(Output::Changed);
                }
                if let Err(code) = heard {
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
                self.media_heard(now);
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
                self.media_heard(now);
                self.subscribed(now, subscriber::Input::Datagram(bytes));
            }
            Input::KeyFrameWanted(track) => {
                self.subscribed(now, subscriber::Input::DecoderFailed(track));
            }
        }
        let controller = self.session.state().link;
        let silent = matches!(
            controller,
            session::Link::Suspicious | session::Link::Connecting
        );
        self.media.controller_silent(now, silent);
        self.session.watch(self.media.is_doubtful());
        self.drain_media(now);
    }

    /// Something came over the media link: the network works.
    fn media_heard(&mut self, now: Duration) {
        self.media.heard(now);
        self.session.path_heard(now);
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
        self.keys.tick(now, wall);
        self.media.tick(now);
        if self.decodable.review(now) {
            self.outputs.push_back(Output::Changed);
        }
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
                // Without one the join is still worth asking for: its answer brings
                // newer state to build on.
                let key = self.keys.enter(wall).ok();
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
            Command::Show { views } => return self.show(now, &views),
            Command::Found { access } => {
                if access.meeting.id != self.access.meeting.id {
                    return;
                }
                if self.session.is_spent() {
                    return self.admitted(now, wall, *access);
                }
                // Its tokens are for another participant; the way is for everybody.
                self.access.signal.url = access.signal.url;
                self.access.signal.certificate_sha256 = access.signal.certificate_sha256;
                Told::Found
            }
            // Those begin an attendance; this one has begun.
            Command::Enter { .. } | Command::Resume { .. } => return,
            Command::Decodes { codecs } => Told::Decodes(codecs),
        };
        self.tell(now, wall, told);
    }

    /// Comes anew, as whom the API says, with all that was wished for before.
    fn admitted(&mut self, now: Duration, wall: u64, access: Access) {
        if access.role != self.access.role {
            return;
        }
        self.access = access;
        self.me = self.access.participant_id;
        self.keys.begin_anew(self.me, self.access.key.to_state());
        let joins = self.session.state().phase == session::Phase::Joining;
        let key = match joins {
            true => self.keys.enter(wall).ok(),
            false => None,
        };
        if !joins {
            self.keys.lobby().wait(now);
        }
        // It stands, where it does, for the participant that this end was.
        if self.media.is_up() {
            self.media_gone(now);
        }
        self.media.leave(Code::Left);
        self.media.try_door(now, &self.access.media);
        self.tell(now, wall, Told::Admitted { key });
    }

    fn offer(&mut self, track: &TrackOffer) -> signal::Publish {
        let kind = if track.source.is_video() {
            Kind::Video
        } else {
            Kind::Audio
        };
        let own = &self.session.state().own_tracks;
        let former = track.replaces.and_then(|handle| own.get(&handle)?.track);
        let description =
            track.description(former.map_or(0, |id| id.0), &self.session.state().decodes);
        let shape = shape_of(track);
        self.offers.insert(track.handle, Offer { kind, shape });
        signal::Publish {
            description: description.encode_to_vec().into(),
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
                self.session.path_heard(now);
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
        self.reception = Reception::default();
        self.say_what_comes(now);
        self.publish(now, publisher::Input::Disconnected);
        self.subscribed(now, subscriber::Input::Disconnected);
        self.outputs.push_back(Output::Changed);
    }
}

/// Spreads a crowd's attempts to come back; needs no secrecy.
fn seed(me: ParticipantId) -> u64 {
    me.0.iter()
        .fold(0, |seed, byte| seed << 8 ^ seed >> 56 ^ u64::from(*byte))
}

#[cfg(test)]
mod tests;
