//! A running handler, a controller's call to it, and participants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use darktower_cluster::grpc;
use darktower_cluster::rpc::media_command::Body;
use darktower_cluster::rpc::media_handler_client::MediaHandlerClient;
use darktower_cluster::rpc::{self, MediaCommand, MediaEvent, media_event};
use darktower_cluster::token::{Jwks, Signer, SigningKey, Verifier};
use darktower_media_handler::{Config, Deps, Direction, Running};
use darktower_net::{
    Certs, Client, CloseReason, Fingerprint, RecvStream, SendStream, ServerTrust, Session,
};
use darktower_net::{Tuning, Url};
use darktower_store::MemoryState;
use darktower_wire::Code;
use darktower_wire::framing;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder, Header, STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{
    ClientControl, Hello, KeyFrameWanted, ServerControl, client_control, server_control,
};
use darktower_wire::token::{Audience, Claims, LIFETIME_S, Role};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) const MEETING: MeetingId = MeetingId([9; 16]);
pub(crate) const ALICE: ParticipantId = ParticipantId([1; 16]);
pub(crate) const BOB: ParticipantId = ParticipantId([2; 16]);
pub(crate) const CAMERA: TrackId = TrackId(10);
pub(crate) const MICROPHONE: TrackId = TrackId(11);
/// Far more than anything here takes; a state not reached by then is never reached.
const LONG: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(LONG, work).await {
        Ok(done) => done,
        Err(_) => panic!("not in time: {what}"),
    }
}

pub(crate) fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs()
}

pub(crate) struct Stage {
    pub(crate) handler: Running,
    pub(crate) signer: Signer,
    pub(crate) client: Client,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) tapped: Arc<Mutex<Vec<(Direction, Bytes)>>>,
    /// Threads of the handler that have taken in each of these bytes.
    pub(crate) ingress: Arc<Mutex<BTreeMap<Bytes, String>>>,
    hashes: Vec<Fingerprint>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}, Tuning::default()).await
    }

    /// A handler with this configuration, and clients with this tuning.
    pub(crate) async fn with(change: impl FnOnce(&mut Config), tuning: Tuning) -> Self {
        let key = SigningKey::generate().expect("randomness");
        let signer = Signer::new(key);
        let keys = Jwks {
            keys: vec![signer.key().jwk().clone()],
        };
        let certs = Certs::development(&[], None, SystemTime::now()).expect("a certificate");
        let hashes = certs.hashes();
        let client = Client::new(ServerTrust::Hashes(hashes.clone()), &tuning).expect("a client");
        let state = Arc::new(MemoryState::default());
        let tapped = Arc::new(Mutex::new(Vec::new()));
        let seen = tapped.clone();
        let ingress = Arc::new(Mutex::new(BTreeMap::new()));
        let by = ingress.clone();
        let deps = Deps {
            state: state.clone(),
            verifier: Arc::new(Verifier::of_keys(&keys)),
            certs,
            node: NodeId([7; 16]),
            trust: Default::default(),
            tap: Some(Arc::new(move |direction, bytes: &Bytes| {
                seen.lock().expect("a tap").push((direction, bytes.clone()));
                if direction == Direction::Ingress {
                    let thread = std::thread::current().name().unwrap_or_default().to_owned();
                    by.lock().expect("a tap").insert(bytes.clone(), thread);
                }
            })),
        };
        let mut config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            ..Config::default()
        };
        change(&mut config);
        let handler = darktower_media_handler::start(config, deps)
            .await
            .expect("a handler");
        Self {
            handler,
            signer,
            client,
            state,
            tapped,
            ingress,
            hashes,
        }
    }

    /// Waits until the handler has taken these bytes in; says on which of its threads.
    pub(crate) async fn taken_in(&self, bytes: &Bytes) -> String {
        let taken = async {
            loop {
                let by = self.ingress.lock().expect("a tap").get(bytes).cloned();
                match by {
                    Some(thread) => return thread,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        within("it is taken in", taken).await
    }

    /// From now on participants come from another port.
    pub(crate) fn move_port(&mut self) {
        let trust = ServerTrust::Hashes(self.hashes.clone());
        self.client = Client::new(trust, &Tuning::default()).expect("a client");
    }

    pub(crate) fn token(&self, who: ParticipantId) -> String {
        let (audience, role) = (Audience::Media, Role::Guest);
        let token = self.signer.issue(audience, who, MEETING, role, now_s());
        token.expect("a token")
    }

    pub(crate) fn claims(who: ParticipantId) -> Claims {
        Claims {
            iss: darktower_wire::token::ISSUER.to_owned(),
            aud: Audience::Media,
            sub: who,
            meeting: MEETING,
            role: Role::Guest,
            jti: "one".to_owned(),
            iat: now_s(),
            nbf: now_s(),
            exp: now_s() + LIFETIME_S,
        }
    }

    pub(crate) async fn connect(&self, query: &str, headers: &[(&str, &str)]) -> Session {
        let url = format!(
            "https://127.0.0.1:{}/v1/media?{query}",
            self.handler.addr.port()
        );
        let url = Url::parse(&url).expect("a URL");
        let session = within("connected", self.client.connect(&url, headers)).await;
        session.expect("a session")
    }

    /// Connects where that must be refused; says with which code.
    pub(crate) async fn refused(&self, query: &str, headers: &[(&str, &str)]) -> Option<Code> {
        let session = self.connect(query, headers).await;
        closed(&session).await
    }

    /// A participant with a token, in order.
    pub(crate) async fn participant(&self, who: ParticipantId) -> Participant {
        let session = self
            .connect(&format!("token={}", self.token(who)), &[])
            .await;
        Participant::greet(session).await
    }

    pub(crate) async fn controller(&self) -> Controller {
        let channel = grpc::connect_lazy(&grpc::url(self.handler.grpc_addr)).expect("a channel");
        let (commands, receiver) = mpsc::channel(64);
        let mut client = MediaHandlerClient::new(channel);
        let events = client.control(ReceiverStream::new(receiver));
        let events = within("a controller's call", events)
            .await
            .expect("a call")
            .into_inner();
        Controller {
            commands,
            events,
            fence: 1,
        }
    }

    /// Alice with camera and microphone, and Bob, all joined and connected.
    pub(crate) async fn meeting(&self) -> (Controller, Participant, Participant) {
        let mut controller = self.controller().await;
        for who in [ALICE, BOB] {
            controller.say(seat(who, true)).await;
        }
        controller.say(track(CAMERA, ALICE, true)).await;
        controller.say(track(MICROPHONE, ALICE, false)).await;
        let alice = self.participant(ALICE).await;
        let bob = self.participant(BOB).await;
        for _ in 0..2 {
            controller.connected().await;
        }
        (controller, alice, bob)
    }
}

pub(crate) async fn closed(session: &Session) -> Option<Code> {
    let reason: CloseReason = within("the session's end", session.closed()).await;
    Code::from_number(reason.code)
}

pub(crate) fn seat(who: ParticipantId, joined: bool) -> Body {
    let ticket_sha256 = Bytes::new();
    Body::Seat(rpc::Seat {
        seat: Bytes::copy_from_slice(&who.0),
        ticket_sha256,
        joined,
    })
}

pub(crate) fn track(id: TrackId, who: ParticipantId, video: bool) -> Body {
    Body::Track(rpc::Track {
        id: id.0,
        seat: Bytes::copy_from_slice(&who.0),
        video,
        screen: false,
        layers: vec![rpc::TrackLayer::default()],
        via: Bytes::new(),
    })
}

pub(crate) struct Controller {
    commands: mpsc::Sender<MediaCommand>,
    events: tonic::Streaming<MediaEvent>,
    pub(crate) fence: u64,
}

impl Controller {
    pub(crate) async fn say(&mut self, body: Body) {
        let command = MediaCommand {
            meeting_id: Bytes::copy_from_slice(&MEETING.0),
            fence: self.fence,
            traceparent: String::new(),
            body: Some(body),
        };
        self.commands
            .send(command)
            .await
            .expect("a handler that listens");
    }

    pub(crate) async fn event(&mut self) -> media_event::Body {
        let event = within("an event", self.events.message())
            .await
            .expect("a call");
        event.and_then(|event| event.body).expect("an event")
    }

    pub(crate) async fn connected(&mut self) -> Bytes {
        match self.event().await {
            media_event::Body::SeatConnected(connected) => connected.seat,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct Participant {
    pub(crate) session: Session,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    decoder: framing::Decoder,
}

impl Participant {
    pub(crate) async fn greet(session: Session) -> Self {
        let opened = within("the control stream", session.open_bi()).await;
        let (send, recv) = opened.expect("a stream");
        let decoder = framing::Decoder::new(framing::MAX_MEDIA_CONTROL);
        let mut it = Self {
            session,
            send,
            recv,
            decoder,
        };
        it.say(client_control::Body::Hello(Hello {})).await;
        let welcome = it.hear().await;
        assert!(
            matches!(welcome, server_control::Body::Welcome(_)),
            "{welcome:?}"
        );
        it
    }

    pub(crate) async fn say(&mut self, body: client_control::Body) {
        let message = framing::encode(&ClientControl { body: Some(body) });
        self.send.write(message).await.expect("a control stream");
    }

    pub(crate) async fn want(&mut self, track: TrackId) {
        let (track, layer) = (track.0, 0);
        self.say(client_control::Body::KeyFrameWanted(KeyFrameWanted {
            track,
            layer,
        }))
        .await;
    }

    pub(crate) async fn hear(&mut self) -> server_control::Body {
        loop {
            let message = self
                .decoder
                .next_message::<ServerControl>()
                .expect("a message");
            if let Some(body) = message.and_then(|message| message.body) {
                return body;
            }
            let chunk = within("a control message", self.recv.read_chunk()).await;
            self.decoder
                .push(&chunk.expect("a control stream").expect("more of it"));
        }
    }

    pub(crate) async fn hears_key_frame_wanted(&mut self) -> u32 {
        match self.hear().await {
            server_control::Body::KeyFrameWanted(wanted) => wanted.track,
            other => panic!("{other:?}"),
        }
    }

    /// Opens a group and writes its first frames.
    pub(crate) async fn group(
        &self,
        track: TrackId,
        group: u64,
        frames: u64,
        size: usize,
    ) -> SendStream {
        let opened = within("a stream", self.session.open_uni()).await;
        let mut stream = opened.expect("a stream");
        for number in 0..frames {
            stream
                .write(entry(track, group, number, size))
                .await
                .expect("a stream that is read");
        }
        stream
    }

    /// The next group that comes, with so many frames of it.
    pub(crate) async fn receive(&self, frames: usize) -> (RecvStream, Vec<Frame>) {
        receive(&self.session, frames).await
    }
}

/// The next group that comes, with so many frames of it.
pub(crate) async fn receive(session: &Session, frames: usize) -> (RecvStream, Vec<Frame>) {
    let opened = within("a group", session.accept_uni()).await;
    let mut stream = opened.expect("a stream");
    let mut decoder = GroupDecoder::default();
    let mut got = Vec::new();
    while got.len() < frames {
        while let Some(frame) = decoder.next_frame().expect("a well-formed group") {
            got.push(frame);
        }
        if got.len() < frames {
            let chunk = within("a frame", stream.read_chunk()).await;
            decoder.push(&chunk.expect("a group").expect("more of it"));
        }
    }
    (stream, got)
}

pub(crate) fn frame(track: TrackId, group: u64, number: u64, size: usize) -> Bytes {
    let key = number == 0 || track == MICROPHONE;
    let header = Header {
        track,
        group,
        frame: number,
        key,
        ..Header::default()
    };
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    bytes.resize(bytes.len() + size, number as u8);
    bytes.freeze()
}

pub(crate) fn entry(track: TrackId, group: u64, number: u64, size: usize) -> Bytes {
    let frame = frame(track, group, number, size);
    let mut bytes = BytesMut::new();
    if number == 0 {
        bytes.extend_from_slice(&[STREAM_GROUP]);
    }
    put_entry_length(&mut bytes, frame.len());
    bytes.extend_from_slice(&frame);
    bytes.freeze()
}
