//! One media session: what goes to its participant, written out.
//!
//! Each group has its own task, so that none waits for another; how much may wait
//! at all, and what becomes stale, `darktower_media::Egress` decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use darktower_media::egress::{Config, Egress, Input, Output};
use darktower_net::{DatagramError, Session, WriteError};
use darktower_wire::Code;
use darktower_wire::media::{STREAM_GROUP, put_entry_length};
use darktower_wire::media_control::{Drain, KeyFrameWanted, ServerControl, server_control};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shard::ToSession;
use crate::{Direction, Shared, measure};

enum Piece {
    Frame(Bytes),
    Finish,
}

enum Report {
    Drained {
        stream: u64,
        bytes: usize,
    },
    Stopped {
        stream: u64,
    },
    /// All of it was written, and delivered or given up.
    Done {
        stream: u64,
    },
}

/// A group's task.
struct Writer {
    pieces: mpsc::UnboundedSender<Piece>,
    reset: watch::Sender<Option<Code>>,
}

/// Everything that is written to one session but its control stream; says why the
/// session must end.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    session: &Session,
    mut given: mpsc::Receiver<ToSession>,
    control: mpsc::Sender<ServerControl>,
) -> Code {
    let config = Config {
        patience: shared.config.reader_patience,
        ..Config::default()
    };
    let mut core: Egress<Bytes> = Egress::new(config);
    let mut writers: BTreeMap<u64, Writer> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut drained = false;
    loop {
        let deadline = core.deadline().map(|at| shared.origin + at);
        tokio::select! {
            what = given.recv() => match what {
                // The meeting's shard is gone: with the handler, or because the meeting is.
                None => return shared.orphaned(),
                Some(ToSession::Frame { kind, header, bytes }) => {
                    core.push(shared.now(), kind, &header, bytes);
                }
                Some(ToSession::End(track)) => core.handle(shared.now(), Input::End { track }),
                Some(ToSession::Close(code)) => return code,
                Some(ToSession::KeyFrameWanted { track, layer }) => {
                    let (track, layer) = (track.0, u32::from(layer));
                    let wanted = KeyFrameWanted { track, layer };
                    // Full: this publisher is not listening; the request comes again.
                    say(&control, server_control::Body::KeyFrameWanted(wanted));
                }
            },
            Some(report) = reports.recv() => {
                let now = shared.now();
                match report {
                    Report::Drained { stream, bytes } => {
                        core.handle(now, Input::Drained { stream, bytes });
                    }
                    Report::Stopped { stream } => {
                        writers.remove(&stream);
                        core.handle(now, Input::Stopped { stream });
                    }
                    Report::Done { stream } => {
                        writers.remove(&stream);
                    }
                }
            }
            Some(done) = tasks.join_next() => {
                if let Err(error) = done {
                    tracing::error!(%error, "a group's writer failed");
                    return Code::Internal;
                }
            }
            () = wait(deadline) => core.handle(shared.now(), Input::Tick),
            () = shared.draining.cancelled(), if !drained => {
                drained = true;
                say(&control, server_control::Body::Drain(Drain {}));
            }
        }
        while let Some(output) = core.poll() {
            match output {
                Output::Open { stream, priority } => {
                    let (pieces, queue) = mpsc::unbounded_channel();
                    let (reset, resets) = watch::channel(None);
                    let group = Group {
                        shared: shared.clone(),
                        session: session.clone(),
                        stream,
                        priority,
                        report: report.clone(),
                    };
                    tasks.spawn(group.write(queue, resets));
                    writers.insert(stream, Writer { pieces, reset });
                }
                Output::Write { stream, payload } => {
                    if let Some(writer) = writers.get(&stream) {
                        // A writer that has ended has reported it.
                        let _ = writer.pieces.send(Piece::Frame(payload));
                    }
                }
                Output::Finish { stream } => {
                    if let Some(writer) = writers.get(&stream) {
                        let _ = writer.pieces.send(Piece::Finish);
                    }
                }
                Output::Reset { stream, code } => {
                    measure::group_reset();
                    if let Some(writer) = writers.remove(&stream) {
                        let _ = writer.reset.send(Some(code));
                    }
                }
                Output::Datagram(bytes) => datagram(shared, session, bytes),
                Output::Close(code) => return code,
            }
        }
    }
}

async fn wait(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn say(control: &mpsc::Sender<ServerControl>, body: server_control::Body) {
    if control
        .try_send(ServerControl { body: Some(body) })
        .is_err()
    {
        tracing::debug!("the control stream does not take a message");
    }
}

fn datagram(shared: &Shared, session: &Session, bytes: Bytes) {
    shared.tap(Direction::Egress, &bytes);
    let len = bytes.len();
    match session.send_datagram(bytes) {
        Ok(()) => measure::forwarded(len),
        Err(DatagramError::TooLarge) => measure::refused("datagram", Code::TooLarge),
        Err(DatagramError::Unsupported) => measure::refused("datagram", Code::Unsupported),
        // The session's end is noticed elsewhere.
        Err(DatagramError::Session(_)) => {}
    }
}

struct Group {
    shared: Arc<Shared>,
    session: Session,
    stream: u64,
    priority: i32,
    report: mpsc::UnboundedSender<Report>,
}

impl Group {
    async fn write(
        self,
        mut queue: mpsc::UnboundedReceiver<Piece>,
        mut resets: watch::Receiver<Option<Code>>,
    ) {
        let opened = tokio::select! {
            biased;
            _ = reset(&mut resets) => return,
            opened = self.session.open_uni() => opened,
        };
        let Ok(mut send) = opened else { return };
        send.set_priority(self.priority);
        let mut first = true;
        loop {
            let work = async {
                match queue.recv().await {
                    Some(Piece::Frame(bytes)) => {
                        let mut front = BytesMut::with_capacity(9);
                        if std::mem::take(&mut first) {
                            front.extend_from_slice(&[STREAM_GROUP]);
                        }
                        put_entry_length(&mut front, bytes.len());
                        self.shared.tap(Direction::Egress, &bytes);
                        let len = bytes.len();
                        send.write(front.freeze()).await?;
                        send.write(bytes).await?;
                        Ok::<_, WriteError>(Some(len))
                    }
                    Some(Piece::Finish) => {
                        send.finish()?;
                        Ok(None)
                    }
                    // The session ends.
                    None => Err(WriteError::Finished),
                }
            };
            let done = tokio::select! {
                biased;
                code = reset(&mut resets) => {
                    send.reset(code.number());
                    return;
                }
                done = work => done,
            };
            let stream = self.stream;
            match done {
                Ok(Some(bytes)) => {
                    measure::forwarded(bytes);
                    // Nobody listens only where the session ends.
                    let _ = self.report.send(Report::Drained { stream, bytes });
                }
                Ok(None) => break,
                Err(_) => {
                    let _ = self.report.send(Report::Stopped { stream });
                    return;
                }
            }
        }
        // What QUIC still holds of a finished group is stale before long.
        let patience = self.shared.config.stream_patience;
        if timeout(patience, send.delivered()).await.is_err() {
            measure::group_reset();
            send.reset(Code::StaleGroup.number());
        }
        let stream = self.stream;
        let _ = self.report.send(Report::Done { stream });
    }
}

/// Waits until the stream is to be reset. For ever where it never is.
async fn reset(resets: &mut watch::Receiver<Option<Code>>) -> Code {
    match resets.wait_for(Option::is_some).await.map(|code| *code) {
        Ok(Some(code)) => code,
        _ => std::future::pending().await,
    }
}
