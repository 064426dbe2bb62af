//! The task that owns the core: facts in, effects out, in order, without ever waiting for a peer.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use darktower_net::Session;
use darktower_participant::{
    Access, Command, Encoded, Event as Notice, Input, Link, LinkState, Output, Participant, Phase,
    State,
};
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::Api;
use crate::client::{Chunk, Event, Frame, LEAVE_WITHIN, Wish};
use crate::encoders;
use crate::link::{LinkEnd, News};
use crate::stream::Opening;
use crate::via::Via;

/// How long the API may take to say where the meeting is.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);

/// What a program decodes that does not say otherwise.
const DECODES: &str = "vp8";

/// News of the links on the way to the core; readers wait where it is full.
const INBOX: usize = 512;

pub(crate) struct Shell {
    core: Participant,
    origin: Instant,
    signal: LinkEnd,
    media: LinkEnd,
    news: mpsc::Receiver<(Link, u64, News)>,
    shown: watch::Sender<State>,
    events: mpsc::Sender<Event>,
    encoders: encoders::Tracks,
    /// Whose tracks they are, as last shown.
    owners: BTreeMap<u32, ParticipantId>,
    phase: Phase,
    /// Events that nobody had room for.
    missed: u64,
    /// Where it is asked which controller has the meeting.
    api: Option<Api>,
    lookup: JoinSet<Option<Access>>,
}

impl Shell {
    pub(crate) fn new(
        origin: Instant,
        shown: watch::Sender<State>,
        events: mpsc::Sender<Event>,
        encoders: encoders::Tracks,
        via: Via,
    ) -> Self {
        let (inbox, news) = mpsc::channel(INBOX);
        Self {
            core: Participant::new(),
            origin,
            signal: LinkEnd::new(Link::Signal, via.clone(), inbox.clone()),
            media: LinkEnd::new(Link::Media, via, inbox),
            news,
            shown,
            events,
            encoders,
            owners: BTreeMap::new(),
            phase: Phase::Idle,
            missed: 0,
            api: None,
            lookup: JoinSet::new(),
        }
    }

    /// Until everybody let go of the participant, or it was told to end.
    pub(crate) async fn run(mut self, enter: Command, mut wishes: mpsc::Receiver<Wish>) {
        let codecs = vec![DECODES.to_owned()];
        self.tell(Input::Command(Command::Decodes { codecs }));
        self.tell(Input::Command(enter));
        let ended = loop {
            tokio::select! {
                () = self.next() => {}
                wish = wishes.recv() => match wish {
                    Some(Wish::End(answer)) => break Some(answer),
                    Some(Wish::Vanish(answer)) => {
                        self.signal.close(Code::ConnectionLost);
                        self.media.close(Code::ConnectionLost);
                        self.phase = Phase::Idle;
                        break Some(answer);
                    }
                    Some(wish) => self.wished(wish),
                    None => break None,
                },
            }
        };
        if !is_over(self.phase) {
            self.tell(Input::Command(Command::Leave));
        }
        // The core closes the link itself, when its leave is answered; or opens another to say it.
        let said = async {
            while self.phase != Phase::Idle && self.core.state().links.signal != LinkState::Down {
                self.next().await;
            }
        };
        if timeout(LEAVE_WITHIN, said).await.is_err() {
            tracing::warn!("the signalling link was closed without a farewell");
        }
        tokio::join!(self.signal.finish(), self.media.finish());
        if let Some(ended) = ended {
            // Nobody may wait for it any more.
            let _ = ended.send(());
        }
    }

    /// Waits for the next news, or for the core's own time, and tells the core.
    async fn next(&mut self) {
        let deadline = self.core.deadline().map(|at| self.origin + at);
        tokio::select! {
            Some((link, generation, news)) = self.news.recv() => {
                match (self.end(link).is_current(generation), news) {
                    (false, _) => {}
                    (true, news) if self.end(link).is_beside(generation) => {
                        if self.end(link).stands_by(news) {
                            self.tell(Input::Beside(link));
                        }
                    }
                    (true, news) => self.heard(link, news),
                }
            }
            Some(found) = self.lookup.join_next() => {
                if let Ok(Some(access)) = found {
                    let access = Box::new(access);
                    self.tell(Input::Command(Command::Found { access }));
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                self.tell(Input::Tick);
            }
        }
    }

    fn wished(&mut self, wish: Wish) {
        match wish {
            Wish::Command(command) => self.tell(Input::Command(command)),
            Wish::KeyFrame(track) => self.tell(Input::KeyFrameWanted(track)),
            Wish::State(answer) => {
                // Nobody may wait for it any more.
                let _ = answer.send(self.core.state());
            }
            Wish::Api(api) => self.api = Some(api),
            Wish::Chunk { handle, chunk } => self.encoded(handle, &chunk),
            Wish::End(_) | Wish::Vanish(_) => {}
        }
    }

    fn encoded(&mut self, handle: u32, chunk: &Chunk) {
        for (stream, bytes) in self.media.backlogs() {
            let link = Link::Media;
            self.tell(Input::Backlog {
                link,
                stream,
                bytes,
            });
        }
        let encoded = Encoded {
            handle,
            layer: chunk.layer,
            temporal: chunk.temporal,
            key: chunk.key,
            capture_us: micros(chunk.captured),
            level: chunk.level,
            chunk: &chunk.bytes,
        };
        self.core.encoded(self.origin.elapsed(), encoded);
        self.perform();
    }

    fn heard(&mut self, link: Link, news: News) {
        let at = self.origin.elapsed();
        match news {
            News::Up(session) => self.up(link, session),
            News::Down(code) => {
                self.end(link).lost();
                self.event(Event::Down { link, at });
                self.tell(Input::LinkDown { link, code });
            }
            News::Opened(recv) => self.end(link).accept(recv),
            News::Data { stream, .. } | News::Reset { stream }
                if !self.end(link).is_read(stream) => {}
            News::Data { stream, bytes, fin } => {
                if fin {
                    self.end(link).read_to_end(stream);
                }
                self.tell(Input::StreamData {
                    link,
                    stream,
                    bytes,
                    fin,
                });
            }
            News::Reset { stream } => {
                self.end(link).read_to_end(stream);
                self.tell(Input::StreamReset { link, stream });
            }
            News::Datagram(bytes) => self.tell(Input::Datagram(bytes)),
            News::Written { stream, refused } => {
                self.end(link).written(stream);
                let input = match refused {
                    true => Input::StreamReset { link, stream },
                    false => Input::Backlog {
                        link,
                        stream,
                        bytes: 0,
                    },
                };
                self.tell(input);
            }
        }
    }

    fn up(&mut self, link: Link, session: Session) {
        let at = self.origin.elapsed();
        let max_datagram = self.end(link).up(session);
        self.event(Event::Up { link, at });
        self.tell(Input::LinkUp { link, max_datagram });
    }

    fn tell(&mut self, input: Input) {
        self.core.handle(self.origin.elapsed(), wall(), input);
        self.perform();
    }

    fn perform(&mut self) {
        let mut changed = false;
        while let Some(output) = self.core.poll() {
            match output {
                Output::Connect {
                    link,
                    beside,
                    url,
                    certificate_sha256,
                } => self.end(link).connect(beside, url.0, certificate_sha256),
                Output::Keep { link } => self.end(link).keep_this(),
                Output::Replace { link } => {
                    if let Some(news) = self.end(link).replace() {
                        self.heard(link, news);
                    }
                }
                Output::Close { link, code } => self.end(link).close(code),
                Output::OpenUni {
                    link,
                    stream,
                    priority,
                } => self.end(link).open(stream, Opening::Uni { priority }),
                Output::OpenBi { link, stream } => self.end(link).open(stream, Opening::Bi),
                Output::Write {
                    link,
                    stream,
                    bytes,
                    fin,
                } => {
                    if !self.end(link).write(stream, bytes, fin) {
                        self.choked(link);
                    }
                }
                Output::Reset { link, stream, code } => self.end(link).reset(stream, code),
                Output::Stop { link, stream, code } => self.end(link).stop(stream, code),
                Output::Datagram(bytes) => self.media.datagram(bytes),
                Output::Video {
                    track,
                    layer,
                    key,
                    capture_us,
                    chunk,
                    ..
                } => self.frame(Frame {
                    track,
                    owner: None,
                    video: true,
                    layer,
                    key,
                    capture_us,
                    level: None,
                    bytes: chunk,
                    at: Duration::ZERO,
                }),
                Output::Audio {
                    track,
                    capture_us,
                    level,
                    chunk,
                    ..
                } => self.frame(Frame {
                    track,
                    owner: None,
                    video: false,
                    layer: 0,
                    key: true,
                    capture_us,
                    level,
                    bytes: chunk,
                    at: Duration::ZERO,
                }),
                Output::KeyFrame { handle, layer } => self.encoders.of(handle).key_frame(layer),
                Output::Encode {
                    handle,
                    layer,
                    target_bps,
                } => self.encoders.of(handle).encode(layer, target_bps),
                Output::Changed => changed = true,
                Output::Event(notice) => {
                    if notice == Notice::LookUp {
                        self.look_up();
                    }
                    let at = self.origin.elapsed();
                    self.event(Event::Notice { notice, at });
                }
            }
        }
        if changed {
            self.show();
        }
    }

    /// Asks which controller has the meeting now. In vain, the core wants it again.
    fn look_up(&mut self) {
        let (Some(api), Some(meeting)) = (self.api.clone(), self.core.state().meeting) else {
            return;
        };
        if self.lookup.is_empty() {
            self.lookup.spawn(async move {
                let asked = timeout(LOOKUP_WITHIN, api.lookup(&meeting.code, None)).await;
                asked
                    .ok()?
                    .inspect_err(|error| tracing::info!(%error, "could not look the meeting up"))
                    .ok()
            });
        }
    }

    /// The peer reads nothing any more: the connection is as good as lost.
    fn choked(&mut self, link: Link) {
        let code = Code::ConnectionLost;
        self.end(link).close(code);
        let now = self.origin.elapsed();
        self.core
            .handle(now, wall(), Input::LinkDown { link, code });
    }

    fn frame(&mut self, frame: Frame) {
        self.event(Event::Frame(Frame {
            owner: self.owners.get(&frame.track.0).copied(),
            at: self.origin.elapsed(),
            ..frame
        }));
    }

    fn event(&mut self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.missed += 1;
            // Once for each power of two: a program that never reads is told so, and not drowned.
            if self.missed.is_power_of_two() {
                tracing::warn!(missed = self.missed, "events are not read");
            }
        }
    }

    fn show(&mut self) {
        let state = self.core.state();
        if state.phase != self.phase {
            let (phase, at) = (state.phase, self.origin.elapsed());
            self.phase = phase;
            self.event(Event::Phase { phase, at });
        }
        let owners = state.participants.iter().flat_map(|one| {
            let owner = one.id.parse::<ParticipantId>().ok();
            one.tracks
                .iter()
                .filter_map(move |it| Some((it.id, owner?)))
        });
        self.owners = owners.collect();
        self.shown.send_replace(state);
    }

    fn end(&mut self, link: Link) -> &mut LinkEnd {
        match link {
            Link::Signal => &mut self.signal,
            Link::Media => &mut self.media,
        }
    }
}

fn is_over(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Idle | Phase::Left | Phase::Ended | Phase::Failed
    )
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Unix time in milliseconds.
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}
