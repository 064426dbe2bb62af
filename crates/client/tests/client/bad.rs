//! Bad company: whatever it does to both services, two participants go on seeing and hearing each other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darktower_client::{Access, Client, Event, Events, ParticipantId};
use darktower_net::{Certs, CloseReason, SendStream, ServerTrust, Session, Tuning, Url};
use darktower_wire::Code;
use darktower_wire::framing::{self, Decoder, MAX_SIGNAL};
use darktower_wire::media::STREAM_GROUP;
use darktower_wire::media_control::{ClientControl, Hello, client_control};
use darktower_wire::signal::{self, ClientMessage, ServerMessage, client_message, server_message};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::timeout;

use crate::hear::perform;
use crate::house::{House, PATIENCE, reach};

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not in time: {what}"),
    }
}

async fn closed(session: &Session) -> Option<Code> {
    let reason: CloseReason = soon("the session's end", session.closed()).await;
    Code::from_number(reason.code)
}

/// One that has a right to be there and no manners.
struct Mallory {
    net: darktower_net::Client,
    access: Access,
}

impl Mallory {
    async fn new(house: &House, code: &str) -> Self {
        let access = house.api.lookup(code, None).await.unwrap();
        let trust = ServerTrust::Hashes(house.certs.hashes());
        let net = darktower_net::Client::new(trust, &Tuning::default()).unwrap();
        Self { net, access }
    }

    async fn connect(&self, media: bool) -> Session {
        let door = match media {
            true => &self.access.media,
            false => &self.access.signal,
        };
        let url = Url::parse(&format!("{}?token={}", door.url, door.token)).unwrap();
        soon("a session", self.net.connect(&url, &[]))
            .await
            .unwrap()
    }

    /// Joined, without keys, and with a seat at the handler.
    async fn join(&self) -> (Session, SendStream, Session, SendStream) {
        let signal = self.connect(false).await;
        let (mut asks, mut answers) = signal.open_bi().await.unwrap();
        let join = signal::Join {
            name: "Mallory".to_owned(),
            ..Default::default()
        };
        let join = ClientMessage {
            request: 1,
            body: Some(client_message::Body::Join(join)),
            ..Default::default()
        };
        asks.write(framing::encode(&join)).await.unwrap();
        let mut decoder = Decoder::new(MAX_SIGNAL);
        let joined = async {
            loop {
                while let Some(message) = decoder.next_message::<ServerMessage>().unwrap() {
                    if let Some(server_message::Body::Joined(_)) = message.body {
                        return;
                    }
                }
                decoder.push(&answers.read_chunk().await.unwrap().unwrap());
            }
        };
        soon("Mallory's joining", joined).await;
        let media = self.connect(true).await;
        let (mut control, mut heard) = media.open_bi().await.unwrap();
        let body = Some(client_control::Body::Hello(Hello {}));
        control
            .write(framing::encode(&ClientControl { body }))
            .await
            .unwrap();
        soon("the welcome", heard.read_chunk()).await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = heard.read_chunk().await {} });
        (signal, asks, media, control)
    }
}

/// Two who see and hear each other.
struct Company {
    ada: Client,
    bob: Client,
    to_bob: Events,
    ada_id: ParticipantId,
}

impl Company {
    async fn new(house: &House, invitation: &darktower_client::Invitation) -> Self {
        let clips = [house.camera(), house.microphone()];
        let (ada, _) = house.enter(invitation).await;
        perform(&ada, "Ada", &clips).await;
        let (bob, to_bob) = house.enter(invitation).await;
        bob.join("Bob", Vec::new()).await.unwrap();
        let state = reach(&ada, "Ada's keys", |it| it.e2ee.ready).await;
        let ada_id = state.me.unwrap().id.parse().unwrap();
        let mut it = Self {
            ada,
            bob,
            to_bob,
            ada_id,
        };
        it.goes_on("at first").await;
        it
    }

    /// Ada's sound and pictures come while Bob's links stay as they are.
    async fn goes_on(&mut self, what: &str) {
        let since = self.bob.now();
        let (mut pictures, mut packets) = (0, 0);
        while pictures < 10 || packets < 10 {
            match soon(what, self.to_bob.next()).await.unwrap() {
                Event::Frame(frame) if frame.at >= since => {
                    assert_eq!(frame.owner, Some(self.ada_id), "{what}");
                    *(if frame.video {
                        &mut pictures
                    } else {
                        &mut packets
                    }) += 1;
                }
                Event::Down { link, .. } => panic!("{what}: {link:?} is down"),
                _ => {}
            }
        }
        let it = self.bob.refresh().await.unwrap().counters;
        let refused = it.refused_bad_tag + it.refused_replay + it.refused_sender;
        assert_eq!(refused + it.refused_header, 0, "{what}: {it:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_company_harms_nobody() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let mut company = Company::new(&house, &invitation).await;

    // Garbage, and a message longer than any may be.
    for (bytes, code) in [
        (&[3, 0xff, 0xff, 0xff][..], Code::Malformed),
        (&[0xbf, 0xff, 0xff, 0xff], Code::TooLarge),
    ] {
        let mallory = Mallory::new(&house, &invitation.code).await;
        let (signal, mut asks, media, mut control) = mallory.join().await;
        asks.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        assert_eq!(closed(&signal).await, Some(code));
        control.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        assert_eq!(closed(&media).await, Some(code));
        company.goes_on("garbage").await;
    }

    // Frames that lie about their length, headers that lie about theirs, until the handler has enough.
    let mallory = Mallory::new(&house, &invitation.code).await;
    let (_signal, _asks, media, _control) = mallory.join().await;
    let lies: [&[u8]; 3] = [
        &[STREAM_GROUP, 0xbf, 0xff, 0xff, 0xff],
        &[STREAM_GROUP, 2, 0x20, 10],
        &[0x77, 1, 2, 3],
    ];
    let lying = async {
        for lie in lies.iter().cycle() {
            let Ok(mut stream) = media.open_uni().await else {
                return;
            };
            // Stopped, or over: what the loop is for.
            let _ = stream.write(Bytes::copy_from_slice(lie)).await;
            let _ = media.send_datagram(Bytes::copy_from_slice(&lie[1..]));
        }
    };
    soon("the end of the liar", lying).await;
    assert_eq!(closed(&media).await, Some(Code::BadFrameHeader));
    company.goes_on("lies").await;

    // As many streams as it gets, all held open, at both services.
    let mallory = Mallory::new(&house, &invitation.code).await;
    let (signal, _asks, media, _control) = mallory.join().await;
    for (session, limit) in [(signal, 8), (media, 256 + 3)] {
        let mut kept = Vec::new();
        let flood = async {
            while kept.len() < 10_000 {
                let Ok(mut stream) = session.open_uni().await else {
                    return;
                };
                let _ = stream.write(Bytes::from_static(&[STREAM_GROUP])).await;
                kept.push(stream);
            }
        };
        // From its limit on it waits for room.
        let _ = timeout(Duration::from_secs(2), flood).await;
        company.goes_on("10,000 streams").await;
        assert!(kept.len() <= limit, "{} streams were let in", kept.len());
    }
    company.bob.leave().await;
    company.ada.leave().await;
}

/// A QUIC endpoint that says nothing by itself.
fn silent(certs: &Certs) -> quinn::Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    let pem = certs.shown_pem();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(std::sync::Arc::new(tls)));
    endpoint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_authenticates_is_closed_within_two_seconds() {
    let house = House::start().await;
    let invitation = house.meeting().await;
    let mut company = Company::new(&house, &invitation).await;
    let endpoint = silent(&house.certs);
    let waits = [house.signal(), house.media.addr].map(|addr| {
        let endpoint = endpoint.clone();
        async move {
            let begun = Instant::now();
            let connecting = endpoint.connect(addr, "localhost").unwrap();
            let connection = soon("the handshake", connecting).await.unwrap();
            let open = Instant::now();
            let end = soon("the end", connection.closed()).await;
            let closed = matches!(end, quinn::ConnectionError::ApplicationClosed(_));
            assert!(closed, "{addr}: {end}");
            (begun.elapsed(), open.elapsed())
        }
    });
    let [meeting, media] = waits;
    let (meeting, media) = tokio::join!(meeting, media);
    for (since_begun, since_open) in [meeting, media] {
        assert!(
            since_begun >= Duration::from_millis(1900),
            "{since_begun:?}"
        );
        // Two seconds, and what a busy machine adds to them.
        assert!(since_open < Duration::from_millis(2500), "{since_open:?}");
    }
    company.goes_on("silence").await;
    company.bob.leave().await;
    company.ada.leave().await;
}
