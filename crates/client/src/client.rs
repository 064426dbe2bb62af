//! What a program holds of its participant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use darktower_participant::{Access, Command, Event as Notice, Link, Phase, State, TrackOffer};
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::AudioLevel;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::api::Api;
use crate::encoders::{self, Asked, Encoders};
use crate::shell;
use crate::via::Via;

/// Events nobody has read yet; a program that does not read loses the newest.
const EVENTS: usize = 4096;
/// Wishes and chunks on the way to the core.
const WISHES: usize = 256;
/// How long leaving in order may take.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The participant is gone: it left, or its program let go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the participant is gone")]
pub struct Gone;

/// One participant of one meeting. Clones are the same participant; when the last is dropped, it leaves.
#[derive(Clone, Debug)]
pub struct Client {
    wishes: mpsc::Sender<Wish>,
    state: watch::Receiver<State>,
    encoders: encoders::Tracks,
    handles: Arc<AtomicU32>,
    origin: Instant,
}

/// What happens to the participant, in order.
#[derive(Debug)]
pub struct Events {
    inbox: mpsc::Receiver<Event>,
}

/// Something happened. Times are since [`Client::enter`].
#[derive(Debug, Clone)]
pub enum Event {
    /// A frame of somebody's track was opened.
    Frame(Frame),
    /// The participant came further, or back.
    Phase {
        /// How far.
        phase: Phase,
        /// When.
        at: Duration,
    },
    /// A link is open.
    Up {
        /// Which.
        link: Link,
        /// When.
        at: Duration,
    },
    /// A link is gone.
    Down {
        /// Which.
        link: Link,
        /// When.
        at: Duration,
    },
    /// Something to tell a person.
    Notice {
        /// What.
        notice: Notice,
        /// When.
        at: Duration,
    },
}

/// One opened frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its track.
    pub track: TrackId,
    /// Who sealed it; `None` where the track is withdrawn already.
    pub owner: Option<ParticipantId>,
    /// A picture rather than sound.
    pub video: bool,
    /// Its layer.
    pub layer: u8,
    /// Can be decoded without any other frame.
    pub key: bool,
    /// When it was captured, in microseconds of its sender's media clock.
    pub capture_us: u64,
    /// How loud it is (audio).
    pub level: Option<AudioLevel>,
    /// The chunk as the sender's encoder made it.
    pub bytes: Bytes,
    /// When it was opened.
    pub at: Duration,
}

/// One encoded picture or audio packet to publish.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// What the encoder made.
    pub bytes: Bytes,
    /// Decodable on its own.
    pub key: bool,
    /// Its layer, 0 the smallest, and the only one of sound.
    pub layer: u8,
    /// Its temporal layer, 0 the one all others need.
    pub temporal: u8,
    /// When it was captured, since [`Client::enter`].
    pub captured: Duration,
    /// How loud it is (audio).
    pub level: Option<AudioLevel>,
}

/// A published track.
#[derive(Debug)]
pub struct Track {
    handle: u32,
    client: Client,
    encoders: Encoders,
    muted: AtomicBool,
}

/// From a handle to the task that owns the core.
pub(crate) enum Wish {
    Command(Command),
    Chunk {
        handle: u32,
        chunk: Chunk,
    },
    KeyFrame(TrackId),
    State(oneshot::Sender<State>),
    /// Ask here where the meeting is, when no controller that is known answers.
    Api(Api),
    /// End the task, and say when it has ended.
    End(oneshot::Sender<()>),
    /// The same without a farewell.
    Vanish(oneshot::Sender<()>),
}

impl Client {
    /// Opens both links and waits in the lobby. `link_secret` is what follows `#k=` in the invitation. Call it inside a
    /// tokio runtime.
    pub fn enter(access: Access, link_secret: Option<String>) -> (Self, Events) {
        Self::enter_traced(access, link_secret, String::new())
    }

    /// The same as part of a trace (`traceparent` of W3C Trace Context).
    pub fn enter_traced(
        access: Access,
        link_secret: Option<String>,
        traceparent: String,
    ) -> (Self, Events) {
        Self::enter_via(access, link_secret, traceparent, Via::Themselves)
    }

    /// The same with peers reached at other addresses than they say.
    pub fn enter_via(
        access: Access,
        link_secret: Option<String>,
        traceparent: String,
        via: Via,
    ) -> (Self, Events) {
        let (wishes, wished) = mpsc::channel(WISHES);
        let (events, inbox) = mpsc::channel(EVENTS);
        let (shown, state) = watch::channel(State::default());
        let encoders = encoders::Tracks::default();
        let origin = Instant::now();
        let enter = Command::Enter {
            access: Box::new(access),
            link_secret: link_secret.map(Into::into),
            traceparent,
        };
        let shell = shell::Shell::new(origin, shown, events, encoders.clone(), via);
        tokio::spawn(shell.run(enter, wished));
        let client = Self {
            wishes,
            state,
            encoders,
            handles: Arc::default(),
            origin,
        };
        (client, Events { inbox })
    }

    /// Joins under a name, with tracks to publish at once, in the order of the offers. Does not wait for the links or
    /// the answer: [`Client::reach`] does. A program that decodes more than VP8 says so before
    /// ([`Command::Decodes`]): browsers send what everybody decodes.
    pub async fn join(&self, name: &str, mut offers: Vec<TrackOffer>) -> Result<Vec<Track>, Gone> {
        let tracks = offers.iter_mut().map(|offer| self.track(offer)).collect();
        self.wish(Command::Join {
            name: name.to_owned(),
            tracks: offers,
            traceparent: String::new(),
        })
        .await?;
        Ok(tracks)
    }

    /// Offers one more track. Its `handle` is chosen here.
    pub async fn publish(&self, mut offer: TrackOffer) -> Result<Track, Gone> {
        let track = self.track(&mut offer);
        self.wish(Command::Publish { track: offer }).await?;
        Ok(track)
    }

    /// Any other wish: subscribe, remove somebody, end the meeting.
    pub async fn wish(&self, command: Command) -> Result<(), Gone> {
        self.send(Wish::Command(command)).await
    }

    /// Where no controller that is known has the meeting any more, asks this API where it is, and goes there; a guest that is
    /// not in the meeting and has used up its token is let in anew. Without it, [`Notice::LookUp`](crate::Notice::LookUp) is for the program to answer by
    /// [`Command::Found`](crate::Command::Found).
    pub async fn look_up_at(&self, api: Api) -> Result<(), Gone> {
        self.send(Wish::Api(api)).await
    }

    /// A decoder lost its way in somebody's track and needs a key frame.
    pub async fn want_key_frame(&self, track: TrackId) -> Result<(), Gone> {
        self.send(Wish::KeyFrame(track)).await
    }

    /// The picture as last shown; to be watched. Its counters are of the last change: see [`Client::refresh`].
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The picture as of now.
    pub async fn refresh(&self) -> Result<State, Gone> {
        let (answer, answered) = oneshot::channel();
        self.send(Wish::State(answer)).await?;
        answered.await.map_err(|_| Gone)
    }

    /// Waits until the picture is as wished.
    pub async fn reach(&self, wished: impl FnMut(&State) -> bool) -> Result<State, Gone> {
        let mut state = self.state.clone();
        let reached = state.wait_for(wished).await.map_err(|_| Gone)?;
        Ok(reached.clone())
    }

    /// Time since [`Client::enter`]: the clock of all its events and chunks.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn at(&self, since_enter: Duration) -> Instant {
        self.origin + since_enter
    }

    /// Leaves, and waits until the others can know it; at most some seconds.
    pub async fn leave(&self) {
        let left = async {
            self.wish(Command::Leave).await?;
            let over = |it: &State| matches!(it.phase, Phase::Left | Phase::Ended | Phase::Failed);
            self.reach(over).await
        };
        // In vain where it is gone already, or the controller silent: the end of the task closes the links.
        let _ = timeout(LEAVE_WITHIN, left).await;
        let (answer, ended) = oneshot::channel();
        if self.send(Wish::End(answer)).await.is_ok() {
            // An error says that it has ended, too.
            let _ = ended.await;
        }
    }

    /// Ends as one whose connections were lost: without a farewell, the seat stays held.
    pub async fn vanish(self) {
        let (answer, ended) = oneshot::channel();
        if self.send(Wish::Vanish(answer)).await.is_ok() {
            let _ = ended.await;
        }
    }

    fn track(&self, offer: &mut TrackOffer) -> Track {
        offer.handle = self.handles.fetch_add(1, Ordering::Relaxed) + 1;
        Track {
            handle: offer.handle,
            client: self.clone(),
            encoders: self.encoders.of(offer.handle),
            muted: AtomicBool::new(offer.muted),
        }
    }

    async fn send(&self, wish: Wish) -> Result<(), Gone> {
        self.wishes.send(wish).await.map_err(|_| Gone)
    }
}

impl Events {
    /// The next event; `None` when the participant is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.inbox.recv().await
    }

    /// The next frame of a track, passing over everything else.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Event::Frame(frame) = self.next().await? {
                return Some(frame);
            }
        }
    }
}

impl Track {
    /// The publisher's own name of the track, as in [`State::tracks`].
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// The participant it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until frames can be sealed and the meeting has a name for the track.
    pub async fn ready(&self) -> Result<TrackId, Gone> {
        let named = |state: &State| {
            let own = state.tracks.iter().find(|own| own.handle == self.handle);
            own.and_then(|own| own.track)
        };
        let is_ready = |state: &State| state.e2ee.ready && named(state).is_some();
        let state = self.client.reach(is_ready).await?;
        named(&state).map(TrackId).ok_or(Gone)
    }

    /// Seals and sends a chunk. Waits only for the task that owns the core, never for the network.
    pub async fn send(&self, chunk: Chunk) -> Result<(), Gone> {
        let handle = self.handle;
        self.client.send(Wish::Chunk { handle, chunk }).await
    }

    /// Whether the next chunk has to be a key frame. Asking takes the wish back: somebody is about to answer it.
    pub fn take_key_frame_wanted(&self) -> bool {
        self.encoders.take_key_frame()
    }

    /// Waits until a key frame may be wanted: [`Track::take_key_frame_wanted`] tells.
    pub(crate) async fn key_frame_asked(&self) {
        self.encoders.key_frame_asked().await;
    }

    /// What was asked of the track's encoders since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        self.encoders.take()
    }

    /// Whether it was muted here.
    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Says that the track is silent or dark by will. [`Track::play`] sends nothing meanwhile.
    pub async fn mute(&self, muted: bool) -> Result<(), Gone> {
        let handle = self.handle;
        self.muted.store(muted, Ordering::Relaxed);
        self.client.wish(Command::Mute { handle, muted }).await
    }

    /// Withdraws the track.
    pub async fn unpublish(&self) -> Result<(), Gone> {
        let handle = self.handle;
        self.client.encoders.forget(handle);
        self.client.wish(Command::Unpublish { handle }).await
    }
}
