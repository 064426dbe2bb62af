//! What stands between the participants and an honest media handler: a dishonest one.
//!
//! It has the handler's certificate and its place in the registry, so participants take it for the handler.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use darktower_client::TrackId;
use darktower_net::{Certs, Client, Config, Incoming, ReadError, RecvStream, SendStream, Server};
use darktower_net::{ServerTrust, Session, Tuning, Url};
use darktower_wire::media::{Frame, GroupDecoder, STREAM_GROUP, put_entry_length};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// One frame in so many is lied about.
const ONE_IN: u64 = 8;

/// What is done to frames on their way to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A bit of what is sealed is another.
    Flipped,
    /// The last byte of the tag is missing.
    Cut,
    /// What was sent before is sent again.
    Again,
    /// Another participant's sealed frame stands behind this track's header.
    Anothers,
}

/// Which lie, and whether about pictures rather than sound.
type Lies = Arc<Mutex<Option<(Lie, bool)>>>;
/// The newest sealed payloads, pictures or sound, by track.
type Payloads = Arc<Mutex<BTreeMap<(bool, TrackId), Bytes>>>;

pub(crate) struct Relay {
    addr: SocketAddr,
    onward: watch::Sender<Option<SocketAddr>>,
    lies: Lies,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub(crate) fn start(certs: &Certs) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(Config::new(any, certs.clone())).unwrap();
        let addr = server.local_addr();
        let (onward, told) = watch::channel(None);
        let lies = Lies::default();
        let trust = ServerTrust::Hashes(certs.hashes());
        let way = Way {
            client: Arc::new(Client::new(trust, &Tuning::default()).unwrap()),
            onward: told,
            lies: lies.clone(),
            payloads: Payloads::default(),
        };
        let task = tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(way.clone().relay(incoming));
            }
        });
        let task = task.abort_handle();
        Self {
            addr,
            onward,
            lies,
            task,
        }
    }

    /// What the handler says of itself.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/v1/media", self.addr)
    }

    /// Where the honest handler is.
    pub(crate) fn lead_to(&self, handler: SocketAddr) {
        self.onward.send_replace(Some(handler));
    }

    pub(crate) fn tell(&self, lie: Option<(Lie, bool)>) {
        *self.lies.lock().unwrap() = lie;
    }
}

#[derive(Clone)]
struct Way {
    client: Arc<Client>,
    onward: watch::Receiver<Option<SocketAddr>>,
    lies: Lies,
    payloads: Payloads,
}

impl Way {
    async fn relay(mut self, incoming: Incoming) {
        let handler = self
            .onward
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .unwrap();
        let query = incoming.query().unwrap_or_default();
        if query.starts_with("ticket=") {
            // A controller's probe, a meeting of its own: what it sends is no participant's.
            (self.lies, self.payloads) = Default::default();
        }
        let url = format!("https://{handler}/v1/media?{query}");
        let url = Url::parse(&url).unwrap();
        let there = self.client.connect(&url, &[]).await.unwrap();
        let Ok(here) = incoming.accept().await else {
            return;
        };
        let reason = tokio::select! {
            reason = here.closed() => reason,
            reason = there.closed() => reason,
            () = control(&here, &there) => return,
            () = streams(&here, &there) => return,
            () = datagrams_up(&here, &there) => return,
            () = self.groups(&here, &there) => return,
            () = self.datagrams(&here, &there) => return,
        };
        for session in [here, there] {
            session.close(reason.code, &reason.reason);
        }
    }

    async fn groups(&self, here: &Session, there: &Session) {
        while let Ok(from) = there.accept_uni().await {
            let Ok(to) = here.open_uni().await else {
                return;
            };
            tokio::spawn(self.clone().group(from, to, here.clone()));
        }
        here.closed().await;
    }

    /// One group of pictures, or what became of it.
    async fn group(self, mut from: RecvStream, mut to: SendStream, here: Session) {
        let mut decoder = GroupDecoder::default();
        let mut sent = BytesMut::from(&[STREAM_GROUP][..]);
        let mut begun = 0;
        loop {
            match from.read_chunk().await {
                Ok(Some(bytes)) => decoder.push(&bytes),
                Ok(None) => {
                    // Where it is over already, the participant did not want it.
                    let _ = to.finish();
                    return;
                }
                Err(ReadError::Reset(code)) => return to.reset(code.unwrap_or_default()),
                Err(_) => return,
            }
            while let Some(frame) = decoder.next_frame().unwrap() {
                let (bytes, again) = self.frame(&frame, true);
                put_entry_length(&mut sent, bytes.len());
                sent.extend_from_slice(&bytes);
                if to
                    .write(Bytes::copy_from_slice(&sent[begun..]))
                    .await
                    .is_err()
                {
                    return from.stop(0);
                }
                begun = sent.len();
                if again && let Ok(mut stream) = here.open_uni().await {
                    let _ = stream.write(Bytes::copy_from_slice(&sent)).await;
                    let _ = stream.finish();
                }
            }
        }
    }

    async fn datagrams(&self, here: &Session, there: &Session) {
        while let Ok(bytes) = there.recv_datagram().await {
            let frame = Frame::parse(bytes).unwrap();
            let (bytes, again) = self.frame(&frame, false);
            for _ in 0..=usize::from(again) {
                // One that does not fit any more is lost, as on any network.
                let _ = here.send_datagram(bytes.clone());
            }
        }
        here.closed().await;
    }

    /// What is sent in a frame's place, and whether all of it once more.
    fn frame(&self, frame: &Frame, video: bool) -> (Bytes, bool) {
        let track = frame.header.track;
        let payload = Bytes::copy_from_slice(frame.payload());
        let mut payloads = self.payloads.lock().unwrap();
        payloads.insert((video, track), payload);
        let lie = *self.lies.lock().unwrap();
        let lie = lie.filter(|it| it.1 == video && frame.header.frame % ONE_IN == ONE_IN / 2);
        let mut bytes = frame.bytes.to_vec();
        match lie.map(|it| it.0) {
            None => {}
            Some(Lie::Again) => return (bytes.into(), true),
            Some(Lie::Cut) => bytes.truncate(bytes.len() - 1),
            Some(Lie::Flipped) => {
                // Of the tag, of the picture, in turn: never of the numbers before it.
                let back = (frame.header.group + frame.header.frame) as usize % 24;
                let at = bytes.len() - 1 - back;
                bytes[at] ^= 1 << (back % 8);
            }
            Some(Lie::Anothers) => {
                let mut others = payloads.iter();
                let other = others.find(|(it, _)| it.0 == video && it.1 != track);
                if let Some((_, payload)) = other {
                    bytes.truncate(frame.payload_at);
                    bytes.extend_from_slice(payload);
                }
            }
        }
        (bytes.into(), false)
    }
}

async fn control(here: &Session, there: &Session) {
    if let Ok((answers, asks)) = here.accept_bi().await
        && let Ok((to, from)) = there.open_bi().await
    {
        tokio::join!(copy(asks, to), copy(from, answers));
    }
    here.closed().await;
}

async fn streams(here: &Session, there: &Session) {
    while let Ok(from) = here.accept_uni().await {
        let Ok(to) = there.open_uni().await else {
            break;
        };
        tokio::spawn(copy(from, to));
    }
    here.closed().await;
}

async fn datagrams_up(here: &Session, there: &Session) {
    while let Ok(bytes) = here.recv_datagram().await {
        let _ = there.send_datagram(bytes);
    }
    here.closed().await;
}

async fn copy(mut from: RecvStream, mut to: SendStream) {
    loop {
        match from.read_chunk().await {
            Ok(Some(bytes)) => {
                if to.write(bytes).await.is_err() {
                    return from.stop(0);
                }
            }
            Ok(None) => {
                let _ = to.finish();
                return;
            }
            Err(ReadError::Reset(code)) => return to.reset(code.unwrap_or_default()),
            Err(_) => return,
        }
    }
}
