//! A trunk that this handler has dialled: a media session at another handler of the meeting, by which come the frames
//! of the participants there.
//!
//! When to dial and what to ask for the forwarder decides; here it is done, on the async side: what comes is told to
//! the meeting's shard, which takes it as what a participant has sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_media::Kind;
use darktower_media::forwarder::{SessionId, Trunk};
use darktower_net::plane::Inlet;
use darktower_net::{
    Client, Fingerprint, Ports, RecvStream, SendStream, ServerTrust, Session, Tuning, Url,
};
use darktower_wire::Code;
use darktower_wire::datagram::Datagram;
use darktower_wire::framing;
use darktower_wire::ids::MeetingId;
use darktower_wire::media::GroupDecoder;
use darktower_wire::media_control::{ClientControl, Hello, client_control::Body};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::door::TRUNK;
use crate::ingress::Taken;
use crate::packet::Packet;
use crate::shard::Message;
use crate::{Shared, measure};

/// Words to the other handler that may wait; one that does not take them is dialled anew.
const WORDS: usize = 4096;
/// Handlers are near one another, and a trunk that is gone makes many pictures stand still.
const IDLE: Duration = Duration::from_secs(4);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Unread bytes of the whole trunk: many publishers' key frames at a time.
const RECEIVE_WINDOW: u32 = 32 << 20;
/// What the number of a session looks like in front of a datagram of nearly all of them.
const FRONT: [u8; 1] = [0];

/// What becomes of a trunk.
pub(crate) enum News {
    Up,
    Frames(Vec<Taken>),
    Down,
}

/// A trunk as its meeting holds it. It is given up when this goes.
pub(crate) struct Dialled {
    words: mpsc::Sender<Body>,
}

impl Dialled {
    /// Asks something of the other handler. False where that does not listen.
    pub(crate) fn say(&self, body: Body) -> bool {
        self.words.try_send(body).is_ok()
    }
}

struct Way {
    inlet: Inlet<Message>,
    meeting: MeetingId,
    session: SessionId,
}

impl Way {
    /// Waits until the shard takes it: meanwhile the other handler is not read. False where the shard has stopped.
    async fn tell(&self, news: News) -> bool {
        let (meeting, session) = (self.meeting, self.session);
        let message = Message::Trunk {
            meeting,
            session,
            news,
        };
        self.inlet.send(message).await.is_ok()
    }
}

/// Dials. Needs the shared runtime only.
pub(crate) fn dial(
    shared: &Shared,
    inlet: Inlet<Message>,
    meeting: MeetingId,
    session: SessionId,
    trunk: Trunk,
) -> Dialled {
    let (words, to_say) = mpsc::channel(WORDS);
    let way = Arc::new(Way {
        inlet,
        meeting,
        session,
    });
    let ports = shared.trunk_ports.clone();
    shared.runtime.spawn(async move {
        if let Err(why) = carry(&way, ports, &trunk, to_say).await {
            tracing::info!(meeting_id = %meeting, why, "a trunk to another media handler ended");
        }
        way.tell(News::Down).await;
    });
    Dialled { words }
}

/// Lasts as long as the trunk is wanted and stands.
async fn carry(
    way: &Arc<Way>,
    ports: Ports,
    trunk: &Trunk,
    mut to_say: mpsc::Receiver<Body>,
) -> Result<(), &'static str> {
    let client = client(ports, trunk)?;
    let ticket = URL_SAFE_NO_PAD.encode(*trunk.ticket);
    let url = format!("{}?ticket={ticket}&{TRUNK}=1", trunk.url);
    let url = Url::parse(&url).map_err(|_| "its URL is none")?;
    let session = tokio::select! {
        session = client.connect(&url, &[]) => session.map_err(|_| "it cannot be reached")?,
        () = gone(&mut to_say) => return Ok(()),
    };
    let opened = session.open_bi().await;
    let (control, said) = opened.map_err(|_| "it takes no control stream")?;
    measure::trunk(1.0);
    let outcome = talk(way, &session, control, said, to_say).await;
    measure::trunk(-1.0);
    session.close(Code::Left.number(), Code::Left.name());
    outcome
}

fn client(ports: Ports, trunk: &Trunk) -> Result<Client, &'static str> {
    let trust = match &trunk.certificate_sha256[..] {
        [] => ServerTrust::System,
        hashes => ServerTrust::Hashes(hashes.iter().copied().map(Fingerprint).collect()),
    };
    let tuning = Tuning {
        idle_timeout: IDLE,
        keep_alive: KEEP_ALIVE,
        receive_window: RECEIVE_WINDOW,
        ..Tuning::default()
    };
    Client::with_ports(ports, trust, &tuning).map_err(|_| "no socket for it")
}

/// Resolves when nobody wants the trunk any more. What was to be said is of no use before it stands.
async fn gone(to_say: &mut mpsc::Receiver<Body>) {
    while to_say.recv().await.is_some() {}
}

async fn talk(
    way: &Arc<Way>,
    session: &Session,
    mut control: SendStream,
    mut said: RecvStream,
    mut to_say: mpsc::Receiver<Body>,
) -> Result<(), &'static str> {
    write(&mut control, Body::Hello(Hello {})).await?;
    if !way.tell(News::Up).await {
        return Ok(());
    }
    let mut taking = JoinSet::new();
    taking.spawn(take_groups(way.clone(), session.clone()));
    taking.spawn(take_datagrams(way.clone(), session.clone()));
    loop {
        tokio::select! {
            body = to_say.recv() => match body {
                Some(body) => write(&mut control, body).await?,
                None => return Ok(()),
            },
            // It says nothing that matters here, and who does not read is closed.
            word = said.read_chunk() => if !matches!(word, Ok(Some(_))) {
                return Err("it hung up");
            },
            Some(_) = taking.join_next() => return Err("it closed"),
        }
    }
}

async fn write(control: &mut SendStream, body: Body) -> Result<(), &'static str> {
    let bytes = framing::encode(&ClientControl { body: Some(body) });
    control.write(bytes).await.map_err(|_| "it does not listen")
}

async fn take_groups(way: Arc<Way>, session: Session) {
    let mut groups = JoinSet::new();
    while let Ok(stream) = session.accept_uni().await {
        groups.spawn(take_group(way.clone(), stream));
        while groups.try_join_next().is_some() {}
    }
}

async fn take_group(way: Arc<Way>, mut stream: RecvStream) {
    let mut decoder = GroupDecoder::default();
    while let Ok(Some(chunk)) = stream.read_chunk().await {
        decoder.push(&chunk);
        let mut frames = Vec::new();
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(Taken {
                    kind: Kind::Video,
                    header: frame.header,
                    packet: Packet::entry(&frame),
                }),
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a stream of a trunk lies");
                    measure::refused("trunk", Code::BadFrameHeader);
                    return stream.stop(Code::BadFrameHeader.number());
                }
            }
        }
        if !frames.is_empty() && !way.tell(News::Frames(frames)).await {
            return;
        }
    }
}

async fn take_datagrams(way: Arc<Way>, session: Session) {
    while let Ok(bytes) = session.recv_datagram().await {
        let Ok(datagram) = Datagram::parse(bytes) else {
            measure::refused("trunk", Code::BadFrameHeader);
            continue;
        };
        let frames = datagram.into_frames().map(|frame| Taken {
            kind: Kind::Audio,
            header: frame.header,
            packet: Packet::fronted(&FRONT, &frame.bytes),
        });
        let frames: Vec<_> = frames.collect();
        if !frames.is_empty() && !way.tell(News::Frames(frames)).await {
            return;
        }
    }
}
