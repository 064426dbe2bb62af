//! One signalling session: messages in, messages out.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use darktower_cluster::random_bytes;
use darktower_cluster::trace::TraceContext;
use darktower_meeting::meeting::{Credential, Entropy, SessionId};
use darktower_net::{CloseReason, ClosedBy, RecvStream, SendStream, Session};
use darktower_wire::framing::{self, FramingError, MAX_SIGNAL};
use darktower_wire::ids::{MeetingId, NodeId};
use darktower_wire::signal::{self, ClientMessage, ServerMessage, server_message};
use darktower_wire::{Code, DecodeError};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::directory::NotHere;
use crate::shard::{Event, Outlet};
use crate::{Shared, elsewhere, measure};

/// Messages that may wait for a session that reads slowly.
const OUTGOING: usize = 512;
/// How long the last messages before a close may take to arrive.
const LINGER: Duration = Duration::from_secs(1);

/// What goes out to a session.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message(Box<ServerMessage>),
    /// Nothing follows.
    Close(Code),
}

pub(crate) async fn serve(
    shared: &Shared,
    session: Session,
    meeting: MeetingId,
    credential: Credential,
    trace: TraceContext,
    host: Option<String>,
) {
    let code = match shared.directory.find(meeting).await {
        Ok(events) => {
            let opened = open(shared, &session, events, credential, trace, host).await;
            opened.unwrap_or_else(|code| code)
        }
        Err(NotHere { code, owner }) => {
            if let Some(owner) = owner {
                show_the_way(shared, &session, owner, host.as_deref()).await;
            }
            code
        }
    };
    // Does nothing where the peer has closed it.
    session.close(code.number(), code.name());
    measure::session_closed(code);
    tracing::info!(code = code.name(), "session closed");
    let closed = timeout(LINGER, session.closed()).await;
    if closed.is_err() {
        tracing::debug!("the peer did not hang up in time");
    }
}

async fn open(
    shared: &Shared,
    session: &Session,
    events: mpsc::Sender<Event>,
    credential: Credential,
    trace: TraceContext,
    host: Option<String>,
) -> Result<Code, Code> {
    let bytes = || random_bytes().map_err(|_| Code::Internal);
    let entropy = Entropy {
        resume: bytes()?,
        ticket: bytes()?,
    };
    let id = SessionId(shared.next_session.fetch_add(1, Ordering::Relaxed));
    let (outgoing, to_say) = mpsc::channel(OUTGOING);
    let overrun = CancellationToken::new();
    let outlet = Outlet {
        outgoing,
        overrun: overrun.clone(),
        host,
    };
    tracing::info!(session = id.0, "session opened");
    let opened = Event::Opened {
        session: id,
        credential,
        entropy,
        outlet,
        trace,
    };
    events.send(opened).await.map_err(|_| Code::Unavailable)?;
    let mut conversation = pin!(converse(shared, session, id, &events, to_say));
    let code = tokio::select! {
        reason = session.closed() => {
            // What was said before the close still counts: a leave comes right ahead of it.
            if timeout(LINGER, conversation).await.is_err() {
                tracing::debug!("the last messages were not read in time");
            }
            code_of(&reason)
        }
        code = &mut conversation => code,
        () = overrun.cancelled() => Code::SlowReader,
        () = shared.stopping.cancelled() => Code::Draining,
    };
    let closed = Event::Closed { session: id };
    if events.send(closed).await.is_err() {
        tracing::debug!("the meeting went before its session");
    }
    Ok(code)
}

/// Tells where the meeting is, on the stream that the participant opens.
async fn show_the_way(shared: &Shared, session: &Session, owner: NodeId, host: Option<&str>) {
    let nodes = shared.nodes.borrow().clone();
    let Some(node) = nodes.iter().find(|node| node.id == owner) else {
        return;
    };
    let mut elsewhere = signal::Elsewhere {
        controllers: vec![elsewhere::of(node)],
        moved: true,
    };
    if let Some(host) = host {
        elsewhere::make_reachable(&mut elsewhere, host);
    }
    let message = ServerMessage {
        body: Some(server_message::Body::Elsewhere(elsewhere)),
        ..ServerMessage::default()
    };
    let told = async {
        let (mut send, _recv) = session.accept_bi().await.ok()?;
        send.write(framing::encode(&message)).await.ok()?;
        send.finish().ok()?;
        send.delivered().await.ok()
    };
    if !matches!(timeout(LINGER, told).await, Ok(Some(_))) {
        tracing::debug!("one who came to the wrong controller may not know the right one");
    }
}

fn code_of(reason: &CloseReason) -> Code {
    match reason.by {
        ClosedBy::Peer | ClosedBy::Here => Code::from_number(reason.code).unwrap_or(Code::Left),
        _ => Code::ConnectionLost,
    }
}

async fn converse(
    shared: &Shared,
    session: &Session,
    id: SessionId,
    events: &mpsc::Sender<Event>,
    mut to_say: mpsc::Receiver<Outgoing>,
) -> Code {
    let within = shared.config.hello_within;
    // A refused resume is told before the stream is there.
    let opened = tokio::select! {
        opened = timeout(within, session.accept_bi()) => opened,
        Some(Outgoing::Close(code)) = to_say.recv() => return code,
    };
    let (mut send, mut recv) = match opened {
        Ok(Ok(streams)) => streams,
        Ok(Err(reason)) => return code_of(&reason),
        Err(_) => return Code::AuthenticationTimeout,
    };
    let mut listening = pin!(listen(within, &mut recv, id, events));
    tokio::select! {
        // A stream that takes no more may still hold what was said on it.
        said = speak(shared, &mut send, &mut to_say) => match said {
            Ok(code) => code,
            Err(StreamGone) => timeout(LINGER, listening)
                .await
                .unwrap_or(Code::ConnectionLost),
        },
        // It ends only by a close that goes the other way, after what was said.
        code = &mut listening => code,
    }
}

/// The stream takes no more.
struct StreamGone;

async fn speak(
    shared: &Shared,
    send: &mut SendStream,
    to_say: &mut mpsc::Receiver<Outgoing>,
) -> Result<Code, StreamGone> {
    let patience = shared.config.reader_patience;
    loop {
        match to_say.recv().await {
            Some(Outgoing::Message(message)) => {
                let bytes = framing::encode(&*message);
                match timeout(patience, send.write(bytes)).await {
                    Ok(Ok(())) => measure::sent(),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the stream is gone");
                        return Err(StreamGone);
                    }
                    Err(_) => return Ok(Code::SlowReader),
                }
            }
            Some(Outgoing::Close(code)) => {
                // Closing at once would overtake what was said last.
                let said = async {
                    send.finish()?;
                    send.delivered().await
                };
                if !matches!(timeout(LINGER, said).await, Ok(Ok(()))) {
                    tracing::debug!("the last messages may not have arrived");
                }
                return Ok(code);
            }
            None => return Ok(Code::Unavailable),
        }
    }
}

/// Brings what the participant says to its meeting, until that closes the session.
async fn listen(
    within: Duration,
    recv: &mut RecvStream,
    id: SessionId,
    events: &mpsc::Sender<Event>,
) -> Code {
    let mut decoder = framing::Decoder::new(MAX_SIGNAL);
    let mut spoke = false;
    loop {
        let event = match decoder.next_message::<ClientMessage>() {
            Ok(Some(message)) => {
                spoke = true;
                measure::received();
                Event::Message {
                    session: id,
                    message: Box::new(message),
                }
            }
            Ok(None) => {
                let chunk = match spoke {
                    true => recv.read_chunk().await,
                    false => match timeout(within, recv.read_chunk()).await {
                        Ok(chunk) => chunk,
                        Err(_) => return Code::AuthenticationTimeout,
                    },
                };
                match chunk {
                    Ok(Some(chunk)) => decoder.push(&chunk),
                    Ok(None) => return Code::Left,
                    Err(error) => {
                        tracing::debug!(%error, "the stream is gone");
                        return Code::ConnectionLost;
                    }
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(%error, "bytes that are no message");
                let code = match error {
                    FramingError::Length(DecodeError::TooLarge { .. }) => Code::TooLarge,
                    _ => Code::Malformed,
                };
                measure::refused("message", code);
                let malformed = Event::Malformed { session: id, code };
                if events.send(malformed).await.is_err() {
                    tracing::debug!("the meeting went before its session");
                }
                // The meeting answers by closing.
                return std::future::pending().await;
            }
        };
        // Waits where the meeting is busy, and so makes this participant wait.
        if events.send(event).await.is_err() {
            // Whether and why it closed this session is on its way.
            return std::future::pending().await;
        }
    }
}
