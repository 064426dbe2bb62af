//! A running controller, a global controller's calls to it, and participants.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_cluster::grpc;
use darktower_cluster::rpc::meeting_controller_client::MeetingControllerClient;
use darktower_cluster::rpc::{DescribeRequest, Description, EndRequest, MeetingRecord};
use darktower_cluster::token::{Jwks, Signer, SigningKey, Verifier};
use darktower_meeting_controller::{Config, Deps, Running};
use darktower_net::{Certs, Client, RecvStream, SendStream, ServerTrust, Session, Tuning, Url};
use darktower_store::MemoryState;
use darktower_wire::Code;
use darktower_wire::framing::{self, MAX_SIGNAL};
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use darktower_wire::signal::{
    self, ClientMessage, ServerMessage, client_message, server_message::Body,
};
use darktower_wire::token::{Audience, Claims, LIFETIME_S, Role};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Status;

pub(crate) const MEETING: MeetingId = MeetingId([9; 16]);
pub(crate) const ALICE: ParticipantId = ParticipantId([1; 16]);
pub(crate) const BOB: ParticipantId = ParticipantId([2; 16]);
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
    pub(crate) controller: Running,
    pub(crate) signer: Signer,
    pub(crate) client: Client,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) certs: Certs,
    pub(crate) config: Config,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let signer = Signer::new(SigningKey::generate().expect("randomness"));
        let certs = Certs::development(&[], None, SystemTime::now()).expect("a certificate");
        let client = Client::new(ServerTrust::Hashes(certs.hashes()), &Tuning::default());
        let client = client.expect("a client");
        let state = Arc::new(MemoryState::default());
        let mut config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            ..Config::default()
        };
        change(&mut config);
        let node = NodeId([7; 16]);
        let controller = start(&config, &state, &signer, &certs, node).await;
        Self {
            controller,
            signer,
            client,
            state,
            certs,
            config,
        }
    }

    /// Another controller on the same state, as after a crash or beside this one.
    pub(crate) async fn second(&self) -> Running {
        let node = NodeId([8; 16]);
        start(&self.config, &self.state, &self.signer, &self.certs, node).await
    }

    pub(crate) fn verifier(signer: &Signer) -> Arc<Verifier> {
        let keys = Jwks {
            keys: vec![signer.key().jwk().clone()],
        };
        Arc::new(Verifier::of_keys(&keys))
    }

    pub(crate) async fn describe(&self) -> Result<Description, Status> {
        describe(&self.controller).await
    }

    pub(crate) async fn end(&self) -> Result<(), Status> {
        let channel = grpc::connect_lazy(&grpc::url(self.controller.grpc_addr)).expect("a URL");
        let mut client = MeetingControllerClient::new(channel);
        let meeting_id = MEETING.to_vec().into();
        let ended = within("the end", client.end(EndRequest { meeting_id })).await;
        ended.map(|_| ())
    }

    pub(crate) fn token(&self, who: ParticipantId, role: Role) -> String {
        let token = self
            .signer
            .issue(Audience::Meeting, who, MEETING, role, now_s());
        token.expect("a token")
    }

    pub(crate) fn claims(who: ParticipantId) -> Claims {
        Claims {
            iss: darktower_wire::token::ISSUER.to_owned(),
            aud: Audience::Meeting,
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
        self.connect_to(&self.controller, query, headers).await
    }

    pub(crate) async fn connect_to(
        &self,
        controller: &Running,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Session {
        let port = controller.addr.port();
        let url = format!("https://127.0.0.1:{port}/v1/signal?{query}");
        let url = Url::parse(&url).expect("a URL");
        let session = within("connected", self.client.connect(&url, headers)).await;
        session.expect("a session")
    }

    /// Connects where that must be refused; says with which code.
    pub(crate) async fn refused(&self, query: &str, headers: &[(&str, &str)]) -> Option<Code> {
        let session = self.connect(query, headers).await;
        closed(&session).await
    }

    /// A session with a token that has said nothing.
    pub(crate) async fn guest(&self, who: ParticipantId) -> Talk {
        let query = format!("token={}", self.token(who, Role::Guest));
        Talk::open(self.connect(&query, &[]).await).await
    }

    /// Somebody in the meeting.
    pub(crate) async fn joined(&self, who: ParticipantId, role: Role) -> (Talk, signal::Joined) {
        let query = format!("token={}", self.token(who, role));
        let mut talk = Talk::open(self.connect(&query, &[]).await).await;
        let joined = talk.join("Somebody", &[]).await;
        (talk, joined)
    }
}

async fn start(
    config: &Config,
    state: &Arc<MemoryState>,
    signer: &Signer,
    certs: &Certs,
    node: NodeId,
) -> Running {
    let deps = Deps {
        state: state.clone(),
        verifier: Stage::verifier(signer),
        certs: certs.clone(),
        node,
        trust: Default::default(),
    };
    let started = darktower_meeting_controller::start(config.clone(), deps).await;
    started.expect("a controller")
}

pub(crate) async fn describe(controller: &Running) -> Result<Description, Status> {
    let channel = grpc::connect_lazy(&grpc::url(controller.grpc_addr)).expect("a URL");
    let mut client = MeetingControllerClient::new(channel);
    let request = DescribeRequest {
        meeting: Some(MeetingRecord {
            id: MEETING.to_vec().into(),
            code: "abc-defg-hij".to_owned(),
            title: "Tuesday".to_owned(),
            max_participants: 3,
            key_in_link: false,
        }),
        participant_id: Default::default(),
    };
    let described = within("a description", client.describe(request)).await;
    described.map(tonic::Response::into_inner)
}

pub(crate) async fn closed(session: &Session) -> Option<Code> {
    Code::from_number(within("closed", session.closed()).await.code)
}

pub(crate) fn publish(handle: u32) -> signal::Publish {
    let description = signal::TrackDescription {
        kind: signal::Kind::Audio.into(),
        source: signal::Source::Microphone.into(),
        codec: "opus".to_owned(),
        ..Default::default()
    };
    signal::Publish {
        description: description.encode_to_vec().into(),
        muted: false,
        handle,
    }
}

pub(crate) fn resume_query(joined: &signal::Joined) -> String {
    format!("resume={}", URL_SAFE_NO_PAD.encode(&joined.resume_token))
}

/// A conversation.
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) send: SendStream,
    recv: RecvStream,
    decoder: framing::Decoder,
    request: u64,
}

impl Talk {
    pub(crate) async fn open(session: Session) -> Self {
        let (send, recv) = within("a stream", session.open_bi())
            .await
            .expect("a stream");
        Self {
            session,
            send,
            recv,
            decoder: framing::Decoder::new(MAX_SIGNAL),
            request: 0,
        }
    }

    pub(crate) async fn say(&mut self, body: client_message::Body) -> u64 {
        self.request += 1;
        let message = ClientMessage {
            request: self.request,
            body: Some(body),
            ..Default::default()
        };
        self.raw(framing::encode(&message)).await;
        self.request
    }

    pub(crate) async fn raw(&mut self, bytes: Bytes) {
        self.send.write(bytes).await.expect("a stream");
    }

    pub(crate) async fn hear(&mut self) -> ServerMessage {
        within("a message", async {
            loop {
                match self.decoder.next_message().expect("a message") {
                    Some(message) => return message,
                    None => {
                        let chunk = self.recv.read_chunk().await.expect("a stream");
                        self.decoder.push(&chunk.expect("more of the stream"));
                    }
                }
            }
        })
        .await
    }

    /// Says something and waits for the answer to it, past everything else.
    pub(crate) async fn ask(&mut self, body: client_message::Body) -> Body {
        let request = self.say(body).await;
        loop {
            let message = self.hear().await;
            if message.reply_to == request {
                return message.body.expect("a body");
            }
        }
    }

    /// Says something that is refused; with which code.
    pub(crate) async fn refused(&mut self, body: client_message::Body) -> Code {
        match self.ask(body).await {
            Body::Refused(refused) => Code::from_number(refused.code).expect("a known code"),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn join(&mut self, name: &str, publish: &[signal::Publish]) -> signal::Joined {
        let join = signal::Join {
            name: name.to_owned(),
            publish: publish.to_vec(),
            key: None,
            decodes: Vec::new(),
        };
        match self.ask(client_message::Body::Join(join)).await {
            Body::Joined(joined) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    /// The next message that `wanted` picks.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(Body) -> Option<T>) -> T {
        loop {
            let message = self.hear().await;
            if let Some(found) = message.body.and_then(&wanted) {
                return found;
            }
        }
    }
}
