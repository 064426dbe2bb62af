//! One task for each stream: it may wait for the peer, the core may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use darktower_net::{CloseReason, ReadError, RecvStream, SendStream, Session, WriteError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::link::{News, Reporter};

/// What a writer still has to do, in order.
enum Job {
    Write(Bytes),
    Finish,
}

/// How the stream comes to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opening {
    Uni { priority: i32 },
    Bi,
}

/// The end at which the core writes: takes everything at once and counts what has not left.
pub(crate) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    given_up: watch::Sender<Option<u32>>,
    waiting: Arc<AtomicUsize>,
    /// The backlog as the core was last told.
    pub(crate) told: usize,
    task: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn open(session: Session, opening: Opening, stream: u64, to: Reporter) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (given_up, stop) = watch::channel(None);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            let refused = write_all(session, opening, stream, &to, inbox, stop, &counted).await;
            to.tell(News::Written { stream, refused }).await;
        });
        Self {
            jobs,
            given_up,
            waiting,
            told: 0,
            task,
        }
    }

    /// Bytes taken over that have not gone to the connection.
    pub(crate) fn backlog(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Writes after what was said before. A writer that is over takes no more: its end has been reported.
    pub(crate) fn write(&self, bytes: Bytes, fin: bool) {
        if !bytes.is_empty() {
            let len = bytes.len();
            self.waiting.fetch_add(len, Ordering::Relaxed);
            if self.jobs.send(Job::Write(bytes)).is_err() {
                self.waiting.fetch_sub(len, Ordering::Relaxed);
            }
        }
        if fin {
            let _ = self.jobs.send(Job::Finish);
        }
    }

    /// Takes no more and finishes; the task ends when all is delivered.
    pub(crate) fn finish(self) -> JoinHandle<()> {
        self.task
    }

    /// Gives up the stream and what it holds.
    pub(crate) fn reset(&self, code: u32) {
        self.given_up.send_replace(Some(code));
    }
}

/// Resolves when the stream is to be given up; never, if its owner is gone.
async fn given_up(stop: &mut watch::Receiver<Option<u32>>) -> u32 {
    let code = stop.wait_for(Option::is_some).await.ok().and_then(|it| *it);
    match code {
        Some(code) => code,
        None => std::future::pending().await,
    }
}

/// Performs the jobs; whether the peer refused the stream.
async fn write_all(
    session: Session,
    opening: Opening,
    stream: u64,
    to: &Reporter,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    mut stop: watch::Receiver<Option<u32>>,
    waiting: &AtomicUsize,
) -> bool {
    let Ok(mut send) = open(&session, opening, stream, to).await else {
        return true;
    };
    // Streams outlive the session handle; only the link decides how long that lives.
    drop(session);
    loop {
        let job = tokio::select! {
            biased;
            code = given_up(&mut stop) => {
                send.reset(code);
                return false;
            }
            job = jobs.recv() => job,
        };
        match job {
            Some(Job::Write(bytes)) => {
                let len = bytes.len();
                let written = tokio::select! {
                    biased;
                    code = given_up(&mut stop) => {
                        send.reset(code);
                        return false;
                    }
                    written = send.write(bytes) => written,
                };
                waiting.fetch_sub(len, Ordering::Relaxed);
                match written {
                    Ok(()) => {}
                    Err(WriteError::Stopped(_)) => return true,
                    Err(WriteError::Finished | WriteError::Session(_)) => return false,
                }
            }
            Some(Job::Finish) | None => {
                if send.finish().is_err() {
                    return true;
                }
                tokio::select! {
                    code = given_up(&mut stop) => send.reset(code),
                    // However it ended: nothing is left to do for it.
                    _ = send.delivered() => {}
                }
                return false;
            }
        }
    }
}

async fn open(
    session: &Session,
    opening: Opening,
    stream: u64,
    to: &Reporter,
) -> Result<SendStream, CloseReason> {
    match opening {
        Opening::Uni { priority } => {
            let send = session.open_uni().await?;
            send.set_priority(priority);
            Ok(send)
        }
        Opening::Bi => {
            let (send, recv) = session.open_bi().await?;
            // What is said must not wait behind what is shown.
            send.set_priority(i32::MAX);
            tokio::spawn(read_all(recv, stream, to.clone(), None));
            Ok(send)
        }
    }
}

/// The end that stops a reader.
pub(crate) type Stopper = watch::Sender<Option<u32>>;

/// Reads a stream that the peer opened, in a task of its own.
pub(crate) fn read(recv: RecvStream, stream: u64, to: Reporter) -> Stopper {
    let (stopper, stop) = watch::channel(None);
    tokio::spawn(read_all(recv, stream, to, Some(stop)));
    stopper
}

async fn read_all(
    mut recv: RecvStream,
    stream: u64,
    to: Reporter,
    mut stop: Option<watch::Receiver<Option<u32>>>,
) {
    let stopped = async {
        match &mut stop {
            Some(stop) => given_up(stop).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stopped);
    loop {
        let chunk = tokio::select! {
            code = &mut stopped => {
                recv.stop(code);
                return;
            }
            chunk = recv.read_chunk() => chunk,
        };
        let news = match chunk {
            Ok(Some(bytes)) => News::Data {
                stream,
                bytes,
                fin: false,
            },
            Ok(None) => News::Data {
                stream,
                bytes: Bytes::new(),
                fin: true,
            },
            Err(ReadError::Reset(_)) => News::Reset { stream },
            // The link reports its own end.
            Err(ReadError::Session(_) | ReadError::Finished) => return,
        };
        let last = !matches!(news, News::Data { fin: false, .. });
        if !to.tell(news).await || last {
            return;
        }
    }
}
