//! Whether media comes through the handlers, and how much of it: on each, a meeting of two that nobody sees, of whom one
//! sends the other datagrams, and a stream every second. When, and what comes of it, is `darktower_placement::Plane`'s to say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use darktower_cluster::random_bytes;
use darktower_cluster::trace::TraceContext;
use darktower_meeting::meeting::MediaOrder;
use darktower_net::{Client, Fingerprint, Ports, RecvStream, ServerTrust, Session, Tuning, Url};
use darktower_placement::{Health, Plane, Probe, Way};
use darktower_store::{Node, Service};
use darktower_wire::datagram::Datagram;
use darktower_wire::framing;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParticipantId, TrackId};
use darktower_wire::media::{GroupDecoder, Header, STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{ClientControl, Hello, client_control};
use darktower_wire::signal::Layer;
use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::elsewhere::reachable;
use crate::handlers::Link;
use crate::shard::Event;
use crate::{Shared, measure};

/// The meeting is this controller's alone and nobody takes it over.
const FENCE: Fence = Fence(1);
const SENDER: ParticipantId = ParticipantId([1; 16]);
const RECEIVER: ParticipantId = ParticipantId([2; 16]);
const SOUND: TrackId = TrackId(1);
const PICTURE: TrackId = TrackId(2);
/// What stands in place of a sealed frame.
const PAYLOAD: [u8; 32] = *b"a probe: nobody sealed this text";
/// Until both sessions are open; a later probe tries again.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// What is sent before is heard, and how it comes late.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// A stream that does not open by then does not count as sent.
const SEND_WITHIN: Duration = Duration::from_millis(200);

/// Probes every media handler that is there and stays.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut nodes, ports) = (shared.nodes.clone(), Ports::default());
    let (mut probed, mut probes) = (BTreeSet::new(), JoinSet::new());
    loop {
        let seen = nodes.borrow_and_update().clone();
        for node in seen.iter().filter(|node| is_probed(node)) {
            if probed.insert(node.id) {
                probes.spawn(probe(shared.clone(), node.clone(), ports.clone()));
            }
        }
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            changed = nodes.changed() => if changed.is_err() {
                return;
            },
            Some(ended) = probes.join_next() => match ended {
                Ok(node) => {
                    probed.remove(&node);
                }
                Err(error) => tracing::error!(%error, "a probe failed"),
            },
        }
    }
}

fn is_probed(node: &Node) -> bool {
    node.service == Service::Media && !node.draining
}

/// Probes one handler until it goes away.
async fn probe(shared: Arc<Shared>, node: Node, ports: Ports) -> NodeId {
    let id = node.id;
    let (Ok(meeting), Ok(tickets)) = (random_bytes(), tickets()) else {
        tracing::error!("no randomness: a media handler is not probed");
        return id;
    };
    let meeting = MeetingId(meeting);
    let (events, inbox) = mpsc::channel(8);
    let link = shared.handlers.link(&shared, &node);
    link.enter(meeting, events);
    let prober = Prober {
        shared,
        id,
        meeting,
        tickets,
        link,
        ports,
    };
    prober.run(inbox).await;
    prober.link.leave(meeting);
    id
}

fn tickets() -> Result<[[u8; 32]; 2], darktower_cluster::NoRandomness> {
    Ok([random_bytes()?, random_bytes()?])
}

struct Prober {
    shared: Arc<Shared>,
    id: NodeId,
    meeting: MeetingId,
    tickets: [[u8; 32]; 2],
    link: Link,
    /// Kept for good: a handler that comes and goes would leave its buffers in the heap.
    ports: Ports,
}

impl Prober {
    async fn run(&self, mut inbox: mpsc::Receiver<Event>) {
        let mut nodes = self.shared.nodes.clone();
        let (back, mut heard) = mpsc::channel(64);
        let (mut plane, mut told) = (Plane::default(), Health::Sound);
        let (mut pair, mut opening) = (None::<Pair>, JoinSet::new());
        loop {
            let until = plane.deadline().map(|at| self.shared.origin + at);
            let late = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let is_here = |nodes: &[Node]| {
                let mut nodes = nodes.iter();
                nodes.any(|node| node.id == self.id && is_probed(node))
            };
            tokio::select! {
                // What has come back counts before the time that it took.
                biased;
                () = self.shared.stopping.cancelled() => return,
                Some((way, number)) = heard.recv() => {
                    plane.heard(self.shared.now(), way, number);
                    self.link.forwarded();
                }
                changed = nodes.changed() => {
                    let seen = nodes.borrow_and_update().clone();
                    if changed.is_err() || !is_here(&seen) {
                        if let Some(pair) = &pair {
                            pair.close();
                        }
                        return;
                    }
                }
                event = inbox.recv() => match event {
                    Some(Event::Sync { .. }) => {
                        let (fence, trace) = (FENCE, TraceContext::root());
                        self.link.sync(self.meeting, fence, trace, self.orders()).await;
                    }
                    Some(_) => {}
                    None => return,
                },
                Some(opened) = opening.join_next() => {
                    pair = opened.ok().flatten();
                    plane.opened(self.shared.now());
                }
                () = sleep_until(self.shared.origin + plane.due()) => {
                    let probe = plane.probe(self.shared.now());
                    if let Some(it) = &pair && !it.send(probe).await {
                        pair = None;
                    }
                    if pair.is_none() && probe.stream && opening.is_empty() {
                        let ports = self.ports.clone();
                        opening.spawn(Pair::open(ports, self.doors(), back.clone()));
                    }
                }
                () = late => plane.review(self.shared.now()),
            }
            let health = plane.health();
            if health != told {
                if health == Health::Silent {
                    // Its sessions may be what does not work.
                    pair = None;
                }
                self.tell(told, health);
                told = health;
            }
        }
    }

    fn tell(&self, before: Health, now: Health) {
        let handler = self.id;
        match now {
            Health::Sound => tracing::info!(%handler, "media comes through a media handler again"),
            Health::Lossy => {
                tracing::warn!(%handler, "much is lost on the way through a media handler")
            }
            _ => {
                tracing::warn!(%handler, "no media comes through a media handler")
            }
        }
        measure::media(before, now);
        self.link.set_media(now);
        if now < before {
            self.shared.handlers.look_again();
        }
    }

    fn orders(&self) -> Vec<MediaOrder> {
        let seat = |seat, ticket: &[u8; 32]| MediaOrder::Seat {
            seat,
            ticket_sha256: Bytes::copy_from_slice(digest(&SHA256, ticket).as_ref()),
            joined: true,
        };
        let track = |track, video| MediaOrder::Track {
            track,
            seat: SENDER,
            video,
            screen: false,
            layers: vec![Layer {
                id: 0,
                width_px: 16,
                height_px: 16,
                max_bitrate_bps: 10_000,
                temporal_layers: 1,
            }],
            via: None,
        };
        let [sender, receiver] = &self.tickets;
        vec![
            seat(SENDER, sender),
            seat(RECEIVER, receiver),
            track(SOUND, false),
            track(PICTURE, true),
        ]
    }

    /// Where and how both sessions are opened, by what the node says of itself now.
    fn doors(&self) -> Option<(ServerTrust, [Url; 2])> {
        let nodes = self.shared.nodes.borrow().clone();
        let node = nodes.iter().find(|node| node.id == self.id)?;
        let host = Url::parse(&node.grpc_url).ok()?;
        let url = reachable(&node.public_url, host.host_str()?);
        let door = |ticket: &[u8; 32]| {
            let ticket = URL_SAFE_NO_PAD.encode(ticket);
            Url::parse(&format!("{url}?ticket={ticket}&probe=1")).ok()
        };
        let trust = match &node.certificate_sha256[..] {
            [] => ServerTrust::System,
            hashes => ServerTrust::Hashes(hashes.iter().copied().map(Fingerprint).collect()),
        };
        let [sender, receiver] = &self.tickets;
        Some((trust, [door(sender)?, door(receiver)?]))
    }
}

/// The two sessions; who listens to them stops when this goes.
struct Pair {
    sender: Session,
    receiver: Session,
    _listening: JoinSet<()>,
}

type Heard = mpsc::Sender<(Way, u64)>;

impl Pair {
    async fn open(
        ports: Ports,
        doors: Option<(ServerTrust, [Url; 2])>,
        heard: Heard,
    ) -> Option<Self> {
        let (trust, [sender, receiver]) = doors?;
        let opening = async {
            let client = Client::with_ports(ports, trust, &Tuning::default()).ok()?;
            let connect = async |url: &Url| client.connect(url, &[]).await;
            let (sender, receiver) = tokio::join!(connect(&sender), connect(&receiver));
            let (sender, receiver) = (sender.ok()?, receiver.ok()?);
            let mut listening = JoinSet::new();
            for session in [&sender, &receiver] {
                greet(session, &mut listening).await?;
            }
            listening.spawn(hear_datagrams(receiver.clone(), heard.clone()));
            listening.spawn(hear_streams(receiver.clone(), heard));
            Some(Self {
                sender,
                receiver,
                _listening: listening,
            })
        };
        timeout(OPEN_WITHIN, opening).await.ok().flatten()
    }

    /// Sends the probe by its ways; false where that cannot be.
    async fn send(&self, probe: Probe) -> bool {
        let sound = frame(SOUND, 0, probe.number);
        if self.sender.send_datagram(sound).is_err() {
            return false;
        }
        if !probe.stream {
            return true;
        }
        let picture = frame(PICTURE, probe.number, 0);
        let mut group = BytesMut::new();
        group.extend_from_slice(&[STREAM_GROUP]);
        put_entry_length(&mut group, picture.len());
        group.extend_from_slice(&picture);
        let sent = async {
            let mut stream = self.sender.open_uni().await.ok()?;
            stream.write(group.freeze()).await.ok()?;
            stream.finish().ok()
        };
        matches!(timeout(SEND_WITHIN, sent).await, Ok(Some(())))
    }

    fn close(&self) {
        self.sender.close(0, "");
        self.receiver.close(0, "");
    }
}

fn frame(track: TrackId, group: u64, frame: u64) -> Bytes {
    let header = Header {
        track,
        group,
        frame,
        key: true,
        ..Header::default()
    };
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(&PAYLOAD);
    bytes.freeze()
}

/// Opens the control stream, and reads what comes on it: who does not read is closed.
async fn greet(session: &Session, listening: &mut JoinSet<()>) -> Option<()> {
    let (mut send, mut recv) = session.open_bi().await.ok()?;
    let body = Some(client_control::Body::Hello(Hello::default()));
    send.write(framing::encode(&ClientControl { body }))
        .await
        .ok()?;
    listening.spawn(async move {
        while let Ok(Some(_)) = recv.read_chunk().await {}
        drop(send);
    });
    Some(())
}

async fn hear_datagrams(session: Session, heard: Heard) {
    while let Ok(bytes) = session.recv_datagram().await {
        let Ok(datagram) = Datagram::parse(bytes) else {
            continue;
        };
        // The newest says which datagram came; others repeat what was lost, as sound does.
        let Some(frame) = datagram.into_frames().next() else {
            continue;
        };
        let number = frame.header.frame;
        if heard.send((Way::Datagram, number)).await.is_err() {
            return;
        }
    }
}

async fn hear_streams(session: Session, heard: Heard) {
    while let Ok(stream) = session.accept_uni().await {
        let Some(group) = group_of(stream).await else {
            continue;
        };
        if heard.send((Way::Stream, group)).await.is_err() {
            return;
        }
    }
}

/// The group that the first frame of a stream is of; it is small and comes at once.
async fn group_of(mut stream: RecvStream) -> Option<u64> {
    let mut decoder = GroupDecoder::default();
    loop {
        if let Some(frame) = decoder.next_frame().ok()? {
            return Some(frame.header.group);
        }
        let chunk = timeout(READ_WITHIN, stream.read_chunk()).await.ok()?;
        decoder.push(&chunk.ok()??);
    }
}
