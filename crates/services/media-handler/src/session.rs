//! One media session: what its participant sends, taken in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use darktower_media::Kind;
use darktower_media::forwarder::SessionId;
use darktower_net::{CloseReason, ClosedBy, ReadError, RecvStream, SendStream, Session};
use darktower_wire::Code;
use darktower_wire::framing::{self, FramingError, MAX_MEDIA_CONTROL};
use darktower_wire::ids::{MeetingId, ParticipantId, TrackId};
use darktower_wire::media::{Frame, GroupDecoder};
use darktower_wire::media_control::{
    ClientControl, Pong, ServerControl, Welcome, client_control, server_control,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::shard::{Event, Outlet};
use crate::{Direction, Shared, egress, measure};

/// What may wait for a session's egress, which only has to sort it.
const OUTLET: usize = 4096;
/// Control messages that may wait to be written.
const CONTROL: usize = 64;
/// Bytes of frames that are not whole yet, on all streams of a session.
const MAX_PARTIAL: usize = 8 * 1024 * 1024;
/// Streams that lied before the session is closed for it.
const MAX_LIES: usize = 64;

struct Ingress {
    shared: Arc<Shared>,
    session: Session,
    id: SessionId,
    events: mpsc::Sender<Event>,
    partial: AtomicUsize,
    lies: AtomicUsize,
}

pub(crate) async fn serve(
    shared: Arc<Shared>,
    session: Session,
    meeting: MeetingId,
    seat: ParticipantId,
) {
    let id = SessionId(shared.next_session.fetch_add(1, Ordering::Relaxed));
    let (inbox, given) = mpsc::channel(OUTLET);
    let (control, to_say) = mpsc::channel(CONTROL);
    let overrun = CancellationToken::new();
    let outlet = Outlet {
        inbox,
        overrun: overrun.clone(),
    };
    tracing::info!(session = id.0, "media session opened");
    let opened = Event::Opened {
        session: id,
        seat,
        outlet,
    };
    Directory::send(&shared, meeting, opened).await;
    let ingress = Arc::new(Ingress {
        events: shared.directory.inbox(&shared, meeting),
        shared: shared.clone(),
        session: session.clone(),
        id,
        partial: AtomicUsize::new(0),
        lies: AtomicUsize::new(0),
    });
    let code = tokio::select! {
        reason = session.closed() => code_of(&reason),
        code = egress::run(&shared, &session, given, control) => code,
        code = converse(&ingress, to_say) => code,
        code = streams(&ingress) => code,
        code = datagrams(&ingress) => code,
        () = overrun.cancelled() => Code::SlowReader,
        () = shared.stopping.cancelled() => Code::Draining,
    };
    // Does nothing where the peer has closed it.
    session.close(code.number(), code.name());
    measure::session_closed(code);
    tracing::info!(session = id.0, code = code.name(), "media session closed");
    let closed = Event::Closed { session: id, code };
    Directory::send(&shared, meeting, closed).await;
}

/// What a lost session is counted and reported under.
fn code_of(reason: &CloseReason) -> Code {
    match reason.by {
        ClosedBy::Peer | ClosedBy::Here => Code::from_number(reason.code).unwrap_or(Code::Left),
        ClosedBy::Lost => Code::ConnectionLost,
    }
}

/// The control stream: the first bidirectional stream, opened by the participant.
async fn converse(ingress: &Ingress, mut to_say: mpsc::Receiver<ServerControl>) -> Code {
    let hello = timeout(ingress.shared.config.hello_within, greet(ingress)).await;
    let (mut send, mut recv, mut decoder) = match hello {
        Ok(Ok(opened)) => opened,
        Ok(Err(code)) => return code,
        Err(_) => return Code::AuthenticationTimeout,
    };
    loop {
        loop {
            match decoder.next_message::<ClientControl>() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if let Err(code) = heard(ingress, &mut send, message).await {
                        return code;
                    }
                }
                Err(error) => return lie(&error),
            }
        }
        tokio::select! {
            chunk = recv.read_chunk() => match chunk {
                Ok(Some(chunk)) => decoder.push(&chunk),
                Ok(None) => return Code::Left,
                Err(error) => return lost(&error),
            },
            Some(message) = to_say.recv() => {
                if let Err(code) = say(ingress, &mut send, message.body).await {
                    return code;
                }
            }
        }
    }
}

async fn greet(ingress: &Ingress) -> Result<(SendStream, RecvStream, framing::Decoder), Code> {
    let opened = ingress.session.accept_bi().await;
    let (mut send, mut recv) = opened.map_err(|reason| code_of(&reason))?;
    let mut decoder = framing::Decoder::new(MAX_MEDIA_CONTROL);
    loop {
        match decoder
            .next_message::<ClientControl>()
            .map_err(|e| lie(&e))?
        {
            Some(message) => match message.body {
                Some(client_control::Body::Hello(_)) => break,
                _ => return Err(Code::OutOfOrder),
            },
            None => match recv.read_chunk().await {
                Ok(Some(chunk)) => decoder.push(&chunk),
                Ok(None) => return Err(Code::Left),
                Err(error) => return Err(lost(&error)),
            },
        }
    }
    let welcome = server_control::Body::Welcome(Welcome {});
    say(ingress, &mut send, Some(welcome)).await?;
    Ok((send, recv, decoder))
}

async fn heard(
    ingress: &Ingress,
    send: &mut SendStream,
    message: ClientControl,
) -> Result<(), Code> {
    match message.body {
        Some(client_control::Body::Hello(_)) => Err(Code::OutOfOrder),
        Some(client_control::Body::KeyFrameWanted(wanted)) => {
            let (session, track) = (ingress.id, TrackId(wanted.track));
            ingress
                .bring(Event::KeyFrameWanted { session, track })
                .await
        }
        Some(client_control::Body::Ping(ping)) => {
            let sent_us = ping.sent_us;
            let pong = server_control::Body::Pong(Pong { sent_us });
            say(ingress, send, Some(pong)).await
        }
        // A message of a later version.
        None => Ok(()),
    }
}

async fn say(
    ingress: &Ingress,
    send: &mut SendStream,
    body: Option<server_control::Body>,
) -> Result<(), Code> {
    let bytes = framing::encode(&ServerControl { body });
    let patience = ingress.shared.config.reader_patience;
    match timeout(patience, send.write(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "control stream lost");
            Err(Code::ConnectionLost)
        }
        Err(_) => Err(Code::SlowReader),
    }
}

fn lie(error: &FramingError) -> Code {
    tracing::debug!(%error, "malformed control message");
    match error {
        FramingError::Length(darktower_wire::DecodeError::TooLarge { .. }) => Code::TooLarge,
        _ => Code::Malformed,
    }
}

fn lost(error: &ReadError) -> Code {
    tracing::debug!(%error, "control stream lost");
    Code::ConnectionLost
}

/// Every unidirectional stream is a group; QUIC bounds how many are open at once.
async fn streams(ingress: &Arc<Ingress>) -> Code {
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            stream = ingress.session.accept_uni() => match stream {
                Ok(stream) => {
                    readers.spawn(group(ingress.clone(), stream));
                }
                Err(reason) => return code_of(&reason),
            },
            Some(done) = readers.join_next() => match done {
                Ok(Ok(())) => {}
                Ok(Err(code)) => return code,
                Err(error) => {
                    tracing::error!(%error, "a group's reader failed");
                    return Code::Internal;
                }
            }
        }
    }
}

/// Reads one group. An error is the session's end; what is wrong with the stream
/// alone ends the stream alone.
async fn group(ingress: Arc<Ingress>, mut stream: RecvStream) -> Result<(), Code> {
    let mut decoder = GroupDecoder::default();
    let ended = read_group(&ingress, &mut stream, &mut decoder).await;
    ingress
        .partial
        .fetch_sub(decoder.pending(), Ordering::Relaxed);
    match ended {
        Ok(()) => Ok(()),
        Err(Ended::Session(code)) => Err(code),
        Err(Ended::Stream(code)) => {
            stream.stop(code.number());
            measure::refused("stream", code);
            tracing::debug!(session = ingress.id.0, code = code.name(), "stream stopped");
            let lied = code == Code::BadFrameHeader || code == Code::TooLarge;
            if lied && ingress.lies.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_LIES {
                return Err(Code::BadFrameHeader);
            }
            Ok(())
        }
    }
}

enum Ended {
    Stream(Code),
    Session(Code),
}

async fn read_group(
    ingress: &Ingress,
    stream: &mut RecvStream,
    decoder: &mut GroupDecoder,
) -> Result<(), Ended> {
    let patience = ingress.shared.config.stream_patience;
    loop {
        // Between frames a picture may stand still for as long as it likes.
        let is_whole = decoder.pending() == 0 && decoder.first().is_some();
        let chunk = match is_whole {
            true => stream.read_chunk().await,
            false => match timeout(patience, stream.read_chunk()).await {
                Ok(chunk) => chunk,
                Err(_) => return Err(Ended::Stream(Code::TimedOut)),
            },
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) if decoder.pending() == 0 => return Ok(()),
            Ok(None) => return Err(Ended::Stream(Code::BadFrameHeader)),
            // A stale group, taken back by its publisher.
            Err(_) => return Ok(()),
        };
        ingress.shared.tap(Direction::Ingress, &chunk);
        let before = decoder.pending();
        decoder.push(&chunk);
        let mut refused = None;
        loop {
            match decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => ingress
                    .frame(Kind::Video, frame)
                    .await
                    .map_err(Ended::Session)?,
                Err(error) => {
                    tracing::debug!(session = ingress.id.0, %error, "a stream lies");
                    refused = Some(Code::BadFrameHeader);
                    break;
                }
            }
        }
        let after = decoder.pending();
        let partial = &ingress.partial;
        let held = match after >= before {
            true => partial.fetch_add(after - before, Ordering::Relaxed) + (after - before),
            false => partial.fetch_sub(before - after, Ordering::Relaxed),
        };
        if let Some(code) = refused {
            return Err(Ended::Stream(code));
        }
        if held > MAX_PARTIAL {
            return Err(Ended::Stream(Code::TooLarge));
        }
    }
}

async fn datagrams(ingress: &Ingress) -> Code {
    loop {
        let bytes = match ingress.session.recv_datagram().await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "no more datagrams");
                return code_of(&ingress.session.closed().await);
            }
        };
        ingress.shared.tap(Direction::Ingress, &bytes);
        match Frame::parse(bytes) {
            Ok(frame) => {
                if let Err(code) = ingress.frame(Kind::Audio, frame).await {
                    return code;
                }
            }
            Err(_) => measure::refused("datagram", Code::BadFrameHeader),
        }
    }
}

impl Ingress {
    async fn frame(&self, kind: Kind, frame: Frame) -> Result<(), Code> {
        measure::received(frame.bytes.len());
        let session = self.id;
        self.bring(Event::Frame {
            session,
            kind,
            frame,
        })
        .await
    }

    /// Waits where the meeting is busy, and so makes this session's sender wait.
    async fn bring(&self, event: Event) -> Result<(), Code> {
        self.events
            .send(event)
            .await
            .map_err(|_| self.shared.orphaned())
    }
}
