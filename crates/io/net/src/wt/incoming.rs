//! Streams that bring us something.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{Connection, ReadError, StreamId as QuicStream};

use super::h3::{Opening, Purpose};

/// A stream that has begun to say what it is must have said it by then: a few bytes, which a sender has at hand.
///
/// One that has said nothing may go on so. A stream is open as soon as one of a higher number is (RFC 9000 §3.2), and
/// browsers set numbers aside for QPACK's two, on which they say nothing until they must; to refuse such a stream is
/// an error of the whole connection (RFC 9204 §4.2).
pub(super) const OPENING_PATIENCE: Duration = Duration::from_secs(5);

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// That is all for now; [`Event::Readable`](super::Event::Readable) says when there is more.
    Waits,
    /// That is the end of the stream.
    Ended,
    /// The peer gave it up, with this code where it is a WebTransport one.
    Reset(Option<u32>),
    /// There is no such stream (any more).
    Gone,
}

/// What is known of a stream that the peer sends on.
#[derive(Debug)]
pub(super) enum Incoming {
    /// It has not said what it is.
    Opening(Opening),
    /// HTTP/3's control stream, as far as it has been read, until SETTINGS are whole.
    Control(Vec<u8>),
    /// The CONNECT stream.
    Connect,
    /// Nothing on it matters.
    Ignored,
    /// It belongs to the service.
    Data(QuicStream),
}

/// Hands on everything that has arrived in order, in pieces of at most `step` bytes, until `take` has enough.
pub(super) fn read(
    conn: &mut Connection,
    stream: QuicStream,
    step: usize,
    mut take: impl FnMut(Bytes) -> bool,
) -> Progress {
    let mut recv = conn.recv_stream(stream);
    let Ok(mut chunks) = recv.read(true) else {
        return Progress::Gone;
    };
    let progress = loop {
        match chunks.next(step) {
            Ok(Some(chunk)) => {
                if take(chunk.bytes) {
                    break Progress::Waits;
                }
            }
            Ok(None) => break Progress::Ended,
            Err(ReadError::Blocked) => break Progress::Waits,
            Err(ReadError::Reset(code)) => {
                let code = web_transport_proto::error_from_http3(code.into_inner());
                break Progress::Reset(code);
            }
        }
    };
    // Credit given here leaves with the next transmit, which follows every batch of reads.
    let _ = chunks.finalize();
    progress
}

/// Reads a stream's front and nothing behind it.
pub(super) fn read_opening(
    conn: &mut Connection,
    stream: QuicStream,
    opening: &mut Opening,
) -> Result<Purpose, Progress> {
    let bidirectional = stream.dir() == quinn_proto::Dir::Bi;
    let mut purpose = None;
    let progress = read(conn, stream, 1, |byte| {
        purpose = opening.push(byte[0], bidirectional);
        purpose.is_some()
    });
    purpose.ok_or(progress)
}

/// Streams that have said a part of what they are, and until when they may say the rest; oldest first.
#[derive(Debug, Default)]
pub(super) struct Unopened(std::collections::VecDeque<(Instant, QuicStream)>);

impl Unopened {
    pub(super) fn push(&mut self, now: Instant, stream: QuicStream) {
        self.0.push_back((now + OPENING_PATIENCE, stream));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|(until, _)| *until)
    }

    pub(super) fn overdue(&mut self, now: Instant) -> Option<QuicStream> {
        let (until, _) = self.0.front()?;
        match now >= *until {
            true => self.0.pop_front().map(|(_, stream)| stream),
            false => None,
        }
    }
}
