//! One of a participant's two connections, and the tasks that wait on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darktower_net::{Client, ClosedBy, Fingerprint, RecvStream, ServerTrust, Session, Tuning, Url};
use darktower_participant::Link;
use darktower_wire::Code;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::stream::{self, Opening, Stopper, Writer};
use crate::via::Via;

/// Unacknowledged bytes a connection keeps. Small, so that what cannot leave is seen as backlog here and given up with
/// its group, and large enough for 10 Mbit/s at a round trip of 400 ms.
const SEND_WINDOW: u64 = 512 << 10;
/// How long a link that is being closed may still deliver what was said on it.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the peer may take to be told of the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes one stream may hold back: past that the connection is as good as lost.
const MAX_WAITING: usize = 8 << 20;

/// What the tasks of a link tell its owner.
#[derive(Debug)]
pub(crate) enum News {
    Up(Session),
    Down(Code),
    /// The peer opened a stream.
    Opened(RecvStream),
    Data {
        stream: u64,
        bytes: Bytes,
        fin: bool,
    },
    Reset {
        stream: u64,
    },
    Datagram(Bytes),
    /// A writer is through: finished, given up, or refused by the peer.
    Written {
        stream: u64,
        refused: bool,
    },
}

/// Says which connection the news are of.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    link: Link,
    generation: u64,
    inbox: mpsc::Sender<(Link, u64, News)>,
}

impl Reporter {
    /// Waits for room; `false` when nobody listens any more.
    pub(crate) async fn tell(&self, news: News) -> bool {
        let told = (self.link, self.generation, news);
        self.inbox.send(told).await.is_ok()
    }
}

/// Another connection beside one that is silent.
#[derive(Debug)]
struct Beside {
    generation: u64,
    opening: AbortHandle,
    /// Once it stands.
    session: Option<Session>,
}

/// The link as its owner holds it. All calls return at once.
pub(crate) struct LinkEnd {
    reporter: Reporter,
    endpoint: Option<(Vec<[u8; 32]>, Arc<Client>)>,
    session: Option<Session>,
    beside: Option<Beside>,
    /// Generations that were given so far.
    generations: u64,
    /// Connecting, accepting, waiting for the end.
    tasks: Vec<AbortHandle>,
    writers: BTreeMap<u64, Writer>,
    readers: BTreeMap<u64, Stopper>,
    /// Streams that the peer opened on this connection, ever.
    accepted: u64,
    farewells: JoinSet<()>,
    via: Via,
}

impl LinkEnd {
    pub(crate) fn new(link: Link, via: Via, inbox: mpsc::Sender<(Link, u64, News)>) -> Self {
        Self {
            reporter: Reporter {
                link,
                generation: 0,
                inbox,
            },
            endpoint: None,
            session: None,
            beside: None,
            generations: 0,
            tasks: Vec::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            accepted: 0,
            farewells: JoinSet::new(),
            via,
        }
    }

    /// Whether news of this generation are of a connection that counts.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.reporter.generation == generation || self.is_beside(generation)
    }

    /// Opens a connection, after giving up the one that stands or, `beside` it, before.
    pub(crate) fn connect(&mut self, beside: bool, url: String, certificate_sha256: Vec<[u8; 32]>) {
        if beside && self.session.is_some() {
            return self.connect_beside(url, certificate_sha256);
        }
        self.close(Code::ConnectionLost);
        let endpoint = self.endpoint(certificate_sha256);
        let (to, via) = (self.reporter.clone(), self.via.clone());
        let task = tokio::spawn(open(endpoint, url, via, to));
        self.tasks.push(task.abort_handle());
    }

    fn connect_beside(&mut self, url: String, certificate_sha256: Vec<[u8; 32]>) {
        self.keep_this();
        let endpoint = self.endpoint(certificate_sha256);
        let generation = self.next_generation();
        let (mut to, via) = (self.reporter.clone(), self.via.clone());
        to.generation = generation;
        let task = tokio::spawn(open(endpoint, url, via, to));
        self.beside = Some(Beside {
            generation,
            opening: task.abort_handle(),
            session: None,
        });
    }

    /// Whether this is of the connection that is opened beside another.
    pub(crate) fn is_beside(&self, generation: u64) -> bool {
        let beside = self.beside.as_ref();
        beside.is_some_and(|beside| beside.generation == generation)
    }

    /// What became of the one beside: whether it stands.
    pub(crate) fn stands_by(&mut self, news: News) -> bool {
        let News::Up(session) = news else {
            self.beside = None;
            return false;
        };
        if let Some(beside) = &mut self.beside {
            beside.session = Some(session);
        }
        true
    }

    /// Gives up another one beside this.
    pub(crate) fn keep_this(&mut self) {
        if let Some(beside) = self.beside.take() {
            beside.opening.abort();
            if let Some(session) = beside.session {
                session.close(Code::Left.number(), Code::Left.name());
            }
        }
    }

    /// Gives this up for the one beside it: what there is to tell of that one already.
    pub(crate) fn replace(&mut self) -> Option<News> {
        let beside = self.beside.take();
        self.close(Code::ConnectionLost);
        let Some(beside) = beside else {
            return Some(News::Down(Code::ConnectFailed));
        };
        self.reporter.generation = beside.generation;
        self.tasks.push(beside.opening);
        beside.session.map(News::Up)
    }

    /// The session stands: listens on it; the largest datagram it takes.
    pub(crate) fn up(&mut self, session: Session) -> usize {
        let (to, it) = (self.reporter.clone(), session.clone());
        self.keep(async move {
            let reason = it.closed().await;
            let told = Code::from_number(reason.code);
            let code = match (reason.by, told) {
                // Whoever closes on purpose says why: 0 is a process that went away.
                (ClosedBy::Peer, Some(code)) if code != Code::Left => code,
                _ => Code::ConnectionLost,
            };
            to.tell(News::Down(code)).await;
        });
        let (to, it) = (self.reporter.clone(), session.clone());
        self.keep(async move {
            while let Ok(stream) = it.accept_uni().await {
                if !to.tell(News::Opened(stream)).await {
                    return;
                }
            }
        });
        let (to, it) = (self.reporter.clone(), session.clone());
        self.keep(async move {
            while let Ok(bytes) = it.recv_datagram().await {
                if !to.tell(News::Datagram(bytes)).await {
                    return;
                }
            }
        });
        let max_datagram = session.max_datagram_size();
        self.session = Some(session);
        max_datagram
    }

    /// The connection is gone by itself; one beside it is not.
    pub(crate) fn lost(&mut self) {
        self.forget();
    }

    /// Closes the connection, or stops opening it. What was written before is delivered if it can be.
    pub(crate) fn close(&mut self, code: Code) {
        self.keep_this();
        let (session, writers) = self.forget();
        if let Some(session) = session {
            self.farewells.spawn(farewell(session, writers, code));
        }
        while self.farewells.try_join_next().is_some() {}
    }

    pub(crate) fn open(&mut self, stream: u64, opening: Opening) {
        if let Some(session) = &self.session {
            let writer = Writer::open(session.clone(), opening, stream, self.reporter.clone());
            self.writers.insert(stream, writer);
        }
    }

    /// Writes; `false` where the stream holds back more than it may.
    pub(crate) fn write(&mut self, stream: u64, bytes: Bytes, fin: bool) -> bool {
        match self.writers.get(&stream) {
            Some(writer) => {
                writer.write(bytes, fin);
                writer.backlog() <= MAX_WAITING
            }
            None => true,
        }
    }

    pub(crate) fn reset(&mut self, stream: u64, code: Code) {
        if let Some(writer) = self.writers.remove(&stream) {
            writer.reset(code.number());
        }
    }

    pub(crate) fn stop(&mut self, stream: u64, code: Code) {
        if let Some(stopper) = self.readers.remove(&stream) {
            stopper.send_replace(Some(code.number()));
        }
    }

    /// A datagram that the path takes no more is lost like any other.
    pub(crate) fn datagram(&self, bytes: Bytes) {
        if let Some(session) = &self.session
            && let Err(error) = session.send_datagram(bytes)
        {
            tracing::trace!(%error, "datagram not sent");
        }
    }

    /// Numbers a stream the peer opened, and reads it.
    pub(crate) fn accept(&mut self, recv: RecvStream) {
        let stream = 2 * self.accepted + 1;
        self.accepted += 1;
        let stopper = stream::read(recv, stream, self.reporter.clone());
        self.readers.insert(stream, stopper);
    }

    /// Whether bytes of this stream still count: those of one that was stopped may be under way.
    pub(crate) fn is_read(&self, stream: u64) -> bool {
        stream.is_multiple_of(2) || self.readers.contains_key(&stream)
    }

    /// Nothing more comes on a stream the peer opened.
    pub(crate) fn read_to_end(&mut self, stream: u64) {
        self.readers.remove(&stream);
    }

    pub(crate) fn written(&mut self, stream: u64) {
        self.writers.remove(&stream);
    }

    /// Streams whose backlog differs from what was last told, and marks it as told.
    pub(crate) fn backlogs(&mut self) -> Vec<(u64, usize)> {
        let mut news = Vec::new();
        for (stream, writer) in &mut self.writers {
            let backlog = writer.backlog();
            if backlog != writer.told {
                writer.told = backlog;
                news.push((*stream, backlog));
            }
        }
        news
    }

    /// Closes and waits, a bounded time, until the peer has been told.
    pub(crate) async fn finish(mut self) {
        self.close(Code::Left);
        while self.farewells.join_next().await.is_some() {}
        if let Some((_, endpoint)) = &self.endpoint {
            endpoint.stop().await;
        }
    }

    fn keep(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// From here on news of the former connection are of no interest.
    fn forget(&mut self) -> (Option<Session>, Vec<Writer>) {
        self.reporter.generation = self.next_generation();
        self.accepted = 0;
        self.readers.clear();
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let writers = std::mem::take(&mut self.writers).into_values().collect();
        (self.session.take(), writers)
    }

    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    /// One UDP socket serves all connections with the same trust.
    fn endpoint(&mut self, certificate_sha256: Vec<[u8; 32]>) -> Option<Arc<Client>> {
        if let Some((hashes, endpoint)) = &self.endpoint
            && *hashes == certificate_sha256
        {
            return Some(Arc::clone(endpoint));
        }
        let trust = match certificate_sha256.is_empty() {
            true => ServerTrust::System,
            false => ServerTrust::Hashes(
                certificate_sha256
                    .iter()
                    .copied()
                    .map(Fingerprint)
                    .collect(),
            ),
        };
        let tuning = Tuning {
            send_window: SEND_WINDOW,
            ..Tuning::default()
        };
        match Client::new(trust, &tuning) {
            Ok(client) => {
                let client = Arc::new(client);
                self.endpoint = Some((certificate_sha256, Arc::clone(&client)));
                Some(client)
            }
            Err(error) => {
                tracing::warn!(%error, "no endpoint");
                None
            }
        }
    }
}

/// The URL holds a secret, so only the error is logged.
/// Opens a connection and tells what came of it.
async fn open(endpoint: Option<Arc<Client>>, url: String, via: Via, to: Reporter) {
    let reached = reach(endpoint, to.link, &url, &via).await;
    to.tell(reached.map_or(News::Down(Code::ConnectFailed), News::Up))
        .await;
}

async fn reach(endpoint: Option<Arc<Client>>, link: Link, url: &str, via: &Via) -> Option<Session> {
    let endpoint = endpoint?;
    let mut url = Url::parse(url)
        .inspect_err(|error| tracing::warn!(%error, "not a URL"))
        .ok()?;
    if let Some(via) = via.to(link, &url) {
        url.set_ip_host(via.ip()).ok()?;
        url.set_port(Some(via.port())).ok()?;
    }
    endpoint
        .connect(&url, &[])
        .await
        .inspect_err(|error| tracing::info!(%error, "could not connect"))
        .ok()
}

async fn farewell(session: Session, writers: Vec<Writer>, code: Code) {
    let last_words = async {
        let tasks: Vec<_> = writers.into_iter().map(Writer::finish).collect();
        for task in tasks {
            // A writer that failed has nothing left to say.
            let _ = task.await;
        }
    };
    // In vain where the peer takes no more: it is told by the close as well.
    let _ = timeout(LAST_WORDS, last_words).await;
    session.close(code.number(), code.name());
    let _ = timeout(FAREWELL, session.closed()).await;
}
